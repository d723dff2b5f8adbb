"""How far predictions and picks stretch: each with the answers to the inverse questions asked beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from advisor.concurrency import with_concurrency
from advisor.machine import Machine
from advisor.predict import predict
from advisor.recommendation.inverse import Subject, longest_context, most_users
from advisor.recommendation.request import Request
from advisor.recommendation.shortage import limited_memory
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import Estimate, EstimateWarning, Extreme, Limits, Recommendation, Workload
from catalog.load import Catalog
from catalog.types import ArtifactSpec, ModelSpec
from catalog.weights import weigh

#: Picks whose sessions are counted.
_SHARED_COUNT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which inverse questions are asked."""

    context: bool
    users: bool

    @property
    def anything(self) -> bool:
        """Whether any is."""
        return self.context or self.users


def stretched(
    model: ModelSpec,
    artifacts: Sequence[ArtifactSpec],
    machine: Machine,
    workload: Workload,
    limits: Limits,
    *,
    asked: Asked,
    kv_quant_ids: tuple[str, ...],
    settings: LoadSettings = NOTHING_FIXED,
) -> Estimate:
    """A prediction with its extremes, for the finest weights that leave the CPU alone and have an answer at all."""
    answers = []
    for artifact in artifacts:
        made = predict(model, (artifact,), machine, workload, kv_quant_id=kv_quant_ids[0], settings=settings)
        plain = Subject(
            model=model, artifact=artifact, machine=machine, workload=workload, limits=limits, settings=settings
        )
        extremes = _sorted([item for kv in kv_quant_ids for item in _answers(replace(plain, kv_quant_id=kv), asked)])
        full = replace(made, extremes=extremes)
        has_answer = any(extreme.value for extreme in extremes)
        if made.memory.fits and has_answer and EstimateWarning.SPILLS_TO_CPU not in made.warnings:
            return full
        answers.append((has_answer, made.memory.fits, full))
    return max(answers, key=lambda answer: answer[:2])[2]


def ranked_with_extremes(
    catalog: Catalog, machine: Machine, request: Request, result: Recommendation, asked: Asked
) -> Recommendation:
    """Every pick with its own extremes, at the KV type it is ranked with."""
    picks = []
    for pick in result.ranked:
        made = pick.estimate
        model = catalog.models[made.model_id]
        subject = Subject(
            model=model,
            artifact=weigh(model, made.quant_id),
            machine=machine,
            workload=request.workload,
            limits=request.limits,
            kv_quant_id=made.deployment.kv_quant_id,
            settings=request.settings,
        )
        picks.append(replace(pick, estimate=replace(made, extremes=_sorted(_answers(subject, asked)))))
    return replace(result, ranked=tuple(picks))


def ranked_with_users(catalog: Catalog, machine: Machine, request: Request, result: Recommendation) -> Recommendation:
    """The first picks with what several users get from each, where several were asked about."""
    available = limited_memory(machine, request.limits)
    picks = []
    for pick in result.ranked[:_SHARED_COUNT]:
        model = catalog.models[pick.estimate.model_id]
        artifact = weigh(model, pick.estimate.quant_id)
        picks.append(replace(pick, estimate=with_concurrency(pick.estimate, model, artifact, machine, available)))
    return replace(result, ranked=(*picks, *result.ranked[_SHARED_COUNT:]))


def _answers(subject: Subject, asked: Asked) -> list[Extreme]:
    found = [longest_context(subject)] if asked.context else []
    return [*found, most_users(subject)] if asked.users else found


def _sorted(extremes: Sequence[Extreme]) -> tuple[Extreme, ...]:
    return tuple(sorted(extremes, key=lambda each: each.quantity))
