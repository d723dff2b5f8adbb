"""From what running a model yielded to the record that is kept: figures, judgement, raw readings. Pure."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from advisor.engines.base import ScoredText, Stream, TextTimes, Window
from advisor.types import (
    DepthSpeed,
    EnergyUse,
    EngineBuild,
    Observed,
    Stages,
    ThreadsSpeed,
    ValidationRecord,
    ValidationStatus,
)
from advisor.validation import figures, sanity, text_quality, verdict
from advisor.validation.figures import Figures
from advisor.validation.measure import Runs
from advisor.validation.verdict import Roof
from advisor.validation.weights_source import Candidate, Source

GARBAGE = "GarbageError"
_DEEP_ENOUGH_FRAC = 0.95  # of the prompt; decoding less deep is said so


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Everything that running one candidate yielded; what was not run is empty or None.

    ``stream`` is an answer to meaningless tokens, ``answer`` one of real weights to a real question.
    """

    source: Source
    runs: tuple[Runs, ...]
    build: EngineBuild
    cold_loads_s: tuple[float, ...] = ()
    warm_loads_s: tuple[float, ...] = ()
    memory_bytes: Mapping[str, int]
    stream: Stream | None = None
    answer: Stream | None = None
    text_times: TextTimes | None = None
    threads: tuple[ThreadsSpeed, ...] = ()
    scored: ScoredText | None = None
    text_name: str = text_quality.BUNDLED_NAME
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a record is judged by and labelled with."""

    roof: Roof
    created_at: str
    profile_id: str | None = None
    meter_ids: tuple[str, ...] = ()
    no_energy_reason: str | None = None


def record_of(candidate: Candidate, timed: Timed, context: Context) -> ValidationRecord:
    """Prediction beside measurement."""
    estimate, cold = candidate.estimate, bool(timed.cold_loads_s)
    whole = _whole(candidate, timed)
    if not _adds_up(candidate, timed, whole):
        return _unusable(candidate, timed, context)
    observed = _observed(candidate, timed, whole)
    excess = verdict.above_physics(candidate, observed, context.roof)
    broken = _fault(timed)
    fault = broken or (excess.reason if excess and excess.impossible else None)
    doubt = (excess.reason,) if excess and not excess.impossible else ()
    return ValidationRecord(
        estimate=estimate,
        engine=timed.build,
        weights=timed.source.weights,
        status=ValidationStatus.FAILED if fault else ValidationStatus.OK,
        observed=observed,
        error_frac={} if fault else verdict.errors(estimate, observed, cold=cold),
        within_interval={} if fault else verdict.within(estimate, observed, cold=cold),
        polluted=any(run.polluted for run in timed.runs),
        reason=fault,
        samples=_samples(timed),
        engine_memory_bytes=timed.memory_bytes,
        profile_id=context.profile_id,
        created_at=context.created_at,
        answer=timed.answer.text if timed.answer else None,
        notes=(*timed.source.notes, *timed.notes, *_coverage_notes(candidate, whole, observed), *doubt),
        stages=_stages(candidate, timed, observed),
        depths=_depths(whole),
        threads=timed.threads,
        energy=_energy(timed, context),
        quality=text_quality.summarize(timed.scored, timed.text_name) if timed.scored else None,
        failure_kind=(GARBAGE if broken else "ImpossibleSpeedError") if fault else None,
    )


def _adds_up(candidate: Candidate, timed: Timed, whole: Figures) -> bool:
    """Whether the whole takes at least as long as the stand-in that it contains; noise can say otherwise."""
    if timed.source.stand_ins is None:
        return True
    base = figures.figures(timed.runs[0], _chunk_tokens(candidate))
    chunks = all(w.elapsed_s >= b.elapsed_s for w, b in zip(whole.chunks, base.chunks, strict=True))
    pairs = ((whole.shallow, base.shallow), (whole.deep, base.deep))
    return chunks and all(w is None or b is None or w.s_per_token >= b.s_per_token for w, b in pairs)


def _unusable(candidate: Candidate, timed: Timed, context: Context) -> ValidationRecord:
    """The record of stand-ins whose times were disturbed beyond use: raw readings, no figures."""
    return ValidationRecord(
        estimate=candidate.estimate,
        engine=timed.build,
        weights=timed.source.weights,
        status=ValidationStatus.FAILED,
        observed=Observed(),
        polluted=True,
        reason="the times of its stand-ins do not add up: the machine was too busy; close other programs and try again",
        samples=_samples(timed),
        profile_id=context.profile_id,
        created_at=context.created_at,
        notes=timed.source.notes,
        failure_kind="DisturbedError",
    )


def _fault(timed: Timed) -> str | None:
    if timed.stream is not None and timed.stream.finish_reason == "nonfinite":
        return "the model computed values that are not numbers"
    return None if timed.answer is None else sanity.garbage_reason(timed.answer.text, timed.answer.finish_reason)


def _chunk_tokens(candidate: Candidate) -> int:
    return min(candidate.estimate.deployment.ubatch_tokens, candidate.estimate.workload.context_tokens)


def _whole(candidate: Candidate, timed: Timed) -> Figures:
    """The figures of the whole model, whether it was run or its stand-ins."""
    parts = [figures.figures(run, _chunk_tokens(candidate)) for run in timed.runs]
    return figures.combine(timed.source.stand_ins, parts) if timed.source.stand_ins else parts[0]


def _observed(candidate: Candidate, timed: Timed, whole: Figures) -> Observed:
    workload, geometry = candidate.estimate.workload, candidate.model.geometry
    prompt_s = figures.prompt_s(whole, workload, candidate.artifact, geometry)
    token_s = figures.decode_s(whole, workload, geometry)
    return Observed(
        prefill_tokens_per_s=None if prompt_s is None else workload.prompt_tokens / prompt_s,
        decode_tokens_per_s=None if token_s is None else 1.0 / token_s,
        first_token_s=None if prompt_s is None else prompt_s + _sampling_s(timed.stream),
        load_s=_median(timed.cold_loads_s or timed.warm_loads_s),
        peak_memory_bytes=verdict.peak_bytes(timed.memory_bytes),
    )


def _sampling_s(stream: Stream | None) -> float:
    """What choosing the first token adds to the prompt."""
    if stream is None or stream.first_token_s is None or stream.prefill_s is None:
        return 0.0
    return max(0.0, stream.first_token_s - stream.prefill_s)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _coverage_notes(candidate: Candidate, whole: Figures, observed: Observed) -> Iterator[str]:
    ran, asked = sum(chunk.tokens_count for chunk in whole.chunks), candidate.estimate.workload.prompt_tokens
    if observed.prefill_tokens_per_s is None:
        yield f"there was time for {ran} of {asked} prompt tokens, which tell nothing of the others; allow more time"
    elif ran < asked:
        yield f"{ran} of {asked} prompt tokens were run, the others follow from them"
    if whole.deep is not None and whole.deep.depth_tokens < _DEEP_ENOUGH_FRAC * asked:
        depth = round(whole.deep.depth_tokens)
        yield f"decoding was timed behind {depth} tokens, its speed behind {asked} follows from it"


def _stages(candidate: Candidate, timed: Timed, observed: Observed) -> Stages:
    workload, text = candidate.estimate.workload, timed.text_times
    rate = observed.decode_tokens_per_s
    return Stages(
        load_cold_s=_median(timed.cold_loads_s),
        load_warm_s=_median(timed.warm_loads_s),
        tokenize_s=text.tokenize_s * workload.prompt_tokens / text.tokens_count if text else None,
        prefill_s=workload.prompt_tokens / observed.prefill_tokens_per_s if observed.prefill_tokens_per_s else None,
        decode_s=workload.output_tokens / rate if rate else None,
        detokenize_s=text.detokenize_s * workload.output_tokens / text.tokens_count if text else None,
    )


def _depths(whole: Figures) -> tuple[DepthSpeed, ...]:
    """Speed at every depth that was timed, shallowest first."""
    found: dict[int, DepthSpeed] = {}
    ends = {chunk.start: chunk for chunk in (whole.chunks[0], whole.chunks[-1]) if chunk.elapsed_s > 0}
    for start, chunk in ends.items():
        found[start] = DepthSpeed(depth_tokens=start, prefill_tokens_per_s=chunk.tokens_count / chunk.elapsed_s)
    decodings = [part for part in (whole.shallow, whole.deep) if part is not None and part.s_per_token > 0]
    points = [
        *found.values(),
        *(
            DepthSpeed(depth_tokens=round(part.depth_tokens), decode_tokens_per_s=1.0 / part.s_per_token)
            for part in decodings
        ),
    ]
    return tuple(sorted(points, key=lambda point: point.depth_tokens))


def _energy(timed: Timed, context: Context) -> EnergyUse:
    prefill = _joules_per_token(timed, [run.prefill for run in timed.runs])
    decode = _joules_per_token(timed, [run.deep for run in timed.runs])
    if prefill is None and decode is None:
        return EnergyUse(reason=context.no_energy_reason or "the energy counter stood still")
    return EnergyUse(device_ids=context.meter_ids, prefill_j_per_token=prefill, decode_j_per_token=decode)


def _joules_per_token(timed: Timed, windows_by_run: Sequence[Sequence[Window]]) -> float | None:
    """Middle energy of a token of the whole model; of stand-ins, added up as their times are."""
    parts = [
        _median([w.energy_j / (w.tokens_count * w.streams_count) for w in figures.trusted(windows) if w.energy_j])
        for windows in windows_by_run
    ]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    total = timed.source.stand_ins.total(known) if timed.source.stand_ins else known[0]
    return total if total > 0 else None


def _samples(timed: Timed) -> dict[str, tuple[float, ...]]:
    """Every raw reading, by kind; stand-ins after the first carry their number."""
    samples: dict[str, tuple[float, ...]] = {}
    for index, run in enumerate(timed.runs):
        samples |= _window_samples("" if index == 0 else f"stand_in_{index}.", run)
    if timed.stream is not None:
        started_s = timed.stream.started_s
        samples["token_timestamps_s"] = tuple(moment - started_s for moment in timed.stream.token_s)
    if timed.answer is not None:
        for name, value in (("tokenize_s", timed.answer.tokenize_s), ("detokenize_s", timed.answer.detokenize_s)):
            samples |= {name: (value,)} if value is not None else {}
    if timed.scored is not None:
        samples[text_quality.LOSSES] = timed.scored.losses
    samples |= {"load_cold_s": timed.cold_loads_s} if timed.cold_loads_s else {}
    return samples | ({"load_warm_s": timed.warm_loads_s} if timed.warm_loads_s else {})


def _window_samples(prefix: str, run: Runs) -> dict[str, tuple[float, ...]]:
    samples: dict[str, tuple[float, ...]] = {}
    for name, windows in run.kinds.items():
        samples[f"{prefix}{name}_s"] = tuple(value for window in windows for value in window.elapsed_s)
        samples[f"{prefix}{name}_windows_s"] = tuple(window.total_s for window in windows)
        samples[f"{prefix}{name}_windows_polluted"] = tuple(float(window.polluted) for window in windows)
        samples[f"{prefix}{name}_depth_tokens"] = (float(windows[0].depth_tokens),)
        metered = [window.energy_j for window in windows if window.energy_j is not None]
        samples |= {f"{prefix}{name}_windows_energy_j": tuple(metered)} if metered else {}
    return samples
