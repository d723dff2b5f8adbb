"""Unsloth's dynamic mixes against published tensor types and sizes."""

from collections import Counter

import pytest

from catalog.checks import mixes_of, size_agreement
from catalog.ggml_types import TYPES
from catalog.load import load_catalog
from catalog.publishers import DYNAMIC_LEVELS, dynamic_mix
from catalog.recipes import recipe_of, tensor_types
from catalog.tensors import list_tensors
from catalog.types import Role
from catalog.weights import weigh

GIB = 1024**3


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return load_catalog(tmp_path_factory.mktemp("overlay"))


def types_of(model, quant_id):
    tensors = [tensor for tensor in list_tensors(model) if tensor.role is not Role.TOWER]
    return dict(zip((tensor.name for tensor in tensors), tensor_types(model, tensors, quant_id), strict=True))


# As llama.cpp prints on loading the published files.
@pytest.mark.parametrize(
    ("model_id", "quant_id", "counts"),
    [
        ("MiniMaxAI/MiniMax-M2.7", "UD-IQ3_S", {"F32": 373, "Q6_K": 250, "IQ3_S": 62, "IQ2_S": 124}),
        # that upload keeps the 60 state gates in Q8_0, later ones in F32
        ("Qwen/Qwen3.5-35B-A3B", "UD-Q4_K_XL", {"F32": 361, "Q8_0": 252, "Q4_K": 78, "Q5_K": 41, "Q6_K": 1}),
    ],
)
def test_published_types_are_met(catalog, model_id, quant_id, counts):
    assert Counter(types_of(catalog.model(model_id), quant_id).values()) == counts


def test_a_dense_hybrid_keeps_its_token_mixers(catalog):
    """Qwen3.6-27B-Q4_K_M with its prediction block: 294 Q4_K, 67 Q6_K, 48 Q5_K, 456 F32 and 1 Q8_0 tensors."""
    model = catalog.model("Qwen/Qwen3.6-27B")
    tensors = list_tensors(model)
    counts = Counter(tensor_types(model, tensors, "UD-Q4_K_M"))
    assert counts == {"Q4_K": 294, "Q6_K": 67, "Q5_K": 48, "F32": 456, "Q8_0": 1}
    assert sum(group.weight_bytes for group in weigh(model, "UD-Q4_K_M").groups) == 17_095_778_304


# Sizes from engine logs and file listings that are not in the table of published sizes.
@pytest.mark.parametrize(
    ("model_id", "quant_id", "published_bytes", "with_predictions", "tolerance_frac"),
    [
        ("Qwen/Qwen3.5-35B-A3B", "UD-Q4_K_XL", 20.70 * GIB, False, 0.005),
        ("Qwen/Qwen3.6-27B", "UD-Q4_K_XL", 16.67 * GIB, True, 0.005),
        ("Qwen/Qwen3.5-27B", "UD-Q4_K_M", 16_740_812_160, False, 0.005),
        ("MiniMaxAI/MiniMax-M2.7", "UD-IQ3_S", 77.86 * GIB, False, 0.005),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", "UD-Q4_K_XL", 125.098 * GIB, False, 0.005),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "UD-Q4_K_XL", 14_548_880_928, False, 0.005),
        ("Qwen/Qwen3.5-4B", "UD-Q4_K_XL", 2_901_141_504, False, 0.015),
        ("ibm-granite/granite-4.1-8b", "UD-Q8_K_XL", 10.47 * GIB, False, 0.04),
    ],
)
def test_published_sizes_beyond_the_table_are_met(
    catalog, model_id, quant_id, published_bytes, with_predictions, tolerance_frac
):
    groups = weigh(catalog.model(model_id), quant_id).groups
    computed = sum(group.weight_bytes for group in groups if with_predictions or group.role is not Role.TOWER)
    assert computed == pytest.approx(published_bytes, rel=tolerance_frac)


def test_the_table_of_published_sizes_is_met_as_far_as_the_readme_says(catalog):
    agreement = size_agreement(catalog)
    assert agreement.within_frac() >= 0.95
    assert agreement.within_frac("vendor") >= 0.6
    assert agreement.within_frac("unnamed") >= 0.65
    assert all(abs(row.error_frac) < 0.04 for row in agreement.of_kind("vendor"))


def test_listing_and_weighing_agree_on_every_level(catalog):
    for model_id in (
        "Qwen/Qwen3.5-35B-A3B",
        "Qwen/Qwen3.6-27B",
        "Qwen/Qwen3-30B-A3B",
        "Qwen/Qwen3-8B",
        "zai-org/GLM-5",
    ):
        model = catalog.model(model_id)
        tensors = list_tensors(model)
        for level in DYNAMIC_LEVELS:
            types = tensor_types(model, tensors, f"UD-{level}")
            listed = sum(
                tensor.params_count // TYPES[name].block_weights_count * TYPES[name].block_bytes
                for tensor, name in zip(tensors, types, strict=True)
            )
            assert listed == sum(group.weight_bytes for group in weigh(model, f"UD-{level}").groups), (model_id, level)


@pytest.mark.parametrize("model_id", ["Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3.6-27B"])
def test_a_higher_level_is_a_larger_file(catalog, model_id):
    model = catalog.model(model_id)
    sizes = [weigh(model, f"UD-Q{bits}_K_XL").file_bytes for bits in (4, 5, 6, 8)]
    assert sizes == sorted(sizes)


def test_where_no_rule_is_known_the_nearest_mix_stands():
    assert dynamic_mix("IQ1_S", "qwen35moe", 256) is None
    assert dynamic_mix("Q4_K_XL", "qwen35moe", 256) != dynamic_mix("Q4_K_XL", "qwen3moe", 128)
    assert recipe_of("UD-IQ1_S").file_type == "IQ1_S"


def test_mixes_that_share_a_label():
    assert set(mixes_of("Q4_K_M")) == {"Q4_K_M", "Q4_K_L", "UD-Q4_K_M", "UD-Q4_K_XL"}
    assert mixes_of("Q4_0") == ("Q4_0",)
