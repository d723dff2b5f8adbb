"""Load a prediction's model in a real engine, time it, and set measurement beside prediction.

Real weights where the file is on this machine; a weightless twin where it is not; stand-ins of a few
layers where the whole is beyond this machine's disk, memory or the time allowed. Whatever goes wrong with
one model becomes its record and the next one goes on.
"""

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from advisor import figures, page_cache, sanity, verdict
from advisor.clock import utc_now
from advisor.engines._process import removed_if_killed
from advisor.engines.base import Engine, LoadOptions, Session, options_for
from advisor.errors import AdvisorError
from advisor.measure import Runs, Subject, take_turns
from advisor.scratch import scratch_folder
from advisor.twin import write_twin
from advisor.types import EngineBuild, Observed, ValidationRecord, ValidationStatus
from advisor.verdict import Roof
from advisor.weights_source import REAL, TWIN, Candidate, Source, choose_source, measure_room
from catalog.errors import CatalogError
from probes.base import Clock, SystemClock

_STREAM_TOKENS = 16
_MORE_LOADS = 2
_LOAD_SHARE = 0.25  # of the time budget, for loading once more
_COLD_LOAD_BYTES_PER_S = 0.3e9
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a validation runs."""

    engine: Engine
    scratch_root: Path
    budget_s: float = 60.0
    clock: Clock = field(default_factory=SystemClock)
    roof: Roof = field(default_factory=Roof)
    profile_id: str | None = None
    force_twin: bool = False
    on_progress: Progress = lambda _, __: None


def validate_one(candidate: Candidate, setting: Setting) -> ValidationRecord:
    """Time one candidate; failures are records too, saying what failed and what it needed."""
    engine = setting.engine
    waiver = engine.waiver(candidate.estimate.deployment)
    if waiver is not None:
        return _failure(candidate, setting, ValidationStatus.WAIVED, TWIN, waiver)
    source = Source(weights=REAL if candidate.local_path else TWIN)
    try:
        room = measure_room(setting.scratch_root, setting.budget_s)
        source = choose_source(candidate, room, force_twin=setting.force_twin)
        with scratch_folder(setting.scratch_root) as folder, removed_if_killed(folder):
            return _timed(candidate, setting, source, folder)
    except (AdvisorError, CatalogError) as error:
        needed = candidate.estimate.memory.total_bytes
        reason = f"{error} (predicted to need {needed} bytes of memory)"
        return _failure(candidate, setting, ValidationStatus.FAILED, source.weights, reason)


def _failure(
    candidate: Candidate, setting: Setting, status: ValidationStatus, weights: str, reason: str
) -> ValidationRecord:
    build = EngineBuild(id=setting.engine.engine_id)
    if status is not ValidationStatus.WAIVED:
        with contextlib.suppress(AdvisorError):
            build = setting.engine.build()
    return ValidationRecord(
        estimate=candidate.estimate,
        engine=build,
        weights=weights,
        status=status,
        observed=Observed(),
        reason=reason,
        profile_id=setting.profile_id,
        created_at=utc_now(),
    )


# --- one candidate, loaded and timed ---------------------------------------------------------------


def _timed(candidate: Candidate, setting: Setting, source: Source, folder: Path) -> ValidationRecord:
    estimate, engine = candidate.estimate, setting.engine
    options = _options(candidate)
    setting.on_progress(0.0, "writing a weightless twin" if source.weights != REAL else "loading")
    paths = _prepare(candidate, source, folder)
    cold = source.weights == REAL and _may_load_cold(candidate, setting) and page_cache.evict(paths[0])
    with ExitStack() as stack:
        setting.on_progress(0.1, "loading")
        sessions = [stack.enter_context(engine.open(path, options)) for path in paths]
        if source.weights != REAL:
            _unlink(paths)  # mapped files live on; nothing is left should this process be killed
        memory = dict(sessions[0].memory_bytes()) if len(sessions) == 1 else {}
        runs = take_turns(
            [Subject(session=session, decodes=session.loaded.decodes) for session in sessions],
            estimate.workload,
            budget_s=setting.budget_s,
            chunk_tokens=options.ubatch_tokens,
            clock=setting.clock,
            on_progress=lambda done: setting.on_progress(0.15 + 0.75 * done, "timing"),
        )
        result = _Result(candidate=candidate, source=source, runs=runs, cold=cold, memory_bytes=memory)
        if len(sessions) == 1:
            result.take_load(sessions[0])
        result.take_stream(sessions[0])
        if source.weights == REAL:
            result.take_answer(sessions[0])
        build = engine.build()
    if source.weights == REAL:
        result.take_more_loads(engine, paths[0], options, setting)
    return result.record(setting, build)


def _options(candidate: Candidate) -> LoadOptions:
    """The deployment's own settings; prompts are handed over by micro-batch, so that each is timed."""
    estimate = candidate.estimate
    ubatch = min(estimate.deployment.ubatch_tokens, estimate.workload.context_tokens)
    options = options_for(estimate.deployment, estimate.workload.context_tokens)
    embedding = "embedding" in candidate.model.capabilities
    return replace(
        options,
        batch_tokens=ubatch,
        ubatch_tokens=ubatch,
        streams_count=estimate.workload.concurrency_count,
        embeddings=embedding,
    )


def _prepare(candidate: Candidate, source: Source, folder: Path) -> tuple[str, ...]:
    if source.weights == REAL:
        return (str(candidate.local_path),)
    layer_sets: Sequence[tuple[int, ...] | None] = source.stand_ins.layers if source.stand_ins else (None,)
    paths = []
    for index, layers in enumerate(layer_sets):
        path = folder / f"twin-{index}.gguf"
        write_twin(candidate.model, candidate.artifact.quant_id, path, layers=layers)
        paths.append(str(path))
    return tuple(paths)


def _unlink(paths: Sequence[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # Windows keeps mapped files; the folder is removed later
            Path(path).unlink()


def _may_load_cold(candidate: Candidate, setting: Setting) -> bool:
    return candidate.artifact.file_bytes / _COLD_LOAD_BYTES_PER_S < setting.budget_s


class _Result:
    """What one candidate's session yields, step by step."""

    def __init__(
        self,
        *,
        candidate: Candidate,
        source: Source,
        runs: Sequence[Runs],
        cold: bool,
        memory_bytes: Mapping[str, int],
    ) -> None:
        self.candidate = candidate
        self.source = source
        self.runs = runs
        self.cold = cold
        self.memory_bytes = memory_bytes
        self.samples: dict[str, tuple[float, ...]] = _raw_samples(runs)
        self.notes = list(source.notes)
        self.load_s: float | None = None
        self.overhead_s = 0.0
        self.answer: str | None = None
        self.fault: str | None = None

    def take_load(self, session: Session) -> None:
        """Note how long a whole model took to load; stand-ins say nothing about it."""
        self.load_s = session.loaded.load_s
        self.samples["load_cold_s" if self.cold else "load_warm_s"] = (self.load_s,)

    def take_stream(self, session: Session) -> None:
        """One answer as a user gets it: what sampling adds to the first token, and raw timestamps."""
        if not session.loaded.decodes:
            return
        prompt = [token % session.loaded.vocab_count for token in range(1, 33)]
        stream = session.generate(prompt, _STREAM_TOKENS)
        self.samples["token_timestamps_s"] = tuple(moment - stream.started_s for moment in stream.token_s)
        if stream.first_token_s is not None and stream.prefill_s is not None:
            self.overhead_s = max(0.0, stream.first_token_s - stream.prefill_s)
        if stream.finish_reason == "nonfinite":
            self.fault = "the model computed values that are not numbers"

    def take_answer(self, session: Session) -> None:
        """Ask real weights a fixed question; garbage is a failure."""
        if not session.loaded.decodes:
            return
        stream = session.generate(sanity.PROMPT, sanity.ANSWER_TOKENS, chat=True)
        self.answer = stream.text
        self.fault = self.fault or sanity.garbage_reason(stream.text, stream.finish_reason)
        for name, value in (("tokenize_s", stream.tokenize_s), ("detokenize_s", stream.detokenize_s)):
            if value is not None:
                self.samples[name] = (value,)

    def take_more_loads(self, engine: Engine, path: str, options: LoadOptions, setting: Setting) -> None:
        """Load again from disk and from the page cache while that is quick: one load alone says little."""
        if not self.cold or self.load_s is None:
            return
        loads: dict[str, list[float]] = {"load_cold_s": [self.load_s], "load_warm_s": []}
        for name in ("load_warm_s", "load_cold_s") * _MORE_LOADS:
            spent_s = sum(map(sum, loads.values()))
            if spent_s > setting.budget_s * _LOAD_SHARE or (name == "load_cold_s" and not page_cache.evict(path)):
                break
            with engine.open(path, options) as session:
                loads[name].append(session.loaded.load_s)
        self.samples |= {name: tuple(values) for name, values in loads.items() if values}
        self.load_s = statistics.median(loads["load_cold_s"])

    def record(self, setting: Setting, build: EngineBuild) -> ValidationRecord:
        """Prediction beside measurement."""
        estimate = self.candidate.estimate
        observed = self._observed()
        excess = verdict.above_physics(self.candidate, observed, setting.roof)
        fault = self.fault or (excess.reason if excess and excess.impossible else None)
        self.notes += [excess.reason] if excess and not excess.impossible else []
        return ValidationRecord(
            estimate=estimate,
            engine=build,
            weights=self.source.weights,
            status=ValidationStatus.FAILED if fault else ValidationStatus.OK,
            observed=observed,
            error_frac={} if fault else verdict.errors(estimate, observed, cold=self.cold),
            within_interval={} if fault else verdict.within(estimate, observed, cold=self.cold),
            polluted=any(run.polluted for run in self.runs),
            reason=fault,
            samples=self.samples,
            engine_memory_bytes=self.memory_bytes,
            profile_id=setting.profile_id,
            created_at=utc_now(),
            answer=self.answer,
            notes=tuple(self.notes),
        )

    def _observed(self) -> Observed:
        candidate, workload = self.candidate, self.candidate.estimate.workload
        parts = [figures.figures(run, self._chunk_tokens()) for run in self.runs]
        whole = figures.combine(self.source.stand_ins, parts) if self.source.stand_ins else parts[0]
        prompt_s = figures.prompt_s(whole, workload, candidate.artifact, candidate.model.geometry)
        token_s = figures.decode_s(whole, workload, candidate.model.geometry)
        ran = sum(chunk.tokens_count for chunk in whole.chunks)
        if ran < workload.prompt_tokens:
            self.notes.append(f"{ran} of {workload.prompt_tokens} prompt tokens were run, the others follow from them")
        return Observed(
            prefill_tokens_per_s=workload.prompt_tokens / prompt_s,
            decode_tokens_per_s=None if token_s is None else 1.0 / token_s,
            first_token_s=prompt_s + self.overhead_s,
            load_s=self.load_s,
            peak_memory_bytes=verdict.peak_bytes(self.memory_bytes),
        )

    def _chunk_tokens(self) -> int:
        estimate = self.candidate.estimate
        return min(estimate.deployment.ubatch_tokens, estimate.workload.context_tokens)


def _raw_samples(runs: Sequence[Runs]) -> dict[str, tuple[float, ...]]:
    """Every reading, by kind; stand-ins after the first carry their number."""
    samples: dict[str, tuple[float, ...]] = {}
    for index, run in enumerate(runs):
        prefix = "" if index == 0 else f"stand_in_{index}."
        for name, windows in run.kinds.items():
            samples[f"{prefix}{name}_s"] = tuple(value for window in windows for value in window.elapsed_s)
            samples[f"{prefix}{name}_windows_s"] = tuple(window.total_s for window in windows)
            samples[f"{prefix}{name}_windows_polluted"] = tuple(float(window.polluted) for window in windows)
            samples[f"{prefix}{name}_depth_tokens"] = (float(windows[0].depth_tokens),)
    return samples


def validations(candidates: Sequence[Candidate], setting: Setting) -> Iterator[ValidationRecord]:
    """Time each candidate in turn; one that fails does not keep the next from running."""
    for index, candidate in enumerate(candidates):
        name = f"{candidate.model.display_name} {candidate.artifact.quant_id}"

        def report(done: float, what: str, index: int = index, name: str = name) -> None:
            setting.on_progress((index + done) / len(candidates), f"{name}: {what}")

        yield validate_one(candidate, replace(setting, on_progress=report))
