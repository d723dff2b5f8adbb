"""Bytes of weights: sums over tensors, by role and layer, on disk, and in formats other than GGUF."""

from dataclasses import replace

import pytest
from tiny_models import largest_by_architecture, tiny_models

from catalog.checks import parameter_agreement, size_agreement, summarise
from catalog.errors import CatalogError
from catalog.formats import SCHEMES
from catalog.ggml_types import TYPES, tensor_bytes
from catalog.load import load_catalog
from catalog.mixes import DEFAULT_TYPES
from catalog.recipes import tensor_types
from catalog.tensors import list_tensors
from catalog.types import FileFormat, Role
from catalog.weights import typical_bits, weigh


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return load_catalog(tmp_path_factory.mktemp("overlay"))


def bytes_of(artifact, *roles):
    return sum(group.weight_bytes for group in artifact.groups if not roles or group.role in roles)


def used_bytes(artifact):
    return sum(group.weight_bytes * group.used_frac for group in artifact.groups)


def test_weighing_is_the_sum_over_the_tensors(catalog):
    models = [*largest_by_architecture(catalog).values(), *tiny_models(catalog).values()]
    for model in models:
        tensors = list_tensors(model)
        for quant_id in ("F16", "Q8_0", "Q4_K_M", "Q3_K_L", "Q2_K", "IQ4_XS", "IQ2_M", "IQ3_M", "MXFP4_MOE", "Q4_K_L"):
            artifact = weigh(model, quant_id)
            types = tensor_types(model, tensors, quant_id)
            by_group = {}
            for tensor, name in zip(tensors, types, strict=True):
                total = by_group.setdefault((tensor.role, name), [0, 0])
                total[0] += tensor.params_count
                total[1] += tensor_bytes(name, tensor.shape)
            found = {(g.role, g.tensor_type): [g.params_count, g.weight_bytes] for g in artifact.groups}
            assert found == by_group, (model.model_id, quant_id)


def test_a_layers_bytes_are_those_of_its_tensors(catalog):
    for model_id in ("Qwen/Qwen3-30B-A3B", "google/gemma-3-4b-it", "zai-org/GLM-4.5-Air"):
        model = catalog.model(model_id)
        tensors = list_tensors(model)
        artifact = weigh(model, "Q4_K_M")
        count = model.geometry.layers_count
        layers, experts = [0] * count, [0] * count
        for tensor, name in zip(tensors, tensor_types(model, tensors, "Q4_K_M"), strict=True):
            if tensor.layer is not None and tensor.layer < count:
                layers[tensor.layer] += tensor_bytes(name, tensor.shape)
                experts[tensor.layer] += tensor_bytes(name, tensor.shape) if tensor.role is Role.EXPERT else 0
        assert artifact.layer_bytes == tuple(layers)
        assert artifact.expert_bytes == tuple(experts)


def test_a_token_reads_the_chosen_experts_and_no_embedding(catalog):
    artifact = weigh(catalog.model("Qwen/Qwen3-30B-A3B"), "Q4_K_M")
    shares = {group.role: group.used_frac for group in artifact.groups}
    assert shares[Role.EXPERT] == 8 / 128
    assert shares[Role.EMBEDDING] == 0
    assert shares[Role.ATTENTION] == shares[Role.OUTPUT] == shares[Role.NORM] == 1
    assert used_bytes(artifact) < 0.13 * artifact.file_bytes


def test_a_tied_embedding_is_read_whole_and_stored_once(catalog):
    artifact = weigh(catalog.model("google/gemma-2-2b-it"), "Q8_0")
    assert bytes_of(artifact, Role.EMBEDDING) == 0
    assert bytes_of(artifact, Role.OUTPUT) == 256000 * 2304 // 32 * 34
    assert used_bytes(artifact) == bytes_of(artifact)


def test_per_layer_embeddings_are_stored_but_not_read(catalog):
    artifact = weigh(catalog.model("google/gemma-3n-E4B-it"), "Q4_0")
    assert bytes_of(artifact, Role.EMBEDDING) > 0.3 * bytes_of(artifact)
    assert {group.used_frac for group in artifact.groups if group.role is Role.EMBEDDING} == {0.0}


def test_prediction_blocks_are_on_disk_but_in_no_layer(catalog):
    artifact = weigh(catalog.model("zai-org/GLM-4.5-Air"), "Q4_K_M")
    towers = [group for group in artifact.groups if group.role is Role.TOWER]
    assert towers
    assert all(group.used_frac == 0 for group in towers)
    outside = bytes_of(artifact, Role.EMBEDDING, Role.OUTPUT, Role.TOWER)
    assert sum(artifact.layer_bytes) == pytest.approx(bytes_of(artifact) - outside, rel=1e-6)


def test_the_file_holds_the_tokenizer_too(catalog):
    artifact = weigh(catalog.model("meta-llama/Llama-3.1-8B-Instruct"), "Q4_K_M")
    assert artifact.file_bytes == pytest.approx(4_920_739_232, rel=1e-4)  # as published by bartowski
    assert artifact.file_bytes - bytes_of(artifact) == 7_838_560
    assert artifact.exact
    assert artifact.file_format is FileFormat.GGUF


# Sizes of the published repositories' weights.
@pytest.mark.parametrize(
    ("model_id", "quant_id", "published_bytes"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "AWQ-4bit", 5.73e9),
        ("Qwen/Qwen2.5-7B-Instruct", "AWQ-4bit", 5.57e9),
        ("meta-llama/Llama-3.1-8B-Instruct", "FP8", 9.08e9),
        ("meta-llama/Llama-3.1-8B-Instruct", "MLX-4bit", 4.52e9),
        ("meta-llama/Llama-3.2-3B-Instruct", "MLX-4bit", 1.81e9),
        ("Qwen/Qwen3-30B-A3B", "MLX-4bit", 17.2e9),
        ("Qwen/Qwen3-8B", "BF16-safetensors", 16.381e9),
        ("openai/gpt-oss-20b", "MXFP4", 13.761e9),
        ("openai/gpt-oss-120b", "MXFP4", 65.249e9),
    ],
)
def test_other_formats_sizes(catalog, model_id, quant_id, published_bytes):
    assert weigh(catalog.model(model_id), quant_id).file_bytes == pytest.approx(published_bytes, rel=0.005)


@pytest.mark.parametrize(
    ("quant_id", "bytes_of_matrix"),
    [
        ("AWQ-4bit", 4096 * 1024 // 2 + 32 * 1024 * 2.5),  # 4-bit weights; a scale and zero point per 128
        ("GPTQ-4bit", 4096 * 1024 // 2 + 32 * 1024 * 2.5 + 4 * 4096),  # and the group of every input
        ("W4A16", 4096 * 1024 // 2 + 32 * 1024 * 2),  # symmetric: a scale per 128
        ("FP8", 4096 * 1024 + 2 * 1024),  # a scale per row
        ("FP8-block", 4096 * 1024 + 32 * 8 * 4),  # a scale per 128 x 128
        ("NVFP4", 4096 * 1024 // 2 + 256 * 1024),  # an 8-bit scale per 16
        ("MLX-6bit", 4096 * 1024 * 6 // 8 + 64 * 1024 * 4),  # a scale and bias per 64
    ],
)
def test_the_bytes_of_one_matrix(quant_id, bytes_of_matrix):
    assert SCHEMES[quant_id].matrix_bytes(4096, 1024) == bytes_of_matrix


def test_other_formats_leave_norms_and_embeddings_alone(catalog):
    artifact = weigh(catalog.model("Qwen/Qwen3-8B"), "AWQ-4bit")
    types = {group.role: group.tensor_type for group in artifact.groups}
    assert types[Role.ATTENTION] == types[Role.FFN] == "AWQ-4bit"
    assert types[Role.EMBEDDING] == types[Role.OUTPUT] == types[Role.NORM] == "BF16"
    assert artifact.file_format is FileFormat.SAFETENSORS
    mlx = {group.role: group.tensor_type for group in weigh(catalog.model("Qwen/Qwen3-8B"), "MLX-4bit").groups}
    assert mlx[Role.EMBEDDING] == "MLX-4bit"


def test_nominal_bits_are_those_of_an_ordinary_model(catalog):
    model = catalog.model("meta-llama/Llama-3.1-8B-Instruct")
    named = [quant for quant_id, quant in catalog.quants.items() if quant_id in DEFAULT_TYPES or quant_id in SCHEMES]
    assert len(named) >= 30
    for quant in named:
        bits = 8 * bytes_of(weigh(model, quant.quant_id)) / model.params_total_count
        assert bits == pytest.approx(quant.bits_per_weight, rel=0.1), quant.quant_id


def test_a_model_of_unknown_shape_is_weighed_by_its_count(catalog):
    model = replace(catalog.model("Qwen/Qwen3-30B-A3B"), geometry=None)
    artifact = weigh(model, "Q4_K_M")
    assert not artifact.exact
    assert artifact.file_bytes == round(model.params_total_count * typical_bits("Q4_K_M") / 8)
    assert used_bytes(artifact) == pytest.approx(
        artifact.file_bytes * model.params_active_count / model.params_total_count
    )
    dense = weigh(replace(model, params_active_count=None), "AWQ-4bit")
    assert dense.file_format is FileFormat.SAFETENSORS
    assert used_bytes(dense) == dense.file_bytes


def test_hand_made_mixes_and_unknown_architectures_are_not_exact(catalog):
    model = catalog.model("Qwen/Qwen3-8B")
    assert not weigh(model, "UD-Q4_K_XL").exact
    assert not weigh(replace(model, architecture=None), "Q4_K_M").exact
    assert weigh(model, "Q4_K_L").exact


@pytest.mark.parametrize("shapeless", [False, True])
@pytest.mark.parametrize("quant_id", ["Q9_K", "", "AWQ-3bit"])
def test_an_unknown_quantisation_is_refused(catalog, quant_id, shapeless):
    model = catalog.model("Qwen/Qwen3-8B")
    with pytest.raises(CatalogError, match="no GGUF quantisation"):
        weigh(replace(model, geometry=None) if shapeless else model, quant_id)


def test_blocks_of_ggml_types():
    assert tensor_bytes("Q4_K", (4096, 2)) == 2 * 16 * 144
    assert tensor_bytes("MXFP4", (2880,)) == 90 * 17
    with pytest.raises(CatalogError, match="whole blocks"):
        tensor_bytes("Q4_K", (2880, 2))
    with pytest.raises(CatalogError, match="no ggml tensor type"):
        tensor_bytes("Q4_X", (256,))
    assert len({ggml_type.number for ggml_type in TYPES.values()}) == len(TYPES)


def test_ggml_types_agree_with_the_format_s_reference():
    constants = pytest.importorskip("gguf.constants")
    ours = {t.name: (t.number, t.block_weights_count, t.block_bytes) for t in TYPES.values()}
    theirs = {t.name: (t.value, *constants.GGML_QUANT_SIZES[t]) for t in constants.GGMLQuantizationType}
    common = ours.keys() & theirs.keys() - {"Q8_1"}  # an intermediate of matrix products, never stored
    assert len(common) >= 30
    assert {name: ours[name] for name in common} == {name: theirs[name] for name in common}


def test_published_sizes_and_counts_are_met(catalog):
    sizes, parameters = size_agreement(catalog), parameter_agreement(catalog)
    assert len(sizes.of_kind("standard")) >= 60
    assert sizes.within_frac() >= 0.95
    assert len(parameters.of_kind("standard")) > 1000
    assert parameters.within_frac() >= 0.99
    assert "within 0.5%" in summarise("sizes", sizes)[0]


def test_a_published_size_that_does_not_fit_its_label_is_set_aside(catalog):
    row = dict.fromkeys(("file_size_gib", "bits_per_weight", "file_name", "source"), "")
    row |= {"model": "Qwen3-8B", "params_b": "", "file_size_bytes": "5027783488", "quant": "qwen3 8B Q4_K - Medium"}
    wrong = row | {"quant": "qwen3 8B Q3_K - Medium", "bits_per_weight": "16.0"}
    strange = row | {"quant": "qwen3 8B IQ2_KS"}
    custom = row | {"file_name": "Qwen3-8B-UD-Q4_K_XL.gguf"}
    agreement = size_agreement(catalog, [row, wrong, strange, custom])
    kinds = [comparison.kind for comparison in agreement.comparisons]
    assert kinds == ["standard", "skipped", "skipped", "vendor"]
    assert agreement.comparisons[0].error_frac == pytest.approx(0, abs=0.005)
    assert agreement.comparisons[3].quant_id == "UD-Q4_K_XL"
