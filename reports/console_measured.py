"""What was measured, on a terminal or in a pipe: validations, this machine, and how far predictions are off.

As in `reports.console`, all text passes through `reports.terminal.text`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor.types import Accuracy, Interval, Validation, ValidationRecord, ValidationStatus
from probes.engine import PROBE_ID as ENGINE_PROBE_ID
from probes.types import HardwareProfile, ProbeOutcome, ProbeStatus
from reports import format as fmt
from reports import phrases, proof, terminal, wording

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_FAR_OFF_FRAC = 0.2
_SHOWN_COUNT = 6


# Validation -----------------------------------------------------------------------------------

_METRICS: tuple[tuple[str, str], ...] = (
    ("decode_tokens_per_s", "tok/s"),
    ("prefill_tokens_per_s", "tok/s"),
    ("first_token_s", ""),
    ("load_s", ""),
)


def print_validation(validation: Validation, console: "Console") -> None:
    """Predicted beside measured for every record."""
    measured_on = f" on {validation.hardware}" if validation.hardware else ""
    terminal.heading(console, f"Predicted and measured{measured_on}", fmt.clock(validation.created_at))
    if not validation.records:
        console.print(terminal.text("The document holds no records.", "yellow"))
    for index, record in enumerate(validation.records):
        if index:
            console.print()
        _print_record(console, record)
    terminal.bullets(console, proof.delta_lines(validation))


def _print_record(console: "Console", record: ValidationRecord) -> None:
    engine = " ".join(filter(None, (record.engine.id, record.engine.version)))
    console.print(terminal.text(phrases.estimate_name(record.estimate), "bold"))
    console.print(terminal.text(f"{engine}, {wording.weights_kind(record.weights)}", "dim"))
    if record.status != ValidationStatus.OK:
        status = wording.VALIDATION_STATUSES.get(record.status, record.status)
        console.print(terminal.text(f"{status}: {record.reason or 'no reason recorded'}", "red"))
        return
    console.print(_record_table(record))
    if record.polluted:
        terminal.bullets(console, ["Other programs were busy meanwhile: measured speeds are lower bounds."], "yellow")
    terminal.bullets(console, (*proof.record_lines(record), *record.notes), "dim")
    if record.answer:
        terminal.bullets(console, [f"It answered: {record.answer}"], "dim")


def _record_table(record: ValidationRecord) -> "Table":
    table = terminal.table("", "Predicted", "Measured", "Off by", "In range", right=(1, 2, 3), folds=(0,))
    for metric, unit in _METRICS:
        measured: float | None = getattr(record.observed, metric)
        predicted: Interval = getattr(record.estimate, metric)
        show = fmt.interval(predicted) + f" {unit}" if unit else fmt.duration_interval(predicted)
        table.add_row(
            terminal.text(wording.metric(metric)),
            terminal.text(show),
            terminal.text(phrases.metric_value(metric, measured)),
            _error_cell(record, metric),
            terminal.text(_yes_no(record.within_interval.get(metric))),
        )
    table.add_row(
        terminal.text(wording.metric("peak_memory_bytes")),
        terminal.text(fmt.gib(record.estimate.memory.total_bytes)),
        terminal.text(fmt.gib(record.observed.peak_memory_bytes)),
        _error_cell(record, "peak_memory_bytes"),
        terminal.text(_yes_no(record.within_interval.get("peak_memory_bytes"))),
    )
    return table


def _error_cell(record: ValidationRecord, metric: str) -> "Text":
    error_frac = record.error_frac.get(metric)
    far_off = error_frac is not None and abs(error_frac) > _FAR_OFF_FRAC
    return terminal.text(fmt.change(error_frac), "yellow" if far_off else "")


def _yes_no(answer: bool | None) -> str:
    return fmt.UNKNOWN if answer is None else ("yes" if answer else "no")


# Profile --------------------------------------------------------------------------------------


def print_profile(profile: HardwareProfile, console: "Console") -> None:
    """The machine, what was measured on it, and what could not be measured and why."""
    host = profile.host
    terminal.heading(console, phrases.hardware(profile), f"scanned {fmt.clock(profile.created_at)}")
    terminal.facts(
        console,
        (
            ("System", " ".join(filter(None, (host.os, host.os_version, host.machine)))),
            ("Processor", phrases.processor(host)),
            ("Memory", phrases.memory_state(host)),
            *((device.device_id, phrases.device(device)) for device in profile.devices if device.kind != "cpu"),
            *((report.engine_id, phrases.engine(report)) for report in profile.engines),
        ),
    )
    _print_engine_trouble(console, profile.outcomes)
    console.print()
    measured = [outcome for outcome in profile.outcomes if outcome.measurement is not None]
    if measured:
        console.print(_outcomes_table(measured))
    else:
        console.print(terminal.text("The document holds no measurements.", "yellow"))
    _print_unmeasured(console, profile.outcomes)
    state = phrases.conditions(profile.conditions)
    if state:
        console.print()
        console.print(terminal.text(f"Meanwhile: {state}.", "yellow" if profile.conditions.polluted else "dim"))


def _print_engine_trouble(console: "Console", outcomes: Sequence[ProbeOutcome]) -> None:
    """What keeps the installed engine from this machine's devices, with the command that mends it."""
    for outcome in outcomes:
        if outcome.probe_id == ENGINE_PROBE_ID and outcome.status != ProbeStatus.OK:
            terminal.section(console, "Engine")
            style = "red" if outcome.status == ProbeStatus.FAILED else "yellow"
            terminal.bullets(console, [phrases.sentence(outcome.reason or "it cannot be asked")], style)
            if outcome.fix:
                terminal.command(console, f"  {outcome.fix}")


def _outcomes_table(outcomes: Sequence[ProbeOutcome]) -> "Table":
    table = terminal.table("Measured", "On", "Best", "Median", "Repeats", right=(2, 3, 4), folds=(0,))
    for outcome in outcomes:
        measurement = outcome.measurement
        if measurement is None:
            continue
        suspect = "yellow" if measurement.warnings else ""
        table.add_row(
            terminal.text(wording.probe(outcome.probe_id, measurement.dtype), suspect),
            terminal.text(outcome.device_id),
            terminal.text(phrases.measured(measurement), suspect),
            terminal.text(phrases.measured(measurement, measurement.median_value)),
            terminal.text(fmt.count(len(measurement.elapsed_s))),
        )
    return table


def _print_unmeasured(console: "Console", outcomes: Sequence[ProbeOutcome]) -> None:
    warnings = {warning for outcome in outcomes if outcome.measurement for warning in outcome.measurement.warnings}
    terminal.bullets(console, sorted(wording.scan_warning(warning) for warning in warnings), "yellow")
    missing = [item for item in outcomes if item.status != ProbeStatus.OK and item.probe_id != ENGINE_PROBE_ID]
    if not missing:
        return
    terminal.section(console, "Not measured")
    for outcome in missing:
        fix = f" Try: {outcome.fix}" if outcome.fix else ""
        name = f"{wording.probe(outcome.probe_id)} on {outcome.device_id}"
        terminal.bullets(console, [f"{name}: {phrases.sentence(outcome.reason or 'no reason recorded')}{fix}"])


# Accuracy -------------------------------------------------------------------------------------


def print_accuracy(accuracy: Accuracy, console: "Console") -> None:
    """How far predictions are off, by group, and the worst rows."""
    compared = f"{phrases.counted(len(accuracy.rows), 'prediction')} against measurements"
    terminal.heading(console, "How far predictions are off", compared)
    columns = ("Group", "Phase", "Rows", "Median error", "90 % within", "In range", "Bias")
    table = terminal.table(*columns, right=(2, 3, 4, 5, 6), folds=(0,))
    for line in accuracy.summary:
        errors = map(fmt.percent, (line.median_ape, line.p90_ape, line.coverage))
        cells = (line.group, line.phase, fmt.count(line.n), *errors, fmt.change(line.bias))
        table.add_row(*map(terminal.text, cells))
    console.print(table)
    _print_worst(console, accuracy)
    if accuracy.skipped:
        console.print()
        console.print(
            terminal.text(f"{phrases.counted(len(accuracy.skipped), 'row')} could not be predicted:", "yellow")
        )
        reasons = sorted({skipped.reason for skipped in accuracy.skipped})
        terminal.bullets(console, reasons[:_SHOWN_COUNT])
        terminal.more(console, len(reasons), _SHOWN_COUNT, "reasons")
    terminal.bullets(console, accuracy.notes, "dim")


def _print_worst(console: "Console", accuracy: Accuracy) -> None:
    if not accuracy.rows:
        console.print(terminal.text("The document holds no rows.", "yellow"))
        return
    worst = sorted(accuracy.rows, key=lambda row: -abs(row.error_frac))[:_SHOWN_COUNT]
    terminal.section(console, "Furthest off")
    table = terminal.table("Machine", "Model", "Test", "Predicted", "Measured", "Off by", right=(3, 4, 5), folds=(0, 1))
    for row in worst:
        table.add_row(
            terminal.text(f"{row.hardware} ({row.backend})"),
            terminal.text(f"{phrases.short_name(row.model_id)} {row.quant}"),
            terminal.text(row.test),
            terminal.text(fmt.interval(row.predicted)),
            terminal.text(fmt.number(row.measured)),
            terminal.text(fmt.change(row.error_frac)),
        )
    console.print(table)
