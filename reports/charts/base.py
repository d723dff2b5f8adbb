"""What a chart is, and the one way to draw it: as SVG, or as pixels."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from reports.blocks import Grid
from reports.charts.theme import LIGHT, Theme

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Pixels = npt.NDArray[np.uint8]

WIDTH_IN = 6.2
HEIGHT_IN = 4.3
_PNG_DPI = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its words: ``description`` says what it shows, ``table`` holds its data."""

    chart_id: str
    title: str
    caption: str
    description: str
    table: Grid
    draw: "Callable[[Axes, Theme], None]"
    width_in: float = WIDTH_IN
    height_in: float = HEIGHT_IN


def _settings(theme: Theme) -> dict[str, Any]:
    return {
        "axes.axisbelow": True,
        "axes.edgecolor": theme.axis,
        "axes.facecolor": theme.surface,
        "axes.grid": True,
        "axes.labelcolor": theme.muted,
        "axes.labelsize": 11.0,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.unicode_minus": True,
        "figure.facecolor": theme.surface,
        "font.family": ["DejaVu Sans"],
        "font.size": 11.0,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "hatch.linewidth": 0.6,
        "legend.edgecolor": "none",
        "legend.facecolor": theme.surface,
        "legend.fontsize": 10.5,
        "legend.framealpha": 1.0,
        "legend.labelcolor": theme.ink,
        "path.simplify": True,
        "svg.fonttype": "none",
        "svg.hashsalt": "model-fit-advisor",
        "text.color": theme.ink,
        "text.parse_math": False,  # a "$" in a model's name is a dollar sign
        "xtick.color": theme.axis,
        "xtick.labelcolor": theme.muted,
        "xtick.labelsize": 10.5,
        "ytick.color": theme.axis,
        "ytick.labelcolor": theme.muted,
        "ytick.labelsize": 10.5,
    }


@contextmanager
def _drawing(theme: Theme) -> Iterator[None]:
    """Our settings, whatever the user's matplotlibrc says; glyphs a font lacks are drawn as boxes."""
    import warnings

    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_settings(theme))
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def _figure(chart: Chart, theme: Theme) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(chart.width_in, chart.height_in), layout=layout)
    FigureCanvasAgg(figure)  # a renderer for text sizes, without pyplot's global state
    chart.draw(figure.add_subplot(), theme)
    return figure


def to_svg(chart: Chart) -> bytes:
    """The chart as matplotlib's own SVG, the same bytes for the same data."""
    with _drawing(LIGHT):
        buffer = BytesIO()
        _figure(chart, LIGHT).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def to_pixels(chart: Chart, theme: Theme) -> "Pixels":
    """The chart as an array of (height, width, 4) bytes."""
    with _drawing(theme):
        figure = _figure(chart, theme)
        figure.set_dpi(_PNG_DPI)
        return _pixels(figure)


def _pixels(figure: "Figure") -> "Pixels":
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def text_pixels(lines: Sequence[tuple[str, float, bool]], width_in: float, theme: Theme) -> "Pixels":
    """Lines of (text, size in points, bold) at the left of a strip, as an array of (height, width, 4) bytes."""
    from matplotlib.figure import Figure

    height_in = sum(size * 1.75 for _, size, _ in lines) / 72.0 + 0.2
    with _drawing(theme):
        figure = Figure(figsize=(width_in, height_in), dpi=_PNG_DPI)
        top_in = height_in - 0.16
        for text, size, bold in lines:
            weight = "bold" if bold else "normal"
            color = theme.ink if bold else theme.muted
            place = (0.15 / width_in, top_in / height_in)
            figure.text(*place, text, fontsize=size, fontweight=weight, color=color, ha="left", va="top")
            top_in -= size * 1.75 / 72.0
        return _pixels(figure)
