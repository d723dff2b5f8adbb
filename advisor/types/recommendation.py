"""Ranked picks, the reasons for and against them, and stacks of models that live together."""

from dataclasses import dataclass
from enum import StrEnum

from advisor.types.prediction import SCHEMA_VERSION, DeviceMemory, Estimate, Task, Workload
from advisor.types.validation import Reranking, Validation


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
    validation: Validation | None = None  # the top picks, loaded and timed
    reranking: Reranking | None = None  # what runs under --budget changed
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
    Where no models do all the jobs there are no members; ``reasons`` says why and ``rejected`` what each lacked.
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
    rejected: tuple[Rejection, ...] = ()  # where there are no members: what was considered
    schema_version: int = SCHEMA_VERSION
    kind: str = "stack"
