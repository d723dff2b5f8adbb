"""Curves kept in a measurement's details: bandwidth by buffer size, and by number of threads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from catalog.units import GIB, KIB, MIB
from probes.types import HardwareProfile, Host, ProbeOutcome
from reports import format as fmt
from reports import phrases, wording
from reports.blocks import Grid
from reports.charts.axes import log_axis
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Curve:
    """A measured rate at several sizes or thread counts."""

    name: str
    device_id: str
    at: tuple[float, ...]
    bytes_per_s: tuple[float, ...]


def _column(details: Mapping[str, tuple[float, ...]], *endings: str) -> tuple[float, ...] | None:
    """The first column whose name ends like this, so that probes may say what the size is of."""
    for ending in endings:
        for name, values in details.items():
            if name.endswith(ending) and not name.endswith("_per_s") and len(values) > 1:
                return values
    return None


def _curve(outcome: ProbeOutcome, *endings: str) -> Curve | None:
    if outcome.measurement is None:
        return None
    details = outcome.measurement.details
    at = _column(details, *endings)
    rates = next((values for name, values in details.items() if name.endswith("bytes_per_s")), None)
    if at is None or rates is None or len(at) != len(rates):
        return None
    return Curve(wording.probe(outcome.probe_id), plain(outcome.device_id), at, rates)


def curves(profile: HardwareProfile, *endings: str) -> tuple[Curve, ...]:
    """Curves of a profile over a quantity, e.g. ``_bytes`` or ``threads_count``."""
    return tuple(curve for curve in (_curve(outcome, *endings) for outcome in profile.outcomes) if curve)


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """A cache curve and a thread sweep per profile that holds them."""
    profiles = [document for document in documents if isinstance(document, HardwareProfile)]
    charts: list[Chart] = []
    for number, profile in enumerate(profiles, 1):
        where = f" on {shortened(phrases.machine_name(profile), 26)}" if len(profiles) > 1 else ""
        by_size = curves(profile, "_bytes", "sizes")
        if by_size:
            charts.append(_cache_chart(profile.host, by_size, number, where))
        by_threads = curves(profile, "threads_count", "threads")
        if by_threads:
            charts.append(_threads_chart(by_threads, number, where))
    return tuple(charts)


def _cache_chart(host: Host, found: tuple[Curve, ...], number: int, where: str) -> Chart:
    main = found[0]
    rows = tuple(
        (curve.device_id, fmt.cache_size(size), fmt.bandwidth(rate))
        for curve in found
        for size, rate in zip(curve.at, curve.bytes_per_s, strict=True)
    )
    return Chart(
        chart_id=f"cache-curve-{number}",
        title=f"Bandwidth by buffer size{where}",
        caption="Steps are the caches; the flat end is main memory, which is what a model reads from.",
        description=f"{fmt.bandwidth(main.bytes_per_s[0])} in a buffer of {fmt.cache_size(main.at[0])}, "
        f"{fmt.bandwidth(main.bytes_per_s[-1])} in one of {fmt.cache_size(main.at[-1])}.",
        table=Grid(
            caption="Bandwidth by buffer size",
            headers=("On", "Buffer", "Bandwidth"),
            rows=rows,
            numeric=frozenset({1, 2}),
        ),
        draw=partial(_draw_cache, host, found),
    )


def _draw_cache(host: Host, found: tuple[Curve, ...], axes: "Axes", theme: Theme) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    log_axis(axes, "y", [rate / _GIGA for curve in found for rate in curve.bytes_per_s], pad=1.35)
    axes.set_xscale("log", base=2)
    ticks = [64 * KIB, MIB, 16 * MIB, 256 * MIB, 4 * GIB]
    sizes = [size for curve in found for size in curve.at]
    axes.set_xlim(min(sizes) / 1.3, max(sizes) * 1.3)
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if min(sizes) / 1.3 <= t <= max(sizes) * 1.3]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: fmt.cache_size(size)))
    for size, name in ((host.l1d_bytes, "L1"), (host.l2_bytes, "L2"), (host.l3_bytes, "L3")):
        if size and axes.get_xlim()[0] < size < axes.get_xlim()[1]:
            axes.axvline(size, color=theme.axis, lw=0.9, ls=(0, (2, 2)))
            axes.annotate(
                f"{name} {fmt.cache_size(size)}",
                (size, 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=10.0,
                color=theme.muted,
                va="top",
            )
    _plot(axes, found, theme, [curve.device_id for curve in found], markersize=4.5)
    axes.set_xlabel("Buffer size")
    axes.set_ylabel("Bandwidth (GB/s)")
    if len(found) > 1:
        axes.legend(loc="lower left", frameon=False)


def _plot(axes: "Axes", found: Sequence[Curve], theme: Theme, labels: Sequence[str], *, markersize: float) -> None:
    for curve, label, color, marker in zip(found, labels, theme.series, "os^Dv", strict=False):
        rates = [rate / _GIGA for rate in curve.bytes_per_s]
        axes.plot(curve.at, rates, color=color, marker=marker, markersize=markersize, lw=1.8, label=label)


def _threads_chart(found: tuple[Curve, ...], number: int, where: str) -> Chart:
    rows = tuple(
        (curve.name, curve.device_id, fmt.number(count), fmt.bandwidth(rate))
        for curve in found
        for count, rate in zip(curve.at, curve.bytes_per_s, strict=True)
    )
    best = max(zip(found[0].bytes_per_s, found[0].at, strict=True))
    return Chart(
        chart_id=f"thread-sweep-{number}",
        title=f"Bandwidth by number of threads{where}",
        caption="More threads help until the memory is busy all the time.",
        description=f"{found[0].name} peaks at {fmt.bandwidth(best[0])} with {fmt.number(best[1])} threads.",
        table=Grid(
            caption="Bandwidth by number of threads",
            headers=("What", "On", "Threads", "Bandwidth"),
            rows=rows,
            numeric=frozenset({2, 3}),
        ),
        draw=partial(_draw_threads, found),
    )


def _draw_threads(found: tuple[Curve, ...], axes: "Axes", theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    _plot(axes, found, theme, [shortened(curve.name, 34) for curve in found], markersize=6.0)
    axes.set_ylim(0, max(rate for curve in found for rate in curve.bytes_per_s) / _GIGA * 1.15)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Threads")
    axes.set_ylabel("Bandwidth (GB/s)")
    axes.legend(loc="lower right", frameon=False)
