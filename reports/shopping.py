"""Plans and machine comparisons on the console: which box to buy, and what each would run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor.types import ComparisonColumn, MachineClass, MachineComparison, Plan, PlanRow
from reports import format as fmt
from reports import phrases, terminal, wording

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_ROWS_PER_CLASS = 5
_PICKS_SHOWN = 3


def print_plan(plan: Plan, console: "Console") -> None:
    """The cheapest machines of every class that run the model, and how this one would."""
    title = f"Machines for {plan.model_id}"
    limits = phrases.limits(plan.limits)
    terminal.heading(console, title, phrases.workload(plan.workload), limits and f"limits: {limits}")
    console.print(_plan_table(_shown(plan.rows)))
    if plan.here is not None:
        speed = fmt.interval(plan.here.decode_tokens_per_s)
        console.print(terminal.text(f"This machine: {plan.here.quant_id} at {speed} tok/s."))
    note = (
        f"{len(plan.rows)} machines run it, {len(plan.rejected)} do not; the cheapest of each class are shown. "
        "Prices are launch prices where known; speeds are from data sheets, in brackets the range that holds "
        "80 % of outcomes. $/M tokens is electricity at full load and the price written off over four years."
    )
    console.print(terminal.text(note, "dim"))


def _shown(rows: Sequence[PlanRow]) -> list[PlanRow]:
    shown: list[PlanRow] = []
    for machine_class in MachineClass:
        shown += [row for row in rows if row.machine_class is machine_class][:_ROWS_PER_CLASS]
    return shown


def _plan_table(rows: Sequence[PlanRow]) -> "Table":
    table = terminal.table(
        "Machine", "Price", "GiB", "Quant", "tok/s", "1st token", "$/M tok", right=(1, 2, 4, 5, 6), folds=(0,)
    )
    previous: MachineClass | None = None
    for row in rows:
        if row.machine_class is not previous:
            table.add_row(terminal.text(row.machine_class.value, "bold"), *[""] * 6)
            previous = row.machine_class
        estimate = row.estimate
        table.add_row(
            terminal.text(f"  {row.hardware}"),
            terminal.text(_dollars(row.price_usd)),
            terminal.text(fmt.gib(row.memory_bytes).removesuffix(" GiB")),
            terminal.text(estimate.quant_id),
            terminal.text(fmt.interval(estimate.decode_tokens_per_s)),
            terminal.text(fmt.duration(estimate.first_token_s.mid)),
            terminal.text(_cents(row.usd_per_million_tokens)),
        )
    return table


def _dollars(amount: float | None) -> str:
    return "–" if amount is None else f"${amount:,.0f}"


def _cents(amount: float | None) -> str:
    return "–" if amount is None else f"{amount:.2f}"


def print_machine_comparison(comparison: MachineComparison, console: "Console") -> None:
    """Each machine with its best picks, or with its speed on the model that was asked about."""
    subject = comparison.model_id or wording.task(comparison.workload.task)
    terminal.heading(console, f"Machines compared for {subject}", phrases.workload(comparison.workload))
    table = terminal.table(
        "Machine", "Model", "Quant", "Quality", "tok/s", "1st token", "GiB", right=(3, 4, 5, 6), folds=(0, 1)
    )
    for column in comparison.machines:
        for cells in _comparison_rows(column, comparison.model_id):
            table.add_row(*[terminal.text(cell) for cell in cells])
    console.print(table)
    console.print(terminal.text("In brackets: the range that holds 80 % of outcomes.", "dim"))


def _comparison_rows(column: ComparisonColumn, model_id: str | None) -> list[tuple[str, ...]]:
    if column.estimate is not None:
        made = column.estimate
        speed, wait = fmt.interval(made.decode_tokens_per_s), fmt.duration(made.first_token_s.mid)
        memory = fmt.gib(made.memory.total_bytes).removesuffix(" GiB")
        return [(column.hardware, model_id or made.model_id, made.quant_id, "", speed, wait, memory)]
    if not column.picks:
        return [(column.hardware, column.reason or "nothing fits", "", "", "", "", "")]
    rows: list[tuple[str, ...]] = []
    for index, choice in enumerate(column.picks[:_PICKS_SHOWN]):
        made = choice.estimate
        rows.append(
            (
                "" if index else column.hardware,
                phrases.choice_name(choice),
                made.quant_id,
                phrases.quality(choice.quality),
                fmt.interval(made.decode_tokens_per_s),
                fmt.duration(made.first_token_s.mid),
                fmt.gib(made.memory.total_bytes).removesuffix(" GiB"),
            )
        )
    return rows
