"""The score: expected task quality, discounted where the machine makes the model slow to use.

``score = conservative quality x usability``, both on documented scales:

* *conservative quality* is the middle of the model's quality interval at the task, after the loss of
  the weight and KV quantisation, moved half-way to its lower end: a model whose score is only imputed
  must not outrank one that was measured by luck of a wide interval.
* *usability* is 1 where speed no longer matters and falls with the logarithm of speed, ever faster, to
  `SLOWEST_USABILITY` at the slowest usable decode rate and the longest tolerable wait; beyond them it
  falls with the square root of speed, so that a model that takes hours never beats one that takes minutes.

A model that is shared with the CPU beside an accelerator gives up `WORTH_STAYING_WHOLE_FRAC` of its score: prompts are
uneven there, other work suffers, and less certain parts of the machine decide its speed.

What a quantisation costs is itself uncertain: the lower end of the quality counts its loss
`LOSS_DOUBT` times, so that a coarse quantisation is taken only where it buys something.
"""

import math
from dataclasses import dataclass

from advisor.types import Estimate, EstimateWarning, Quality
from advisor.workloads import TASKS, TaskProfile
from catalog.types import Score
from catalog.units import Z_80

#: A model at the edge of being usable keeps this share of its quality for each of decode and wait.
SLOWEST_USABILITY = 0.65
#: Below this chance of being the better one, two picks are "about equal".
ABOUT_EQUAL_CHANCE = 0.65
#: The first doublings of speed above the slowest usable one earn the most.
SATURATION = 1.5
CAUTION = 0.5
#: A model is ranked behind all that answer in time only from so many times the task's patience on: patience is a
#: working assumption, and below that the score itself weighs a wait against what it is waited for.
BEARABLE_FACTOR = 3.0
#: Share of its score that staying off the CPU is worth to a model.
WORTH_STAYING_WHOLE_FRAC = 0.03
#: Divergence turns into lost answers by a factor that differs this much between tasks and models.
LOSS_DOUBT = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredEstimate:
    """An estimate with its quality and score; ``usable`` is False below the task's usable speed."""

    estimate: Estimate
    quality: Quality
    score: float
    sigma: float
    usable: bool
    turn_wait_s: float


def quality_after_loss(score: Score, weight_loss_frac: float, kv_loss_frac: float) -> Quality:
    """Task quality after quantisation; both losses are relative."""
    kept = (1.0 - weight_loss_frac) * (1.0 - kv_loss_frac)
    least_kept = max(0.0, 1.0 - LOSS_DOUBT * (1.0 - kept))
    return Quality(low=score.low * least_kept, mid=score.mid * kept, high=score.high * kept, imputed=score.imputed)


def conservative(quality: Quality | Score) -> float:
    """The quality a careful adviser counts on."""
    return quality.mid - CAUTION * (quality.mid - quality.low)


def _log_share(value: float, worst: float, best: float) -> float:
    """0 at the worst value, 1 at the best, between them in the logarithm, saturating; works in both directions."""
    if math.isinf(best) or worst <= 0.0:
        return 1.0
    share = math.log(value / worst) / math.log(best / worst)
    return 1.0 - math.pow(1.0 - min(1.0, max(0.0, share)), SATURATION)


def turn_wait_s(estimate: Estimate, profile: TaskProfile) -> float:
    """Seconds to the first token of a usual turn, when the prompt cache holds the earlier part."""
    return estimate.first_token_s.mid * (1.0 - profile.cached_prompt_frac)


def usability(decode_tokens_per_s: float, wait_s: float, profile: TaskProfile) -> float:
    """How much of a model's quality is left at this speed: `SLOWEST_USABILITY` squared to 1 where it is usable."""
    return _decode_usability(decode_tokens_per_s, profile) * _wait_usability(wait_s, profile)


def _decode_usability(decode_tokens_per_s: float, profile: TaskProfile) -> float:
    share = _log_share(decode_tokens_per_s, profile.usable_tokens_per_s, profile.ample_tokens_per_s)
    too_slow = min(1.0, decode_tokens_per_s / profile.usable_tokens_per_s) if profile.usable_tokens_per_s else 1.0
    return (SLOWEST_USABILITY + (1.0 - SLOWEST_USABILITY) * share) * math.sqrt(too_slow)


def _wait_usability(wait_s: float, profile: TaskProfile) -> float:
    share = _log_share(wait_s, profile.patience_s, profile.prompt_wait_s)
    too_long = min(1.0, profile.patience_s / max(wait_s, 1e-9))
    return (SLOWEST_USABILITY + (1.0 - SLOWEST_USABILITY) * share) * math.sqrt(too_long)


def spills_to_cpu(estimate: Estimate) -> bool:
    """Whether part of the model stays on the CPU beside an accelerator."""
    return EstimateWarning.SPILLS_TO_CPU in estimate.warnings


def _place_usability(estimate: Estimate) -> float:
    return 1.0 - WORTH_STAYING_WHOLE_FRAC if spills_to_cpu(estimate) else 1.0


def parts(option: "ScoredEstimate") -> dict[str, float]:
    """The factors of a score: "quality", "decode", "wait" and "place"."""
    profile = TASKS[option.estimate.workload.task]
    return {
        "quality": conservative(option.quality),
        "decode": _decode_usability(option.estimate.decode_tokens_per_s.mid, profile),
        "wait": _wait_usability(option.turn_wait_s, profile),
        "place": _place_usability(option.estimate),
    }


def is_usable(decode_tokens_per_s: float, wait_s: float, profile: TaskProfile) -> bool:
    """Whether the task can be done at this speed at all."""
    return decode_tokens_per_s >= profile.usable_tokens_per_s and wait_s <= BEARABLE_FACTOR * profile.patience_s


def score_estimate(estimate: Estimate, quality: Quality, profile: TaskProfile | None = None) -> ScoredEstimate:
    """Score one estimate by a profile; by default that of its own workload's task."""
    profile = profile or TASKS[estimate.workload.task]
    wait_s = turn_wait_s(estimate, profile)
    decode = estimate.decode_tokens_per_s.mid
    factor = usability(decode, wait_s, profile) * _place_usability(estimate)
    return ScoredEstimate(
        estimate=estimate,
        quality=quality,
        score=conservative(quality) * factor,
        sigma=(quality.high - quality.low) / (2 * Z_80) * factor,
        usable=is_usable(decode, wait_s, profile),
        turn_wait_s=wait_s,
    )


def chance_better(first: ScoredEstimate, second: ScoredEstimate) -> float:
    """Probability that ``first`` really is better, were both scores normal and independent."""
    spread = math.hypot(first.sigma, second.sigma)
    if spread == 0.0:
        return 1.0 if first.score > second.score else 0.5
    return 0.5 * (1.0 + math.erf((first.score - second.score) / (spread * math.sqrt(2.0))))
