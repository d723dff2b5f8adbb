"""Every model in its best setting: quantisation x KV type x placement, folded into one candidate.

The catalog is searched most promising model first, and only until no model left could reach the top.
"""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from advisor.candidates import candidates
from advisor.engines.requirements import GGUF_ENGINES, loadable_quant_ids, platform_of
from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.recommendation.eligibility import reject
from advisor.recommendation.folding import leader
from advisor.recommendation.limits import passes
from advisor.recommendation.request import (
    Candidate,
    Preference,
    Request,
    preference,
    settled,
    spills,
)
from advisor.recommendation.score import (
    ScoredEstimate,
    conservative,
    is_usable,
    quality_after_loss,
    score_estimate,
    usability,
)
from advisor.recommendation.shortage import limited_memory, too_large
from advisor.tuning import tuned
from advisor.types import Estimate, EstimateWarning, Limits, Rejection
from advisor.workloads import TASKS
from catalog.load import Catalog
from catalog.obtain import LAST_RESORT_QUANT_IDS, quant_ids
from catalog.types import ArtifactSpec, ModelSpec
from catalog.weights import weigh

#: Fewer bytes than any offered quantisation stores a weight in, for the bounds on speed and on size.
_LEAST_BYTES_PER_WEIGHT = 2.4 / 8
#: Part of a prompt's arithmetic that no model escapes (the last layer's feed-forward and logits are skipped).
_LEAST_PROMPT_SHARE = 0.7
#: The KV type tried beside f16 where f16 leaves part of a model on the CPU.
_SMALLER_KV_QUANT_ID = "q8_0"
_FOLD_EVERY = 8
#: The quantisation that is looked at first, to see whether a model is worth trying the others on.
_SCOUT_QUANT_ID = "Q4_K_M"
#: No other quantisation of a model that fits decodes this much faster than the scout, or reads prompts so.
_FASTEST_DECODE_FACTOR = 2.2
_FASTEST_PREFILL_FACTOR = 1.6


@dataclass(slots=True)
class Found:
    """What a search came to: models in their best setting, and the others with the reason."""

    candidates: list[Candidate] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


def least_quality(request: Request) -> float:
    """The quality below which a model is not offered: the user's own limit, or what the task needs."""
    own = request.limits.min_quality
    floor = TASKS[request.workload.task].least_quality
    return floor if own is None else min(own, floor)


def search_all(
    catalog: Catalog,
    machine: Machine,
    request: Request,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    until: Preference | None = None,
) -> Found:
    """Search the catalog, leaving out models that are too weak for the task unless nothing better fits.

    Args:
        catalog: the catalog.
        machine: the machine.
        request: what is asked; the search ends when its ``top_count`` best picks are certain.
        on_progress: told how many models of how many were looked at.
        until: end only when every model of at least this preference is found.
    """
    found = _search_above(least_quality(request), catalog, machine, request, on_progress, until)
    if not found.candidates and least_quality(request) > 0.0:
        return _search_above(0.0, catalog, machine, request, on_progress, until)
    return found


def _search_above(
    floor: float,
    catalog: Catalog,
    machine: Machine,
    request: Request,
    on_progress: Callable[[int, int], None] | None,
    until: Preference | None,
) -> Found:
    bounds = {model_id: _bound(catalog, machine, model, request) for model_id, model in catalog.models.items()}
    order = sorted(bounds, key=lambda model_id: (bounds[model_id], model_id), reverse=True)
    found = Found()
    top = _Top(request, catalog.models, until)
    for index, model_id in enumerate(order):
        if top.is_beyond(bounds[model_id], found.candidates):
            break
        if on_progress is not None and index % 50 == 0:
            on_progress(index, len(order))
        model = catalog.models[model_id]
        outcome = _outcome(floor, catalog, machine, model, request, top.least(found.candidates))
        if isinstance(outcome, Rejection):
            found.rejected.append(outcome)
            continue
        found.candidates.append(outcome)
        top.add(outcome)
    return found


class _Top:
    """What a model must beat: the preference of the last of the wanted picks, after folding."""

    def __init__(self, request: Request, models: Mapping[str, ModelSpec], until: Preference | None) -> None:
        self._request = request
        self._until = until
        self._models = models
        self._best: list[Preference] = []  # preferences within the limits, a heap of the top ones
        self._folded_at = 0
        self._least: Preference | None = None

    def add(self, candidate: Candidate) -> None:
        """Take note of a candidate."""
        if candidate.model.official and passes(candidate.best, self._request.limits):
            keep = heapq.heappush if len(self._best) < self._request.top_count else heapq.heappushpop
            keep(self._best, preference(candidate.best))

    def is_beyond(self, bound: Preference, found: Sequence[Candidate]) -> bool:
        """Whether no model of this bound, or of a lower one, can still enter the top."""
        if self._until is not None:
            return bound < self._until
        if len(self._best) < self._request.top_count or bound >= self._best[0]:
            return False
        if self._least is None or len(found) >= self._folded_at + _FOLD_EVERY:
            self._look_again(found)
        if self._least is not None and bound < self._least and self._folded_at < len(found):
            self._look_again(found)
        return self._least is not None and bound < self._least

    def least(self, found: Sequence[Candidate]) -> Preference | None:
        """The preference to beat, as far as known; None while anything may enter, or a limit is to be explained."""
        if self._until is not None:
            return self._until
        if self._request.limits != Limits() or len(self._best) < self._request.top_count:
            return None
        if len(found) >= self._folded_at + _FOLD_EVERY:
            self._look_again(found)
        return self._least

    def _look_again(self, found: Sequence[Candidate]) -> None:
        self._folded_at = len(found)
        within = [candidate for candidate in found if passes(candidate.best, self._request.limits)]
        within.sort(key=lambda candidate: (*preference(candidate.best), candidate.model.model_id), reverse=True)
        last = leader(within, self._models, self._request.top_count)
        self._least = preference(last.best) if last is not None else None


def _outcome(
    floor: float,
    catalog: Catalog,
    machine: Machine,
    model: ModelSpec,
    request: Request,
    worth: Preference | None,
) -> Candidate | Rejection:
    refusal = reject(model, request.workload, request.limits, machine.engine_id)
    if refusal is not None:
        return refusal
    quality = catalog.quality(model.model_id, request.workload.task).mid
    if quality < floor:
        return Rejection(
            model_id=model.model_id,
            reason=f"too weak for {request.workload.task}: quality {quality:.0f} of 100, {floor:.0f} is the least",
            fix=f"--min-quality {quality:.0f}",
        )
    return search_model(catalog, machine, model, request, worth=worth)


def _bound(catalog: Catalog, machine: Machine, model: ModelSpec, request: Request) -> Preference:
    """The best preference a model could have here: its quality at the speed of its smallest weights on the roof."""
    task = request.workload.task
    profile = TASKS[task]
    quality = conservative(catalog.quality(model.model_id, task))
    active = model.params_active_count
    if active is None or profile.usable_tokens_per_s <= 0.0:
        return True, quality
    if model.geometry is not None:
        active -= model.geometry.ple_embedding_params_count
    rates = [device.rates for device in machine.devices]
    token_s = active * _LEAST_BYTES_PER_WEIGHT * min(min(rate.decode_s_per_byte.values()) for rate in rates)
    prompt_s = 2.0 * active * min(min(rate.prefill_s_per_flop.values()) for rate in rates)
    prompt_s *= request.workload.prompt_tokens * _LEAST_PROMPT_SHARE * (1.0 - profile.cached_prompt_frac)
    decode = 1.0 / token_s if token_s > 0.0 else math.inf
    wait = max(prompt_s, 1e-9)
    return is_usable(decode, wait, profile), quality * usability(decode, wait, profile)


def search_model(
    catalog: Catalog,
    machine: Machine,
    model: ModelSpec,
    request: Request,
    *,
    quants: Sequence[str] | None = None,
    worth: Preference | None = None,
) -> Candidate | Rejection:
    """Every quantisation that fits in some placement, folded into the best.

    Args:
        catalog: the catalog, for quality and its losses.
        machine: the machine.
        model: the model, which no rule excludes.
        request: what the user asked for.
        quants: the only quantisations to try; by default the usual published ones, as far as they can win.
        worth: a preference; a model that one quantisation shows to stay below it is not looked at further.
    """
    available = limited_memory(machine, request.limits)
    tried = _Tried(catalog, machine, model, request, available)
    order = quants or _quant_ids(catalog, machine, model)
    if quants is None and model.params_total_count * _LEAST_BYTES_PER_WEIGHT > sum(available.values()):
        order = order[-1:]  # too large at every quantisation: the smallest says by how much
    if worth is not None and quants is None and _SCOUT_QUANT_ID in order:
        scout = tried.best(_SCOUT_QUANT_ID)
        if scout is not None and not spills(scout) and _bound_from(catalog, model, scout) < worth:
            return _folded(model, [(scout, tried.artifact(_SCOUT_QUANT_ID))])
    scored: list[tuple[ScoredEstimate, ArtifactSpec]] = []
    for quant_id in order:
        if (
            quants is None
            and scored
            and (quant_id in LAST_RESORT_QUANT_IDS or _cannot_beat(catalog, model, quant_id, request, scored))
        ):
            break
        option = tried.best(quant_id)
        if option is not None:
            scored.append((option, tried.artifact(quant_id)))
    if not scored:
        return too_large(model, tried.artifact(order[-1]) if order else None, machine, request)
    return _folded(model, scored)


def _quant_ids(catalog: Catalog, machine: Machine, model: ModelSpec) -> tuple[str, ...]:
    """The published quantisations that the machine's engine loads, finest first."""
    if machine.engine_id in GGUF_ENGINES:
        return quant_ids(model)
    return loadable_quant_ids(model, machine.engine_id, platform_of(machine, catalog))


def _folded(model: ModelSpec, scored: Sequence[tuple[ScoredEstimate, ArtifactSpec]]) -> Candidate:
    best = settled([option for option, _ in scored])
    artifact = next(artifact for option, artifact in scored if option is best)
    others = tuple(option for option, _ in scored if option is not best)
    return Candidate(model=model, artifact=artifact, best=best, others=others)


def _bound_from(catalog: Catalog, model: ModelSpec, scout: ScoredEstimate) -> Preference:
    """The best preference that any quantisation could have, given one that fits."""
    made = scout.estimate
    profile = TASKS[made.workload.task]
    decode = made.decode_tokens_per_s.mid * _FASTEST_DECODE_FACTOR
    wait = scout.turn_wait_s / _FASTEST_PREFILL_FACTOR
    quality = conservative(catalog.quality(model.model_id, made.workload.task))
    return is_usable(decode, wait, profile), quality * usability(decode, wait, profile)


class _Tried:
    """Quantisations of one model, each weighed and placed once."""

    def __init__(
        self, catalog: Catalog, machine: Machine, model: ModelSpec, request: Request, available: dict[str, int]
    ) -> None:
        self._catalog, self._machine, self._model, self._request = catalog, machine, model, request
        self._available = available
        self._artifacts: dict[str, ArtifactSpec] = {}
        self._best: dict[str, ScoredEstimate | None] = {}

    def artifact(self, quant_id: str) -> ArtifactSpec:
        """The weights at a quantisation."""
        if quant_id not in self._artifacts:
            self._artifacts[quant_id] = weigh(self._model, quant_id)
        return self._artifacts[quant_id]

    def best(self, quant_id: str) -> ScoredEstimate | None:
        """The best setting at a quantisation, or None if it does not fit."""
        if quant_id not in self._best:
            self._best[quant_id] = self._placed(quant_id)
        return self._best[quant_id]

    def _placed(self, quant_id: str) -> ScoredEstimate | None:
        artifact = self.artifact(quant_id)
        if artifact.file_bytes > sum(self._available.values()):
            return None
        found = _settings(self._model, artifact, self._machine, self._request, self._available)
        return max((score(self._catalog, self._model, made) for made in found), key=preference, default=None)


def _settings(
    model: ModelSpec, artifact: ArtifactSpec, machine: Machine, request: Request, available: dict[str, int]
) -> list[Estimate]:
    """Placements with the KV type asked for, or with f16 and, where that spills to the CPU, with a smaller one."""
    kv_quant_id = request.kv_quant_id

    def placed(kv: str | None) -> list[Estimate]:
        return candidates(
            model,
            artifact,
            machine,
            request.workload,
            kv_quant_id=kv,
            available_bytes=available,
            settings=request.settings,
        )

    found = placed(kv_quant_id)
    has_accelerator = machine.devices[0].device_id != CPU_DEVICE_ID
    if kv_quant_id is None and has_accelerator and found and all(_spills(made) for made in found):
        found += [made for made in placed(_SMALLER_KV_QUANT_ID) if made.deployment != found[0].deployment]
    return found


def _spills(made: Estimate) -> bool:
    return EstimateWarning.SPILLS_TO_CPU in made.warnings


def _cannot_beat(
    catalog: Catalog,
    model: ModelSpec,
    quant_id: str,
    request: Request,
    scored: Sequence[tuple[ScoredEstimate, ArtifactSpec]],
) -> bool:
    """Whether this and every smaller quantisation lose too much quality to win, however fast they are."""
    task = request.workload.task
    loss = catalog.weight_loss_frac(quant_id, model, task)
    bound = conservative(quality_after_loss(catalog.quality(model.model_id, task), loss, 0.0))
    best = max((option for option, _ in scored), key=preference)
    return (True, bound) < (best.usable, best.score)


def score(catalog: Catalog, model: ModelSpec, made: Estimate) -> ScoredEstimate:
    """An estimate with its quality after the loss of its weights' and its cache's types."""
    task = made.workload.task
    weight_loss = catalog.weight_loss_frac(made.quant_id, model, task)
    kv_loss = catalog.kv_quant_loss_frac(made.deployment.kv_quant_id, model)
    return score_estimate(made, quality_after_loss(catalog.quality(model.model_id, task), weight_loss, kv_loss))


def in_best_setting(
    catalog: Catalog,
    machine: Machine,
    model: ModelSpec,
    request: Request,
    option: ScoredEstimate,
    *,
    artifact: ArtifactSpec | None = None,
    compared: bool = True,
) -> ScoredEstimate:
    """A found option in the best of its load-time settings, as far as they keep it within the limits.

    ``artifact`` are the weights it was made for, where they are not those that the catalog has of that name;
    ``compared`` whether the comparison of settings is to be kept.
    """
    made = option.estimate
    found = tuned(
        made,
        model,
        artifact or weigh(model, made.quant_id),
        machine,
        request.workload,
        fixed=request.settings,
        available_bytes=limited_memory(machine, request.limits),
        compared=compared,
    )
    scored = score(catalog, model, found)
    return scored if passes(scored, request.limits) else option
