"""Judge a measurement: against the prediction, and against what the machine could do at all."""

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.types import Estimate, Observed
from advisor.weights_source import Candidate
from advisor.work import decode_work, prefill_work


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """What no measurement may pass. ``tolerance_frac`` says how sure the roof itself is."""

    memory_bytes_per_s: float | None = None
    flop_per_s: float | None = None
    cache_bytes: int = 0
    tolerance_frac: float = 0.05


def peak_bytes(memory_bytes: Mapping[str, int]) -> int | None:
    """What the engine took: its own buffers, or its process's growth where that was more."""
    if not memory_bytes:
        return None
    buffers = sum(size for key, size in memory_bytes.items() if not key.startswith("process."))
    growth = memory_bytes.get("process.peak", 0) - memory_bytes.get("process.before", 0)
    return max(buffers, growth)


def above_physics(candidate: Candidate, observed: Observed, roof: Roof) -> str | None:
    """Why a measured speed is impossible, or None."""
    workload, geometry = candidate.estimate.workload, candidate.model.geometry
    limit = 1.0 + roof.tolerance_frac
    moved = decode_work(candidate.artifact, geometry, depth_tokens=0.0).weight_bytes
    rate, bandwidth = observed.decode_tokens_per_s, roof.memory_bytes_per_s
    if rate and bandwidth and moved > 4 * roof.cache_bytes and moved * rate > bandwidth * limit:
        return (
            f"decoding {rate:.3g} tokens/s would read {moved * rate:.3g} bytes/s, above this machine's"
            f" {bandwidth:.3g}; the measurement cannot be right"
        )
    prompt = prefill_work(candidate.artifact, geometry, prompt_tokens=workload.prompt_tokens)
    speed, peak = observed.prefill_tokens_per_s, roof.flop_per_s
    if speed and peak and prompt.weight_flop * speed / workload.prompt_tokens > peak * limit:
        return f"a prompt at {speed:.3g} tokens/s would need more than this machine's {peak:.3g} flop/s"
    return None


def errors(estimate: Estimate, observed: Observed, *, cold: bool) -> dict[str, float]:
    """Predicted / observed - 1 for each metric that was observed.

    A load from the page cache says nothing about a prediction of reading from disk.
    """
    predicted = {
        "prefill_tokens_per_s": estimate.prefill_tokens_per_s.mid,
        "decode_tokens_per_s": estimate.decode_tokens_per_s.mid,
        "first_token_s": estimate.first_token_s.mid,
        "load_s": estimate.load_s.mid if cold else None,
        "peak_memory_bytes": float(estimate.memory.total_bytes),
    }
    return {
        name: value / getattr(observed, name) - 1.0
        for name, value in predicted.items()
        if value is not None and getattr(observed, name)
    }


def within(estimate: Estimate, observed: Observed, *, cold: bool) -> dict[str, bool]:
    """Whether each observed metric lies in its predicted 80 % interval."""
    intervals = {
        "prefill_tokens_per_s": estimate.prefill_tokens_per_s,
        "decode_tokens_per_s": estimate.decode_tokens_per_s,
        "first_token_s": estimate.first_token_s,
    }
    if cold:
        intervals["load_s"] = estimate.load_s
    return {
        name: interval.low <= value <= interval.high
        for name, interval in intervals.items()
        if (value := getattr(observed, name)) is not None
    }
