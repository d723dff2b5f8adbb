"""Caches: sizes that engines logged, and the rules behind them."""

import pytest

from advisor.errors import BadRequestError
from advisor.memory.kv_cache import kv_cache_bytes, unusable_reason
from catalog.types import Geometry

MIB = 1024**2


def geometry(mixers, **changes):
    fields = {
        "mixers": mixers,
        "ffns": "d" * len(mixers),
        "hidden_dim": 4096,
        "vocab_count": 32000,
        "tied_embeddings": False,
        "head_count": 32,
        "kv_head_count": 8,
        "head_dim": 128,
        "ffn_dim": 14336,
    }
    return Geometry(**(fields | changes))


LLAMA_3_8B = geometry("A" * 32)
QWEN3_30B = geometry("A" * 48, kv_head_count=4)
QWEN3_235B = geometry("A" * 94, kv_head_count=4)
GLM_Z1_32B = geometry("A" * 61, kv_head_count=2)
DEEPSEEK_V3 = geometry("L" * 61, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128)


@pytest.mark.parametrize(
    ("shape", "architecture", "context_tokens", "kv_quant_id", "logged_mib"),
    [  # buffers that llama.cpp logged on other machines (catalog sources, published memory buffers)
        (LLAMA_3_8B, "llama", 512, "f16", 64.0),
        (LLAMA_3_8B, "llama", 8192, "f16", 1024.0),
        (QWEN3_30B, "qwen3moe", 4096, "f16", 384.0),
        (QWEN3_235B, "qwen3moe", 16384, "q8_0", 1598.0),
        (GLM_Z1_32B, "glm4", 32768, "f16", 1952.0),
        (GLM_Z1_32B, "glm4", 5120, "q8_0", 162.03),
        (DEEPSEEK_V3, "deepseek2", 32768, "f16", 2196.0),
        (DEEPSEEK_V3, "deepseek2", 16384, "q8_0", 583.31),
    ],
)
def test_a_cache_takes_what_engines_logged(shape, architecture, context_tokens, kv_quant_id, logged_mib):
    size = kv_cache_bytes(shape, architecture, context_tokens=context_tokens, kv_quant_id=kv_quant_id)
    assert size / MIB == pytest.approx(logged_mib, abs=0.01)


def test_the_context_is_padded_to_256_cells():
    sizes = {tokens: kv_cache_bytes(LLAMA_3_8B, "llama", context_tokens=tokens) for tokens in (1, 256, 257, 512)}
    assert sizes[1] == sizes[256]
    assert sizes[257] == sizes[512] == 2 * sizes[256]


def test_every_sequence_has_a_padded_cache_of_its_own():
    one = kv_cache_bytes(LLAMA_3_8B, "llama", context_tokens=300)
    assert kv_cache_bytes(LLAMA_3_8B, "llama", context_tokens=300, sequences_count=3) == 3 * one


def test_sliding_layers_keep_the_window_and_one_micro_batch():
    shape = geometry("SSSSSA", sliding_window_tokens=1024)
    per_cell = 2 * 8 * 128 * 2
    cells = 5 * (1024 + 512) + 32768
    assert kv_cache_bytes(shape, "gemma3", context_tokens=32768, ubatch_tokens=512) == cells * per_cell


def test_a_window_beyond_the_context_holds_the_context():
    shape = geometry("S", sliding_window_tokens=4096)
    assert kv_cache_bytes(shape, "gemma3", context_tokens=1000) == 1024 * 2 * 8 * 128 * 2


def test_keys_and_values_may_have_types_of_their_own():
    key, value = (
        kv_cache_bytes(LLAMA_3_8B, "llama", context_tokens=4096, kv_quant_id=quant_id) for quant_id in ("q8_0", "q4_0")
    )
    mixed = kv_cache_bytes(LLAMA_3_8B, "llama", context_tokens=4096, kv_quant_id="q8_0/q4_0")
    assert mixed == (key + value) / 2


def test_an_unknown_type_is_refused_with_those_that_are_known():
    with pytest.raises(BadRequestError, match=r"unknown KV cache type 'q7_x'; use one of .*q8_0"):
        kv_cache_bytes(LLAMA_3_8B, "llama", context_tokens=4096, kv_quant_id="q7_x")


def test_layers_that_share_a_cache_take_none():
    shared = geometry("A" * 8, kv_shared_layers_count=3)
    assert kv_cache_bytes(shared, "gemma3n", context_tokens=4096) == kv_cache_bytes(
        geometry("A" * 5), "gemma3n", context_tokens=4096
    )


def test_global_layers_may_have_wider_heads():
    shape = geometry("A", global_head_dim=256, global_kv_head_count=2)
    assert kv_cache_bytes(shape, "gemma4", context_tokens=256) == 256 * 2 * 2 * 256 * 2


def test_without_flash_attention_values_are_padded_to_the_widest_layer():
    shape = geometry("SA", sliding_window_tokens=256, swa_kv_head_count=8, global_kv_head_count=2)
    fused = kv_cache_bytes(shape, "mimo2", context_tokens=1024, ubatch_tokens=256)
    split = kv_cache_bytes(shape, "mimo2", context_tokens=1024, ubatch_tokens=256, flash_attention=False)
    assert split - fused == 1024 * (8 - 2) * 128 * 2


def test_a_recurrent_state_does_not_grow_with_context():
    shape = geometry(
        "GGG",
        linear_key_head_count=16,
        linear_value_head_count=32,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        conv_kernel_count=4,
    )
    inner = 32 * 128
    state = 3 * (inner + 2 * 16 * 128) + 128 * inner
    for context_tokens in (512, 65536):
        assert kv_cache_bytes(shape, "qwen3next", context_tokens=context_tokens) == 3 * 4 * state
    assert kv_cache_bytes(shape, "qwen3next", context_tokens=512, sequences_count=4) == 4 * 3 * 4 * state


def test_mamba_states_follow_their_widths():
    mamba2 = geometry("M", ssm_head_count=128, ssm_head_dim=64, ssm_state_dim=128, ssm_group_count=8)
    inner = 128 * 64
    assert kv_cache_bytes(mamba2, "nemotron_h", context_tokens=512) == 4 * (3 * (inner + 2 * 8 * 128) + 128 * inner)
    mamba1 = geometry("m", ssm_state_dim=16)
    assert kv_cache_bytes(mamba1, "jamba", context_tokens=512) == 4 * (3 + 16) * 2 * 4096


def test_attention_beside_mamba_has_both():
    fields = {"ssm_head_count": 24, "ssm_head_dim": 64, "ssm_state_dim": 128, "ssm_group_count": 1}
    both = kv_cache_bytes(geometry("B", **fields), "falcon-h1", context_tokens=512)
    parts = (kv_cache_bytes(geometry(letter, **fields), "falcon-h1", context_tokens=512) for letter in "AM")
    assert both == sum(parts)


def test_sparse_latent_attention_also_caches_its_indexers_keys():
    indexed = geometry("L" * 2, kv_lora_rank=512, qk_rope_head_dim=64, index_head_dim=128)
    plain = kv_cache_bytes(indexed, "deepseek2", context_tokens=4096)
    assert kv_cache_bytes(indexed, "deepseek32", context_tokens=4096) - plain == 2 * 4096 * 128 * 2


def test_glm_shares_indexers_from_a_million_tokens_on():
    shape = geometry("L" * 8, kv_lora_rank=512, qk_rope_head_dim=64, index_head_dim=128)
    own, shared = (
        kv_cache_bytes(shape, "glm-dsa", context_tokens=4096, max_context_tokens=limit) for limit in (202752, 1 << 20)
    )
    assert own - shared == 4 * 4096 * 128 * 2  # layers 3, 4, 5 and 7 use a neighbour's


def test_compressed_layers_keep_one_cell_per_4_or_128_tokens():
    shape = geometry("VV", head_dim=512, kv_head_count=1, sliding_window_tokens=128, compress_ratios=(4, 128))
    shape = geometry(
        "VV",
        head_dim=512,
        kv_head_count=1,
        sliding_window_tokens=128,
        compress_ratios=(4, 128),
        index_head_dim=128,
    )
    raw = 2 * 768 * 512 * 2  # window and micro-batch, padded, in both layers
    compressed = 8192 * (512 + 128) * 2 + 256 * 512 * 2
    states = 4 * (2 * 8 * (2 * 512 + 2 * 128) + 2 * 128 * 512)
    assert kv_cache_bytes(shape, "deepseek4", context_tokens=32768) == raw + compressed + states


def test_vllm_allocates_blocks_of_16_tokens():
    size = kv_cache_bytes(LLAMA_3_8B, "llama", context_tokens=1000, engine_id="vllm")
    assert size == 1008 * 32 * 2 * 8 * 128 * 2


def test_mlx_keeps_the_window_and_the_rest_of_a_prompts_step():
    """``RotatingKVCache`` (mlx-lm 0.32): every token of a step sees a whole window."""
    shape = geometry("S", sliding_window_tokens=1024)
    cell = 2 * 8 * 128 * 2
    sizes = [
        kv_cache_bytes(shape, "gemma3", context_tokens=tokens, engine_id="mlx", ubatch_tokens=512)
        for tokens in (512, 32768)
    ]
    assert sizes == [512 * cell, (1024 + 512 - 1) * cell]


@pytest.mark.parametrize(
    ("shape", "kv_quant_id", "flash_attention", "reason"),
    [
        (LLAMA_3_8B, "f16", False, None),
        (LLAMA_3_8B, "q8_0", True, None),
        (LLAMA_3_8B, "q8_0", False, "flash attention"),
        (geometry("A", head_dim=80), "q8_0", True, "heads of 80"),
        (DEEPSEEK_V3, "q8_0/f16", True, "one type"),
        (DEEPSEEK_V3, "q8_0", True, None),
    ],
)
def test_what_the_engine_would_refuse_is_known_beforehand(shape, kv_quant_id, flash_attention, reason):
    found = unusable_reason(shape, kv_quant_id, flash_attention)
    assert (found is None) if reason is None else (reason in found)


def test_encoders_keep_no_cache_except_the_one_that_does():
    shape = geometry("A" * 4)
    assert kv_cache_bytes(shape, "modern-bert", context_tokens=512) == 0
    assert (
        kv_cache_bytes(shape, "llama-embed", context_tokens=512)
        == kv_cache_bytes(shape, "llama", context_tokens=512)
        > 0
    )
