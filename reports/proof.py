"""What a validation found besides its five figures, and what runs changed in a ranking, in lines of words."""

from collections.abc import Iterator

from advisor.types import (
    DepthSpeed,
    EnergyUse,
    QualityDelta,
    RankChange,
    Reranking,
    Stages,
    TextQuality,
    Trial,
    Validation,
    ValidationRecord,
)
from reports import format as fmt
from reports import phrases
from reports.text import plain

_STAGES = (
    ("load_cold_s", "loading from disk"),
    ("load_warm_s", "loading from memory"),
    ("tokenize_s", "tokenising"),
    ("prefill_s", "reading the prompt"),
    ("decode_s", "generating"),
    ("detokenize_s", "detokenising"),
)


def record_lines(record: ValidationRecord) -> tuple[str, ...]:
    """Stages, depths, threads, energy and quality of one record, as far as they are known."""
    found = (
        _stages(record.stages),
        _depths(record.depths),
        _threads(record),
        _energy(record.energy),
        _quality(record.quality),
    )
    return tuple(line for line in found if line)


def _stages(stages: Stages) -> str:
    parts = [
        f"{name} {fmt.duration(value)}" for field, name in _STAGES if (value := getattr(stages, field)) is not None
    ]
    return f"Stages: {', '.join(parts)}" if parts else ""


def _depths(depths: tuple[DepthSpeed, ...]) -> str:
    decoding = [(point.depth_tokens, point.decode_tokens_per_s) for point in depths if point.decode_tokens_per_s]
    reading = [(point.depth_tokens, point.prefill_tokens_per_s) for point in depths if point.prefill_tokens_per_s]
    parts = [
        f"{name} " + ", ".join(f"{fmt.number(rate)} tok/s behind {fmt.number(depth)} tokens" for depth, rate in points)
        for name, points in (("generation", decoding), ("prompt", reading))
        if len(points) > 1
    ]
    return f"Against depth: {'; '.join(parts)}" if parts else ""


def _threads(record: ValidationRecord) -> str:
    best, default = record.fastest_threads, record.estimate.deployment.threads_count
    if best is None:
        return ""
    rates = ", ".join(
        f"{speed.threads_count}: {fmt.number(speed.decode_tokens_per_s or speed.prefill_tokens_per_s)} tok/s"
        for speed in record.threads
    )
    usual = "" if default is None else (", the default" if best.threads_count == default else f"; default {default}")
    return f"Threads: {rates}; fastest with {best.threads_count}{usual}"


def _energy(energy: EnergyUse) -> str:
    if energy.reason is not None:
        return f"Energy unknown: {plain(energy.reason)}"
    parts = [
        f"{fmt.number(joules)} J per {what}"
        for joules, what in (
            (energy.decode_j_per_token, "generated token"),
            (energy.prefill_j_per_token, "prompt token"),
        )
        if joules is not None
    ]
    return f"Energy: {', '.join(parts)} ({', '.join(map(plain, energy.device_ids))})" if parts else ""


def _quality(quality: TextQuality | None) -> str:
    if quality is None:
        return ""
    return (
        f"Perplexity {fmt.number(quality.perplexity)} (± {fmt.number(100 * quality.perplexity_sigma_frac)} %) on"
        f" {plain(quality.text_name)}, {quality.tokens_count} tokens; {fmt.number(quality.bits_per_byte)} bits per byte"
    )


def delta_lines(validation: Validation) -> tuple[str, ...]:
    """What quantisations cost each other, if several of one model were scored."""
    return tuple(map(_delta, validation.quality_deltas))


def _delta(delta: QualityDelta) -> str:
    span = f"{fmt.change(delta.interval_frac.low)} to {fmt.change(delta.interval_frac.high)}"
    return (
        f"{phrases.short_name(delta.model_id)} {plain(delta.quant_id)}: perplexity {fmt.change(delta.change_frac)}"
        f" ({span}) against {plain(delta.baseline_quant_id)}, on {delta.tokens_count} tokens"
    )


def reranking_lines(reranking: Reranking) -> Iterator[str]:
    """Which runs a budget bought, and what they changed."""
    yield (
        f"{phrases.counted(len(reranking.trials), 'run')} in {fmt.duration(reranking.spent_s)} of"
        f" {fmt.duration(reranking.budget_s)}: doubt about the order {fmt.number(reranking.doubt_before)} →"
        f" {fmt.number(reranking.doubt_after)}; {plain(reranking.stopped)}"
    )
    yield from map(_trial, reranking.trials)
    if not reranking.changes:
        yield "The ranking stands as predicted"
    yield from map(_rank_change, reranking.changes)


def _trial(trial: Trial) -> str:
    outcome = "disturbed, not used" if trial.polluted else trial.status.value
    return (
        f"Ran {phrases.short_name(trial.model_id)} {plain(trial.quant_id)} in {fmt.duration(trial.elapsed_s)}"
        f" (foreseen {fmt.duration(trial.predicted_cost_s)}): {outcome}"
    )


def _rank_change(change: RankChange) -> str:
    moved = f"#{change.rank_before} → #{change.rank_after}" if change.rank_after else f"#{change.rank_before} drops out"
    return f"{phrases.short_name(change.model_id)} {plain(change.quant_id)} {moved}: {plain(change.reason)}"
