"""Judge a measurement: against the prediction, and against what the machine could do at all."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from advisor.machine import CPU_DEVICE_ID
from advisor.types import Deployment, Estimate, Observed
from advisor.validation.weights_source import Candidate
from advisor.work import decode_work, prefill_work

_ROOF_NOISE_FRAC = 0.05
_UNCACHED_MULTIPLE = 4
_MEMORY_BAND = (-0.01, 0.03)  # predicted / observed - 1: never under by more, rarely over by more


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """What no measurement may pass: the processor's limits, and those of each accelerator by its id.

    ``tolerance_frac`` says how sure the roof itself is: a data sheet's figure is, one measured on a busy
    machine may be too low. Weights that fit in ``cache_bytes`` need not come from memory.
    """

    memory_bytes_per_s: float | None = None
    flop_per_s: float | None = None
    cache_bytes: int = 0
    tolerance_frac: float = 0.05
    accelerators: Mapping[str, "Roof"] = field(default_factory=dict)

    def over(self, deployment: Deployment) -> "Roof":
        """The roof over the devices that hold a model: together no slower than all of them at once."""
        ids = {name for name, layers_count in deployment.layers_by_device.items() if layers_count}
        held = [self.accelerators[name] for name in sorted(ids) if name in self.accelerators]
        if not held:
            return self
        if CPU_DEVICE_ID in ids or deployment.experts_on_cpu_layers_count:
            held.append(self)
        return replace(
            self,
            memory_bytes_per_s=_sum(one.memory_bytes_per_s for one in held),
            flop_per_s=_sum(one.flop_per_s for one in held),
            cache_bytes=max(one.cache_bytes for one in held),
        )


def _sum(limits: Iterable[float | None]) -> float | None:
    """All limits together; None if one of them is unknown."""
    known = list(limits)
    return None if None in known else sum(limit for limit in known if limit is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A speed beyond the roof: impossible, or so near that the roof is in doubt."""

    reason: str
    impossible: bool


def peak_bytes(memory_bytes: Mapping[str, int]) -> int | None:
    """What the engine took: its own buffers, or its process's growth where that was more."""
    if not memory_bytes:
        return None
    buffers = sum(size for key, size in memory_bytes.items() if not key.startswith("process."))
    growth = memory_bytes.get("process.peak", 0) - memory_bytes.get("process.before", 0)
    return max(buffers, growth)


def above_physics(candidate: Candidate, observed: Observed, roof: Roof) -> Excess | None:
    """Whether a measured speed is beyond what this machine's memory or arithmetic could do."""
    roof = roof.over(candidate.estimate.deployment)
    for what, used, limit in _loads(candidate, observed, roof):
        if limit and used > limit * (1.0 + _ROOF_NOISE_FRAC):
            impossible = used > limit * (1.0 + max(_ROOF_NOISE_FRAC, roof.tolerance_frac))
            verdict = "the measurement cannot be right" if impossible else "scan again, it may have been disturbed"
            return Excess(
                reason=f"{what} would take {used:.3g} per second of this machine's {limit:.3g}; {verdict}",
                impossible=impossible,
            )
    return None


def _loads(candidate: Candidate, observed: Observed, roof: Roof) -> Iterator[tuple[str, float, float | None]]:
    """What each observed speed would demand: bytes per second read, operations per second made."""
    workload, artifact, geometry = candidate.estimate.workload, candidate.artifact, candidate.model.geometry
    moved = decode_work(artifact, geometry, depth_tokens=0.0).weight_bytes
    if observed.decode_tokens_per_s and moved > _UNCACHED_MULTIPLE * roof.cache_bytes:
        rate = observed.decode_tokens_per_s
        yield f"decoding {rate:.3g} tokens/s", moved * rate, roof.memory_bytes_per_s
    if observed.prefill_tokens_per_s:
        rate = observed.prefill_tokens_per_s
        flop = prefill_work(artifact, geometry, prompt_tokens=workload.prompt_tokens).weight_flop
        yield f"a prompt at {rate:.3g} tokens/s", flop / workload.prompt_tokens * rate, roof.flop_per_s


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
    """Whether each observed metric lies in its predicted 80 % interval; memory, in its narrow band."""
    intervals = {
        "prefill_tokens_per_s": estimate.prefill_tokens_per_s,
        "decode_tokens_per_s": estimate.decode_tokens_per_s,
        "first_token_s": estimate.first_token_s,
    }
    if cold:
        intervals["load_s"] = estimate.load_s
    found = {
        name: interval.low <= value <= interval.high
        for name, interval in intervals.items()
        if (value := getattr(observed, name)) is not None
    }
    if observed.peak_memory_bytes:
        error = estimate.memory.total_bytes / observed.peak_memory_bytes - 1.0
        found["peak_memory_bytes"] = _MEMORY_BAND[0] <= error <= _MEMORY_BAND[1]
    return found
