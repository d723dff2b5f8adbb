"""What may be asked beside a ranking: why a model is not in it, how far a setting stretches, models together."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor import __version__
from advisor.cli import _options, _shared
from advisor.errors import BadRequestError, NothingFitsError

if TYPE_CHECKING:
    from rich.console import Console

    from advisor.cli._options import Demand, Output, Where
    from advisor.machine import Machine
    from advisor.recommendation.extremes import Asked
    from advisor.recommendation.request import Request
    from advisor.settings import LoadSettings
    from advisor.types import Estimate, Limits, StackPlan, Why
    from catalog.load import Catalog

EXIT_NO = 3


def _asked(**values: bool) -> "Asked":
    from advisor.recommendation.extremes import Asked

    return Asked(**values)


#: ``--max-context --max-users``
extreme_options = _options.group(
    "extremes",
    _asked,
    {
        "context": click.option(
            "--max-context", "context", is_flag=True, help="Also: the longest context at --min-tps when it is full."
        ),
        "users": click.option(
            "--max-users", "users", is_flag=True, help="Also: the most users at once at --min-tps each."
        ),
    },
)


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
    subject = resolve_subject(catalog, text, machine.engine_id)
    quant_id = subject.artifact.quant_id if subject.artifact is not None else None
    return explain_model(catalog, machine, request, subject.model, quant_id)


# Together -------------------------------------------------------------------------------------


def asks_for_stack(task: str) -> bool:
    """Whether ``--task`` names several tasks, or a job that only makes sense beside a model."""
    from advisor.stacks.jobs import COMPLETION, RERANKER

    return "," in task or task.strip().lower() in {COMPLETION, RERANKER}


def check_stack(one_task_only: Mapping[str, bool], *, engine_id: str | None) -> None:
    """Refuse what only one task can be asked.

    Args:
        one_task_only: by option, whether it was given.
        engine_id: the engine that was asked for.

    Raises:
        BadRequestError: naming the option to leave out.
    """
    for option, given in one_task_only.items():
        if given:
            raise BadRequestError(f"{option} asks about one task; name one in --task, or leave it out")
    if engine_id not in (None, "llama.cpp"):
        raise BadRequestError(f"several tasks are planned for llama.cpp only; leave out --engine {engine_id}")


def recommend_stack(
    task: str, demand: "Demand", limits: "Limits", where: "Where", settings: "LoadSettings", output: "Output"
) -> None:
    """Plan and hand over the stack of ``--task A,B,C``."""
    from advisor.clock import utc_now
    from advisor.stacks import stack
    from advisor.stacks.jobs import make_job, parse_jobs
    from advisor.types import StackPlan
    from catalog.load import load_catalog

    jobs = [make_job(name, **demand.sizes()) for name in parse_jobs(task)]
    catalog = load_catalog()
    machine = where.machine(catalog, quiet=output.quiet)
    try:
        plan = stack.plan_stack(
            catalog,
            machine,
            jobs,
            limits,
            created_at=utc_now(),
            tool_version=__version__,
            kv_quant_id=demand.kv_quant_id,
            settings=settings,
        )
    except NothingFitsError as error:
        if isinstance(error.document, StackPlan) and output.wants_document:
            output.deliver(error.document, partial(_show_stack, error.document))
        raise
    output.deliver(plan, partial(_show_stack, plan))


def _show_stack(plan: "StackPlan", console: "Console") -> None:
    """The stack on a console."""
    from reports.console_stack import print_stack

    print_stack(plan, console)
