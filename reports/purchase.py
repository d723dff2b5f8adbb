"""Words and cells about buying: prices, running costs, upgrades; shared by the console and the report."""

from collections.abc import Iterator, Mapping, Sequence

from advisor.types import (
    ComparisonColumn,
    Estimate,
    EstimateWarning,
    MachineClass,
    MachineComparison,
    Plan,
    PlanRow,
    PriceTag,
    TopPick,
    Upgrade,
)
from reports import format as fmt
from reports import pace, phrases
from reports.text import plain

#: The four classes that people choose between first.
CLASS_ORDER = (
    MachineClass.GAMING,
    MachineClass.UNIFIED,
    MachineClass.APPLE,
    MachineClass.DATACENTER,
    MachineClass.WORKSTATION,
    MachineClass.CPU,
)
_TITLES: Mapping[MachineClass, str] = {
    MachineClass.GAMING: "Gaming GPUs in a PC",
    MachineClass.UNIFIED: "Unified-memory computers",
    MachineClass.APPLE: "Apple silicon",
    MachineClass.DATACENTER: "Data-centre GPUs, rented",
    MachineClass.WORKSTATION: "Workstation GPUs in a PC",
    MachineClass.CPU: "CPU only",
}
#: A dearer machine is worth a line where it is so much faster than every cheaper one.
_CLEARLY_FASTER = 1.15
#: Machines without a price are listed where fewer than this have one.
_LEAST_PRICED = 3
#: Less than this is within the noise of any prediction.
_NO_CHANGE_FRAC = 0.02
_SAME_QUALITY = 0.5
#: RAM of the PC around cards in a plan, the same for all; a footnote tells it.
_PLANNED_MEMORY = " + 64 GiB"
_SHORTENED = (
    ("NVIDIA ", ""),
    ("GeForce ", ""),
    ("AMD Radeon ", "Radeon "),
    ("AMD Instinct ", "Instinct "),
)


def class_title(machine_class: MachineClass) -> str:
    """A class as a heading."""
    return _TITLES[machine_class]


def machine(name: str) -> str:
    """A machine's name without the makers that it tells anyway."""
    for long, short in _SHORTENED:
        name = name.replace(long, short)
    return plain(name)


def planned_machine(name: str) -> str:
    """The name of a machine that a plan tried, without the RAM that is the same for all."""
    return machine(name.removesuffix(_PLANNED_MEMORY))


def worth_showing(plan: Plan, machine_class: MachineClass, count: int) -> Sequence[PlanRow]:
    """The cheapest machine of a class, then each that is clearly faster than all cheaper ones.

    Machines without a price follow where few have one.
    """
    own = [row for row in plan.rows if row.machine_class is machine_class]
    priced = [row for row in own if row.price_usd is not None or row.price.rent_usd_per_hour is not None]
    shown: list[PlanRow] = []
    for row in priced:
        fastest = max((other.estimate.decode_tokens_per_s.mid for other in shown), default=0.0)
        if row.estimate.decode_tokens_per_s.mid >= _CLEARLY_FASTER * fastest:
            shown.append(row)
    unpriced = [row for row in own if row not in priced]
    return (shown[:count] + unpriced)[:count] if len(shown) < _LEAST_PRICED else shown[:count]


def price(tag: PriceTag, total_usd: float | None) -> str:
    """What it costs to own, or to rent for an hour; marked where the price is used or from a launch."""
    if tag.rent_usd_per_hour is not None:
        return f"${tag.rent_usd_per_hour:.2f}/h"
    if total_usd is None:
        return "–"
    mark = "*" if tag.basis and tag.basis.startswith("at launch") else ""
    return f"${total_usd:,.0f}{mark}"


def watts(power_w: float | None) -> str:
    """Draw of the whole computer."""
    return "–" if power_w is None else f"{power_w:.0f} W"


def dollars_per_million(amount: float | None) -> str:
    """Cost of a million decoded tokens."""
    return "–" if amount is None else f"{amount:.2f}"


def notes(document: Plan | MachineComparison, *, with_ranges: bool = True) -> Iterator[str]:
    """What the figures mean and what they were worked out with; ``with_ranges`` if speeds stand with theirs."""
    if isinstance(document, Plan):
        yield (
            f"{len(document.rows)} machines run it, {len(document.rejected)} do not. Shown: the cheapest of each "
            "class, then what is clearly faster; a saved document holds all. Cards sit in a PC with 64 GiB. "
            "Wait: to the first token of a new prompt."
        )
    given = document.assumptions
    if given:
        yield (
            f"Prices in USD before tax (*: at launch); a PC around cards is taken at ${given.get('pc_usd', 0):,.0f}. "
            f"$/M: a million decoded tokens: the rent, or ${given.get('electricity_usd_per_kwh', 0):g} per kWh at full "
            f"load and the price written off over {given.get('write_off_years', 0):g} years of "
            f"{given.get('busy_frac', 0):.0%} use (--electricity, --busy, --pc-price)."
        )
    where = "the range in brackets holds 80 % of outcomes" if with_ranges else "--json has their 80 % ranges"
    yield f"Speeds of machines that are not here are from data sheets; {where}."


def sources(plan: Plan) -> tuple[str, ...]:
    """Where each price is from, and of when, once each."""
    found = {
        f"{machine(row.chip_id)}: {row.price.basis}, {plain(row.price.source)}"
        for row in plan.rows
        if row.price.basis is not None and row.price.source is not None
    }
    return tuple(sorted(found))


def base_lines(plan: Plan) -> Iterator[str]:
    """How the user's own machine does as it is."""
    if plan.here is not None:
        speed = fmt.interval(plan.here.decode_tokens_per_s)
        slow = ", part of it on the CPU" if EstimateWarning.SPILLS_TO_CPU in plan.here.warnings else ""
        yield f"runs it as {plan.here.quant_id} at {speed} tok/s{slow}"
    elif plan.base_reason is not None:
        yield f"does not: {plain(plan.base_reason)}"
    if plan.base_top is not None:
        yield f"best model for the task now: {top(plan.base_top)}"


def top(pick: TopPick) -> str:
    """The best model on a machine, in a few words."""
    name = plain(pick.model_id).rpartition("/")[2]
    return f"{name} {plain(pick.quant_id)} (quality {pick.quality.mid:.0f}, {fmt.rate(pick.decode_tokens_per_s)})"


def useful(plan: Plan) -> list[Upgrade]:
    """Upgrades that change the model's speed or the best model."""
    return [upgrade for upgrade in plan.upgrades if _gains(plan, upgrade)]


def idle(plan: Plan) -> list[str]:
    """Names of upgrades that change nothing."""
    return [plain(upgrade.name) for upgrade in plan.upgrades if not _gains(plan, upgrade)]


def _gains(plan: Plan, upgrade: Upgrade) -> bool:
    if plan.here is None and upgrade.estimate is not None:
        return True
    if abs(upgrade.speedup_frac or 0.0) >= _NO_CHANGE_FRAC:
        return True
    return _is_better(plan.base_top, upgrade.top)


def _is_better(before: TopPick | None, after: TopPick | None) -> bool:
    if before is None or after is None:
        return after is not None
    faster = after.decode_tokens_per_s / before.decode_tokens_per_s - 1.0
    return after.quality.mid - before.quality.mid >= _SAME_QUALITY or faster >= _NO_CHANGE_FRAC


def upgrade_cells(plan: Plan, upgrade: Upgrade) -> tuple[str, ...]:
    """Name, price, speed, change, and the best model then."""
    name = plain(upgrade.name) + (f" ({plain(upgrade.assumption)})" if upgrade.assumption else "")
    made = upgrade.estimate
    if made is None:
        speed, changed = "–", "still no"
    else:
        speed = fmt.rate(made.decode_tokens_per_s.mid).removesuffix(" tok/s")
        changed = "now runs" if upgrade.speedup_frac is None else fmt.change(upgrade.speedup_frac)
    cost = "–" if upgrade.cost_usd is None else f"${upgrade.cost_usd:,.0f}"
    then = "–"
    if upgrade.top is not None:
        then = top(upgrade.top) if _is_better(plan.base_top, upgrade.top) else "the same"
    return name, cost, speed, changed, then


def column_facts(column: ComparisonColumn) -> str:
    """Price, power and running cost of one machine, as far as known."""
    parts = []
    if column.price.basis is not None:
        parts.append(f"{price(column.price, column.price_usd)} ({plain(column.price.basis)})")
    if column.computer_power_w is not None:
        parts.append(f"{watts(column.computer_power_w)} at full load")
    if column.usd_per_million_tokens is not None:
        parts.append(f"${column.usd_per_million_tokens:.2f} per million tokens")
    elif column.electricity_usd_per_million_tokens is not None:
        parts.append(f"${column.electricity_usd_per_million_tokens:.2f} of electricity per million tokens")
    return ", ".join(parts)


def pick_rows(column: ComparisonColumn, model_id: str | None, count: int) -> Iterator[tuple[str, ...]]:
    """Model, quant, quality, speed, wait and memory of a machine's picks."""
    if column.estimate is not None:
        yield _pick_cells(plain(model_id or column.estimate.model_id), "–", column.estimate)
    for choice in column.picks[:count]:
        yield _pick_cells(phrases.choice_name(choice), phrases.quality(choice.quality), choice.estimate)


def _pick_cells(name: str, quality: str, made: Estimate) -> tuple[str, ...]:
    return (
        name,
        plain(made.quant_id),
        quality,
        fmt.interval(pace.speed(made)),
        fmt.duration(made.first_token_s.mid),
        fmt.gib(made.memory.total_bytes).removesuffix(" GiB"),
    )
