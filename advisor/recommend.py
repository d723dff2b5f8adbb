"""Rank model x quantisation x settings for one machine, task and workload.

Hard limits come first (the right kind of model, licence, context, an obtainable file, memory), then
the score of ``advisor.score``. Quantisations and settings of one model are folded into its best one.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from advisor import launch
from advisor.eligibility import reject
from advisor.errors import NothingFitsError
from advisor.machine import Machine
from advisor.predict import candidates
from advisor.reasons import alternative, reasons
from advisor.score import (
    ABOUT_EQUAL_CHANCE,
    ScoredEstimate,
    chance_better,
    conservative,
    is_usable,
    quality_after_loss,
    score_estimate,
    usability,
)
from advisor.types import (
    Choice,
    Estimate,
    Limits,
    Recommendation,
    Rejection,
    Workload,
)
from advisor.whatif import with_whatif
from advisor.workloads import TASKS
from catalog.load import Catalog
from catalog.types import ArtifactSpec, Geometry, ModelSpec
from catalog.units import GIB
from catalog.weights import weigh

#: GGUF quantisations worth offering, largest first; two- and three-bit ones only where nothing larger fits.
QUANT_IDS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "IQ2_M")
LAST_RESORT_QUANT_IDS = frozenset({"IQ3_XXS", "IQ2_M"})
#: Models published in one native quantisation.
NATIVE_QUANT_IDS = {"gpt-oss": ("MXFP4",)}
#: Fewer bytes than any offered quantisation stores a weight in, for the bound on speed.
_LEAST_BYTES_PER_WEIGHT = 2.4 / 8
#: Part of a prompt's arithmetic that no model escapes (the last layer's feed-forward and logits are skipped).
_LEAST_PROMPT_SHARE = 0.7
SMALL_MODEL_PARAMS_COUNT = 1_000_000_000
_SMALL_QUANT_IDS = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
REJECTIONS_COUNT = 400


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
    local_files: tuple[LocalFile, ...] = ()
    whatif_count: int = 0  # picks that carry a what-if table: for documents that are kept


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One model with its best setting and what else was tried."""

    model: ModelSpec
    artifact: ArtifactSpec
    best: ScoredEstimate
    others: tuple[ScoredEstimate, ...]


def quant_ids(model: ModelSpec) -> tuple[str, ...]:
    """Quantisations to try for a model, largest first."""
    native = NATIVE_QUANT_IDS.get(model.architecture or "")
    if native is not None:
        return native
    return _SMALL_QUANT_IDS if model.params_total_count < SMALL_MODEL_PARAMS_COUNT else QUANT_IDS


def recommend(
    catalog: Catalog,
    machine: Machine,
    request: Request,
    *,
    created_at: str,
    tool_version: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> Recommendation:
    """Rank the catalog for a machine.

    Raises:
        NothingFitsError: if no model passes every limit; names the nearest miss.
    """
    found = _search_all(catalog, machine, request, on_progress)
    ranked, slow = _rank(found.candidates, request)
    if not ranked:
        raise NothingFitsError(_nearest_miss(found.rejected, slow, machine, request))
    ranked_choices = _choices(ranked[: request.top_count], ranked, _local_index(request.local_files))
    by_id = {candidate.model.model_id: candidate for candidate in ranked}
    ranked_choices = tuple(
        _explorable(choice, by_id[choice.estimate.model_id].model, machine)
        if choice.rank <= request.whatif_count
        else choice
        for choice in ranked_choices
    )
    return Recommendation(
        task=request.workload.task,
        workload=request.workload,
        limits=request.limits,
        ranked=ranked_choices,
        rejected=_notable(catalog, found.rejected + slow, request),
        profile_id=machine.profile_id,
        catalog_version=catalog.version,
        created_at=created_at,
        tool_version=tool_version,
        hardware=machine.name,
        considered_count=len(catalog.models),
        calibration_id=machine.calibration_id,
    )


@dataclass(slots=True)
class _Found:
    candidates: list[_Candidate] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


def _explorable(choice: Choice, model: ModelSpec, machine: Machine) -> Choice:
    """The pick with the table that answers for other prompts, contexts and numbers of users."""
    artifact = weigh(model, choice.estimate.quant_id)
    return replace(choice, estimate=with_whatif(choice.estimate, model, artifact, machine))


def _search_all(
    catalog: Catalog, machine: Machine, request: Request, on_progress: Callable[[int, int], None] | None
) -> _Found:
    """Search the catalog, most promising first, until no model left could reach the top."""
    bounds = {model_id: _bound(catalog, machine, model, request) for model_id, model in catalog.models.items()}
    order = sorted(bounds, key=lambda model_id: (bounds[model_id], model_id), reverse=True)
    found = _Found()
    best: list[tuple[bool, float]] = []  # preferences of picks within the limits, a heap of the top ones
    for index, model_id in enumerate(order):
        if len(best) == request.top_count and bounds[model_id] < best[0]:
            break
        if on_progress is not None and index % 50 == 0:
            on_progress(index, len(order))
        model = catalog.models[model_id]
        refusal = reject(model, request.workload, request.limits)
        outcome = _search(catalog, machine, model, request) if refusal is None else refusal
        if isinstance(outcome, Rejection):
            found.rejected.append(outcome)
            continue
        found.candidates.append(outcome)
        if model.official and _limit_broken(outcome.best, request.limits) is None:
            keep = heapq.heappush if len(best) < request.top_count else heapq.heappushpop
            keep(best, _preference(outcome.best))
    return found


def _bound(catalog: Catalog, machine: Machine, model: ModelSpec, request: Request) -> tuple[bool, float]:
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


def _local_index(files: Iterable[LocalFile]) -> dict[tuple[str, str], str]:
    return {(file.model_id, file.quant_id): file.path for file in files}


def _search(catalog: Catalog, machine: Machine, model: ModelSpec, request: Request) -> _Candidate | Rejection:
    """Every quantisation that fits in some placement, folded into the best."""
    scored: list[tuple[ScoredEstimate, ArtifactSpec]] = []
    smallest: ArtifactSpec | None = None
    available = _limited_memory(machine, request.limits)
    capacity_bytes = sum(available.values())
    for quant_id in quant_ids(model):
        if scored and (quant_id in LAST_RESORT_QUANT_IDS or _cannot_beat(catalog, model, quant_id, request, scored)):
            break
        artifact = weigh(model, quant_id)
        smallest = artifact
        if artifact.file_bytes > capacity_bytes:
            continue
        found = candidates(
            model, artifact, machine, request.workload, kv_quant_id=request.kv_quant_id, available_bytes=available
        )
        if found:
            best = max((_score(catalog, model, made) for made in found), key=_preference)
            scored.append((best, artifact))
    if not scored:
        return _too_large(model, smallest, machine, request)
    best, artifact = max(scored, key=lambda pair: _preference(pair[0]))
    others = tuple(option for option, _ in scored if option is not best)
    return _Candidate(model, artifact, best, others)


def _cannot_beat(
    catalog: Catalog,
    model: ModelSpec,
    quant_id: str,
    request: Request,
    scored: Sequence[tuple[ScoredEstimate, ArtifactSpec]],
) -> bool:
    """Whether this and every smaller quantisation lose too much quality to win, however fast they are."""
    task = request.workload.task
    loss = catalog.quant_loss_frac(quant_id, model.params_total_count, task)
    bound = conservative(quality_after_loss(catalog.quality(model.model_id, task), loss, 0.0))
    return (True, bound) < max(_preference(option) for option, _ in scored)


def _limited_memory(machine: Machine, limits: Limits) -> dict[str, int]:
    cap = limits.max_memory_bytes
    available = machine.available_bytes()
    return {device: min(size, cap) if cap is not None else size for device, size in available.items()}


def _capacity_bytes(machine: Machine, limits: Limits) -> int:
    return sum(_limited_memory(machine, limits).values())


def _score(catalog: Catalog, model: ModelSpec, made: Estimate) -> ScoredEstimate:
    task = made.workload.task
    weight_loss = catalog.quant_loss_frac(made.quant_id, model.params_total_count, task)
    kv_loss = catalog.kv_quant_loss_frac(made.deployment.kv_quant_id, model)
    return score_estimate(made, quality_after_loss(catalog.quality(model.model_id, task), weight_loss, kv_loss))


def _preference(option: ScoredEstimate) -> tuple[bool, float]:
    return option.usable, option.score


def _too_large(model: ModelSpec, smallest: ArtifactSpec | None, machine: Machine, request: Request) -> Rejection:
    if smallest is None:
        return Rejection(model_id=model.model_id, reason="no quantisation of it is known")
    needed_gib = smallest.file_bytes / GIB
    free_gib = _capacity_bytes(machine, request.limits) / GIB
    return Rejection(
        model_id=model.model_id,
        quant_id=smallest.quant_id,
        reason=f"needs {needed_gib:.1f} GiB for weights alone at {smallest.quant_id}, {free_gib:.1f} GiB is free",
        fix=f"a machine with {needed_gib * 1.1 + 1:.0f} GiB free",
    )


def _limit_broken(option: ScoredEstimate, limits: Limits) -> tuple[str, str] | None:
    made = option.estimate
    decode, first = made.decode_tokens_per_s.mid, made.first_token_s.mid
    if limits.min_tokens_per_s is not None and decode < limits.min_tokens_per_s:
        return f"decodes {decode:.3g} tok/s, below --min-tps {limits.min_tokens_per_s:g}", f"--min-tps {decode:.2g}"
    if limits.max_first_token_s is not None and first > limits.max_first_token_s:
        return f"first token after {first:.3g} s, above --max-ttft {limits.max_first_token_s:g}", "a shorter --prompt"
    if limits.min_quality is not None and option.quality.mid < limits.min_quality:
        quality = option.quality.mid
        return f"quality {quality:.0f}, below --min-quality {limits.min_quality:g}", f"--min-quality {quality:.0f}"
    return None


def _rank(candidates: Sequence[_Candidate], request: Request) -> tuple[list[_Candidate], list[Rejection]]:
    """Candidates within every limit, usable ones first, best score first."""
    kept, dropped = [], []
    for candidate in candidates:
        options = (candidate.best, *candidate.others)
        allowed = [option for option in options if _limit_broken(option, request.limits) is None]
        if allowed:
            best = max(allowed, key=_preference)
            kept.append(replace(candidate, best=best, others=tuple(o for o in options if o is not best)))
            continue
        reason, fix = _limit_broken(candidate.best, request.limits) or ("", None)
        dropped.append(Rejection(model_id=candidate.model.model_id, reason=reason, fix=fix))
    kept.sort(key=lambda candidate: (*_preference(candidate.best), candidate.model.model_id), reverse=True)
    return _without_copies(kept, dropped), dropped


def _without_copies(ranked: Sequence[_Candidate], dropped: list[Rejection]) -> list[_Candidate]:
    """Ranked candidates less re-uploads and fine-tunes that score below the official model of the same shape."""
    originals: dict[Geometry | None, str] = {}
    kept = []
    for candidate in ranked:
        model = candidate.model
        original = originals.get(model.geometry)
        if original is not None and not model.official:
            reason = f"same shape as {original}, which is official and scores higher"
            dropped.append(Rejection(model_id=model.model_id, reason=reason, fix=f"run {original}"))
            continue
        if model.official:
            originals.setdefault(model.geometry, model.model_id)
        kept.append(candidate)
    return kept


def _choices(
    ranked: Sequence[_Candidate],
    everything: Sequence[_Candidate],
    local: Mapping[tuple[str, str], str],
) -> tuple[Choice, ...]:
    front = _pareto_ids(everything)
    choices: list[Choice] = []
    for index, candidate in enumerate(ranked):
        above = ranked[index - 1] if index else None
        equal = above is not None and chance_better(above.best, candidate.best) < ABOUT_EQUAL_CHANCE
        path = local.get((candidate.model.model_id, candidate.best.estimate.quant_id))
        equal_to = (choices[-1].about_equal_to_rank or index) if equal else None
        choices.append(_choice(candidate, index + 1, equal_to, candidate.model.model_id in front, path))
    return tuple(choices)


def _choice(candidate: _Candidate, rank: int, equal_to: int | None, pareto: bool, local_path: str | None) -> Choice:
    model, made = candidate.model, candidate.best.estimate
    artifact = candidate.artifact
    if artifact.quant_id != made.quant_id:
        artifact = weigh(model, made.quant_id)
    return Choice(
        rank=rank,
        score=candidate.best.score,
        quality=candidate.best.quality,
        estimate=made,
        reasons=reasons(model, candidate.best),
        command=launch.llama_server_command(model, made.deployment, made.workload, local_path=local_path),
        display_name=model.display_name,
        license_id=model.license_id,
        params_total_count=model.params_total_count,
        params_active_count=model.params_active_count,
        file_bytes=artifact.file_bytes,
        release_date=model.release_date,
        local_path=local_path,
        repo=next(iter(model.repos.get("gguf", ())), None),
        pareto=pareto,
        about_equal_to_rank=equal_to,
        alternatives=tuple(alternative(option) for option in candidate.others),
    )


def _pareto_ids(candidates: Sequence[_Candidate]) -> set[str]:
    """Models that no other beats in quality, speed and memory at once."""

    def value(candidate: _Candidate) -> tuple[float, float, float]:
        made = candidate.best.estimate
        return conservative(candidate.best.quality), made.decode_tokens_per_s.mid, -float(made.memory.total_bytes)

    values = sorted(((value(candidate), candidate.model.model_id) for candidate in candidates), reverse=True)
    front: list[tuple[tuple[float, float, float], str]] = []
    for own, model_id in values:
        if not any(other[1] >= own[1] and other[2] >= own[2] for other, _ in front):
            front.append((own, model_id))
    return {model_id for _, model_id in front}


def _notable(catalog: Catalog, rejected: Sequence[Rejection], request: Request) -> tuple[Rejection, ...]:
    """The rejections a user may ask about: the best models first, other tasks' models last."""
    task = request.workload.task

    def interest(rejection: Rejection) -> tuple[float, str]:
        return -catalog.quality(rejection.model_id, task).mid, rejection.model_id

    return tuple(sorted(rejected, key=interest)[:REJECTIONS_COUNT])


def _nearest_miss(rejected: Sequence[Rejection], slow: Sequence[Rejection], machine: Machine, request: Request) -> str:
    if slow:
        nearest = slow[0]
        return f"no model passes every limit; nearest: {nearest.model_id} {nearest.reason}; try {nearest.fix}"
    too_large = [rejection for rejection in rejected if rejection.reason.startswith("needs ")]
    if too_large:
        nearest = min(too_large, key=lambda rejection: float(rejection.reason.split()[1]))
        return f"nothing fits {machine.name}; the smallest is {nearest.model_id}: {nearest.reason}"
    reason = rejected[0].reason if rejected else "the catalog is empty"
    return f"no model passes every limit for {request.workload.task}; for example {reason}"
