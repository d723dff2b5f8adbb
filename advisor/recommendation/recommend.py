"""Rank model x quantisation x settings for one machine, task and workload.

Hard limits come first (the right kind of model, licence, context, an obtainable file, memory), then the
score (``score``). Quantisations and settings of one model are folded into its best one (``search``), near
copies of one model into the best of them (``folding``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from advisor import launch
from advisor.engines.choice import engine_options
from advisor.engines.requirements import platform_of
from advisor.errors import NothingFitsError
from advisor.machine import Machine
from advisor.recommendation.folding import fold
from advisor.recommendation.limits import check_limits, memory_needed, misses, nearest, passes, relaxations
from advisor.recommendation.ordering import in_best_order
from advisor.recommendation.reasons import alternative, reasons
from advisor.recommendation.request import Candidate, LocalFile, Request, preference, settled
from advisor.recommendation.score import ABOUT_EQUAL_CHANCE, ScoredEstimate, chance_better, conservative
from advisor.recommendation.search import Found, search_all
from advisor.types import Choice, Recommendation, Rejection, Task
from advisor.whatif import with_whatif
from catalog.load import Catalog
from catalog.types import ModelSpec
from catalog.units import GIB
from catalog.weights import weigh

__all__ = ["LocalFile", "Request", "recommend"]

REJECTIONS_COUNT = 400
#: Picks for which every engine is judged.
ENGINES_COUNT = 10


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
        NothingFitsError: if no model passes every limit; names the nearest miss and the limit to relax.
        BadRequestError: if a limit is out of its range.
    """
    check_limits(request.limits)
    found = search_all(catalog, machine, request, on_progress)
    ranked, left_out = rank(found.candidates, request, catalog.models)
    ranked = in_best_order(ranked, catalog, machine, request)
    refused = replace(
        _unranked(catalog, machine, request, created_at=created_at, tool_version=tool_version),
        rejected=_notable(catalog, found.rejected + left_out, request),
    )
    if not ranked:
        raise NothingFitsError(_nothing_passes(found, machine, request), document=refused)
    explored = _explorable(choices(ranked, request), catalog, machine, request)
    return replace(refused, ranked=_with_engines(explored, catalog, machine))


def _unranked(
    catalog: Catalog, machine: Machine, request: Request, *, created_at: str, tool_version: str
) -> Recommendation:
    """The question and where it was asked, before anything is ranked."""
    return Recommendation(
        task=request.workload.task,
        workload=request.workload,
        limits=request.limits,
        ranked=(),
        rejected=(),
        profile_id=machine.profile_id,
        catalog_version=catalog.version,
        created_at=created_at,
        tool_version=tool_version,
        hardware=machine.name,
        considered_count=len(catalog.models),
        calibration_id=machine.calibration_id,
    )


def rank(
    candidates: Sequence[Candidate], request: Request, models: Mapping[str, ModelSpec]
) -> tuple[list[Candidate], list[Rejection]]:
    """Candidates within every limit, usable ones first, best score first; and the others with their reasons."""
    kept, dropped = [], []
    for candidate in candidates:
        options = (candidate.best, *candidate.others)
        allowed = [option for option in options if passes(option, request.limits)]
        if allowed:
            best = settled(allowed)
            kept.append(replace(candidate, best=best, others=tuple(o for o in options if o is not best)))
            continue
        first = misses(candidate.best, request.limits)[0]
        dropped.append(Rejection(model_id=candidate.model.model_id, reason=first.text, fix=first.fix))
    kept.sort(key=lambda candidate: (*preference(candidate.best), candidate.model.model_id), reverse=True)
    leaders, copies = fold(kept, models)
    return leaders, dropped + copies


def choices(ranked: Sequence[Candidate], request: Request) -> tuple[Choice, ...]:
    """The first of the ranked candidates, worded."""
    local = _local_index(request.local_files)
    front = _pareto_ids(ranked)
    made: list[Choice] = []
    for index, candidate in enumerate(ranked[: request.top_count]):
        above = ranked[index - 1] if index else None
        equal = above is not None and chance_better(above.best, candidate.best) < ABOUT_EQUAL_CHANCE
        path = local.get((candidate.model.model_id, candidate.best.estimate.quant_id))
        equal_to = (made[-1].about_equal_to_rank or index) if equal else None
        made.append(choice(candidate, index + 1, equal_to, candidate.model.model_id in front, path))
    return tuple(made)


def _explorable(ranked: Sequence[Choice], catalog: Catalog, machine: Machine, request: Request) -> tuple[Choice, ...]:
    """Picks, the first of them with the table that answers for other prompts, contexts and numbers of users."""
    explored = []
    for pick in ranked[: request.whatif_count]:
        model = catalog.models[pick.estimate.model_id]
        artifact = weigh(model, pick.estimate.quant_id)
        explored.append(replace(pick, estimate=with_whatif(pick.estimate, model, artifact, machine)))
    return (*explored, *ranked[request.whatif_count :])


def _with_engines(ranked: Sequence[Choice], catalog: Catalog, machine: Machine) -> tuple[Choice, ...]:
    """Picks, the first of them with every engine that could run it and why the others could not."""
    platform = platform_of(machine, catalog)
    judged = tuple(
        replace(pick, engines=engine_options(catalog.models[pick.estimate.model_id], pick.estimate, platform))
        for pick in ranked[:ENGINES_COUNT]
    )
    return (*judged, *ranked[ENGINES_COUNT:])


def _local_index(files: Iterable[LocalFile]) -> dict[tuple[str, str], str]:
    return {(file.model_id, file.quant_id): file.path for file in files}


def choice(
    candidate: Candidate,
    rank_count: int,
    equal_to: int | None = None,
    pareto: bool = False,
    local_path: str | None = None,
) -> Choice:
    """One candidate as a pick, with its reasons and the command that runs it."""
    model, made = candidate.model, candidate.best.estimate
    artifact = candidate.artifact
    if artifact.quant_id != made.quant_id:
        artifact = weigh(model, made.quant_id)
    return Choice(
        rank=rank_count,
        score=candidate.best.score,
        quality=candidate.best.quality,
        estimate=made,
        reasons=reasons(model, candidate.best),
        command=launch.shell_text(launch.command(model, made, path=local_path)),
        display_name=model.display_name,
        license_id=model.license_id,
        params_total_count=model.params_total_count,
        params_active_count=model.params_active_count,
        file_bytes=artifact.file_bytes,
        release_date=model.release_date,
        local_path=local_path,
        repo=launch.weights_repo(model, made.deployment),
        pareto=pareto,
        about_equal_to_rank=equal_to,
        alternatives=tuple(alternative(option) for option in candidate.others),
        relatives=candidate.relatives,
    )


def _pareto_ids(candidates: Sequence[Candidate]) -> set[str]:
    """Models that no other beats in quality, speed and memory at once."""

    def value(candidate: Candidate) -> tuple[float, float, float]:
        made = candidate.best.estimate
        reads_only = made.workload.task == Task.EMBEDDING
        speed = 1.0 / made.first_token_s.mid if reads_only else made.decode_tokens_per_s.mid
        return conservative(candidate.best.quality), speed, -float(made.memory.total_bytes)

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


def _nothing_passes(found: Found, machine: Machine, request: Request) -> str:
    """One line: the nearest miss, and which limit to relax to what."""
    settings = [
        (f"{candidate.model.display_name} {option.estimate.quant_id}", option)
        for candidate in found.candidates
        for option in (candidate.best, *candidate.others)
    ]
    if settings:
        return _nearest_miss(settings, request)
    too_large = [rejection for rejection in found.rejected if rejection.reason.startswith("needs ")]
    if too_large:
        smallest = min(too_large, key=_lack)
        advice = ""
        if request.limits.max_memory_bytes is not None:
            advice = f"; try {memory_needed(1.1 * GIB * float(smallest.reason.split()[1]))}"
        return f"nothing fits {machine.name}; the smallest is {smallest.model_id}: {smallest.reason}{advice}"
    return f"no model passes every limit for {request.workload.task}; {_commonest(found.rejected)}"


def _lack(rejection: Rejection) -> tuple[bool, float]:
    """How far a model is from fitting: first those whose weights alone would, then the smallest."""
    return "for weights alone" in rejection.reason, float(rejection.reason.split()[1])


def _nearest_miss(settings: Sequence[tuple[str, ScoredEstimate]], request: Request) -> str:
    limits = request.limits
    name, missed = nearest(settings, limits)
    shortfall = " and ".join(miss.text for miss in missed)
    single = relaxations(settings, limits)
    if single:
        advice = f"relax one limit: {' or '.join(single)}"
    else:
        advice = f"relax all of {' '.join(miss.fix for miss in missed)}"
    return f"no model passes every limit; nearest: {name} {shortfall}; {advice}"


def _commonest(rejected: Sequence[Rejection]) -> str:
    """The rule that left out the models which came nearest: those that only one request excludes."""
    if not rejected:
        return "the catalog is empty"
    for start, advice in (
        ("licence ", "accept another --license"),
        ("takes ", "ask for a shorter --context"),
    ):
        of_rule = [rejection for rejection in rejected if rejection.reason.startswith(start)]
        if of_rule:
            first = of_rule[0]
            return f"nearest: {first.model_id}: {first.reason}; {advice}"
    first = rejected[0]
    if all(rejection.reason == first.reason for rejection in rejected):
        return first.reason + (f"; try {first.fix}" if first.fix else "")
    return f"for example {first.model_id}: {first.reason}" + (f"; try {first.fix}" if first.fix else "")
