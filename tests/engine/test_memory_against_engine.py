"""Predicted memory against what llama.cpp itself logs on this machine."""

import pytest

from advisor.engines.base import LoadOptions
from advisor.engines.llamacpp import open_worker
from advisor.memory.plan import plan_memory
from advisor.twins.twin import write_twin
from advisor.types import Deployment, Workload
from catalog.load import load_catalog
from catalog.weights import weigh

pytestmark = pytest.mark.engine

MIB = 1024**2
MODELS = load_catalog().models

# Shapes of many kinds, from 0.1 to 670 billion parameters: (model, quant, context, micro-batch, KV type, users)
LAYOUTS = [
    ("HuggingFaceTB/SmolLM-135M", "Q4_1", 2048, 512, "f16", 1),
    ("Qwen/Qwen2.5-7B-Instruct", "Q4_K_M", 32768, 512, "q8_0", 1),
    ("meta-llama/Llama-3.1-70B-Instruct", "Q3_K_M", 8192, 2048, "f16", 2),
    ("google/gemma-3-12b-it", "Q5_K_M", 6000, 512, "f16", 4),
    ("google/gemma-2-9b-it", "Q6_K", 8192, 256, "f16", 1),
    ("microsoft/phi-4", "IQ4_XS", 16384, 512, "q4_0", 1),
    ("Qwen/Qwen3-30B-A3B", "Q4_K_M", 40960, 512, "f16", 1),
    ("Qwen/Qwen3-235B-A22B", "Q2_K", 4096, 1024, "q8_0", 1),
    ("openai/gpt-oss-120b", "Q8_0", 8192, 512, "f16", 1),
    ("deepseek-ai/DeepSeek-V3-0324", "Q4_K_M", 16384, 512, "q8_0", 1),
    ("Qwen/Qwen3.5-4B", "Q4_K_M", 4096, 512, "f16", 2),
    ("LiquidAI/LFM2-1.2B", "Q4_0", 4096, 512, "f16", 1),
    ("LiquidAI/LFM2-1.2B", "Q8_0", 4096, 512, "f16", 1),
    ("LiquidAI/LFM2-1.2B", "Q8_0", 4352, 512, "f16", 1),  # more context, yet a smaller compute buffer
    ("tiiuae/Falcon-H1-1.5B-Base", "Q8_0", 2048, 512, "f16", 1),
    ("CohereLabs/c4ai-command-r7b-12-2024", "Q4_K_M", 8192, 512, "f16", 1),
    ("zai-org/GLM-4.5-Air", "Q4_K_M", 8192, 512, "f16", 1),
    ("ibm-granite/granite-embedding-311m-multilingual-r2", "Q5_K_M", 512, 512, "f16", 2),
    ("nvidia/llama-nemotron-embed-1b-v2", "Q8_0", 512, 512, "f16", 1),
]


@pytest.fixture(scope="module")
def worker():
    with open_worker() as opened:
        yield opened


def purpose_bytes(buffers, purpose):
    total = buffers.get(f"all.{purpose}")
    if total is not None:
        return total
    return sum(size for key, size in buffers.items() if key.endswith(f".{purpose}"))


def planned(model, quant_id, context_tokens, ubatch_tokens, kv_quant_id, users, **options):
    deployment = Deployment(
        model_id=model.model_id,
        quant_id=quant_id,
        kv_quant_id=kv_quant_id,
        ubatch_tokens=ubatch_tokens,
        **options,
    )
    workload = Workload(context_tokens=context_tokens, concurrency_count=users)
    return plan_memory(model, weigh(model, quant_id), deployment, workload, {"cpu": None}).devices[0]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout[0].split('/')[1]}-{layout[1]}")
def test_a_dry_run_lays_out_what_was_planned(worker, tmp_path, layout):
    model_id, quant_id, context_tokens, ubatch_tokens, kv_quant_id, users = layout
    model = MODELS[model_id]
    path = tmp_path / "twin.gguf"
    write_twin(model, quant_id, path, hollow=True)
    options = LoadOptions(
        context_tokens=context_tokens,
        ubatch_tokens=ubatch_tokens,
        k_type=kv_quant_id,
        v_type=kv_quant_id,
        streams_count=users,
        dry_run=True,
    )
    with worker.open(str(path), options) as session:
        buffers = session.memory_bytes()
    plan = planned(model, quant_id, context_tokens, ubatch_tokens, kv_quant_id, users)

    cache = purpose_bytes(buffers, "kv") + purpose_bytes(buffers, "state")
    assert plan.kv_bytes == pytest.approx(cache, abs=0.03 * MIB)  # up to three lines, each rounded
    assert plan.overhead_bytes == pytest.approx(purpose_bytes(buffers, "output"), abs=0.01 * MIB)
    assert plan.compute_bytes == pytest.approx(purpose_bytes(buffers, "compute"), rel=0.02)
    in_file = sum(group.weight_bytes for group in weigh(model, quant_id).groups)
    assert in_file == pytest.approx(purpose_bytes(buffers, "weights"), rel=1e-4)


@pytest.mark.parametrize("quant_id", ["Q4_0", "Q4_K_M", "Q8_0"])
@pytest.mark.parametrize("mmap", [True, False])
def test_a_load_takes_both_copies_of_its_weights(worker, tmp_path, quant_id, mmap):
    model = MODELS["HuggingFaceTB/SmolLM-135M"]
    path = tmp_path / "twin.gguf"
    write_twin(model, quant_id, path)
    with worker.open(str(path), LoadOptions(context_tokens=2048, mmap=mmap)) as session:
        buffers = session.memory_bytes()
    plan = planned(model, quant_id, 2048, 512, "f16", 1, mmap=mmap)
    assert purpose_bytes(buffers, "compute") == pytest.approx(plan.compute_bytes, rel=0.002)
    assert buffers.get("cpu_repack.weights", 0) == pytest.approx(plan.repack_bytes, abs=0.02 * MIB)
    logged = sum(purpose_bytes(buffers, purpose) for purpose in ("weights", "kv", "state", "compute", "output"))
    assert -0.001 <= plan.total_bytes / logged - 1 <= 0.03
