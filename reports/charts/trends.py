"""History: one metric over time, with the lasting steps in it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from advisor.types import ChangePoint, HistoryDocument, Trend
from catalog.units import GIB
from reports import format as fmt
from reports import phrases, wording
from reports.blocks import Grid
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRENDS_SHOWN = 8
#: how a metric's suffix is drawn: divisor and axis unit
_UNITS = (
    ("_tokens_per_s", 1.0, "tokens per second"),
    ("_bytes_per_s", 1e9, "GB/s"),
    ("_flop_per_s", 1e12, "TFLOP/s"),
    ("_bytes", GIB, "GiB"),
    ("_s", 1.0, "s"),
)


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """One chart per trend with at least two dated points."""
    charts: list[Chart] = []
    for document in documents:
        if isinstance(document, HistoryDocument):
            for trend in document.trends[:_TRENDS_SHOWN]:
                if len(_dated(trend)) > 1:
                    charts.append(_chart(trend, len(charts)))
    return tuple(charts)


def when(timestamp: str) -> datetime | None:
    """A document's timestamp, or None if it is not one."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _dated(trend: Trend) -> list[tuple[datetime, int]]:
    moments = ((when(point.created_at), index) for index, point in enumerate(trend.points))
    return sorted((moment, index) for moment, index in moments if moment is not None)


def _unit(metric: str) -> tuple[float, str]:
    return next(((scale, unit) for suffix, scale, unit in _UNITS if metric.endswith(suffix)), (1.0, ""))


def _step_words(metric: str, step: ChangePoint) -> str:
    engine = f", with {plain(step.engine_after)}" if step.engine_after else ""
    before, after = phrases.metric_value(metric, step.before), phrases.metric_value(metric, step.after)
    return f"On {step.created_at[:10]} from {before} to {after} ({fmt.change(step.change_frac)}){engine}."


def _chart(trend: Trend, index: int) -> Chart:
    name = f"{wording.metric(trend.metric)}, {plain(trend.subject)}"
    steps = " ".join(_step_words(trend.metric, step) for step in trend.change_points)
    rows = tuple(
        (fmt.clock(p.created_at), phrases.metric_value(trend.metric, p.value), plain(p.engine or fmt.UNKNOWN))
        for p in trend.points
    )
    return Chart(
        chart_id=f"trend-{index + 1}",
        title=shortened(name, 60),
        caption="Vertical lines mark lasting steps; the band is each run's own range.",
        description=f"{name}: {phrases.counted(len(trend.points), 'run')}. {steps or 'No lasting step was found.'}",
        table=Grid(caption=name, headers=("Run", "Value", "Engine"), rows=rows, numeric=frozenset({1})),
        draw=partial(_draw, trend),
        height_in=3.6,
    )


def _draw(trend: Trend, axes: "Axes", theme: Theme) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    scale, unit = _unit(trend.metric)
    dated = _dated(trend)
    moments = [float(date2num(moment)) for moment, _ in dated]
    points = [trend.points[index] for _, index in dated]
    values = [point.value / scale for point in points]
    if all(point.low is not None and point.high is not None for point in points):
        lows = [(point.low or 0.0) / scale for point in points]
        highs = [(point.high or 0.0) / scale for point in points]
        axes.fill_between(moments, lows, highs, color=theme.band_strong, lw=0)
    axes.plot(moments, values, color=theme.blue, marker="o", markersize=4, lw=1.6)
    for step in trend.change_points:
        moment = when(step.created_at)
        if moment is not None:
            day = float(date2num(moment))
            axes.axvline(day, color=theme.red, lw=1.2, ls=(0, (4, 2)))
            axes.annotate(
                f"{fmt.change(step.change_frac)}",
                (day, 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(5, 0),
                textcoords="offset points",
                color=theme.red,
                fontsize=10.5,
                fontweight="bold",
                va="top",
            )
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis_date()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.margins(x=0.03, y=0.25)
    axes.set_xlabel("Date of the run (UTC)")
    axes.set_ylabel(f"{wording.metric(trend.metric)} ({unit})" if unit else wording.metric(trend.metric))
