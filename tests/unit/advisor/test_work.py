from dataclasses import replace

import pytest

from advisor.attention import busiest_depth_tokens
from advisor.calibration.experiments import Timing, experiments, work_of
from advisor.operations import operations_count, values_count
from advisor.shares import Share
from advisor.weight_work import experts_touched_frac
from advisor.work import decode_work, prefill_work
from catalog.types import Role
from catalog.weights import weigh


def model_and_weights(catalog, model_id="Qwen/Qwen3-8B", quant_id="Q4_K_M"):
    model = catalog.models[model_id]
    return model, weigh(model, quant_id)


def test_a_decoded_token_reads_everything_but_the_embedding_once(catalog):
    model, artifact = model_and_weights(catalog)
    work = decode_work(artifact, model.geometry, depth_tokens=0)
    read = sum(group.weight_bytes for group in artifact.groups if group.role not in (Role.EMBEDDING, Role.TOWER))
    assert work.weight_bytes == pytest.approx(read)
    assert work.weight_flop == pytest.approx(2 * model.params_active_count, rel=0.1)


def test_a_dense_prompt_costs_two_flop_per_weight_and_token_but_for_the_last_layer_and_logits(catalog):
    model, artifact = model_and_weights(catalog)
    layers = sum(group.params_count for group in artifact.groups if group.role in (Role.ATTENTION, Role.FFN, Role.NORM))
    last_ffn = sum(group.params_count for group in artifact.groups if group.role == Role.FFN) / 36
    work = prefill_work(artifact, model.geometry, prompt_tokens=512)
    expected = 2 * 512 * (layers - last_ffn)
    assert work.weight_flop == pytest.approx(expected, rel=0.01)


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


def test_the_cache_is_read_in_proportion_to_depth_within_the_window(catalog):
    model, artifact = model_and_weights(catalog)
    near = decode_work(artifact, model.geometry, depth_tokens=1000).kv_bytes
    far = decode_work(artifact, model.geometry, depth_tokens=2000).kv_bytes
    assert far == pytest.approx(2 * near) == pytest.approx(2 * 1000 * 36 * 2 * 8 * 128 * 2)
    gemma, weights = model_and_weights(catalog, "google/gemma-3-12b-it", "Q4_0")
    short = decode_work(weights, gemma.geometry, depth_tokens=1024).kv_bytes
    long = decode_work(weights, gemma.geometry, depth_tokens=10240).kv_bytes
    assert long < 4 * short  # five of six layers see only the last 1024 tokens


def test_shares_of_two_devices_add_up_to_the_whole(catalog):
    model, artifact = model_and_weights(catalog)
    whole = decode_work(artifact, model.geometry, depth_tokens=512)
    parts = [
        decode_work(
            artifact, model.geometry, depth_tokens=512, share=Share(layers_frac=0.25, experts_frac=0.25, output=False)
        ),
        decode_work(artifact, model.geometry, depth_tokens=512, share=Share(layers_frac=0.75, experts_frac=0.75)),
    ]
    assert sum(part.weight_bytes for part in parts) == pytest.approx(whole.weight_bytes)
    assert sum(part.kv_bytes for part in parts) == pytest.approx(whole.kv_bytes)
    assert sum(part.operations_count for part in parts) == pytest.approx(whole.operations_count)


def test_threads_share_attention_in_padded_chunks():
    assert busiest_depth_tokens(100, 2) == 100  # one chunk: heads are shared instead
    assert busiest_depth_tokens(266, 2) == 512  # 512 cells, the first 256 on one thread
    assert busiest_depth_tokens(2047, 2) == 2047 + 1 or busiest_depth_tokens(2047, 2) == 2048
    assert busiest_depth_tokens(266, None) == 266


def test_more_kinds_of_work_mean_more_operations(catalog):
    geometry = catalog.models["Qwen/Qwen3-8B"].geometry
    assert operations_count(geometry) > operations_count(replace(geometry, qk_norm=None))
    assert operations_count(geometry) == 36 * operations_count(replace(geometry, mixers="A", ffns="d"))


def test_without_geometry_only_weights_count(catalog):
    _, artifact = model_and_weights(catalog)
    work = decode_work(artifact, None, depth_tokens=4096)
    assert work.weight_bytes > 0
    assert work.kv_bytes == work.layers_count == work.operations_count == 0


def test_the_last_layer_of_a_mixture_wakes_experts_for_outputs_only():
    """Of two layers, one is worked through by a whole prompt; the other only by the token whose logits are wanted."""
    experiment = next(item for item in experiments() if item.experiment_id == "experts.Q4_K")
    prompt = Timing(phase="prefill", tokens_count=512)
    experts = next(weight for weight in work_of(experiment, prompt).weights if weight.role == Role.EXPERT)
    geometry = experiment.model.geometry
    used = geometry.expert_used_count / geometry.expert_count
    assert experts.bytes == pytest.approx(experts.held_bytes * (1.0 + used) / 2.0, rel=1e-3)
    decode = next(weight for weight in work_of(experiment, experiment.timings[0]).weights if weight.role == Role.EXPERT)
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


def test_values_are_counted_each_time_an_operation_takes_them_in(catalog):
    """Llama 3.2 1B: per layer two norms, three products and an addition, two products and an addition of 2,048 values;
    32 heads of 64 rotated and projected; 8,192 activated and multiplied."""
    geometry = catalog.models["meta-llama/Llama-3.2-1B-Instruct"].geometry
    assert values_count(geometry) == 16 * (9 * 2048 + 2 * 32 * 64 + 2 * 8192)
    assert values_count(geometry, gelu=True) > values_count(geometry)
    assert values_count(replace(geometry, qk_norm="head")) == values_count(geometry) + 16 * 32 * 64


def test_values_of_routed_experts_are_left_to_their_own_prices(catalog):
    geometry = catalog.models["Qwen/Qwen3-30B-A3B-Instruct-2507"].geometry
    assert values_count(geometry) == values_count(replace(geometry, expert_used_count=64))
    shared = replace(geometry, shared_expert_count=1, shared_expert_ffn_dim=1024)
    assert values_count(shared) == values_count(geometry) + 48 * (geometry.hidden_dim + 2 * 1024)
