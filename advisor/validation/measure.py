"""Hold the stopwatch: time loaded models in short, interleaved windows until the figures are steady.

A prompt that takes too long to run in full is run at its beginning and at its end; ``advisor.validation.figures`` fills
in between. The raw windows are all kept. `_Course` is what there is time for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from advisor.engines.base import Session, Window
from advisor.types import Workload
from advisor.validation.deadline import Deadline
from probes.base import Clock

_DECODE_WINDOW_S = 0.4  # long enough for the operating system's 10 ms accounting to mean something
_MIN_DECODE_TOKENS, _MAX_DECODE_TOKENS = 8, 64
_MIN_ROUNDS, _MAX_ROUNDS = 3, 12
_STEADY_GAIN_FRAC = 0.01
LEAST_PIECE_TOKENS = 64  # of a prompt, that say what others of it cost: engines work otherwise on few at once
#: In the order of the first round, so that the price of depth is known before the prompt's end is run.
_KINDS = ("prefill", "deep", "shallow", "late")

# Shares of the time that is left when each is decided.
_TRIAL_SHARE = 0.1  # of a whole first chunk, the tokens before it being few
_LAST_SHARE = 0.4  # of the shortest piece that is of use, and of that at the end of all twice as much
_DECODE_SHARE = 0.5  # of all windows of decoding
_PREFILL_SHARE = 0.6  # of so many passes over the prompt; half of it over the beginning, where its end is run too
_ONCE_SHARE = 0.3  # of one whole micro-batch, where more passes over it are too many
_LATE_ONCE_SHARE = 0.8  # of one at the prompt's end
_LATE_TRIAL_SHARE = 0.5  # of the first tokens of a prompt's end, the last thing to be tried
_LATE_SHARE = 0.3  # of as many of them as there is time for: few tokens at once cost more each
_TRIAL_TOKENS, _TRIAL_DECODE_TOKENS = 16, 4
_LEAST_LATE_TOKENS = 4


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


@dataclass(slots=True, kw_only=True)
class _Course:
    """How much of the prompt each round runs on every subject.

    ``late_depth_tokens`` is None where the whole prompt is run, or where no context that deep can be had, or no
    time for it; how many tokens are run there is settled once it is known what depth costs.
    """

    prefill_tokens: int
    late_depth_tokens: int | None
    late_tokens: int | None = None


@dataclass(slots=True)
class _Tally:
    subject: Subject
    decode_tokens: int
    streams_count: int
    deep_tokens: int = 0
    windows: dict[str, list[Window]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})

    def take(self, kind: str, course: _Course) -> None:
        """Time one window of a kind."""
        session = self.subject.session
        if kind == "prefill":
            window = session.prefill(course.prefill_tokens)
        elif kind == "late":
            window = session.prefill(course.late_tokens or 0, depth_tokens=course.late_depth_tokens or 0)
        else:
            depth = self.deep_tokens if kind == "deep" else 0
            window = session.decode(self.decode_tokens, depth_tokens=depth, streams_count=self.streams_count)
        self.windows[kind].append(window)

    def is_steady(self, kind: str) -> bool:
        """Enough clean windows, and the newest no faster than the best before it."""
        clean = [window.tokens_per_s for window in self.windows[kind] if not window.polluted]
        return len(clean) >= _MIN_ROUNDS and clean[-1] <= max(clean[:-1]) * (1 + _STEADY_GAIN_FRAC)

    def s_per_token(self, kind: str) -> float:
        """Seconds of a token in the newest window of a kind."""
        return _s_per_token(self.windows[kind][-1])

    def runs(self) -> Runs:
        """All its windows."""
        return Runs(**{kind: tuple(windows) for kind, windows in self.windows.items()})


def take_turns(
    subjects: Sequence[Subject],
    workload: Workload,
    *,
    budget_s: float,
    chunk_tokens: int,
    clock: Clock,
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[Runs, ...]:
    """Time several loaded models in turn, a window of each kind per round, until steady or out of time.

    What is run is cut to what there is time for: of a long prompt its beginning and its end, on a slow model fewer
    tokens of either. After the first of its kind, no window is begun that would not be over in time.

    Args:
        subjects: the models; what is compared should be timed together.
        workload: how long prompts are, and how many users decode at once.
        budget_s: wall-clock seconds for all of it.
        chunk_tokens: the engine's micro-batch, the part of a prompt that is timed where there is time.
        clock: the stopwatch for the budget.
        on_progress: told the share of the budget that is spent, 0 to 1.
    """
    deadline = Deadline.after(budget_s, clock)
    chunk_tokens = min(chunk_tokens, workload.prompt_tokens)
    each_s = budget_s / len(subjects)
    trials = [_trial(subject.session, chunk_tokens, _TRIAL_SHARE * each_s) for subject in subjects]
    tallies = [
        _Tally(subject, _window_tokens(subject, workload, _DECODE_SHARE * each_s), workload.concurrency_count)
        for subject in subjects
    ]
    course = _plan_course(tallies, workload, chunk_tokens, sum(map(_s_per_token, trials)), deadline.left_s)
    costs_s: dict[str, float] = {}
    for tally, trial in zip(tallies, trials, strict=True):
        if trial.tokens_count == course.prefill_tokens:
            tally.windows["prefill"].append(trial)
            costs_s["prefill"] = costs_s.get("prefill", 0.0) + trial.total_s
    kinds = _KINDS if all(subject.decodes for subject in subjects) else ("prefill",)
    for index in range(_MAX_ROUNDS):
        _take_round(tallies, kinds[:: -1 if index % 2 else 1], course, chunk_tokens, deadline, costs_s)
        on_progress(1.0 - deadline.left_s / budget_s)
        if all(
            cost_s > deadline.left_s or all(tally.is_steady(kind) for tally in tallies)
            for kind, cost_s in costs_s.items()
        ):
            break
    return tuple(tally.runs() for tally in tallies)


def _take_round(
    tallies: Sequence[_Tally],
    kinds: Sequence[str],
    course: _Course,
    chunk_tokens: int,
    deadline: Deadline,
    costs_s: dict[str, float],
) -> None:
    """A window of every kind there is time for; ``costs_s`` is what each kind took last, getting to its depth too."""
    for kind in kinds:
        spare_s = deadline.left_s - costs_s.get(kind, 0.0)
        if spare_s < 0 or (kind == "late" and not _settle_late(tallies, course, chunk_tokens, spare_s)):
            continue
        started_s = deadline.clock.now()
        for tally in tallies:
            tally.take(kind, course)
        costs_s[kind] = deadline.clock.now() - started_s


# --- cut to the time there is ----------------------------------------------------------------------


def _s_per_token(window: Window) -> float:
    return window.total_s / window.tokens_count


def _trial(session: Session, chunk_tokens: int, spare_s: float) -> Window:
    """A first chunk of a prompt; only a few tokens of it where it would take longer than that."""
    few = session.prefill(min(_TRIAL_TOKENS, chunk_tokens))
    longest = next((size for size in (chunk_tokens, LEAST_PIECE_TOKENS) if _s_per_token(few) * size <= spare_s), 0)
    return session.prefill(longest) if longest > few.tokens_count else few


def _window_tokens(subject: Subject, workload: Workload, spare_s: float) -> int:
    """Tokens to decode per window: enough to time, no more than the answer has or there is time for."""
    if not subject.decodes:
        return 0
    count = min(_TRIAL_DECODE_TOKENS, workload.output_tokens)
    rate = subject.session.decode(count, streams_count=workload.concurrency_count).tokens_per_s
    wanted = max(_MIN_DECODE_TOKENS, round(_DECODE_WINDOW_S * rate))
    affordable = int(spare_s / (2 * _MIN_ROUNDS) * rate)
    return max(1, min(wanted, affordable, _MAX_DECODE_TOKENS, workload.output_tokens))


def _plan_course(
    tallies: Sequence[_Tally], workload: Workload, chunk_tokens: int, s_per_token: float, left_s: float
) -> _Course:
    """How to cover a workload.

    Decoding is timed halfway through the answer, which is what predictions are about. Where a model's context cannot
    jump to a depth, it goes no deeper than the prompt was run; where memory does not allow the depth, to half of it.
    """
    jumps = all(tally.subject.session.loaded.jumps for tally in tallies)
    prefill_tokens = _beginning_tokens(workload.prompt_tokens, chunk_tokens, s_per_token, left_s, jumps=jumps)
    whole = prefill_tokens >= workload.prompt_tokens
    last_chunk = (workload.prompt_tokens // chunk_tokens - 1) * chunk_tokens
    for tally in tallies:
        halfway = max(1, workload.prompt_tokens + (workload.output_tokens - tally.decode_tokens) // 2)
        tally.deep_tokens = tally.subject.session.reach(halfway) if jumps or whole else prefill_tokens
    late_depth_tokens = min(last_chunk, *(tally.deep_tokens for tally in tallies)) if jumps and not whole else 0
    return _Course(
        prefill_tokens=prefill_tokens,
        late_depth_tokens=late_depth_tokens if late_depth_tokens >= prefill_tokens else None,
    )


def _beginning_tokens(prompt_tokens: int, chunk_tokens: int, s_per_token: float, left_s: float, *, jumps: bool) -> int:
    """How much of the prompt is run each round: all of it, or whole chunks, or a piece of one."""
    affordable = int(left_s * _PREFILL_SHARE / _MIN_ROUNDS / s_per_token)
    if affordable >= prompt_tokens:
        return prompt_tokens
    if jumps:  # the rest of the time is for its end
        affordable //= 2
    if affordable < chunk_tokens and chunk_tokens * s_per_token <= _ONCE_SHARE * left_s:
        return chunk_tokens  # once rather than a part of it more often: engines take longer per token of few
    least = LEAST_PIECE_TOKENS if LEAST_PIECE_TOKENS * s_per_token <= _LAST_SHARE * left_s else _TRIAL_TOKENS
    return affordable // chunk_tokens * chunk_tokens or min(chunk_tokens, max(least, affordable))


def _settle_late(tallies: Sequence[_Tally], course: _Course, chunk_tokens: int, spare_s: float) -> bool:
    """Decide how many tokens of the prompt's end are run, and whether any.

    A few at first, taken to cost as much as at the beginning and what a decoded token's attention adds at that depth;
    then as many as they show there is time for, beyond what a window costs already.
    """
    if course.late_depth_tokens is None:
        return False
    if course.late_tokens is None:
        token_s = sum(
            tally.s_per_token("prefill") + max(0.0, tally.s_per_token("deep") - tally.s_per_token("shallow"))
            for tally in tallies
        )
        course.late_tokens = min(_TRIAL_TOKENS, chunk_tokens, int(spare_s * _LATE_TRIAL_SHARE / token_s))
        if course.late_tokens < min(_LEAST_LATE_TOKENS, chunk_tokens):
            course.late_depth_tokens = None
        return course.late_depth_tokens is not None
    token_s = sum(tally.s_per_token("late") for tally in tallies)
    affordable = min(chunk_tokens, int(spare_s * _LATE_SHARE / token_s))
    if chunk_tokens * token_s <= _LATE_ONCE_SHARE * spare_s:
        affordable = chunk_tokens
    least = min(chunk_tokens, LEAST_PIECE_TOKENS)
    if affordable < least and course.late_tokens < least:
        affordable = least if least * token_s <= 2.0 * _LAST_SHARE * spare_s else 0
    if affordable >= 2 * course.late_tokens:
        course.late_tokens = affordable
        for tally in tallies:
            tally.windows["late"].clear()
    return course.late_tokens >= least
