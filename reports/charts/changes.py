"""Regression findings: the relative change of each metric with its interval."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from advisor.types import Finding, Regression, Verdict
from reports import format as fmt
from reports import phrases, wording
from reports.blocks import Grid
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FINDINGS_SHOWN = 24
_NAME_LIMIT = 40


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """One chart per comparison of two runs with measured changes."""
    charts: list[Chart] = []
    for document in documents:
        if isinstance(document, Regression):
            found = [finding for finding in document.findings if finding.change_frac is not None]
            found.sort(key=lambda finding: -abs(finding.change_frac or 0.0))
            if found:
                charts.append(_chart(found[:_FINDINGS_SHOWN], len(charts)))
    return tuple(charts)


def _name(finding: Finding) -> str:
    return shortened(f"{wording.metric(finding.metric)}, {plain(finding.subject)}", _NAME_LIMIT)


def _chart(found: Sequence[Finding], index: int) -> Chart:
    clear = [finding for finding in found if finding.significant]
    rows = tuple((_name(f), fmt.change(f.change_frac), wording.verdict(f.verdict)) for f in found)
    worst = found[0]
    return Chart(
        chart_id=f"changes-{index + 1}",
        title="What changed between the runs",
        caption="Filled: significant. Bars are intervals of the change.",
        description=f"Relative change of {phrases.counted(len(found), 'metric')}; {len(clear)} significant. "
        f"Largest: {_name(worst)}, {fmt.change(worst.change_frac)}.",
        table=Grid(
            caption="Changes between the runs",
            headers=("Metric", "Change", "Verdict"),
            rows=rows,
            numeric=frozenset({1}),
        ),
        draw=partial(_draw, tuple(found)),
        height_in=max(2.4, 1.2 + 0.34 * len(found)),
    )


def _draw(found: tuple[Finding, ...], axes: "Axes", theme: Theme) -> None:
    colors = {Verdict.SLOWER: theme.red, Verdict.FASTER: theme.green}
    axes.axvline(0, color=theme.muted, lw=1.0)
    for row, finding in enumerate(found):
        color = colors.get(finding.verdict, theme.axis)
        change = (finding.change_frac or 0.0) * 100
        if finding.interval_frac is not None:
            axes.plot(
                [finding.interval_frac.low * 100, finding.interval_frac.high * 100], [row] * 2, color=color, lw=2.0
            )
        axes.plot(
            [change],
            [row],
            marker="s" if finding.significant else "o",
            markersize=7,
            color=color,
            markerfacecolor=color if finding.significant else theme.surface,
            markeredgecolor=color,
        )
    axes.set_yticks(range(len(found)), [_name(finding) for finding in found])
    axes.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlabel("Change from the baseline (%)")
