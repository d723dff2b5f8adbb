"""Graph programs, and compute buffers the engine laid out for the same shapes."""

from dataclasses import replace

import pytest

from advisor.memory.compute_buffer import Part, compute_bytes
from advisor.memory.graph_programs import final_program, initial_program, layer_program, parse
from advisor.memory.graph_sizes import Batch, sizes_of
from advisor.memory.kv_cache import cache_setup
from catalog.architectures.blocks import find_architecture
from catalog.architectures.layout import Layer, Site
from catalog.architectures.table import ARCHITECTURES
from catalog.load import load_catalog
from catalog.types import Ffn, Mixer

MODELS = load_catalog().models


def test_a_program_is_read_word_by_word():
    assert parse("x+d x>ffn y=x -y") == (("x", "+", "d"), ("x", ">", "ffn"), ("y", "=", "x"), ("y", "-", ""))


def test_a_word_without_an_operator_is_an_error():
    with pytest.raises(ValueError, match="'nonsense' is no step"):
        parse("x+d nonsense")


@pytest.mark.parametrize("name", sorted({model.architecture for model in MODELS.values() if model.geometry} - {None}))
def test_every_layer_frees_what_it_places(name):
    """After a layer only the residual stream (and what lies outside layers) is left."""
    model = min(
        (model for model in MODELS.values() if model.geometry and model.architecture == name),
        key=lambda model: model.params_total_count,
    )
    geometry, arch = model.geometry, find_architecture(name)
    outside = {"h", "y"} if name == "gemma3n" else {"h"}
    for mixer, ffn in set(zip(geometry.mixers, geometry.ffns, strict=True)):
        site = Site(
            arch=arch, geometry=geometry, context_tokens=0, layer=Layer(mixer=Mixer(mixer), ffn=Ffn(ffn), ffn_dim=8)
        )
        batch = Batch(tokens_count=512, sequences_count=1, full_cells_count=4096, sliding_cells_count=1536)
        sizes = sizes_of(site, batch)
        program = layer_program(
            name, Mixer(mixer), Ffn(ffn), first=False, last=False, unmask=False, flash=True, rotated=False, shared=False
        )
        live = {"h", "y"} if name == "gemma3n" else {"h"}
        for tensor, operator, argument in program:
            if operator in "+>":
                assert argument in sizes, f"{argument} has no size in {name}"
            if operator == "-":
                live.discard(tensor)
            elif operator == "=":
                live.discard(argument)
                live.add(tensor)
            else:
                live.add(tensor)
        assert live == outside


def test_every_architecture_has_an_end():
    for name, arch in ARCHITECTURES.items():
        assert ("logits" in {tensor for tensor, _, _ in final_program(arch)}) != arch.encoder
        initial_program(name, looks_up=True)


# Bytes of the CPU compute buffer that llama.cpp (llama-cpp-python 0.3.36) reserved for twins of these models:
# context 4096, micro-batch 512, flash attention, F16 cache, one sequence.
LAID_OUT = {
    "Qwen/Qwen2-0.5B": 314_836_992,
    "Qwen/Qwen3-VL-2B-Instruct": 319_555_584,
    "HuggingFaceTB/SmolLM3-3B": 271_058_944,
    "google/gemma-4-E2B-it": 609_771_520,
    "microsoft/Phi-3-mini-128k-instruct": 95_041_536,
    "openai/gpt-oss-20b": 434_526_208,
    "ibm-granite/granite-3.0-2b-base": 109_053_952,
    "tiiuae/Falcon-H1-0.5B-Base": 73_435_136,
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": 300_167_168,
    "moonshotai/Kimi-Linear-48B-A3B-Base": 358_621_184,
    "Qwen/Qwen3-Coder-Next": 327_956_480,
    "deepseek-ai/deepseek-moe-16b-base": 251_934_720,
    "zai-org/GLM-4-9B-0414": 327_157_760,
    "CohereLabs/aya-23-8B": 553_662_464,
    "microsoft/phi-1": 113_248_256,
    "LiquidAI/LFM2-1.2B": 151_009_312,
}


@pytest.mark.parametrize("model_id", sorted(LAID_OUT))
def test_a_compute_buffer_is_what_the_engine_laid_out(model_id):
    model = MODELS[model_id]
    size = compute_bytes(model.geometry, model.architecture, cache_setup(4096, "f16"))
    assert size == pytest.approx(LAID_OUT[model_id], rel=0.002)


def test_a_part_needs_no_more_than_the_whole():
    model = MODELS["Qwen/Qwen2-0.5B"]
    setup = cache_setup(4096, "f16")
    whole, *parts = (compute_bytes(model.geometry, model.architecture, setup, part) for part in Part)
    assert all(0 < part <= whole for part in parts)
    assert compute_bytes(model.geometry, model.architecture, setup, Part.INPUT) < parts[1]


def test_the_score_matrix_outgrows_fused_attention():
    model = MODELS["Qwen/Qwen2-0.5B"]
    fused, split = (
        compute_bytes(model.geometry, model.architecture, cache_setup(32768, "f16", flash_attention=flash))
        for flash in (True, False)
    )
    assert split > fused + 4 * 14 * 512 * 32768 / 2


def test_the_buffer_grows_with_the_micro_batch():
    model = MODELS["Qwen/Qwen2-0.5B"]
    sizes = [
        compute_bytes(model.geometry, model.architecture, cache_setup(4096, "f16", ubatch_tokens=tokens))
        for tokens in (64, 128, 512, 2048)
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] == pytest.approx(4 * sizes[-2], rel=0.05)


def test_an_encoder_makes_no_logits():
    model = MODELS["nvidia/llama-nemotron-embed-1b-v2"]
    setup = cache_setup(4096, "f16")
    assert compute_bytes(model.geometry, "llama-embed", setup) < compute_bytes(model.geometry, "llama", setup) / 3
    without = replace(model.geometry, vocab_count=1)
    assert compute_bytes(without, "llama-embed", setup) == compute_bytes(model.geometry, "llama-embed", setup)
