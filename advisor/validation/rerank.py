"""Spend a time budget on the runs that settle the ranking, then rank again by what was measured.

Only undisturbed runs change anything: a polluted figure leaves its prediction in place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from advisor.recommendation.limits import misses
from advisor.recommendation.score import ScoredEstimate, score_estimate
from advisor.types import (
    Basis,
    Choice,
    Estimate,
    Interval,
    Limits,
    RankChange,
    Recommendation,
    Rejection,
    Reranking,
    Trial,
    ValidationRecord,
    ValidationStatus,
)
from advisor.validation.experiment_choice import Contender, doubt, next_experiment, settled
from advisor.validation.record import GARBAGE
from catalog.units import Z_80
from probes.base import Clock

CONTENDERS_COUNT = 12
_MEASURED_SPREAD_FRAC = 0.03  # of one undisturbed run, either way
_START_S = 4.0  # of the engine's process, its questions and its end
_WRITE_BYTES_PER_S = 0.4e9
_WRITE_SHARE = 0.5
_ROUNDS = 3
_WINDOWS_S = 1.2  # of decoding in each round
_LEAST_RUN_S, _MOST_RUN_S = 5.0, 30.0

#: Failures that are the model's own here; others, such as a time-out or no room for a twin, say nothing about it.
CANNOT_RUN = frozenset({"ModelRefusedError", "OutOfMemoryError", "EngineCrashedError", GARBAGE})
NO_ROOM = "NoRoomError"
#: Makes one run within so many seconds.
Run = Callable[[Choice, float], ValidationRecord]


def run_budget_s(budget_s: float) -> float:
    """Seconds that one run may take out of a budget for several."""
    return min(_MOST_RUN_S, max(_LEAST_RUN_S, budget_s / 4.0))


def run_cost_s(choice: Choice, run_s: float) -> float:
    """Seconds a run is predicted to take: writing or loading the weights, then timing them.

    A run keeps to the ``run_s`` it may take, but for loading weights that are here, which is never broken off.
    """
    made = choice.estimate
    if choice.local_path is not None:
        ready_s = 2.0 * made.load_s.mid
    else:
        ready_s = 2.0 * min((choice.file_bytes or 0) / _WRITE_BYTES_PER_S, run_s * _WRITE_SHARE)
    timing_s = _ROUNDS * (made.first_token_s.mid + _WINDOWS_S)
    return max(min(run_s, _START_S + ready_s + timing_s), _START_S + made.load_s.mid)


def contender_of(choice: Choice, run_s: float) -> Contender:
    """A pick with the spread of its score that comes from not having measured its speed."""
    made = choice.estimate
    decode, first = made.decode_tokens_per_s, made.first_token_s

    def score(decode_tokens_per_s: float, first_token_s: float) -> float:
        return score_estimate(_at(made, decode_tokens_per_s, first_token_s), choice.quality).score

    by_decode = score(decode.high, first.mid) - score(decode.low, first.mid)
    by_wait = score(decode.mid, first.low) - score(decode.mid, first.high)
    return Contender(
        key=key_of(made),
        score=score(decode.mid, first.mid),
        sigma=math.hypot(by_decode, by_wait) / (2 * Z_80),
        cost_s=run_cost_s(choice, run_s),
    )


def key_of(made: Estimate) -> str:
    """What tells picks apart."""
    return f"{made.model_id}:{made.quant_id}"


def _at(made: Estimate, decode_tokens_per_s: float, first_token_s: float) -> Estimate:
    return replace(
        made,
        decode_tokens_per_s=replace(made.decode_tokens_per_s, mid=decode_tokens_per_s),
        first_token_s=replace(made.first_token_s, mid=first_token_s),
    )


# --- running -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Campaign:
    """What is believed and what was found so far."""

    choices: dict[str, Choice]
    contenders: tuple[Contender, ...]
    allowed_s: dict[str, float]
    postponed: dict[str, tuple[ValidationRecord, Trial]] = field(default_factory=dict)
    records: list[ValidationRecord] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)

    def take(self, key: str, record: ValidationRecord, trial: Trial) -> None:
        """Believe what a run found."""
        self.postponed.pop(key, None)
        self.records.append(record)
        self.trials.append(trial)
        found = with_measurement(self.choices[key], record)
        if found is not None:
            self.choices[key] = found
        score = None if found is None else score_estimate(found.estimate, found.quality).score
        self.contenders = settled(self.contenders, key, score)

    def postpone(self, key: str, record: ValidationRecord, trial: Trial) -> None:
        """Think of a run that was not begun, for its weights could not be written in time, as one that takes longer."""
        self.postponed[key] = record, trial
        self.allowed_s[key] *= 2.0
        self.contenders = tuple(
            replace(contender, cost_s=self.allowed_s[key]) if contender.key == key else contender
            for contender in self.contenders
        )

    def give_up_postponed(self) -> None:
        """Take what could never be begun for what it is."""
        for key, (record, trial) in list(self.postponed.items()):
            self.take(key, record, trial)


def settle(
    recommendation: Recommendation, run: Run, clock: Clock, budget_s: float
) -> tuple[Recommendation, tuple[ValidationRecord, ...]]:
    """Make the runs that remove most doubt for their time, and rank again.

    Args:
        recommendation: what was ranked by prediction.
        run: makes one run; failures are records.
        clock: the stopwatch for the budget.
        budget_s: wall-clock seconds for all runs; the last one gets what is left.

    Returns:
        The recommendation with its picks re-ranked and its ``reranking`` saying what changed, and the records.
    """
    started_s, run_s = clock.now(), run_budget_s(budget_s)
    picks = recommendation.ranked[:CONTENDERS_COUNT]
    campaign = _Campaign(
        choices={key_of(pick.estimate): pick for pick in picks},
        contenders=tuple(contender_of(pick, run_s) for pick in picks),
        allowed_s={key_of(pick.estimate): run_s for pick in picks},
    )
    before = doubt(campaign.contenders)
    while True:
        left_s = budget_s - (clock.now() - started_s)
        chosen = next_experiment(campaign.contenders, left_s)
        if chosen is None:
            break
        run_started_s = clock.now()
        record = run(campaign.choices[chosen.key], min(campaign.allowed_s[chosen.key], left_s))
        made = campaign.choices[chosen.key].estimate
        trial = Trial(
            model_id=made.model_id,
            quant_id=made.quant_id,
            expected_gain=chosen.gain,
            predicted_cost_s=chosen.cost_s,
            elapsed_s=clock.now() - run_started_s,
            status=record.status,
            polluted=record.polluted,
        )
        if record.failure_kind == NO_ROOM:
            campaign.postpone(chosen.key, record, trial)
        else:
            campaign.take(chosen.key, record, trial)
    stopped = _why_stopped(campaign.contenders, budget_s - (clock.now() - started_s))
    campaign.give_up_postponed()
    reranking = Reranking(
        budget_s=budget_s,
        spent_s=clock.now() - started_s,
        doubt_before=before,
        doubt_after=doubt(campaign.contenders),
        trials=tuple(campaign.trials),
        stopped=stopped,
    )
    return _ranked_again(recommendation, campaign, reranking), tuple(campaign.records)


def _why_stopped(contenders: Sequence[Contender], left_s: float) -> str:
    if next_experiment(contenders, math.inf) is None:
        return "no further run could change the order"
    return f"no further run fits in the {max(0.0, left_s):.0f} s left"


# --- ranking again -------------------------------------------------------------------------------


def with_measurement(choice: Choice, record: ValidationRecord) -> Choice | None:
    """The pick with measured speeds in place of predicted ones; None if the run shows nothing to rely on."""
    observed, made = record.observed, choice.estimate
    decode, first = observed.decode_tokens_per_s, observed.first_token_s
    if record.status is not ValidationStatus.OK or record.polluted or (decode is None and first is None):
        return None
    measured = replace(
        made,
        decode_tokens_per_s=_measured(decode) if decode else made.decode_tokens_per_s,
        first_token_s=_measured(first) if first else made.first_token_s,
        prefill_tokens_per_s=(
            _measured(observed.prefill_tokens_per_s) if observed.prefill_tokens_per_s else made.prefill_tokens_per_s
        ),
        basis=Basis.MEASURED,
    )
    return replace(choice, estimate=measured, score=score_estimate(measured, choice.quality).score)


def _measured(value: float) -> Interval:
    return Interval(low=value * (1 - _MEASURED_SPREAD_FRAC), mid=value, high=value * (1 + _MEASURED_SPREAD_FRAC))


def _ranked_again(recommendation: Recommendation, campaign: _Campaign, reranking: Reranking) -> Recommendation:
    rest = recommendation.ranked[CONTENDERS_COUNT:]
    failed = {key_of(r.estimate): r for r in campaign.records if r.failure_kind in CANNOT_RUN}
    kept, dropped = [], []
    for key, choice in campaign.choices.items():
        reason = _why_dropped(choice, failed.get(key), recommendation.limits)
        if reason is None:
            kept.append(choice)
        else:
            dropped.append((choice, reason))
    everything = sorted([*kept, *rest], key=_preference, reverse=True)
    ranked = tuple(
        replace(
            choice, rank=index, about_equal_to_rank=None if _has_moved(choice, index) else choice.about_equal_to_rank
        )
        for index, choice in enumerate(everything, start=1)
    )
    changes = [_change(choice, ranked, recommendation) for choice in campaign.choices.values()]
    reasons = {key_of(choice.estimate): reason for choice, reason in dropped}
    told = tuple(
        replace(change, reason=reasons.get(f"{change.model_id}:{change.quant_id}", change.reason))
        for change in changes
        if change.rank_after != change.rank_before
    )
    rejections = tuple(
        Rejection(model_id=choice.estimate.model_id, quant_id=choice.estimate.quant_id, reason=reason)
        for choice, reason in dropped
    )
    return replace(
        recommendation,
        ranked=ranked,
        rejected=(*rejections, *recommendation.rejected),
        reranking=replace(reranking, changes=told),
    )


def _why_dropped(choice: Choice, failed: ValidationRecord | None, limits: Limits) -> str | None:
    """Why a pick is no longer one: the engine could not run it, or measured it misses a limit."""
    if failed is not None:
        return f"could not be run here: {failed.reason}"
    if choice.estimate.basis is not Basis.MEASURED:
        return None
    missed = misses(_scored(choice), limits)
    return f"measured, it {missed[0].text}" if missed else None


def _scored(choice: Choice) -> ScoredEstimate:
    return score_estimate(choice.estimate, choice.quality)


def _preference(choice: Choice) -> tuple[bool, float, str]:
    scored = _scored(choice)
    return scored.usable, scored.score, choice.estimate.model_id


def _has_moved(choice: Choice, rank: int) -> bool:
    return choice.rank != rank or choice.estimate.basis is Basis.MEASURED


def _change(choice: Choice, ranked: Sequence[Choice], before: Recommendation) -> RankChange:
    key = key_of(choice.estimate)
    now = next((other for other in ranked if key_of(other.estimate) == key), None)
    then = next(other for other in before.ranked if key_of(other.estimate) == key)
    return RankChange(
        model_id=choice.estimate.model_id,
        quant_id=choice.estimate.quant_id,
        rank_before=then.rank,
        rank_after=now.rank if now else None,
        reason=_why_moved(then, choice),
    )


def _why_moved(then: Choice, now: Choice) -> str:
    if now.estimate.basis is not Basis.MEASURED:
        return "others moved"
    old, new = then.estimate.decode_tokens_per_s.mid, now.estimate.decode_tokens_per_s.mid
    return f"measured {new:.3g} tok/s where {old:.3g} was predicted"
