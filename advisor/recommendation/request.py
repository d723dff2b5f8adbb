"""What a recommendation is asked, and the unit it ranks: one model in its best setting."""

from dataclasses import dataclass, field

from advisor.recommendation.score import ScoredEstimate
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import Limits, Workload
from catalog.types import ArtifactSpec, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file on this machine that holds a catalog model at a quantisation."""

    model_id: str
    quant_id: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    workload: Workload
    limits: Limits = field(default_factory=Limits)
    top_count: int = 10
    kv_quant_id: str | None = None
    settings: LoadSettings = NOTHING_FIXED
    local_files: tuple[LocalFile, ...] = ()
    whatif_count: int = 0  # picks that carry a what-if table: for documents that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model with its best setting, what else was tried, and what is folded into it."""

    model: ModelSpec
    artifact: ArtifactSpec
    best: ScoredEstimate
    others: tuple[ScoredEstimate, ...] = ()
    relatives: tuple[str, ...] = ()


#: Whether it is usable at all, and its score.
Preference = tuple[bool, float]


def preference(option: ScoredEstimate) -> Preference:
    """The order of picks: usable ones first, then by score."""
    return option.usable, option.score
