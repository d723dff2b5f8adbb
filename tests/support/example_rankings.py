"""Estimates and recommendations as the advisor makes them, plain, large and hostile."""

import math
from collections.abc import Mapping
from dataclasses import replace

from advisor import whatif
from advisor.types import (
    Basis,
    Bound,
    Choice,
    Deployment,
    DeviceMemory,
    Estimate,
    EstimateWarning,
    Interval,
    Limits,
    MemoryPlan,
    Quality,
    Recommendation,
    Rejection,
    Task,
    Term,
    Workload,
)
from catalog.units import GIB, MIB

CREATED_AT = "2026-11-22T16:00:00Z"
TOOL_VERSION = "0.1.0"
HARDWARE = "EPYC 9B45 · 2 cores · 24 GiB"
#: name, billions of parameters, active billions, layers, KV bytes per token, quality
MODELS = (
    ("Qwen/Qwen3.6-30B-A3B-Instruct", "Qwen3.6 30B A3B Instruct", 30.5, 3.3, 48, 98304, 71.0, "apache-2.0"),
    ("Qwen/Qwen3.6-8B", "Qwen3.6 8B", 8.2, 8.2, 36, 147456, 64.0, "apache-2.0"),
    ("google/gemma-4-12b-it", "Gemma 4 12B it", 12.2, 12.2, 48, 65536, 63.0, "gemma"),
    ("Qwen/Qwen2.5-Coder-7B-Instruct", "Qwen2.5 Coder 7B Instruct", 7.6, 7.6, 28, 57344, 58.0, "apache-2.0"),
    ("openai/gpt-oss-20b", "gpt-oss 20B", 20.9, 3.6, 24, 49152, 66.0, "apache-2.0"),
    ("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 8B Instruct", 8.0, 8.0, 32, 131072, 49.0, "llama3.1"),
    ("mistralai/Ministral-3-8B-Instruct", "Ministral 3 8B Instruct", 8.4, 8.4, 36, 131072, 55.0, "apache-2.0"),
    ("microsoft/phi-5-mini", "Phi-5 mini", 3.8, 3.8, 32, 131072, 51.0, "mit"),
    ("Qwen/Qwen3.6-4B", "Qwen3.6 4B", 4.0, 4.0, 36, 147456, 57.0, "apache-2.0"),
    ("LiquidAI/LFM2.5-8B-A1B", "LFM2.5 8B A1B", 8.3, 1.5, 24, 24576, 50.0, "lfm1.0"),
    ("ibm-granite/granite-4.1-8b", "Granite 4.1 8B", 8.1, 8.1, 40, 163840, 53.0, "apache-2.0"),
    ("HuggingFaceTB/SmolLM3-3B", "SmolLM3 3B", 3.1, 3.1, 36, 73728, 41.0, "apache-2.0"),
)
QUANTS = {"Q4_K_M": 4.85, "Q5_K_M": 5.69, "Q6_K": 6.56, "Q8_0": 8.5}
#: seconds per weight byte and per prompt flop of the two example machines
CPU = {"device_id": "cpu", "byte_s": 1 / 31e9, "flop_s": 1 / 320e9, "kv_byte_s": 1 / 24e9, "memory": 22.4 * GIB}
GPU = {"device_id": "cuda:0", "byte_s": 1 / 890e9, "flop_s": 1 / 72e12, "kv_byte_s": 1 / 620e9, "memory": 23.4 * GIB}


def spread(mid: float, frac: float) -> Interval:
    return Interval(low=mid / (1 + frac), mid=mid, high=mid * (1 + frac))


def _weights_bytes(model: tuple, quant_id: str) -> int:
    return int(model[2] * 1e9 * QUANTS[quant_id] / 8)


def make_estimate(model: tuple, quant_id: str, workload: Workload, machine: Mapping = CPU) -> Estimate:
    """A toy cost model with the shape of the real one."""
    device_id = str(machine["device_id"])
    depth = whatif.depth_tokens(workload)
    users = workload.concurrency_count
    weights_bytes = _weights_bytes(model, quant_id)
    read_bytes = weights_bytes * model[3] / model[2]
    kv_bytes = model[5] * depth * users
    flop = 2e9 * model[3]
    prompt_flop = flop * workload.prompt_tokens
    attention_flop = 3.0e4 * model[4] * workload.prompt_tokens**2 / 2
    moe = model[3] < model[2]
    basis = Basis.CALIBRATED if machine is CPU else Basis.DATASHEET
    part = "experts" if moe else "weights"

    def term(name: str, time_s: float, bound: Bound, moved: float = 0.0, work: float = 0.0) -> Term:
        return Term(
            name=name, device_id=device_id, time_s=time_s, bound=bound, basis=basis, bytes=moved, flop=work, note=None
        )

    decode = (
        term(
            f"decode.{part}.Q4_K", read_bytes * 0.82 * machine["byte_s"], Bound.MEMORY, read_bytes * 0.82, flop * 0.85
        ),
        term("decode.output.Q6_K", read_bytes * 0.18 * machine["byte_s"], Bound.MEMORY, read_bytes * 0.18, flop * 0.15),
        term("decode.kv", kv_bytes * machine["kv_byte_s"], Bound.MEMORY, kv_bytes, 2.0 * kv_bytes),
        term("decode.overhead", model[4] * 4.0e-5, Bound.OVERHEAD),
    )
    prefill = (
        term(f"prefill.{part}.Q4_K", prompt_flop * machine["flop_s"], Bound.COMPUTE, weights_bytes, prompt_flop),
        term("prefill.attention", attention_flop * machine["flop_s"] * 1.6, Bound.COMPUTE, 0.0, attention_flop),
    )
    prefill_s = sum(t.time_s for t in prefill)
    kv_cache_bytes = model[5] * workload.context_tokens * users
    compute_bytes = 330 * MIB
    total_bytes = weights_bytes + kv_cache_bytes + compute_bytes
    available_bytes = int(machine["memory"])
    memory = DeviceMemory(
        device_id=device_id,
        weights_bytes=weights_bytes,
        kv_bytes=kv_cache_bytes,
        compute_bytes=compute_bytes,
        overhead_bytes=0,
        total_bytes=total_bytes,
        available_bytes=available_bytes,
    )
    return Estimate(
        model_id=model[0],
        quant_id=quant_id,
        engine_id="llama.cpp",
        deployment=Deployment(
            model_id=model[0],
            quant_id=quant_id,
            backend="cpu" if machine is CPU else "cuda",
            layers_by_device={device_id: model[4]},
            threads_count=2 if machine is CPU else None,
        ),
        workload=workload,
        prefill_tokens_per_s=spread(workload.prompt_tokens / prefill_s, 0.14),
        decode_tokens_per_s=spread(1.0 / sum(t.time_s for t in decode), 0.08),
        first_token_s=spread(prefill_s, 0.14),
        load_s=spread(weights_bytes / 1.4e9, 0.5),
        memory=MemoryPlan(total_bytes=total_bytes, fits=total_bytes <= available_bytes, devices=(memory,)),
        basis=basis,
        terms=prefill + decode,
        warnings=() if not moe else (EstimateWarning.UNCALIBRATED_TYPE,),
        provenance={"rates.cpu": "calibration of 2026-11-22, 7 samples", "machine": HARDWARE},
    )


def with_whatif(estimate: Estimate, model: tuple, machine: Mapping = CPU) -> Estimate:
    def evaluate(workload: Workload) -> Estimate:
        return make_estimate(model, estimate.quant_id, workload, machine)

    table = whatif.tabulate(evaluate, estimate.workload, max_context_tokens=131072)
    return replace(estimate, whatif=table)


WORKLOAD = Workload(task=Task.CODING, prompt_tokens=4096, output_tokens=1024, context_tokens=8192)


def make_choice(rank: int, model: tuple, quant_id: str, machine: Mapping = CPU) -> Choice:
    estimate = with_whatif(make_estimate(model, quant_id, WORKLOAD, machine), model, machine)
    imputed = rank % 4 == 0
    kept = 0.99
    width = 9.0 if imputed else 4.0
    quality = Quality(low=model[6] * kept - width, mid=model[6] * kept, high=model[6] * kept + width, imputed=imputed)
    return Choice(
        rank=rank,
        score=model[6] * min(1.0, 0.55 + 0.15 * math.log10(estimate.decode_tokens_per_s.mid)),
        quality=quality,
        estimate=estimate,
        reasons=(
            f"Coding quality {model[6]:.0f} of 100, the best that generates faster than you read.",
            "The whole context stays in memory beside what already runs.",
            f"{quant_id} costs about 1 % of quality at this size.",
        ),
        command=(
            f"llama-server -hf {model[0]}-GGUF:{quant_id} --ctx-size 8192 --threads 2 --flash-attn on "
            "--cache-type-k f16 --cache-type-v f16 --host 127.0.0.1"
        ),
        display_name=model[1],
        license_id=model[7],
        params_total_count=int(model[2] * 1e9),
        params_active_count=int(model[3] * 1e9),
        file_bytes=_weights_bytes(model, quant_id),
        release_date="2026-05-14",
        repo=f"{model[0]}-GGUF",
        about_equal_to_rank=1 if rank == 2 else None,
        alternatives=("Q6_K: 0.4 points better, 24 % slower", "Q4_K_M with q8_0 KV cache: 0.6 GiB less"),
    )


def _front(choices: list[Choice]) -> list[Choice]:
    """Mark the picks that no other beats in both quality and speed."""

    def beaten(choice: Choice) -> bool:
        return any(
            other.quality.mid > choice.quality.mid
            and other.estimate.decode_tokens_per_s.mid > choice.estimate.decode_tokens_per_s.mid
            for other in choices
        )

    return [replace(choice, pareto=not beaten(choice)) for choice in choices]


def recommendation(machine: Mapping = CPU, hardware: str = HARDWARE) -> Recommendation:
    quants = ("Q4_K_M", "Q5_K_M", "Q4_K_M", "Q6_K", "Q4_K_M", "Q8_0") * 2
    choices = [make_choice(1, model, quant, machine) for model, quant in zip(MODELS, quants, strict=True)]
    choices.sort(key=lambda choice: -choice.score)
    ranked = [
        make_choice(rank, next(m for m in MODELS if m[0] == c.estimate.model_id), c.estimate.quant_id, machine)
        for rank, c in enumerate(choices, 1)
    ]
    return Recommendation(
        task=Task.CODING,
        workload=WORKLOAD,
        limits=Limits(min_tokens_per_s=2.0),
        ranked=tuple(_front(ranked)),
        rejected=(
            Rejection(
                model_id="moonshotai/Kimi-K2.5",
                quant_id="Q4_K_M",
                reason="needs 579 GiB of memory; 22.4 GiB are free.",
                fix="a machine with 640 GiB of memory",
            ),
            Rejection(
                model_id="meta-llama/Llama-3.3-70B-Instruct",
                quant_id="IQ2_XS",
                reason="0.9 tok/s is below the limit of 2 tok/s.",
                fix="--min-tps 0.5, or three times the memory bandwidth",
            ),
            Rejection(model_id="BAAI/bge-m3", reason="an embedding model; it does not write code."),
            Rejection(model_id="CohereLabs/c4ai-command-a", reason="its licence does not allow this use."),
        ),
        profile_id="7d1f0c2a",
        catalog_version="2026-10-31",
        created_at=CREATED_AT,
        tool_version=TOOL_VERSION,
        hardware=hardware,
        considered_count=581,
    )


def large_recommendation(rows_count: int = 1400) -> Recommendation:
    """As many picks as the whole shelf; sizes vary so that no two are alike."""
    small = recommendation()
    choices = []
    for index in range(rows_count):
        base = MODELS[index % len(MODELS)]
        size = base[2] * (0.2 + 1.6 * ((index * 37) % rows_count) / rows_count)
        active = min(size, base[3] * (0.2 + 1.6 * ((index * 37) % rows_count) / rows_count))
        quality = 25 + 50 * ((index * 61) % rows_count) / rows_count
        model = (f"{base[0]}-v{index}", f"{base[1]} v{index}", size, active, *base[4:6], quality, base[7])
        choices.append(make_choice(1, model, list(QUANTS)[index % 4]))
    choices.sort(key=lambda choice: -choice.score)
    ranked = (replace(choice, rank=rank, about_equal_to_rank=None) for rank, choice in enumerate(choices, 1))
    return replace(small, ranked=tuple(_front(list(ranked))), considered_count=rows_count)


#: Names that try to break out of HTML, SVG, Markdown, CSV, mathtext and the terminal.
HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\u202egnp.exe",
    "a\x1b[31mred\x1b]8;;http://x\x07link",
    "[bold red]markup[/] :skull:",
    "$\\frac{1}{0}$ | `code` *x* _y_ [link](javascript:alert(1))",
    "=cmd|' /C calc'!A0",
    "line\nbreak\r\tand & < > \" '",
    "{{ 7*7 }}{% raw %}",
    "]]>&#x3c;b&#x3e;",
    "模型 نموذج 🤖",
    "\ud800lone",
)


def hostile_recommendation() -> Recommendation:
    """Every text field of a recommendation holds a hostile name."""
    base = recommendation()
    ranked = []
    for index, name in enumerate(HOSTILE_NAMES):
        choice = base.ranked[index % len(base.ranked)]
        estimate = replace(
            choice.estimate,
            model_id=name,
            quant_id=name[:12],
            deployment=replace(choice.estimate.deployment, model_id=name, kv_quant_id=name[:12]),
            provenance={name: name},
            terms=(*choice.estimate.terms, replace(choice.estimate.terms[0], name=f"decode.{name}", note=name)),
        )
        ranked.append(
            replace(
                choice,
                rank=index + 1,
                display_name=name,
                estimate=estimate,
                reasons=(name,),
                command=f"run '{name}'",
                alternatives=(name,),
                license_id=name,
                repo=name,
            )
        )
    rejected = tuple(Rejection(model_id=name, quant_id=name, reason=name, fix=name) for name in HOSTILE_NAMES)
    return replace(
        base, ranked=tuple(ranked), rejected=rejected, hardware=HOSTILE_NAMES[0], profile_id=HOSTILE_NAMES[1]
    )
