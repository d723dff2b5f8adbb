"""Documents on a terminal or in a pipe: readable at 80 columns, coloured only on a terminal.

Nothing here parses markup: all text passes through `reports.terminal.text`, so a model called
``[red]``, or one that holds an escape sequence, stays text.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor.types import (
    Accuracy,
    Choice,
    ComparedSetting,
    Estimate,
    Interval,
    MemoryPlan,
    Recommendation,
    Term,
    Validation,
    ValidationRecord,
    ValidationStatus,
    Why,
)
from probes.engine import PROBE_ID as ENGINE_PROBE_ID
from probes.types import HardwareProfile, ProbeOutcome, ProbeStatus
from reports import answers, engines, phrases, proof, terminal, users, wording
from reports import format as fmt
from reports.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = [
    "make_console",
    "print_accuracy",
    "print_estimate",
    "print_profile",
    "print_recommendation",
    "print_validation",
]

_WIDE_COLUMNS = 110
_PICKS_SHOWN = 25
_REJECTIONS_SHOWN = 6
_ROWS_SHOWN = 40
_FAR_OFF_FRAC = 0.2
_INTERVAL_NOTE = "In brackets: the range that holds 80 % of outcomes."


# Recommendation -------------------------------------------------------------------------------


def print_recommendation(recommendation: Recommendation, console: "Console") -> None:
    """The ranked table, why the first is first, how to run it, and what was left out and why."""
    title = f"Models for {wording.task(recommendation.task)} on {recommendation.hardware}"
    limits = phrases.limits(recommendation.limits)
    terminal.heading(console, title, phrases.workload(recommendation.workload), limits and f"limits: {limits}")
    ranked = recommendation.ranked
    if ranked:
        shown = ranked[:_PICKS_SHOWN]
        console.print(_picks_table(shown, wide=console.width >= _WIDE_COLUMNS))
        terminal.more(console, len(ranked), len(shown), "picks")
        console.print(terminal.text(_picks_note(shown), "dim"))
        if recommendation.reranking is not None:
            terminal.bullets(console, proof.reranking_lines(recommendation.reranking))
        _print_first_pick(console, ranked[0])
    else:
        console.print(terminal.text("Nothing passes the limits on this machine.", "bold yellow"))
    if recommendation.why is not None:
        _print_why(console, recommendation.why)
    _print_rejections(console, recommendation)


def _picks_table(choices: Sequence[Choice], *, wide: bool) -> "Table":
    extra = ("Context", "KV", "Basis") if wide else ()
    asked = answers.extreme_cells(choices)
    columns = ("#", "Model", "Quant", "Quality", "tok/s", "1st token", "GiB", *(name for _, name in asked), *extra)
    right = range(3, 7 + len(asked))
    table = terminal.table(*columns, right=(0, *right), folds=(1,), gap=2 if wide else 1)
    for choice in choices:
        estimate = choice.estimate
        cells = [
            _rank(choice),
            terminal.text(phrases.choice_name(choice), "bold" if choice.rank == 1 else ""),
            terminal.text(estimate.quant_id),
            terminal.text(
                phrases.quality(choice.quality) if wide or not asked else phrases.quality_mid(choice.quality)
            ),
            terminal.text(fmt.interval(estimate.decode_tokens_per_s)),
            terminal.text(fmt.duration(estimate.first_token_s.mid)),
            _memory_cell(estimate.memory),
            *(terminal.text(answers.extreme_cell(choice, quantity)) for quantity, _ in asked),
        ]
        if wide:
            cells.append(terminal.text(fmt.tokens(estimate.workload.context_tokens)))
            cells.append(terminal.text(estimate.deployment.kv_quant_id))
            cells.append(terminal.text(wording.basis(estimate.basis)))
        table.add_row(*cells)
    return table


def _rank(choice: Choice) -> "Text":
    return terminal.text(f"{'≈' if choice.about_equal_to_rank else ''}{choice.rank}{'◆' if choice.pareto else ' '}")


def _memory_cell(memory: MemoryPlan) -> "Text":
    return terminal.text(fmt.gib(memory.total_bytes).removesuffix(" GiB"), "" if memory.fits else "red")


def _picks_note(choices: Sequence[Choice]) -> str:
    notes = [_INTERVAL_NOTE]
    if any(choice.quality.imputed for choice in choices):
        notes.append("* quality inferred from related models, not measured.")
    equal_ranks = sorted({choice.about_equal_to_rank for choice in choices if choice.about_equal_to_rank})
    if equal_ranks:
        notes.append(f"≈ about as good as pick {' or '.join(map(str, equal_ranks))}, within the ranges.")
    if any(choice.pareto for choice in choices):
        notes.append("◆ nothing else here is better in quality, speed and memory at once.")
    return " ".join(notes)


def _print_first_pick(console: "Console", choice: Choice) -> None:
    estimate = choice.estimate
    terminal.section(console, f"Why {phrases.choice_name(choice)} {estimate.quant_id}")
    reasons = choice.reasons or ("It has the best score of the models that pass the limits.",)
    terminal.bullets(console, map(phrases.capitalised, reasons))
    terminal.bullets(console, [wording.estimate_warning(warning) for warning in estimate.warnings], "yellow")
    terminal.bullets(console, choice.alternatives, "dim")
    if choice.relatives:
        terminal.bullets(console, [f"Stands also for {phrases.listed(choice.relatives)}"], "dim")
    terminal.bullets(
        console, [f"{answers.extreme_name(each)}: {answers.extreme_text(each)}" for each in estimate.extremes]
    )
    if estimate.concurrency is not None:
        users.print_concurrency(console, estimate.concurrency, estimate.workload)
    if choice.command:
        terminal.section(console, "Run it")
        terminal.command(console, choice.command)
    if choice.engines:
        terminal.section(console, "Engines for it, best suited first (--engine)")
        terminal.bullets(console, engines.lines(choice))


def _print_why(console: "Console", why: Why) -> None:
    terminal.section(console, answers.why_title(why))
    terminal.bullets(console, answers.why_lines(why))
    changes = list(answers.change_lines(why))
    if changes:
        terminal.section(console, "What would change that, the smallest first")
        terminal.bullets(console, changes)


def _print_rejections(console: "Console", recommendation: Recommendation) -> None:
    rejected = recommendation.rejected
    if not rejected:
        return
    terminal.section(console, f"Not ranked ({fmt.count(len(rejected))})")
    for rejection in rejected[:_REJECTIONS_SHOWN]:
        fix = f" Would help: {rejection.fix}." if rejection.fix else ""
        terminal.bullets(console, [f"{phrases.rejection_name(rejection)}: {phrases.sentence(rejection.reason)}{fix}"])
    terminal.more(console, len(rejected), _REJECTIONS_SHOWN, "not ranked")


# Estimate -------------------------------------------------------------------------------------


def print_estimate(estimate: Estimate, explain: bool, console: "Console") -> None:
    """One prediction; with ``explain`` also every term of it and where its coefficients come from."""
    settings = phrases.deployment(estimate.deployment)
    terminal.heading(console, phrases.estimate_name(estimate), settings, phrases.workload(estimate.workload))
    terminal.facts(
        console,
        (
            ("Generation speed", f"{fmt.interval(estimate.decode_tokens_per_s)} tok/s"),
            ("Prompt speed", f"{fmt.interval(estimate.prefill_tokens_per_s)} tok/s"),
            ("Time to first token", fmt.duration_interval(estimate.first_token_s)),
            ("Load time", fmt.duration_interval(estimate.load_s)),
            ("Memory", _memory_verdict(estimate.memory)),
            ("Known by", wording.basis(estimate.basis)),
        ),
    )
    console.print()
    console.print(_memory_table(estimate.memory))
    terminal.bullets(console, [wording.estimate_warning(warning) for warning in estimate.warnings], "yellow")
    if estimate.extremes:
        terminal.section(console, "How far it stretches")
        rows = [(answers.extreme_name(each), answers.extreme_text(each)) for each in estimate.extremes]
        terminal.facts(console, rows)
    if estimate.concurrency is not None:
        users.print_concurrency(console, estimate.concurrency, estimate.workload)
    if explain and estimate.settings:
        terminal.section(console, "Settings compared")
        console.print(_settings_table(estimate.settings))
    if explain:
        _print_terms(console, estimate)
    console.print()
    console.print(terminal.text(_INTERVAL_NOTE, "dim"))


def _memory_verdict(memory: MemoryPlan) -> str:
    return f"{fmt.gib(memory.total_bytes)}, {'fits' if memory.fits else 'does not fit'}"


def _memory_table(memory: MemoryPlan) -> "Table":
    columns = ("Memory on", "Weights", "KV cache", "Compute", "Overhead", "Total", "Free")
    table = terminal.table(*columns, right=range(1, 7), folds=(0,))
    for device in memory.devices:
        sizes = (
            device.weights_bytes,
            device.kv_bytes,
            device.compute_bytes,
            device.overhead_bytes,
            device.total_bytes,
            device.available_bytes,
        )
        table.add_row(terminal.text(device.device_id), *(terminal.text(fmt.gib(size)) for size in sizes))
    return table


def _settings_table(settings: Sequence[ComparedSetting]) -> "Table":
    table = terminal.table("Setting", "Generation", "Prompt", "Memory", right=range(1, 4), folds=(0,))
    for each in settings:
        cells = (
            f"{each.setting} (chosen)" if each.chosen else each.setting,
            fmt.rate(each.decode_tokens_per_s),
            fmt.rate(each.prefill_tokens_per_s),
            fmt.gib(each.memory_total_bytes),
        )
        table.add_row(*(terminal.text(cell) for cell in cells))
    return table


def _print_terms(console: "Console", estimate: Estimate) -> None:
    for phase, title in wording.PHASES.items():
        terms = [term for term in estimate.terms if term.name.startswith(f"{phase}.")]
        terminal.section(console, f"{title}, term by term")
        if terms:
            console.print(_terms_table(terms))
            _print_notes(console, terms)
        else:
            console.print(terminal.text("  The document holds no terms for this phase.", "dim"))
    terminal.section(console, "Sources")
    terminal.facts(console, estimate.provenance.items() or (("—", "not recorded"),))


def _terms_table(terms: Sequence[Term]) -> "Table":
    columns = ("Term", "On", "Data", "Arithmetic", "Time", "Limited by", "Basis")
    table = terminal.table(*columns, right=(2, 3, 4), folds=(0,))
    for term in terms:
        table.add_row(
            terminal.text(wording.term_part(term.name)),
            terminal.text(term.device_id),
            terminal.text(fmt.gib(term.bytes) if term.bytes else fmt.UNKNOWN),
            terminal.text(fmt.flop(term.flop) if term.flop else fmt.UNKNOWN),
            terminal.text(fmt.duration(term.time_s)),
            terminal.text(term.bound),
            terminal.text(term.basis),
        )
    return table


def _print_notes(console: "Console", terms: Sequence[Term]) -> None:
    terminal.bullets(console, [f"{wording.term_part(term.name)}: {term.note}" for term in terms if term.note], "dim")


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
        terminal.bullets(console, reasons[:_REJECTIONS_SHOWN])
        terminal.more(console, len(reasons), _REJECTIONS_SHOWN, "reasons")
    terminal.bullets(console, accuracy.notes, "dim")


def _print_worst(console: "Console", accuracy: Accuracy) -> None:
    if not accuracy.rows:
        console.print(terminal.text("The document holds no rows.", "yellow"))
        return
    worst = sorted(accuracy.rows, key=lambda row: -abs(row.error_frac))[:_REJECTIONS_SHOWN]
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
