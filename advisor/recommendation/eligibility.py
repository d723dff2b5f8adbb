"""Never a junk pick: which models may be ranked for a task at all, and why the others may not.

Each rule is one function that returns a `Rejection` or None; they run in the order of `RULES`, so the
first reason given is the one that matters most.
"""

from collections.abc import Callable

from advisor.engines.requirements import GGUF_ENGINES, LLAMA_CPP, NAMES, loadable_quant_ids, task_waiver
from advisor.types import Limits, Rejection, Task, Workload
from advisor.workloads import TASKS
from catalog.types import ModelSpec

#: Kinds of model that answer no open question, whatever their size.
SPECIALISED = frozenset(
    {"embedding", "reranker", "guard", "reward", "ocr", "speech", "translation", "classifier"}
    | {"diffusion", "late_interaction", "specialist", "experiment"}
)

Rule = Callable[[ModelSpec, Workload, Limits], Rejection | None]


def right_kind(model: ModelSpec, workload: Workload, limits: Limits) -> Rejection | None:
    """A model made for another kind of task never enters the list."""
    del limits
    task, has = workload.task, model.capabilities
    if model.duplicate_of is not None:
        same = model.duplicate_of
        return Rejection(model_id=model.model_id, reason=f"the same weights as {same}", fix=f"run {same}")
    missing = TASKS[task].needs - has
    if missing:
        return Rejection(
            model_id=model.model_id, reason=f"not made for {task}: no {', '.join(sorted(missing))} ability"
        )
    special = SPECIALISED & has
    if task not in model.tasks and special - ({"embedding"} if task == Task.EMBEDDING else set()):
        return Rejection(model_id=model.model_id, reason=f"a model for {', '.join(sorted(special))}, not for {task}")
    if task == Task.EMBEDDING or task in model.tasks:
        return None
    if "base" in has or not has & {"instruct", "reasoning"}:
        return Rejection(
            model_id=model.model_id,
            reason="a base model: it continues text and does not follow instructions",
            fix="ask for its instruct version",
        )
    return None


def released(model: ModelSpec, workload: Workload, limits: Limits) -> Rejection | None:
    """A trial never stands in for the release of the same maker, architecture and size, where that does the task."""
    del limits
    if model.released_as is None or workload.task not in model.released_tasks:
        return None
    other = model.released_as
    return Rejection(model_id=model.model_id, reason=f"a trial; {other} is the release beside it", fix=f"run {other}")


def obtainable(model: ModelSpec, workload: Workload, limits: Limits) -> Rejection | None:
    """There must be a released file that the engine loads."""
    del workload, limits
    if model.repos.get("gguf"):
        return None
    others = sorted(name for name in model.repos if name != "gguf")
    fix = f"there are {', '.join(others)} weights for other engines" if others else None
    return Rejection(model_id=model.model_id, reason="no published GGUF is known", fix=fix)


def known_shape(model: ModelSpec, workload: Workload, limits: Limits) -> Rejection | None:
    """Without its shape, memory and speed would be guesses."""
    del workload, limits
    if model.geometry is not None:
        return None
    return Rejection(
        model_id=model.model_id,
        reason="its exact shape is not known, so its memory and speed would be guesses",
        fix="give its config.json or GGUF to advisor catalog add",
    )


def licensed(model: ModelSpec, workload: Workload, limits: Limits) -> Rejection | None:
    """Only the licences the user accepts."""
    del workload
    if not limits.licenses:
        return None
    own = (model.license_id or "unknown").lower()
    if any(own == wanted.lower() or own.startswith(wanted.lower() + "-") for wanted in limits.licenses):
        return None
    return Rejection(model_id=model.model_id, reason=f"licence {own} is not among {', '.join(limits.licenses)}")


def long_enough(model: ModelSpec, workload: Workload, limits: Limits) -> Rejection | None:
    """The context must hold the workload."""
    del limits
    longest = model.max_context_tokens
    if longest is None or longest >= workload.context_tokens:
        return None
    return Rejection(
        model_id=model.model_id,
        reason=f"takes {longest} tokens of context, the workload needs {workload.context_tokens}",
        fix=f"--context {longest}",
    )


RULES: tuple[Rule, ...] = (right_kind, released, licensed, long_enough, known_shape, obtainable)


def reject(model: ModelSpec, workload: Workload, limits: Limits, engine_id: str = LLAMA_CPP) -> Rejection | None:
    """The first rule that excludes a model from an engine's ranking, or None if it may be ranked."""
    unable = task_waiver(engine_id, workload.task)
    if unable is not None:
        return Rejection(model_id=model.model_id, reason=unable, fix="--engine llama.cpp")
    for rule in RULES:
        if rule is obtainable and engine_id not in GGUF_ENGINES:
            rejection = _loadable_by(engine_id, model)
        else:
            rejection = rule(model, workload, limits)
        if rejection is not None:
            return rejection
    return None


def _loadable_by(engine_id: str, model: ModelSpec) -> Rejection | None:
    """There must be published weights that the engine loads."""
    if loadable_quant_ids(model, engine_id):
        return None
    return Rejection(
        model_id=model.model_id,
        reason=f"no published weights are known that {NAMES[engine_id]} loads",
        fix="--engine llama.cpp" if model.repos.get("gguf") else None,
    )
