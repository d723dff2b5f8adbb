"""``advisor doctor``: what can run here, what cannot, and the command that mends it."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor.cli import _shared

if TYPE_CHECKING:
    from rich.console import Console

    from probes.types import Check, Diagnosis

EXIT_PROBLEM = 3


@click.command("doctor")
@_shared.output_option
@_shared.json_option
@click.pass_context
def command(ctx: click.Context, output_path: str | None, as_json: bool) -> None:
    """Say what can run on this machine, what cannot, why, and the exact command that mends it.

    Exits with 3 if something that should work does not.
    """
    from advisor import __version__
    from probes.doctor import examine
    from probes.machine import read_machine
    from probes.scan import utc_now

    steps = ("engines", "probes", "programs", "Python packages")
    with _shared.Progress("examining this machine", quiet=as_json) as progress:
        diagnosis = examine(
            read_machine(),
            created_at=utc_now(),
            tool_version=__version__,
            on_step=lambda step: progress.update(steps.index(step) / len(steps), step),
        )
    _shared.deliver(diagnosis, as_json=as_json, output_path=output_path, show=partial(_show, diagnosis))
    if not diagnosis.healthy:
        ctx.exit(EXIT_PROBLEM)


def _show(diagnosis: "Diagnosis", console: "Console") -> None:
    from probes.types import Level
    from reports import phrases, terminal

    console.print(terminal.text(phrases.processor(diagnosis.host), "bold"))
    console.print(terminal.text(phrases.memory_state(diagnosis.host), "dim"))
    chosen = {level: [check for check in diagnosis.checks if check.level == level] for level in Level}
    _show_fixes(console, "Does not work", chosen[Level.PROBLEM], "red")
    _show_fixes(console, "Would work after a command", chosen[Level.MENDABLE], "yellow")
    terminal.section(console, "Works")
    terminal.bullets(console, phrases.checks(chosen[Level.OK]), "green")
    if chosen[Level.ABSENT]:
        terminal.section(console, "Not in this machine")
        terminal.bullets(console, phrases.checks(chosen[Level.ABSENT]), "dim")


def _show_fixes(console: "Console", title: str, checks: Sequence["Check"], style: str) -> None:
    from reports import phrases, terminal

    if not checks:
        return
    terminal.section(console, title)
    for fix in dict.fromkeys(check.fix for check in checks):
        terminal.bullets(console, phrases.checks([check for check in checks if check.fix == fix]), style)
        if fix:
            terminal.command(console, f"  {fix}")
