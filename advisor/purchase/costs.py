"""What a machine costs to own or rent, and what a million tokens then cost."""

from dataclasses import dataclass

from advisor.errors import BadRequestError
from advisor.purchase.machine_classes import class_of
from advisor.types import Estimate, MachineClass, PriceTag
from catalog.chips import HardwareSpec
from catalog.prices import Offer, OfferKind, offer_for
from catalog.prices import computer_power_w as maximal_power_w

_SECONDS_PER_HOUR = 3600.0
_HOURS_PER_YEAR = 8766.0
#: What the computer draws beside its chips: a PC with disks and fans, or a small board.
_PC_POWER_W, _BOARD_POWER_W = 60.0, 15.0
_CARD_CLASSES = frozenset({MachineClass.GAMING, MachineClass.WORKSTATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What electricity and a computer cost the user, in US dollars, and how much the machine works.

    Attributes:
        electricity_usd_per_kwh: price of a kilowatt-hour.
        busy_frac: share of the time that a machine of one's own works.
        pc_usd: the computer around plug-in cards; assumed, not looked up.
        write_off_years: over which a machine's price becomes a cost.
    """

    electricity_usd_per_kwh: float = 0.30
    busy_frac: float = 0.10
    pc_usd: float = 900.0
    write_off_years: float = 4.0


def check_costs(costs: Costs) -> None:
    """Refuse prices that nobody pays.

    Raises:
        BadRequestError: naming the option and the range it accepts.
    """
    if not 0.0 <= costs.electricity_usd_per_kwh <= 10.0:
        raise BadRequestError(f"--electricity {costs.electricity_usd_per_kwh:g} is out of range; use 0 to 10 USD a kWh")
    if not 0.0 <= costs.pc_usd <= 1e6:
        raise BadRequestError(f"--pc-price {costs.pc_usd:g} is out of range; use 0 to 1000000 USD")


def price_of(spec: HardwareSpec, costs: Costs) -> PriceTag:
    """The price of a machine: to rent in data centres, else to own; unknown around a processor that was named."""
    if spec.host is not None:
        return PriceTag()
    chip, count = spec.chip, spec.count
    kind = class_of(chip)
    if kind is MachineClass.DATACENTER:
        rent = offer_for(chip.chip_id, OfferKind.RENT)
        return _rented(rent, count) if rent else PriceTag()
    wanted = OfferKind.CARD if kind in _CARD_CLASSES else OfferKind.COMPUTER
    offer = offer_for(chip.chip_id, wanted, chip.memory_bytes)
    around_usd = costs.pc_usd if kind in _CARD_CLASSES else 0.0
    if offer is not None:
        basis = f"{offer.condition}, {offer.citation.date}"
        return PriceTag(
            chips_usd=offer.usd * count,
            total_usd=offer.usd * count + around_usd,
            basis=basis,
            source=offer.citation.source,
        )
    if chip.price_usd is None:
        return PriceTag()
    return PriceTag(
        chips_usd=chip.price_usd * count,
        total_usd=chip.price_usd * count + around_usd,
        basis=f"at launch, {chip.launch_year}" if chip.launch_year else "at launch",
        source=chip.citation.source if chip.citation else None,
    )


def _rented(offer: Offer, count: int) -> PriceTag:
    return PriceTag(
        rent_usd_per_hour=offer.usd * count,
        basis=f"rent, {offer.citation.date}",
        source=offer.citation.source,
    )


def computer_power_w(spec: HardwareSpec) -> float | None:
    """Draw of the whole computer with every chip at its rated power, a processor that was named as well."""
    chip, count = spec.chip, spec.count
    at_the_wall = maximal_power_w(chip.chip_id)
    if at_the_wall is not None:
        return at_the_wall * count
    host_w = spec.host.power_w if spec.host is not None else 0.0
    if chip.power_w is None or host_w is None:
        return None
    return chip.power_w * count + host_w + (_BOARD_POWER_W if chip.unified and chip.kind != "cpu" else _PC_POWER_W)


def electricity_usd_per_million(power_w: float | None, made: Estimate, costs: Costs) -> float | None:
    """Electricity of a million decoded tokens at full draw, in dollars."""
    if power_w is None:
        return None
    return _hours_per_million(made) * power_w / 1000.0 * costs.electricity_usd_per_kwh


def usd_per_million(price: PriceTag, power_w: float | None, made: Estimate, costs: Costs) -> float | None:
    """A million decoded tokens: the rent while it decodes, or electricity and the price written off."""
    hours = _hours_per_million(made)
    if price.rent_usd_per_hour is not None:
        return hours * price.rent_usd_per_hour
    electricity = electricity_usd_per_million(power_w, made, costs)
    if electricity is None or price.total_usd is None:
        return None
    busy_hours = costs.write_off_years * _HOURS_PER_YEAR * costs.busy_frac
    return electricity + hours * price.total_usd / busy_hours


def _hours_per_million(made: Estimate) -> float:
    tokens_per_s = made.decode_tokens_per_s.mid * made.workload.concurrency_count
    return 1e6 / tokens_per_s / _SECONDS_PER_HOUR
