"""What commands share beside their options: values that are read, progress, documents and consoles."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from advisor.cli import _streams
from catalog.units import UnitError, parse_bytes, parse_duration, parse_tokens

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])


class _Parsed(click.ParamType[Any]):
    """An option read by one of the parsers of ``catalog.units``."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse, or fail with the parser's own advice."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UnitError as error:
            self.fail(str(error), param, ctx)


TOKENS = _Parsed("tokens", parse_tokens)
BYTES = _Parsed("size", parse_bytes)
DURATION = _Parsed("duration", parse_duration)


def json_option(function: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(function)


def output_option(function: F) -> F:
    """``-o FILE``."""
    return click.option("-o", "--save", "output_path", help="Write the document to a file (- is stdout).")(function)


def read_bytes(path: str, limit_bytes: int) -> bytes:
    """What a file that the user names holds, or stdin for ``-``: one byte more than the limit where it is longer.

    Raises:
        AdvisorError: if it cannot be read, or is no file.
    """
    from advisor.errors import AdvisorError
    from catalog.files import read_file

    if path == "-":
        return sys.stdin.buffer.read(limit_bytes + 1)
    try:
        return read_file(path, limit_bytes)
    except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise AdvisorError(f"{path}: cannot be read ({reason}); give a file, or - for stdin") from None


def stdout_console() -> "Console":
    """A console for results: colour only on a terminal, 100 columns in a pipe."""
    from rich.console import Console

    class Printer(Console):
        def on_broken_pipe(self) -> None:
            """Say that nobody reads on; rich would end the command as a failure."""
            raise BrokenPipeError

    return Printer(width=None if sys.stdout.isatty() else 100, highlight=False, soft_wrap=False)


def say(message: str) -> None:
    """One line for the user on stderr; never part of a result."""
    click.echo(message, err=True)


def keep(what: str, write: Callable[[], object]) -> None:
    """Remember something for later commands; where that cannot be written, say so and go on."""
    from advisor.codec import DocumentError

    try:
        write()
    except DocumentError as error:
        say(f"advisor: {what} is not kept: {error}")


class Progress:
    """A progress bar on stderr for one stage: drawn on a terminal, a single line elsewhere."""

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self._label = label
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if self._quiet:
            return self
        if not sys.stderr.isatty():
            say(f"{self._label} ...")
            return self
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(self._label, total=1.0)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done_frac: float, note: str | None = None) -> None:
        """Show how far the stage is; ``note`` says what it is doing."""
        if self._bar is None:
            return
        label = f"{self._label}: {note}" if note else self._label
        self._bar.update(self._task, completed=done_frac, description=label)


def deliver(document: object, *, as_json: bool, output_path: str | None, show: Callable[["Console"], None]) -> None:
    """Hand over a result: saved where asked, then printed as JSON or shown."""
    from advisor import codec

    with _streams.printing():
        if output_path is not None:
            codec.save(document, output_path)
            if output_path == "-":
                return
            say(f"wrote {output_path}")
        if as_json:
            codec.write_json(codec.dump(document))
        else:
            show(stdout_console())
