"""The catalog: packaged facts, indexed and frozen.

Loading is lazy: ``load_catalog`` reads two small files; a model is decoded when it is looked at.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Generic, TypeVar

from catalog.errors import CatalogError, UnknownNameError
from catalog.names import fold, resolve
from catalog.types import ChipSpec, Citation, FileFormat, Geometry, ModelSpec, QuantSpec, Score

__all__ = ["Catalog", "CatalogError", "UnknownNameError", "load_catalog"]

TASKS = ("coding", "chat", "reasoning", "agentic", "rag", "embedding", "vision", "multilingual", "general")

T = TypeVar("T")


class LazyMapping(Mapping[str, T], Generic[T]):
    """Identities to values that are built from their packed form when first looked at."""

    def __init__(self, packed: Mapping[str, bytes], unpack: Callable[[Any], T], origin: str) -> None:
        self._packed = packed
        self._unpack = unpack
        self._origin = origin
        self._built: dict[str, T] = {}

    def __getitem__(self, identity: str) -> T:
        value = self._built.get(identity)
        if value is None:
            packed = self._packed[identity]
            try:
                value = self._unpack(json.loads(packed))
            except (TypeError, ValueError, KeyError) as error:
                raise CatalogError(f"{self._origin}: record of {identity!r} is malformed: {error}") from error
            self._built[identity] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything the advisor knows about models, quantisations and chips."""

    version: str
    models: Mapping[str, ModelSpec]
    quants: Mapping[str, QuantSpec]
    chips: Mapping[str, ChipSpec]

    def model(self, text: str) -> ModelSpec:
        """The model of a name: repository id, display name, or the repository's last part.

        Raises:
            UnknownNameError: if the name fits no model or several.
        """
        exact = self.models.get(text)
        return exact or self.models[resolve("model", text, self._model_tiers, self.models)]

    def quant(self, text: str) -> QuantSpec:
        """The quantisation of a name such as ``q4_k_m``.

        Raises:
            UnknownNameError: if there is none.
        """
        return self.quants[resolve("quantisation", text, self._quant_tiers, self.quants)]

    def chip(self, text: str, memory_bytes: int | None = None) -> ChipSpec:
        """The chip of a name; a memory size picks the variant.

        Raises:
            UnknownNameError: if the name fits no chip or several.
        """
        return self.chips[resolve("chip", text, self._chip_tiers, self.chips)]

    def quality(self, model_id: str, task: str) -> Score:
        """Expected quality at a task, 0-100 with an 80 % interval; all zero for a model of another kind."""
        found = self._scores.get(model_id, {}).get(task)
        if found is None:
            return Score(low=0.0, mid=0.0, high=0.0, imputed=True, evidence=("not a model for this task",))
        low, mid, high, imputed, evidence = found
        return Score(low=low, mid=mid, high=high, imputed=imputed, evidence=tuple(evidence))

    def quant_loss_frac(self, quant_id: str, params_count: int, task: str) -> float:
        """Relative loss of task quality by storing weights in a quantisation."""
        from catalog.quantloss import weight_loss_frac

        return weight_loss_frac(self.quants[quant_id], params_count, task)

    def kv_quant_loss_frac(self, kv_quant_id: str, model: ModelSpec) -> float:
        """Relative loss of quality by storing the KV cache in a type."""
        from catalog.quantloss import kv_loss_frac

        return kv_loss_frac(kv_quant_id, model)

    @cached_property
    def _scores(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(json.loads(_read("scores.json")))

    @cached_property
    def _model_tiers(self) -> tuple[Mapping[str, list[str]], ...]:
        ids: dict[str, list[str]] = {}
        tails: dict[str, list[str]] = {}
        displayed: dict[str, list[str]] = {}
        for model in self.models.values():
            ids.setdefault(fold(model.model_id), []).append(model.model_id)
            for names, name in ((tails, model.model_id.rpartition("/")[2]), (displayed, model.display_name)):
                names.setdefault(fold(name), []).append(model.model_id)
        return ids, {name: self._best(found) for name, found in tails.items()}, displayed

    def _best(self, ids: list[str]) -> list[str]:
        """Of several models of one name, the official one if there is exactly one."""
        official = [model_id for model_id in ids if self.models[model_id].official]
        return official if len(official) == 1 else ids

    @cached_property
    def _quant_tiers(self) -> tuple[Mapping[str, list[str]], ...]:
        return ({fold(quant_id): [quant_id] for quant_id in self.quants},)

    @cached_property
    def _chip_tiers(self) -> tuple[Mapping[str, list[str]], ...]:
        names: dict[str, list[str]] = {}
        aliases: dict[str, list[str]] = {}
        for chip in self.chips.values():
            names.setdefault(fold(chip.chip_id), []).append(chip.chip_id)
            for alias in chip.aliases:
                aliases.setdefault(fold(alias), []).append(chip.chip_id)
        return names, aliases


@cache
def load_catalog() -> Catalog:
    """The packaged catalog."""
    index = json.loads(_read("index.json"))
    lines = _read("models.jsonl").splitlines()
    quants = {record["quant_id"]: _quant(record) for record in json.loads(_read("quants.json"))}
    chips = {record["chip_id"]: _chip(record) for record in json.loads(_read("chips.json"))}
    packed = dict(zip(index["model_ids"], lines, strict=True))
    return Catalog(
        version=index["version"],
        models=LazyMapping(packed, model_from_record, "models.jsonl"),
        quants=quants,
        chips=chips,
    )


def _read(name: str) -> bytes:
    return files("catalog").joinpath("data", name).read_bytes()


def model_from_record(record: Mapping[str, Any]) -> ModelSpec:
    """A `ModelSpec` from its packaged record."""
    fields = dict(record)
    if "geometry" in fields:
        fields["geometry"] = _geometry(fields["geometry"])
    for name in ("modalities", "capabilities", "tasks"):
        if name in fields:
            fields[name] = frozenset(fields[name])
    for name in ("official_quants", "quants_seen", "languages"):
        fields[name] = tuple(fields.get(name, ()))
    fields["repos"] = {name: tuple(repos) for name, repos in fields.get("repos", {}).items()}
    fields["citation"] = Citation(**fields["citation"])
    fields.setdefault("architecture", None)
    return ModelSpec(**fields)


def _geometry(fields: Mapping[str, Any]) -> Geometry:
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Geometry(**values)


def _quant(record: Mapping[str, Any]) -> QuantSpec:
    fields = {**record, "file_format": FileFormat(record["file_format"]), "citation": Citation(**record["citation"])}
    return QuantSpec(**fields)


def _chip(record: Mapping[str, Any]) -> ChipSpec:
    fields = {**record, "citation": Citation(**record["citation"])}
    for name in ("aliases", "pci_ids"):
        fields[name] = tuple(record.get(name, ()))
    return ChipSpec(**fields)
