"""What a recommendation is asked, and the unit it ranks: one model in its best setting."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from advisor.recommendation.score import ScoredEstimate, spills_to_cpu
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


#: Share of its score that a model partly on the CPU gives up for speed: finer weights than these differ by less than
#: tests resolve.
WORTH_SPEED_FRAC = 0.01


def preference(option: ScoredEstimate) -> Preference:
    """The order of picks: usable ones first, then by score."""
    return option.usable, option.score


def spills(option: ScoredEstimate) -> bool:
    """Whether part of the model stays on the CPU beside an accelerator."""
    return spills_to_cpu(option.estimate)


def settled(options: Sequence[ScoredEstimate]) -> ScoredEstimate:
    """The setting of a model to run: its best, or where that shares it with the CPU, one about as good and quicker.

    Scores saturate at an ample speed, so the finest weights that are fast enough always score best; an expert
    who has to share a model with the CPU rather takes a size smaller.
    """
    best = max(options, key=preference)
    if not spills(best):
        return best
    alike = [option for option in options if option.usable == best.usable]
    close = [option for option in alike if option.score >= (1.0 - WORTH_SPEED_FRAC) * best.score]
    return max(close, key=lambda option: option.estimate.decode_tokens_per_s.mid)
