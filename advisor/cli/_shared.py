"""Options and output that commands share: workload, limits, machine, documents, consoles."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

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


def _stack(function: F, options: list[Callable[[F], F]]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def workload_options(function: F) -> F:
    """``--context --prompt --output --concurrency --kv-type``."""
    return _stack(
        function,
        [
            click.option("--prompt", "prompt_tokens", type=TOKENS, help="Prompt length, e.g. 8k."),
            click.option("--output", "output_tokens", type=TOKENS, help="Answer length, e.g. 512."),
            click.option("--context", "context_tokens", type=TOKENS, help="Context the engine is loaded with."),
            click.option("--concurrency", "concurrency_count", type=int, help="Users at the same time."),
            click.option("--kv-type", "kv_quant_id", help="KV cache type: f16, q8_0, q4_0, ..."),
        ],
    )


def setting_options(function: F) -> F:
    """``--threads --batch --ubatch --flash-attention --mmap/--no-mmap``, handed over as one ``settings``."""

    @wraps(function)
    def with_settings(
        *args: Any,
        threads_count: int | None,
        batch_tokens: int | None,
        ubatch_tokens: int | None,
        flash_attention: str | None,
        mmap: bool | None,
        **rest: Any,
    ) -> Any:
        from advisor.settings import LoadSettings

        settings = LoadSettings(
            threads_count=threads_count,
            batch_tokens=batch_tokens,
            ubatch_tokens=ubatch_tokens,
            flash_attention=None if flash_attention is None else flash_attention == "on",
            mmap=mmap,
        )
        settings.check()
        return function(*args, settings=settings, **rest)

    options: list[Callable[[F], F]] = [
        click.option("--threads", "threads_count", type=int, help="CPU threads, instead of the calibrated number."),
        click.option("--batch", "batch_tokens", type=int, help="Prompt tokens per batch, instead of 2048."),
        click.option("--ubatch", "ubatch_tokens", type=int, help="Micro-batch, instead of the best one found."),
        click.option("--flash-attention", type=click.Choice(("on", "off")), help="Instead of on."),
        click.option("--mmap/--no-mmap", "mmap", default=None, help="Map the file or read it, instead of the better."),
    ]
    return _stack(cast("F", with_settings), options)


def limit_options(function: F) -> F:
    """``--min-tps --max-ttft --min-quality --max-memory --license``."""
    return _stack(
        function,
        [
            click.option("--min-tps", "min_tokens_per_s", type=float, help="Slowest acceptable decoding, tok/s."),
            click.option("--max-ttft", "max_first_token_s", type=float, help="Longest wait for a first token, s."),
            click.option("--min-quality", type=float, help="Lowest acceptable task quality, 0-100."),
            click.option("--max-memory", "max_memory_bytes", type=BYTES, help="Memory it may take, e.g. 12GiB."),
            click.option("--license", "licenses", multiple=True, help="Accepted licence (repeatable)."),
        ],
    )


def machine_options(function: F) -> F:
    """``--profile --hardware --backend --engine --no-calibrate``."""
    return _stack(
        function,
        [
            click.option("--profile", "profile_file", help="A profile.json instead of this machine's newest."),
            click.option("--hardware", help='What if: "rtx 5090", "rtx 3090*2+64GiB", "m4 max 64GiB".'),
            click.option("--backend", help="cuda, metal, rocm, vulkan, sycl or cpu."),
            click.option("--engine", "engine_id", help="llama.cpp, vllm, mlx, tensorrt-llm or ollama."),
            click.option("--no-calibrate", is_flag=True, help="Run no calibration: use a saved one, or data sheets."),
        ],
    )


def cost_options(function: F) -> F:
    """``--electricity --busy --pc-price``."""
    return _stack(
        function,
        [
            click.option(
                "--electricity",
                "electricity_usd_per_kwh",
                type=float,
                default=0.30,
                show_default=True,
                help="Price of electricity, USD per kWh.",
            ),
            click.option(
                "--busy",
                "busy_frac",
                type=click.FloatRange(0.001, 1.0),
                default=0.10,
                show_default=True,
                help="Share of the time it works, for the cost per token.",
            ),
            click.option(
                "--pc-price",
                "pc_usd",
                type=float,
                default=900.0,
                show_default=True,
                help="The computer around plug-in cards, USD.",
            ),
        ],
    )


def json_option(function: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(function)


def output_option(function: F) -> F:
    """``-o FILE``."""
    return click.option("-o", "--save", "output_path", help="Write the document to a file (- is stdout).")(function)


def stdout_console() -> "Console":
    """A console for results: colour only on a terminal, 100 columns in a pipe."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100, highlight=False, soft_wrap=False)


def say(message: str) -> None:
    """One line for the user on stderr; never part of a result."""
    click.echo(message, err=True)


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

    if output_path is not None:
        codec.save(document, output_path)
        if output_path == "-":
            return
        say(f"wrote {output_path}")
    if as_json:
        sys.stdout.write(codec.dump(document) + "\n")
    else:
        show(stdout_console())
