"""Workloads, deployments and estimates: what is asked of a model, and what is predicted for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

SCHEMA_VERSION = 1


#: More layers than any model has.
ALL_LAYERS_COUNT = 999


class Task(StrEnum):
    """What the user wants a model for."""

    CODING = "coding"
    CHAT = "chat"
    REASONING = "reasoning"
    AGENTIC = "agentic"
    RAG = "rag"
    EMBEDDING = "embedding"
    VISION = "vision"
    MULTILINGUAL = "multilingual"
    GENERAL = "general"


class Basis(StrEnum):
    """How a number is known, strongest first. A total is as weak as its weakest term."""

    MEASURED = "measured"
    CALIBRATED = "calibrated"
    DATASHEET = "datasheet"
    ASSUMED = "assumed"


BASIS_ORDER = tuple(Basis)


def weakest(bases: "tuple[Basis, ...]") -> Basis:
    """The weakest of several bases; ASSUMED for none."""
    return max(bases, key=BASIS_ORDER.index) if bases else Basis.ASSUMED


class Bound(StrEnum):
    """What limits a term."""

    MEMORY = "memory"
    COMPUTE = "compute"
    LINK = "link"
    OVERHEAD = "overhead"


class EstimateWarning(StrEnum):
    """Caveats an estimate carries; worded by ``reports``."""

    GEOMETRY_APPROXIMATE = "geometry_approximate"
    UNCALIBRATED_TYPE = "uncalibrated_type"
    SPILLS_TO_CPU = "spills_to_cpu"
    OVERFULL = "overfull"
    CALIBRATION_POLLUTED = "calibration_polluted"
    NO_ENGINE = "no_engine"
    UNKNOWN_CHIP_RATES = "unknown_chip_rates"
    THREADS_NOT_MEASURED = "threads_not_measured"
    PLAIN_ATTENTION_NOT_MEASURED = "plain_attention_not_measured"
    MEMORY_LIMIT_TO_RAISE = "memory_limit_to_raise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An 80 % interval around a middle value."""

    low: float
    mid: float
    high: float

    def scaled(self, factor: float) -> "Interval":
        """The interval multiplied by a positive factor."""
        return Interval(low=self.low * factor, mid=self.mid * factor, high=self.high * factor)

    def holds(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the model is asked to do.

    ``context_tokens`` is what the engine is loaded with; ``shared_prefix_tokens`` is how much of the prompt is the
    same for all users, such as a system prompt.
    """

    task: Task = Task.GENERAL
    prompt_tokens: int = 1024
    output_tokens: int = 512
    context_tokens: int = 4096
    concurrency_count: int = 1
    shared_prefix_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """How a model is loaded: the engine's load-time parameters."""

    model_id: str
    quant_id: str
    engine_id: str = "llama.cpp"
    backend: str = "cpu"  # cuda metal rocm vulkan sycl cpu
    file_format: str = "gguf"
    layers_by_device: Mapping[str, int] = field(default_factory=dict)
    experts_on_cpu_layers_count: int = 0
    split_mode: str = "none"  # none | layer | row (tensor parallel)
    kv_quant_id: str = "f16"
    threads_count: int | None = None
    batch_tokens: int = 2048
    ubatch_tokens: int = 512
    flash_attention: bool = True
    mmap: bool = True
    kv_unified: bool = False  # one pool of cells for all users instead of a slot for each
    op_offload: bool = True  # long prompts are worked through on the accelerator, with copies of what the CPU holds

    @property
    def gpu_layers_count(self) -> int:
        """What llama.cpp is told with ``-ngl``: it counts the output layer as one more.

        With nothing on the CPU it is told more than any model has: some keep blocks for multi-token
        prediction, which count too and are not in ``layers_by_device``.
        """
        on_accelerators = sum(count for device, count in self.layers_by_device.items() if device != "cpu")
        if not on_accelerators:
            return 0
        return on_accelerators + 1 if self.layers_by_device.get("cpu") else ALL_LAYERS_COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One line of an estimate's working: ``time_s`` = the larger of bytes / rate and flop / rate."""

    name: str  # "decode.experts.Q4_K", "prefill.attention", ...
    device_id: str
    time_s: float
    bound: Bound
    basis: Basis
    bytes: float = 0.0
    flop: float = 0.0
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """What one device must hold, and what it has."""

    device_id: str
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    overhead_bytes: int
    total_bytes: int
    available_bytes: int | None
    repack_bytes: int = 0  # part of weights_bytes: the CPU's second, rearranged copy
    mapped_bytes: int = 0  # part of weights_bytes: file-backed pages, evictable


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Memory over all devices."""

    total_bytes: int
    fits: bool
    devices: tuple[DeviceMemory, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extreme:
    """The answer to an inverse question: the most of one quantity that memory and every limit allow.

    ``value`` is 0 where not even the least is allowed; the figures are those at ``value``.
    """

    quantity: str  # "context_tokens" | "concurrency_count"
    value: int
    limited_by: str  # "memory" | "speed" | "wait" | "model" | "range"
    reason: str
    decode_tokens_per_s: Interval | None = None
    first_token_s: Interval | None = None
    memory_total_bytes: int | None = None
    kv_quant_id: str | None = None


class CacheLayout(StrEnum):
    """How an engine keeps the caches of several sessions."""

    SLOTS = "slots"  # llama.cpp -np: each reserves its whole context
    UNIFIED = "unified"  # llama.cpp --kv-unified: one pool of cells, a session takes what it holds
    GROWING = "growing"  # MLX: each grows in steps, all padded to the longest
    PAGED = "paged"  # vLLM: blocks are handed out as a session grows
    PAGED_SHARED = "paged_shared"  # the same, and a common prefix is kept once


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRoom:
    """How many sessions fit with one layout of their caches, and what one more of them takes."""

    layout: str
    sessions_count: int
    session_bytes: int
    shared_bytes: int = 0  # a prefix that all sessions begin with, kept once
    reason: str | None = None  # why none fits


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersSpeed:
    """What so many users at once get: the speed of each and of all, and the waits for a first token."""

    users_count: int
    decode_tokens_per_s: Interval  # each user's
    total_tokens_per_s: float
    first_token_s: Interval  # of a prompt that comes alone
    last_first_token_s: float  # of the last, where all prompts come at once
    last_first_token_shared_s: float | None = None  # the same, with the shared prefix read once
    layouts: tuple[str, ...] = ()  # those that hold so many sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """Several users at once on one deployment."""

    session_tokens: int  # what a session holds at its end
    shared_prefix_tokens: int
    rooms: tuple[SessionRoom, ...]
    speeds: tuple[UsersSpeed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSetting:
    """One combination of load-time settings that was tried for an estimate."""

    setting: str  # in words
    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    memory_total_bytes: int
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A prediction with its working.

    Rates are for one user unless the workload's concurrency says otherwise (then per user).
    ``terms`` hold one decoded token (``decode.*``) and the whole prompt (``prefill.*``).
    """

    model_id: str
    quant_id: str
    engine_id: str
    deployment: Deployment
    workload: Workload
    prefill_tokens_per_s: Interval
    decode_tokens_per_s: Interval
    first_token_s: Interval
    load_s: Interval
    memory: MemoryPlan
    basis: Basis
    terms: tuple[Term, ...] = ()
    warnings: tuple[EstimateWarning, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    whatif: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # see advisor.whatif
    extremes: tuple[Extreme, ...] = ()  # answers to inverse questions, where they were asked
    settings: tuple[ComparedSetting, ...] = ()  # load-time settings that were compared
    concurrency: Concurrency | None = None  # where several users were asked about
    schema_version: int = SCHEMA_VERSION
    kind: str = "estimate"


@dataclass(frozen=True, slots=True, kw_only=True)
class FractionInterval:
    """A confidence interval of a relative change."""

    low: float
    high: float
