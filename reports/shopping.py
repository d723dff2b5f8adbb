"""Plans and machine comparisons on the console: which box to buy, and what each would run."""

from typing import TYPE_CHECKING

from advisor.types import ComparisonColumn, MachineComparison, Plan, PlanRow
from reports import format as fmt
from reports import pace, phrases, purchase, terminal, wording

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_ROWS_PER_CLASS = 5
_PICKS_SHOWN = 3


def print_plan(plan: Plan, console: "Console") -> None:
    """The cheapest machines of every class that run the model, and what to add to the user's own."""
    limits = phrases.limits(plan.limits)
    terminal.heading(
        console, f"Machines for {plan.model_id}", phrases.workload(plan.workload), limits and f"limits: {limits}"
    )
    console.print(_plan_table(plan))
    _print_upgrades(plan, console)
    console.print()
    for line in purchase.notes(plan, with_ranges=False):
        console.print(terminal.text(line, "dim"))


def _plan_table(plan: Plan) -> "Table":
    table = terminal.table(
        "Machine", "Price", "Quant", "tok/s", "Wait", "Power", "$/M", right=(1, 3, 4, 5, 6), folds=(0,), gap=2
    )
    for machine_class in purchase.CLASS_ORDER:
        rows = purchase.worth_showing(plan, machine_class, _ROWS_PER_CLASS)
        missed = next((miss for miss in plan.class_misses if miss.machine_class is machine_class), None)
        if not rows and missed is None:
            continue
        table.add_row(terminal.text(purchase.class_title(machine_class), "bold"), *[""] * 6)
        if missed is not None:
            table.add_row(terminal.text(f"  none; nearest: {missed.hardware}: {missed.reason}"), *[""] * 6)
        for row in rows:
            table.add_row(*[terminal.text(cell) for cell in _plan_cells(row)])
    return table


def _plan_cells(row: PlanRow) -> tuple[str, ...]:
    estimate = row.estimate
    return (
        f"  {purchase.planned_machine(row.hardware)}",
        purchase.price(row.price, row.price_usd),
        estimate.quant_id,
        fmt.number(estimate.decode_tokens_per_s.mid),
        fmt.duration(estimate.first_token_s.mid),
        purchase.watts(row.computer_power_w),
        purchase.dollars_per_million(row.usd_per_million_tokens),
    )


def _print_upgrades(plan: Plan, console: "Console") -> None:
    if plan.base is None:
        return
    terminal.section(console, f"Your machine: {purchase.machine(plan.base)}")
    terminal.bullets(console, purchase.base_lines(plan))
    if not plan.upgrades:
        return
    terminal.section(console, "What an upgrade would do")
    table = terminal.table(
        "Upgrade", "Price", "tok/s", "Change", "Best model for the task then", right=(1, 2, 3), folds=(0, 4)
    )
    for upgrade in purchase.useful(plan):
        table.add_row(*[terminal.text(cell) for cell in purchase.upgrade_cells(plan, upgrade)])
    if table.row_count:
        console.print(table)
    idle = purchase.idle(plan)
    if idle:
        console.print(terminal.text(f"No gain: {', '.join(idle)}.", "dim"))


def print_machine_comparison(comparison: MachineComparison, console: "Console") -> None:
    """Each machine with its best picks, or with its speed on the model that was asked about."""
    subject = comparison.model_id or wording.task(comparison.workload.task)
    terminal.heading(console, f"Machines compared for {subject}", phrases.workload(comparison.workload))
    for column in comparison.machines:
        console.print(terminal.text(purchase.machine(column.hardware), "bold"))
        facts = purchase.column_facts(column)
        if facts:
            console.print(terminal.text(f"  {facts}", "dim"))
        if column.reason is not None:
            terminal.bullets(console, [column.reason])
        else:
            console.print(_picks_table(column, comparison))
        console.print()
    for line in purchase.notes(comparison):
        console.print(terminal.text(line, "dim"))


def _picks_table(column: ComparisonColumn, comparison: MachineComparison) -> "Table":
    speed = pace.unit(comparison.workload.task)
    table = terminal.table("  Model", "Quant", "Quality", speed, "Wait", "GiB", right=(2, 3, 4, 5), folds=(0,))
    for cells in purchase.pick_rows(column, comparison.model_id, _PICKS_SHOWN):
        table.add_row(*[terminal.text(cell) for cell in (f"  {cells[0]}", *cells[1:])])
    return table
