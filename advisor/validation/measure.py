"""Hold the stopwatch: time loaded models in short, interleaved windows until the figures are steady.

A prompt that takes too long to run in full is run at its beginning and at its end; ``advisor.validation.figures`` fills
in between. The raw windows are all kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from advisor.engines.base import Session, Window
from advisor.types import Workload
from probes.base import Clock

_DECODE_WINDOW_S = 0.4  # long enough for the operating system's 10 ms accounting to mean something
_MIN_DECODE_TOKENS, _MAX_DECODE_TOKENS = 8, 64
_MIN_ROUNDS, _MAX_ROUNDS = 3, 12
_PREFILL_SHARE = 0.6  # of the budget, for that many passes over the prompt
_STEADY_GAIN_FRAC = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Every window one model was timed in.

    ``prefill`` are runs of the prompt's beginning, ``late`` of its last whole micro-batch where the
    beginning is not all of it; ``shallow`` is decoding behind an empty context, ``deep`` behind a full one.
    """

    prefill: tuple[Window, ...]
    late: tuple[Window, ...] = ()
    shallow: tuple[Window, ...] = ()
    deep: tuple[Window, ...] = ()

    @property
    def kinds(self) -> dict[str, tuple[Window, ...]]:
        """The windows by name, those kinds that there are."""
        named = {"prefill": self.prefill, "prefill_late": self.late, "decode": self.deep, "decode_at_0": self.shallow}
        return {name: windows for name, windows in named.items() if windows}

    @property
    def windows(self) -> tuple[Window, ...]:
        """All of them."""
        return tuple(window for windows in self.kinds.values() for window in windows)

    @property
    def polluted(self) -> bool:
        """Whether a figure had to be made from windows that others disturbed."""
        return any(all(window.polluted for window in windows) for windows in self.kinds.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A loaded model to be timed. Embedding models do not decode."""

    session: Session
    decodes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What each round runs: so much of the prompt, and decoding at a depth.

    ``late_depth_tokens`` is None where the whole prompt is run, or where no context that deep can be had.
    """

    prefill_tokens: int
    chunk_tokens: int
    late_depth_tokens: int | None
    deep_tokens: int
    decode_tokens: int
    streams_count: int


def plan_course(
    workload: Workload, *, prefill_tokens: int, chunk_tokens: int, decode_tokens: int, jumps: bool
) -> Course:
    """How to cover a workload, given how much of its prompt there is time to run.

    Decoding is timed halfway through the answer, which is what predictions are about. Where a model's
    context cannot jump to a depth, it goes no deeper than the prompt was run.
    """
    middle = workload.prompt_tokens + (workload.output_tokens - decode_tokens) // 2
    last_chunk = (workload.prompt_tokens // chunk_tokens - 1) * chunk_tokens
    whole = prefill_tokens >= workload.prompt_tokens
    return Course(
        prefill_tokens=prefill_tokens,
        chunk_tokens=chunk_tokens,
        late_depth_tokens=last_chunk if jumps and not whole and last_chunk >= prefill_tokens else None,
        deep_tokens=max(1, middle) if jumps or whole else prefill_tokens,
        decode_tokens=decode_tokens,
        streams_count=workload.concurrency_count,
    )


@dataclass(slots=True)
class _Tally:
    subject: Subject
    course: Course
    prefill: list[Window] = field(default_factory=list)
    late: list[Window] = field(default_factory=list)
    shallow: list[Window] = field(default_factory=list)
    deep: list[Window] = field(default_factory=list)

    def take_round(self) -> None:
        session, course = self.subject.session, self.course
        self.prefill.append(session.prefill(course.prefill_tokens))
        if course.late_depth_tokens is not None:
            self.late.append(session.prefill(course.chunk_tokens, depth_tokens=course.late_depth_tokens))
        if self.subject.decodes:
            for windows, depth in ((self.deep, course.deep_tokens), (self.shallow, 0)):
                windows.append(
                    session.decode(course.decode_tokens, depth_tokens=depth, streams_count=course.streams_count)
                )

    @property
    def steady(self) -> bool:
        return all(_is_steady(windows) for windows in self.runs().kinds.values())

    def runs(self) -> Runs:
        return Runs(
            prefill=tuple(self.prefill), late=tuple(self.late), shallow=tuple(self.shallow), deep=tuple(self.deep)
        )


def _is_steady(windows: Sequence[Window]) -> bool:
    """Enough clean windows, and the newest no faster than the best before it."""
    clean = [window.tokens_per_s for window in windows if not window.polluted]
    return len(clean) >= _MIN_ROUNDS and clean[-1] <= max(clean[:-1]) * (1 + _STEADY_GAIN_FRAC)


def take_turns(
    subjects: Sequence[Subject],
    workload: Workload,
    *,
    budget_s: float,
    chunk_tokens: int,
    clock: Clock,
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[Runs, ...]:
    """Time several loaded models in turn, a window of each per round, until steady or out of time.

    Args:
        subjects: the models; what is compared should be timed together.
        workload: how long prompts are, and how many users decode at once.
        budget_s: wall-clock seconds to aim for; one round is always finished.
        chunk_tokens: a prompt's smallest timed part (the engine's micro-batch).
        clock: the stopwatch for the budget.
        on_progress: told the share of the budget that is spent, 0 to 1.
    """
    started_s = clock.now()
    trials = [subject.session.prefill(min(chunk_tokens, workload.prompt_tokens)) for subject in subjects]
    prefill_tokens = _affordable_tokens(workload.prompt_tokens, chunk_tokens, trials, budget_s)
    tallies = [
        _Tally(
            subject=subject,
            course=plan_course(
                workload,
                prefill_tokens=prefill_tokens,
                chunk_tokens=chunk_tokens,
                decode_tokens=_window_tokens(subject, workload),
                jumps=all(each.session.loaded.jumps for each in subjects),
            ),
        )
        for subject in subjects
    ]
    for tally, trial in zip(tallies, trials, strict=True):
        if trial.tokens_count == prefill_tokens:
            tally.prefill.append(trial)
    for _ in range(_MAX_ROUNDS):
        for tally in tallies:
            tally.take_round()
        spent_s = clock.now() - started_s
        on_progress(min(1.0, spent_s / budget_s))
        if spent_s >= budget_s or all(tally.steady for tally in tallies):
            break
    return tuple(tally.runs() for tally in tallies)


def _affordable_tokens(prompt_tokens: int, chunk_tokens: int, trials: Sequence[Window], budget_s: float) -> int:
    """How much of the prompt can be run several times within its share of the budget: whole chunks."""
    s_per_token = sum(window.total_s / window.tokens_count for window in trials)
    affordable = int(budget_s * _PREFILL_SHARE / _MIN_ROUNDS / s_per_token)
    if affordable >= prompt_tokens:
        return prompt_tokens
    return min(prompt_tokens, max(1, affordable // chunk_tokens) * chunk_tokens)


def _window_tokens(subject: Subject, workload: Workload) -> int:
    """Tokens to decode per window: enough to time, no more than the context holds behind the prompt."""
    if not subject.decodes:
        return 0
    trial = subject.session.decode(
        min(_MIN_DECODE_TOKENS, workload.output_tokens), streams_count=workload.concurrency_count
    )
    wanted = max(_MIN_DECODE_TOKENS, round(_DECODE_WINDOW_S * trial.tokens_per_s))
    return min(wanted, _MAX_DECODE_TOKENS, max(1, workload.output_tokens))
