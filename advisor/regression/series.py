"""What a document says per subject and metric: raw values, typical values, which way is better.

Runs and validations are brought into one shape here, so that comparing, trending and self-testing
need to know one. Pure.
"""

import statistics
from collections.abc import Iterator

from advisor.errors import BadRequestError
from advisor.types import (
    Calibration,
    EngineBuild,
    MetricSeries,
    Run,
    RunCase,
    RunEnvironment,
    Validation,
    ValidationRecord,
    ValidationStatus,
)

OBSERVED_METRICS = (
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "first_token_s",
    "load_s",
    "peak_memory_bytes",
)


def higher_is_better(metric: str) -> bool:
    """Whether a larger value is the better one, read from the metric's unit suffix."""
    return metric.endswith("_per_s")


def clean_values(series: MetricSeries) -> tuple[float, ...]:
    """Positive values of unpolluted windows; all positive values where every window was polluted."""
    usable = [(value, index) for index, value in enumerate(series.values) if value > 0]
    clean = [value for value, index in usable if not (series.polluted and series.polluted[index])]
    return tuple(clean or [value for value, _ in usable])


def typical(series: MetricSeries) -> float | None:
    """The median of the clean values, or None without any."""
    values = clean_values(series)
    return statistics.median(values) if values else None


def engine_label(engine: EngineBuild | None) -> str | None:
    """An engine and its build on one line."""
    if engine is None:
        return None
    return " ".join(part for part in (engine.id, engine.version, engine.build) if part)


def validation_subject(record: ValidationRecord) -> str:
    """The name of a validation's case: two records are like cases exactly if these are equal."""
    work, how = record.estimate.workload, record.estimate.deployment
    parts = [
        f"{record.estimate.model_id}:{record.estimate.quant_id}",
        record.weights,
        f"p{work.prompt_tokens}",
        f"n{work.output_tokens}",
        f"c{work.context_tokens}",
        how.backend,
    ]
    parts += [f"x{work.concurrency_count}"] if work.concurrency_count > 1 else []
    parts += [f"t{how.threads_count}"] if how.threads_count else []
    return " ".join(parts)


def _window_rates(record: ValidationRecord, metric: str) -> MetricSeries | None:
    """A phase's windows as rates around the observed one: a window's rate is inverse to its time."""
    phase, observed = metric.removesuffix("_tokens_per_s"), getattr(record.observed, metric)
    times = record.samples.get(f"{phase}_windows_s", ())
    if not times or observed is None or min(times) <= 0:
        return None
    middle = statistics.median(times)
    flags = record.samples.get(f"{phase}_windows_polluted", ())
    return MetricSeries(
        metric=metric,
        values=tuple(observed * middle / time for time in times),
        rounds=tuple(range(len(times))),
        polluted=tuple(bool(flag) for flag in flags) if len(flags) == len(times) else (),
    )


def _single(record: ValidationRecord, metric: str) -> MetricSeries | None:
    value = getattr(record.observed, metric)
    if value is None:
        return None
    flags = (True,) if record.polluted else ()
    return MetricSeries(metric=metric, values=(float(value),), rounds=(0,), polluted=flags)


def case_from_validation(record: ValidationRecord) -> RunCase:
    """A validation record as a case of a run, its timed windows as rounds."""
    found = [_window_rates(record, metric) or _single(record, metric) for metric in OBSERVED_METRICS]
    return RunCase(
        subject=validation_subject(record),
        status=record.status,
        series=tuple(series for series in found if series is not None),
        deployment=record.estimate.deployment,
        workload=record.estimate.workload,
        weights=record.weights,
        estimate=record.estimate,
        reason=record.reason,
    )


def run_from_validation(document: Validation) -> Run:
    """A validation document as a run of an unnamed suite, so that two of them can be compared."""
    cases: dict[str, RunCase] = {}
    for record in document.records:
        case = case_from_validation(record)
        cases[case.subject] = case  # the last word on a case counts
    engines = [record.engine for record in document.records if record.status is ValidationStatus.OK]
    machine_id = document.profile_id or "unknown"
    hardware = document.hardware or "unknown"
    environment = RunEnvironment(
        machine_id=machine_id, hardware=hardware, os="unknown", engine=engines[0] if engines else None
    )
    rounds = max((len(s.values) for case in cases.values() for s in case.series), default=0)
    return Run(
        suite_name="validation",
        suite_id="validation",
        environment=environment,
        cases=tuple(cases.values()),
        created_at=document.created_at,
        tool_version=document.tool_version,
        rounds_count=rounds,
        profile_id=document.profile_id,
        hardware=document.hardware,
    )


def require_sound(run: Run, where: str) -> None:
    """Check what a schema cannot: that every value of every series has its round.

    Raises:
        BadRequestError: naming the case and metric that do not.
    """
    for case in run.cases:
        for series in case.series:
            lengths = {len(series.values), len(series.rounds), len(series.polluted or series.values)}
            if len(lengths) > 1:
                raise BadRequestError(
                    f"{where}: case {case.subject[:80]!r}, {series.metric[:40]!r}: values, rounds and polluted"
                    " differ in length; the document was altered, record it again"
                )


def points(document: object) -> Iterator[tuple[str, str, float, float, float]]:
    """Subject, metric, median, lowest and highest clean value of everything a document measured."""
    if isinstance(document, Calibration):
        yield from _rates(document)
        return
    run = run_from_validation(document) if isinstance(document, Validation) else document
    if not isinstance(run, Run):
        return
    for case in run.cases:
        for series in case.series:
            values = clean_values(series)
            if values:
                yield case.subject, series.metric, statistics.median(values), min(values), max(values)


def _rates(calibration: Calibration) -> Iterator[tuple[str, str, float, float, float]]:
    """What each type of weight reaches: bytes per second while decoding, flop per second in prefill."""
    for rates in calibration.rates:
        for metric, costs in (
            ("decode_bytes_per_s", rates.decode_s_per_byte),
            ("prefill_flop_per_s", rates.prefill_s_per_flop),
        ):
            for kind, cost_s in costs.items():
                if kind != "*" and cost_s > 0:
                    yield f"calibration {rates.device_id} {kind}", metric, 1 / cost_s, 1 / cost_s, 1 / cost_s
