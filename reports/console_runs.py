"""Console output of recordings: runs, comparisons, self-tests and the history."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from advisor.types import (
    Finding,
    HistoryDocument,
    MetricSeries,
    Regression,
    Resolution,
    Run,
    RunReference,
    SelfTest,
    Trend,
    ValidationStatus,
    Verdict,
)
from reports import findings, phrases, terminal, wording
from reports import format as fmt
from reports.text import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

T = TypeVar("T", Finding, Resolution, Trend)

_STYLES = {Verdict.SLOWER: "bold red", Verdict.NOISIER: "yellow", Verdict.FASTER: "green"}
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_COUNT = 24


def print_run(run: Run, console: "Console") -> None:
    """Every case with the typical value and the spread of each metric."""
    state = "" if run.complete else " (incomplete)"
    rounds = phrases.counted(run.rounds_count, "round")
    terminal.heading(console, f"{plain(run.suite_name)}{state}", f"{plain(run.environment.hardware)} · {rounds}")
    for case in run.cases:
        terminal.section(console, case.subject)
        if case.status is not ValidationStatus.OK:
            status = wording.VALIDATION_STATUSES[case.status]
            console.print(terminal.text(f"{status}: {plain(case.reason or '')}", "red"))
            continue
        table = _aligned(terminal.table("metric", "middle", "lowest", "highest", "disturbed", right=(1, 2, 3, 4)))
        for series in case.series:
            table.add_row(*_series_cells(series))
        console.print(table)
    terminal.bullets(console, run.notes)


def _aligned(table: "Table") -> "Table":
    """Give the columns of one table after another the same widths."""
    for index, column in enumerate(table.columns):
        column.min_width = 24 if index == 0 else 12
    return table


def _grouped(rows: Sequence[T]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = {}
    for row in rows:
        groups.setdefault(row.subject, []).append(row)
    return groups


def _series_cells(series: MetricSeries) -> tuple[str, ...]:
    ordered = sorted(series.values)
    shown = (ordered[len(ordered) // 2], ordered[0], ordered[-1])
    disturbed = f"{sum(series.polluted)} of {len(series.values)}" if series.polluted else ""
    return (wording.metric(series.metric), *(phrases.metric_value(series.metric, v) for v in shown), disturbed)


def print_regression(regression: Regression, console: "Console") -> None:
    """The outcome, what moved, what cannot be compared, and what else changed."""
    terminal.heading(
        console,
        findings.headline(regression),
        _reference("baseline", regression.baseline),
        _reference("new run", regression.current),
    )
    moved = [f for f in regression.findings if f.significant and f.verdict is not Verdict.NOT_COMPARABLE]
    _print_findings(console, moved)
    rest = [f for f in regression.findings if not f.significant and f.verdict is not Verdict.NOT_COMPARABLE]
    if rest:
        terminal.section(console, f"No change beyond noise and threshold ({len(rest)})")
        _print_findings(console, rest)
    for title, significant, style in (("Broken", True, "bold red"), ("Not comparable", False, "yellow")):
        unlike = [
            f for f in regression.findings if f.verdict is Verdict.NOT_COMPARABLE and f.significant == significant
        ]
        if unlike:
            terminal.section(console, title)
            terminal.bullets(console, findings.by_reason(unlike), style)
    if regression.environment_changes:
        terminal.section(console, "What else changed")
        terminal.bullets(console, map(findings.suspect, regression.environment_changes))
    notes = [f"compared although the {name} differs" for name in regression.allowed] + list(regression.notes)
    if notes:
        terminal.section(console, "Notes")
        terminal.bullets(console, notes)


def _reference(name: str, run: RunReference) -> str:
    engine = run.engine
    build = " ".join(part for part in (engine.id, engine.version) if part) if engine else "no engine"
    return f"{name}: {fmt.clock(run.created_at)}, {plain(build)}"


def _print_findings(console: "Console", rows: Sequence[Finding]) -> None:
    for subject, group in _grouped(rows).items():
        terminal.section(console, subject)
        table = _aligned(terminal.table("metric", "baseline to new run", "change (95 %)", "verdict", right=(2,)))
        for finding in group:
            style = _STYLES.get(finding.verdict, "") if finding.significant else ""
            table.add_row(
                wording.metric(finding.metric),
                findings.values(finding),
                findings.spread(finding),
                terminal.text(wording.verdict(finding.verdict), style),
            )
        console.print(table)


def print_selftest(test: SelfTest, console: "Console") -> None:
    """False alarms of like against like, and the smallest change each metric can show."""
    alarms = f"{test.false_alarms_count} false alarms in {phrases.counted(test.comparisons_count, 'comparison')}"
    runs = phrases.counted(test.runs_count, "run")
    terminal.heading(console, f"{plain(test.suite_name)}: {alarms}", f"{plain(test.hardware)} · {runs}")
    caught = f"caught {fmt.percent(test.power_frac)}"
    for subject, group in _grouped(test.resolutions).items():
        terminal.section(console, subject)
        table = _aligned(
            terminal.table("metric", "rounds", "noise in a run", "between runs", caught, right=range(1, 5))
        )
        for line in group:
            table.add_row(
                wording.metric(line.metric),
                fmt.count(line.rounds_count),
                fmt.percent(line.within_frac),
                fmt.percent(line.between_frac),
                fmt.percent(line.smallest_change_frac),
            )
        console.print(table)
    terminal.bullets(console, test.notes)


def print_history(document: HistoryDocument, console: "Console", *, entries_count: int) -> None:
    """The newest documents, and every trend with its lasting steps."""
    terminal.heading(console, f"{phrases.counted(len(document.entries), 'document')} remembered")
    if not document.entries:
        terminal.bullets(console, ["advisor validate, advisor bench and the first calibration are kept here"])
        return
    table = terminal.table("when", "kind", "what", "digest", folds=(2,))
    for entry in document.entries[-entries_count:]:
        table.add_row(fmt.clock(entry.created_at), entry.kind, terminal.text(entry.summary), entry.digest[:10])
    console.print(table)
    trends = [trend for trend in document.trends if len(trend.points) > 1]
    for subject, group in _grouped(trends).items():
        terminal.section(console, subject)
        table = _aligned(terminal.table("metric", "runs", "trend", "last", "lasting steps", right=(1, 3), folds=(4,)))
        for trend in group:
            table.add_row(*_trend_cells(trend))
        console.print(table)


def _trend_cells(trend: Trend) -> tuple[str, ...]:
    values = [point.value for point in trend.points]
    return (
        wording.metric(trend.metric),
        fmt.count(len(values)),
        sparkline(values[-_SPARKS_COUNT:]),
        phrases.metric_value(trend.metric, values[-1]),
        ", ".join(f"{fmt.change(c.change_frac)} on {c.created_at[:10]}" for c in trend.change_points),
    )


def sparkline(values: Sequence[float]) -> str:
    """Values as a line of blocks, the lowest and highest at the ends of the scale."""
    low, span = min(values), max(values) - min(values)
    if span <= 0:
        return _SPARKS[0] * len(values)
    return "".join(_SPARKS[min(int((v - low) / span * len(_SPARKS)), len(_SPARKS) - 1)] for v in values)
