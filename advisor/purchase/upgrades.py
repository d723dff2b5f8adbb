"""What one more part does to a machine: for the model that was asked for, and for the best model it can run.

Each upgrade is a machine like the first with one thing changed; both are asked the same two questions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from advisor.errors import NothingFitsError
from advisor.machine import CPU_DEVICE_ID, Machine, MachineDevice
from advisor.machines import default_backend, from_hardware
from advisor.purchase.machine_classes import class_of
from advisor.purchase.plan import Question, best_setting
from advisor.recommendation.recommend import Request, recommend
from advisor.types import Estimate, MachineClass, Rates, TopPick, Upgrade
from catalog.chips import HardwareSpec
from catalog.load import Catalog
from catalog.prices import OfferKind, offer_for
from catalog.types import ChipSpec
from catalog.units import GIB

#: What people add to a computer without a card: used and new, by what a gigabyte costs.
_FIRST_CARDS = ("NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 5060 Ti", "NVIDIA GeForce RTX 3090")
#: A card with so much more memory counts as a larger one.
_LARGER_BY_BYTES = 7 * GIB
_ASSUMED_CHANNELS_COUNT = 2
_CARDS = frozenset({MachineClass.GAMING, MachineClass.WORKSTATION})
_LARGER_CARDS_COUNT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The machine to upgrade.

    Attributes:
        channels_count: memory channels in use; None where they were not seen.
        spec: how it was named, for a machine that is not here.
    """

    machine: Machine
    channels_count: int | None = None
    spec: HardwareSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    name: str
    machine: Machine
    cost_usd: float | None = None
    assumption: str | None = None


def top_pick(catalog: Catalog, question: Question, machine: Machine) -> TopPick | None:
    """The best model for the task on a machine; None if nothing fits."""
    request = Request(
        workload=question.workload, top_count=1, kv_quant_id=question.kv_quant_id, settings=question.settings
    )
    try:
        made = recommend(catalog, machine, request, created_at="", tool_version="")
    except NothingFitsError:
        return None
    first = made.ranked[0]
    return TopPick(
        model_id=first.estimate.model_id,
        quant_id=first.estimate.quant_id,
        quality=first.quality,
        decode_tokens_per_s=first.estimate.decode_tokens_per_s.mid,
    )


def upgrades(catalog: Catalog, question: Question, base: Base, before: Estimate | None) -> tuple[Upgrade, ...]:
    """Every upgrade that suits a machine, with what it does to the model and to the best pick."""
    return tuple(_upgrade(catalog, question, option, before) for option in _options(catalog, base))


def _upgrade(catalog: Catalog, question: Question, option: _Option, before: Estimate | None) -> Upgrade:
    found = best_setting(catalog, question, option.machine)
    made = found if isinstance(found, Estimate) else None
    speedup = None
    if made is not None and before is not None:
        speedup = made.decode_tokens_per_s.mid / before.decode_tokens_per_s.mid - 1.0
    return Upgrade(
        name=option.name,
        hardware=option.machine.name,
        estimate=made,
        reason=None if isinstance(found, Estimate) else found.reason,
        speedup_frac=speedup,
        top=top_pick(catalog, question, option.machine),
        cost_usd=option.cost_usd,
        assumption=option.assumption,
    )


def _options(catalog: Catalog, base: Base) -> Iterator[_Option]:
    accelerators = [device for device in base.machine.devices if device.device_id != CPU_DEVICE_ID]
    chip = _chip(catalog, base, accelerators[0] if accelerators else None)
    if not accelerators:
        yield from _memory_channel(base)
        yield from _more_memory(base)
        yield from _first_cards(catalog, base)
    elif accelerators[0].unified:
        yield from _larger_unified(catalog, chip)
    else:
        yield from _second_card(catalog, base, chip)
        yield from _larger_cards(catalog, base, chip)
        yield from _more_memory(base)
        yield from _memory_channel(base)


def _chip(catalog: Catalog, base: Base, device: MachineDevice | None) -> ChipSpec | None:
    if base.spec is not None:
        return base.spec.chip
    return catalog.known_chip(device.name) if device is not None else None


def _memory_channel(base: Base) -> Iterator[_Option]:
    """One more memory channel: the bytes that the CPU reads arrive that much faster.

    None where the processor around cards is only assumed.
    """
    if base.spec is not None and base.spec.host is None and base.spec.chip.kind != "cpu":
        return
    known = base.channels_count
    channels = known or _ASSUMED_CHANNELS_COUNT
    cpu = base.machine.device(CPU_DEVICE_ID)
    faster = replace(cpu, rates=_with_bandwidth(cpu.rates, (channels + 1) / channels))
    yield _Option(
        name="+1 memory channel",
        machine=_renamed(_replaced(base.machine, cpu, faster), "+1 memory channel"),
        assumption=f"{channels} to {channels + 1} channels, "
        + ("where a slot is free" if known else "their number was not seen; where a slot is free"),
    )


def _with_bandwidth(rates: Rates, factor: float) -> Rates:
    """Rates with the seconds per byte divided by a factor; arithmetic stays."""
    return replace(
        rates,
        decode_s_per_byte={kind: value / factor for kind, value in rates.decode_s_per_byte.items()},
        kv_s_per_byte=rates.kv_s_per_byte / factor,
        state_s_per_byte=rates.state_s_per_byte / factor,
        prefill_s_per_byte=rates.prefill_s_per_byte / factor,
    )


def _more_memory(base: Base) -> Iterator[_Option]:
    """Twice the RAM."""
    cpu = base.machine.device(CPU_DEVICE_ID)
    added_gib = max(8, round(cpu.memory_available_bytes / (8 * GIB)) * 8)
    larger = replace(cpu, memory_available_bytes=cpu.memory_available_bytes + added_gib * GIB)
    name = f"+{added_gib} GiB RAM"
    yield _Option(name=name, machine=_renamed(_replaced(base.machine, cpu, larger), name))


def _first_cards(catalog: Catalog, base: Base) -> Iterator[_Option]:
    for name in _FIRST_CARDS:
        yield _with_cards(catalog, base, [catalog.chips[name]], f"an {_short(catalog.chips[name])}")


def _second_card(catalog: Catalog, base: Base, chip: ChipSpec | None) -> Iterator[_Option]:
    if chip is None or chip.memory_bytes is None or "Laptop" in chip.chip_id:
        return
    count = len(base.machine.devices) - 1
    ordinal = "second" if count == 1 else "one more"
    option = _with_cards(catalog, base, [chip] * (count + 1), f"{ordinal} {_short(chip)}")
    yield replace(option, cost_usd=_price_usd(chip))


def _larger_cards(catalog: Catalog, base: Base, chip: ChipSpec | None) -> Iterator[_Option]:
    """The cheapest cards of the same maker with more memory, in place of the first."""
    if chip is None or chip.memory_bytes is None:
        return
    own_bytes = chip.memory_bytes
    priced = sorted(
        (usd, other.chip_id)
        for other in catalog.chips.values()
        if other.vendor == chip.vendor
        and class_of(other) in _CARDS
        and (other.memory_bytes or 0) >= own_bytes + _LARGER_BY_BYTES
        and (usd := _price_usd(other)) is not None
        and offer_for(other.chip_id, OfferKind.CARD) is not None
    )
    sizes: set[int] = set()
    for _, chip_id in priced:
        other = catalog.chips[chip_id]
        added = (other.memory_bytes or 0) - own_bytes
        if added in sizes or len(sizes) == _LARGER_CARDS_COUNT:
            continue
        sizes.add(added)
        yield _with_cards(catalog, base, [other], f"+{added / GIB:.0f} GiB VRAM: {_short(other)} instead")


def _larger_unified(catalog: Catalog, chip: ChipSpec | None) -> Iterator[_Option]:
    """The same chip with each larger memory that it is sold with: bought anew, for it is soldered."""
    if chip is None or chip.memory_bytes is None:
        return
    for size in sorted(chip.memory_choices_bytes):
        if size <= chip.memory_bytes:
            continue
        sized = replace(chip, memory_bytes=size)
        offer = offer_for(chip.chip_id, OfferKind.COMPUTER, size)
        yield _Option(
            name=f"{size / GIB:.0f} GiB instead of {chip.memory_bytes / GIB:.0f}",
            machine=from_hardware(HardwareSpec(chip=sized), catalog, backend=default_backend(chip)),
            cost_usd=offer.usd if offer else None,
            assumption="a new computer: its memory is soldered",
        )


def _with_cards(catalog: Catalog, base: Base, chips: list[ChipSpec], name: str) -> _Option:
    """The machine with these cards in place of its own; its CPU and memory stay."""
    cards = [
        replace(
            from_hardware(HardwareSpec(chip=chip), catalog, backend=default_backend(chip)).devices[0],
            device_id=f"{default_backend(chip)}:{index}",
        )
        for index, chip in enumerate(chips)
    ]
    cards = [replace(card, rates=replace(card.rates, device_id=card.device_id)) for card in cards]
    own = {device.device_id: device for device in base.machine.devices}
    kept = [own[card.device_id] if _is_same(own.get(card.device_id), card) else card for card in cards]
    machine = replace(base.machine, devices=(*kept, own[CPU_DEVICE_ID]))
    return _Option(name=name, machine=_renamed(machine, name), cost_usd=_price_usd(chips[0]))


def _is_same(own: MachineDevice | None, card: MachineDevice) -> bool:
    return own is not None and own.name == card.name


def _price_usd(chip: ChipSpec) -> float | None:
    offer = offer_for(chip.chip_id, OfferKind.CARD, chip.memory_bytes)
    return offer.usd if offer else chip.price_usd


def _short(chip: ChipSpec) -> str:
    return chip.chip_id.removeprefix("NVIDIA ").removeprefix("GeForce ").removeprefix("AMD Radeon ")


def _replaced(machine: Machine, old: MachineDevice, new: MachineDevice) -> Machine:
    return replace(machine, devices=tuple(new if device is old else device for device in machine.devices))


def _renamed(machine: Machine, change: str) -> Machine:
    return replace(machine, name=f"{machine.name}, {change}")
