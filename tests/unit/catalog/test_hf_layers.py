"""Each architecture's own way of saying which layers attend, slide, remember a state or have experts."""

import pytest

from catalog.hf_config import Config
from catalog.hf_layers import ffns_of, mixers_of


def config(**values):
    return Config(values, values)


@pytest.mark.parametrize(
    ("architecture", "values", "mixers"),
    [
        ("mamba", {}, "mmmm"),
        ("falcon-h1", {}, "BBBB"),
        ("jamba", {"attn_layer_period": 4, "attn_layer_offset": 2}, "mmAm"),
        ("nemotron_h", {"hybrid_override_pattern": "M-*E"}, "M-A-"),
        ("nemotron_h", {"layers_block_type": ["mamba", "mlp", "attention", "moe"]}, "M-A-"),
        ("qwen3next", {}, "GGGA"),
        ("qwen35", {"full_attention_interval": 2}, "GAGA"),
        ("qwen35", {"layer_types": ["linear_attention", "full_attention"] * 2}, "GAGA"),
        ("lfm2", {"full_attn_idxs": [1, 3]}, "CACA"),
        ("lfm2", {"layer_types": ["conv", "full_attention", "conv", "conv"]}, "CACC"),
        ("kimi-linear", {"linear_attn_config": {"full_attn_layers": [4]}}, "KKKA"),
        ("kimi-linear", {"linear_attn_config": {"full_attn_layers": [4]}, "kv_lora_rank": 512}, "KKKL"),
        ("bailingmoe3", {"layer_group_size": 4}, "KKKA"),
        ("minimax-01", {"attn_type_list": [0, 0, 0, 1]}, "TTTA"),
        ("mimo2", {"hybrid_layer_pattern": [0, 1, 1, 0]}, "ASSA"),
        ("deci", {"block_configs": [{"attention": {"no_op": True}}, {"attention": {}}, {}, None]}, "-AAA"),
        ("granitehybrid", {"layer_types": ["mamba", "mamba", "attention", "mamba"]}, "MMAM"),
        ("deepseek2", {"kv_lora_rank": 512}, "LLLL"),
        ("gemma3", {"sliding_window": 1024, "sliding_window_pattern": 2}, "SASA"),
        ("llama", {"layer_types": ["sliding_attention"] * 4, "sliding_window": 4096}, "AAAA"),
    ],
)
def test_mixers_are_read_as_the_architecture_states_them(architecture, values, mixers):
    assert "".join(mixers_of(config(**values), architecture, 4)) == mixers


@pytest.mark.parametrize(
    ("architecture", "values"),
    [
        ("nemotron_h", {"hybrid_override_pattern": "M-"}),
        ("kimi-linear", {"linear_attn_config": 3}),
        ("lfm2", {"full_attn_idxs": "1, 3"}),
        ("bailingmoe3", {"layer_group_size": 0}),
        ("minimax-01", {"attn_type_list": [1]}),
        ("mimo2", {"hybrid_layer_pattern": None}),
        ("deci", {"block_configs": []}),
        ("llama", {"layer_types": [3, None, {}, "full_attention"]}),
    ],
)
def test_a_pattern_that_makes_no_sense_is_taken_for_plain_attention(architecture, values):
    assert "".join(mixers_of(config(**values), architecture, 4)) == "AAAA"


@pytest.mark.parametrize(
    ("architecture", "values", "ffns"),
    [
        ("mamba2", {}, "----"),
        ("nemotron_h", {"hybrid_override_pattern": "M-*E"}, "-d-e"),
        ("gemma4", {}, "xxxx"),
        ("deepseek2", {"first_k_dense_replace": 1}, "deee"),
        ("ernie4_5-moe", {"moe_layer_start_index": 1, "moe_layer_end_index": 2}, "deed"),
        ("qwen2moe", {"decoder_sparse_step": 2}, "dede"),
        ("qwen2moe", {"mlp_only_layers": [0]}, "deee"),
        ("llama4", {"moe_layers": [1, 3]}, "dede"),
        ("step35", {"moe_layers_enum": "2, 3"}, "ddee"),
        ("jamba", {"expert_layer_period": 2, "expert_layer_offset": 1}, "dede"),
        ("mimo2", {"moe_layer_freq": [0, 1, 1, 1]}, "deee"),
        ("glm4moe", {"mlp_layer_types": ["dense", "sparse", "sparse", "sparse"]}, "deee"),
    ],
)
def test_layers_with_experts_are_read_as_stated(architecture, values, ffns):
    assert "".join(ffns_of(config(**values), architecture, 4, expert_count=8)) == ffns


def test_without_experts_every_feed_forward_is_dense():
    assert "".join(ffns_of(config(moe_layers=[1]), "llama4", 4, expert_count=0)) == "dddd"
