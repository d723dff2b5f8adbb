"""The inverse question: which machines run this model, how well, and at what price.

Every chip of the catalog is tried alone and in usual multiples, at the finest quantisation that stays
within the limits. Machines are compared by price, and by the cost of a million tokens.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.errors import NothingFitsError
from advisor.machine import Machine
from advisor.machines import default_backend, from_hardware
from advisor.predict import candidates
from advisor.types import Estimate, EstimateWarning, Limits, MachineClass, Plan, PlanRow, Rejection, Workload
from catalog.chips import HardwareSpec
from catalog.load import Catalog
from catalog.types import ArtifactSpec, ChipSpec, ModelSpec
from catalog.units import GIB

#: RAM of the PC or server around a plug-in card.
_HOST_MEMORY_BYTES = 64 * GIB
#: How many of a card people put in one box.
_COUNTS: Mapping[MachineClass, tuple[int, ...]] = {
    MachineClass.GAMING: (1, 2),
    MachineClass.WORKSTATION: (1, 2, 4),
    MachineClass.DATACENTER: (1, 2, 4, 8),
    MachineClass.UNIFIED: (1,),
    MachineClass.APPLE: (1,),
    MachineClass.CPU: (1,),
}
_DATACENTER_NAMES = frozenset(
    {
        "A100",
        "A10",
        "A30",
        "A40",
        "B100",
        "B200",
        "B300",
        "GB200",
        "GH200",
        "H100",
        "H200",
        "H800",
        "L4",
        "L40",
        "L40S",
        "T4",
        "V100",
        "P100",
        "P40",
    }
)
_WORKSTATION_NAMES = ("Quadro", "RTX A", "RTX PRO", "PRO", "Ada")
_SECONDS_PER_HOUR = 3600.0
_HOURS_PER_YEAR = 8766.0
#: A machine is written off over this long when its price becomes a cost per token.
_WRITE_OFF_YEARS = 4.0
_SAME_SPEED_FRAC = 0.97
#: Draw of the computer around the chips.
_HOST_POWER_W = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What electricity and rented machines cost the user, in dollars."""

    electricity_usd_per_kwh: float = 0.30
    busy_frac: float = 0.10


def class_of(chip: ChipSpec) -> MachineClass:
    """Which kind of machine a chip belongs to."""
    if chip.kind == "cpu":
        return MachineClass.CPU
    if chip.kind == "apple":
        return MachineClass.APPLE
    if chip.kind == "apu":
        return MachineClass.UNIFIED
    words = chip.bare_name.replace("NVIDIA", "").replace("AMD", "").replace("Instinct", "").replace("Tesla", "").split()
    first = words[0] if words else ""
    if first in _DATACENTER_NAMES or first.startswith("MI"):
        return MachineClass.DATACENTER
    if any(name in chip.bare_name for name in _WORKSTATION_NAMES) and "GeForce" not in chip.bare_name:
        return MachineClass.WORKSTATION
    return MachineClass.GAMING


def machines_to_try(catalog: Catalog) -> Iterator[tuple[MachineClass, int, HardwareSpec]]:
    """Every chip alone and in usual multiples, with each memory size it is sold with."""
    for chip in catalog.chips.values():
        kind = class_of(chip)
        sizes = chip.memory_choices_bytes if chip.memory_bytes is None else (chip.memory_bytes,)
        for size in sizes:
            for count in _COUNTS[kind]:
                extra = None if chip.unified else _HOST_MEMORY_BYTES
                sized = replace(chip, memory_bytes=size)
                yield kind, count, HardwareSpec(chip=sized, count=count, extra_memory_bytes=extra)


def plan(
    catalog: Catalog,
    model: ModelSpec,
    artifacts: Sequence[ArtifactSpec],
    workload: Workload,
    *,
    limits: Limits,
    costs: Costs,
    created_at: str,
    tool_version: str,
    here: Machine | None = None,
) -> Plan:
    """Machines that run a model within the limits, cheapest first where a price is known.

    Raises:
        NothingFitsError: if no chip of the catalog does.
    """
    rows: list[PlanRow] = []
    rejected: list[Rejection] = []
    for kind, count, spec in machines_to_try(catalog):
        machine = from_hardware(spec, catalog, backend=default_backend(spec.chip))
        outcome = best_within(model, artifacts, machine, workload, limits)
        if isinstance(outcome, Estimate):
            rows.append(_row(kind, count, spec, machine, outcome, costs))
        else:
            rejected.append(Rejection(model_id=machine.name, reason=outcome))
    rows = _without_idle_chips(rows)
    if not rows:
        raise NothingFitsError(f"no chip in the catalog runs {model.model_id} within these limits; relax one of them")
    rows.sort(key=_by_price)
    return Plan(
        model_id=model.model_id,
        workload=workload,
        limits=limits,
        rows=tuple(rows),
        rejected=tuple(rejected),
        here=_here(model, artifacts, here, workload, limits),
        created_at=created_at,
        tool_version=tool_version,
        catalog_version=catalog.version,
    )


def _without_idle_chips(rows: Sequence[PlanRow]) -> list[PlanRow]:
    """Rows less those that only add memory or chips that change nothing: same weights, no more speed."""
    kept: list[PlanRow] = []
    for row in sorted(rows, key=lambda row: (row.chips_count, row.memory_bytes)):
        same = (item for item in kept if item.chip_id == row.chip_id)
        speed = row.estimate.decode_tokens_per_s.mid
        if any(
            item.estimate.quant_id == row.estimate.quant_id
            and item.estimate.decode_tokens_per_s.mid > _SAME_SPEED_FRAC * speed
            for item in same
        ):
            continue
        kept.append(row)
    return kept


def best_within(
    model: ModelSpec, artifacts: Iterable[ArtifactSpec], machine: Machine, workload: Workload, limits: Limits
) -> Estimate | str:
    """The finest quantisation within the limits, on the accelerator alone if that is possible; else why not."""
    reason = "too little memory for any quantisation"
    fallback: Estimate | None = None
    for artifact in artifacts:
        found = candidates(model, artifact, machine, workload)
        if not found:
            continue
        fastest = max(found, key=lambda made: made.decode_tokens_per_s.mid)
        broken = limit_broken(fastest, limits)
        if broken is not None:
            reason = broken
        elif EstimateWarning.SPILLS_TO_CPU in fastest.warnings:
            fallback = fallback or fastest
        else:
            return fastest
    return fallback or reason


def limit_broken(made: Estimate, limits: Limits) -> str | None:
    """The first limit an estimate misses, in words."""
    decode, first = made.decode_tokens_per_s.mid, made.first_token_s.mid
    if limits.min_tokens_per_s is not None and decode < limits.min_tokens_per_s:
        return f"decodes {decode:.3g} tok/s at {made.quant_id}, below {limits.min_tokens_per_s:g}"
    if limits.max_first_token_s is not None and first > limits.max_first_token_s:
        return f"first token after {first:.3g} s at {made.quant_id}, above {limits.max_first_token_s:g}"
    if limits.max_memory_bytes is not None and made.memory.total_bytes > limits.max_memory_bytes:
        return f"takes {made.memory.total_bytes / GIB:.1f} GiB at {made.quant_id}"
    return None


def _row(kind: MachineClass, count: int, spec: HardwareSpec, machine: Machine, made: Estimate, costs: Costs) -> PlanRow:
    memory_bytes = sum(device.memory_available_bytes for device in machine.devices if device.device_id != "cpu")
    return PlanRow(
        hardware=machine.name,
        chip_id=spec.chip.chip_id,
        machine_class=kind,
        chips_count=count,
        memory_bytes=memory_bytes or machine.devices[-1].memory_available_bytes,
        price_usd=machine.price_usd,
        power_w=machine.power_w,
        launch_year=spec.chip.launch_year,
        usd_per_million_tokens=_usd_per_million_tokens(machine, made, costs),
        electricity_usd_per_million_tokens=_electricity(machine, made, costs),
        estimate=made,
    )


def _tokens_per_s(made: Estimate) -> float:
    return made.decode_tokens_per_s.mid * made.workload.concurrency_count


def _electricity(machine: Machine, made: Estimate, costs: Costs) -> float | None:
    """Electricity of a million decoded tokens at full draw, in dollars."""
    if machine.power_w is None:
        return None
    hours = 1e6 / _tokens_per_s(made) / _SECONDS_PER_HOUR
    return hours * (machine.power_w + _HOST_POWER_W) / 1000.0 * costs.electricity_usd_per_kwh


def _usd_per_million_tokens(machine: Machine, made: Estimate, costs: Costs) -> float | None:
    """Electricity, and the machine written off over the hours it really works."""
    electricity = _electricity(machine, made, costs)
    if electricity is None or machine.price_usd is None:
        return None
    busy_hours = _WRITE_OFF_YEARS * _HOURS_PER_YEAR * costs.busy_frac
    hours = 1e6 / _tokens_per_s(made) / _SECONDS_PER_HOUR
    return electricity + hours * machine.price_usd / busy_hours


def _by_price(row: PlanRow) -> tuple[bool, float, float, str]:
    speed = row.estimate.decode_tokens_per_s.mid
    return row.price_usd is None, row.price_usd or float(row.memory_bytes), -speed, row.hardware


def _here(
    model: ModelSpec, artifacts: Sequence[ArtifactSpec], machine: Machine | None, workload: Workload, limits: Limits
) -> Estimate | None:
    if machine is None:
        return None
    found = best_within(model, artifacts, machine, workload, limits)
    return found if isinstance(found, Estimate) else None
