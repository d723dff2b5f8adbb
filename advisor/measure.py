"""Hold the stopwatch: time loaded models in short, interleaved windows until the figures are steady.

A prompt that takes too long to run in full is run in part; ``advisor.figures`` extends it. The raw windows
are all kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from advisor.engines.base import Session, Window
from advisor.types import Workload
from probes.base import Clock

_DECODE_WINDOW_S = 0.4  # long enough for the operating system's 10 ms accounting to mean something
_MIN_DECODE_TOKENS, _MAX_DECODE_TOKENS = 4, 64
_MIN_ROUNDS, _MAX_ROUNDS = 3, 12
_PREFILL_SHARE = 0.6  # of the budget, for three passes over the prompt
_STEADY_GAIN_FRAC = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Every window one model was timed in."""

    reach_tokens: int  # how much of the prompt was run
    prefill: tuple[Window, ...]
    shallow: tuple[Window, ...] = ()  # decoding behind an empty context
    deep: tuple[Window, ...] = ()  # decoding behind ``reach_tokens``

    @property
    def windows(self) -> tuple[Window, ...]:
        """All of them, in the order they were taken within each kind."""
        return self.prefill + self.shallow + self.deep

    @property
    def polluted(self) -> bool:
        """Whether a figure had to be made from windows that others disturbed."""
        kinds = [kind for kind in (self.prefill, self.shallow, self.deep) if kind]
        return any(all(window.polluted for window in kind) for kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A loaded model to be timed. Embedding models do not decode."""

    session: Session
    decodes: bool = True


@dataclass(slots=True)
class _Tally:
    subject: Subject
    reach_tokens: int
    prefill: list[Window] = field(default_factory=list)
    shallow: list[Window] = field(default_factory=list)
    deep: list[Window] = field(default_factory=list)
    steady: bool = False

    def take_round(self, decode_tokens: int, streams_count: int) -> None:
        session = self.subject.session
        self.prefill.append(session.prefill(self.reach_tokens))
        windows = [self.prefill]
        if self.subject.decodes:
            self.deep.append(session.decode(decode_tokens, depth_tokens=self.reach_tokens, streams_count=streams_count))
            self.shallow.append(session.decode(decode_tokens, streams_count=streams_count))
            windows += [self.deep, self.shallow]
        self.steady = all(_is_steady(kind) for kind in windows)

    def runs(self) -> Runs:
        return Runs(
            reach_tokens=self.reach_tokens,
            prefill=tuple(self.prefill),
            shallow=tuple(self.shallow),
            deep=tuple(self.deep),
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
    reach = _reach_tokens(workload.prompt_tokens, chunk_tokens, trials, budget_s)
    tallies = [_Tally(subject=subject, reach_tokens=reach) for subject in subjects]
    decode_tokens = [_window_tokens(subject, workload) for subject in subjects]
    for _ in range(_MAX_ROUNDS):
        for tally, tokens in zip(tallies, decode_tokens, strict=True):
            tally.take_round(tokens, workload.concurrency_count)
        spent_s = clock.now() - started_s
        on_progress(min(1.0, spent_s / budget_s))
        if spent_s >= budget_s or all(tally.steady for tally in tallies):
            break
    return tuple(tally.runs() for tally in tallies)


def _reach_tokens(prompt_tokens: int, chunk_tokens: int, trials: Sequence[Window], budget_s: float) -> int:
    """How much of the prompt can be run three times within its share of the budget: whole chunks."""
    s_per_token = sum(window.total_s / window.tokens_count for window in trials)
    affordable = int(budget_s * _PREFILL_SHARE / _MIN_ROUNDS / s_per_token)
    if affordable >= prompt_tokens:
        return prompt_tokens
    return min(prompt_tokens, max(1, affordable // chunk_tokens) * chunk_tokens)


def _window_tokens(subject: Subject, workload: Workload) -> int:
    """Tokens to decode per window: enough to time, no more than the context holds behind the prompt."""
    if not subject.decodes:
        return 0
    trial = subject.session.decode(_MIN_DECODE_TOKENS, streams_count=workload.concurrency_count)
    wanted = max(_MIN_DECODE_TOKENS, round(_DECODE_WINDOW_S * trial.tokens_per_s))
    return min(wanted, _MAX_DECODE_TOKENS, max(1, workload.output_tokens))
