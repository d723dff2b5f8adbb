"""What running a model yielded, beside what was predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from advisor.types.prediction import SCHEMA_VERSION, Estimate, FractionInterval


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
    interval_frac: FractionInterval


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

    @property
    def fastest_threads(self) -> ThreadsSpeed | None:
        """The sweep's number of threads that decodes fastest (an encoder: that reads fastest); None without a sweep."""
        return max(
            self.threads, key=lambda speed: speed.decode_tokens_per_s or speed.prefill_tokens_per_s, default=None
        )


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
    (see ``advisor.validation.experiment_choice``).
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
