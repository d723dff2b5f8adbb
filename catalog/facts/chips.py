"""Raw chip rows as packaged `catalog.types.ChipSpec` records."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from catalog.facts.chip_names import bare_name, chip_aliases
from catalog.units import GIB


def chip_records(
    rows: Iterable[Mapping[str, str]],
    aliases: Iterable[Mapping[str, str]],
    pci_rows: Iterable[Mapping[str, str]],
    apple_memory: Iterable[Mapping[str, str]],
    date: str,
) -> list[dict[str, Any]]:
    """Every chip as keyword arguments of `ChipSpec`, sorted by id.

    Raises:
        ValueError: if a side table names a chip that no row describes.
    """
    records = {row["name"]: _chip_record(row, date) for row in rows}
    extra: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in aliases:
        vendor = row["chip"].split()[0]
        extra["aliases"][row["chip"]] |= {row["alias"], f"{vendor} {row['alias'].removeprefix(vendor + ' ')}"}
    for row in pci_rows:
        extra["pci_ids"][row["chip"]].add(row["pci_id"])
    for field, by_chip in extra.items():
        for chip_id, values in by_chip.items():
            _known(records, chip_id, field)[field] = sorted(values | set(records[chip_id].get(field, ())))
    for row in apple_memory:
        sizes = [int(size) * GIB for size in row["memory_gib"].split()]
        _known(records, row["chip"], "apple_memory")["memory_choices_bytes"] = sizes
    return [records[chip_id] for chip_id in sorted(records)]


def _known(records: Mapping[str, dict[str, Any]], chip_id: str, table: str) -> dict[str, Any]:
    if chip_id not in records:
        raise ValueError(f"{table}: no chip is called {chip_id!r}")
    return records[chip_id]


def _chip_record(row: Mapping[str, str], date: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "chip_id": row["name"],
        "vendor": row["vendor"],
        "kind": row["kind"],
        "architecture": row["arch"],
        "memory_bytes": _scaled(row["memory_gib"], GIB, whole=True),
        "memory_bytes_per_s": _scaled(row["bandwidth_gb_s"], 1e9),
        "fp32_flop_per_s": _scaled(row["fp32_tflops"], 1e12),
        "fp16_flop_per_s": _scaled(row["fp16_tensor_tflops_dense"], 1e12),
        "int8_op_per_s": _scaled(row["int8_tops_dense"], 1e12),
        "unified": row["kind"] in {"apu", "apple", "cpu"},
        "power_w": _scaled(row["tdp_w"], 1),
        "price_usd": _scaled(row["launch_price_usd"], 1),
        "launch_year": _scaled(row["launch_year"], 1, whole=True),
        "aliases": sorted(chip_aliases(row["name"])),
        "bare_name": bare_name(row["name"]),
        "note": row["notes"],
        "citation": {"source": row["source"], "date": date},
    }
    return {key: value for key, value in record.items() if value not in (None, "", [], False)}


def _scaled(cell: str, unit: float, *, whole: bool = False) -> float | int | None:
    if not cell:
        return None
    value = float(cell) * unit
    return round(value) if whole else value
