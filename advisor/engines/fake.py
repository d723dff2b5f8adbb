"""An engine that computes nothing: it spends the seconds it is told to on a clock that is wound by hand.

It lets everything that drives engines be tested, and rehearsed, in no time and without one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from advisor.engines.base import (
    EngineError,
    EngineTimeoutError,
    Loaded,
    LoadOptions,
    Phase,
    ScoredText,
    Stream,
    TextTimes,
    Window,
    options_fit,
)
from advisor.types import Deployment, EngineBuild
from probes.types import Conditions

ENGINE_ID = "fake"
_TEMPLATE_TOKENS = 8


class ManualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s

    def now(self) -> float:
        """Seconds since some fixed moment."""
        return self._now_s

    def sleep(self, duration_s: float) -> None:
        """Move forward."""
        self._now_s += duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Seconds a model takes; ``per_depth`` is added per token of context already there."""

    load_s: float = 1.0
    prefill_s_per_token: float = 0.001
    prefill_s_per_token_per_depth: float = 0.0
    decode_s_per_token: float = 0.01
    decode_s_per_token_per_depth: float = 0.0
    loss_per_word: float = 2.0
    watts: float | None = None  # drawn while it works; None: nothing meters it
    threads_factor: Callable[[int], float] = lambda _: 1.0  # on every second, by the number of threads


@dataclass(kw_only=True)
class FakeEngine:
    """An engine whose models run at given speeds.

    ``speeds`` tells them from the path; ``polluted`` says for each window, by number, whether others disturb
    it (and slow it threefold); ``fault`` is raised by the next call into a session; ``reach_tokens`` is the
    deepest context that memory lets it jump to.
    """

    clock: ManualClock = field(default_factory=ManualClock)
    speeds: Callable[[str], Speeds] = lambda _: Speeds()
    memory_bytes: Mapping[str, int] = field(default_factory=lambda: {"cpu.weights": 1000, "cpu.kv": 100})
    polluted: Callable[[int], bool] = lambda _: False
    fault: EngineError | None = None
    missing: str | None = None
    answer: str = "Paris, on the Seine."
    decodes: bool = True
    jumps: bool = True
    reach_tokens: int = 1 << 30
    engine_id: str = ENGINE_ID
    windows_count: int = 0

    def waiver(self, deployment: Deployment) -> str | None:  # noqa: ARG002 - of the protocol
        """The reason given, if any."""
        return self.missing

    def build(self) -> EngineBuild:
        """A build like no real one."""
        return EngineBuild(id=self.engine_id, version="0", build="none")

    @contextmanager
    def open(self, path: str, options: LoadOptions, *, limit_s: float | None = None) -> Iterator["FakeSession"]:
        """Take the time a load takes, or the limit's."""
        speeds = self.speeds(path)
        if limit_s is not None and speeds.load_s > limit_s:
            self.clock.sleep(limit_s)
            raise EngineTimeoutError(f"the engine did not finish 'open' within {limit_s:.0f} s and was stopped")
        self.clock.sleep(speeds.load_s)
        yield FakeSession(self, speeds, options)


class FakeSession:
    """One pretended model."""

    def __init__(self, engine: FakeEngine, speeds: Speeds, options: LoadOptions) -> None:
        self._engine = engine
        self._speeds = speeds
        self._options = options
        self._threads_count = options.threads_count or 1
        self.loaded = Loaded(
            load_s=speeds.load_s,
            weights_bytes=1000,
            params_count=1000,
            layers_count=2,
            vocab_count=32,
            context_tokens=options.context_tokens,
            threads_count=options.threads_count or 1,
            decodes=engine.decodes,
            jumps=engine.jumps,
            memory_bytes=engine.memory_bytes,
        )

    def prefill(self, tokens_count: int, *, depth_tokens: int = 0) -> Window:
        """Spend a prompt's seconds, batch by batch."""
        options_fit(self._options, depth_tokens + tokens_count)
        size = self._options.batch_tokens
        starts = range(0, tokens_count, size)
        speeds = self._speeds
        elapsed = [
            min(size, tokens_count - start)
            * (speeds.prefill_s_per_token + speeds.prefill_s_per_token_per_depth * (depth_tokens + start))
            for start in starts
        ]
        return self._window("prefill", tokens_count, depth_tokens, elapsed)

    def decode(self, tokens_count: int, *, depth_tokens: int = 0, streams_count: int = 1) -> Window:
        """Spend the seconds of each token."""
        options_fit(self._options, depth_tokens + tokens_count)
        if not self.loaded.decodes:
            raise EngineError("this model only embeds text; it has no decode phase")
        speeds = self._speeds
        elapsed = [
            streams_count * (speeds.decode_s_per_token + speeds.decode_s_per_token_per_depth * (depth_tokens + index))
            for index in range(tokens_count)
        ]
        window = self._window("decode", tokens_count, depth_tokens, elapsed)
        return replace(window, streams_count=streams_count)

    def reach(self, depth_tokens: int) -> int:
        """The depth, or what was said to be reachable."""
        return min(depth_tokens, self._engine.reach_tokens) if self.loaded.jumps else depth_tokens

    def _window(self, phase: Phase, tokens: int, depth: int, elapsed: Sequence[float]) -> Window:
        engine = self._engine
        if engine.fault is not None:
            raise engine.fault
        polluted = engine.polluted(engine.windows_count)
        engine.windows_count += 1
        factor = (3.0 if polluted else 1.0) * self._speeds.threads_factor(self._threads_count)
        spent = tuple(value * factor for value in elapsed)
        started_s = engine.clock.now()
        engine.clock.sleep(sum(spent))
        return Window(
            phase=phase,
            tokens_count=tokens,
            depth_tokens=depth,
            started_s=started_s,
            elapsed_s=spent,
            threads_count=self._threads_count,
            conditions=Conditions(polluted=polluted),
            energy_j=None if self._speeds.watts is None else self._speeds.watts * sum(spent),
        )

    def generate(self, prompt: str | Sequence[int], max_tokens: int, *, chat: bool = False) -> Stream:
        """Spend a prompt and an answer."""
        words = len(prompt.split()) if isinstance(prompt, str) else len(prompt)
        words += _TEMPLATE_TOKENS if chat else 0
        started_s = self._engine.clock.now()
        prompt_s = self.prefill(words).total_s
        moments: list[float] = []
        for elapsed in (0.0, *self.decode(max_tokens - 1).elapsed_s) if max_tokens > 1 else (0.0,):
            moments.append((moments[-1] if moments else started_s + prompt_s) + elapsed)
        return Stream(
            started_s=started_s,
            token_s=tuple(moments),
            prompt_tokens=words,
            text=self._engine.answer if isinstance(prompt, str) else None,
            tokens=tuple(range(max_tokens)),
            tokenize_s=0.0,
            prefill_s=prompt_s,
            detokenize_s=0.0,
            finish_reason="length",
        )

    def set_threads(self, threads_count: int) -> None:
        """Work with the factor of that number from now on."""
        self._threads_count = threads_count

    def time_text(self, text: str, tokens_count: int) -> TextTimes:
        """A microsecond a word, either way."""
        words = min(tokens_count, len(text.split()))
        return TextTimes(tokens_count=words, tokenize_s=1e-6 * words, detokenize_s=1e-6 * words)

    def score(self, text: str, *, budget_s: float) -> ScoredText:
        """The loss it was told, for every word."""
        words = text.split()
        self._engine.clock.sleep(min(budget_s, len(words) * self._speeds.prefill_s_per_token))
        return ScoredText(
            losses=(self._speeds.loss_per_word,) * len(words), text_id=str(hash(text)), bytes_count=len(text.encode())
        )

    def memory_bytes(self) -> Mapping[str, int]:
        """The buffers it was told to report."""
        return self._engine.memory_bytes
