"""Plans and machine comparisons in a report: every machine that runs the model, prices with their sources, upgrades."""

from advisor.types import MachineClass, MachineComparison, Plan, PlanRow
from reports import format as fmt
from reports import pace, phrases, purchase, wording
from reports.blocks import Block, Bullets, Fold, Grid, Headline, Paragraph, Section
from reports.text import plain

_ROWS_PER_CLASS = 12
_PICKS_SHOWN = 3
_HEADERS = ("Machine", "Price", "Kind of price", "Quant", "tok/s", "First token", "Power", "$ per million")


def plan_headline(plan: Plan) -> Headline:
    """A page about a plan alone."""
    lead = f"{phrases.counted(len(plan.rows), 'machine')} of the catalog run it, {phrases.workload(plan.workload)}."
    return Headline(kicker="What to buy", title=f"Machines for {plain(plan.model_id)}", lead=lead)


def plan_sections(plan: Plan, document_index: int) -> tuple[Section, ...]:
    """A section for each class of machine, one for the user's own, and where the prices are from."""
    named = [(purchase.class_title(kind), _class_blocks(plan, kind)) for kind in purchase.CLASS_ORDER]
    if plan.base is not None:
        named.append((f"Your machine: {purchase.machine(plan.base)}", _upgrade_blocks(plan)))
    named.append(("What the prices are", _notes(plan)))
    limits = phrases.limits(plan.limits)
    return tuple(
        Section(
            section_id=f"plan-{document_index}-{position}",
            title=title,
            nav="Machines" if position == 0 else None,
            lead=f"Limits: {limits}." if limits and position == 0 else "",
            blocks=tuple(blocks),
        )
        for position, (title, blocks) in enumerate((title, blocks) for title, blocks in named if blocks)
    )


def _class_blocks(plan: Plan, machine_class: MachineClass) -> list[Block]:
    rows = [row for row in plan.rows if row.machine_class is machine_class]
    blocks: list[Block] = [_class_grid(purchase.class_title(machine_class), rows)] if rows else []
    missed = [miss for miss in plan.class_misses if miss.machine_class is machine_class]
    blocks += [
        Paragraph(f"None; nearest: {purchase.planned_machine(miss.hardware)}: {plain(miss.reason)}.") for miss in missed
    ]
    return blocks


def _notes(plan: Plan) -> list[Block]:
    found = purchase.sources(plan)
    blocks: list[Block] = [Bullets(tuple(purchase.notes(plan)))]
    return [*blocks, Fold(f"Where they are from ({len(found)})", (Bullets(found),))] if found else blocks


def _class_grid(title: str, rows: list[PlanRow]) -> Grid:
    shown = rows[:_ROWS_PER_CLASS]
    caption = title if len(rows) <= _ROWS_PER_CLASS else f"{title}: {len(shown)} of {len(rows)}"
    return Grid(
        caption=caption,
        headers=_HEADERS,
        rows=tuple(map(_plan_cells, shown)),
        numeric=frozenset({1, 4, 5, 6, 7}),
    )


def _plan_cells(row: PlanRow) -> tuple[str, ...]:
    estimate = row.estimate
    return (
        purchase.planned_machine(row.hardware),
        purchase.price(row.price, row.price_usd),
        plain(row.price.basis or fmt.UNKNOWN),
        plain(estimate.quant_id),
        fmt.interval(estimate.decode_tokens_per_s),
        fmt.duration(estimate.first_token_s.mid),
        purchase.watts(row.computer_power_w),
        purchase.dollars_per_million(row.usd_per_million_tokens),
    )


def _upgrade_blocks(plan: Plan) -> list[Block]:
    blocks: list[Block] = [Bullets(tuple(purchase.base_lines(plan)))]
    if plan.upgrades:
        blocks.append(
            Grid(
                caption="What an upgrade would do",
                headers=("Upgrade", "Price", "tok/s", "Change", "Best model for the task then"),
                rows=tuple(purchase.upgrade_cells(plan, upgrade) for upgrade in plan.upgrades),
                numeric=frozenset({1, 2, 3}),
            )
        )
    return blocks


def comparison_headline(comparison: MachineComparison) -> Headline:
    """A page about a comparison alone."""
    subject = plain(comparison.model_id or wording.task(comparison.workload.task))
    names = ", ".join(purchase.machine(column.hardware) for column in comparison.machines)
    return Headline(kicker="Machines compared", title=f"Machines for {subject}", lead=f"{names}.")


def comparison_section(comparison: MachineComparison, document_index: int) -> Section:
    """A line for each pick of each machine, and what each machine costs."""
    rows: list[tuple[str, ...]] = []
    task = comparison.workload.task
    for column in comparison.machines:
        name = purchase.machine(column.hardware)
        found = list(purchase.pick_rows(column, comparison.model_id, _PICKS_SHOWN))
        rows += [(name, *cells) for cells in found] or [
            (name, plain(column.reason or "nothing fits"), *[fmt.UNKNOWN] * 5)
        ]
    costs = tuple(
        f"{purchase.machine(column.hardware)}: {facts}"
        for column in comparison.machines
        if (facts := purchase.column_facts(column))
    )
    blocks: list[Block] = [
        Grid(
            caption="What each machine runs",
            headers=("Machine", "Model", "Quant", "Quality", pace.unit(task), pace.wait_name(task), "GiB"),
            rows=tuple(rows),
            numeric=frozenset({3, 4, 5, 6}),
        )
    ]
    blocks += [Bullets(costs)] if costs else []
    blocks.append(Bullets(tuple(purchase.notes(comparison))))
    return Section(
        section_id=f"machines-{document_index}", title="Machines side by side", nav="Machines", blocks=tuple(blocks)
    )
