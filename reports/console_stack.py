"""A stack of models on the console: who does what, what is loaded together, and the command for each."""

from typing import TYPE_CHECKING

from advisor.types import StackPlan
from reports import answers, phrases, terminal
from reports import format as fmt

if TYPE_CHECKING:
    from rich.console import Console

_CONSIDERED_SHOWN = 8


def print_stack(plan: StackPlan, console: "Console") -> None:
    """The members, the memory they share, why this arrangement, and how to start each."""
    limits = phrases.limits(plan.limits)
    title = f"Models for {', '.join(plan.jobs)} together on {plan.hardware}"
    terminal.heading(console, title, answers.stack_mode(plan) if plan.members else None, limits and f"limits: {limits}")
    if not plan.members:
        terminal.bullets(console, [f"None: {reason}" for reason in plan.reasons])
        shown = plan.rejected[:_CONSIDERED_SHOWN]
        terminal.bullets(console, [f"{phrases.rejection_name(each)}: {each.reason}" for each in shown])
        terminal.more(console, len(plan.rejected), _CONSIDERED_SHOWN, "considered")
        return
    table = terminal.table(*answers.MEMBER_HEADERS, right=(3, 4, 5), folds=(0, 1, 6), gap=1)
    for member in plan.members:
        table.add_row(*map(terminal.text, answers.member_cells(member)))
    console.print(table)
    console.print()
    for device in plan.devices:
        free = f" of {fmt.gib(device.available_bytes)}" if device.available_bytes else ""
        console.print(terminal.text(f"Together on {device.device_id}: {fmt.gib(device.total_bytes)}{free}"))
    terminal.section(console, "Why these")
    terminal.bullets(console, map(phrases.capitalised, plan.reasons))
    terminal.section(console, "Run them")
    for member in plan.members:
        terminal.command(console, member.choice.command)
