"""The kinds of machine people buy or rent, and which machines of each a plan tries."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from advisor.types import MachineClass
from catalog.chips import HardwareSpec
from catalog.load import Catalog
from catalog.types import ChipSpec
from catalog.units import GIB

#: RAM of the PC or server around a plug-in card.
HOST_MEMORY_BYTES = 64 * GIB
#: The classes that every plan answers for: cards in a PC, unified memory, Apple silicon, rented chips.
ALWAYS_SHOWN = (MachineClass.GAMING, MachineClass.UNIFIED, MachineClass.APPLE, MachineClass.DATACENTER)
#: How many of a chip people put in one box.
_COUNTS: Mapping[MachineClass, tuple[int, ...]] = {
    MachineClass.GAMING: (1, 2, 3, 4),
    MachineClass.WORKSTATION: (1, 2, 4),
    MachineClass.DATACENTER: (1, 2, 4, 8),
    MachineClass.UNIFIED: (1,),
    MachineClass.APPLE: (1,),
    MachineClass.CPU: (1,),
}
_DATACENTER_WORDS = frozenset(
    {"A100", "A10", "A30", "A40", "B100", "B200", "B300", "GB200", "GH200", "H100", "H200", "H800"}
    | {"L4", "L40", "L40S", "T4", "V100", "P100", "P40"}
)
_WORKSTATION_NAMES = ("Quadro", "RTX A", "RTX PRO", "PRO", "Arc Pro", "Ada")
_SERVER_NAMES = ("Data Center GPU Max", "RTX PRO 6000 Blackwell Server", "Instinct")


def class_of(chip: ChipSpec) -> MachineClass:
    """Which kind of machine a chip belongs to."""
    if chip.kind == "cpu":
        return MachineClass.CPU
    if chip.kind == "apple":
        return MachineClass.APPLE
    words = chip.bare_name.replace("NVIDIA", "").replace("AMD", "").replace("Instinct", "").replace("Tesla", "").split()
    first = words[0] if words else ""
    if first in _DATACENTER_WORDS or first.startswith("MI") or any(name in chip.chip_id for name in _SERVER_NAMES):
        return MachineClass.DATACENTER
    if chip.unified:
        return MachineClass.UNIFIED
    if any(name in chip.bare_name for name in _WORKSTATION_NAMES) and "GeForce" not in chip.bare_name:
        return MachineClass.WORKSTATION
    return MachineClass.GAMING


def machines_to_try(catalog: Catalog) -> Iterator[tuple[MachineClass, tuple[HardwareSpec, ...]]]:
    """Every chip with each memory size it is sold with: alone first, then in usual multiples."""
    for chip in catalog.chips.values():
        kind = class_of(chip)
        counts = (1,) if "Laptop" in chip.chip_id else _COUNTS[kind]
        sizes = chip.memory_choices_bytes if chip.memory_bytes is None else (chip.memory_bytes,)
        for size in sizes:
            sized = replace(chip, memory_bytes=size)
            yield (
                kind,
                tuple(HardwareSpec(chip=sized, count=count, extra_memory_bytes=_host_memory(chip)) for count in counts),
            )


def sized_name(name: str, chip: ChipSpec) -> str:
    """A machine's name with its memory, where the chip is sold with several sizes."""
    if chip.memory_bytes is None or not chip.unified or chip.kind == "cpu":
        return name
    size = f"{chip.memory_bytes / GIB:.0f} GiB"
    return name if size in name else f"{name}, {size}"


def _host_memory(chip: ChipSpec) -> int | None:
    return None if chip.unified else HOST_MEMORY_BYTES
