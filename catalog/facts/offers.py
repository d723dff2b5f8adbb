"""Records of prices by chip, and of the sampling defaults that makers publish by model."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from catalog.units import GIB

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


def price_records(
    rows: Iterable[Mapping[str, str]], power_rows: Iterable[Mapping[str, str]], chip_ids: Collection[str]
) -> dict[str, Any]:
    """Prices by chip, and what whole computers of some chips draw at most.

    Raises:
        ValueError: if a row names a chip that there is not, or a cell is no number.
    """
    records: dict[str, list[dict[str, Any]]] = {}
    power = {row["chip"]: float(row["power_w"]) for row in power_rows}
    rows = list(rows)
    for chip in (*power, *(row["chip"] for row in rows)):
        if chip not in chip_ids:
            raise ValueError(f"prices: no chip is called {chip!r}")
    for row in rows:
        record: dict[str, Any] = {key: row[key] for key in ("kind", "condition", "source", "date")}
        record["usd"] = float(row["usd"])
        if row["memory_gib"]:
            record["memory_bytes"] = int(row["memory_gib"]) * GIB
        records.setdefault(row["chip"], []).append(record)
    return {"offers": records, "computer_power_w": power}
