"""What each device holds."""

from dataclasses import replace

import pytest

from advisor.memory.cpu_repack import repacked_types
from advisor.memory.plan import plan_memory
from advisor.types import Deployment, Workload
from catalog.load import load_catalog
from catalog.types import Role
from catalog.weights import weigh

GIB = 1024**3
MODELS = load_catalog().models
DENSE = MODELS["Qwen/Qwen3-8B"]
TIED = MODELS["Qwen/Qwen3-0.6B"]
MIXTURE = MODELS["Qwen/Qwen3-30B-A3B"]
WORKLOAD = Workload(context_tokens=4096)


def deployment(model, quant_id="Q4_K_M", **changes):
    return Deployment(model_id=model.model_id, quant_id=quant_id, **changes)


def plan(model, devices, quant_id="Q4_K_M", *, workload=WORKLOAD, shared=(), types=frozenset({"Q4_K"}), **changes):
    made = plan_memory(
        model,
        weigh(model, quant_id),
        deployment(model, quant_id, **changes),
        workload,
        devices,
        shared=shared,
        repacked_types=types,
    )
    return {row.device_id: row for row in made.devices}, made


def bytes_of(model, quant_id, *roles):
    return sum(group.weight_bytes for group in weigh(model, quant_id).groups if not roles or group.role in roles)


def test_a_total_is_the_sum_of_its_parts():
    rows, made = plan(MIXTURE, {"cuda:0": 8 * GIB, "cpu": 64 * GIB}, layers_by_device={"cpu": 10, "cuda:0": 38})
    for row in rows.values():
        parts = (row.weights_bytes, row.kv_bytes, row.compute_bytes, row.overhead_bytes)
        assert row.total_bytes == sum(parts)
    assert made.total_bytes == sum(row.total_bytes for row in rows.values())


def test_a_mapped_file_and_its_rearranged_copy_both_count():
    mapped, _ = plan(DENSE, {"cpu": None})
    read, _ = plan(DENSE, {"cpu": None}, mmap=False)
    copied = sum(group.weight_bytes for group in weigh(DENSE, "Q4_K_M").groups if group.tensor_type == "Q4_K")
    embedding = bytes_of(DENSE, "Q4_K_M", Role.EMBEDDING)
    assert mapped["cpu"].mapped_bytes == bytes_of(DENSE, "Q4_K_M")
    assert mapped["cpu"].repack_bytes == copied - embedding
    assert mapped["cpu"].weights_bytes == mapped["cpu"].mapped_bytes + mapped["cpu"].repack_bytes
    assert read["cpu"].weights_bytes == bytes_of(DENSE, "Q4_K_M")
    assert read["cpu"].mapped_bytes == 0


def test_nothing_is_rearranged_where_the_engine_has_no_kernel():
    rows, _ = plan(DENSE, {"cpu": None}, types=frozenset())
    assert rows["cpu"].repack_bytes == 0


def test_instruction_sets_decide_what_is_rearranged():
    assert repacked_types(["sse4_2"]) == frozenset()
    assert repacked_types(["avx2"]) == {"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"}
    assert repacked_types(["AVX2", "avx512f"]) - repacked_types(["avx2"]) == {"Q2_K"}
    assert {"Q8_0", "Q6_K"} <= repacked_types(["asimddp"])


def test_an_accelerator_takes_layers_and_output_but_not_the_embedding():
    rows, _ = plan(DENSE, {"cuda:0": 16 * GIB, "cpu": 64 * GIB}, layers_by_device={"cuda:0": 36})
    embedding = bytes_of(DENSE, "Q4_K_M", Role.EMBEDDING)
    assert rows["cpu"].weights_bytes == embedding
    assert rows["cuda:0"].weights_bytes == bytes_of(DENSE, "Q4_K_M") - embedding
    assert rows["cpu"].kv_bytes == rows["cpu"].repack_bytes == 0
    assert rows["cuda:0"].overhead_bytes > 400 * 1024**2


def test_a_tied_embedding_is_copied_to_the_accelerator():
    rows, _ = plan(TIED, {"cuda:0": 16 * GIB, "cpu": 64 * GIB}, layers_by_device={"cuda:0": 28})
    assert rows["cpu"].weights_bytes == bytes_of(TIED, "Q4_K_M", Role.OUTPUT)
    assert rows["cuda:0"].weights_bytes == bytes_of(TIED, "Q4_K_M")


def test_the_first_layers_stay_on_the_cpu():
    rows, _ = plan(DENSE, {"cuda:0": 16 * GIB, "cpu": 64 * GIB}, layers_by_device={"cpu": 12, "cuda:0": 24})
    artifact = weigh(DENSE, "Q4_K_M")
    assert rows["cpu"].weights_bytes == sum(artifact.layer_bytes[:12]) + bytes_of(DENSE, "Q4_K_M", Role.EMBEDDING)
    assert rows["cpu"].kv_bytes * 2 == rows["cuda:0"].kv_bytes


def test_experts_of_the_first_layers_move_to_the_cpu():
    devices = {"cuda:0": 64 * GIB, "cpu": 64 * GIB}
    whole, _ = plan(MIXTURE, devices, layers_by_device={"cuda:0": 48})
    moved, _ = plan(MIXTURE, devices, layers_by_device={"cuda:0": 48}, experts_on_cpu_layers_count=10)
    experts = sum(weigh(MIXTURE, "Q4_K_M").expert_bytes[:10])
    assert moved["cpu"].weights_bytes - whole["cpu"].weights_bytes == experts
    assert whole["cuda:0"].weights_bytes - moved["cuda:0"].weights_bytes == experts
    assert moved["cuda:0"].kv_bytes == whole["cuda:0"].kv_bytes
    assert moved["cuda:0"].compute_bytes > whole["cuda:0"].compute_bytes  # prompts copy experts back in parts


def test_a_plan_fits_only_beside_a_reserve_for_the_process():
    rows, _ = plan(DENSE, {"cpu": None})
    needed = rows["cpu"].total_bytes
    assert not plan(DENSE, {"cpu": needed})[1].fits
    assert plan(DENSE, {"cpu": needed + 256 * 1024**2})[1].fits


def test_shared_memory_is_counted_once_for_all_its_devices():
    placed = {"layers_by_device": {"metal:0": 36}}
    assert plan(DENSE, {"metal:0": 8 * GIB, "cpu": 8 * GIB}, **placed)[1].fits
    assert not plan(DENSE, {"metal:0": 8 * GIB, "cpu": 5 * GIB}, **placed)[1].fits
    discrete = {"layers_by_device": {"vulkan:0": 36}}
    assert plan(DENSE, {"vulkan:0": 8 * GIB, "cpu": 5 * GIB}, **discrete)[1].fits
    assert not plan(DENSE, {"vulkan:0": 8 * GIB, "cpu": 5 * GIB}, shared=("vulkan:0",), **discrete)[1].fits


def test_users_multiply_cache_and_results_but_not_weights():
    one, _ = plan(DENSE, {"cpu": None})
    four, _ = plan(DENSE, {"cpu": None}, workload=replace(WORKLOAD, concurrency_count=4))
    assert four["cpu"].kv_bytes == 4 * one["cpu"].kv_bytes
    assert four["cpu"].overhead_bytes == 4 * one["cpu"].overhead_bytes
    assert four["cpu"].weights_bytes == one["cpu"].weights_bytes


def test_vllm_leaves_a_tenth_of_a_device_and_keeps_everything_on_it():
    placed = {"layers_by_device": {"cuda:0": 36}, "engine_id": "vllm"}
    rows, _ = plan(DENSE, {"cuda:0": None}, "BF16", **placed)
    assert set(rows) == {"cuda:0"}
    assert rows["cuda:0"].weights_bytes == bytes_of(DENSE, "BF16")
    needed = rows["cuda:0"].total_bytes
    assert not plan(DENSE, {"cuda:0": int(needed * 1.05)}, "BF16", **placed)[1].fits
    assert plan(DENSE, {"cuda:0": int(needed * 1.12)}, "BF16", **placed)[1].fits


def test_a_model_of_unknown_shape_gets_an_assumed_cache():
    unknown = replace(DENSE, geometry=None, geometry_note="not published")
    rows, made = plan(unknown, {"cpu": 64 * GIB})
    known, _ = plan(DENSE, {"cpu": 64 * GIB})
    assert made.fits
    assert rows["cpu"].kv_bytes == pytest.approx(known["cpu"].kv_bytes, rel=0.5)
    assert rows["cpu"].total_bytes == pytest.approx(known["cpu"].total_bytes, rel=0.5)


def test_prediction_blocks_are_loaded_only_where_the_loader_reads_them():
    quant_id = "Q8_0"
    skips = MODELS["Qwen/Qwen3-Coder-Next"]
    rows, _ = plan(skips, {"cpu": None}, quant_id, types=frozenset(), mmap=False)
    assert rows["cpu"].weights_bytes == bytes_of(skips, quant_id) - bytes_of(skips, quant_id, Role.TOWER)
    reads = MODELS["tencent/Hy3"]
    rows, _ = plan(reads, {"cpu": None}, quant_id, types=frozenset(), mmap=False)
    assert rows["cpu"].weights_bytes == bytes_of(reads, quant_id)
