"""Which ggml type each tensor gets: llama.cpp's mixing rules, uploaders' variations, awkward widths."""

import random
from collections import Counter

import pytest
from tiny_models import largest_by_architecture

from catalog.errors import CatalogError
from catalog.ggml_types import TYPES
from catalog.load import load_catalog
from catalog.mixes import DEFAULT_TYPES
from catalog.recipes import category_of, recipe_of, tensor_types
from catalog.tensors import list_tensors


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return load_catalog(tmp_path_factory.mktemp("overlay"))


def types_of(model, quant_id, **options):
    tensors = list_tensors(model)
    chosen = tensor_types(model, tensors, quant_id, **options)
    return {tensor.name: name for tensor, name in zip(tensors, chosen, strict=True)}


# As llama.cpp prints on loading the published files.
@pytest.mark.parametrize(
    ("model_id", "quant_id", "counts"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Q4_K_M", {"F32": 66, "Q4_K": 193, "Q6_K": 33}),
        ("meta-llama/Llama-3.2-1B-Instruct", "Q4_K_M", {"F32": 34, "Q4_K": 96, "Q6_K": 17}),
        ("meta-llama/Llama-3.2-3B-Instruct", "Q4_K_M", {"F32": 58, "Q4_K": 168, "Q6_K": 29}),
        ("meta-llama/Llama-3.3-70B-Instruct", "Q4_K_M", {"F32": 162, "Q4_K": 441, "Q5_K": 40, "Q6_K": 81}),
        ("Qwen/Qwen2.5-7B-Instruct", "Q4_K_M", {"F32": 141, "Q4_K": 169, "Q6_K": 29}),
        ("Qwen/Qwen2.5-0.5B-Instruct", "Q4_K_M", {"F32": 121, "Q5_0": 132, "Q8_0": 13, "Q4_K": 12, "Q6_K": 12}),
        ("Qwen/Qwen3-8B", "Q4_K_M", {"F32": 145, "Q4_K": 217, "Q6_K": 37}),
        ("Qwen/Qwen3-30B-A3B", "Q4_K_M", {"F32": 241, "Q4_K": 289, "Q6_K": 49}),
        ("google/gemma-2-2b-it", "Q4_K_M", {"F32": 105, "Q4_K": 156, "Q6_K": 27}),
        (
            "google/gemma-4-26B-A4B-it",
            "Q4_K_M",
            {"F32": 392, "Q4_K": 192, "Q5_0": 32, "Q6_K": 14, "Q8_0": 28},
        ),
        ("openai/gpt-oss-20b", "MXFP4_MOE", {"F32": 289, "MXFP4": 72, "Q8_0": 98}),
        ("deepseek-ai/DeepSeek-V3-0324", "F16", {"F32": 361, "F16": 725}),
    ],
)
def test_a_published_files_types_are_met(catalog, model_id, quant_id, counts):
    assert Counter(types_of(catalog.model(model_id), quant_id).values()) == counts


def test_a_quarter_of_the_layers_between_get_more_bits(catalog):
    types = types_of(catalog.model("meta-llama/Llama-3.1-8B-Instruct"), "Q4_K_M")
    lifted = [layer for layer in range(32) if types[f"blk.{layer}.ffn_down.weight"] == "Q6_K"]
    assert lifted == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
    assert lifted == [layer for layer in range(32) if types[f"blk.{layer}.attn_v.weight"] == "Q6_K"]
    assert {types[f"blk.{layer}.ffn_up.weight"] for layer in range(32)} == {"Q4_K"}
    assert types["output.weight"] == "Q6_K"
    assert types["token_embd.weight"] == "Q4_K"


def test_a_model_of_eight_experts_keeps_its_few_attention_weights_well(catalog):
    types = types_of(catalog.model("mistralai/Mixtral-8x7B-Instruct-v0.1"), "Q4_K_M")
    assert types["blk.5.attn_k.weight"] == types["blk.5.attn_v.weight"] == "Q8_0"
    assert types["blk.5.attn_output.weight"] == "Q5_K"
    assert types["blk.5.ffn_gate_exps.weight"] == "Q4_K"
    assert types["blk.5.ffn_gate_inp.weight"] == "F32"


def test_experts_are_lifted_by_the_number_of_their_layer(catalog):
    types = types_of(catalog.model("Qwen/Qwen3-30B-A3B"), "Q4_K_M")
    lifted = [layer for layer in range(48) if types[f"blk.{layer}.ffn_down_exps.weight"] == "Q6_K"]
    assert lifted[:8] == [0, 1, 2, 3, 4, 5, 8, 11]
    assert lifted[-6:] == [42, 43, 44, 45, 46, 47]


def test_a_70b_models_values_get_more_bits(catalog):
    model = catalog.model("meta-llama/Llama-3.3-70B-Instruct")
    assert {types_of(model, "Q3_K_M")[f"blk.{layer}.attn_v.weight"] for layer in (2, 40, 79)} == {"Q5_K"}
    assert types_of(model, "IQ2_XXS")["blk.40.attn_v.weight"] == "Q4_K"
    assert types_of(catalog.model("Qwen/Qwen2.5-72B-Instruct"), "Q4_K_S")["blk.40.attn_v.weight"] == "Q5_K"


def test_an_importance_matrix_changes_the_mix(catalog):
    model = catalog.model("meta-llama/Llama-2-7b-hf")
    with_one, without = types_of(model, "IQ3_XXS"), types_of(model, "IQ3_XXS", imatrix=False)
    assert with_one["blk.9.ffn_down.weight"] == "IQ3_XXS"
    assert without["blk.9.ffn_down.weight"] == "Q3_K"
    assert types_of(model, "Q4_0")["blk.0.ffn_down.weight"] == "Q4_1"
    assert types_of(model, "Q4_0", imatrix=False)["blk.0.ffn_down.weight"] == "Q4_0"


@pytest.mark.parametrize(
    ("quant_id", "fitting"),
    [
        ("Q2_K", "Q4_0"),
        ("Q3_K_S", "Q4_0"),
        ("Q4_K_S", "Q5_0"),
        ("Q5_K_S", "Q5_1"),
        ("Q6_K", "Q8_0"),
        ("IQ2_XXS", "IQ4_NL"),
        ("IQ3_S", "IQ4_NL"),
        ("IQ4_XS", "IQ4_NL"),
        ("TQ2_0", "Q4_0"),
    ],
)
def test_rows_that_are_no_whole_blocks_fall_back(catalog, quant_id, fitting):
    model = catalog.model("Qwen/Qwen2.5-0.5B-Instruct")  # 896 wide: 3.5 blocks of 256
    assert types_of(model, quant_id)["blk.9.attn_q.weight"] == fitting


def test_every_row_is_whole_blocks_of_its_type(catalog):
    for model in largest_by_architecture(catalog).values():
        tensors = list_tensors(model)
        for quant_id in ("Q2_K", "IQ2_M", "IQ4_XS", "Q4_K_M", "Q5_0", "TQ1_0", "MXFP4_MOE", "Q2_0"):
            for tensor, name in zip(tensors, tensor_types(model, tensors, quant_id), strict=True):
                assert tensor.shape[0] % TYPES[name].block_weights_count == 0, (model.model_id, tensor.name)


def test_small_tensors_are_left_in_full_precision(catalog):
    types = types_of(catalog.model("Qwen/Qwen3-Next-80B-A3B-Instruct"), "Q2_K")
    small = ("_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d.weight", "ssm_a", "ssm_dt.bias")
    assert {name for tensor, name in types.items() if tensor.endswith(small)} == {"F32"}


def test_gpt_oss_keeps_its_experts_as_they_were_trained(catalog):
    model = catalog.model("openai/gpt-oss-20b")
    for quant_id in ("Q4_K_M", "Q8_0", "F16"):
        assert types_of(model, quant_id)["blk.3.ffn_up_exps.weight"] == "MXFP4"
    assert types_of(model, "Q4_K_M")["blk.3.attn_q.weight"] == "Q5_0"  # 2880 wide


def test_mxfp4_is_for_experts_alone(catalog):
    types = types_of(catalog.model("Qwen/Qwen3-30B-A3B"), "MXFP4_MOE")
    assert types["blk.3.ffn_up_exps.weight"] == "MXFP4"
    assert types["blk.3.attn_q.weight"] == types["token_embd.weight"] == types["output.weight"] == "Q8_0"


def test_tied_embeddings_follow_the_outputs_rules(catalog):
    tied, untied = catalog.model("google/gemma-2-2b-it"), catalog.model("Qwen/Qwen3-8B")
    assert types_of(tied, "IQ2_M")["token_embd.weight"] == "Q5_K"
    assert types_of(untied, "IQ2_M")["token_embd.weight"] == "IQ3_S"
    assert types_of(untied, "IQ2_M")["output.weight"] == "Q5_K"


@pytest.mark.parametrize("quant_id", ["Q4_K_L", "Q6_K_L", "Q3_K_XL", "Q2_K_L"])
def test_large_variations_keep_the_edges_in_8_bits(catalog, quant_id):
    types = types_of(catalog.model("Qwen/Qwen3-8B"), quant_id)
    assert types["output.weight"] == types["token_embd.weight"] == "Q8_0"
    assert recipe_of(quant_id).exact


def test_hand_made_mixes_are_approximations(catalog):
    assert not recipe_of("UD-Q4_K_XL").exact
    types = types_of(catalog.model("Qwen/Qwen3-8B"), "UD-Q8_K_XL")
    assert types["output.weight"] == "BF16"
    assert types["blk.20.ffn_up.weight"] == "Q8_0"


@pytest.mark.parametrize(
    ("name", "same"), [("q4_k_m", "Q4_K_M"), ("i1-IQ3_M", "IQ3_M"), ("Q4_K", "Q4_K_M"), ("FP16", "F16")]
)
def test_other_spellings_of_a_file_type(name, same):
    assert recipe_of(name) == recipe_of(same)


@pytest.mark.parametrize("name", ["", "Q4_K_XXL", "UD-", "AWQ-4bit", "UD-Q4_K_L", "Q9_K"])
def test_a_name_that_is_no_file_type_is_refused(name):
    with pytest.raises(CatalogError, match="no GGUF quantisation"):
        recipe_of(name)


def test_the_order_of_the_tensors_does_not_matter(catalog):
    model = catalog.model("Qwen/Qwen3-30B-A3B")
    tensors = list(list_tensors(model))
    random.Random(3).shuffle(tensors)
    for quant_id in DEFAULT_TYPES:
        shuffled = tensor_types(model, tensors, quant_id)
        assert {t.name: n for t, n in zip(tensors, shuffled, strict=True)} == types_of(model, quant_id), quant_id


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("output.weight", "output"),
        ("token_embd.weight", "token_embd"),
        ("per_layer_token_embd.weight", "token_embd"),
        ("blk.3.attn_qkv.weight", "attn_v"),
        ("blk.3.attn_kv_b.weight", "attn_v"),
        ("blk.3.attn_v_b.weight", "other"),
        ("blk.3.ffn_down_shexp.weight", "ffn_down"),
        ("blk.3.ffn_gate_up_exps.weight", "ffn_gate"),
        ("blk.3.ssm_in.weight", "other"),
    ],
)
def test_a_tensors_category(name, category):
    assert category_of(name) == category
