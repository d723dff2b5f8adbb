"""Sampling defaults that the makers of a model publish on its card or in its generation_config.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from catalog.types import Citation, ModelSpec

#: Models that continue a text, or give vectors and scores.
_WITHOUT_ANSWERS = frozenset({"base", "embedding", "reranker"})
_DATA_FILE = Path(__file__).resolve().parent / "data" / "sampling.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model's makers ask for its answers to be sampled; None where they do not say."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float | None = None
    mode: str | None = None  # what the values are for, where a card gives several: "thinking", "coding"
    citation: Citation | None = None

    def known(self) -> Mapping[str, float]:
        """The values that are given, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name in _VALUES}
        return {name: value for name, value in values.items() if value is not None}


_VALUES = frozenset({"temperature", "top_p", "top_k", "min_p", "presence_penalty", "repeat_penalty"})


def sampling_for(model: ModelSpec) -> Sampling | None:
    """The published defaults of a model, or of the family it was tuned from; None where nothing is known."""
    if model.capabilities & _WITHOUT_ANSWERS:
        return None
    names = (model.model_id.lower(), (model.derived_from or "").lower())
    for name in filter(None, names):
        found = next((sampling for pattern, sampling in _rows() if fnmatchcase(name, pattern)), None)
        if found is not None:
            return found if found.known() else None
    return None


@cache
def _rows() -> tuple[tuple[str, Sampling], ...]:
    """Patterns of model identities with their defaults, the most specific first."""
    records: list[dict[str, Any]] = json.loads(_DATA_FILE.read_bytes())
    return tuple((record["pattern"], _sampling(record)) for record in records)


def _sampling(record: Mapping[str, Any]) -> Sampling:
    values = {name: record[name] for name in (*_VALUES, "mode") if name in record}
    return Sampling(**values, citation=Citation(source=record["source"], date=record.get("date")))
