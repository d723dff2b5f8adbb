"""What may be asked beside a ranking: why a model is not in it, how far a setting stretches, models together."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from advisor import __version__
from advisor.cli import _shared
from advisor.errors import BadRequestError

if TYPE_CHECKING:
    from rich.console import Console

    from advisor.machine import Machine
    from advisor.recommendation.request import Request
    from advisor.types import Estimate, Limits, StackPlan, Why
    from catalog.load import Catalog

F = TypeVar("F", bound=Callable[..., Any])
EXIT_NO = 3


def extreme_options(function: F) -> F:
    """``--max-context --max-users``."""
    users = click.option(
        "--max-users", "ask_users", is_flag=True, help="Also: the most users at once at --min-tps each."
    )
    context = click.option(
        "--max-context", "ask_context", is_flag=True, help="Also: the longest context at --min-tps when it is full."
    )
    return context(users(function))


def speed_limit_options(function: F) -> F:
    """``--min-tps --max-ttft --max-memory``."""
    options = (
        click.option("--min-tps", "min_tokens_per_s", type=float, help="Slowest acceptable decoding, tok/s."),
        click.option("--max-ttft", "max_first_token_s", type=float, help="Longest wait for a first token, s."),
        click.option("--max-memory", "max_memory_bytes", type=_shared.BYTES, help="Memory it may take, e.g. 12GiB."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def csv_option(function: F) -> F:
    """``--csv``."""
    return click.option("--csv", "as_csv", is_flag=True, help="Print CSV: one line per row, unrounded.")(function)


def check_output(*, as_json: bool, as_csv: bool) -> None:
    """Refuse two formats at once.

    Raises:
        BadRequestError: if both are asked for.
    """
    if as_json and as_csv:
        raise BadRequestError("--json and --csv both print to stdout; choose one")


def deliver(
    document: object, show: "Callable[[Console], None]", output_path: str | None, *, as_json: bool, as_csv: bool
) -> None:
    """Hand over a result: saved where asked, then as CSV, as JSON or shown."""
    if as_csv:
        _deliver_csv(document, output_path)
    else:
        _shared.deliver(document, as_json=as_json, output_path=output_path, show=show)


def verdict(made: "Estimate", limits: "Limits", *, asked: bool) -> int:
    """The exit code of a prediction with limits: 3 with one line where the answer is no."""
    if asked:
        short = [extreme for extreme in made.extremes if not extreme.value]
        if made.extremes and len(short) == len(made.extremes):
            _shared.say(f"advisor: {made.model_id} {made.quant_id}: not even the least is allowed; {short[0].reason}")
            return EXIT_NO
        return 0
    from advisor.recommendation.limits import broken_by

    broken = broken_by(made, limits)
    if broken is None:
        return 0
    _shared.say(f"advisor: {made.model_id} {made.quant_id} {broken}")
    return EXIT_NO


def _deliver_csv(document: object, output_path: str | None) -> None:
    """The document's rows on stdout, after saving the document where asked."""
    from advisor import codec
    from reports.rows import render

    if output_path == "-":
        raise BadRequestError("-o - and --csv both print to stdout; choose one")
    if output_path is not None:
        codec.save(document, output_path)
    sys.stdout.write(render([document]).decode())


# Why ------------------------------------------------------------------------------------------


def explain(catalog: "Catalog", machine: "Machine", request: "Request", text: str) -> "Why":
    """Where the model of ``--why MODEL[:QUANT]`` stands.

    Raises:
        CatalogError: for an unknown name, with the nearest ones.
        BadRequestError: for a file: only models of the catalog have a known quality.
    """
    from advisor.cli._subject import resolve_subject
    from advisor.recommendation.why import explain as explain_model

    if text.lower().endswith(".gguf"):
        raise BadRequestError(f"--why {text[:60]}: name a model of the catalog; advisor catalog add adds a file to it")
    subject = resolve_subject(catalog, text)
    quant_id = subject.artifact.quant_id if subject.artifact is not None else None
    return explain_model(catalog, machine, request, subject.model, quant_id)


# Together -------------------------------------------------------------------------------------


def asks_for_stack(task: str) -> bool:
    """Whether ``--task`` names several tasks, or a job that only makes sense beside a model."""
    from advisor.stacks.jobs import COMPLETION, RERANKER

    return "," in task or task.strip().lower() in {COMPLETION, RERANKER}


def check_stack(*, validates: bool, why: str | None, extremes: bool, engine_id: str | None) -> None:
    """Refuse what only one task can be asked.

    Raises:
        BadRequestError: naming the option to leave out.
    """
    for asked, option in ((validates, "--validate or --budget"), (why is not None, "--why"), (extremes, "--max-…")):
        if asked:
            raise BadRequestError(f"{option} asks about one task; name one in --task, or leave it out")
    if engine_id not in (None, "llama.cpp"):
        raise BadRequestError(f"several tasks are planned for llama.cpp only; leave out --engine {engine_id}")


def plan_stack(
    catalog: "Catalog",
    machine: "Machine",
    task: str,
    limits: "Limits",
    *,
    kv_quant_id: str | None,
    prompt_tokens: int | None,
    output_tokens: int | None,
    context_tokens: int | None,
    concurrency_count: int | None,
) -> "StackPlan":
    """The stack of ``--task A,B,C``."""
    from advisor.clock import utc_now
    from advisor.stacks import stack
    from advisor.stacks.jobs import make_job, parse_jobs

    jobs = [
        make_job(
            name,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            context_tokens=context_tokens,
            concurrency_count=concurrency_count,
        )
        for name in parse_jobs(task)
    ]
    return stack.plan_stack(
        catalog, machine, jobs, limits, created_at=utc_now(), tool_version=__version__, kv_quant_id=kv_quant_id
    )


def show_stack(plan: "StackPlan", console: "Console") -> None:
    """The stack on a console."""
    from reports.console_stack import print_stack

    print_stack(plan, console)
