"""Load a prediction's model in a real engine, time it, and set measurement beside prediction.

Real weights where the file is on this machine; a weightless twin where it is not; stand-ins of a few
layers where the whole is beyond this machine's disk, memory or the time allowed. Whatever goes wrong with
one model becomes its record and the next one goes on.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from advisor.clock import utc_now
from advisor.engines._process import removed_if_killed
from advisor.engines.base import (
    Engine,
    EngineTimeoutError,
    LoadOptions,
    ScoredText,
    Session,
    Stream,
    TextTimes,
    options_for,
)
from advisor.errors import AdvisorError
from advisor.twins.scratch import scratch_folder
from advisor.twins.twin import write_twin
from advisor.types import EngineBuild, Observed, ThreadsSpeed, ValidationRecord, ValidationStatus
from advisor.validation import figures, page_cache, sanity, text_quality
from advisor.validation.deadline import Deadline
from advisor.validation.measure import Runs, Subject, take_turns
from advisor.validation.record import Context, Timed, record_of
from advisor.validation.thread_sweep import DECODE_TOKENS, round_s, sweep_threads, threads_to_try
from advisor.validation.verdict import Roof
from advisor.validation.weights_source import REAL, TWIN, Candidate, NoRoomError, Source, choose_source, measure_room
from catalog.errors import CatalogError
from catalog.units import GIB
from probes.base import Clock, SystemClock

_STREAM_PROMPT_TOKENS, _STREAM_TOKENS = 32, 16
_ANSWER_PROMPT_TOKENS = 48  # of the question with a chat template around it, about
_LEAST_TOKENS = 4
_MORE_LOADS = 2
_MORE_FACTOR = 3  # of the time that loading was stopped after, to try next
_START_S = 2.0  # of the engine's process
_LEAST_TIMING_S = 1.0
_LEAST_LOADING_S = 5.0  # however short the budget: an engine that starts up is no slow disk
_COLD_LOAD_BYTES_PER_S = 0.3e9
_SWEEP_CHUNK_TOKENS = 128
_CHARACTERS_PER_TOKEN = 6  # at most, for text to tokenise
_MAX_TEXT_CHARACTERS = 1 << 20

# Shares of the time budget.
_COLD_LOAD_SHARE = 0.3
_SWEEP_SHARE = 0.2  # for trying numbers of threads
_ANSWERS_SHARE = 0.25  # at most, for a stream and an answer after the timing
_LOAD_SHARE = 0.15  # at most, for loading once more
_TEXT_SHARE = 0.4  # for reading a text, where that was asked for
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text that real weights are to foretell."""

    name: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a validation runs.

    ``budget_s`` is for all that is done with one model once its weights are here. ``fetch`` brings a candidate's
    real weights where that was agreed to. ``stops_loading``: a load that is not done when that time is over is stopped;
    without it, as where nobody asked for a time, weights are loaded however long it takes.
    ``usable_cores_count`` and ``usable_threads_count`` bound the sweep over numbers of threads; None leaves it out.
    """

    engine: Engine
    scratch_root: Path
    budget_s: float = 60.0
    clock: Clock = field(default_factory=SystemClock)
    roof: Roof = field(default_factory=Roof)
    profile_id: str | None = None
    force_twin: bool = False
    stops_loading: bool = True
    text: Text | None = None
    usable_cores_count: int | None = None
    usable_threads_count: int | None = None
    meter_ids: tuple[str, ...] = ()
    no_energy_reason: str | None = None
    fetch: Callable[[Candidate, Progress], Candidate] = lambda candidate, _: candidate
    on_progress: Progress = lambda _, __: None


class LoadingStoppedError(AdvisorError):
    """A model was not loaded when its time was over."""


def validate_one(candidate: Candidate, setting: Setting) -> ValidationRecord:
    """Time one candidate; failures are records too, saying what failed and what it needed."""
    engine = setting.engine
    waiver = engine.waiver(candidate.estimate.deployment)
    if waiver is not None:
        return failure(candidate, setting, ValidationStatus.WAIVED, TWIN, waiver)
    source = Source(weights=REAL if candidate.local_path else TWIN)
    try:
        candidate = setting.fetch(candidate, setting.on_progress)
        deadline = Deadline.after(setting.budget_s, setting.clock)
        room = measure_room(setting.scratch_root, setting.budget_s)
        source = choose_source(candidate, room, force_twin=setting.force_twin)
        with scratch_folder(setting.scratch_root) as folder, removed_if_killed(folder):
            timed = _timed(candidate, setting, source, folder, deadline)
    except NoRoomError as error:
        return failure(candidate, setting, ValidationStatus.WAIVED, source.weights, str(error), kind="NoRoomError")
    except LoadingStoppedError as error:
        kind = type(error).__name__
        return failure(candidate, setting, ValidationStatus.FAILED, source.weights, str(error), kind=kind)
    except (AdvisorError, CatalogError) as error:
        needed = candidate.estimate.memory.total_bytes
        reason = f"{error} (predicted to need {needed / GIB:.1f} GiB of memory)"
        kind = type(error).__name__
        return failure(candidate, setting, ValidationStatus.FAILED, source.weights, reason, kind=kind)
    context = Context(
        roof=setting.roof,
        created_at=utc_now(),
        profile_id=setting.profile_id,
        meter_ids=setting.meter_ids,
        no_energy_reason=setting.no_energy_reason,
    )
    return record_of(candidate, timed, context)


def failure(
    candidate: Candidate,
    setting: Setting,
    status: ValidationStatus,
    weights: str,
    reason: str,
    *,
    kind: str | None = None,
) -> ValidationRecord:
    """The record of a candidate that could not be timed."""
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
        failure_kind=kind,
    )


# --- one candidate, loaded and timed ---------------------------------------------------------------


def _timed(candidate: Candidate, setting: Setting, source: Source, folder: Path, deadline: Deadline) -> Timed:
    real, options = source.weights == REAL, _options(candidate)
    setting.on_progress(0.0, "loading" if real else "writing a weightless twin")
    paths = _prepare(candidate, source, folder)
    cold = real and _may_load_cold(candidate, setting) and page_cache.evict(paths[0])
    with ExitStack() as stack:
        setting.on_progress(0.1, "loading")
        sessions = [_loaded(stack, path, options, setting, deadline) for path in paths]
        if not real:
            _unlink(paths)  # mapped files live on; nothing is left should this process be killed
        timed = _run(candidate, setting, source, sessions, deadline)
    load_s = sessions[0].loaded.load_s
    if cold:
        return _with_more_loads(timed, load_s, paths[0], options, setting, deadline)
    return replace(timed, warm_loads_s=(load_s,)) if len(sessions) == 1 else timed


def _loaded(stack: ExitStack, path: str, options: LoadOptions, setting: Setting, deadline: Deadline) -> Session:
    """A model for as long as the stack lasts.

    Raises:
        LoadingStoppedError: if it was not loaded when the time was over.
    """
    limit_s = max(_LEAST_LOADING_S, deadline.left_s) if setting.stops_loading else None
    try:
        return stack.enter_context(setting.engine.open(path, options, limit_s=limit_s))
    except EngineTimeoutError as error:
        if limit_s is None:
            raise
        raise LoadingStoppedError(
            f"it was not loaded when the {setting.budget_s:.0f} s of the budget were over, and was stopped; "
            f"give more, such as --budget {math.ceil(_MORE_FACTOR * max(setting.budget_s, limit_s)):.0f}s"
        ) from error


def _run(
    candidate: Candidate, setting: Setting, source: Source, sessions: Sequence[Session], deadline: Deadline
) -> Timed:
    """Everything that is asked of loaded models; what comes after the timing has its part of the time kept for it."""
    first, whole, real = sessions[0], len(sessions) == 1, source.weights == REAL
    memory = dict(first.memory_bytes()) if whole else {}
    threads = _threads(candidate, setting, first, deadline) if whole else ()
    text_s = _TEXT_SHARE * setting.budget_s if real and setting.text else 0.0
    runs = take_turns(
        [Subject(session=session, decodes=session.loaded.decodes) for session in sessions],
        candidate.estimate.workload,
        budget_s=max(_LEAST_TIMING_S, deadline.left_s - text_s - _kept_s(candidate, setting, first, real=real)),
        chunk_tokens=_options(candidate).ubatch_tokens,
        clock=setting.clock,
        on_progress=lambda done: setting.on_progress(0.15 + 0.75 * done, "timing"),
    )
    scored, why_not = _score(setting, first, min(text_s, deadline.left_s)) if text_s else (None, ())
    stream_tokens, answer_tokens = _answer_tokens(runs[0], deadline.left_s)
    return Timed(
        source=source,
        runs=runs,
        build=setting.engine.build(),
        memory_bytes=memory,
        stream=_stream(first, stream_tokens),
        answer=first.generate(sanity.PROMPT, answer_tokens, chat=True) if real and first.loaded.decodes else None,
        text_times=_text_times(candidate, first) if real else None,
        threads=threads,
        scored=scored,
        text_name=setting.text.name if setting.text else text_quality.BUNDLED_NAME,
        notes=why_not,
    )


def _kept_s(candidate: Candidate, setting: Setting, session: Session, *, real: bool) -> float:
    """Seconds that what follows the timing is predicted to take: two short answers, and loading again."""
    made = candidate.estimate
    read = _STREAM_PROMPT_TOKENS + (_ANSWER_PROMPT_TOKENS if real else 0)
    written = _STREAM_TOKENS + (sanity.ANSWER_TOKENS if real else 0)
    answers_s = read / made.prefill_tokens_per_s.mid + written / made.decode_tokens_per_s.mid
    loads_s = 2.0 * session.loaded.load_s if real else 0.0
    budget_s = setting.budget_s
    return (
        min(_START_S, 0.1 * budget_s) + min(answers_s, _ANSWERS_SHARE * budget_s) + min(loads_s, _LOAD_SHARE * budget_s)
    )


def _answer_tokens(runs: Runs, left_s: float) -> tuple[int, int]:
    """Tokens to stream and to answer with: fewer where the model was seen to need longer than there is."""
    most = (_STREAM_TOKENS, sanity.ANSWER_TOKENS)
    affordable = left_s / figures.median_s_per_token(runs.shallow) if runs.shallow else math.inf
    share = min(1.0, affordable / sum(most))
    return max(_LEAST_TOKENS, int(share * most[0])), max(_LEAST_TOKENS, int(share * most[1]))


def _threads(candidate: Candidate, setting: Setting, session: Session, deadline: Deadline) -> tuple[ThreadsSpeed, ...]:
    cores, usable = setting.usable_cores_count, setting.usable_threads_count
    default, made = session.loaded.threads_count, candidate.estimate
    if made.deployment.backend != "cpu" or cores is None or usable is None or default is None:
        return ()
    chunk_tokens = min(_SWEEP_CHUNK_TOKENS, _options(candidate).ubatch_tokens, made.workload.prompt_tokens)
    counts, budget_s = threads_to_try(default, cores, usable), deadline.left_s * _SWEEP_SHARE
    default_s = chunk_tokens / made.prefill_tokens_per_s.mid + DECODE_TOKENS / made.decode_tokens_per_s.mid
    if round_s(counts, default, default_s) > budget_s:
        return ()
    setting.on_progress(0.12, "trying numbers of threads")
    return sweep_threads(
        session, counts, default=default, chunk_tokens=chunk_tokens, budget_s=budget_s, clock=setting.clock
    )


def _stream(session: Session, tokens_count: int) -> Stream | None:
    """One answer as a user gets it: what sampling adds to the first token, and raw timestamps."""
    if not session.loaded.decodes:
        return None
    prompt = [token % session.loaded.vocab_count for token in range(1, _STREAM_PROMPT_TOKENS + 1)]
    return session.generate(prompt, tokens_count)


def _text_times(candidate: Candidate, session: Session) -> TextTimes | None:
    """The tokenizer, on a text about as long as the prompt."""
    tokens = candidate.estimate.workload.prompt_tokens
    text = text_quality.bundled_text()
    wanted = min(_MAX_TEXT_CHARACTERS, tokens * _CHARACTERS_PER_TOKEN)
    times = session.time_text(text * (wanted // len(text) + 1), tokens)
    return times if times.tokens_count else None


def _score(setting: Setting, session: Session, budget_s: float) -> tuple[ScoredText | None, tuple[str, ...]]:
    """The text's log losses, or why there are none: that never costs the timing."""
    assert setting.text is not None  # noqa: S101 - for the type checker: the caller has looked
    if not session.loaded.decodes:
        return None, ("an embedding model foretells no text",)
    setting.on_progress(0.9, "reading the text")
    try:
        return session.score(setting.text.content, budget_s=budget_s), ()
    except AdvisorError as error:
        return None, (f"quality: {error}",)


def _with_more_loads(
    timed: Timed, first_s: float, path: str, options: LoadOptions, setting: Setting, deadline: Deadline
) -> Timed:
    """Load again from disk and from the page cache while that is quick: one load alone says little."""
    cold: list[float] = [first_s]
    warm: list[float] = []
    notes = timed.notes
    for loads in (warm, cold) * _MORE_LOADS:
        if first_s + _START_S > deadline.left_s or (loads is cold and not page_cache.evict(path)):
            break
        try:
            limit_s = max(_LEAST_LOADING_S, deadline.left_s) if setting.stops_loading else None
            with setting.engine.open(path, options, limit_s=limit_s) as session:
                loads.append(session.loaded.load_s)
        except AdvisorError as error:  # what was timed stands
            notes = (*notes, f"it could not be loaded again: {error}")
            break
    return replace(timed, cold_loads_s=tuple(cold), warm_loads_s=tuple(warm), notes=notes)


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
    return candidate.artifact.file_bytes / _COLD_LOAD_BYTES_PER_S < setting.budget_s * _COLD_LOAD_SHARE


def validations(candidates: Sequence[Candidate], setting: Setting) -> Iterator[ValidationRecord]:
    """Time each candidate in turn; one that fails does not keep the next from running."""
    for index, candidate in enumerate(candidates):
        name = f"{candidate.model.display_name} {candidate.artifact.quant_id}"

        def report(done: float, what: str, index: int = index, name: str = name) -> None:
            setting.on_progress((index + done) / len(candidates), f"{name}: {what}")

        yield validate_one(candidate, replace(setting, on_progress=report))
