"""Options that commands share, in groups: each group is declared once and handed over as one object."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from advisor.cli import _shared, _streams
from advisor.cli._shared import BYTES, TOKENS
from advisor.errors import BadRequestError

if TYPE_CHECKING:
    from rich.console import Console

    from advisor.machine import Machine
    from advisor.purchase.costs import Costs
    from advisor.settings import LoadSettings
    from advisor.types import Limits, Workload
    from catalog.load import Catalog

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[Any], Any]


def group(parameter: str, make: Callable[..., object], options: dict[str, Option]) -> Callable[[F], F]:
    """Options, by the names of their values, that a command gets as one argument made of them."""

    def decorated(function: F) -> F:
        @wraps(function)
        def with_group(*args: Any, **values: Any) -> Any:
            own = {name: values.pop(name) for name in options}
            return function(*args, **{parameter: make(**own)}, **values)

        wrapped: Any = with_group
        for option in reversed(options.values()):
            wrapped = option(wrapped)
        return cast("F", wrapped)

    return decorated


_DEMAND_OPTIONS = {
    "prompt_tokens": "--prompt",
    "output_tokens": "--output",
    "context_tokens": "--context",
    "concurrency_count": "--users",
    "shared_prefix_tokens": "--shared-prefix",
    "kv_quant_id": "--kv-type",
}


# Workload -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of a model, as far as the user said; None leaves it to the task."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    context_tokens: int | None = None
    concurrency_count: int | None = None
    shared_prefix_tokens: int | None = None
    kv_quant_id: str | None = None

    def options(self) -> tuple[str, ...]:
        """The options that were given."""
        return tuple(_DEMAND_OPTIONS[field.name] for field in fields(self) if getattr(self, field.name) is not None)

    def sizes(self) -> dict[str, int | None]:
        """The numbers alone."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "kv_quant_id"}

    def workload(self, task_text: str) -> "Workload":
        """A task's workload with these figures put in.

        Raises:
            BadRequestError: for an unknown task or absurd figures.
        """
        from advisor.workloads import make_workload, parse_task

        return make_workload(parse_task(task_text), **self.sizes())


workload_options = group(
    "demand",
    Demand,
    {
        "prompt_tokens": click.option("--prompt", "prompt_tokens", type=TOKENS, help="Prompt length, e.g. 8k."),
        "output_tokens": click.option("--output", "output_tokens", type=TOKENS, help="Answer length, e.g. 512."),
        "context_tokens": click.option(
            "--context", "context_tokens", type=TOKENS, help="Context the engine is loaded with."
        ),
        "concurrency_count": click.option(
            "--concurrency", "--users", "concurrency_count", type=int, help="Users at the same time."
        ),
        "shared_prefix_tokens": click.option(
            "--shared-prefix", "shared_prefix_tokens", type=TOKENS, help="Start of the prompt that all users share: 2k."
        ),
        "kv_quant_id": click.option("--kv-type", "kv_quant_id", help="KV cache type: f16, q8_0, q4_0, ..."),
    },
)


# Load-time settings ---------------------------------------------------------------------------


def _settings(flash_attention: str | None, **values: Any) -> "LoadSettings":
    from advisor.settings import LoadSettings

    settings = LoadSettings(flash_attention=None if flash_attention is None else flash_attention == "on", **values)
    settings.check()
    return settings


setting_options = group(
    "settings",
    _settings,
    {
        "threads_count": click.option(
            "--threads", "threads_count", type=int, help="CPU threads, instead of the calibrated number."
        ),
        "batch_tokens": click.option(
            "--batch", "batch_tokens", type=int, help="Prompt tokens per batch, instead of 2048."
        ),
        "ubatch_tokens": click.option(
            "--ubatch", "ubatch_tokens", type=int, help="Micro-batch, instead of the best one found."
        ),
        "flash_attention": click.option(
            "--flash-attention", type=click.Choice(("on", "off")), help="Instead of the better."
        ),
        "mmap": click.option(
            "--mmap/--no-mmap", "mmap", default=None, help="Map the file or read it, instead of the better."
        ),
        "op_offload": click.option(
            "--op-offload/--no-op-offload",
            "op_offload",
            default=None,
            help="Copy weights of the CPU to the GPU for prompts, instead of the better.",
        ),
    },
)


#: Settings of llama.cpp that other engines have as well.
_TAKEN_TOO = {"vllm": ("--batch",), "mlx": ("--batch",)}


def check_settings(settings: "LoadSettings", engine_id: str | None) -> None:
    """Refuse settings that an engine does not have: nothing that was asked for is dropped silently.

    Raises:
        BadRequestError: naming the option to leave out.
    """
    from advisor.engines.requirements import GGUF_ENGINES

    given = [option for option in settings.options() if option not in _TAKEN_TOO.get(engine_id or "", ())]
    if given and engine_id is not None and engine_id not in GGUF_ENGINES:
        raise BadRequestError(f"{given[0]} is a setting of llama.cpp, which {engine_id} lacks; leave it out")


def check_many_machines(settings: "LoadSettings") -> None:
    """Refuse what belongs to one processor where many machines are looked at.

    Raises:
        BadRequestError: for a number of threads.
    """
    if settings.threads_count is not None:
        raise BadRequestError("--threads belongs to one processor and many machines are looked at; leave it out")


# Limits ---------------------------------------------------------------------------------------


def _limits(**values: Any) -> "Limits":
    from advisor.recommendation.limits import check_limits
    from advisor.types import Limits

    limits = Limits(**values)
    check_limits(limits)
    return limits


_SPEED_LIMITS: dict[str, Option] = {
    "min_tokens_per_s": click.option(
        "--min-tps", "min_tokens_per_s", type=float, help="Slowest acceptable decoding, tok/s."
    ),
    "max_first_token_s": click.option(
        "--max-ttft", "max_first_token_s", type=float, help="Longest wait for a first token, s."
    ),
    "max_memory_bytes": click.option(
        "--max-memory", "max_memory_bytes", type=BYTES, help="Memory it may take, e.g. 12GiB."
    ),
}
#: ``--min-tps --max-ttft --max-memory``: what one model can be held to.
speed_limit_options = group("limits", _limits, _SPEED_LIMITS)
#: ``--min-tps --max-ttft --max-memory --min-quality --license``
limit_options = group(
    "limits",
    _limits,
    {
        **_SPEED_LIMITS,
        "min_quality": click.option("--min-quality", type=float, help="Lowest acceptable task quality, 0-100."),
        "licenses": click.option("--license", "licenses", multiple=True, help="Accepted licence (repeatable)."),
    },
)


# Machine --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The machine that is asked about: this one, unless a profile or a what-if is named."""

    profile_file: str | None = None
    hardware: str | None = None
    backend: str | None = None
    engine_id: str | None = None
    no_calibrate: bool = False

    @property
    def elsewhere(self) -> bool:
        """Whether another machine than this one was named."""
        return self.hardware is not None or self.profile_file is not None

    def machine(self, catalog: "Catalog", *, quiet: bool = False) -> "Machine":
        """The machine; this one is measured first where it never was.

        Raises:
            BadRequestError: if both a profile and a what-if are named, or a name is unknown.
        """
        from advisor.cli import _machine

        return _machine.resolve_machine(
            catalog,
            profile_file=self.profile_file,
            hardware=self.hardware,
            backend=self.backend,
            engine_id=self.engine_id,
            no_calibrate=self.no_calibrate,
            quiet=quiet,
        )


machine_options = group(
    "where",
    Where,
    {
        "profile_file": click.option(
            "--profile", "profile_file", help="A profile.json instead of this machine's newest."
        ),
        "hardware": click.option(
            "--hardware", help='What if: "rtx 5090", "rtx 3090*2+epyc 9654+384GiB", "m4 max 64GiB".'
        ),
        "backend": click.option("--backend", help="cuda, metal, rocm, vulkan, sycl or cpu."),
        "engine_id": click.option("--engine", "engine_id", help="llama.cpp, vllm, mlx, tensorrt-llm or ollama."),
        "no_calibrate": click.option(
            "--no-calibrate", is_flag=True, help="Run no calibration: use a saved one, or data sheets."
        ),
    },
)


# Costs ----------------------------------------------------------------------------------------


def _costs(**values: float) -> "Costs":
    from advisor.purchase.costs import Costs, check_costs

    costs = Costs(**values)
    check_costs(costs)
    return costs


cost_options = group(
    "costs",
    _costs,
    {
        "electricity_usd_per_kwh": click.option(
            "--electricity",
            "electricity_usd_per_kwh",
            type=float,
            default=0.30,
            show_default=True,
            help="Price of electricity, USD per kWh.",
        ),
        "busy_frac": click.option(
            "--busy",
            "busy_frac",
            type=click.FloatRange(0.001, 1.0),
            default=0.10,
            show_default=True,
            help="Share of the time it works, for the cost per token.",
        ),
        "pc_usd": click.option(
            "--pc-price",
            "pc_usd",
            type=float,
            default=900.0,
            show_default=True,
            help="The computer around plug-in cards, USD.",
        ),
    },
)


# Output ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a document goes, and in which form."""

    output_path: str | None = None
    as_json: bool = False
    as_csv: bool = False

    @property
    def quiet(self) -> bool:
        """Whether nothing but the document is wanted."""
        return self.as_json

    @property
    def wants_document(self) -> bool:
        """Whether the document itself or its rows are wanted, not only what is read off it."""
        return self.as_json or self.as_csv or self.output_path is not None

    def deliver(self, document: object, show: "Callable[[Console], None]") -> None:
        """Hand over a result: saved where asked, then as CSV, as JSON or shown."""
        if self.as_csv:
            self._deliver_csv(document)
        else:
            _shared.deliver(document, as_json=self.as_json, output_path=self.output_path, show=show)

    def _deliver_csv(self, document: object) -> None:
        from advisor import codec
        from reports.rows import render

        if self.output_path is not None:
            codec.save(document, self.output_path)
        with _streams.printing():
            sys.stdout.write(render([document]).decode())


def _output(**values: Any) -> Output:
    output = Output(**values)
    if output.as_json and output.as_csv:
        raise BadRequestError("--json and --csv both print to stdout; choose one")
    if output.as_csv and output.output_path == "-":
        raise BadRequestError("-o - and --csv both print to stdout; choose one")
    return output


_DOCUMENT: dict[str, Option] = {
    "output_path": click.option("-o", "--save", "output_path", help="Write the document to a file (- is stdout)."),
    "as_json": click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."),
}
#: ``-o FILE --json``
document_options = group("output", _output, _DOCUMENT)
#: ``-o FILE --json --csv``
table_options = group(
    "output",
    _output,
    {
        **_DOCUMENT,
        "as_csv": click.option("--csv", "as_csv", is_flag=True, help="Print CSV: one line per row, unrounded."),
    },
)
