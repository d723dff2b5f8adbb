"""Hugging Face configurations: shapes of the families' dialects, and clear errors where they state none."""

import json

import pytest

from catalog.errors import CatalogError
from catalog.hf import read_config
from catalog.load import load_catalog
from catalog.tensors import list_tensors

QWEN3 = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
}
LLAMA31 = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
}
GEMMA3_4B = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "intermediate_size": 10240,
        "vocab_size": 262208,
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
    },
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
}
QWEN3_30B = QWEN3 | {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "num_nextn_predict_layers": 1,
    "tie_word_embeddings": False,
}
GPT_OSS_20B = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 2880,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "vocab_size": 201088,
    "sliding_window": 128,
    "attention_bias": True,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}
QWEN3_NEXT = {
    "model_type": "qwen3_next",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "intermediate_size": 5120,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "vocab_size": 151936,
    "max_position_embeddings": 262144,
    "tie_word_embeddings": False,
}
NEMOTRON_H = {
    "model_type": "nemotron_h",
    "hidden_size": 4480,
    "num_hidden_layers": 56,
    "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 15680,
    "mamba_num_heads": 128,
    "mamba_head_dim": 80,
    "ssm_state_size": 128,
    "n_groups": 8,
    "conv_kernel": 4,
    "vocab_size": 131072,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return load_catalog(tmp_path_factory.mktemp("overlay"))


@pytest.mark.parametrize(
    ("config", "model_id"),
    [
        (QWEN3, "Qwen/Qwen3-8B"),
        (LLAMA31, "meta-llama/Llama-3.1-8B-Instruct"),
        (GEMMA3_4B, "google/gemma-3-4b-it"),
        (QWEN3_30B, "Qwen/Qwen3-30B-A3B"),
        (DEEPSEEK_V3, "deepseek-ai/DeepSeek-V3-0324"),
        (GPT_OSS_20B, "openai/gpt-oss-20b"),
        (QWEN3_NEXT, "Qwen/Qwen3-Next-80B-A3B-Instruct"),
        (NEMOTRON_H, "nvidia/NVIDIA-Nemotron-Nano-9B-v2"),
    ],
)
def test_a_configuration_gives_the_catalogs_tensors_caches_and_count(catalog, config, model_id):
    known, read = catalog.model(model_id), read_config(config, model_id=model_id)
    assert read.architecture == known.architecture
    assert read.params_total_count == pytest.approx(known.params_total_count, rel=1e-3)
    ours = {
        t.name: t.shape for t in list_tensors(read) if "nextn" not in t.name and t.layer != known.geometry.layers_count
    }
    theirs = {
        t.name: t.shape for t in list_tensors(known) if "nextn" not in t.name and t.layer != known.geometry.layers_count
    }
    ours["token_embd.weight"] = theirs["token_embd.weight"]  # vocabularies are padded differently
    assert ours == theirs
    for field in ("kv_full_elements_count", "kv_sliding_elements_count", "recurrent_state_elements_count"):
        assert getattr(read.geometry, field) == getattr(known.geometry, field), field


def test_the_active_parameters_are_those_a_token_multiplies():
    read = read_config(QWEN3_30B)
    assert read.params_active_count == pytest.approx(3.3e9, rel=0.1)
    assert read_config(QWEN3).params_active_count == read_config(QWEN3).params_total_count


@pytest.mark.parametrize("nested", ["text_config", "llm_config", "language_config"])
def test_a_language_model_within_a_larger_one_is_found(nested):
    read = read_config({"model_type": "acme_vl", nested: QWEN3, "vision_config": {"depth": 3}})
    assert read.architecture == "qwen3"
    assert read.geometry == read_config(QWEN3).geometry
    assert "vision" in read.modalities


def test_layers_by_their_types():
    types = (["sliding_attention"] * 5 + ["full_attention"]) * 2
    inner = GEMMA3_4B["text_config"] | {"num_hidden_layers": 12, "layer_types": types}
    assert read_config(inner).geometry.mixers == "SSSSSA" * 2


def test_a_window_that_is_not_used_does_not_slide():
    qwen2 = QWEN3 | {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}
    assert set(read_config(qwen2).geometry.mixers) == {"A"}


@pytest.mark.parametrize(
    ("changes", "ffns"),
    [
        ({}, "e" * 48),
        ({"first_k_dense_replace": 2}, "dd" + "e" * 46),
        ({"mlp_only_layers": [0, 47]}, "d" + "e" * 46 + "d"),
        ({"decoder_sparse_step": 2}, "de" * 24),
        ({"moe_layer_freq": [0] + [1] * 47}, "d" + "e" * 47),
        ({"mlp_layer_types": ["dense"] + ["sparse"] * 47}, "d" + "e" * 47),
    ],
)
def test_which_layers_have_experts(changes, ffns):
    assert read_config(QWEN3_30B | changes).geometry.ffns == ffns


def test_prediction_blocks_are_counted_apart():
    assert read_config(DEEPSEEK_V3).geometry.mtp_layers_count == 1


def test_an_unknown_model_type_is_taken_for_a_decoder_and_says_so():
    read = read_config(QWEN3 | {"model_type": "qwen9"}, model_id="acme/Qwen9-8B")
    assert read.architecture is None
    assert "qwen9" in read.geometry_note
    assert read.params_total_count == pytest.approx(8.19e9, rel=0.01)
    assert (read.org, read.display_name) == ("acme", "Qwen9-8B")


def test_a_file_a_folder_and_an_object_are_read_alike(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    assert read_config(tmp_path) == read_config(tmp_path / "config.json") == read_config(QWEN3)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "num_hidden_layers is missing"),
        (QWEN3 | {"hidden_size": None}, "hidden_size is missing"),
        (QWEN3 | {"vocab_size": "many"}, "vocab_size is missing"),
        (QWEN3 | {"intermediate_size": 0}, "intermediate_size is missing"),
        (QWEN3 | {"num_attention_heads": 0}, "num_attention_heads is missing"),
        (QWEN3 | {"num_hidden_layers": 10**7}, "layers are not read"),
        (QWEN3 | {"hidden_size": -5}, "hidden_size is missing"),
        ({"model_type": "t5", "d_model": 512}, "num_hidden_layers is missing"),
        (DEEPSEEK_V3 | {"num_nextn_predict_layers": 1 << 40}, "blocks are not read"),
        (NEMOTRON_H | {"hybrid_override_pattern": "M-M"}, "what each layer is"),
    ],
)
def test_a_configuration_without_a_shape_is_one_line(config, problem):
    with pytest.raises(CatalogError, match=problem) as caught:
        read_config(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b'{"a":' * 100_000, b"9" * 10_000])
def test_a_file_that_is_no_configuration_is_one_line(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"config\.json: not "):
        read_config(path)


def test_a_missing_or_huge_file_is_one_line(tmp_path):
    with pytest.raises(CatalogError, match="check the path"):
        read_config(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(CatalogError, match="larger than 8 MiB"):
        read_config(huge)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("odd.json", '{"kind": "profile"}', "num_hidden_layers is missing"),
        ("odd.json", "[1", "not JSON"),
        ("config.json", "null", "not a JSON object"),
    ],
)
def test_a_file_that_is_no_configuration_is_named_with_its_folder(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(CatalogError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    with pytest.raises(CatalogError, match="no_such"):
        read_config(tmp_path / "no_such")
