"""What every engine offers: open a model, time windows of work, stream an answer, report memory.

All values are plain data; the seconds in a `Window` and a `Stream` are raw readings of one monotonic clock.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from advisor.errors import AdvisorError
from advisor.types import Deployment, EngineBuild
from probes.types import Conditions

Phase = Literal["prefill", "decode"]


class EngineError(AdvisorError):
    """An engine could not do what was asked; the message says why and what to do."""


class EngineMissingError(EngineError):
    """The engine is not installed here."""


class ModelRefusedError(EngineError):
    """The engine runs but will not load this file: unknown architecture, damaged data."""


class OutOfMemoryError(EngineError):
    """The engine needed more memory than it was allowed or than there was."""


class EngineCrashedError(EngineError):
    """The engine's process ended by itself."""


class EngineTimeoutError(EngineError):
    """The engine took longer than its wall-clock limit and was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is loaded. ``threads_count=None`` leaves the choice to the engine.

    ``context_tokens`` is the context of each of ``streams_count`` users.
    """

    context_tokens: int = 4096
    threads_count: int | None = None
    batch_tokens: int = 2048
    ubatch_tokens: int = 512
    flash_attention: bool = True  # "where supported": the engine decides per model
    k_type: str = "f16"
    v_type: str = "f16"
    mmap: bool = True
    op_offload: bool = True  # products of long prompts may be lent to an accelerator, with copies of their weights
    repack: bool = True
    gpu_layers_count: int = 0
    split_mode: str = "layer"
    experts_on_cpu_layers_count: int = 0
    streams_count: int = 1
    embeddings: bool = False
    devices: tuple[str, ...] | None = None  # as ggml names them: () leaves all to the CPU, None allows every one
    dry_run: bool = False  # lay out every buffer, allocate and read nothing: memory report only


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One timed stretch of work.

    ``elapsed_s`` holds one value per decoded token (of each of ``streams_count`` users at once), or per
    logical batch of a prefill. Counts, depths and rates are per user. ``cpu_s`` is the
    process time spent over the stretch by all threads: engines that spin at barriers use
    threads × wall when undisturbed and less when others took their cores. ``energy_j`` is what the metered
    devices used meanwhile, None where nothing meters them.
    """

    phase: Phase
    tokens_count: int
    depth_tokens: int
    started_s: float
    elapsed_s: tuple[float, ...]
    streams_count: int = 1
    threads_count: int | None = None
    cpu_s: float | None = None
    involuntary_switches_count: int | None = None
    conditions: Conditions | None = None
    energy_j: float | None = None

    @property
    def total_s(self) -> float:
        """Wall-clock seconds of the whole stretch."""
        return sum(self.elapsed_s)

    @property
    def tokens_per_s(self) -> float:
        """Mean rate over the stretch."""
        return self.tokens_count / self.total_s

    @property
    def polluted(self) -> bool:
        """Whether others disturbed this stretch, as far as anyone watched."""
        return self.conditions is not None and self.conditions.polluted


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One answer, stage by stage, on one clock.

    ``token_s`` are the moments tokens arrived, ``started_s`` the moment the prompt was handed over.
    """

    started_s: float
    token_s: tuple[float, ...]
    prompt_tokens: int
    text: str | None = None
    tokens: tuple[int, ...] = ()
    tokenize_s: float | None = None
    prefill_s: float | None = None
    detokenize_s: float | None = None
    finish_reason: str | None = None

    @property
    def first_token_s(self) -> float | None:
        """Seconds from handing over the prompt to the first token; None if none came."""
        return self.token_s[0] - self.started_s if self.token_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTimes:
    """Seconds to turn a text into ``tokens_count`` tokens and those back into text."""

    tokens_count: int
    tokenize_s: float
    detokenize_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredText:
    """Natural log losses of the scored tokens of a text, in order.

    ``text_id`` hashes all the text's token ids: losses under the same one are of the same tokens, as far as both
    reach. ``bytes_count`` is the length of the scored tokens as text.
    """

    losses: tuple[float, ...]
    text_id: str
    bytes_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the engine says about a model it has loaded.

    ``load_s`` lasts until the model can answer: every weight has been touched once by then.
    """

    load_s: float
    weights_bytes: int
    params_count: int
    layers_count: int
    vocab_count: int
    context_tokens: int
    threads_count: int | None
    decodes: bool = True  # False: an encoder, which only embeds
    jumps: bool = False  # whether any depth of context can be had at the price of a short one
    description: str = ""
    memory_bytes: Mapping[str, int] = field(default_factory=dict)  # "cpu.weights", "cpu.kv", "cpu.compute"
    notes: tuple[str, ...] = ()


class Session(Protocol):
    """One loaded model."""

    loaded: Loaded

    def prefill(self, tokens_count: int, *, depth_tokens: int = 0) -> Window:
        """Work through a synthetic prompt behind ``depth_tokens`` of context."""
        ...

    def decode(self, tokens_count: int, *, depth_tokens: int = 0, streams_count: int = 1) -> Window:
        """Produce synthetic tokens one by one behind ``depth_tokens`` of context, for one user or several."""
        ...

    def reach(self, depth_tokens: int) -> int:
        """How much of a depth memory allows at the price of a short one; all of it where ``jumps`` is False."""
        ...

    def generate(self, prompt: str | Sequence[int], max_tokens: int, *, chat: bool = False) -> Stream:
        """Answer a prompt greedily: the real path, a text's tokeniser and chat template included.

        Token ids are answered to the full length, end tokens or not.
        """
        ...

    def set_threads(self, threads_count: int) -> None:
        """Use another number of threads from now on, without reloading."""
        ...

    def time_text(self, text: str, tokens_count: int) -> TextTimes:
        """Time the tokenizer both ways on the first ``tokens_count`` tokens of a text, as far as it reaches."""
        ...

    def score(self, text: str, *, budget_s: float) -> ScoredText:
        """How well the model foretells a text, window by window until the text or the time is used up.

        Raises:
            ModelRefusedError: if the text is shorter than one window.
        """
        ...

    def memory_bytes(self) -> Mapping[str, int]:
        """Buffers by device and purpose, and the process's peak ("process.peak")."""
        ...


class Engine(Protocol):
    """Something that can load a model and run it."""

    engine_id: str

    def waiver(self, deployment: Deployment) -> str | None:
        """None if it can run this deployment here, else why not and what to do."""
        ...

    def build(self) -> EngineBuild:
        """Name, version and build flags."""
        ...

    def open(self, path: str, options: LoadOptions, *, limit_s: float | None = None) -> AbstractContextManager[Session]:
        """Load a model for as long as the context lasts.

        Raises:
            EngineTimeoutError: if loading was not done within ``limit_s`` and was stopped.
        """
        ...


def options_for(deployment: Deployment, context_tokens: int, **changes: object) -> LoadOptions:
    """The load options a deployment asks for."""
    return LoadOptions(
        context_tokens=context_tokens,
        threads_count=deployment.threads_count,
        batch_tokens=deployment.batch_tokens,
        ubatch_tokens=deployment.ubatch_tokens,
        flash_attention=deployment.flash_attention,
        k_type=deployment.kv_quant_id,
        v_type=deployment.kv_quant_id,
        mmap=deployment.mmap,
        op_offload=deployment.op_offload,
        gpu_layers_count=deployment.gpu_layers_count,
        split_mode=deployment.split_mode,
        experts_on_cpu_layers_count=deployment.experts_on_cpu_layers_count,
        # without layers of its own an accelerator would still be lent the products of long prompts
        devices=() if deployment.backend == "cpu" else None,
        **changes,  # type: ignore[arg-type]
    )


def options_fit(options: LoadOptions, tokens: int) -> None:
    """Refuse work beyond the context a model was loaded with.

    Raises:
        EngineError: if ``tokens`` do not fit.
    """
    if tokens > options.context_tokens:
        raise EngineError(
            f"{tokens} tokens do not fit in the context of {options.context_tokens}; load it with a larger one"
        )
