"""Which weights a step sweeps: all of a device's, but for sleeping experts and what only outputs pass."""

import pytest

from advisor.calibration.experiment import Timing, mixture_geometry, twin_experiment, work_of
from advisor.weight_work import experts_touched_frac
from advisor.work import decode_work, prefill_work
from catalog.types import Role
from catalog.weights import weigh


def model_and_weights(catalog, model_id="Qwen/Qwen3-8B", quant_id="Q4_K_M"):
    model = catalog.models[model_id]
    return model, weigh(model, quant_id)


def test_routed_experts_are_read_in_the_share_that_is_used(catalog):
    model, artifact = model_and_weights(catalog, "Qwen/Qwen3-30B-A3B-Instruct-2507")
    experts = sum(group.weight_bytes for group in artifact.groups if group.role == Role.EXPERT)
    work = decode_work(artifact, model.geometry, depth_tokens=0)
    read = sum(weight.bytes for weight in work.weights if weight.role == Role.EXPERT)
    assert read == pytest.approx(experts * 8 / 128)
    batch = decode_work(artifact, model.geometry, depth_tokens=0, batch_count=32)
    assert read * 10 < sum(weight.bytes for weight in batch.weights if weight.role == Role.EXPERT) < experts


def test_experts_touched_grows_towards_all(catalog):
    geometry = catalog.models["Qwen/Qwen3-30B-A3B-Instruct-2507"].geometry
    assert experts_touched_frac(geometry, 1) == pytest.approx(8 / 128)
    assert experts_touched_frac(geometry, 512) > 0.999


def test_the_last_layer_of_a_mixture_wakes_experts_for_outputs_only():
    """Of two layers, one is worked through by a whole prompt; the other only by the token whose logits are wanted."""
    experiment = twin_experiment("experts", mixture_geometry(2, 2048, 1280, 16, 4), "Q4_K", architecture="qwen3moe")
    prompt, token = Timing(phase="prefill", tokens_count=512), Timing(phase="decode", tokens_count=12)
    experts = next(weight for weight in work_of(experiment, prompt).weights if weight.role == Role.EXPERT)
    geometry = experiment.model.geometry
    used = geometry.expert_used_count / geometry.expert_count
    assert experts.bytes == pytest.approx(experts.held_bytes * (1.0 + used) / 2.0, rel=1e-3)
    decode = next(weight for weight in work_of(experiment, token).weights if weight.role == Role.EXPERT)
    assert decode.bytes == pytest.approx(decode.held_bytes * used)
    assert experts.dots_count == pytest.approx(decode.dots_count / 2.0, rel=0.01)


def test_a_prompt_passes_the_last_feed_forward_whole_where_the_engine_does_so(catalog):
    model, artifact = model_and_weights(catalog, "openai/gpt-oss-20b", "MXFP4_MOE")
    cropped, whole = (
        sum(weight.flop for weight in work.weights if weight.role == Role.EXPERT)
        for work in (
            prefill_work(artifact, model.geometry, prompt_tokens=512, architecture=name) for name in (None, "gpt-oss")
        )
    )
    assert cropped / whole == pytest.approx((23 + 1 / 512) / 24)
