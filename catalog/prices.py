"""What machines cost: street and list prices of cards and computers, and rents per hour, each with its source."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from catalog.types import Citation

_DATA_FILE = Path(__file__).resolve().parent / "data" / "prices.json"
_SAME_SIZE_FRAC = 0.08  # GB against GiB


class OfferKind(StrEnum):
    """What a price buys."""

    CARD = "card"  # a plug-in card: a computer around it is extra
    COMPUTER = "computer"  # a whole computer
    RENT = "rent"  # one hour of one chip in a data centre, its server included


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One price in US dollars, before tax. ``memory_bytes`` is given where a chip is sold with several sizes."""

    chip_id: str
    kind: OfferKind
    usd: float
    condition: str  # "new" | "used" | "on demand"
    citation: Citation
    memory_bytes: int | None = None


def offer_for(chip_id: str, kind: OfferKind, memory_bytes: int | None = None) -> Offer | None:
    """The newest price of a chip with a size of memory; None where none was found."""
    fitting = [
        offer
        for offer in _offers().get(chip_id, ())
        if offer.kind is kind and _same_size(offer.memory_bytes, memory_bytes)
    ]
    return max(fitting, key=lambda offer: offer.citation.date or "", default=None)


def _same_size(offered_bytes: int | None, wanted_bytes: int | None) -> bool:
    if offered_bytes is None or wanted_bytes is None:
        return True
    return abs(offered_bytes - wanted_bytes) <= _SAME_SIZE_FRAC * offered_bytes


def computer_power_w(chip_id: str) -> float | None:
    """What the computer of a chip draws at the wall under full load, where its maker says so."""
    found: float | None = _document()["computer_power_w"].get(chip_id)
    return found


@cache
def _document() -> dict[str, Any]:
    return dict(json.loads(_DATA_FILE.read_bytes()))


@cache
def _offers() -> Mapping[str, tuple[Offer, ...]]:
    records: dict[str, list[dict[str, Any]]] = _document()["offers"]
    return {chip_id: tuple(_offer(chip_id, record) for record in found) for chip_id, found in records.items()}


def _offer(chip_id: str, record: Mapping[str, Any]) -> Offer:
    return Offer(
        chip_id=chip_id,
        kind=OfferKind(record["kind"]),
        usd=record["usd"],
        condition=record["condition"],
        memory_bytes=record.get("memory_bytes"),
        citation=Citation(source=record["source"], date=record["date"]),
    )
