"""The ``advisor`` command: a table of lazily imported subcommands.

``advisor --help`` must not import a measuring, plotting or inference library, so every command's
module is imported only when it is run; its one-line help stands here.
"""

import atexit
import gc
import importlib
import os
import sys
from typing import Any

import click

from advisor import __version__
from advisor.cli import _streams

#: command -> (module with a click object named ``command``, one-line help)
COMMANDS: dict[str, tuple[str, str]] = {
    "scan": ("advisor.cli.scan", "Detect and measure this machine."),
    "recommend": ("advisor.cli.recommend", "Rank models, quants and settings for this machine and a task."),
    "estimate": ("advisor.cli.estimate", "Predict one model's speed and memory, with its working."),
    "validate": ("advisor.cli.validate", "Load a model, time it and compare with the prediction."),
    "accuracy": ("advisor.cli.accuracy", "Show how far predictions are off."),
    "plan": ("advisor.cli.plan", "Find the chips that run a model, and at what price."),
    "compare": ("advisor.cli.compare", "Compare machines side by side, this one included."),
    "report": ("advisor.cli.report", "Render saved documents as HTML, PNG, Markdown or CSV."),
    "export": ("advisor.cli.export", "Write what makes another program run a pick, or connect to it."),
    "serve": ("advisor.cli.serve", "Start a pick as an OpenAI-compatible server on this machine."),
    "mcp": ("advisor.cli.mcp", "Answer assistants over the Model Context Protocol."),
    "history": ("advisor.cli.history", "Show what was measured here over time."),
    "bench": ("advisor.cli.bench", "Record a suite of runs for regress."),
    "regress": ("advisor.cli.regress", "Compare two runs on reference hardware."),
    "fleet": ("advisor.cli.fleet", "Scan or bench every node of a Ray cluster."),
    "catalog": ("advisor.cli.catalog", "Search, show, extend, check and refresh the catalog."),
    "doctor": ("advisor.cli.doctor", "Say what can run here, what cannot, and what mends it."),
}

#: New objects between collections: a command keeps nearly all it makes, so looking more often only costs time.
_COLLECT_EVERY = 50_000

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import and return one command; click itself reports unknown names."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest command names for a typo."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            import difflib

            nearest = difflib.get_close_matches(name, COMMANDS, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(nearest)}?" if nearest else "; see advisor --help"
            raise click.UsageError(f"no command {name[:40]!r}{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **values: Any) -> click.Context:
        """As click does, but for help that nobody reads to its end."""
        with _streams.told_apart_from_failures():
            return super().make_context(*args, **values)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but for output that nobody reads to its end."""
        with _streams.told_apart_from_failures():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="advisor")
def advisor() -> None:
    """Measure this machine, predict how fast open-weight models run on it, and prove it."""


def _one_line(error: object) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


def known_errors() -> tuple[type[Exception], ...]:
    """The root errors of our packages, as far as their modules were imported by the command that ran."""
    names = (
        ("catalog.errors", "CatalogError"),
        ("catalog.units", "UnitError"),
        ("probes.errors", "ProbeError"),
        ("advisor.errors", "AdvisorError"),
        ("advisor.codec", "DocumentError"),
        ("reports.errors", "ReportError"),
    )
    return tuple(getattr(sys.modules[module], name) for module, name in names if module in sys.modules)


def main(args: list[str] | None = None) -> None:
    """Run a command; every error leaves one line on stderr and the contract's exit code."""
    gc.set_threshold(_COLLECT_EVERY)
    atexit.register(gc.freeze)  # what is left then goes with the process: looking through it first took a tenth of it
    _streams.prepare()
    code: object = 0
    try:
        with _streams.printing():
            code = advisor.main(args=args, prog_name="advisor", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        click.echo(f"advisor: {_one_line(error.format_message())}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"advisor: {_one_line(error)}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("advisor: interrupted; nothing half-written was kept", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except _streams.ReaderGoneError:
        _streams.drop_what_is_left_to_print()
        sys.exit(0)
    except OSError as error:
        # a full disk, a folder that was taken away: where no command has better words for it
        if os.environ.get("ADVISOR_DEBUG"):
            raise
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"advisor: {_one_line(f'{where}{error.strerror or error}')}; mend that and run it again", err=True)
        _streams.drop_what_is_left_to_print()
        sys.exit(EXIT_FAILED)
    except Exception as error:
        if os.environ.get("ADVISOR_DEBUG") or not isinstance(error, known_errors()):
            raise
        click.echo(f"advisor: {_one_line(error)}", err=True)
        sys.exit(getattr(error, "exit_code", EXIT_FAILED))
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
