"""Axis and label helpers that the charts share."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import format as fmt
from reports.charts.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

LABEL_LIMIT = 24
_CHAR_WIDTH = 6.0  # points of one character of a label, on average
_LINE_HEIGHT = 12.0
_CLEARANCE = 2.5
_SMALLEST = 1e-30  # a logarithmic axis shows nothing below, nor above its inverse
#: Which multiples of each power of ten get a tick, on axes of fewer than so many decades.
_TICKS = (
    (0.4, (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)),
    (0.9, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (3.0, (1.0, 2.0, 5.0)),
    (math.inf, (1.0,)),
)

Segment = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Label:
    """A text that wants to stand next to a point, in data coordinates."""

    x: float
    y: float
    text: str
    color: str | None = None


def plain_log(axis: "Axis", *, decades_count: float = 1.0) -> None:
    """Ticks with plain numbers, the closer the fewer decades there are: no powers, no mathematics typesetting."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    subs = next(subs for most, subs in _TICKS if decades_count < most)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def decades(low: float, high: float) -> float:
    """How many powers of ten lie between two positive values."""
    return math.log10(high / low) if low > 0 else 0.0


def log_axis(axes: "Axes", which: str, values: Iterable[float], *, pad: float = 1.3) -> None:
    """A logarithmic axis around the values, with plain tick labels."""
    finite = [value for value in values if _SMALLEST < value < 1.0 / _SMALLEST]
    low, high = (min(finite), max(finite)) if finite else (1.0, 10.0)
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(low / pad, high * pad)
        plain_log(axes.xaxis, decades_count=decades(low, high))
    else:
        axes.set_yscale("log")
        axes.set_ylim(low / pad, high * pad)
        plain_log(axes.yaxis, decades_count=decades(low, high))
    axes.tick_params(which="minor", length=0)


def context_axis(axes: "Axes", tokens: Sequence[float]) -> None:
    """A logarithmic axis of token counts with ticks such as 4k and 32k."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log", base=2)
    powers = range(math.floor(math.log2(min(tokens))), math.ceil(math.log2(max(tokens))) + 1)
    axes.xaxis.set_major_locator(FixedLocator([2.0**power for power in powers]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: fmt.tokens(round(value))))
    axes.set_xlim(min(tokens) * 0.92, max(tokens) * 1.08)


def legend(axes: "Axes", *, columns_count: int = 4) -> None:
    """A legend above the axes, from the figure's left edge, where it can hide nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    if handles and figure is not None:
        figure.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=columns_count,
            borderaxespad=0.0,
            handlelength=1.4,
            columnspacing=1.4,
            handletextpad=0.5,
            frameon=False,
        )


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "_Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


#: where to try a label, in points from its point: (dx, dy, horizontal alignment)
_OFFSETS = (
    (7, 9, "left"),
    (-7, 9, "right"),
    (7, -9, "left"),
    (-7, -9, "right"),
    (10, 0, "left"),
    (-10, 0, "right"),
    (0, 14, "center"),
    (0, -14, "center"),
    (12, 18, "left"),
    (12, -18, "left"),
    (-12, 18, "right"),
    (-12, -18, "right"),
)


def place_labels(
    axes: "Axes", labels: Sequence[Label], theme: Theme, obstacles: Sequence[Segment] = (), *, boxed: bool = False
) -> None:
    """Write labels beside their points where they cover neither each other nor an obstacle; skip the rest.

    What the axes already say is an obstacle too. ``boxed`` labels have a ground of their own, for charts
    too dense to keep clear of everything. Call it last, after the limits and all other texts are set: distances are
    measured on the page.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    to_pt = 72.0 / figure.dpi
    frame = axes.get_window_extent()
    area = _Box(*(edge * to_pt for edge in (frame.x0, frame.y0, frame.x1, frame.y1)))
    taken = [_around(axes, segment, to_pt) for segment in obstacles]
    for text in axes.texts:
        extent = text.get_window_extent()
        taken.append(_Box(extent.x0 * to_pt, extent.y0 * to_pt, extent.x1 * to_pt, extent.y1 * to_pt))
    for label in labels:
        x, y = (float(edge) * to_pt for edge in axes.transData.transform((label.x, label.y)))
        for dx, dy, align in _OFFSETS:
            box = _label_box(x + dx, y + dy, align, label.text)
            inside = area.left <= box.left and box.right <= area.right and area.bottom <= box.bottom
            if inside and box.top <= area.top and not any(box.meets(other) for other in taken):
                taken.append(box)
                axes.annotate(
                    label.text,
                    (label.x, label.y),
                    xytext=(dx, dy),
                    textcoords="offset points",
                    ha=align,
                    va="center",
                    fontsize=10.0,
                    color=label.color or theme.ink,
                    bbox={"facecolor": theme.surface, "edgecolor": "none", "pad": 1.0} if boxed else None,
                    zorder=6,
                )
                break


def _around(axes: "Axes", segment: Segment, to_pt: float) -> _Box:
    corners = [axes.transData.transform(end) * to_pt for end in segment]
    xs, ys = [float(corner[0]) for corner in corners], [float(corner[1]) for corner in corners]
    return _Box(min(xs) - _CLEARANCE, min(ys) - _CLEARANCE, max(xs) + _CLEARANCE, max(ys) + _CLEARANCE)


def _label_box(x: float, y: float, align: str, text: str) -> _Box:
    width = len(text) * _CHAR_WIDTH
    left = {"left": x, "right": x - width, "center": x - width / 2}[align]
    return _Box(left, y - _LINE_HEIGHT / 2, left + width, y + _LINE_HEIGHT / 2)
