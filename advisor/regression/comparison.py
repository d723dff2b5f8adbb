"""How far one metric moved between two runs, and how sure that is.

A round's value is the best of its undisturbed windows, because other load only ever slows a window.
Two runs are compared by the Hodges-Lehmann shift of the logarithms of their rounds. Its uncertainty
has two parts: the spread of rounds within the runs (rank-based, widened where neighbouring rounds
are alike), and the spread between like runs, which no single run can show and which is learnt from
the history or else assumed. Both must speak for a change before it counts.

Runs that were recorded turn by turn saw the same machine in every round, so their rounds are compared in
pairs: what the machine did to both cancels, and there is no spread between runs to allow for. Pure.
"""

import itertools
import math
import statistics
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from advisor.regression import ranks
from advisor.regression.environment import like
from advisor.regression.series import higher_is_better
from advisor.types import MetricSeries, Run

CONFIDENCE_FRAC = 0.95
_Z = statistics.NormalDist().inv_cdf(0.5 + CONFIDENCE_FRAC / 2)
_LARGEST_LOG = 50.0
#: The assumed between-run spread counts as much as this many observed differences of like runs.
_PRIOR_WEIGHT = 3.0

Key = tuple[str, str]  # subject, metric


@dataclass(frozen=True, slots=True, kw_only=True)
class BetweenRuns:
    """What like runs of one metric showed: the sum of squared log differences of neighbours, and how many."""

    squares_sum: float
    differences_count: int

    def sigma(self, assumed_frac: float) -> float:
        """Standard deviation of a run's log typical value, shrunk towards the assumed one."""
        total = _PRIOR_WEIGHT * assumed_frac**2 + self.squares_sum / 2
        return math.sqrt(total / (_PRIOR_WEIGHT + self.differences_count))


NO_HISTORY = BetweenRuns(squares_sum=0.0, differences_count=0)


def _usable(series: MetricSeries) -> list[tuple[float, int]]:
    """Undisturbed windows with a meaningful value, each with its round."""
    flags = series.polluted or (False,) * len(series.values)
    windows = zip(series.values, series.rounds, flags, strict=True)
    return [(value, number) for value, number, polluted in windows if 0 < value < math.inf and not polluted]


def best_by_round(series: MetricSeries) -> dict[int, float]:
    """The best undisturbed window of each round, in order; rounds without one are left out."""
    best: dict[int, float] = {}
    pick = max if higher_is_better(series.metric) else min
    for value, number in _usable(series):
        best[number] = pick(best.get(number, value), value)
    return dict(sorted(best.items()))


def round_values(series: MetricSeries) -> tuple[float, ...]:
    """The rounds' values in order."""
    return tuple(best_by_round(series).values())


def log_costs(series: MetricSeries) -> tuple[float, ...]:
    """The logarithms of the rounds' values, turned so that up is worse."""
    sign = -1.0 if higher_is_better(series.metric) else 1.0
    return tuple(sign * math.log(value) for value in round_values(series))


def common_rounds(first: MetricSeries, second: MetricSeries) -> tuple[MetricSeries, MetricSeries]:
    """Both series cut down to the rounds that are undisturbed in both, so that their values make pairs."""
    shared = best_by_round(first).keys() & best_by_round(second).keys()
    return only_rounds(first, shared), only_rounds(second, shared)


def only_rounds(series: MetricSeries, rounds: Set[int]) -> MetricSeries:
    """The windows of some rounds."""
    keep = [index for index, number in enumerate(series.rounds) if number in rounds]
    return replace(
        series,
        values=tuple(series.values[index] for index in keep),
        rounds=tuple(series.rounds[index] for index in keep),
        polluted=tuple(series.polluted[index] for index in keep) if series.polluted else (),
    )


def window_deviations(series: MetricSeries) -> tuple[float, ...]:
    """Per round, the mean absolute log deviation of its undisturbed windows from the run's middle one."""
    logs = [(math.log(value), number) for value, number in _usable(series)]
    if not logs:
        return ()
    centre = statistics.median(value for value, _ in logs)
    by_round: dict[int, list[float]] = {}
    for value, number in logs:
        by_round.setdefault(number, []).append(abs(value - centre))
    return tuple(statistics.fmean(values) for values in by_round.values())


def fraction(log_change: float) -> float:
    """A change of the logarithm as a fraction; what no machine can show is cut off before it overflows."""
    return math.expm1(min(max(log_change, -_LARGEST_LOG), _LARGEST_LOG))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A change of log cost (up is worse) with its interval and the probability of chance."""

    low: float
    mid: float
    high: float
    p_value: float


def within_error(x: Sequence[float], y: Sequence[float]) -> float:
    """Standard error of the shift from the rounds alone, widened for correlated rounds."""
    low, _, high = ranks.shift(x, y, CONFIDENCE_FRAC)
    width = (high - low) / (2 * _Z)
    return width * math.sqrt(ranks.variance_inflation(ranks.autocorrelation((x, y))))


def shift(x: Sequence[float], y: Sequence[float], between_sigma: float) -> Shift:
    """How far y's log costs lie above x's. Each sample's runs scatter with ``between_sigma`` around the truth."""
    rank_low, mid, rank_high = ranks.shift(x, y, CONFIDENCE_FRAC)
    error = math.hypot(within_error(x, y), between_sigma * math.sqrt(2))
    chance = ranks.two_sided_normal(mid / error) if error > 0 else float(mid == 0)
    return Shift(
        low=min(rank_low, mid - _Z * error),
        mid=mid,
        high=max(rank_high, mid + _Z * error),
        p_value=max(chance, ranks.p_value(x, y)),
    )


def paired_shift(x: Sequence[float], y: Sequence[float]) -> Shift:
    """How far y's log costs lie above x's, where the values of both are pairs taken next to each other."""
    differences = [after - before for before, after in zip(x, y, strict=True)]
    rank_low, mid, rank_high = ranks.centre(differences, CONFIDENCE_FRAC)
    inflation = ranks.variance_inflation(ranks.autocorrelation((differences,)))
    error = (rank_high - rank_low) / (2 * _Z) * math.sqrt(inflation)
    chance = ranks.two_sided_normal(mid / error) if error > 0 else float(mid == 0)
    return Shift(
        low=min(rank_low, mid - _Z * error),
        mid=mid,
        high=max(rank_high, mid + _Z * error),
        p_value=max(chance, ranks.paired_p_value(differences)),
    )


def between_runs(runs: Sequence[Run]) -> dict[Key, BetweenRuns]:
    """The spread of like runs, from neighbours in time whose environments are equal.

    Neighbours rather than all pairs, so that a lasting change does not count as noise forever. What
    the spread of rounds within the two runs explains is taken off.
    """
    excesses: dict[Key, list[float]] = {}
    ordered = sorted(runs, key=lambda run: run.created_at)
    for first, second in itertools.pairwise(ordered):
        if not like(first, second):
            continue
        before, after = _usable_costs(first), _usable_costs(second)
        for key in before.keys() & after.keys():
            _, mid, _ = ranks.shift(before[key], after[key])
            excesses.setdefault(key, []).append(mid**2 - within_error(before[key], after[key]) ** 2)
    return {
        key: BetweenRuns(squares_sum=max(0.0, sum(found)), differences_count=len(found))
        for key, found in excesses.items()
    }


def _usable_costs(run: Run) -> dict[Key, tuple[float, ...]]:
    costs = {(case.subject, series.metric): log_costs(series) for case in run.cases for series in case.series}
    return {key: values for key, values in costs.items() if values}
