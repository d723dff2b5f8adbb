"""Why a pick is where it is, in words."""

from collections.abc import Mapping

from advisor.recommendation.score import ScoredEstimate
from advisor.recommendation.spans import span
from advisor.types import Bound, Estimate, Task
from advisor.workloads import TASKS
from catalog.types import ModelSpec
from catalog.units import GIB

_PARTS: Mapping[str, str] = {
    "experts": "reading expert weights",
    "attention_weights": "reading attention weights",
    "feed_forward_weights": "reading feed-forward weights",
    "weights": "reading weights",
    "output": "the output layer",
    "norms": "norms and other small weights",
    "kv": "reading the KV cache",
    "state": "the recurrent state",
    "overhead": "the engine's own overhead",
    "host": "waiting for the processor",
    "link": "transfers between devices",
    "spill": "fetching what does not fit",
}
_LIMITS: Mapping[str, str] = {
    Bound.MEMORY: ", at the speed of memory",
    Bound.COMPUTE: ", at the speed of arithmetic",
}


def alternative(option: ScoredEstimate) -> str:
    """Another setting of the same model, in a few words."""
    made = option.estimate
    reads_only = made.workload.task == Task.EMBEDDING
    speed = f"{1.0 / made.first_token_s.mid:.3g} docs/s" if reads_only else f"{made.decode_tokens_per_s.mid:.3g} tok/s"
    return f"{made.quant_id}: {speed}, {made.memory.total_bytes / GIB:.1f} GiB, quality {option.quality.mid:.0f}"


def reasons(model: ModelSpec, option: ScoredEstimate) -> tuple[str, ...]:
    """Why a pick is where it is: quality, speed, wait, memory, and what is special about it."""
    made = option.estimate
    basis = "imputed from its family, size and age" if option.quality.imputed else "from published benchmarks"
    found = [f"{made.workload.task} quality {option.quality.mid:.0f} of 100, {basis}"]
    if "embedding" in model.capabilities or "reranker" in model.capabilities:
        found.append(_documents_reason(made))
    else:
        found.append(f"decodes {made.decode_tokens_per_s.mid:.3g} tok/s ({_bottleneck(made)})")
        found.append(_wait_reason(option))
    found.append(_memory_reason(made))
    geometry = model.geometry
    if geometry is not None and geometry.expert_count:
        found.append(f"mixture of experts: reads {geometry.expert_used_count} of {geometry.expert_count} per token")
    if not option.usable:
        found.append("slower than is comfortable for this task; nothing faster scores higher")
    elif option.turn_wait_s > TASKS[made.workload.task].patience_s:
        found.append("answers later than is comfortable for this task; nothing sooner scores higher")
    return tuple(found)


def _bottleneck(made: Estimate) -> str:
    decode = [term for term in made.terms if term.name.startswith("decode.")]
    slowest = max(decode, key=lambda term: term.time_s)
    share = slowest.time_s / sum(term.time_s for term in decode)
    part, _, kind = slowest.name.removeprefix("decode.").partition(".")
    name = _PARTS.get(part, part.replace("_", " ")) + (f" ({kind})" if kind else "")
    return f"{share:.0%} of a token's time is {name}{_LIMITS.get(slowest.bound, '')}"


def _documents_reason(made: Estimate) -> str:
    """What counts for a model that reads and does not write: documents per second."""
    each_s, tokens = made.first_token_s.mid, made.workload.prompt_tokens
    return f"reads {1.0 / each_s:.3g} documents a second, {tokens} tokens each, one in {span(each_s)}"


def _wait_reason(option: ScoredEstimate) -> str:
    made = option.estimate
    cold = f"first token after {span(made.first_token_s.mid)} for a new {made.workload.prompt_tokens}-token prompt"
    if option.turn_wait_s < 0.99 * made.first_token_s.mid:
        return f"{cold}, about {span(option.turn_wait_s)} with the prompt cache"
    return cold


def _memory_reason(made: Estimate) -> str:
    """How full the fullest device gets."""
    fullest = max(made.memory.devices, key=lambda device: device.total_bytes)
    where = "" if fullest.device_id == "cpu" else f" on {fullest.device_id}"
    limit = f" of {fullest.available_bytes / GIB:.1f}" if fullest.available_bytes else ""
    return (
        f"takes {fullest.total_bytes / GIB:.1f}{limit} GiB{where} with {made.workload.context_tokens} tokens of context"
    )
