"""A toy model and what validating it takes."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tiny_estimate import band, tiny_estimate

from advisor.engines.fake import FakeEngine
from advisor.types import Deployment, DeviceMemory, MemoryPlan, Workload
from advisor.validation.validate import Setting, Text
from advisor.validation.weights_source import Candidate, Room
from catalog.load import load_catalog
from catalog.types import ModelSpec
from catalog.units import GIB
from catalog.weights import weigh

WORKLOAD = Workload(prompt_tokens=512, output_tokens=64, context_tokens=1024)
TEXT = Text(name="mine", content="one two three four " * 20)
ROOM = Room(disk_bytes=100 * GIB, memory_bytes=16 * GIB, budget_s=60.0)


@cache
def toy_model() -> ModelSpec:
    """A real architecture at toy size, so that twins are written at once."""
    real = load_catalog().model("SmolLM2-135M-Instruct")
    geometry = replace(
        real.geometry,
        mixers="A" * 8,
        ffns="d" * 8,
        hidden_dim=64,
        head_count=1,
        kv_head_count=1,
        head_dim=64,
        ffn_dim=64,
        vocab_count=64,
    )
    return replace(real, geometry=geometry)


def candidate_of(
    model: ModelSpec,
    *,
    local_path: str | None = None,
    total_bytes: int = 10**6,
    workload: Workload = WORKLOAD,
    **speeds: float,
) -> Candidate:
    """A model to validate, with what is predicted of it: by default just what the pretended engine does."""
    artifact = weigh(model, "Q8_0")
    device = DeviceMemory(
        device_id="cpu",
        weights_bytes=total_bytes,
        kv_bytes=0,
        compute_bytes=0,
        overhead_bytes=0,
        total_bytes=total_bytes,
        available_bytes=None,
    )
    predicted = {"prefill": 1000.0, "decode": 100.0, "first": 0.512, "load": 1.0, **speeds}
    estimate = tiny_estimate(
        model_id=model.model_id,
        quant_id="Q8_0",
        engine_id="fake",
        deployment=Deployment(model_id=model.model_id, quant_id="Q8_0", engine_id="fake"),
        workload=workload,
        prefill_tokens_per_s=band(predicted["prefill"]),
        decode_tokens_per_s=band(predicted["decode"]),
        first_token_s=band(predicted["first"]),
        load_s=band(predicted["load"]),
        memory=MemoryPlan(total_bytes=total_bytes, fits=True, devices=(device,)),
    )
    return Candidate(estimate=estimate, model=model, artifact=artifact, local_path=local_path)


def setting_of(tmp_path: Path, engine: FakeEngine, **changes: Any) -> Setting:
    """How it is validated: on the pretended engine's own clock."""
    return Setting(engine=engine, scratch_root=tmp_path / "scratch", clock=engine.clock, **changes)
