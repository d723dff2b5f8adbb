"""Quality against speed: the picks, their ranges, and the front that no other pick beats."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from advisor.types import Choice, Recommendation
from reports import format as fmt
from reports import pace, phrases, wording
from reports.blocks import Grid
from reports.charts.axes import LABEL_LIMIT, Label, Segment, legend, log_axis, place_labels
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RANGES_SHOWN = 12
_LABELLED_COUNT = 9
_ROWS_SHOWN = 40
_OBSTACLES_COUNT = 12
_MARKERS_SHOWN = 120
_FAR_LIMIT_FACTOR = 4.0


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """One chart per recommendation that ranks anything."""
    found = [document for document in documents if isinstance(document, Recommendation) and document.ranked]
    suffixes = [""] if len(found) == 1 else [f" on {shortened(plain(one.hardware), 26)}" for one in found]
    return tuple(_chart(one, index, suffix) for index, (one, suffix) in enumerate(zip(found, suffixes, strict=True)))


def _chart(recommendation: Recommendation, index: int, suffix: str) -> Chart:
    ranked = recommendation.ranked
    edge = set(_front(ranked))
    front = [phrases.choice_name(choice) for choice in ranked if _at(choice) in edge]
    task = wording.task(recommendation.task)
    described = (
        f"{phrases.counted(len(ranked), 'pick')} by {task} quality against {pace.name(recommendation.task)}. "
        f"The first pick, {phrases.choice_name(ranked[0])}, has quality {phrases.quality(ranked[0].quality)} at "
        f"{fmt.interval(pace.speed(ranked[0].estimate))} {pace.unit_in_words(recommendation.task)}."
    )
    if front:
        described += f" On the front, where no other pick is both better and faster: {', '.join(front[:8])}."
    rows = tuple(
        (
            str(choice.rank),
            phrases.choice_name(choice),
            plain(choice.estimate.quant_id),
            phrases.quality(choice.quality),
            fmt.interval(pace.speed(choice.estimate)),
            "yes" if _at(choice) in edge else "no",
        )
        for choice in ranked[:_ROWS_SHOWN]
    )
    return Chart(
        chart_id=f"quality-speed-{index + 1}",
        title=f"Quality against speed{suffix}",
        caption="Up is better, right is faster; bars hold 80 % of outcomes. Hollow or pale: quality inferred.",
        description=described,
        table=Grid(
            caption=f"Quality at {task} and {pace.name(recommendation.task)}",
            headers=("Rank", "Model", "Quant", "Quality", pace.unit(recommendation.task), "On the front"),
            rows=rows,
            numeric=frozenset({0, 3, 4}),
            row_headers=False,
        ),
        draw=partial(_draw, recommendation),
    )


def _at(choice: Choice) -> tuple[float, float]:
    return pace.speed(choice.estimate).mid, choice.quality.mid


def _draw(recommendation: Recommendation, axes: "Axes", theme: Theme) -> None:
    ranked = recommendation.ranked
    spans = [pace.speed(choice.estimate) for choice in ranked[:_RANGES_SHOWN]]
    speeds = [edge for span in spans for edge in (span.low, span.high)] + [_at(choice)[0] for choice in ranked]
    limit = recommendation.limits.min_tokens_per_s
    if limit and limit * _FAR_LIMIT_FACTOR < min(speeds):
        limit = None  # so far below every pick that drawing it would only squeeze them
    log_axis(axes, "x", [*speeds, *([limit] if limit else [])], pad=1.25)
    shown = [edge for c in ranked[:_RANGES_SHOWN] for edge in (c.quality.low, c.quality.high)]
    shown += [c.quality.mid for c in ranked]
    axes.set_ylim(max(0.0, min(shown) - 3), min(100.0, max(shown) + 5))
    if limit:
        axes.axvspan(axes.get_xlim()[0], limit, color=theme.band, lw=0)
        axes.axvline(limit, color=theme.muted, lw=1.0, ls=(0, (4, 2)), label="slowest you accept")
    _draw_front(ranked, axes, theme)
    _draw_picks(ranked, axes, theme)
    axes.set_xlabel(pace.axis(recommendation.task))
    axes.set_ylabel(f"Quality at {wording.task(recommendation.task)} (0–100)")
    legend(axes)
    front = _front(ranked)
    order = [ranked[0], *(c for c in ranked[1:] if _at(c) in front), *(c for c in ranked[1:] if _at(c) not in front)]
    labels = [Label(*_at(c), shortened(phrases.choice_name(c), LABEL_LIMIT)) for c in order[:_LABELLED_COUNT]]
    bars = [segment for choice in ranked[:_OBSTACLES_COUNT] for segment in _bars(choice)]
    obstacles = [*bars, *_front_segments(front)]
    place_labels(axes, labels, theme, obstacles, boxed=len(ranked) > _MARKERS_SHOWN)


def _bars(choice: Choice) -> tuple[Segment, Segment]:
    (speed, quality), span = _at(choice), pace.speed(choice.estimate)
    return ((span.low, quality), (span.high, quality)), ((speed, choice.quality.low), (speed, choice.quality.high))


def _front(ranked: Sequence[Choice]) -> list[tuple[float, float]]:
    """Where no pick is both better and faster, slowest first; ``Choice.pareto`` also weighs memory."""
    front: list[tuple[float, float]] = []
    for speed, quality in sorted(map(_at, ranked), reverse=True):
        if not front or quality > front[-1][1]:
            front.append((speed, quality))
    return front[::-1]


def _front_segments(front: Sequence[tuple[float, float]]) -> list[Segment]:
    """The steps of the front's line: down, then right."""
    steps: list[Segment] = []
    for (slower, better), (faster, worse) in pairwise(front):
        steps += [((slower, better), (slower, worse)), ((slower, worse), (faster, worse))]
    return steps


def _draw_front(ranked: Sequence[Choice], axes: "Axes", theme: Theme) -> None:
    front = _front(ranked)
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="pre", color=theme.green, lw=1.6, label="best trade-offs", zorder=2)


def _draw_picks(ranked: Sequence[Choice], axes: "Axes", theme: Theme) -> None:
    for choice in ranked[:_RANGES_SHOWN]:
        speed, quality = pace.speed(choice.estimate), choice.quality
        axes.plot([speed.low, speed.high], [quality.mid] * 2, color=theme.sky, lw=1.1, alpha=0.6, zorder=2.5)
        axes.plot([speed.mid] * 2, [quality.low, quality.high], color=theme.sky, lw=1.1, alpha=0.6, zorder=2.5)
    for imputed in (False, True):
        own = [_at(choice) for choice in ranked[1:] if choice.quality.imputed == imputed]
        if len(ranked) > _MARKERS_SHOWN:
            _draw_dots(own, theme.sky if imputed else theme.blue, axes)
        elif own:
            axes.scatter(
                [speed for speed, _ in own],
                [quality for _, quality in own],
                s=34,
                facecolor=theme.surface if imputed else theme.blue,
                edgecolor=theme.blue if imputed else theme.surface,
                linewidth=1.2 if imputed else 0.8,
                zorder=3,
            )
    axes.scatter(
        *_at(ranked[0]), s=150, marker="*", color=theme.red, edgecolor=theme.surface, label="first pick", zorder=5
    )


def _draw_dots(points: Sequence[tuple[float, float]], color: str, axes: "Axes") -> None:
    """Many small dots as one path: a marker each would make a page of the whole shelf heavy."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if points:
        # as short a line as a renderer will not drop
        vertices = [vertex for speed, quality in points for vertex in ((speed, quality), (speed * 1.004, quality))]
        codes = [Path.MOVETO, Path.LINETO] * len(points)
        patch = PathPatch(Path(vertices, codes), fill=False, edgecolor=color, linewidth=3.0, capstyle="round", zorder=3)
        axes.add_patch(patch)
