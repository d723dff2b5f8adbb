"""Documents to render in tests: plausible, deterministic, made from the dataclasses alone."""

import math
from collections.abc import Mapping
from dataclasses import replace

from advisor import whatif
from advisor.types import (
    Accuracy,
    AccuracyRow,
    AccuracySummary,
    Basis,
    Bound,
    Calibration,
    ChangePoint,
    Choice,
    Deployment,
    DeviceMemory,
    EngineBuild,
    Estimate,
    EstimateWarning,
    Finding,
    FractionInterval,
    HistoryDocument,
    HistoryEntry,
    Interval,
    Limits,
    MemoryPlan,
    Observed,
    Quality,
    Rates,
    Recommendation,
    Regression,
    Rejection,
    RunReference,
    SkippedRow,
    Task,
    Term,
    Trend,
    TrendPoint,
    Validation,
    ValidationRecord,
    ValidationStatus,
    Verdict,
    Workload,
)
from catalog.units import GIB, KIB, MIB
from probes.types import (
    Conditions,
    Device,
    HardwareProfile,
    Host,
    Link,
    Measurement,
    ProbeOutcome,
    ProbeStatus,
    ScanWarning,
)

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


def _curve() -> dict[str, tuple[float, ...]]:
    sizes = tuple(float(16 * KIB * 2**step) for step in range(16))
    caches = ((48 * KIB, 290e9), (1 * MIB, 160e9), (32 * MIB, 88e9), (math.inf, 39e9))
    values = tuple(
        next(rate for limit, rate in caches if size <= limit) * (1 + 0.03 * math.sin(step))
        for step, size in enumerate(sizes)
    )
    return {"size_bytes": sizes, "bytes_per_s": values}


def measured(quantity: str, unit: str, value: float, **more: object) -> Measurement:
    fields: dict = {
        "warmup_count": 1,
        "elapsed_s": (0.0521, 0.0533, 0.0529, 0.0547),
        "median_value": value * 0.97,
        "spread_frac": 0.02,
        "threads_count": 2,
    } | more
    return Measurement(quantity=quantity, unit=unit, value=value, **fields)


def profile() -> HardwareProfile:
    def ok(probe_id: str, measurement: Measurement) -> ProbeOutcome:
        return ProbeOutcome(
            probe_id=probe_id, device_id="cpu", status=ProbeStatus.OK, measurement=measurement, elapsed_s=1.2
        )

    threads = {"threads_count": (1.0, 2.0), "bytes_per_s": (23.4e9, 40.2e9)}
    return HardwareProfile(
        profile_id="7d1f0c2a",
        created_at=CREATED_AT,
        tool_version=TOOL_VERSION,
        host=Host(
            os="Linux",
            os_version="6.12",
            machine="x86_64",
            cpu_vendor="AMD",
            cpu_name="AMD EPYC 9B45",
            cores_count=2,
            threads_count=2,
            usable_threads_count=2,
            instruction_sets=("avx2", "avx512f", "avx512_bf16", "avx512_vnni"),
            l1d_bytes=48 * KIB,
            l2_bytes=1 * MIB,
            l3_bytes=32 * MIB,
            memory_total_bytes=24 * GIB,
            memory_available_bytes=int(22.4 * GIB),
            virtualization="kvm",
        ),
        devices=(
            Device(
                device_id="cpu",
                kind="cpu",
                vendor="AMD",
                name="AMD EPYC 9B45",
                memory_total_bytes=24 * GIB,
                memory_free_bytes=int(22.4 * GIB),
            ),
        ),
        links=(Link(src="disk", dst="cpu", bytes_per_s=1.4e9),),
        outcomes=(
            ok("cpu.read_bandwidth", measured("read", "bytes_per_s", 40.2e9, details=threads)),
            ok("cpu.stream_copy", measured("copy", "bytes_per_s", 34.1e9)),
            ok(
                "cpu.stream_triad",
                measured("triad", "bytes_per_s", 33.0e9, warnings=(ScanWarning.CONTENDED,)),
            ),
            ok("cpu.cache_curve", measured("read", "bytes_per_s", 298e9, details=_curve())),
            ok("cpu.matmul", measured("matmul", "flop_per_s", 310e9, dtype="float32", shape=(1024, 1024, 1024))),
            ok("cpu.matmul", measured("matmul", "flop_per_s", 640e9, dtype="bfloat16", shape=(1024, 1024, 1024))),
            ok("cpu.matmul", measured("matmul", "flop_per_s", 720e9, dtype="int8", shape=(1024, 1024, 1024))),
            ProbeOutcome(
                probe_id="cuda.read_bandwidth",
                device_id="cuda:0",
                status=ProbeStatus.WAIVED,
                reason="no NVIDIA driver on this machine",
                fix="install the NVIDIA driver",
            ),
        ),
        conditions=Conditions(other_busy_cores_frac=0.05, steal_frac=0.004),
    )


def gpu_profile() -> HardwareProfile:
    base = profile()
    gpu = Device(
        device_id="cuda:0",
        kind="cuda",
        vendor="NVIDIA",
        name="NVIDIA GeForce RTX 4090",
        memory_total_bytes=24 * GIB,
        memory_free_bytes=int(23.4 * GIB),
        driver="580.65",
    )

    def on_gpu(probe_id: str, measurement: Measurement) -> ProbeOutcome:
        return ProbeOutcome(
            probe_id=probe_id, device_id="cuda:0", status=ProbeStatus.OK, measurement=measurement, elapsed_s=0.8
        )

    return replace(
        base,
        profile_id="b81c93aa",
        host=replace(base.host, cpu_name="AMD Ryzen 9 7950X", cores_count=16, usable_threads_count=32),
        devices=(gpu, *base.devices),
        outcomes=(
            on_gpu("cuda.read_bandwidth", measured("read", "bytes_per_s", 921e9, threads_count=None)),
            on_gpu("cuda.matmul", measured("matmul", "flop_per_s", 158e12, dtype="float16", threads_count=None)),
            *base.outcomes[:-1],
        ),
    )


def record(choice: Choice, factor: float, **changes: object) -> ValidationRecord:
    estimate = choice.estimate
    decode = estimate.decode_tokens_per_s.mid * factor
    prefill = estimate.prefill_tokens_per_s.mid * (2 - factor)
    first_token_s = estimate.first_token_s.mid / (2 - factor)
    observed = Observed(
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=decode,
        first_token_s=first_token_s,
        load_s=estimate.load_s.mid * 0.9,
        peak_memory_bytes=int(estimate.memory.total_bytes * 0.98),
    )
    made = ValidationRecord(
        estimate=estimate,
        engine=EngineBuild(id="llama.cpp", version="0.3.36", build="AVX512 native"),
        weights="twin",
        status=ValidationStatus.OK,
        observed=observed,
        error_frac={
            "decode_tokens_per_s": 1 / factor - 1,
            "prefill_tokens_per_s": 1 / (2 - factor) - 1,
            "first_token_s": (2 - factor) - 1,
            "load_s": 1 / 0.9 - 1,
            "peak_memory_bytes": 1 / 0.98 - 1,
        },
        within_interval={
            "decode_tokens_per_s": estimate.decode_tokens_per_s.holds(decode),
            "prefill_tokens_per_s": estimate.prefill_tokens_per_s.holds(prefill),
            "first_token_s": estimate.first_token_s.holds(first_token_s),
            "load_s": True,
        },
        samples={"decode_s": (0.11, 0.112, 0.109)},
        profile_id="7d1f0c2a",
        created_at=CREATED_AT,
    )
    return replace(made, **changes)


def validation(machine: Mapping = CPU) -> Validation:
    picks = recommendation(machine).ranked
    failed = record(
        picks[5],
        1.0,
        status=ValidationStatus.FAILED,
        observed=Observed(),
        error_frac={},
        within_interval={},
        reason="the engine ran out of memory at 21.9 GiB",
    )
    return Validation(
        records=(
            record(picks[0], 0.976, weights="real", answer="def fibonacci(n): …"),
            record(picks[1], 1.04),
            record(picks[2], 0.91),
            record(picks[3], 1.02, polluted=True, notes=("retried twice",)),
            record(picks[4], 0.99),
            failed,
        ),
        created_at=CREATED_AT,
        tool_version=TOOL_VERSION,
        profile_id="7d1f0c2a",
        hardware=HARDWARE,
    )


def accuracy() -> Accuracy:
    rows = []
    machines = (("RTX 4090", "cuda"), ("RX 7900 XTX", "rocm"), ("M3 Max", "metal"), ("Arc B580", "vulkan"))
    for index in range(120):
        machine, backend = machines[index % 4]
        test = ("tg128", "pp512", "tg128@d4096")[index % 3]
        real = 12.0 * 1.045**index * (30.0 if test == "pp512" else 1.0)
        error = 0.22 * math.sin(index * 1.7) * (0.4 + (index % 4) / 3)
        rows.append(
            AccuracyRow(
                hardware=machine,
                backend=backend,
                model_id=MODELS[index % len(MODELS)][0],
                quant="Q4_K_M",
                test=test,
                measured=real,
                predicted=spread(real * (1 + error), 0.2),
                error_frac=error,
            )
        )
    summary = [
        AccuracySummary(
            group=group,
            phase=phase,
            n=30,
            median_ape=0.05 + 0.01 * index,
            p90_ape=0.16 + 0.03 * index,
            coverage=0.82 - 0.02 * index,
            bias=0.01 * (index - 2),
        )
        for index, (group, phase) in enumerate(
            (group, phase) for group in ("all", "cuda", "metal", "rocm") for phase in ("decode", "prefill")
        )
    ]
    return Accuracy(
        rows=tuple(rows),
        summary=tuple(summary),
        skipped=(SkippedRow(row={"hardware": "GTX 1"}, reason="no chip of that name in the catalog"),),
        notes=("Rows of the chip under test were left out of the fit.",),
        created_at=CREATED_AT,
        tool_version=TOOL_VERSION,
    )


def calibration() -> Calibration:
    return Calibration(
        calibration_id="c0ffee",
        profile_id="7d1f0c2a",
        engine=EngineBuild(id="llama.cpp", version="0.3.36"),
        created_at=CREATED_AT,
        rates=(
            Rates(
                device_id="cpu",
                backend="cpu",
                basis=Basis.CALIBRATED,
                decode_s_per_byte={"Q4_K": 1 / 27e9, "Q6_K": 1 / 29e9, "Q8_0": 1 / 30e9, "*": 1 / 26e9},
                prefill_s_per_flop={"Q4_K": 1 / 300e9, "Q6_K": 1 / 480e9, "Q8_0": 1 / 205e9, "*": 1 / 280e9},
                kv_s_per_byte=1 / 24e9,
                attention_s_per_flop=1 / 120e9,
                decode_sigma=0.06,
                prefill_sigma=0.11,
                threads_count=2,
                memory_bytes_per_s=40.2e9,
                flop_per_s=720e9,
                source="7 twins, 17 s",
            ),
        ),
        samples={"decode.Q4_K": (0.0123, 0.0124)},
    )


def _reference(created_at: str, version: str) -> RunReference:
    return RunReference(
        suite_name="nightly",
        suite_id="ab12",
        machine_id="m1",
        hardware=HARDWARE,
        created_at=created_at,
        engine=EngineBuild(id="llama.cpp", version=version),
    )


def regression() -> Regression:
    def finding(subject: str, metric: str, frac: float | None, verdict: Verdict, **more: object) -> Finding:
        span = None if frac is None else FractionInterval(low=frac - 0.015, high=frac + 0.015)
        fields: dict = {
            "baseline": 9.1,
            "current": None if frac is None else 9.1 * (1 + frac),
            "significant": verdict in (Verdict.SLOWER, Verdict.FASTER),
            "threshold_frac": 0.05,
            "p_value": 0.002,
        } | more
        return Finding(metric=metric, subject=subject, change_frac=frac, interval_frac=span, verdict=verdict, **fields)

    return Regression(
        baseline=_reference("2026-11-15T03:00:00Z", "0.3.35"),
        current=_reference(CREATED_AT, "0.3.36"),
        findings=(
            finding("Qwen3.6 8B Q4_K_M", "decode_tokens_per_s", -0.104, Verdict.SLOWER),
            finding("Qwen3.6 8B Q4_K_M", "prefill_tokens_per_s", 0.121, Verdict.FASTER),
            finding("gpt-oss 20B", "decode_tokens_per_s", 0.004, Verdict.UNCHANGED),
            finding("gpt-oss 20B", "first_token_s", -0.02, Verdict.NOISIER, reason="spread doubled"),
            finding(
                "Phi-5 mini", "load_s", None, Verdict.NOT_COMPARABLE, reason="missing in the new run", baseline=2.1
            ),
        ),
        regressed=True,
        false_discovery_frac=0.05,
        created_at=CREATED_AT,
        tool_version=TOOL_VERSION,
        notes=("10 rounds each",),
    )


def history() -> HistoryDocument:
    points = tuple(
        TrendPoint(
            created_at=f"2026-11-{day:02d}T03:00:00Z",
            value=(9.1 if day < 14 else 8.2) + 0.12 * math.sin(day * 2.1),
            engine="llama.cpp 0.3.35" if day < 14 else "llama.cpp 0.3.36",
            low=(9.1 if day < 14 else 8.2) - 0.25,
            high=(9.1 if day < 14 else 8.2) + 0.25,
        )
        for day in range(1, 23)
    )
    step = ChangePoint(
        created_at="2026-11-14T03:00:00Z",
        before=9.1,
        after=8.2,
        change_frac=-0.099,
        engine_before="llama.cpp 0.3.35",
        engine_after="llama.cpp 0.3.36",
    )
    trend = Trend(
        machine_id="m1",
        subject="Qwen3.6 8B Q4_K_M",
        metric="decode_tokens_per_s",
        points=points,
        change_points=(step,),
    )
    return HistoryDocument(
        entries=(
            HistoryEntry(
                digest="d1", kind="validation", created_at=CREATED_AT, machine_id="m1", summary="6 validations"
            ),
            HistoryEntry(
                digest="d2",
                kind="run",
                created_at="2026-11-21T03:00:00Z",
                machine_id="m1",
                summary="nightly: 3 cases, 10 rounds, llama.cpp 0.3.36",
            ),
        ),
        trends=(trend, replace(trend, subject="gpt-oss 20B", change_points=(), points=points[:13])),
        created_at=CREATED_AT,
        tool_version=TOOL_VERSION,
    )


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


def everything() -> tuple[object, ...]:
    """One document of every kind that a page can hold at once."""
    return (recommendation(), profile(), validation(), accuracy(), calibration(), regression(), history())
