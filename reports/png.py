"""Charts as PNG: one alone, or all of a report's on a sheet of two columns."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from reports.charts.base import WIDTH_IN, Chart, text_pixels, to_pixels
from reports.charts.theme import DARK, LIGHT, Theme
from reports.errors import ReportRequestError
from reports.text import plain

if TYPE_CHECKING:
    from reports.charts.base import Pixels

_COLUMNS_COUNT = 2
_GAP_PX = 36


def render(documents: Sequence[object], *, chart: str | None = None, dark: bool = False) -> bytes:
    """Every chart of the documents on one sheet, or only the first whose name starts with ``chart``.

    Raises:
        ReportRequestError: if there is no such chart; names those there are.
    """
    from reports.view import build_page

    page, theme = build_page(documents), DARK if dark else LIGHT
    if chart is None:
        return sheet_png(page.headline.title, page.headline.kicker, page.charts(), theme)
    found = [made for made in page.charts() if made.chart_id.startswith(chart)]
    if not found:
        known = ", ".join(made.chart_id for made in page.charts()) or "none"
        raise ReportRequestError(f"no chart {plain(chart, 40)!r} in these documents; there are: {known}")
    return chart_png(found[0], theme)


def chart_png(chart: Chart, theme: Theme = LIGHT) -> bytes:
    """One chart with its title, about 1400 pixels wide."""
    return _encoded(_stacked([_titled(chart, theme)], theme))


def _titled(chart: Chart, theme: Theme) -> "Pixels":
    title = text_pixels([(chart.title, 13.0, True)], chart.width_in, theme)
    return _joined([title, to_pixels(chart, theme)], theme, gap_px=0)


def sheet_png(title: str, lead: str, charts: Sequence[Chart], theme: Theme = LIGHT) -> bytes:
    """A heading and all charts; without any chart, the heading says so."""
    if not charts:
        lead = f"{lead} The documents hold nothing to draw.".strip()
    columns_count = min(_COLUMNS_COUNT, max(1, len(charts)))
    drawn = [_titled(chart, theme) for chart in charts]
    width_in = max((chart.width_in for chart in charts), default=WIDTH_IN) * columns_count
    heading = text_pixels([(title, 17.0, True), (lead, 10.5, False)], width_in, theme)
    rows = [drawn[start : start + columns_count] for start in range(0, len(drawn), columns_count)]
    return _encoded(_stacked([heading, *(_side_by_side(row, columns_count, theme) for row in rows)], theme))


def _canvas(height: int, width: int, theme: Theme) -> "Pixels":
    import numpy as np

    canvas = np.empty((height, width, 4), dtype=np.uint8)
    canvas[:] = [*bytes.fromhex(theme.surface.removeprefix("#")), 255]
    return canvas


def _side_by_side(row: "Sequence[Pixels]", columns_count: int, theme: Theme) -> "Pixels":
    height = max(image.shape[0] for image in row)
    cell = max(image.shape[1] for image in row)
    canvas = _canvas(height, cell * columns_count + _GAP_PX * (columns_count - 1), theme)
    for index, image in enumerate(row):
        left = index * (cell + _GAP_PX)
        canvas[: image.shape[0], left : left + image.shape[1]] = image
    return canvas


def _joined(images: "Sequence[Pixels]", theme: Theme, gap_px: int) -> "Pixels":
    """Images below each other, flush left."""
    width = max(image.shape[1] for image in images)
    height = sum(image.shape[0] for image in images) + gap_px * (len(images) - 1)
    canvas = _canvas(height, width, theme)
    top = 0
    for image in images:
        canvas[top : top + image.shape[0], : image.shape[1]] = image
        top += image.shape[0] + gap_px
    return canvas


def _stacked(images: "Sequence[Pixels]", theme: Theme) -> "Pixels":
    """Images below each other with a margin around."""
    joined = _joined(images, theme, _GAP_PX)
    height, width = joined.shape[:2]
    canvas = _canvas(height + 2 * _GAP_PX, width + 2 * _GAP_PX, theme)
    canvas[_GAP_PX:-_GAP_PX, _GAP_PX:-_GAP_PX] = joined
    return canvas


def _encoded(pixels: "Pixels") -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).convert("RGB").save(buffer, format="PNG", optimize=False, compress_level=6)
    return buffer.getvalue()
