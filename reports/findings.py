"""What a comparison's findings say, in words that every output shares."""

from collections.abc import Sequence

from advisor.types import EnvironmentChange, Finding, Regression, Verdict
from reports import format as fmt
from reports import phrases, wording
from reports.text import plain

_PREDICTION = "prediction_error"


def failing(regression: Regression) -> tuple[Finding, ...]:
    """The findings that make the comparison fail."""
    return tuple(f for f in regression.findings if f.verdict in regression.fail_on or _broke(f))


def _broke(finding: Finding) -> bool:
    """A case that worked before and fails now cannot be compared, and that is what is wrong with it."""
    return finding.verdict is Verdict.NOT_COMPARABLE and finding.significant


def name(finding: Finding) -> str:
    """Subject and metric on one line."""
    metric = "" if finding.metric == "*" else f": {wording.metric(finding.metric)}"
    return plain(finding.subject) + metric


def by_reason(found: Sequence[Finding]) -> list[str]:
    """One line per subject and reason, with all metrics of which the same is said."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for finding in found:
        metrics = grouped.setdefault((plain(finding.subject), plain(finding.reason or "no reason given")), [])
        metrics += [] if finding.metric == "*" else [wording.metric(finding.metric)]
    return [
        ": ".join(filter(None, (subject, ", ".join(metrics), reason))) for (subject, reason), metrics in grouped.items()
    ]


def values(finding: Finding) -> str:
    """The value before and after."""
    show = fmt.change if finding.metric.endswith(_PREDICTION) else None
    before, after = (
        show(value) if show else phrases.metric_value(finding.metric, value)
        for value in (finding.baseline, finding.current)
    )
    return f"{before} to {after}"


def spread(finding: Finding) -> str:
    """The change with its confidence interval; points of error for a prediction."""
    if finding.change_frac is None:
        return fmt.UNKNOWN
    text = fmt.change(finding.change_frac)
    if finding.interval_frac is None:
        return text
    low, high = fmt.change(finding.interval_frac.low), fmt.change(finding.interval_frac.high)
    return f"{text} ({low} to {high})"


def sentence(finding: Finding) -> str:
    """A finding as one line."""
    verdict = wording.verdict(finding.verdict)
    if finding.verdict is Verdict.NOT_COMPARABLE:
        return f"{name(finding)}: {verdict}, {plain(finding.reason or 'no reason given')}"
    threshold = "" if finding.threshold_frac is None else f", threshold {fmt.percent(finding.threshold_frac)}"
    reason = f"; {plain(finding.reason)}" if finding.reason else ""
    return f"{name(finding)}: {verdict}, {values(finding)}, {spread(finding)}{threshold}{reason}"


def suspect(change: EnvironmentChange) -> str:
    """One difference between the environments."""
    return f"{plain(change.name)}: {plain(change.baseline or 'unknown')} to {plain(change.current or 'unknown')}"


def headline(regression: Regression) -> str:
    """The outcome on one line."""
    counts = dict.fromkeys(Verdict, 0)
    for finding in regression.findings:
        counts[finding.verdict] += 1
    parts = [f"{counts[v]} {wording.verdict(v)}" for v in Verdict if counts[v]]
    outcome = "regression" if regression.regressed else "no regression"
    return f"{outcome} in {plain(regression.current.suite_name)}: {', '.join(parts) or 'nothing was compared'}"
