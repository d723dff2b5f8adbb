"""Roofline: what the machine can do at best, and where models sit below it.

After Williams, Waterman and Patterson, "Roofline: an insightful visual performance model" (2009).
A model's points are its estimate's own terms, summed per phase: work done over data moved, and work
done over time taken.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from advisor.types import Choice, Estimate, Recommendation, Term, Validation
from probes.types import HardwareProfile, Measurement
from reports import format as fmt
from reports import phrases
from reports.blocks import Grid
from reports.charts.axes import LABEL_LIMIT, Label, legend, log_axis, place_labels
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MODELS_SHOWN = 8
_LABELLED_COUNTS = (("decode", 4), ("prefill", 2))
_CEILINGS_SHOWN = 4
_TERA = 1e12


@dataclass(frozen=True, slots=True)
class Roof:
    """One device's measured ceilings."""

    device_id: str
    bytes_per_s: float
    flop_per_s: tuple[tuple[str, float], ...]  # by dtype, highest first


@dataclass(frozen=True, slots=True)
class Point:
    """One phase of one model on the chart."""

    name: str
    phase: str  # decode | prefill
    flop_per_byte: float
    flop_per_s: float


def roofs(profile: HardwareProfile) -> tuple[Roof, ...]:
    """Devices whose read bandwidth and matrix rate were both measured."""
    found = []
    for device in profile.devices:
        own = [o for o in profile.outcomes if o.device_id == device.device_id and o.measurement is not None]
        reads = [o.measurement for o in own if o.probe_id.endswith("read_bandwidth")]
        bandwidth = max((m.value for m in reads if m and m.unit == "bytes_per_s"), default=None)
        rates = _best_by_dtype(o.measurement for o in own if o.probe_id.endswith("matmul"))
        if bandwidth and rates:
            found.append(Roof(device.device_id, bandwidth, rates))
    return tuple(found)


def _best_by_dtype(measurements: Iterable[Measurement | None]) -> tuple[tuple[str, float], ...]:
    best: dict[str, float] = {}
    for measurement in measurements:
        if measurement is not None and measurement.unit == "flop_per_s":
            dtype = plain(measurement.dtype or "any type", 16)
            best[dtype] = max(best.get(dtype, 0.0), measurement.value)
    return tuple(sorted(best.items(), key=lambda item: -item[1]))


def _point(name: str, phase: str, terms: Sequence[Term], device_id: str) -> Point | None:
    own = [term for term in terms if term.name.startswith(f"{phase}.") and term.device_id == device_id]
    moved, flop = sum(term.bytes for term in own), sum(term.flop for term in own)
    time_s = sum(term.time_s for term in own)
    return Point(name, phase, flop / moved, flop / time_s) if moved and flop and time_s else None


def points(estimates: Iterable[tuple[str, Estimate]], device_id: str) -> tuple[Point, ...]:
    """Both phases of each estimate, as far as its terms run on the device."""
    made = (
        _point(name, phase, estimate.terms, device_id)
        for name, estimate in estimates
        for phase in ("decode", "prefill")
    )
    return tuple(point for point in made if point is not None)


def _estimates(documents: Sequence[object], profile: HardwareProfile) -> list[tuple[str, Estimate]]:
    found: dict[tuple[str, str], tuple[str, Estimate]] = {}
    for document in documents:
        if isinstance(document, Recommendation) and document.profile_id == profile.profile_id:
            named: Iterable[tuple[str, Estimate]] = map(_named, document.ranked[:_MODELS_SHOWN])
        elif isinstance(document, Validation) and document.profile_id in (None, profile.profile_id):
            named = ((phrases.short_name(r.estimate.model_id), r.estimate) for r in document.records)
        elif isinstance(document, Estimate):
            named = ((phrases.short_name(document.model_id), document),)
        else:
            continue
        for name, estimate in named:
            found.setdefault((estimate.model_id, estimate.quant_id), (name, estimate))
    return list(found.values())[:_MODELS_SHOWN]


def _named(choice: Choice) -> tuple[str, Estimate]:
    return phrases.choice_name(choice), choice.estimate


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """One roofline per measured device of each profile."""
    charts: list[Chart] = []
    for profile in (document for document in documents if isinstance(document, HardwareProfile)):
        for roof in roofs(profile):
            placed = points(_estimates(documents, profile), roof.device_id)
            charts.append(_chart(profile, roof, placed, len(charts)))
    return tuple(charts)


def _chart(profile: HardwareProfile, roof: Roof, placed: tuple[Point, ...], index: int) -> Chart:
    name = _device_name(profile, roof.device_id)
    top_dtype, top_rate = roof.flop_per_s[0]
    described = (
        f"Roofline of {name}: memory delivers {fmt.bandwidth(roof.bytes_per_s)}; arithmetic peaks at "
        f"{fmt.compute(top_rate)} in {top_dtype}."
    )
    if placed:
        described += (
            " Generating a token sits on the memory slope at the left, reading a prompt near the arithmetic ceiling."
        )
    rows = [("Memory bandwidth", "ceiling", fmt.UNKNOWN, fmt.bandwidth(roof.bytes_per_s))]
    rows += [(f"Arithmetic, {dtype}", "ceiling", fmt.UNKNOWN, fmt.compute(rate)) for dtype, rate in roof.flop_per_s]
    rows += [(p.name, _PHASE_WORDS[p.phase], fmt.number(p.flop_per_byte), fmt.compute(p.flop_per_s)) for p in placed]
    return Chart(
        chart_id=f"roofline-{index + 1}",
        title=f"Roofline of {shortened(name, 40)}",
        caption="Lines are measured ceilings. A point below the slope waits for memory; below the flat part, for "
        "arithmetic.",
        description=described,
        table=Grid(
            caption=f"Ceilings of {name} and models below them",
            headers=("What", "Phase", "FLOP per byte", "Rate"),
            rows=tuple(rows),
            numeric=frozenset({2, 3}),
        ),
        draw=partial(_draw, roof, placed),
    )


_PHASE_WORDS = {"decode": "generate", "prefill": "read prompt"}


def _device_name(profile: HardwareProfile, device_id: str) -> str:
    device = next(device for device in profile.devices if device.device_id == device_id)
    return plain(device.name or profile.host.cpu_name or device_id)


def _draw(roof: Roof, placed: tuple[Point, ...], axes: "Axes", theme: Theme) -> None:
    top = roof.flop_per_s[0][1]
    ridge = top / roof.bytes_per_s
    xs = [0.25, ridge * 8, *(point.flop_per_byte for point in placed)]
    ys = [roof.bytes_per_s * 0.25 / _TERA, top * 1.6 / _TERA, *(point.flop_per_s / _TERA for point in placed)]
    log_axis(axes, "x", xs, pad=1.6)
    log_axis(axes, "y", ys, pad=1.6)
    low, high = axes.get_xlim()
    axes.fill_between(
        [low, ridge, high], [low * roof.bytes_per_s / _TERA, top / _TERA, top / _TERA], 0, color=theme.band, lw=0
    )
    _draw_ceilings(roof, axes, theme, low, high)
    for phase, color, marker, label in (
        ("decode", theme.blue, "o", "generating a token"),
        ("prefill", theme.orange, "^", "reading the prompt"),
    ):
        own = [point for point in placed if point.phase == phase]
        axes.plot(
            [point.flop_per_byte for point in own],
            [point.flop_per_s / _TERA for point in own],
            linestyle="none",
            marker=marker,
            markersize=7,
            markerfacecolor=color,
            markeredgecolor=theme.surface,
            markeredgewidth=1.0,
            label=label if own else "_",
            zorder=4,
        )
    axes.set_xlabel("Arithmetic intensity (FLOP per byte moved)")
    axes.set_ylabel("Rate (TFLOP/s)")
    legend(axes)
    wanted = [
        Label(p.flop_per_byte, p.flop_per_s / _TERA, shortened(p.name, LABEL_LIMIT))
        for phase, labelled_count in _LABELLED_COUNTS
        for p in [point for point in placed if point.phase == phase][:labelled_count]
    ]
    spots = [(p.flop_per_byte, p.flop_per_s / _TERA) for p in placed]
    obstacles = [(spot, spot) for spot in spots]
    obstacles += [((rate / roof.bytes_per_s, rate / _TERA), (high, rate / _TERA)) for _, rate in roof.flop_per_s]
    obstacles += [(spot, spot) for spot in _slope_points(roof, low)]
    place_labels(axes, wanted, theme, obstacles)


def _slope_points(roof: Roof, low: float) -> list[tuple[float, float]]:
    """Points along the memory slope, near enough to each other to keep labels off it."""
    ridge = roof.flop_per_s[0][1] / roof.bytes_per_s
    steps = [low * (ridge / low) ** (step / 40) for step in range(41)]
    return [(step, step * roof.bytes_per_s / _TERA) for step in steps]


def _draw_ceilings(roof: Roof, axes: "Axes", theme: Theme, low: float, high: float) -> None:
    slope = roof.bytes_per_s / _TERA
    ridge = roof.flop_per_s[0][1] / roof.bytes_per_s
    axes.plot([low, ridge], [low * slope, ridge * slope], color=theme.ink, lw=1.8)
    middle = low**0.7 * ridge**0.3
    axes.text(
        middle,
        middle * slope * 1.18,
        f"memory {fmt.bandwidth(roof.bytes_per_s)}",
        rotation=math.degrees(math.atan(slope)),
        rotation_mode="anchor",
        transform_rotates_text=True,
        ha="center",
        va="bottom",
        fontsize=10.0,
        fontweight="bold",
    )
    for index, (dtype, rate) in enumerate(roof.flop_per_s[:_CEILINGS_SHOWN]):
        top = index == 0
        color, style = (theme.ink, "-") if top else (theme.muted, (0, (5, 2)))
        start = rate / roof.bytes_per_s
        axes.plot([start, high], [rate / _TERA] * 2, color=color, lw=1.8 if top else 1.1, ls=style)
        axes.annotate(
            f"{dtype} {fmt.compute(rate)}",
            (ridge, rate / _TERA),
            xytext=(8, 4 if top else -4),
            textcoords="offset points",
            va="bottom" if top else "top",
            fontsize=10.0,
            color=color,
            fontweight="bold" if top else "normal",
        )
