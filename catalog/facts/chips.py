"""Raw chip rows as packaged `catalog.types.ChipSpec` records."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_GIB = 1024**3
_VENDOR_WORDS = ("NVIDIA", "AMD", "Intel", "Apple")
_BRAND_WORDS = ("GeForce", "Radeon", "Tesla", "Quadro", "Instinct", "Arc", "GTX", "RTX", "RX")


def chip_records(rows: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Every chip as keyword arguments of `ChipSpec`."""
    return [_chip_record(row) for row in rows]


def _chip_record(row: Mapping[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "chip_id": row["name"],
        "vendor": row["vendor"],
        "kind": row["kind"],
        "architecture": row["arch"] or None,
        "memory_bytes": _scaled(row["memory_gib"], _GIB, whole=True),
        "memory_bytes_per_s": _scaled(row["bandwidth_gb_s"], 1e9),
        "fp32_flop_per_s": _scaled(row["fp32_tflops"], 1e12),
        "fp16_flop_per_s": _scaled(row["fp16_tensor_tflops_dense"], 1e12),
        "int8_op_per_s": _scaled(row["int8_tops_dense"], 1e12),
        "unified": row["kind"] in {"apu", "apple", "cpu"},
        "power_w": _scaled(row["tdp_w"], 1),
        "price_usd": _scaled(row["launch_price_usd"], 1),
        "launch_year": _scaled(row["launch_year"], 1, whole=True),
        "aliases": sorted(_aliases(row["name"])),
        "citation": {"source": row["source"]},
    }
    return {key: value for key, value in record.items() if value not in (None, [], False)}


def _scaled(cell: str, unit: float, *, whole: bool = False) -> float | int | None:
    if not cell:
        return None
    value = float(cell) * unit
    return round(value) if whole else value


def _aliases(name: str) -> set[str]:
    """The names people give a chip: without vendor, brand and parenthesis, one by one."""
    aliases = {name, re.sub(r"\s*\([^)]*\)", "", name)}
    for words in (_VENDOR_WORDS, _BRAND_WORDS):
        aliases |= {alias.partition(" ")[2] for alias in aliases if alias.startswith(words) and " " in alias}
    return aliases - {name}
