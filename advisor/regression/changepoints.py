"""Lasting steps in a trend of noisy values.

Optimal partitioning of the logarithms into constant pieces (Jackson et al. 2005) under a bounded cost,
which no number of wild points within a piece can buy a step from (Fearnhead and Rigaill 2019), with a
penalty that grows with the logarithm of the number of points. The noise is estimated from differences
of neighbours. Pure.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from advisor.regression import ranks
from advisor.types import ChangePoint, Trend

#: A step must last this many points and be at least this large.
MIN_POINTS_COUNT = 3
MIN_STEP_FRAC = 0.02
_MAX_POINTS_COUNT = 150
_OUTLIER_SIGMAS = 3.0
_PENALTY = 5.0
#: Noise of neighbouring points below this is taken as this: no timing repeats better.
_NOISE_FLOOR = 0.002


def _noise(logs: Sequence[float]) -> float:
    """Standard deviation of one point, from differences of neighbours, which a few steps cannot inflate."""
    return max(ranks.spread([b - a for a, b in itertools.pairwise(logs)]) / math.sqrt(2), _NOISE_FLOOR)


def _cost(piece: Sequence[float]) -> float:
    """Squared distances from the median in units of noise variance, each bounded as an outlier's."""
    distances = np.abs(np.asarray(piece) - np.median(piece))
    return float((np.minimum(distances, _OUTLIER_SIGMAS) ** 2).sum())


def _partition(scaled: Sequence[float], penalty: float) -> list[int]:
    """Starts of the pieces after the first."""
    count = len(scaled)
    best = [-penalty] + [math.inf] * count
    previous = [0] * (count + 1)
    for end in range(MIN_POINTS_COUNT, count + 1):
        for start in (0, *range(MIN_POINTS_COUNT, end - MIN_POINTS_COUNT + 1)):
            total = best[start] + _cost(scaled[start:end]) + penalty
            if total < best[end]:
                best[end], previous[end] = total, start
    starts: list[int] = []
    end = previous[count]
    while end > 0:
        starts.append(end)
        end = previous[end]
    return starts[::-1]


def steps(values: Sequence[float]) -> list[int]:
    """Indices at which the level changed for good; empty for short or quiet series.

    Args:
        values: positive values in order of time; only the last 150 are looked at.
    """
    skipped = max(0, len(values) - _MAX_POINTS_COUNT)
    recent = values[skipped:]
    if len(recent) < 2 * MIN_POINTS_COUNT:
        return []
    logs = [math.log(value) for value in recent]
    noise = _noise(logs)
    starts = _partition([value / noise for value in logs], _PENALTY * math.log(len(logs)))
    return [skipped + start for start in _settled(logs, _large(logs, starts))]


def _settled(logs: Sequence[float], starts: Sequence[int]) -> list[int]:
    """Move each step so that the points beside it belong to the nearer level: a bounded cost leaves that open."""
    edges = [0, *starts, len(logs)]
    for index in range(1, len(edges) - 1):
        before = statistics.median(logs[edges[index - 1] : edges[index]])
        after = statistics.median(logs[edges[index] : edges[index + 1]])
        middle = (before + after) / 2
        while edges[index] - edges[index - 1] > MIN_POINTS_COUNT and (
            (logs[edges[index] - 1] > middle) == (after > middle)
        ):
            edges[index] -= 1
    return edges[1:-1]


def _large(logs: Sequence[float], starts: Sequence[int]) -> list[int]:
    """Drop the smallest step until every one is worth telling."""
    kept = list(starts)
    while kept:
        edges = [0, *kept, len(logs)]
        levels = [statistics.median(logs[a:b]) for a, b in itertools.pairwise(edges)]
        heights = [abs(b - a) for a, b in itertools.pairwise(levels)]
        smallest = min(range(len(kept)), key=heights.__getitem__)
        if heights[smallest] >= math.log1p(MIN_STEP_FRAC):
            break
        del kept[smallest]
    return kept


def with_change_points(trend: Trend) -> Trend:
    """The trend with its lasting steps marked."""
    values = [point.value for point in trend.points]
    starts = steps(values) if all(value > 0 for value in values) else []
    edges = [0, *starts, len(values)]
    levels = [statistics.median(values[a:b]) for a, b in itertools.pairwise(edges) if b > a]
    marked = [
        ChangePoint(
            created_at=trend.points[start].created_at,
            before=before,
            after=after,
            change_frac=after / before - 1,
            engine_before=trend.points[start - 1].engine,
            engine_after=trend.points[start].engine,
        )
        for start, (before, after) in zip(starts, itertools.pairwise(levels), strict=True)
    ]
    return replace(trend, change_points=tuple(marked))
