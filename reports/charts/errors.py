"""Prediction error by group: how far off the middle and the ninetieth percentile are."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from advisor.types import Accuracy, AccuracySummary
from reports import format as fmt
from reports.blocks import Grid
from reports.charts.axes import legend
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUPS_SHOWN = 24


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """One chart per accuracy document with summaries."""
    found = [document for document in documents if isinstance(document, Accuracy) and document.summary]
    return tuple(_chart(accuracy.summary[:_GROUPS_SHOWN], index) for index, accuracy in enumerate(found))


def _name(line: AccuracySummary) -> str:
    return f"{plain(line.group, 28)}, {plain(line.phase, 16)}"


def _chart(lines: tuple[AccuracySummary, ...], index: int) -> Chart:
    rows = tuple(
        (_name(line), fmt.count(line.n), fmt.percent(line.median_ape), fmt.percent(line.p90_ape)) for line in lines
    )
    first = lines[0]
    return Chart(
        chart_id=f"errors-{index + 1}",
        title="Prediction error by group",
        caption="Half of the predictions are closer than the dot, nine in ten closer than the ring.",
        description=f"Median and ninetieth-percentile error of {len(lines)} groups; {_name(first)}: "
        f"{fmt.percent(first.median_ape)} and {fmt.percent(first.p90_ape)}.",
        table=Grid(
            caption="Prediction error by group",
            headers=("Group", "Rows", "Median error", "90 % within"),
            rows=rows,
            numeric=frozenset({1, 2, 3}),
        ),
        draw=partial(_draw, lines),
        height_in=max(2.4, 1.3 + 0.32 * len(lines)),
    )


def _draw(lines: tuple[AccuracySummary, ...], axes: "Axes", theme: Theme) -> None:
    rows = list(range(len(lines)))
    medians = [line.median_ape * 100 for line in lines]
    p90s = [line.p90_ape * 100 for line in lines]
    axes.axvspan(0, 5, color=theme.band_strong, lw=0, label="within 5 %")
    axes.axvspan(5, 20, color=theme.band, lw=0, label="within 20 %")
    axes.hlines(rows, medians, p90s, color=theme.sky, lw=1.6)
    axes.plot(medians, rows, ls="none", marker="o", color=theme.blue, markersize=7, label="half are closer")
    axes.plot(
        p90s,
        rows,
        ls="none",
        marker="o",
        markerfacecolor=theme.surface,
        markeredgecolor=theme.orange,
        markeredgewidth=1.6,
        markersize=7,
        label="nine in ten are closer",
    )
    axes.set_yticks(rows, [_name(line) for line in lines])
    axes.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, max([*p90s, 20.0]) * 1.08)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.invert_yaxis()
    axes.set_xlabel("Error of the prediction (%)")
    legend(axes)
