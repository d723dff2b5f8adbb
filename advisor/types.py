"""What the advisor thinks in: workloads, deployments, estimates, recommendations and validations.

Every type is a frozen value and serialises as is (see ``advisor.codec``). A field's suffix is its
unit; ``None`` means unknown, never zero. The JSON keys of the command contract are these field names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from probes.types import HardwareProfile

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
    """What the model is asked to do. ``context_tokens`` is what the engine is loaded with."""

    task: Task = Task.GENERAL
    prompt_tokens: int = 1024
    output_tokens: int = 512
    context_tokens: int = 4096
    concurrency_count: int = 1


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
    schema_version: int = SCHEMA_VERSION
    kind: str = "estimate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Expected task quality of a pick, after quantisation loss, 0-100."""

    low: float
    mid: float
    high: float
    imputed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOption:
    """One inference engine for a pick: whether it suits the machine, and why or why not.

    ``quant_id`` and ``repo`` are the published weights of the model that it would load.
    """

    engine_id: str
    suits: bool
    reason: str
    quant_id: str | None = None
    repo: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One ranked pick."""

    rank: int
    score: float
    quality: Quality
    estimate: Estimate
    reasons: tuple[str, ...]
    command: str
    display_name: str | None = None
    license_id: str | None = None
    params_total_count: int | None = None
    params_active_count: int | None = None
    file_bytes: int | None = None
    release_date: str | None = None
    local_path: str | None = None
    repo: str | None = None
    pareto: bool = False
    about_equal_to_rank: int | None = None
    alternatives: tuple[str, ...] = ()  # other quants of the same model, in words
    relatives: tuple[str, ...] = ()  # models of the same line that are folded into this pick
    engines: tuple[EngineOption, ...] = ()  # every engine for it, best suited first


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A model that is not ranked, why, and the smallest change that would mend it."""

    model_id: str
    reason: str
    fix: str | None = None
    quant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard limits on what may be ranked."""

    min_tokens_per_s: float | None = None
    max_first_token_s: float | None = None
    min_quality: float | None = None
    max_memory_bytes: int | None = None
    licenses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of what was asked, and what it was found to bring by asking again."""

    kind: str  # "kv_type" | "context" | "prompt" | "quant" | "limit" | "memory" | "engine" | "model"
    option: str  # as on the command line: "--kv-type q8_0"
    effect: str  # in words
    quality_loss_frac: float = 0.0
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Where one model stands: its rank, or what it lost on and the smallest changes that would mend it."""

    model_id: str
    verdict: str
    quant_id: str | None = None
    rank: int | None = None
    lost_on: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()  # the smallest first
    estimate: Estimate | None = None
    quality: Quality | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """Ranked choices for one machine, task and workload."""

    task: Task
    workload: Workload
    limits: Limits
    ranked: tuple[Choice, ...]
    rejected: tuple[Rejection, ...]
    profile_id: str
    catalog_version: str
    created_at: str
    tool_version: str
    hardware: str
    considered_count: int = 0
    calibration_id: str | None = None
    validation: "Validation | None" = None  # the top picks, loaded and timed
    reranking: "Reranking | None" = None  # what runs under --budget changed
    why: Why | None = None  # the model that was asked about
    schema_version: int = SCHEMA_VERSION
    kind: str = "recommendation"


class StackMode(StrEnum):
    """How the models of a stack share a machine's memory."""

    CO_RESIDENT = "co_resident"  # all are loaded at once
    SWAPPED = "swapped"  # the small ones stay; the large ones take turns


@dataclass(frozen=True, slots=True, kw_only=True)
class StackMember:
    """One model of a stack and the jobs it does.

    A job is a `Task`, "completion" (fill-in-the-middle in an editor) or "reranker".
    """

    jobs: tuple[str, ...]
    choice: Choice
    resident: bool = True  # False: it is loaded when asked for, in place of another that is not resident
    swap_s: float | None = None  # seconds until it answers when it is not loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlan:
    """Models that live together on one machine under one memory budget.

    ``devices`` adds up what is loaded at the fullest moment. ``other`` is the same question in the other mode.
    """

    jobs: tuple[str, ...]
    mode: StackMode
    members: tuple[StackMember, ...]
    devices: tuple[DeviceMemory, ...]
    score: float
    reasons: tuple[str, ...]
    limits: Limits
    hardware: str
    profile_id: str
    catalog_version: str
    created_at: str
    tool_version: str
    other: str | None = None  # what the other mode would give, in words
    schema_version: int = SCHEMA_VERSION
    kind: str = "stack"


class MachineClass(StrEnum):
    """Kinds of machine people buy or rent for this."""

    GAMING = "gaming GPU in a PC"
    WORKSTATION = "workstation GPU"
    DATACENTER = "data-centre GPU"
    UNIFIED = "unified-memory computer"
    APPLE = "Apple silicon"
    CPU = "CPU only"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTag:
    """What a machine costs in US dollars, before tax; None where no price was found.

    ``total_usd`` is what one pays to own it: the chips, and an assumed computer around plug-in cards.
    ``basis`` says what kind of price it is and of when: "used, 2026-06", "at launch, 2020", "rent, 2026-03".
    """

    chips_usd: float | None = None
    total_usd: float | None = None
    rent_usd_per_hour: float | None = None
    basis: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One machine that runs the model, with its price and running cost where known.

    ``price_usd`` is what one pays to own it (``price.total_usd``); ``power_w`` is the chips', and
    ``computer_power_w`` everything's. Costs per million tokens count decoded tokens of all users.
    """

    hardware: str
    chip_id: str
    machine_class: MachineClass
    chips_count: int
    memory_bytes: int
    estimate: Estimate
    price_usd: float | None = None
    power_w: float | None = None
    launch_year: int | None = None
    usd_per_million_tokens: float | None = None
    electricity_usd_per_million_tokens: float | None = None
    price: PriceTag = PriceTag()
    computer_power_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMiss:
    """A kind of machine of which none passes, and the one that came nearest."""

    machine_class: MachineClass
    hardware: str
    reason: str
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopPick:
    """The best model for the task on a machine."""

    model_id: str
    quant_id: str
    quality: Quality
    decode_tokens_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """One thing to add to a machine: what it does to the model that was asked for, and to the best there is.

    ``speedup_frac`` is the change of the decode rate; None where the model did not run before, or does not after.
    """

    name: str
    hardware: str
    estimate: Estimate | None = None
    reason: str | None = None  # why the model still does not run
    speedup_frac: float | None = None
    top: TopPick | None = None
    cost_usd: float | None = None
    assumption: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Machines that run one model within the limits; ``here`` is the user's own, if it does.

    ``upgrades`` are for the machine named in ``base``, ``base_top`` the best model on it as it is.
    """

    model_id: str
    workload: Workload
    limits: Limits
    rows: tuple[PlanRow, ...]
    rejected: tuple[Rejection, ...]
    created_at: str
    tool_version: str
    catalog_version: str
    here: Estimate | None = None
    class_misses: tuple[ClassMiss, ...] = ()
    base: str | None = None
    base_reason: str | None = None  # why the model does not run on it
    base_top: TopPick | None = None
    upgrades: tuple[Upgrade, ...] = ()
    assumptions: Mapping[str, float] = field(default_factory=dict)  # of the costs, by name and unit
    schema_version: int = SCHEMA_VERSION
    kind: str = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonColumn:
    """One machine of a comparison: its best picks for the task, or the model that was asked about."""

    hardware: str
    picks: tuple[Choice, ...] = ()
    estimate: Estimate | None = None
    reason: str | None = None  # why there is no answer
    price_usd: float | None = None
    power_w: float | None = None
    price: PriceTag = PriceTag()
    computer_power_w: float | None = None
    usd_per_million_tokens: float | None = None  # of the model that was asked about, or the first pick
    electricity_usd_per_million_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineComparison:
    """Machines side by side for one task or one model."""

    machines: tuple[ComparisonColumn, ...]
    workload: Workload
    created_at: str
    tool_version: str
    model_id: str | None = None
    assumptions: Mapping[str, float] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    kind: str = "machine_comparison"


class ValidationStatus(StrEnum):
    """What became of one validation."""

    OK = "ok"
    FAILED = "failed"
    WAIVED = "waived"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBuild:
    """Which engine measured: its name, version and how it was built."""

    id: str
    version: str | None = None
    build: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the engine really did; ``None`` where it could not be seen."""

    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    first_token_s: float | None = None
    load_s: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Seconds of each stage of a workload, timed apart; ``None`` where a stage could not be seen.

    ``tokenize_s`` is for a text as long as the prompt, ``detokenize_s`` for the whole answer. ``load_cold_s`` reads
    the disk, ``load_warm_s`` the page cache; both last until every weight has been touched.
    """

    load_cold_s: float | None = None
    load_warm_s: float | None = None
    tokenize_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    detokenize_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthSpeed:
    """Speed with so many tokens of context already there."""

    depth_tokens: int
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadsSpeed:
    """Speed with a number of threads."""

    threads_count: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyUse:
    """What the metered devices used per token of each phase, idle power included; or why nobody knows."""

    device_ids: tuple[str, ...] = ()
    prefill_j_per_token: float | None = None
    decode_j_per_token: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuality:
    """How well a model foretells a text: perplexity over windows of 512 tokens, the second half of each scored.

    ``text_id`` hashes the scored token ids: only equal ones can be compared. ``bits_per_byte`` compares
    models with unlike tokenizers. ``perplexity_sigma_frac`` is the standard error of the logarithm.
    """

    text_name: str
    text_id: str
    tokens_count: int
    perplexity: float
    perplexity_sigma_frac: float
    bits_per_byte: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityDelta:
    """A quantisation's perplexity relative to a finer one's on the same tokens, paired token by token (80 %)."""

    model_id: str
    quant_id: str
    baseline_quant_id: str
    tokens_count: int
    change_frac: float
    interval_frac: "FractionInterval"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRecord:
    """A prediction beside its measurement.

    ``error_frac`` is predicted / observed - 1 per metric. ``samples`` keeps every raw repeat
    ("prefill_s", "decode_s", "token_timestamps_s", ...).
    """

    estimate: Estimate
    engine: EngineBuild
    weights: str  # "real" | "twin" | "truncated_twin"
    status: ValidationStatus
    observed: Observed
    error_frac: Mapping[str, float] = field(default_factory=dict)
    within_interval: Mapping[str, bool] = field(default_factory=dict)
    polluted: bool = False
    reason: str | None = None
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    engine_memory_bytes: Mapping[str, int] = field(default_factory=dict)
    profile_id: str | None = None
    created_at: str | None = None
    answer: str | None = None  # what real weights said to the fixed prompt
    notes: tuple[str, ...] = ()
    stages: Stages = field(default_factory=Stages)
    depths: tuple[DepthSpeed, ...] = ()
    threads: tuple[ThreadsSpeed, ...] = ()  # the engine's default is the deployment's threads_count
    energy: EnergyUse = field(default_factory=EnergyUse)
    quality: TextQuality | None = None
    failure_kind: str | None = None  # the error it failed of: "OutOfMemoryError", "ModelRefusedError", "GarbageError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A run that was made to settle a ranking: the doubt it was expected to remove, and what became of it."""

    model_id: str
    quant_id: str
    expected_gain: float
    predicted_cost_s: float
    elapsed_s: float
    status: ValidationStatus
    polluted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RankChange:
    """A pick that moved once others or itself were measured; ``rank_after`` is None for one that dropped out."""

    model_id: str
    quant_id: str
    rank_before: int
    rank_after: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """What a time budget bought: the runs, and what they changed in the ranking.

    *Doubt* is the expected number of wrongly ordered pairs, each divided by its better rank
    (see ``advisor.experiment_choice``).
    """

    budget_s: float
    spent_s: float
    doubt_before: float
    doubt_after: float
    trials: tuple[Trial, ...]
    stopped: str
    changes: tuple[RankChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """A document of validation records."""

    records: tuple[ValidationRecord, ...]
    created_at: str
    tool_version: str
    profile_id: str | None = None
    hardware: str | None = None
    quality_deltas: tuple[QualityDelta, ...] = ()
    schema_version: int = SCHEMA_VERSION
    kind: str = "validation"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """One prediction against one measurement."""

    hardware: str
    backend: str
    model_id: str
    quant: str
    test: str  # "pp512", "tg128", "tg128@d4096"
    measured: float
    predicted: Interval
    error_frac: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracySummary:
    """Errors of one group of rows: absolute percentage errors as fractions, interval coverage, bias."""

    group: str
    phase: str
    n: int
    median_ape: float
    p90_ape: float
    coverage: float
    bias: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRow:
    """A row that could not be predicted, and why."""

    row: Mapping[str, str]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How far predictions are off."""

    rows: tuple[AccuracyRow, ...]
    summary: tuple[AccuracySummary, ...]
    skipped: tuple[SkippedRow, ...] = ()
    notes: tuple[str, ...] = ()
    created_at: str = ""
    tool_version: str = ""
    schema_version: int = SCHEMA_VERSION
    kind: str = "accuracy"


class Verdict(StrEnum):
    """What a comparison of two runs says about one metric."""

    SLOWER = "slower"
    FASTER = "faster"
    NOISIER = "noisier"
    UNCHANGED = "unchanged"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class FractionInterval:
    """A confidence interval of a relative change."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One metric of one subject, before and after."""

    metric: str
    subject: str
    baseline: float | None
    current: float | None
    change_frac: float | None
    interval_frac: FractionInterval | None
    significant: bool
    verdict: Verdict
    reason: str | None = None
    p_value: float | None = None
    threshold_frac: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one device achieves with one engine backend: the coefficients of the cost model.

    Per weight type: seconds per weight byte while decoding one token, and seconds per flop
    while working through a prompt. ``*_sigma`` is the standard deviation of the logarithm of the
    whole phase's time around the prediction.
    """

    device_id: str
    backend: str
    basis: Basis
    decode_s_per_byte: Mapping[str, float]  # by tensor type, with "*" for every other type
    prefill_s_per_flop: Mapping[str, float]
    kv_s_per_byte: float
    attention_s_per_flop: float
    decode_s_per_layer: float = 0.0
    decode_s_per_moe_layer: float = 0.0
    cached_bytes: float = 0.0  # weights that stay in the last-level cache from one token to the next
    decode_s_per_operation: float = 0.0  # graph node: a launch on a GPU, a barrier on a CPU
    decode_s_per_token: float = 0.0
    decode_s_per_flop: float = 0.0
    decode_expert_factor: float = 1.0  # time of a routed-expert byte relative to a dense one
    output_factor: float = 1.0  # time of an output-layer byte relative to one of the layers
    decode_attention_s_per_flop: float = 0.0
    state_s_per_byte: float = 0.0  # recurrent state, decoding
    state_s_per_flop: float = 0.0  # recurrent state, per prompt token
    prefill_s_per_activation: float = 0.0  # per token, layer and hidden dimension
    prefill_s_per_routed_activation: float = 0.0  # per token, chosen expert and value it takes in or works on
    prefill_s_per_layer: float = 0.0  # per micro-batch
    prefill_moe_factor: float = 1.0  # time of routed-expert flop relative to dense flop
    ubatch_half_tokens: float = 0.0  # micro-batch at which prefill runs at half its full rate
    expert_half_tokens: float = 0.0  # the same for the tokens that reach one expert
    prefill_s_per_byte: float = 0.0  # weights swept once per micro-batch
    prefill_s_per_moe_layer: float = 0.0  # per micro-batch
    batch_matvec_factor: float = 1.0  # time of a further user's flop in a matrix-vector kernel, relative to prefill's
    batch_half_tokens: float | None = None  # users at which a matrix kernel runs at half its rate; None: there is none
    experts_reread: bool = False  # matrix-vector kernels read an expert again for each user who wakes it
    decode_s_per_dot: Mapping[str, float] = field(default_factory=dict)  # row times token: "repacked" types, "*" others
    related_types: tuple[str, ...] = ()  # types with rates of a like type, none of their own
    repacked_types: tuple[str, ...] = ()  # types the CPU multiplies several rows of at once
    expert_s_per_dot: float = 0.0  # row of an expert's matrix times a prompt token that wakes it
    expert_s_per_byte: Mapping[str, float] = field(default_factory=dict)  # expert fetched for a micro-batch, by type
    deep_attention_s_per_flop: float = 0.0  # further cost of a prompt's attention to tokens far back
    deep_decode_attention_s_per_flop: float = 0.0  # the same for a decoded token
    attention_s_per_score: float = 0.0  # without flash attention the score matrix goes through memory
    decode_sigma: float = 0.3
    prefill_sigma: float = 0.4
    threads_count: int | None = None
    memory_bytes_per_s: float | None = None  # the roof no estimate may pass
    flop_per_s: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Rates measured through the engine on this machine, and the samples they were fitted from."""

    calibration_id: str
    profile_id: str
    engine: EngineBuild
    created_at: str
    rates: tuple[Rates, ...]
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    polluted: bool = False
    schema_version: int = SCHEMA_VERSION
    kind: str = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeries:
    """Every raw repeat of one metric of one case.

    ``values[i]`` was measured in round ``rounds[i]``; all cases of a suite take turns within a round.
    The metric's unit suffix says which way is better: ``_per_s`` up, ``_s`` and ``_bytes`` down.
    """

    metric: str  # "decode_tokens_per_s", "first_token_s", "peak_memory_bytes", "read_bytes_per_s", ...
    values: tuple[float, ...]
    rounds: tuple[int, ...]
    polluted: tuple[bool, ...] = ()  # one per value, or empty: none was


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCase:
    """One case of a suite: what was loaded and asked, and what came out.

    ``subject`` is unique within a run and equal between runs of one suite. The machine's own
    probes are the case "machine", which has no deployment.
    """

    subject: str
    status: ValidationStatus
    series: tuple[MetricSeries, ...] = ()
    deployment: Deployment | None = None
    workload: Workload | None = None
    weights: str | None = None  # "real" | "twin" | "truncated_twin"
    weights_id: str | None = None  # hash of what was loaded: file or twin recipe
    estimate: Estimate | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnvironment:
    """What a run was taken on and with. ``machine_id`` hashes what does not change with an update."""

    machine_id: str
    hardware: str
    os: str
    kernel: str | None = None
    cpu_name: str | None = None
    microcode: str | None = None
    governor: str | None = None
    turbo_enabled: bool | None = None
    cpu_quota_cores_frac: float | None = None
    usable_threads_count: int | None = None
    memory_total_bytes: int | None = None
    memory_limit_bytes: int | None = None
    memory_transfers_per_s: float | None = None
    virtualization: str | None = None
    drivers: Mapping[str, str] = field(default_factory=dict)  # device id -> driver
    engine: EngineBuild | None = None
    python_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One recording of a suite on one machine."""

    suite_name: str
    suite_id: str  # hash of everything in the suite that changes what is measured
    environment: RunEnvironment
    cases: tuple[RunCase, ...]
    created_at: str
    tool_version: str
    rounds_count: int
    complete: bool = True
    finished_at: str | None = None
    resumed_count: int = 0
    clock_jump_s: float | None = None  # wall clock against the monotonic clock, where they disagreed
    profile_id: str | None = None
    hardware: str | None = None
    notes: tuple[str, ...] = ()
    paired_id: str | None = None  # shared with the run that took its turns beside this one
    schema_version: int = SCHEMA_VERSION
    kind: str = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChange:
    """One thing that differs between the environments of two runs, in words."""

    name: str
    baseline: str | None
    current: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The smallest change of one metric that a comparison on this machine would catch.

    ``within_frac`` and ``between_frac`` are standard deviations of the logarithm: of one round
    within a run, and of a run's typical value between like runs (None: fewer than three such runs).
    """

    metric: str
    subject: str
    rounds_count: int
    within_frac: float
    between_frac: float | None
    smallest_change_frac: float
    runs_count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """A/A calibration: like runs compared with each other, so every alarm is a false one."""

    suite_name: str
    hardware: str
    resolutions: tuple[Resolution, ...]
    comparisons_count: int
    false_alarms_count: int
    created_at: str
    tool_version: str
    power_frac: float = 0.9
    runs_count: int = 1
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
    kind: str = "selftest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReference:
    """Which run a comparison speaks of."""

    suite_name: str
    suite_id: str
    machine_id: str
    hardware: str
    created_at: str
    engine: EngineBuild | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Two runs compared metric by metric. ``regressed`` is what the exit code says."""

    baseline: RunReference
    current: RunReference
    findings: tuple[Finding, ...]
    regressed: bool
    false_discovery_frac: float
    created_at: str
    tool_version: str
    environment_changes: tuple[EnvironmentChange, ...] = ()
    allowed: tuple[str, ...] = ()  # differences that would have been refused
    fail_on: tuple[Verdict, ...] = (Verdict.SLOWER,)  # verdicts that make it fail
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
    kind: str = "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """One run's typical value of one metric."""

    created_at: str
    value: float
    engine: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """A lasting step in a trend: ``created_at`` is the first point after it."""

    created_at: str
    before: float
    after: float
    change_frac: float
    engine_before: str | None = None
    engine_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One metric of one subject on one machine over time."""

    machine_id: str
    subject: str
    metric: str
    points: tuple[TrendPoint, ...]
    change_points: tuple[ChangePoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One remembered document."""

    digest: str
    kind: str
    created_at: str
    machine_id: str | None
    summary: str
    origin: str = "here"  # "here" | "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDocument:
    """What was measured here over time."""

    entries: tuple[HistoryEntry, ...]
    trends: tuple[Trend, ...]
    created_at: str
    tool_version: str
    schema_version: int = SCHEMA_VERSION
    kind: str = "history"


class NodeStatus(StrEnum):
    """What became of one node of a fleet."""

    WAITING = "waiting"
    OK = "ok"
    FAILED = "failed"  # the task ran and failed
    LOST = "lost"  # the node or its worker went away, or answered too late


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetNode:
    """One node of a fleet, and what it measured."""

    node_id: str
    name: str
    status: NodeStatus
    reason: str | None = None
    elapsed_s: float | None = None
    profile: HardwareProfile | None = None
    run: Run | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Many machines scanned or benched at once."""

    action: str  # "scan" | "bench"
    nodes: tuple[FleetNode, ...]
    created_at: str
    tool_version: str
    address: str | None = None
    schema_version: int = SCHEMA_VERSION
    kind: str = "fleet"
