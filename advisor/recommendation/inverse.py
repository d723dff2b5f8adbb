"""Inverse questions: the longest context, or the most users, that memory and every limit still allow.

Both are answered by asking the estimator again: memory only grows, and speed only falls, with context and
with users, so bisection finds the edge, and the first step beyond it says what limits it.

* Longest context: ``--min-tps`` holds with the context full; ``--max-ttft`` holds for the workload's own prompt.
* Most users: ``--min-tps`` holds for each of them at once; ``--max-ttft`` for a prompt that is alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from advisor.candidates import candidates
from advisor.estimate import estimate
from advisor.machine import Machine
from advisor.recommendation.shortage import limited_memory
from advisor.recommendation.spans import span
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import Estimate, EstimateWarning, Extreme, Limits, Workload
from advisor.workloads import MAX_CONCURRENCY, TASKS
from catalog.types import ArtifactSpec, ModelSpec
from catalog.units import GIB

_STEP_TOKENS = 1024
#: Longest context that is looked at where the model states no limit.
_LONGEST_TOKENS = 1024 * 1024

#: What is asked of one value: its estimate where it is allowed, else what limits it and why.
Check = Callable[[int], "_Answer"]


@dataclass(frozen=True, slots=True)
class _Answer:
    estimate: Estimate | None = None
    limited_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model at one quantisation on one machine, with what is asked of it."""

    model: ModelSpec
    artifact: ArtifactSpec
    machine: Machine
    workload: Workload
    limits: Limits = field(default_factory=Limits)
    kv_quant_id: str = "f16"
    settings: LoadSettings = NOTHING_FIXED


def longest_context(subject: Subject) -> Extreme:
    """The longest context, in tokens, without moving anything more to the CPU than a short one needs."""
    limit = subject.model.max_context_tokens
    rungs = _rungs(limit)
    shortest = _placed(subject, _with_context(subject.workload, rungs[0]))
    stays = bool(shortest) and not all(map(_spills, shortest))
    found, beyond = _last_allowed(rungs, lambda tokens: _check_context(subject, tokens, stays=stays))
    if beyond is None and limit is not None:
        beyond = _Answer(limited_by="model", reason=f"the model takes at most {limit} tokens")
    return _extreme("context_tokens", found, beyond, subject)


def most_users(subject: Subject) -> Extreme:
    """The most users at once, each with the workload's context, at ``--min-tps`` or the task's usable speed."""
    if subject.limits.min_tokens_per_s is None:
        usable = TASKS[subject.workload.task].usable_tokens_per_s
        subject = replace(subject, limits=replace(subject.limits, min_tokens_per_s=usable))
    alone = _placed(subject, replace(subject.workload, concurrency_count=1))
    stays = bool(alone) and not all(map(_spills, alone))
    counts = range(1, MAX_CONCURRENCY + 1)
    found, beyond = _last_allowed(counts, lambda count: _check_users(subject, count, stays=stays))
    return _extreme("concurrency_count", found, beyond, subject)


def _rungs(limit: int | None) -> Sequence[int]:
    longest = limit or _LONGEST_TOKENS
    whole = range(_STEP_TOKENS, longest + 1, _STEP_TOKENS)
    return whole if whole and whole[-1] == longest else (*whole, longest)


def _with_context(workload: Workload, context_tokens: int) -> Workload:
    """The workload at another context; prompt and answer give way to a shorter one."""
    output = min(workload.output_tokens, max(1, context_tokens // 4))
    prompt = min(workload.prompt_tokens, context_tokens - output)
    return replace(workload, context_tokens=context_tokens, prompt_tokens=prompt, output_tokens=output)


def _placed(subject: Subject, workload: Workload) -> list[Estimate]:
    return candidates(
        subject.model,
        subject.artifact,
        subject.machine,
        workload,
        kv_quant_id=subject.kv_quant_id,
        available_bytes=limited_memory(subject.machine, subject.limits),
        settings=subject.settings,
    )


def _spills(made: Estimate) -> bool:
    return EstimateWarning.SPILLS_TO_CPU in made.warnings


def _check_context(subject: Subject, tokens: int, *, stays: bool) -> _Answer:
    workload = _with_context(subject.workload, tokens)
    made = _fastest(subject, workload, stays=stays)
    if isinstance(made, _Answer):
        return made
    full = replace(workload, prompt_tokens=tokens - workload.output_tokens)
    deep = estimate(subject.model, subject.artifact, subject.machine, full, made.deployment)
    at_full = replace(made, decode_tokens_per_s=deep.decode_tokens_per_s)
    return _within_limits(at_full, subject.limits, f"with {tokens} tokens in the cache")


def _check_users(subject: Subject, count: int, *, stays: bool) -> _Answer:
    made = _fastest(subject, replace(subject.workload, concurrency_count=count), stays=stays)
    if isinstance(made, _Answer):
        return made
    return _within_limits(made, subject.limits, f"for each of {count} users" if count > 1 else "alone")


def _fastest(subject: Subject, workload: Workload, *, stays: bool) -> Estimate | _Answer:
    found = _placed(subject, workload)
    if stays:
        found = [made for made in found if not _spills(made)]
    if found:
        return max(found, key=lambda made: made.decode_tokens_per_s.mid)
    where = " without moving layers to the CPU" if stays and len(subject.machine.devices) > 1 else ""
    size = _capacity(subject)
    return _Answer(limited_by="memory", reason=f"more does not fit {size:.1f} GiB{where}")


def _filled(made: Estimate) -> str:
    cache = sum(row.kv_bytes for row in made.memory.devices) / GIB
    weights = sum(row.weights_bytes for row in made.memory.devices) / GIB
    return f"the cache takes {cache:.1f} GiB beside {weights:.1f} GiB of weights"


def _capacity(subject: Subject) -> float:
    available = limited_memory(subject.machine, subject.limits)
    accelerators = [size for device, size in available.items() if device != "cpu"]
    return sum(accelerators or available.values()) / GIB


def _within_limits(made: Estimate, limits: Limits, when: str) -> _Answer:
    decode, first = made.decode_tokens_per_s.mid, made.first_token_s.mid
    if limits.min_tokens_per_s is not None and decode < limits.min_tokens_per_s:
        return _Answer(limited_by="speed", reason=f"{when} it decodes {decode:.3g} tok/s")
    if limits.max_first_token_s is not None and first > limits.max_first_token_s:
        prompt = made.workload.prompt_tokens
        return _Answer(limited_by="wait", reason=f"first token after {span(first)} for a prompt of {prompt} tokens")
    return _Answer(made)


def _last_allowed(values: Sequence[int], check: Check) -> tuple[tuple[int, Estimate] | None, _Answer | None]:
    """The last value that is allowed, and the answer to the first that is not (None: all are)."""
    low, high = 0, len(values)  # values[:low] are allowed, values[high:] are not
    found: tuple[int, Estimate] | None = None
    beyond: _Answer | None = None
    step = 1
    while low < high:
        middle = min(low + step - 1, high - 1) if beyond is None else (low + high) // 2
        answer = check(values[middle])
        if answer.estimate is None:
            beyond, high = answer, middle
        else:
            found, low = (values[middle], answer.estimate), middle + 1
            step *= 2
    return found, beyond


def _extreme(quantity: str, found: tuple[int, Estimate] | None, beyond: _Answer | None, subject: Subject) -> Extreme:
    stop = beyond or _Answer(limited_by="range", reason="nothing looked at was too much")
    if found is None:
        return Extreme(
            quantity=quantity, value=0, limited_by=stop.limited_by, reason=stop.reason, kv_quant_id=subject.kv_quant_id
        )
    value, made = found
    if stop.limited_by == "memory":
        stop = replace(stop, reason=f"{_filled(made)}; {stop.reason}")
    return Extreme(
        quantity=quantity,
        value=value,
        limited_by=stop.limited_by,
        reason=stop.reason,
        decode_tokens_per_s=made.decode_tokens_per_s,
        first_token_s=made.first_token_s,
        memory_total_bytes=made.memory.total_bytes,
        kv_quant_id=subject.kv_quant_id,
    )
