"""Why a model is not the pick: its rank or what it lost on, and the smallest changes that would mend it.

Nothing is guessed: every change is tried by asking the search again with it, and listed only if the model
then fits, passes the limits, becomes usable, leaves the CPU, or ranks higher.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from advisor.machine import Machine
from advisor.recommendation.folding import fold
from advisor.recommendation.limits import Miss, misses, passes
from advisor.recommendation.ordering import in_best_order
from advisor.recommendation.request import Candidate, Preference, Request, preference, settled
from advisor.recommendation.score import ScoredEstimate, parts
from advisor.recommendation.search import in_best_setting, least_quality, search_all
from advisor.recommendation.spans import span
from advisor.recommendation.variants import Case, Variant, preferred, spilled_bytes, variants
from advisor.types import Change, Rejection, Why
from advisor.workloads import TASKS
from catalog.load import Catalog
from catalog.types import ModelSpec
from catalog.units import GIB

__all__ = ["explain", "shortfalls", "spilled_bytes"]

#: A change must speed decoding up by this much to count by speed alone.
_WORTHWHILE_FACTOR = 1.15
_CHANGES_COUNT = 5
_NOTABLE_CLIMB_FRAC = 0.1
#: Shares of the score below this are not worth a line.
_SMALL_SHARE = 0.02


def explain(catalog: Catalog, machine: Machine, request: Request, model: ModelSpec, quant_id: str | None = None) -> Why:
    """Where a model stands on a machine for a request.

    Args:
        catalog: the catalog.
        machine: the machine.
        request: what is asked; its ``top_count`` is the length of the list that the model may be missing from.
        model: the model, of the catalog or not.
        quant_id: only this quantisation of it, or None for its best.
    """
    case = Case(catalog, machine, model, request, (quant_id,) if quant_id else None)
    outcome = case.asked()
    if isinstance(outcome, Rejection):
        return _refused(case, outcome)
    option = preferred(outcome, request.limits)
    broken = misses(option, request.limits)
    option = _tuned(case, case, option)
    if broken:
        return _over_limit(case, option, broken)
    quality = catalog.quality(model.model_id, request.workload.task).mid
    if quality < least_quality(request):
        return _too_weak(case, option, quality)
    return _ranked(case, outcome, option)


def _tuned(case: Case, asked: Case | Variant, option: ScoredEstimate) -> ScoredEstimate:
    """An option in the best of its load-time settings, as the list shows it."""
    return in_best_setting(case.catalog, asked.machine, case.model, asked.request, option)


def _why(case: Case, option: ScoredEstimate | None, verdict: str, **found: object) -> Why:
    quant_id = option.estimate.quant_id if option else (case.quants or (None,))[0]
    return Why(
        model_id=case.model.model_id,
        verdict=verdict,
        quant_id=quant_id,
        estimate=option.estimate if option else None,
        quality=option.quality if option else None,
        **found,  # type: ignore[arg-type]
    )


# Not ranked at all ----------------------------------------------------------------------------


def _refused(case: Case, rejection: Rejection) -> Why:
    """A rule or the memory excludes it: what would let it in."""
    changes = tuple(_mending(case, None))
    if not changes and rejection.fix:
        instead = rejection.fix.startswith("run ")
        effect = "it is ranked in its place" if instead else "it could then be looked at"
        changes = (Change(kind="model", option=rejection.fix, effect=effect),)
    return _why(case, None, f"not ranked: {rejection.reason}", lost_on=(rejection.reason,), changes=changes)


def _over_limit(case: Case, option: ScoredEstimate, broken: Sequence[Miss]) -> Why:
    texts = tuple(miss.text for miss in broken)
    changes = [*_mending(case, option), *_relaxed(broken)]
    return _why(case, option, f"not ranked: {' and '.join(texts)}", lost_on=texts, changes=tuple(changes))


def _relaxed(broken: Sequence[Miss]) -> Iterator[Change]:
    """The limits at which it would just pass."""
    option = " ".join(miss.fix for miss in broken)
    yield Change(kind="limit", option=option, effect="it would pass every limit")


def _too_weak(case: Case, option: ScoredEstimate, quality: float) -> Why:
    floor = least_quality(case.request)
    reason = f"quality {quality:.0f} of 100 at {case.request.workload.task}; {floor:.0f} is the least that is offered"
    change = Change(kind="limit", option=f"--min-quality {int(quality)}", effect="it would be ranked")
    return _why(case, option, f"not ranked: {reason}", lost_on=(reason,), changes=(change,))


# Ranked ---------------------------------------------------------------------------------------


def _ranked(case: Case, outcome: Candidate, option: ScoredEstimate) -> Why:
    """It passes everything: its rank, what the first pick has over it, and what would lift it."""
    own = replace(outcome, best=preferred(outcome, case.request.limits))
    others = [
        candidate
        for candidate in _rivals(case, preference(own.best))
        if candidate.model.model_id != case.model.model_id
    ]
    pool = sorted([*others, own], key=lambda each: (*preference(each.best), each.model.model_id), reverse=True)
    leaders, copies = fold(pool, case.catalog.models)
    leaders = in_best_order(leaders, case.catalog, case.machine, case.request)
    ids = [leader.model.model_id for leader in leaders]
    if case.model.model_id not in ids:
        return _copy(case, option, next(copy for copy in copies if copy.model_id == case.model.model_id), leaders)
    rank = ids.index(case.model.model_id) + 1
    first = leaders[0]
    if rank == 1:
        return _why(case, option, "it is the first pick", rank=1, changes=tuple(_mending(case, option)))
    lost = _lost_on(case, option, first)
    verdict = f"rank {rank}: {lost[0]}" if lost else f"rank {rank}: about equal to {first.model.display_name}"
    above = [preference(leader.best) for leader in leaders[: rank - 1]]
    return _why(case, option, verdict, rank=rank, lost_on=lost, changes=tuple(_mending(case, option, above)))


def _copy(case: Case, option: ScoredEstimate, copy: Rejection, leaders: Sequence[Candidate]) -> Why:
    """It is a near copy of a higher-ranked model, which stands for both."""
    above = [preference(leader.best) for leader in leaders if preference(leader.best) > preference(option)]
    lost = (copy.reason, *_lost_on(case, option, leaders[0]))
    change = Change(kind="model", option=copy.fix or "", effect="it stands for both in the list")
    verdict = f"folded, else rank {len(above) + 1}: {copy.reason}"
    return _why(case, option, verdict, lost_on=lost, changes=(change, *_mending(case, option, above)))


def _rivals(case: Case, own: Preference) -> list[Candidate]:
    """Every other model that passes the limits and is at least as good."""
    found = []
    for candidate in search_all(case.catalog, case.machine, case.request, until=own).candidates:
        options = [option for option in (candidate.best, *candidate.others) if passes(option, case.request.limits)]
        if options:
            found.append(replace(candidate, best=settled(options)))
    return found


def _lost_on(case: Case, option: ScoredEstimate, first: Candidate) -> tuple[str, ...]:
    """What the first pick has over it, the costliest first."""
    found = shortfalls(option, first)
    spilled = spilled_bytes(option)
    if spilled and len(case.machine.devices) > 1:
        speed = option.estimate.decode_tokens_per_s.mid
        found.append(f"{spilled / GIB:.1f} GiB of it runs on the CPU, so that it decodes {speed:.3g} tok/s")
    if not option.usable:
        found.insert(0, f"too slow for {case.request.workload.task}: {_too_slow(option)}")
    return tuple(found)


def _too_slow(option: ScoredEstimate) -> str:
    profile = TASKS[option.estimate.workload.task]
    speed = option.estimate.decode_tokens_per_s.mid
    found = []
    if speed < profile.usable_tokens_per_s:
        found.append(f"{speed:.3g} tok/s where {profile.usable_tokens_per_s:g} are usable")
    if option.turn_wait_s > profile.patience_s:
        found.append(
            f"{span(option.turn_wait_s)} to the first token of a turn where {span(profile.patience_s)} is bearable"
        )
    return " and ".join(found)


def shortfalls(option: ScoredEstimate, first: Candidate) -> list[str]:
    """What another pick has over a setting in quality, speed and wait, the costliest first."""
    own, best = parts(option), parts(first.best)
    name = first.model.display_name
    made, other = option.estimate, first.best.estimate
    texts = {
        "quality": f"quality {option.quality.mid:.0f} against {first.best.quality.mid:.0f} of {name}",
        "decode": f"decodes {made.decode_tokens_per_s.mid:.3g} tok/s against {other.decode_tokens_per_s.mid:.3g}"
        f" of {name}",
        "wait": f"first token after {span(option.turn_wait_s)} a turn against {span(first.best.turn_wait_s)} of {name}",
    }
    losses = {key: 1.0 - own[key] / best[key] for key in texts if best[key] > 0.0}
    found = [key for key in sorted(losses, key=lambda key: -losses[key]) if losses[key] > _SMALL_SHARE]
    return [f"{texts[key]} (costs {losses[key]:.0%} of its score)" for key in found]


# What would mend it ---------------------------------------------------------------------------


def _mending(case: Case, option: ScoredEstimate | None, above: Sequence[Preference] = ()) -> Iterator[Change]:
    """Changes that help, the smallest first; one of each kind."""
    seen: set[str] = set()
    for variant in variants(case, option):
        if variant.kind in seen or len(seen) == _CHANGES_COUNT:
            continue
        outcome = case.tried(variant)
        if isinstance(outcome, Rejection):
            continue
        changed = _tuned(case, variant, preferred(outcome, variant.request.limits))
        effect = _effect(case, option, changed, variant, above)
        if effect is not None:
            seen.add(variant.kind)
            yield Change(
                kind=variant.kind,
                option=variant.option,
                effect=effect,
                quality_loss_frac=_loss(option, changed),
                estimate=changed.estimate,
            )


def _loss(before: ScoredEstimate | None, after: ScoredEstimate) -> float:
    if before is None or before.quality.mid <= 0.0:
        return 0.0
    return max(0.0, 1.0 - after.quality.mid / before.quality.mid)


def _effect(
    case: Case,
    before: ScoredEstimate | None,
    after: ScoredEstimate,
    variant: Variant,
    above: Sequence[Preference],
) -> str | None:
    """What a change brings, in words; None if it does not help."""
    speed = f"{after.estimate.decode_tokens_per_s.mid:.3g} tok/s"
    if not passes(after, variant.request.limits):
        return None
    cost = _cost(_loss(before, after))
    if variant.kind == "task":
        return f"it is made for that: {after.estimate.quant_id}, {speed}"
    if before is None:
        return f"it fits, at {after.estimate.quant_id} and {speed}"
    gain = after.estimate.decode_tokens_per_s.mid / before.estimate.decode_tokens_per_s.mid
    spilled = spilled_bytes(before)
    comparable = variant.request.workload == case.request.workload and variant.machine is case.machine
    if not passes(before, case.request.limits):
        brings = "it passes every limit"
    elif after.usable and not before.usable:
        brings = f"it becomes usable for {case.request.workload.task}"
    elif spilled and not spilled_bytes(after) and gain > 1.0:
        brings = f"nothing spills to the CPU ({spilled / GIB:.1f} GiB did)"
    elif comparable and _climbs(before, after, above, case.request.top_count):
        brings = f"it would rank {1 + sum(each > preference(after) for each in above)}"
    elif variant.kind in {"memory", "ram"} and gain >= _WORTHWHILE_FACTOR:
        brings = "it decodes faster"
    else:
        return None
    return f"{brings}: {speed} instead of {before.estimate.decode_tokens_per_s.mid:.3g}{cost}"


def _climbs(before: ScoredEstimate, after: ScoredEstimate, above: Sequence[Preference], top_count: int) -> bool:
    """Whether it enters the list, or climbs by a tenth of its rank."""
    was, is_now = (sum(each > preference(option) for each in above) for option in (before, after))
    return is_now < was and (is_now < top_count or was - is_now >= _NOTABLE_CLIMB_FRAC * was)


def _cost(loss_frac: float) -> str:
    if loss_frac <= 0.0:
        return ""
    return f", at ~{100 * loss_frac:.1f} % quality" if loss_frac >= 0.0005 else ", at < 0.1 % quality"
