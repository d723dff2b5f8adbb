"""Why a model is not the pick: its rank or what it lost on, and the smallest changes that would mend it.

Nothing is guessed: every change is tried by asking the search again with it, and listed only if the model
then fits, passes the limits, becomes usable, leaves the CPU, or ranks higher.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.recommendation.eligibility import reject
from advisor.recommendation.folding import fold
from advisor.recommendation.limits import Miss, misses, passes
from advisor.recommendation.obtain import quant_ids
from advisor.recommendation.request import Candidate, Preference, Request, preference, settled
from advisor.recommendation.score import ScoredEstimate, parts
from advisor.recommendation.search import in_best_setting, least_quality, search_all, search_model
from advisor.recommendation.spans import span
from advisor.types import Change, EstimateWarning, Limits, Rejection, Task, Why
from advisor.workloads import TASKS
from catalog.load import Catalog
from catalog.types import ModelSpec
from catalog.units import GIB

_KV_QUANT_IDS = ("q8_0", "q4_0")
_STEP_TOKENS = 1024
_LARGEST_EXTRA_GIB = 2048
#: A change must speed decoding up by this much to count by speed alone.
_WORTHWHILE_FACTOR = 1.15
_CHANGES_COUNT = 5
_NOTABLE_CLIMB_FRAC = 0.1
#: Shares of the score below this are not worth a line.
_SMALL_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variant:
    """The question with one thing changed."""

    kind: str
    option: str
    request: Request
    machine: Machine
    quants: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class _Case:
    """The model that is asked about, as it was asked."""

    catalog: Catalog
    machine: Machine
    model: ModelSpec
    request: Request
    quants: tuple[str, ...] | None

    def asked(self) -> Candidate | Rejection:
        return self.tried(_Variant(kind="", option="", request=self.request, machine=self.machine, quants=self.quants))

    def tried(self, variant: _Variant) -> Candidate | Rejection:
        refusal = reject(self.model, variant.request.workload, variant.request.limits)
        if refusal is not None:
            return refusal
        return search_model(self.catalog, variant.machine, self.model, variant.request, quants=variant.quants)


def explain(catalog: Catalog, machine: Machine, request: Request, model: ModelSpec, quant_id: str | None = None) -> Why:
    """Where a model stands on a machine for a request.

    Args:
        catalog: the catalog.
        machine: the machine.
        request: what is asked; its ``top_count`` is the length of the list that the model may be missing from.
        model: the model, of the catalog or not.
        quant_id: only this quantisation of it, or None for its best.
    """
    case = _Case(catalog, machine, model, request, (quant_id,) if quant_id else None)
    outcome = case.asked()
    if isinstance(outcome, Rejection):
        return _refused(case, outcome)
    option = _preferred(outcome, request.limits)
    broken = misses(option, request.limits)
    if broken:
        return _over_limit(case, option, broken)
    quality = catalog.quality(model.model_id, request.workload.task).mid
    if quality < least_quality(request):
        return _too_weak(case, option, quality)
    return _ranked(case, outcome, option)


def _preferred(candidate: Candidate, limits: Limits) -> ScoredEstimate:
    """Its best setting within the limits; if there is none, its best."""
    options = (candidate.best, *candidate.others)
    allowed = [option for option in options if passes(option, limits)]
    return settled(allowed or options)


def _why(case: _Case, option: ScoredEstimate | None, verdict: str, **found: object) -> Why:
    if option is not None:
        option = in_best_setting(case.catalog, case.machine, case.model, case.request, option)
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


def _refused(case: _Case, rejection: Rejection) -> Why:
    """A rule or the memory excludes it: what would let it in."""
    changes = tuple(_mending(case, None))
    if not changes and rejection.fix:
        instead = rejection.fix.startswith("run ")
        effect = "it is ranked in its place" if instead else "it could then be looked at"
        changes = (Change(kind="model", option=rejection.fix, effect=effect),)
    return _why(case, None, f"not ranked: {rejection.reason}", lost_on=(rejection.reason,), changes=changes)


def _over_limit(case: _Case, option: ScoredEstimate, broken: Sequence[Miss]) -> Why:
    texts = tuple(miss.text for miss in broken)
    changes = [*_mending(case, option), *_relaxed(broken)]
    return _why(case, option, f"not ranked: {' and '.join(texts)}", lost_on=texts, changes=tuple(changes))


def _relaxed(broken: Sequence[Miss]) -> Iterator[Change]:
    """The limits at which it would just pass."""
    option = " ".join(miss.fix for miss in broken)
    yield Change(kind="limit", option=option, effect="it would pass every limit")


def _too_weak(case: _Case, option: ScoredEstimate, quality: float) -> Why:
    floor = least_quality(case.request)
    reason = f"quality {quality:.0f} of 100 at {case.request.workload.task}; {floor:.0f} is the least that is offered"
    change = Change(kind="limit", option=f"--min-quality {int(quality)}", effect="it would be ranked")
    return _why(case, option, f"not ranked: {reason}", lost_on=(reason,), changes=(change,))


# Ranked ---------------------------------------------------------------------------------------


def _ranked(case: _Case, outcome: Candidate, option: ScoredEstimate) -> Why:
    """It passes everything: its rank, what the first pick has over it, and what would lift it."""
    own = replace(outcome, best=option)
    others = [
        candidate for candidate in _rivals(case, preference(option)) if candidate.model.model_id != case.model.model_id
    ]
    pool = sorted([*others, own], key=lambda each: (*preference(each.best), each.model.model_id), reverse=True)
    leaders, copies = fold(pool, case.catalog.models)
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


def _copy(case: _Case, option: ScoredEstimate, copy: Rejection, leaders: Sequence[Candidate]) -> Why:
    """It is a near copy of a higher-ranked model, which stands for both."""
    above = [preference(leader.best) for leader in leaders if preference(leader.best) > preference(option)]
    lost = (copy.reason, *_lost_on(case, option, leaders[0]))
    change = Change(kind="model", option=copy.fix or "", effect="it stands for both in the list")
    verdict = f"folded, else rank {len(above) + 1}: {copy.reason}"
    return _why(case, option, verdict, lost_on=lost, changes=(change, *_mending(case, option, above)))


def _rivals(case: _Case, own: Preference) -> list[Candidate]:
    """Every other model that passes the limits and is at least as good."""
    found = []
    for candidate in search_all(case.catalog, case.machine, case.request, until=own).candidates:
        options = [option for option in (candidate.best, *candidate.others) if passes(option, case.request.limits)]
        if options:
            found.append(replace(candidate, best=settled(options)))
    return found


def _lost_on(case: _Case, option: ScoredEstimate, first: Candidate) -> tuple[str, ...]:
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


def spilled_bytes(option: ScoredEstimate) -> int:
    """What an estimate holds on the CPU although there is an accelerator; 0 where nothing spills."""
    if EstimateWarning.SPILLS_TO_CPU not in option.estimate.warnings:
        return 0
    rows = [row for row in option.estimate.memory.devices if row.device_id == CPU_DEVICE_ID]
    return sum(row.weights_bytes + row.kv_bytes for row in rows)


# What would mend it ---------------------------------------------------------------------------


def _mending(case: _Case, option: ScoredEstimate | None, above: Sequence[Preference] = ()) -> Iterator[Change]:
    """Changes that help, the smallest first; one of each kind."""
    seen: set[str] = set()
    for variant in _variants(case, option):
        if variant.kind in seen or len(seen) == _CHANGES_COUNT:
            continue
        outcome = case.tried(variant)
        if isinstance(outcome, Rejection):
            continue
        changed = _preferred(outcome, variant.request.limits)
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
    case: _Case,
    before: ScoredEstimate | None,
    after: ScoredEstimate,
    variant: _Variant,
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


def _variants(case: _Case, option: ScoredEstimate | None) -> Iterator[_Variant]:
    """The question with one thing changed, the smallest change first."""
    yield from _kv_variants(case, option)
    yield from _quant_variants(case, option)
    yield from _limit_variants(case)
    yield from _shorter_variants(case)
    yield from _memory_variants(case, option)


def _variant(
    case: _Case,
    kind: str,
    option: str,
    *,
    request: Request | None = None,
    machine: Machine | None = None,
    quants: tuple[str, ...] | None = None,
) -> _Variant:
    return _Variant(
        kind=kind,
        option=option,
        request=request or case.request,
        machine=machine or case.machine,
        quants=quants or case.quants,
    )


def _kv_variants(case: _Case, option: ScoredEstimate | None) -> Iterator[_Variant]:
    used = option.estimate.deployment.kv_quant_id if option else case.request.kv_quant_id
    quants = case.quants or ((option.estimate.quant_id,) if option else None)
    for kv in _KV_QUANT_IDS:
        if kv != used:
            request = replace(case.request, kv_quant_id=kv)
            yield _variant(case, "kv_type", f"--kv-type {kv}", request=request, quants=quants)


def _quant_variants(case: _Case, option: ScoredEstimate | None) -> Iterator[_Variant]:
    """Each other published quantisation, the finest first."""
    used = option.estimate.quant_id if option else (case.quants or ("",))[0]
    for quant_id in quant_ids(case.model):
        if quant_id != used and (case.quants or option is not None):
            name = case.model.model_id.rpartition("/")[2]
            yield _variant(case, "quant", f"{name}:{quant_id}", quants=(quant_id,))


def _limit_variants(case: _Case) -> Iterator[_Variant]:
    limits = case.request.limits
    if limits.max_memory_bytes is not None:
        request = replace(case.request, limits=replace(limits, max_memory_bytes=None))
        yield _variant(case, "limit", "without --max-memory", request=request)
    if limits.licenses and case.model.license_id:
        request = replace(case.request, limits=replace(limits, licenses=(*limits.licenses, case.model.license_id)))
        yield _variant(case, "limit", f"--license {case.model.license_id}", request=request)
    if case.request.workload.task not in case.model.tasks:
        for task in sorted(map(Task, case.model.tasks), key=list(Task).index):
            workload = replace(case.request.workload, task=task)
            yield _variant(case, "task", f"--task {task}", request=replace(case.request, workload=workload))


def _shorter_variants(case: _Case) -> Iterator[_Variant]:
    """Shorter contexts down to what prompt and answer need, then shorter prompts."""
    workload = case.request.workload
    needed = workload.prompt_tokens + workload.output_tokens
    context = workload.context_tokens
    longest = case.model.max_context_tokens
    if longest is not None and needed <= longest < context:
        yield _with_context(case, longest)
    while context // 2 >= needed:
        context //= 2
        yield _with_context(case, context)
    prompt = workload.prompt_tokens
    while prompt >= 2 * _STEP_TOKENS:
        prompt //= 2
        shorter = replace(workload, prompt_tokens=prompt)
        yield _variant(case, "prompt", f"--prompt {prompt}", request=replace(case.request, workload=shorter))


def _with_context(case: _Case, tokens: int) -> _Variant:
    workload = replace(case.request.workload, context_tokens=tokens)
    return _variant(case, "context", f"--context {tokens}", request=replace(case.request, workload=workload))


def _memory_variants(case: _Case, option: ScoredEstimate | None) -> Iterator[_Variant]:
    """The least memory more, in whole GiB on one device, with which it fits, and on the first without spilling."""
    if option is not None and not spilled_bytes(option):
        return
    first, last = case.machine.devices[0].device_id, case.machine.devices[-1].device_id
    if option is None and last != first:
        yield from _least_memory(case, last, lambda _best: True)
    yield from _least_memory(case, first, lambda best: not spilled_bytes(best))


def _least_memory(case: _Case, device_id: str, mended: Callable[[ScoredEstimate], bool]) -> Iterator[_Variant]:
    def is_enough(extra_gib: int) -> bool:
        outcome = case.tried(_memory_variant(case, device_id, extra_gib))
        return isinstance(outcome, Candidate) and mended(outcome.best)

    low, high = 1, _LARGEST_EXTRA_GIB
    if not is_enough(high):
        return
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    yield _memory_variant(case, device_id, low)


def _memory_variant(case: _Case, device_id: str, extra_gib: int) -> _Variant:
    devices = tuple(
        replace(device, memory_available_bytes=device.memory_available_bytes + extra_gib * GIB)
        if device.device_id == device_id
        else device
        for device in case.machine.devices
    )
    limits = replace(case.request.limits, max_memory_bytes=None)
    is_host = device_id == CPU_DEVICE_ID and len(devices) > 1
    return _variant(
        case,
        "ram" if is_host else "memory",
        f"+{extra_gib} GiB of RAM" if device_id == CPU_DEVICE_ID else f"+{extra_gib} GiB of memory on {device_id}",
        machine=replace(case.machine, devices=devices),
        request=replace(case.request, limits=limits),
    )
