"""The tools that an assistant sees.

Few and outcome-level: each answers a question that a person asks. Parameters are flat strings, most of them
optional; the descriptions are written for a model that reads nothing else. Nothing on this machine is changed
unless a parameter says so: a recommendation is kept, a model is loaded or downloaded only on ``yes``.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import ToolAnnotations
from pydantic import BaseModel, BeforeValidator, Field

from advisor import store
from advisor.assistant import answers
from advisor.assistant.commands import Beat, Outcome, arguments, run_command
from advisor.assistant.jobs import Jobs
from advisor.errors import AdvisorError
from advisor.export.text import inert
from catalog.units import UnitError, parse_duration

_ANSWER_S = 300.0
_MORE_S = 600.0  # beyond a command's own time, before it is given up: downloads, a first scan and calibration
_FIRST_USE_S = 60.0  # of a first scan and calibration

Task = Literal["coding", "chat", "reasoning", "agentic", "rag", "embedding", "vision", "multilingual", "general"]
YesNo = Literal["no", "yes"]


def _written(value: object) -> object:
    """A number as text: clients and models send 10 where "10" is asked for."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.15g}" if is_number else value


_LENIENT = BeforeValidator(_written)
_Task = Annotated[Task, Field(description="What the model is for; sets typical prompt and answer lengths.")]
_Model = Annotated[
    str,
    _LENIENT,
    Field(description="Model name, optionally with a quantisation: 'qwen3-8b' or 'qwen3-8b:Q4_K_M'.", min_length=1),
]
_Hardware = Annotated[
    str,
    _LENIENT,
    Field(
        description="Leave empty for this computer. Or another machine: 'rtx 4090', 'rtx 3090*2+64GiB', "
        "'rtx 4090+epyc 9654+768GiB', 'm4 max 64GiB'."
    ),
]
_Context = Annotated[
    str, _LENIENT, Field(description="Context length in tokens, such as '32k'; empty for what the task needs.")
]
_Speed = Annotated[
    str, _LENIENT, Field(description="Slowest acceptable generation in tokens per second, such as '10'; or empty.")
]
_Wait = Annotated[
    str, _LENIENT, Field(description="Longest acceptable wait for the first token in seconds, such as '2'; or empty.")
]
_Memory = Annotated[
    str, _LENIENT, Field(description="Memory the model may take, with its unit, such as '12GiB'; or empty.")
]


class Consent(BaseModel):
    """The user's word on long work."""

    start: bool = Field(description="Load the model and time it now?")


# --- running commands ------------------------------------------------------------------------------


async def _document(args: list[str], *, time_limit_s: float = _ANSWER_S, beat: Beat | None = None) -> Mapping[str, Any]:
    """A command's document.

    Raises:
        ToolError: with the command's own line, which says what to do.
    """
    return _document_of(await _outcome(args, time_limit_s, beat))


def _document_of(outcome: Outcome) -> Mapping[str, Any]:
    if outcome.document is None:
        raise ToolError(f"{'The answer is no: ' if outcome.no else ''}{outcome.message}")
    return outcome.document


async def _outcome(args: list[str], time_limit_s: float, beat: Beat | None) -> Outcome:
    try:
        return await run_command(args, time_limit_s=time_limit_s, beat=beat)
    except AdvisorError as error:
        raise ToolError(str(error)) from None


async def _long_document(
    ctx: Context[Any, Any], args: list[str], expected_s: float, label: str
) -> Mapping[str, Any] | float:
    """A command's document; or, where a client might not wait for it, the seconds it has been running.

    Raises:
        ToolError: with the command's own line, which says what to do.
    """
    limit_s, beat = expected_s + _MORE_S, _beat(ctx, expected_s, label)
    try:
        outcome = await _jobs(ctx).outcome(args, time_limit_s=limit_s, beat=beat)
    except AdvisorError as error:
        raise ToolError(str(error)) from None
    return outcome if isinstance(outcome, float) else _document_of(outcome)


def _jobs(ctx: Context[Any, Any]) -> Jobs:
    jobs: Jobs = ctx.request_context.lifespan_context
    return jobs


def _still_running(tool: str, passed_s: float, expected_s: float) -> dict[str, Any]:
    return {
        "status": "running",
        "seconds_so_far": round(passed_s),
        "seconds_expected": round(expected_s),
        "next_step": f"Not done yet. Call {tool} again with exactly the same arguments to wait for the answer.",
    }


def _args(command: str, values: tuple[str, ...], options: Mapping[str, str], flags: tuple[str, ...] = ()) -> list[str]:
    try:
        return arguments(command, values, options, flags)
    except AdvisorError as error:
        raise ToolError(str(error)) from None


def _machine(hardware: str) -> dict[str, str]:
    """The option for the machine asked about; this one as it was last measured, so that nothing is measured now.

    Raises:
        ToolError: if this machine was never measured.
    """
    if hardware.strip():
        return {"hardware": hardware}
    path = store.profile_path()
    if not path.exists():
        raise ToolError(
            "This computer was not measured yet. Ask the user to run `advisor scan` (about 20 seconds), "
            "or name a machine in `hardware`, such as 'rtx 4090'."
        )
    return {"profile": str(path)}


def _beat(ctx: Context[Any, Any], expected_s: float, label: str) -> Beat:
    async def beat(passed_s: float) -> None:
        done_s = min(passed_s, expected_s * 0.99)
        await ctx.report_progress(done_s, expected_s, f"{label}, {passed_s:.0f} s")

    return beat


# --- tools -----------------------------------------------------------------------------------------


async def recommend_model(
    ctx: Context[Any, Any],
    task: _Task,
    hardware: _Hardware = "",
    context: _Context = "",
    min_tokens_per_second: _Speed = "",
    max_seconds_to_first_token: _Wait = "",
    max_memory: _Memory = "",
    license: Annotated[  # noqa: A002 - the tool's own word
        str, _LENIENT, Field(description="Only this licence, such as 'apache-2.0' or 'mit'; or empty.")
    ] = "",
    count: Annotated[Literal["1", "3", "5", "10"], _LENIENT, Field(description="How many picks to give.")] = "3",
    keep: Annotated[
        YesNo, Field(description="'yes' keeps it as the user's last recommendation, for advisor export.")
    ] = "no",
) -> dict[str, Any]:
    """Recommend which open-weight model to run for a task, on this computer or a named one.

    Use this first when someone asks which local model to use. Each pick has its quantisation, quality, speed,
    memory, licence, the reasons and the command that runs it. Takes a few seconds.
    """
    machine = {} if keep == "yes" and not hardware.strip() else _machine(hardware)
    options = {
        "task": task,
        "context": context,
        "min-tps": min_tokens_per_second,
        "max-ttft": max_seconds_to_first_token,
        "max-memory": max_memory,
        "license": license,
        "top": count,
        **machine,
    }
    args = _args("recommend", (), options)
    if machine:
        return answers.recommendation(await _document(args, beat=_beat(ctx, 10.0, "ranking models")), int(count))
    found = await _long_document(ctx, args, _FIRST_USE_S, "measuring this computer, if need be, and ranking models")
    if isinstance(found, float):
        return _still_running("recommend_model", found, _FIRST_USE_S)
    return answers.recommendation(found, int(count))


async def explain_fit(
    ctx: Context[Any, Any],
    model: _Model,
    task: _Task = "general",
    hardware: _Hardware = "",
    context: _Context = "",
) -> dict[str, Any]:
    """Explain why one model does or does not fit a machine and task, and what would change that.

    Gives its memory against what is there, its rank among all models or the reason it is not ranked, the
    smallest change that would help, and the pick that is better instead.
    """
    shared = {"task": task, "context": context, **_machine(hardware)}
    made = await _document(_args("estimate", (model,), shared))
    ranking = _args("recommend", (), {**shared, "top": "1", "why": model})
    outcome = await _outcome(ranking, _ANSWER_S, _beat(ctx, 15.0, "ranking models"))
    answer = {"prediction": answers.estimate(made)}
    if outcome.document is None:
        return answer | {"verdict": outcome.message}
    return answer | answers.standing(outcome.document)


async def predict_speed_and_memory(
    model: _Model,
    task: _Task = "general",
    hardware: _Hardware = "",
    context: _Context = "",
    prompt: Annotated[str, _LENIENT, Field(description="Prompt length in tokens, such as '8k'; or empty.")] = "",
    users: Annotated[str, _LENIENT, Field(description="Users at the same time, such as '4'; or empty for one.")] = "",
    kv_cache: Annotated[Literal["auto", "f16", "q8_0", "q4_0"], Field(description="Type of the KV cache.")] = "auto",
) -> dict[str, Any]:
    """Predict how fast one model generates and how much memory it takes, on this computer or a named one."""
    options = {
        "task": task,
        "context": context,
        "prompt": prompt,
        "concurrency": users,
        "kv-type": "" if kv_cache == "auto" else kv_cache,
        **_machine(hardware),
    }
    return answers.estimate(await _document(_args("estimate", (model,), options)))


async def what_to_buy(
    ctx: Context[Any, Any],
    model: _Model,
    min_tokens_per_second: _Speed = "10",
    max_seconds_to_first_token: _Wait = "",
    max_price_usd: Annotated[
        str, _LENIENT, Field(description="The most to spend in US dollars, such as '2000'; or empty.")
    ] = "",
    task: _Task = "general",
    context: _Context = "",
) -> dict[str, Any]:
    """List machines to buy or rent that run a model fast enough, the cheapest of each kind first.

    Kinds are gaming GPUs in a PC, unified-memory computers, Apple silicon and rented data-centre GPUs.
    """
    budget = _number(max_price_usd, "max_price_usd")
    options = {
        "task": task,
        "context": context,
        "min-tps": min_tokens_per_second,
        "max-ttft": max_seconds_to_first_token,
    }
    document = await _document(_args("plan", (model,), options), beat=_beat(ctx, 20.0, "trying machines"))
    found = answers.shopping(document, budget)
    if not found["machines"]:
        raise ToolError(
            "The answer is no: no machine with a known price is within max_price_usd; raise it, or leave it out"
        )
    return found


def _number(value: str, name: str) -> float | None:
    try:
        return float(value) if value.strip() else None
    except ValueError:
        raise ToolError(
            f"{name} {inert(value, max_chars=20)!r} is no number; give one such as '2000', or leave it out"
        ) from None


async def _consent(
    ctx: Context[Any, Any], model: str, task: str, context: str, seconds: str, download: str, confirm: str
) -> Consent | Elicit[Consent]:
    """What was said already, or a question to the user where the client can put one."""
    elicitation = ctx.client_capabilities.elicitation if ctx.client_capabilities else None
    if confirm == "yes" or _jobs(ctx).knows(_validation(model, task, context, seconds, download)):
        return Consent(start=True)
    return Consent(start=False) if elicitation is None else Elicit(_question(model, seconds), Consent)


def _validation(model: str, task: str, context: str, seconds: str, download: str) -> list[str]:
    options = {"task": task, "context": context, "budget": seconds}
    return _args("validate", (model,), options, ("yes",) if download == "yes" else ())


def _question(model: str, seconds: str) -> str:
    return (
        f"Load {inert(model)} on this computer and time it for about {inert(seconds, max_chars=12)}? "
        "It uses the memory it was predicted to take and all of the processor, and the result is kept in the history."
    )


async def validate_pick(
    ctx: Context[Any, Any],
    consent: Annotated[Consent, Resolve(_consent)],
    model: _Model,
    task: _Task = "general",
    context: _Context = "",
    seconds: Annotated[str, _LENIENT, Field(description="How long to time it, such as '60s' or '2m'.")] = "60s",
    download: Annotated[YesNo, Field(description="'yes' downloads the weights if they are not here.")] = "no",
    confirm: Annotated[
        Literal["ask", "yes"], Field(description="'ask' asks the user first; 'yes' only after the user agreed.")
    ] = "ask",
) -> dict[str, Any]:
    """Load a model on this computer, time it, and compare with the prediction.

    This takes a minute or more and uses much memory, so the user is asked first. Weights that are not here are
    stood in for by synthetic ones of the same shape, which run at the same speed. Progress is reported and the
    run can be cancelled. If the answer's status is "running", call again with the same arguments to wait for it.
    """
    del confirm  # the consent was resolved from it
    if not consent.start:
        raise ToolError(
            f"Not started. {_question(model, seconds)} "
            "Ask the user; if they agree, call validate_pick again with confirm='yes'."
        )
    try:
        expected_s = parse_duration(seconds) + _FIRST_USE_S
    except UnitError as error:
        raise ToolError(str(error)) from None
    args = _validation(model, task, context, seconds, download)
    found = await _long_document(ctx, args, expected_s, f"loading and timing {inert(model)}")
    if isinstance(found, float):
        return _still_running("validate_pick", found, expected_s)
    return answers.validation(found)


#: Tool, its title, and what a client may assume of it.
TOOLS: tuple[tuple[Callable[..., Awaitable[dict[str, Any]]], str, ToolAnnotations], ...] = (
    (recommend_model, "Recommend a model", ToolAnnotations(destructive_hint=False, open_world_hint=False)),
    (explain_fit, "Explain a fit", ToolAnnotations(read_only_hint=True, open_world_hint=False)),
    (predict_speed_and_memory, "Predict speed and memory", ToolAnnotations(read_only_hint=True, open_world_hint=False)),
    (what_to_buy, "What to buy", ToolAnnotations(read_only_hint=True, open_world_hint=False)),
    (validate_pick, "Validate a pick", ToolAnnotations(destructive_hint=False, open_world_hint=False)),
)
