"""An estimate of a tiny model, for tests of what becomes of estimates."""

from dataclasses import replace
from typing import Any

from advisor.types import Basis, Deployment, Estimate, Interval, MemoryPlan, Workload


def band(mid: float, spread: float = 1.1) -> Interval:
    """An interval as far below its middle as above it."""
    return Interval(low=mid / spread, mid=mid, high=mid * spread)


def tiny_estimate(tokens_per_s: float = 100.0, *, spread: float = 1.1, **changes: Any) -> Estimate:
    """A whole estimate whose speeds are ``tokens_per_s``; ``changes`` are its fields."""
    model_id, quant_id = changes.get("model_id", "tiny"), changes.get("quant_id", "Q4_K_M")
    made = Estimate(
        model_id=model_id,
        quant_id=quant_id,
        engine_id="llama.cpp",
        deployment=Deployment(model_id=model_id, quant_id=quant_id, threads_count=2),
        workload=Workload(),
        prefill_tokens_per_s=band(tokens_per_s, spread),
        decode_tokens_per_s=band(tokens_per_s, spread),
        first_token_s=band(1.0, spread),
        load_s=band(1.0, spread),
        memory=MemoryPlan(total_bytes=1, fits=True, devices=()),
        basis=Basis.CALIBRATED,
    )
    return replace(made, **changes)
