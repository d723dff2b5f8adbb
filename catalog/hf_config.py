"""A Hugging Face ``config.json`` as facts: untrusted, of many dialects, nested or flat."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.files import read_file

_MAX_CONFIG_BYTES = 8 * 1024**2
_MAX_INTEGER = 1 << 40
_MAX_LAYERS_COUNT = 1024
_NESTED = ("text_config", "llm_config", "language_config", "thinker_config", "lm_config")


@dataclass(frozen=True, slots=True)
class Config:
    """The language model's part of a configuration. Absent or ill-typed entries read as absent."""

    values: Mapping[str, Any]
    outer: Mapping[str, Any]

    def first(self, *names: str) -> Any:
        """The first of these entries that is there and not null."""
        for name in names:
            value = self.values.get(name)
            if value is not None:
                return value
        return None

    def integer(self, *names: str) -> int | None:
        """The first of these entries that is a whole number within reason."""
        for name in names:
            value = self.values.get(name)
            if type(value) is int and 0 <= value <= _MAX_INTEGER:
                return value
        return None

    def flag(self, *names: str, default: bool = False) -> bool:
        """The first of these entries that is a truth value."""
        for name in names:
            value = self.values.get(name)
            if isinstance(value, bool):
                return value
        return default

    def items(self, *names: str) -> list[Any]:
        """The first of these entries that is a list, else an empty one."""
        for name in names:
            value = self.values.get(name)
            if isinstance(value, list | tuple) and len(value) <= _MAX_LAYERS_COUNT:
                return list(value)
        return []

    def integers(self, *names: str) -> list[int]:
        """The first of these entries that is a list, its whole numbers."""
        return [value for value in self.items(*names) if type(value) is int and 0 <= value <= _MAX_INTEGER]

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An entry that is an object, else an empty one."""
        value = self.values.get(name)
        return value if isinstance(value, Mapping) else {}

    @property
    def model_type(self) -> str:
        """The innermost configuration's kind."""
        value = self.values.get("model_type") or self.outer.get("model_type")
        return value if isinstance(value, str) else ""

    @property
    def layers_count(self) -> int:
        """Number of layers; 0 if not stated.

        Raises:
            CatalogError: if it is beyond reason.
        """
        count = self.integer("num_hidden_layers", "n_layer", "num_layers", "n_layers") or 0
        if count > _MAX_LAYERS_COUNT:
            raise CatalogError(f"config.json: num_hidden_layers: {count} layers are not read; check the file")
        return count


def load_config(source: Mapping[str, Any] | str | os.PathLike[str]) -> Config:
    """A configuration from a parsed object, a file, or a folder that holds ``config.json``.

    Raises:
        CatalogError: if the file is missing, too large, or no JSON object.
    """
    raw = source if isinstance(source, Mapping) else _parse(*_read(Path(source)))
    return Config(_innermost(raw), raw)


def _read(path: Path) -> tuple[str, bytes]:
    path = path / "config.json" if path.is_dir() else path
    try:
        content = read_file(path, _MAX_CONFIG_BYTES)
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror or error}; check the path") from error
    if len(content) > _MAX_CONFIG_BYTES:
        raise CatalogError(f"{path}: larger than {_MAX_CONFIG_BYTES >> 20} MiB; give a model's config.json")
    return str(path), content


def _parse(name: str, content: bytes) -> Mapping[str, Any]:
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{name}: not JSON ({type(error).__name__}); give a model's config.json") from error
    if not isinstance(raw, dict):
        raise CatalogError(f"{name}: not a JSON object; give a model's config.json")
    return raw


def _innermost(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's entries; what only the outer configuration states is kept."""
    for name in _NESTED:
        inner = raw.get(name)
        if isinstance(inner, Mapping) and len(inner) > 1:
            shared: Sequence[str] = ("tie_word_embeddings", "vocab_size", "num_nextn_predict_layers")
            return _innermost({**{k: raw[k] for k in shared if k in raw}, **inner})
    return raw
