"""A/A: compare like runs with each other, so that every alarm is false, and say what change could be seen. Pure."""

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from advisor.regression.comparison import NO_HISTORY, Key, between_runs, log_costs, only_rounds, within_error
from advisor.regression.environment import keeps_all_cores_busy, like
from advisor.regression.ranks import spread
from advisor.regression.regress import regress
from advisor.regression.thresholds import Gate
from advisor.types import Resolution, Run, SelfTest

POWER_FRAC = 0.9
CONFIDENCE_FRAC = 0.95
#: More pairs say little more and take quadratically longer.
_MAX_RUNS_COUNT = 40
#: Fewer runs say too little of the spread between them to print it.
_LEARNT_RUNS_COUNT = 3


def smallest_change(error: float, threshold_frac: float) -> float:
    """The worsening that is caught with probability `POWER_FRAC`, as a fraction.

    Args:
        error: standard error of the log shift of one comparison.
        threshold_frac: the gate's threshold; a change must pass it and differ from zero.
    """
    normal = statistics.NormalDist()
    needed = max(normal.inv_cdf(0.5 + CONFIDENCE_FRAC / 2) * error, math.log1p(threshold_frac))
    return math.expm1(needed + normal.inv_cdf(POWER_FRAC) * error)


def halves(run: Run) -> tuple[Run, Run]:
    """Even and odd rounds of a run as two runs taken at the same time."""
    return _rounds(run, 0), _rounds(run, 1)


def _rounds(run: Run, parity: int) -> Run:
    kept = frozenset(range(parity, max((n for c in run.cases for s in c.series for n in s.rounds), default=0) + 1, 2))
    cases = tuple(replace(case, series=tuple(only_rounds(s, kept) for s in case.series)) for case in run.cases)
    return replace(run, cases=cases, rounds_count=(run.rounds_count + 1 - parity) // 2)


def _pairs(runs: Sequence[Run], gate: Gate) -> Iterator[tuple[Run, Run]]:
    """Like runs against each other, and the halves of every run that is long enough."""
    yield from ((a, b) for a, b in itertools.combinations(runs, 2) if like(a, b))
    yield from (halves(run) for run in runs if run.rounds_count >= 2 * gate.min_rounds_count)


def _costs(run: Run) -> dict[Key, tuple[float, ...]]:
    return {(case.subject, series.metric): log_costs(series) for case in run.cases for series in case.series}


def _resolution(key: Key, samples: Sequence[Sequence[float]], sigma: float, gate: Gate) -> Resolution:
    """What one metric can show, given the spread of like runs."""
    within = statistics.median(within_error(sample, sample) for sample in samples)
    error = math.hypot(within, math.sqrt(2) * sigma)
    return Resolution(
        subject=key[0],
        metric=key[1],
        rounds_count=max(len(sample) for sample in samples),
        within_frac=statistics.median(spread(sample) for sample in samples),
        between_frac=sigma if len(samples) >= _LEARNT_RUNS_COUNT else None,
        smallest_change_frac=smallest_change(error, gate.threshold(*key).change_frac),
        runs_count=len(samples),
    )


def _resolutions(runs: Sequence[Run], gate: Gate) -> Iterator[Resolution]:
    between = between_runs(runs)
    costs = [_costs(run) for run in runs]
    crowded = {case.subject: keeps_all_cores_busy(case, run.environment) for run in runs for case in run.cases}
    for key in dict.fromkeys(itertools.chain.from_iterable(costs)):
        samples = [found[key] for found in costs if len(found.get(key, ())) >= gate.min_rounds_count]
        if samples:
            assumed = gate.threshold(*key).assumed_frac(all_cores=crowded[key[0]])
            yield _resolution(key, samples, between.get(key, NO_HISTORY).sigma(assumed), gate)


def selftest(runs: Iterable[Run], *, created_at: str, tool_version: str, gate: Gate | None = None) -> SelfTest:
    """Calibrate a machine against itself from one or more like runs.

    Each pair is compared with the spread learnt from the other runs, as a real comparison would be.
    """
    gate = gate or Gate()
    chosen = sorted(runs, key=lambda run: run.created_at)[-_MAX_RUNS_COUNT:]
    alarms = comparisons = 0
    for first, second in _pairs(chosen, gate):
        others = [run for run in chosen if run.created_at not in (first.created_at, second.created_at)]
        found = regress(
            first, second, created_at=created_at, tool_version=tool_version, gate=gate, between=between_runs(others)
        )
        comparisons += 1
        alarms += found.regressed
    latest = chosen[-1]
    return SelfTest(
        suite_name=latest.suite_name,
        hardware=latest.environment.hardware,
        resolutions=tuple(_resolutions(chosen, gate)),
        comparisons_count=comparisons,
        false_alarms_count=alarms,
        created_at=created_at,
        tool_version=tool_version,
        power_frac=POWER_FRAC,
        runs_count=len(chosen),
    )
