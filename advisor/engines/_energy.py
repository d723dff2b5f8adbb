"""Joules used while a window is timed, where anything counts them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from probes.energy import Meter, used_j


@dataclass(slots=True)
class Joules:
    """Energy of all meters over a block; None before its end, without meters, or if a counter failed."""

    total_j: float | None = None


@contextmanager
def joules(meters: Sequence[Meter]) -> Iterator[Joules]:
    """Meter the block. A counter that fails, or stands still, costs the figure and never the timing."""
    found, starts = Joules(), []
    with suppress(Exception):  # drivers raise their own types
        starts = [meter.read_j() for meter in meters]
    yield found
    if not starts:
        return
    with suppress(Exception):  # drivers raise their own types
        found.total_j = sum(used_j(meter, start_j) for meter, start_j in zip(meters, starts, strict=True)) or None
