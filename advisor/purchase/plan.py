"""The inverse question: which machines run this model, how well, and at what price.

Every chip of the catalog is tried alone and in usual multiples, each in the setting of the model that the
score likes best within the limits. Machines are ranked by what they cost; rented ones by the hour.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from advisor.candidates import candidates
from advisor.engines.requirements import (
    GGUF_ENGINES,
    LLAMA_CPP,
    loadable_quant_ids,
    platform_of,
    waiver,
    with_engine,
)
from advisor.errors import BadRequestError, NothingFitsError
from advisor.machine import Machine
from advisor.machines import default_backend, from_hardware
from advisor.purchase.costs import Costs, computer_power_w, electricity_usd_per_million, price_of, usd_per_million
from advisor.purchase.machine_classes import ALWAYS_SHOWN, machines_to_try, sized_name
from advisor.recommendation.eligibility import licensed
from advisor.recommendation.limits import misses
from advisor.recommendation.request import Request, settled
from advisor.recommendation.score import ScoredEstimate
from advisor.recommendation.search import in_best_setting, score, search_model
from advisor.recommendation.shortage import limited_memory, too_large
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import (
    ClassMiss,
    Estimate,
    EstimateWarning,
    Limits,
    MachineClass,
    Plan,
    PlanRow,
    Rejection,
    Workload,
)
from catalog.chips import HardwareSpec
from catalog.load import Catalog
from catalog.obtain import LAST_RESORT_QUANT_IDS
from catalog.types import ArtifactSpec, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A model on machines that are not chosen yet.

    Attributes:
        artifact: the weights that were named; by default every published quantisation is tried.
        engine_id: the engine on every machine.
    """

    model: ModelSpec
    workload: Workload
    limits: Limits = field(default_factory=Limits)
    artifact: ArtifactSpec | None = None
    kv_quant_id: str | None = None
    engine_id: str = LLAMA_CPP
    settings: LoadSettings = NOTHING_FIXED

    @property
    def request(self) -> Request:
        """The same as a request for a recommendation."""
        return Request(workload=self.workload, limits=self.limits, kv_quant_id=self.kv_quant_id, settings=self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Why a machine does not run the model within the limits; ``distance`` orders misses, the nearest first."""

    reason: str
    fix: str | None = None
    distance: float = float("inf")


def best_setting(catalog: Catalog, question: Question, machine: Machine) -> Estimate | Miss:
    """The setting of a model that the score likes best among those within the limits, or the nearest miss."""
    found = _settings(catalog, question, machine)
    if isinstance(found, Miss):
        return found
    within = [option for option in found if not misses(option, question.limits)]
    if within:
        tuned = in_best_setting(
            catalog,
            machine,
            question.model,
            question.request,
            settled(within),
            artifact=question.artifact,
            compared=False,
        )
        return tuned.estimate
    nearest = min(found, key=lambda option: sum(miss.distance for miss in misses(option, question.limits)))
    missed = misses(nearest, question.limits)
    reason = " and ".join(miss.text for miss in missed)
    return Miss(
        reason=f"{nearest.estimate.quant_id} {reason}",
        fix=missed[0].fix if len(missed) == 1 else None,
        distance=sum(miss.distance for miss in missed),
    )


def _settings(catalog: Catalog, question: Question, machine: Machine) -> Sequence[ScoredEstimate] | Miss:
    """Every setting that fits: of the named weights, or one for each published quantisation."""
    model = question.model
    if question.artifact is not None:
        available = limited_memory(machine, question.limits)
        found = candidates(
            model,
            question.artifact,
            machine,
            question.workload,
            kv_quant_id=question.kv_quant_id,
            available_bytes=available,
            settings=question.settings,
        )
        if found:
            return [score(catalog, model, made) for made in found]
        return _lacking(too_large(model, question.artifact, machine, question.request))
    quants = loadable_quant_ids(model, question.engine_id, platform_of(machine, catalog))
    if not quants:
        return Miss(reason=f"no weights of {model.model_id} are published that {question.engine_id} loads")
    pruned = question.engine_id in GGUF_ENGINES
    outcome = search_model(catalog, machine, model, question.request, quants=None if pruned else quants)
    if isinstance(outcome, Rejection):
        return _lacking(outcome)
    if outcome.best.estimate.quant_id in LAST_RESORT_QUANT_IDS:
        return Miss(reason=f"only {outcome.best.estimate.quant_id} fits, which loses too much quality to buy for")
    return outcome.best, *outcome.others


def _lacking(rejection: Rejection) -> Miss:
    return Miss(reason=rejection.reason, fix=rejection.fix)


def plan(
    catalog: Catalog,
    question: Question,
    *,
    costs: Costs,
    created_at: str,
    tool_version: str,
    on_progress: Callable[[float], None] | None = None,
) -> Plan:
    """Machines that run a model within the limits, cheapest first where a price is known.

    Raises:
        BadRequestError: if nobody publishes weights that the engine loads.
        NothingFitsError: if no chip of the catalog does; names the nearest miss and the limit to relax.
    """
    blank = Plan(
        model_id=question.model.model_id,
        workload=question.workload,
        limits=question.limits,
        rows=(),
        rejected=(),
        assumptions=assumptions_of(costs),
        created_at=created_at,
        tool_version=tool_version,
        catalog_version=catalog.version,
    )
    _check(question, blank)
    rows: list[PlanRow] = []
    missed: list[tuple[MachineClass, Machine, Miss]] = []
    tried = list(machines_to_try(catalog))
    for position, (kind, specs) in enumerate(tried):
        if on_progress is not None:
            on_progress(position / len(tried))
        for spec in specs:
            machine = _machine(catalog, question, spec)
            if isinstance(machine, Miss):
                break
            outcome = best_setting(catalog, question, machine)
            if isinstance(outcome, Miss):
                missed.append((kind, machine, outcome))
                continue
            rows.append(_row(kind, spec, machine, outcome, costs))
            if EstimateWarning.SPILLS_TO_CPU not in outcome.warnings:
                break  # further chips would share what one does alone
    rows.sort(key=_by_price)
    made = replace(
        blank,
        rows=tuple(rows),
        rejected=tuple(
            Rejection(model_id=machine.name, reason=miss.reason, fix=miss.fix) for _, machine, miss in missed
        ),
        class_misses=_class_misses(rows, missed),
    )
    if not rows:
        raise NothingFitsError(_nearest_miss(question, missed), document=made)
    return made


def assumptions_of(costs: Costs) -> Mapping[str, float]:
    """What the costs were worked out with, for the document."""
    return {
        "electricity_usd_per_kwh": costs.electricity_usd_per_kwh,
        "busy_frac": costs.busy_frac,
        "pc_usd": costs.pc_usd,
        "write_off_years": costs.write_off_years,
    }


def _check(question: Question, blank: Plan) -> None:
    model = question.model
    refusal = licensed(model, question.workload, question.limits)
    if refusal is not None:
        document = replace(blank, rejected=(refusal,))
        raise NothingFitsError(f"{model.model_id}: {refusal.reason}", document=document)
    if question.artifact is None and not loadable_quant_ids(model, question.engine_id):
        raise BadRequestError(
            f"nobody publishes weights of {model.model_id} that {question.engine_id} loads; name them: MODEL:QUANT"
        )


def _machine(catalog: Catalog, question: Question, spec: HardwareSpec) -> Machine | Miss:
    machine = from_hardware(spec, catalog, backend=default_backend(spec.chip))
    machine = replace(machine, name=sized_name(machine.name, spec.chip))
    if question.engine_id == LLAMA_CPP:
        return machine
    platform = platform_of(machine, catalog)
    reason = waiver(question.engine_id, platform)
    return with_engine(machine, question.engine_id, platform) if reason is None else Miss(reason=reason)


def _nearest_miss(question: Question, missed: Sequence[tuple[MachineClass, Machine, Miss]]) -> str:
    name = question.model.model_id
    if not missed:
        return f"no chip in the catalog runs {question.engine_id}; leave out --engine"
    _, machine, miss = min(missed, key=lambda entry: entry[2].distance)
    advice = f"; try {miss.fix}" if miss.fix else "; relax one of the limits"
    return f"no machine runs {name} within these limits; nearest: {machine.name}: {miss.reason}{advice}"


def _class_misses(
    rows: Sequence[PlanRow], missed: Sequence[tuple[MachineClass, Machine, Miss]]
) -> tuple[ClassMiss, ...]:
    """The nearest miss of each class that is always shown and has no machine."""
    found = []
    for kind in ALWAYS_SHOWN:
        own = [entry for entry in missed if entry[0] is kind]
        if own and not any(row.machine_class is kind for row in rows):
            _, machine, miss = min(
                own, key=lambda entry: (entry[2].distance, -sum(entry[1].available_bytes().values()))
            )
            found.append(ClassMiss(machine_class=kind, hardware=machine.name, reason=miss.reason, fix=miss.fix))
    return tuple(found)


def _row(kind: MachineClass, spec: HardwareSpec, machine: Machine, made: Estimate, costs: Costs) -> PlanRow:
    memory_bytes = sum(device.memory_available_bytes for device in machine.devices if device.device_id != "cpu")
    price = price_of(spec, costs)
    power_w = computer_power_w(spec)
    return PlanRow(
        hardware=machine.name,
        chip_id=spec.chip.chip_id,
        machine_class=kind,
        chips_count=spec.count,
        memory_bytes=memory_bytes or machine.devices[-1].memory_available_bytes,
        price_usd=price.total_usd,
        price=price,
        power_w=machine.power_w,
        computer_power_w=power_w,
        launch_year=spec.chip.launch_year,
        usd_per_million_tokens=usd_per_million(price, power_w, made, costs),
        electricity_usd_per_million_tokens=electricity_usd_per_million(power_w, made, costs),
        estimate=made,
    )


def _by_price(row: PlanRow) -> tuple[int, float, float, str]:
    """What is bought, then what is rented, then what has no known price; on one's own CPU last."""
    speed = row.estimate.decode_tokens_per_s.mid
    if row.price_usd is not None:
        return 0, row.price_usd, -speed, row.hardware
    if row.price.rent_usd_per_hour is not None:
        return 1, row.price.rent_usd_per_hour, -speed, row.hardware
    return 2, EstimateWarning.SPILLS_TO_CPU in row.estimate.warnings, -speed, row.hardware
