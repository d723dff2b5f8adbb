"""What was measured: validations, accuracy, a comparison of runs, the history."""

import math
from collections.abc import Mapping
from dataclasses import replace

from example_rankings import CPU, CREATED_AT, HARDWARE, MODELS, TOOL_VERSION, recommendation, spread

from advisor.types import (
    Accuracy,
    AccuracyRow,
    AccuracySummary,
    ChangePoint,
    Choice,
    EngineBuild,
    Finding,
    FractionInterval,
    HistoryDocument,
    HistoryEntry,
    Observed,
    Regression,
    RunReference,
    SkippedRow,
    Trend,
    TrendPoint,
    Validation,
    ValidationRecord,
    ValidationStatus,
    Verdict,
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
