"""Documents on a terminal or in a pipe: readable at 80 columns, coloured only on a terminal.

Nothing here parses markup: all text passes through `reports.terminal.text`, so a model called
``[red]``, or one that holds an escape sequence, stays text.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor.types import (
    Choice,
    ComparedSetting,
    Estimate,
    MemoryPlan,
    Recommendation,
    Term,
    Why,
)
from reports import answers, engines, pace, phrases, proof, terminal, users, wording
from reports import format as fmt
from reports.console_measured import print_accuracy, print_profile, print_validation
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
    task = choices[0].estimate.workload.task
    wait = "each" if pace.reads_only(task) else "1st token"
    columns = ("#", "Model", "Quant", "Quality", pace.unit(task), wait, "GiB", *(name for _, name in asked), *extra)
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
            terminal.text(fmt.interval(pace.speed(estimate))),
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
