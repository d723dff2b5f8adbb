"""Documents as CSV: one line per row of the document, unrounded, in base units named by the columns."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from advisor.types import (
    Accuracy,
    Choice,
    Estimate,
    Finding,
    HistoryDocument,
    Interval,
    MachineComparison,
    Plan,
    PlanRow,
    Recommendation,
    Regression,
    Run,
    StackMember,
    StackPlan,
    Trend,
    TrendPoint,
    UsersSpeed,
    Validation,
)
from probes.types import HardwareProfile
from reports.errors import ReportRequestError
from reports.text import plain

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render(documents: Sequence[object]) -> bytes:
    """Rows of documents of one kind, with the number of the document where there are several.

    The columns of a ranking, a plan or a comparison of runs are named where there is not one row, too.

    Raises:
        ReportRequestError: if the documents are of several kinds, or of one that has no rows.
    """
    kinds = list(dict.fromkeys(str(getattr(document, "kind", "unknown")) for document in documents))
    if len(kinds) > 1:
        listed = " and ".join(map(plain, kinds))
        raise ReportRequestError(f"CSV holds one kind of document, got {listed}; render each kind by itself")
    rows = [
        ({"document": number} if len(documents) > 1 else {}) | dict(row)
        for number, document in enumerate(documents, 1)
        for row in _rows(document)
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or _columns(documents)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return buffer.getvalue().encode()


class _Blank(str):
    """A value of which nothing is known: each of its fields is another, none of them has parts."""

    __slots__ = ()

    def __getattr__(self, name: str) -> "_Blank":
        return self

    def __bool__(self) -> bool:
        return False


def _columns(documents: Sequence[object]) -> list[str]:
    """The names of the cells that a row would have."""
    blank: Any = _Blank()
    match documents[0] if documents else None:
        case Recommendation():
            return list(_choice_row(blank))
        case StackPlan():
            return list(_member_row(blank))
        case Plan():
            return list(_plan_row(blank))
        case Regression():
            return list(_finding_row(blank))
        case HistoryDocument():
            return list(_trend_row(blank, blank))
    return []


def _cell(value: Cell) -> Cell:
    """Text made inert; one that a spreadsheet would run as a formula gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _rows(document: object) -> Iterable[Row]:
    match document:
        case Recommendation(ranked=ranked):
            return map(_choice_row, ranked)
        case StackPlan(members=members):
            return map(_member_row, members)
        case Estimate():
            return _estimate_rows(document)
        case Validation():
            return _validation_rows(document)
        case Accuracy():
            return _accuracy_rows(document)
        case HardwareProfile():
            return _profile_rows(document)
        case Regression():
            return map(_finding_row, document.findings)
        case HistoryDocument():
            return (_trend_row(trend, point) for trend in document.trends for point in trend.points)
        case Run():
            return _run_rows(document)
        case Plan(rows=rows):
            return map(_plan_row, rows)
        case MachineComparison():
            return _comparison_rows(document)
    raise ReportRequestError(
        f"a {plain(getattr(document, 'kind', 'document'))} document has no rows for CSV; use .html or .md"
    )


def _span(name: str, unit: str, span: Interval) -> dict[str, Cell]:
    stem = f"{name}_{{}}{unit}"
    return {stem.format("low"): span.low, stem.format("mid"): span.mid, stem.format("high"): span.high}


def _estimate_row(estimate: Estimate) -> dict[str, Cell]:
    row: dict[str, Cell] = {"model_id": estimate.model_id, "quant_id": estimate.quant_id}
    row |= {"engine_id": estimate.engine_id, "backend": estimate.deployment.backend}
    row |= {"kv_quant_id": estimate.deployment.kv_quant_id}
    row |= {name: getattr(estimate.workload, name) for name in _WORKLOAD}
    row |= _span("decode", "_tokens_per_s", estimate.decode_tokens_per_s)
    row |= _span("prefill", "_tokens_per_s", estimate.prefill_tokens_per_s)
    row |= _span("first_token", "_s", estimate.first_token_s)
    row |= _span("load", "_s", estimate.load_s)
    row |= {"memory_bytes": estimate.memory.total_bytes, "fits": estimate.memory.fits, "basis": estimate.basis.value}
    return row | {"warnings": " ".join(warning.value for warning in estimate.warnings)}


def _estimate_rows(estimate: Estimate) -> Iterable[Row]:
    """The prediction; where several users were asked about, one further row for each other number of users."""
    speeds = {speed.users_count: speed for speed in estimate.concurrency.speeds} if estimate.concurrency else {}
    own = speeds.pop(estimate.workload.concurrency_count, None)
    row = _estimate_row(estimate)
    yield row if own is None else row | _shared_cells(own)
    named = {name: row[name] for name in ("model_id", "quant_id", "engine_id", "backend", "kv_quant_id", *_WORKLOAD)}
    for speed in speeds.values():
        decode = _span("decode", "_tokens_per_s", speed.decode_tokens_per_s)
        first_token = _span("first_token", "_s", speed.first_token_s)
        yield named | {"concurrency_count": speed.users_count} | decode | first_token | _shared_cells(speed)


def _shared_cells(speed: UsersSpeed) -> dict[str, Cell]:
    return {
        "total_tokens_per_s": speed.total_tokens_per_s,
        "last_first_token_s": speed.last_first_token_s,
        "cache_layouts": " ".join(speed.layouts),
    }


_WORKLOAD = ("prompt_tokens", "output_tokens", "context_tokens", "concurrency_count")


def _choice_row(choice: Choice) -> Row:
    row: dict[str, Cell] = {"rank": choice.rank, "display_name": choice.display_name, "score": choice.score}
    quality = choice.quality
    row |= {"quality_low": quality.low, "quality_mid": quality.mid, "quality_high": quality.high}
    row |= {"quality_imputed": quality.imputed, "pareto": choice.pareto}
    row |= _estimate_row(choice.estimate)
    row |= {"params_total_count": choice.params_total_count, "params_active_count": choice.params_active_count}
    row |= {"file_bytes": choice.file_bytes, "license_id": choice.license_id, "release_date": choice.release_date}
    for extreme in choice.estimate.extremes:
        row |= {f"most_{extreme.quantity}": extreme.value, f"most_{extreme.quantity}_limited_by": extreme.limited_by}
    return row | {"about_equal_to_rank": choice.about_equal_to_rank, "command": choice.command}


def _member_row(member: StackMember) -> Row:
    row: dict[str, Cell] = {"jobs": " ".join(member.jobs), "resident": member.resident, "swap_s": member.swap_s}
    return row | dict(_choice_row(member.choice))


def _validation_rows(validation: Validation) -> Iterable[Row]:
    for record in validation.records:
        row = _estimate_row(record.estimate)
        row |= {"status": record.status.value, "weights": record.weights, "polluted": record.polluted}
        row |= {"engine_version": record.engine.version, "reason": record.reason}
        for metric in ("decode_tokens_per_s", "prefill_tokens_per_s", "first_token_s", "load_s", "peak_memory_bytes"):
            row[f"observed_{metric}"] = getattr(record.observed, metric)
            row[f"error_frac_{metric}"] = record.error_frac.get(metric)
            row[f"within_interval_{metric}"] = record.within_interval.get(metric)
        yield row


def _accuracy_rows(accuracy: Accuracy) -> Iterable[Row]:
    for line in accuracy.rows:
        row: dict[str, Cell] = {"hardware": line.hardware, "backend": line.backend, "model_id": line.model_id}
        row |= {"quant": line.quant, "test": line.test, "measured_tokens_per_s": line.measured}
        yield row | _span("predicted", "_tokens_per_s", line.predicted) | {"error_frac": line.error_frac}


def _profile_rows(profile: HardwareProfile) -> Iterable[Row]:
    for outcome in profile.outcomes:
        row: dict[str, Cell] = {"probe_id": outcome.probe_id, "device_id": outcome.device_id}
        row |= {"status": outcome.status.value, "reason": outcome.reason}
        measurement = outcome.measurement
        if measurement is not None:
            row |= {"dtype": measurement.dtype, "unit": measurement.unit, "value": measurement.value}
            row |= {"median_value": measurement.median_value, "spread_frac": measurement.spread_frac}
            row |= {"threads_count": measurement.threads_count, "repeats_count": len(measurement.elapsed_s)}
            row |= {"warnings": " ".join(warning.value for warning in measurement.warnings)}
        yield row


def _finding_row(finding: Finding) -> Row:
    span = finding.interval_frac
    return {
        "subject": finding.subject,
        "metric": finding.metric,
        "baseline": finding.baseline,
        "current": finding.current,
        "change_frac": finding.change_frac,
        "change_low_frac": span.low if span else None,
        "change_high_frac": span.high if span else None,
        "significant": finding.significant,
        "verdict": finding.verdict.value,
        "p_value": finding.p_value,
        "reason": finding.reason,
    }


def _trend_row(trend: Trend, point: TrendPoint) -> Row:
    return {
        "machine_id": trend.machine_id,
        "subject": trend.subject,
        "metric": trend.metric,
        "created_at": point.created_at,
        "value": point.value,
        "low": point.low,
        "high": point.high,
        "engine": point.engine,
    }


def _run_rows(run: Run) -> Iterable[Row]:
    for case in run.cases:
        for series in case.series:
            for index, value in enumerate(series.values):
                yield {
                    "subject": case.subject,
                    "metric": series.metric,
                    "round": series.rounds[index] if index < len(series.rounds) else None,
                    "value": value,
                    "polluted": series.polluted[index] if index < len(series.polluted) else False,
                }


def _plan_row(row: PlanRow) -> Row:
    own: dict[str, Cell] = {
        "hardware": row.hardware,
        "chip_id": row.chip_id,
        "machine_class": row.machine_class.value,
        "chips_count": row.chips_count,
        "memory_bytes": row.memory_bytes,
        "price_usd": row.price_usd,
        "rent_usd_per_hour": row.price.rent_usd_per_hour,
        "price_basis": row.price.basis,
        "price_source": row.price.source,
        "computer_power_w": row.computer_power_w,
        "usd_per_million_tokens": row.usd_per_million_tokens,
        "electricity_usd_per_million_tokens": row.electricity_usd_per_million_tokens,
    }
    return own | _estimate_row(row.estimate)


def _comparison_rows(comparison: MachineComparison) -> Iterable[Row]:
    for column in comparison.machines:
        costs: dict[str, Cell] = {
            "hardware": column.hardware,
            "price_usd": column.price_usd,
            "rent_usd_per_hour": column.price.rent_usd_per_hour,
            "computer_power_w": column.computer_power_w,
            "usd_per_million_tokens": column.usd_per_million_tokens,
            "reason": column.reason,
        }
        estimates = [column.estimate] if column.estimate else [choice.estimate for choice in column.picks]
        yield from (costs | _estimate_row(made) for made in estimates)
        if not estimates:
            yield costs
