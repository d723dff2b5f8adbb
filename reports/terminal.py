"""The few shapes that console output is made of, built from inert text only."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from reports import format as fmt
from reports.text import plain, plain_block

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def make_console(*, stderr: bool = False) -> "Console":
    """A console that colours only on a terminal and parses no markup, emoji codes or numbers."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def text(value: object, style: str = "") -> "Text":
    """Inert text in a style."""
    from rich.text import Text

    return Text(plain(value), style=style)


def table(*columns: str, right: Iterable[int] = (), folds: Iterable[int] = (), gap: int = 2) -> "Table":
    """A light table; columns in ``folds`` wrap, the others keep their width. ``gap`` is the space between them.

    On a narrow terminal columns that wrap keep room for a word; it is the last ones that are cut then.
    """
    from rich import box

    from reports.narrow import Table

    padding = (0, gap - 1, 0, 0)
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding, header_style="bold")
    at_right, wrapping = set(right), set(folds)
    for index, name in enumerate(columns):
        fixed = index not in wrapping
        made.add_column(name, justify="right" if index in at_right else "left", overflow="fold", no_wrap=fixed)
    return made


def heading(console: "Console", title: object, *lines: object) -> None:
    """A bold title with quiet lines below it."""
    console.print(text(title, "bold"))
    for line in lines:
        if line:
            console.print(text(line, "dim"))
    console.print()


def section(console: "Console", title: object) -> None:
    """A bold line after a blank one."""
    console.print()
    console.print(text(title, "bold"))


def bullets(console: "Console", lines: Iterable[object], style: str = "") -> None:
    """A list with hanging indents."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row("  •", text(line, style))
    if grid.row_count:
        console.print(grid)


def facts(console: "Console", rows: Iterable[tuple[str, object]]) -> None:
    """Names and values in two columns."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(text(name), text(value))
    console.print(grid)


def command(console: "Console", line: str) -> None:
    """A shell command, never wrapped, so that it can be copied."""
    from rich.text import Text

    for part in plain_block(line).splitlines():
        console.print(Text(f"  {part}", style="cyan"), soft_wrap=True)


def more(console: "Console", total_count: int, shown_count: int, what: str) -> None:
    """Says what a cut list leaves out."""
    if total_count > shown_count:
        rest = fmt.count(total_count - shown_count)
        console.print(text(f"… and {rest} more {what}; --json or a report shows all", "dim"))
