"""Documents that are mostly records: calibrations, suite runs and the history."""

from statistics import median

from advisor.types import Calibration, HistoryDocument, Rates, Run, RunCase, Trend, ValidationStatus
from reports import format as fmt
from reports import phrases, wording
from reports.blocks import Block, Facts, Fold, Grid, Notice, Section
from reports.text import plain

_ENTRIES_SHOWN = 200


def calibration_section(calibration: Calibration, document_index: int) -> Section:
    """What each weight type achieves through the engine."""
    blocks: list[Block] = [
        Facts(
            (
                ("Engine", plain(" ".join(filter(None, (calibration.engine.id, calibration.engine.version))))),
                ("Taken", fmt.clock(calibration.created_at)),
                ("Samples", fmt.count(len(calibration.samples))),
            )
        )
    ]
    if calibration.polluted:
        blocks.append(Notice("Other programs were busy meanwhile; real speeds may be higher."))
    blocks += [_rates_grid(rates) for rates in calibration.rates]
    return Section(
        section_id=f"calibration-{document_index}",
        title="What the engine reaches here",
        nav="Calibration",
        blocks=tuple(blocks),
    )


def _rates_grid(rates: Rates) -> Grid:
    types = sorted({*rates.decode_s_per_byte, *rates.prefill_s_per_flop} - {"*"})
    rows = tuple(
        (
            plain(name),
            fmt.bandwidth(_inverse(rates.decode_s_per_byte.get(name))),
            fmt.compute(_inverse(rates.prefill_s_per_flop.get(name))),
        )
        for name in types
    )
    return Grid(
        caption=f"Rates of {plain(rates.device_id)} by weight type",
        headers=("Weight type", "Generating", "Reading a prompt"),
        rows=rows,
        numeric=frozenset({1, 2}),
    )


def _inverse(value: float | None) -> float | None:
    return 1.0 / value if value else None


def run_section(run: Run, document_index: int) -> Section:
    """A recorded suite."""
    blocks: list[Block] = [
        Facts(
            (
                ("Machine", plain(run.environment.hardware)),
                ("Recorded", fmt.clock(run.created_at)),
                ("Rounds", fmt.count(run.rounds_count)),
                ("Engine", plain(run.environment.engine.version) if run.environment.engine else "none"),
            )
        )
    ]
    if not run.complete:
        blocks.append(Notice("The run was interrupted; what was recorded until then is shown."))
    rows = tuple(row for case in run.cases for row in _case_rows(case))
    headers = ("Case", "Metric", "Median", "Best", "Worst", "Repeats")
    blocks.append(Grid(caption="Recorded values", headers=headers, rows=rows, numeric=frozenset({2, 3, 4, 5})))
    blocks += [
        Notice(f"{plain(case.subject)}: {plain(case.reason or 'no reason recorded')}.")
        for case in run.cases
        if case.status != ValidationStatus.OK
    ]
    return Section(
        section_id=f"run-{document_index}", title=f"Suite {plain(run.suite_name)}", nav="Run", blocks=tuple(blocks)
    )


def _case_rows(case: RunCase) -> list[tuple[str, ...]]:
    rows = []
    for series in case.series:
        if series.values:
            low, high = min(series.values), max(series.values)
            best, worst = (high, low) if series.metric.endswith("_per_s") else (low, high)
            shown = [phrases.metric_value(series.metric, value) for value in (median(series.values), best, worst)]
            rows.append((plain(case.subject), wording.metric(series.metric), *shown, fmt.count(len(series.values))))
    return rows


def history_section(history: HistoryDocument, document_index: int) -> Section:
    """What was measured over time."""
    blocks: list[Block] = []
    if history.trends:
        blocks.append(
            Grid(
                caption="Trends",
                headers=("Subject", "Metric", "Runs", "Latest", "Last lasting step"),
                rows=tuple(map(_trend_row, history.trends)),
                numeric=frozenset({2, 3}),
            )
        )
    if history.entries:
        rows = tuple(
            (fmt.clock(entry.created_at), plain(entry.kind), plain(entry.summary), plain(entry.origin))
            for entry in history.entries[:_ENTRIES_SHOWN]
        )
        table = Grid(caption="Remembered documents", headers=("When", "Kind", "What", "From"), rows=rows)
        blocks.append(Fold(f"Remembered documents ({fmt.count(len(history.entries))})", (table,)))
    if not blocks:
        blocks.append(Notice("Nothing was measured here yet; advisor validate or advisor bench records."))
    return Section(section_id=f"history-{document_index}", title="Over time", nav="History", blocks=tuple(blocks))


def _trend_row(trend: Trend) -> tuple[str, ...]:
    latest = trend.points[-1].value if trend.points else None
    step = trend.change_points[-1] if trend.change_points else None
    words = f"{fmt.change(step.change_frac)} on {step.created_at[:10]}" if step else "none"
    return (
        plain(trend.subject),
        wording.metric(trend.metric),
        fmt.count(len(trend.points)),
        phrases.metric_value(trend.metric, latest),
        words,
    )
