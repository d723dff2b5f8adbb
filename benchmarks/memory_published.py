"""Predicted buffers against those that other people's engines logged.

    python benchmarks/memory_published.py [--offload]

Prints each published row whose model is known: weights, cache, and the accelerator's or CPU's compute buffer.
The rows span three years and two forks, so some follow rules that llama.cpp has since left: before 2025 it
cached full heads for latent attention and full contexts for sliding windows. ``--offload`` compares memory in
use on graphics cards with layers or experts on the CPU.
"""

import argparse
import csv
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from advisor.memory.kv_cache import kv_cache_bytes
from advisor.memory.plan import plan_memory
from advisor.types import Deployment, MemoryPlan, Workload
from catalog.errors import CatalogError
from catalog.load import load_catalog
from catalog.tensors import gguf_architecture
from catalog.types import Geometry, Mixer, ModelSpec
from catalog.weights import weigh

MIB = 1024**2
GIB = 1024**3
LOG_ROUNDING_MIB = 0.05  # rows sum lines of several devices, each rounded to 0.01
SOURCES = Path(__file__).parents[1] / "catalog" / "sources" / "published"
CATALOG_IDS = {
    "Meta-Llama-3-8B": "NousResearch/Meta-Llama-3-8B",
    "LLaMA 1 7B": "meta-llama/Llama-2-7b-hf",
    "LLaMA 2 7B": "meta-llama/Llama-2-7b-hf",
    "LLaMA 1 13B": "meta-llama/Llama-2-13b-hf",
    "LLaMA 2 13B": "meta-llama/Llama-2-13b-hf",
    "LLaMA v2": "meta-llama/Llama-2-13b-hf",
    "LLaMA 2 70B": "NousResearch/Llama-2-70b-hf",
    "Qwen3-32B": "Qwen/Qwen3-32B",
    "Qwen3-30B-A3B": "Qwen/Qwen3-30B-A3B",
    "Qwen3 30B A3B": "Qwen/Qwen3-30B-A3B",
    "Qwen3-235B-A22B-128K": "Qwen/Qwen3-235B-A22B",
    "Models": "Qwen/Qwen3-235B-A22B",
    "GLM Z1 32B 0414": "zai-org/GLM-Z1-32B-0414",
    "Gemma 3 27b It Qat": "google/gemma-3-27b-it",
    "Kimi K2 Instruct Bf16 Safetensors": "moonshotai/Kimi-K2-Instruct",
}
FIRST_LLAMAS = {"LLaMA 1 30B": (60, 6656, 52, 17920), "LLaMA 1 65B": (80, 8192, 64, 22016)}
QUANT_IDS = {
    "Q4_K - Medium": "Q4_K_M",
    "Q5_K - Medium": "Q5_K_M",
    "Q3_K - Medium": "Q3_K_M",
    "Q2_K - Medium": "Q2_K",
    "mostly Q4_0": "Q4_0",
    "mostly F16": "F16",
    "IQ4_XS - 4.25 bpw": "IQ4_XS",
}


def read(name: str) -> list[dict[str, str]]:
    """Rows of a published table."""
    with gzip.open(SOURCES / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def find_model(name: str) -> ModelSpec | None:
    """The catalog's model of a logged name, or None."""
    models = load_catalog().models
    if name in CATALOG_IDS:
        return models.get(CATALOG_IDS[name])
    if "deepseek" in name.lower():
        return models.get("deepseek-ai/DeepSeek-V3-0324")
    if name not in FIRST_LLAMAS:
        return None
    layers, hidden, heads, ffn = FIRST_LLAMAS[name]
    like = models["meta-llama/Llama-2-7b-hf"]
    assert like.geometry is not None
    geometry = replace(
        like.geometry,
        mixers="A" * layers,
        ffns="d" * layers,
        hidden_dim=hidden,
        head_count=heads,
        kv_head_count=heads,
        ffn_dim=ffn,
    )
    return replace(like, model_id=name, geometry=geometry)


def cache_rules(model: ModelSpec, row: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """The cache in MiB by today's rule for each type the row may have had, then by former rules."""
    geometry, architecture = model.geometry, gguf_architecture(model)
    assert geometry is not None
    context = int(float(row["n_ctx"]))
    stated = [row["kv_type"]] if row["kv_type"] else []
    for kv_quant_id in dict.fromkeys([*stated, "f16", "q8_0", "q8_0/f16"]):
        for rule, shape in (("", geometry), *former_rules(geometry)):
            size = kv_cache_bytes(shape, architecture, context_tokens=context, kv_quant_id=kv_quant_id)
            yield f"{kv_quant_id}{rule}", size / MIB


def former_rules(geometry: Geometry) -> Iterator[tuple[str, Geometry]]:
    """Shapes as engines cached them before 2025."""
    layers = geometry.layers_count
    if Mixer.MLA.value in geometry.mixers:
        key = (geometry.qk_nope_head_dim or 0) + (geometry.qk_rope_head_dim or 0)
        heads = geometry.head_count
        yield ", full heads", replace(geometry, mixers="A" * layers, kv_head_count=heads, head_dim=key)
        yield (
            ", values too",
            replace(
                geometry,
                mixers="A" * layers,
                kv_head_count=1,
                head_dim=(geometry.kv_lora_rank or 0) + (geometry.qk_rope_head_dim or 0),
                v_head_dim=geometry.kv_lora_rank,
            ),
        )
    if Mixer.SLIDING.value in geometry.mixers:
        yield ", full windows", replace(geometry, mixers="A" * layers)


def plan_of(model: ModelSpec, row: Mapping[str, str], quant_id: str) -> MemoryPlan:
    """The plan of a row: whole on one accelerator if it offloads everything, else on the CPU."""
    geometry = model.geometry
    assert geometry is not None
    done, _, total = row["offload"].partition("/")
    accelerated = bool(total) and done == total
    deployment = Deployment(
        model_id=model.model_id,
        quant_id=quant_id,
        kv_quant_id=(row["kv_type"] or "f16"),
        ubatch_tokens=int(float(row["n_ubatch"] or 512)),
        flash_attention=row["flash_attn"] == "1.0",
        mmap=False,
        layers_by_device={"cuda:0" if accelerated else "cpu": geometry.layers_count},
    )
    workload = Workload(context_tokens=int(float(row["n_ctx"])))
    return plan_memory(model, weigh(model, quant_id), deployment, workload, {"cuda:0": None, "cpu": None})


def print_buffers() -> None:
    """Weights and caches of every published log."""
    rows = read("memory_buffers")
    exact = {"today's rule": 0, "a former rule": 0}
    known, weights_within, weighed = 0, 0, 0
    print(f"{'model':34} {'quant':20} {'weights MiB':>11} {'error':>8}  {'cache MiB':>9}  rule that gives it")
    for row in rows:
        model = find_model(row["model"])
        if model is None or not row["n_ctx"]:
            print(f"{row['model']:34} {row['quant']:20} not compared: the log does not say which model or context")
            continue
        known += 1
        logged = float(row["kv_buffer_mib"])
        matches = [rule for rule, size in cache_rules(model, row) if abs(size - logged) <= LOG_ROUNDING_MIB]
        rule = matches[0] if matches else "none"
        if matches:
            exact["a former rule" if "," in rule else "today's rule"] += 1
        error = weights_error(model, row)
        if error is not None:
            weighed += 1
            weights_within += abs(error) <= 0.005
        shown = "" if error is None else f"{error:+8.4f}"
        print(
            f"{row['model']:34} {row['quant']:20} {float(row['model_buffer_mib']):11.1f} {shown:>8}"
            f"  {logged:9.2f}  {rule}"
        )
    print(f"\n{len(rows)} rows, {known} with a known model and context; caches exact: {exact}")
    print(f"weights within 0.5 %: {weights_within} of {weighed} of types that llama.cpp makes")


def weights_error(model: ModelSpec, row: Mapping[str, str]) -> float | None:
    """Predicted weights over logged, minus one; None for fork-only types and partial logs."""
    try:
        plan = plan_of(model, row, QUANT_IDS.get(row["quant"], row["quant"]))
    except CatalogError:
        return None
    planned = sum(device.weights_bytes for device in plan.devices)
    return planned / MIB / float(row["model_buffer_mib"]) - 1


def print_offload() -> None:
    """Memory in use on cards, with experts or layers on the CPU."""
    print(f"{'card':28} ngl experts on CPU context  KV      used  planned  difference, GiB")
    for row in read("offload"):
        model = load_catalog().models.get(f"Qwen/{row['model']}")
        if not row["vram_used_gb"] or model is None or model.geometry is None:
            continue
        context = row["n_ctx_or_depth"].split()[-1]
        tokens = int(context[:-1]) * 1024 if context.endswith("k") else int(context)
        blocks = model.geometry.layers_count
        on_card = min(int(float(row["ngl"])), blocks + 1) - 1  # the output layer counts as one
        placed = {"cpu": blocks - on_card} if on_card < blocks else {}
        moved = int(row["n_cpu_moe_or_ot"])
        deployment = Deployment(
            model_id=model.model_id,
            quant_id="Q4_K_M",
            kv_quant_id=row["kv_type"],
            layers_by_device={**placed, "cuda:0": on_card},
            experts_on_cpu_layers_count=moved,
        )
        plan = plan_memory(model, weigh(model, "Q4_K_M"), deployment, Workload(context_tokens=tokens), {"cuda:0": None})
        planned = next(device.total_bytes for device in plan.devices if device.device_id == "cuda:0") / GIB
        used = float(row["vram_used_gb"])
        print(
            f"{row['gpu']:28} {int(float(row['ngl'])):3} {moved:14} {tokens:7}  {row['kv_type']:5} {used:6.1f}"
            f"  {planned:7.2f}  {planned - used:+.2f}  {row['notes'][:40]}"
        )


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--offload", action="store_true")
    if parser.parse_args().offload:
        print_offload()
    else:
        print_buffers()


if __name__ == "__main__":
    main()
