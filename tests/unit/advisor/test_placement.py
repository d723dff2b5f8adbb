"""Which placements are offered, and in which order."""

import pytest

from advisor.placement import place
from advisor.types import Deployment, Workload
from catalog.load import load_catalog
from catalog.weights import weigh

GIB = 1024**3
MODELS = load_catalog().models
DENSE = MODELS["Qwen/Qwen3-8B"]
LARGE = MODELS["Qwen/Qwen3-32B"]
MIXTURE = MODELS["Qwen/Qwen3-30B-A3B"]


def placed(model, devices, quant_id="Q4_K_M", context_tokens=4096, shared=(), **changes):
    base = Deployment(model_id=model.model_id, quant_id=quant_id, **changes)
    sizes = {device: round(gib * GIB) for device, gib in devices.items()}
    workload = Workload(context_tokens=context_tokens)
    return place(model, weigh(model, quant_id), workload, sizes, base=base, shared=shared)


def layers(placement):
    return dict(placement[0].layers_by_device)


def test_what_fits_an_accelerator_goes_there_whole():
    [(deployment, plan)] = placed(DENSE, {"cuda:0": 8, "cpu": 32})
    assert deployment.layers_by_device == {"cuda:0": 36}
    assert plan.fits


def test_a_dense_model_too_large_leaves_as_few_layers_as_possible():
    first, last = placed(DENSE, {"cuda:0": 5, "cpu": 32})
    assert layers(last) == {"cpu": 36}
    kept = layers(first)["cpu"]
    assert layers(first) == {"cpu": kept, "cuda:0": 36 - kept}
    row = first[1].devices[-1]
    block = max(weigh(DENSE, "Q4_K_M").layer_bytes)
    assert row.available_bytes - 2 * block < row.total_bytes <= row.available_bytes


def test_a_mixture_moves_experts_before_layers():
    (deployment, plan), *_ = placed(MIXTURE, {"cuda:0": 8, "cpu": 32})
    assert deployment.layers_by_device == {"cuda:0": 48}
    assert 0 < deployment.experts_on_cpu_layers_count < 48
    accelerator = next(row for row in plan.devices if row.device_id == "cuda:0")
    per_layer = max(weigh(MIXTURE, "Q4_K_M").expert_bytes)
    assert accelerator.available_bytes - per_layer < accelerator.total_bytes <= accelerator.available_bytes


@pytest.mark.parametrize(
    ("context_tokens", "kv_quant_id", "moved", "fits"),
    [(32768, "q8_0", 28, False), (32768, "q8_0", 29, True), (32768, "q8_0", 30, True)],
)
def test_the_cliff_seen_on_an_8_gib_card_is_where_it_was(context_tokens, kv_quant_id, moved, fits):
    """Published: 28 layers of experts on the CPU thrash (8.5 tokens/s), 29 do not (22.0)."""
    model = MODELS["Qwen/Qwen3.6-35B-A3B"]
    (deployment, _), *_ = placed(
        model, {"cuda:0": 8, "cpu": 32}, context_tokens=context_tokens, kv_quant_id=kv_quant_id
    )
    assert (moved >= deployment.experts_on_cpu_layers_count) is fits


def test_several_accelerators_share_in_proportion_to_their_room():
    options = placed(LARGE, {"cuda:0": 10, "cuda:1": 16, "cpu": 32})
    assert [deployment.split_mode for deployment, _ in options] == ["layer", "row"]
    counts = layers(options[0])
    assert sum(counts.values()) == 64
    assert counts["cuda:0"] < counts["cuda:1"]


def test_row_split_is_offered_only_where_it_exists():
    options = placed(LARGE, {"vulkan:0": 12, "vulkan:1": 16, "cpu": 32})
    assert [deployment.split_mode for deployment, _ in options] == ["layer"]


def test_a_second_copy_that_would_not_fit_is_avoided():
    [(mapped, _)] = placed(DENSE, {"cpu": 16})
    [(read, _)] = placed(DENSE, {"cpu": 8})
    assert (mapped.mmap, read.mmap) == (True, False)


def test_nothing_is_offered_where_nothing_fits():
    assert placed(LARGE, {"cpu": 8}) == []
    assert placed(LARGE, {"cuda:0": 4, "cpu": 8}) == []


def test_unified_memory_is_not_split_with_the_cpu():
    assert [layers(option) for option in placed(DENSE, {"metal:0": 12, "cpu": 16})] == [{"metal:0": 36}, {"cpu": 36}]
    assert placed(LARGE, {"metal:0": 12, "cpu": 16}) == []
    assert placed(LARGE, {"vulkan:0": 12, "cpu": 16}, shared=("vulkan:0",)) == []


def test_a_cache_type_that_the_engine_refuses_is_not_offered():
    assert placed(DENSE, {"cpu": 32}, kv_quant_id="q8_0", flash_attention=False) == []


def test_vllm_never_uses_the_cpu():
    [(deployment, _)] = placed(DENSE, {"cuda:0": 32, "cpu": 64}, "BF16", engine_id="vllm")
    assert deployment.layers_by_device == {"cuda:0": 36}
    assert placed(DENSE, {"cuda:0": 12, "cpu": 64}, "BF16", engine_id="vllm") == []


def test_vllm_splits_tensors_over_equal_accelerators():
    options = placed(LARGE, {"cuda:0": 48, "cuda:1": 48}, "BF16", engine_id="vllm")
    assert options[0][0].split_mode == "row"
    assert set(layers(options[0]).values()) == {32}


def test_unknown_room_is_taken_as_enough():
    base = Deployment(model_id=DENSE.model_id, quant_id="Q4_K_M")
    [(deployment, _), *_] = place(DENSE, weigh(DENSE, "Q4_K_M"), Workload(), {"cuda:0": None, "cpu": None}, base=base)
    assert deployment.layers_by_device == {"cuda:0": 36}
