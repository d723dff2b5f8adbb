"""Packaged records to model specifications and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from catalog.types import Citation, Geometry, ModelSpec

_SETS = ("modalities", "capabilities", "tasks", "released_tasks")


def model_from_record(record: Mapping[str, Any]) -> ModelSpec:
    """A `ModelSpec` from its packaged record.

    Raises:
        TypeError: if a field is unknown or one that must be there is missing.
    """
    fields = dict(record)
    if "geometry" in fields:
        fields["geometry"] = Geometry(**tuples(fields["geometry"]))
    for name in _SETS:
        if name in fields:
            fields[name] = frozenset(fields[name])
    fields["repos"] = tuples(fields.get("repos", {}))
    fields["citation"] = Citation(**fields["citation"])
    fields.setdefault("architecture", None)
    fields.setdefault("official", False)
    return ModelSpec(**tuples(fields))


def record_from_model(model: ModelSpec) -> dict[str, Any]:
    """The packaged record of a model: fields at their defaults left out, sets sorted."""
    record = _changed(model)
    for name in _SETS:
        if name in record:
            record[name] = sorted(record[name])
    if model.geometry is not None:
        record["geometry"] = _changed(model.geometry)
    record["citation"] = {
        key: value for key, value in dataclasses.asdict(model.citation or _UNSOURCED).items() if value
    }
    return record


_UNSOURCED = Citation(source="added by the user")


def _changed(value: ModelSpec | Geometry) -> dict[str, Any]:
    """Fields that differ from their defaults."""
    changed = {}
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if held != default and held is not None:
            changed[field.name] = held
    return changed


def tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as the tuples that frozen types hold."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
