"""Records of what makers publish beside the weights: sampling defaults by model."""

from collections.abc import Iterable, Mapping
from typing import Any

_VALUES = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "presence_penalty": float,
    "repeat_penalty": float,
}


def sampling_records(rows: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Sampling defaults by pattern of model identities; file order is the order of precedence.

    Raises:
        ValueError: if a cell is no number.
    """
    records = []
    for row in rows:
        record: dict[str, Any] = {"pattern": row["pattern"].lower(), "source": row["source"], "date": row["date"]}
        record |= {name: read(row[name]) for name, read in _VALUES.items() if row[name]}
        if row["mode"]:
            record["mode"] = row["mode"]
        records.append(record)
    return records
