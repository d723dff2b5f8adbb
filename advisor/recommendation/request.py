"""What a recommendation is asked, and the unit it ranks: one model in its best setting."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from advisor.recommendation.score import ScoredEstimate
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import EstimateWarning, Limits, Workload
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


#: Shares of its score that a model gives up to stay off the CPU, where prompts crawl and other work suffers …
WORTH_STAYING_WHOLE_FRAC = 0.03
#: … and, where part of it is there in any case, for speed: finer weights than these differ by less than tests resolve.
WORTH_SPEED_FRAC = 0.01


def preference(option: ScoredEstimate) -> Preference:
    """The order of picks: usable ones first, then by score."""
    return option.usable, option.score


def spills(option: ScoredEstimate) -> bool:
    """Whether part of the model stays on the CPU beside an accelerator."""
    return EstimateWarning.SPILLS_TO_CPU in option.estimate.warnings


def settled(options: Sequence[ScoredEstimate]) -> ScoredEstimate:
    """The setting of a model to run: its best, or one about as good that stays off the CPU or is quicker there.

    Scores saturate at an ample speed, so the finest weights that are fast enough always score best; an expert
    who has to share a model with the CPU rather takes a size smaller.
    """
    best = max(options, key=preference)
    if not spills(best):
        return best
    alike = [option for option in options if option.usable == best.usable]
    whole = [o for o in alike if not spills(o) and o.score >= (1.0 - WORTH_STAYING_WHOLE_FRAC) * best.score]
    if whole:
        return max(whole, key=preference)
    close = [option for option in alike if option.score >= (1.0 - WORTH_SPEED_FRAC) * best.score]
    return max(close, key=lambda option: option.estimate.decode_tokens_per_s.mid)
