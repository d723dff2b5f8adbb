"""Compare two runs of one suite: what got worse, what merely got noisier, what cannot be compared. Pure."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.errors import AdvisorError
from advisor.regression import ranks
from advisor.regression.comparison import (
    NO_HISTORY,
    BetweenRuns,
    Key,
    Shift,
    common_rounds,
    fraction,
    log_costs,
    paired_shift,
    round_values,
    shift,
    window_deviations,
)
from advisor.regression.environment import differences, environment_changes, keeps_all_cores_busy
from advisor.regression.recording import MACHINE
from advisor.regression.series import higher_is_better
from advisor.regression.thresholds import Gate, Threshold
from advisor.types import (
    Finding,
    FractionInterval,
    Interval,
    MetricSeries,
    Regression,
    Run,
    RunCase,
    RunReference,
    ValidationStatus,
    Verdict,
)

#: Rounds scatter this many times as much, and at least this much, before a metric is called noisier.
NOISIER_RATIO = 3.0
NOISIER_FRAC = 0.03
#: The machine's own probes got slower by this much: told, whatever their threshold.
MACHINE_FRAC = 0.05
#: Bursts come in clusters, so the rank test overstates how sure a change of scatter is: be this much stricter.
_NOISIER_STRICTNESS = 5.0


class IncomparableError(AdvisorError):
    """Two runs are of unlike machines, suites or engines; the message says how to compare them anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """A finding before the false-discovery control over all of them."""

    finding: Finding
    worse_frac: float | None = None  # the change turned so that up is worse
    noisier_p_value: float = 1.0
    noisier_ratio: float = 1.0
    over_limit: bool = False


def _incomparable(
    key: Key, reason: str, baseline: float | None = None, current: float | None = None, *, broken: bool = False
) -> _Compared:
    """A finding without a comparison. ``broken``: it worked before and fails now, which is a regression."""
    finding = Finding(
        metric=key[1],
        subject=key[0],
        baseline=baseline,
        current=current,
        change_frac=None,
        interval_frac=None,
        significant=broken,
        verdict=Verdict.NOT_COMPARABLE,
        reason=reason,
    )
    return _Compared(finding=finding)


def _typical(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _too_few(base: MetricSeries, new: MetricSeries, minimum: int) -> str | None:
    for name, series in (("baseline", base), ("new run", new)):
        usable, measured = len(round_values(series)), len(set(series.rounds))
        if usable >= minimum:
            continue
        if measured >= minimum:
            return f"the {name} has {usable} undisturbed rounds of {measured}, {minimum} are needed: quiet the machine"
        rounds = "1 round" if measured == 1 else f"{measured} rounds"
        return f"the {name} has {rounds}, {minimum} are needed: record more with advisor bench --suite FILE --rounds 10"
    return None


def _moved(x: Sequence[float], y: Sequence[float], sigma: float | None) -> Shift:
    """The shift between two samples; without a spread between the runs (None) their values are pairs."""
    return paired_shift(x, y) if sigma is None else shift(x, y, sigma)


def _compare(
    base: MetricSeries, new: MetricSeries, key: Key, threshold: Threshold, sigma: float | None, gate: Gate
) -> _Compared:
    before, after = _typical(round_values(base)), _typical(round_values(new))
    reason = _too_few(base, new, gate.min_rounds_count)
    if reason is not None:
        return _incomparable(key, reason, before, after)
    found = _moved(log_costs(base), log_costs(new), sigma)
    up = -1.0 if higher_is_better(key[1]) else 1.0
    edges = sorted((fraction(up * found.low), fraction(up * found.high)))
    finding = Finding(
        metric=key[1],
        subject=key[0],
        baseline=before,
        current=after,
        change_frac=fraction(up * found.mid),
        interval_frac=FractionInterval(low=edges[0], high=edges[1]),
        significant=False,
        verdict=Verdict.UNCHANGED,
        p_value=found.p_value,
        threshold_frac=threshold.change_frac,
    )
    x, y = window_deviations(base), window_deviations(new)
    ratio = statistics.median(y) / max(statistics.median(x), 1e-9)
    noisy = ratio >= NOISIER_RATIO and statistics.median(y) >= NOISIER_FRAC
    noise_p = ranks.p_value(x, y) if noisy else 1.0
    return _Compared(finding=finding, worse_frac=fraction(found.mid), noisier_p_value=noise_p, noisier_ratio=ratio)


#: Which prediction each measured metric is held against: the estimate's field of the same name.
_PREDICTED = ("prefill_tokens_per_s", "decode_tokens_per_s", "first_token_s")


def _predicted(case: RunCase, metric: str) -> float | None:
    value = getattr(case.estimate, metric, None) if case.estimate is not None else None
    return value.mid if isinstance(value, Interval) and value.mid > 0 else None


def _signed_errors(case: RunCase, series: MetricSeries) -> tuple[float, ...] | None:
    predicted = _predicted(case, series.metric)
    if predicted is None:
        return None
    return tuple(math.log(predicted / value) for value in round_values(series))


def _drift(
    base: tuple[RunCase, MetricSeries],
    new: tuple[RunCase, MetricSeries],
    key: Key,
    threshold: Threshold,
    sigma: float | None,
    gate: Gate,
) -> _Compared | None:
    """Whether the new run's predictions are further off than the baseline's were."""
    x, y = _signed_errors(*base), _signed_errors(*new)
    if x is None or y is None:
        return None
    reason = _too_few(base[1], new[1], gate.min_rounds_count)
    if reason is not None:
        return _incomparable(key, reason)
    before, after = statistics.median(x), statistics.median(y)
    side = math.copysign(1.0, after)
    found = _moved([side * value for value in x], [side * value for value in y], sigma)
    grown = abs(after) - abs(before)
    finding = Finding(
        metric=key[1],
        subject=key[0],
        baseline=fraction(before),
        current=fraction(after),
        change_frac=grown,
        interval_frac=FractionInterval(low=grown + found.low - found.mid, high=grown + found.high - found.mid),
        significant=False,
        verdict=Verdict.UNCHANGED,
        p_value=found.p_value,
        threshold_frac=threshold.change_frac,
    )
    over = threshold.limit_frac is not None and abs(fraction(after)) > threshold.limit_frac
    return _Compared(finding=finding, worse_frac=grown, over_limit=over)


def _judged(compared: _Compared, q_value: float, noisier_q_value: float, gate: Gate) -> Finding:
    finding, worse = compared.finding, compared.worse_frac
    if worse is None or finding.threshold_frac is None:
        return finding
    real = q_value <= gate.false_discovery_frac
    if compared.over_limit:
        return replace(finding, significant=True, verdict=Verdict.SLOWER, reason="the error is above its limit")
    if real and worse >= finding.threshold_frac:
        return replace(finding, significant=True, verdict=Verdict.SLOWER)
    if real and -worse >= finding.threshold_frac / (1 + finding.threshold_frac):
        return replace(finding, significant=True, verdict=Verdict.FASTER)
    if noisier_q_value * _NOISIER_STRICTNESS <= gate.false_discovery_frac:
        reason = f"rounds scatter {compared.noisier_ratio:.1f} times as much; the typical value did not move"
        return replace(finding, significant=True, verdict=Verdict.NOISIER, reason=reason)
    return finding


def _case_reason(base: RunCase | None, new: RunCase | None) -> str | None:
    if base is None or new is None:
        return "only in the new run" if base is None else "only in the baseline"
    for name, case in (("baseline", base), ("new run", new)):
        if case.status is not ValidationStatus.OK:
            return f"{case.status} in the {name}: {case.reason or 'no reason given'}"
    if base.weights_id != new.weights_id:
        return "different weights"
    return None


def _broke(before: RunCase | None, after: RunCase | None) -> bool:
    if before is None or after is None:
        return False
    return before.status is ValidationStatus.OK and after.status is ValidationStatus.FAILED


def fails(finding: Finding, gate: Gate) -> bool:
    """Whether a finding makes the comparison fail: a verdict the gate names, or a case that broke."""
    return finding.verdict in gate.fail_on or (finding.verdict is Verdict.NOT_COMPARABLE and finding.significant)


def _pairs(base: RunCase, new: RunCase) -> Iterator[tuple[str, MetricSeries | None, MetricSeries | None]]:
    old = {series.metric: series for series in base.series}
    current = {series.metric: series for series in new.series}
    for metric in dict.fromkeys((*old, *current)):
        yield metric, old.get(metric), current.get(metric)


def _few_pairs(base: MetricSeries, new: MetricSeries, shared: MetricSeries, minimum: int) -> str | None:
    pairs, measured = len(round_values(shared)), len(set(base.rounds) & set(new.rounds))
    if pairs >= minimum or measured < minimum:
        return None
    return f"{pairs} of {measured} rounds were undisturbed in both runs, {minimum} are needed: quiet the machine"


def _compare_case(
    base: RunCase, new: RunCase, gate: Gate, between: Mapping[Key, BetweenRuns], *, all_cores: bool, paired: bool
) -> Iterator[_Compared]:
    for metric, old, current in _pairs(base, new):
        key = (base.subject, metric)
        if old is None or current is None:
            yield _incomparable(key, "measured in the new run only" if old is None else "measured in the baseline only")
            continue
        threshold = gate.threshold(*key)
        sigma = None if paired else between.get(key, NO_HISTORY).sigma(threshold.assumed_frac(all_cores=all_cores))
        before, after = common_rounds(old, current) if paired else (old, current)
        reason = _few_pairs(old, current, before, gate.min_rounds_count) if paired else None
        if reason is not None:
            yield _incomparable(key, reason, _typical(round_values(old)), _typical(round_values(current)))
            continue
        yield _compare(before, after, key, threshold, sigma, gate)
        if metric in _PREDICTED:
            name = metric.removesuffix("_tokens_per_s").removesuffix("_s") + "_prediction_error"
            limits = gate.threshold(base.subject, name)
            drift = _drift((base, before), (new, after), (base.subject, name), limits, sigma, gate)
            yield from () if drift is None else (drift,)


def together(baseline: Run, current: Run) -> bool:
    """Whether two runs were recorded turn by turn, so that their rounds are pairs."""
    return baseline.paired_id is not None and baseline.paired_id == current.paired_id


def _all_compared(baseline: Run, current: Run, gate: Gate, between: Mapping[Key, BetweenRuns]) -> list[_Compared]:
    old = {case.subject: case for case in baseline.cases}
    new = {case.subject: case for case in current.cases}
    compared: list[_Compared] = []
    for subject in dict.fromkeys((*old, *new)):
        before, after = old.get(subject), new.get(subject)
        reason = _case_reason(before, after)
        if before is None or after is None or reason is not None:
            compared.append(_incomparable((subject, "*"), reason or "", broken=_broke(before, after)))
        else:
            all_cores = keeps_all_cores_busy(after, current.environment)
            paired = together(baseline, current)
            compared += _compare_case(before, after, gate, between, all_cores=all_cores, paired=paired)
    return compared


def _require_alike(baseline: Run, current: Run, allow: Sequence[str]) -> tuple[str, ...]:
    unlike = differences(baseline, current)
    for name, what in unlike.items():
        if name not in allow:
            raise IncomparableError(f"the runs differ in {name}: {what}; compare them anyway with --allow {name}")
    return tuple(unlike)


def reference(run: Run) -> RunReference:
    """What identifies a run in a comparison."""
    return RunReference(
        suite_name=run.suite_name,
        suite_id=run.suite_id,
        machine_id=run.environment.machine_id,
        hardware=run.environment.hardware,
        created_at=run.created_at,
        engine=run.environment.engine,
        complete=run.complete,
    )


def _notes(baseline: Run, current: Run, between: Mapping[Key, BetweenRuns]) -> tuple[str, ...]:
    notes = []
    for name, run in (("baseline", baseline), ("new run", current)):
        if not run.complete:
            notes.append(f"the {name} was interrupted: {run.rounds_count} rounds were kept")
        if run.clock_jump_s is not None:
            notes.append(f"the clock jumped by {run.clock_jump_s:.0f} s during the {name}; timings use another clock")
    if current.created_at < baseline.created_at:
        notes.append("the new run is older than the baseline: check the order of the arguments, or the clock")
    if together(baseline, current):
        notes.append("recorded turn by turn: compared round by round")
    elif not between:
        notes.append("no like runs in the history: the spread between runs is assumed, not measured")
    return tuple(notes)


def _machine_notes(real: Sequence[_Compared]) -> tuple[str, ...]:
    """Whether the machine's own probes moved, too: then an engine's slowdown may be the machine's."""
    moved = [
        item.finding.metric
        for item in real
        if item.finding.subject == MACHINE and item.worse_frac is not None and item.worse_frac >= MACHINE_FRAC
    ]
    if not moved:
        return ()
    names = ", ".join(moved)
    return (f"the machine itself got slower ({names}); tell it from the engine with advisor bench --against PYTHON",)


def regress(
    baseline: Run,
    current: Run,
    *,
    created_at: str,
    tool_version: str,
    gate: Gate | None = None,
    between: Mapping[Key, BetweenRuns] | None = None,
    allow: Sequence[str] = (),
) -> Regression:
    """Compare two runs metric by metric.

    Args:
        baseline: the run to hold against.
        current: the new run.
        created_at: when this comparison is made.
        tool_version: who makes it.
        gate: thresholds and the tolerated rate of false discoveries.
        between: what like runs of the past showed, by subject and metric (see `between_runs`).
        allow: differences that are tolerated: "machine", "suite", "engine".

    Raises:
        IncomparableError: if machine, suite or engine differ and are not allowed to.
    """
    gate, between = gate or Gate(), between or {}
    allowed = _require_alike(baseline, current, allow)
    compared = _all_compared(baseline, current, gate, between)
    tested = [item for item in compared if item.worse_frac is not None]
    q_values = ranks.adjusted([item.finding.p_value or 0.0 for item in tested])
    noise_q_values = ranks.adjusted([item.noisier_p_value for item in tested])
    judged = {id(t): _judged(t, q, n, gate) for t, q, n in zip(tested, q_values, noise_q_values, strict=True)}
    findings = tuple(judged.get(id(item), item.finding) for item in compared)
    own = [item for item, q in zip(tested, q_values, strict=True) if q <= gate.false_discovery_frac]
    return Regression(
        baseline=reference(baseline),
        current=reference(current),
        findings=findings,
        regressed=any(fails(finding, gate) for finding in findings),
        false_discovery_frac=gate.false_discovery_frac,
        created_at=created_at,
        tool_version=tool_version,
        environment_changes=environment_changes(baseline.environment, current.environment),
        allowed=allowed,
        fail_on=tuple(sorted(gate.fail_on)),
        notes=(*_notes(baseline, current, between), *_machine_notes(own)),
    )
