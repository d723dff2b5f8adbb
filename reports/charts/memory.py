"""Memory of each pick against what is free on its device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from advisor.types import DeviceMemory, Estimate, Recommendation
from catalog.units import GIB
from reports import format as fmt
from reports import phrases
from reports.blocks import Grid
from reports.charts.axes import LABEL_LIMIT, legend
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PICKS_SHOWN = 10
#: A device gets no bar if it holds less than this share of what the fullest does, or of what it has free: mostly a
#: table of embeddings beside the processor.
_SMALL_SHARE_FRAC, _SMALL_FREE_FRAC = 0.1, 0.02
_PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "overhead_bytes")
PART_NAMES = {
    "weights_bytes": "weights",
    "kv_bytes": "KV cache",
    "compute_bytes": "working space",
    "overhead_bytes": "overhead",
}
#: Width of a bar's figure as a share of the widest bar or limit.
_LABEL_FRAC = 0.2
_HATCHES = ("", "//", "..", "xx")


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    device: DeviceMemory


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """One chart per recommendation, and one for single estimates."""
    charts: list[Chart] = []
    for document in documents:
        if isinstance(document, Recommendation) and document.ranked:
            named = [(phrases.choice_name(c), c.estimate) for c in document.ranked[:_PICKS_SHOWN]]
            charts.append(_chart(named, len(charts)))
    singles = [document for document in documents if isinstance(document, Estimate)]
    if singles:
        charts.append(_chart([(phrases.short_name(e.model_id), e) for e in singles[:_PICKS_SHOWN]], len(charts)))
    return tuple(charts)


def _bars(named: Sequence[tuple[str, Estimate]]) -> list[_Bar]:
    bars = []
    for name, estimate in named:
        fullest = max((device.total_bytes for device in estimate.memory.devices), default=0)
        large = [device for device in estimate.memory.devices if _is_notable(device, fullest)]
        for device in large:
            suffix = f" · {plain(device.device_id, 10)}" if len(large) > 1 else ""
            bars.append(_Bar(shortened(name, LABEL_LIMIT) + suffix, device))
    return bars


def _is_notable(device: DeviceMemory, fullest_bytes: int) -> bool:
    if device.total_bytes == fullest_bytes:
        return True
    least_bytes = max(_SMALL_SHARE_FRAC * fullest_bytes, _SMALL_FREE_FRAC * (device.available_bytes or 0))
    return device.total_bytes >= least_bytes


def _chart(named: Sequence[tuple[str, Estimate]], index: int) -> Chart:
    bars = _bars(named)
    tight = [
        bar.label
        for bar in bars
        if bar.device.available_bytes is not None and bar.device.total_bytes > bar.device.available_bytes
    ]
    described = f"Memory that {phrases.counted(len(named), 'model')} need{'s' if len(named) == 1 else ''}, split into "
    described += "weights, KV cache, working space and overhead, beside what is free. "
    described += f"Too large: {', '.join(tight)}." if tight else "All of them fit."
    is_whole = len(bars) == sum(len(estimate.memory.devices) for _, estimate in named)
    left_out = "" if is_whole else " Devices that hold little of a model are left out."
    rows = tuple(
        (
            bar.label,
            plain(bar.device.device_id),
            *(fmt.gib(getattr(bar.device, part)) for part in _PARTS),
            fmt.gib(bar.device.total_bytes),
            fmt.gib(bar.device.available_bytes),
        )
        for bar in bars
    )
    return Chart(
        chart_id=f"memory-{index + 1}",
        title="Memory of each pick against what is free",
        caption="The dashed line is the memory that is free for a model on its device." + left_out,
        description=described,
        table=Grid(
            caption="Memory by use",
            headers=("Model", "On", "Weights", "KV cache", "Working space", "Overhead", "Total", "Free"),
            rows=rows,
            numeric=frozenset(range(2, 8)),
        ),
        draw=partial(_draw, tuple(bars)),
        height_in=max(2.6, 1.3 + 0.34 * len(bars)),
    )


def _draw(bars: tuple[_Bar, ...], axes: "Axes", theme: Theme) -> None:
    colors = (theme.blue, theme.orange, theme.green, theme.purple)
    rows = range(len(bars))
    left = [0.0] * len(bars)
    for part, color, hatch in zip(_PARTS, colors, _HATCHES, strict=True):
        widths = [getattr(bar.device, part) / GIB for bar in bars]
        if any(widths):
            axes.barh(
                rows,
                widths,
                left=left,
                height=0.62,
                color=color,
                hatch=hatch,
                edgecolor=theme.surface,
                linewidth=0.6,
                label=PART_NAMES[part],
            )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for row, bar in enumerate(bars):
        _draw_limit(row, bar.device, axes, theme, labelled=row == 0)
    limits = [bar.device.available_bytes / GIB for bar in bars if bar.device.available_bytes]
    widest = max([*left, *limits, 0.1])
    axes.set_xlim(0, widest * (1.0 + _LABEL_FRAC))
    for row, (bar, end) in enumerate(zip(bars, left, strict=True)):
        axes.annotate(
            fmt.gib(bar.device.total_bytes),
            (_label_at(bar.device, end, widest), row),
            xytext=(5, 0),
            textcoords="offset points",
            bbox={"facecolor": theme.surface, "edgecolor": "none", "pad": 1.0},
            va="center",
            fontsize=10.0,
            color=theme.ink,
        )
    axes.set_yticks(list(rows), [bar.label for bar in bars])
    axes.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.invert_yaxis()
    axes.set_xlabel("Memory (GiB)")
    legend(axes, columns_count=5)


def _label_at(device: DeviceMemory, end_gib: float, widest_gib: float) -> float:
    """Where a bar's figure starts: behind the bar, or behind the line that it would stand on."""
    limit = (device.available_bytes or 0) / GIB
    return limit if end_gib <= limit < end_gib + _LABEL_FRAC * widest_gib else end_gib


def _draw_limit(row: int, device: DeviceMemory, axes: "Axes", theme: Theme, *, labelled: bool) -> None:
    if device.available_bytes is not None:
        axes.plot(
            [device.available_bytes / GIB] * 2,
            [row - 0.5, row + 0.5],
            color=theme.red,
            lw=1.8,
            ls=(0, (3, 1.5)),
            label="free" if labelled else "_",
        )
