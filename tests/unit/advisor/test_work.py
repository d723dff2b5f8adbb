"""What a token and a prompt move and multiply."""

import pytest

from advisor.attention import busiest_depth_tokens
from advisor.operations import values_count
from advisor.shares import Share
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
    assert busiest_depth_tokens(2047, 2) == 2048
    assert busiest_depth_tokens(266, None) == 266


def test_without_geometry_only_weights_count(catalog):
    _, artifact = model_and_weights(catalog)
    work = decode_work(artifact, None, depth_tokens=4096)
    assert work.weight_bytes > 0
    assert work.kv_bytes == work.layers_count == work.operations_count == 0


def test_values_of_the_last_feed_forward_are_those_of_the_last_token_alone(catalog):
    model, artifact = model_and_weights(catalog, "meta-llama/Llama-3.2-1B-Instruct", "Q4_K_M")
    per_token = values_count(model.geometry)
    last = 4 * 2048 + 2 * 8192  # a norm, two products and an addition; activated and multiplied
    work = prefill_work(artifact, model.geometry, prompt_tokens=512, architecture="llama")
    assert work.values_count == 512 * (per_token - last) + last
    whole = prefill_work(artifact, model.geometry, prompt_tokens=512, architecture="gpt-oss")
    assert whole.values_count == 512 * per_token
