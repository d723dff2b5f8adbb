"""Chip names to chips, and ``--hardware`` texts to machines: exact aliases only, never substrings."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.errors import BadHardwareError, UnknownNameError
from catalog.names import nearest, squash
from catalog.types import ChipSpec
from catalog.units import GIB, UnitError, parse_bytes

_SAME_SIZE_FRAC = 0.08  # of what a driver reports: GB against GiB is 7.4 %; vendors' variants differ by more
_ROUNDING_FRAC = 0.002
_MAX_COUNT = 1024
_TRAILING_MEMORY = re.compile(r"^(?P<name>.*\S)\s+(?P<size>\d+(?:\.\d+)?\s?[KMGT]i?B)$", re.IGNORECASE)
_NAME_GOES_ON = re.compile(r"\s*\d+\s+\d")  # "Max+ 395 128GiB": the number after the plus is part of the name
_TRAILING_COUNT = re.compile(r"^(?P<name>.*\S)\s*[*×]\s*(?P<count>\d{1,20})$")
# what device listings add around a chip's name
_DECORATION = re.compile(
    r"\((?:r|tm|c)\)|[®™]|\bcpu @ [\d.]+ ?ghz|\b\d+-core processor\b|\bprocessor\b"
    r"|\bw(?:ith|/) radeon .*$|\bgraphics$|^\d+th gen\b|\((?:radv|amdvlk|aco|llvm|dg2|bmg)\b[^)]*\)",
    re.IGNORECASE,
)
# a computer that is named for its Apple chip, and a device listing that puts the name into brackets
_MAC = re.compile(
    r"^(?:macbook (?:air|pro)|mac (?:mini|studio|pro)|imac)\s+(?:with\s+)?(?=(?:apple )?m\d)", re.IGNORECASE
)
_BRACKETED = re.compile(r"^[^\[\]]*\[([^\[\]]+)\][^\[\]]*$")
_PCI_ID = re.compile(r"^(?:pci:)?([0-9a-f]{4})[:/]([0-9a-f]{4})$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareSpec:
    """A machine named on the command line: ``count`` equal chips beside ``extra_memory_bytes`` of RAM.

    A unified chip's own memory is in ``chip.memory_bytes``; ``extra_memory_bytes`` is then None. ``host`` is the
    processor around cards, None where it was not named.
    """

    chip: ChipSpec
    count: int = 1
    extra_memory_bytes: int | None = None
    host: ChipSpec | None = None


class ChipIndex:
    """Chips by every exact spelling of their names and by PCI id."""

    def __init__(self, chips: Mapping[str, ChipSpec]) -> None:
        self._chips = chips
        names: dict[str, list[ChipSpec]] = {}
        aliases: dict[str, list[ChipSpec]] = {}
        self._variants: dict[str, list[ChipSpec]] = {}
        for chip in chips.values():
            names.setdefault(_key(chip.chip_id), []).append(chip)
            for key in {_key(alias) for alias in chip.aliases} | {pci_id.lower() for pci_id in chip.pci_ids}:
                aliases.setdefault(key, []).append(chip)
            self._variants.setdefault(chip.bare_name, []).append(chip)
        self._tiers = (names, aliases)

    def find(self, text: str, memory_bytes: int | None = None) -> ChipSpec:
        """The chip of a name or PCI id (``10de:2684``); a memory size picks among its variants.

        A size that no variant is sold with changes nothing for a name that fits one chip: drivers
        report odd sizes (a slice of a card, a modified one). Written into the name, it is an error.

        Raises:
            UnknownNameError: if the name fits no chip or several.
            BadHardwareError: if no variant has the memory written into the name.
        """
        chip = self.known(text, memory_bytes)
        if chip is None:
            wanted = text if memory_bytes is not None else _split_memory(text)[0]
            raise UnknownNameError("chip", wanted, nearest=self._nearest(wanted))
        return chip

    def known(self, text: str, memory_bytes: int | None = None) -> ChipSpec | None:
        """As `find`, but None for a name that fits no chip, without looking for similar ones."""
        found = self._named(text)
        if not found and memory_bytes is None:
            text, written_bytes = _split_memory(text)
            found = self._named(text)
            if found and written_bytes is not None:
                return self._variant(text, found, written_bytes, strict=True)
        if not found:
            return None
        if memory_bytes is None:
            return _only(text, found)
        return self._variant(text, found, memory_bytes, strict=False)

    def knows(self, text: str) -> bool:
        """Whether a text as a whole is some chip's name."""
        return bool(self._named(text))

    def is_unified(self, text: str) -> bool:
        """Whether every chip of a name shares its memory with the CPU."""
        found = self._named(text)
        return bool(found) and all(chip.unified for chip in found)

    def _named(self, text: str) -> Sequence[ChipSpec]:
        pci = _PCI_ID.match(text.strip())
        keys = [":".join(pci.groups()).lower()] if pci else [_key(spelling) for spelling in _spellings(text)]
        return next((tier[key] for key in keys for tier in self._tiers if key in tier), ())

    def _variant(self, text: str, found: Sequence[ChipSpec], memory_bytes: int, *, strict: bool) -> ChipSpec:
        siblings = {chip.chip_id: chip for one in found for chip in self._variants[one.bare_name]}
        pool = [*found, *(chip for chip in siblings.values() if chip not in found)]
        has_memory = _is_sold_with if strict else _has_memory
        fitting = [chip for chip in pool if has_memory(chip, memory_bytes)]
        preferred = [chip for chip in fitting if chip in found] or fitting
        if not preferred and not strict:
            return _only(text, found)
        if not preferred:
            sold = "; ".join(f"{chip.chip_id}: {_sizes(chip)}" for chip in pool)
            custom = f"; for another size all the same: {pool[-1].chip_id}+SIZE" if pool[-1].unified else ""
            raise BadHardwareError(
                f"chip {text!r} does not come with {memory_bytes / GIB:.4g} GiB; it is sold as {sold}{custom}"
            )
        chip = _only(text, preferred)
        if chip.memory_bytes is not None and not chip.unified:
            return chip
        return replace(chip, memory_bytes=_sold_bytes(chip, memory_bytes) if strict else memory_bytes)

    def _nearest(self, text: str) -> tuple[str, ...]:
        """Chips whose identity or alias looks most like a text."""
        spellings = {alias: chip.chip_id for chip in self._chips.values() for alias in (*chip.aliases, chip.chip_id)}
        return tuple(dict.fromkeys(spellings[name] for name in nearest(text, spellings, count=8)))[:4]


def parse_hardware(text: str, index: ChipIndex) -> HardwareSpec:
    """Read ``CHIP[*N][+CPU][+RAM]``: ``rtx 3090*2+64GiB``, ``m4 max 64GiB``, ``rtx 4090+epyc 9654+768GiB``.

    For a unified chip or a CPU the memory after ``+`` is the chip's own, whether or not it is sold so.

    Raises:
        UnknownNameError: if a chip is unknown or ambiguous.
        BadHardwareError: if count or memory cannot be read, nobody sells the chip with that memory, or the second chip
            is no processor beside cards.
    """
    name, memory_bytes = _split_extra(text, index)
    cards, host = _split_host(name, index)
    spec = _parse_chips(text, cards, memory_bytes, index)
    if host is not None and spec.chip.unified:
        raise BadHardwareError(f"hardware {text[:80]!r}: {spec.chip.chip_id} has a processor; leave out {host.chip_id}")
    return replace(spec, host=host)


def _split_host(text: str, index: ChipIndex) -> tuple[str, ChipSpec | None]:
    """The part that names cards, and the processor that a ``+`` joins to it, in either order."""
    if "+" not in text or index.known(_uncounted(text)) is not None:
        return text, None
    for place in (place for place, letter in enumerate(text) if letter == "+"):
        sides = text[:place].strip(), text[place + 1 :].strip()
        chips = [index.known(_uncounted(side)) for side in sides]
        if not any(chips):
            continue
        for side, chip in zip(sides, chips, strict=True):
            if chip is None:
                index.find(side)  # raises, naming what is like it
        hosts = [index for index, chip in enumerate(chips) if chip is not None and chip.kind == "cpu"]
        if len(hosts) != 1 or _TRAILING_COUNT.match(sides[hosts[0]]):
            raise BadHardwareError(
                f"hardware {text[:80]!r}: one kind of card and one processor, as in rtx 4090+epyc 9654"
            )
        return sides[1 - hosts[0]], chips[hosts[0]]
    return text, None


def _uncounted(text: str) -> str:
    match = _TRAILING_COUNT.match(text)
    return match["name"] if match else text


def _parse_chips(text: str, name: str, memory_bytes: int | None, index: ChipIndex) -> HardwareSpec:
    match = _TRAILING_COUNT.match(name)
    count = int(match["count"]) if match else 1
    if not 1 <= count <= _MAX_COUNT:
        raise BadHardwareError(f"hardware {text[:80]!r}: a count must be between 1 and {_MAX_COUNT}")
    chip_text = match["name"] if match else name
    if memory_bytes is not None and index.is_unified(chip_text):
        chip = index.find(chip_text, memory_bytes)
        return HardwareSpec(chip=replace(chip, memory_bytes=memory_bytes), count=count)
    return HardwareSpec(chip=index.find(chip_text), count=count, extra_memory_bytes=memory_bytes)


def _split_extra(text: str, index: ChipIndex) -> tuple[str, int | None]:
    """The chip part and the size after the last ``+``; a plus inside a name (``Ryzen AI Max+ 395``) is no sum."""
    head, plus, last = text.strip().rpartition("+")
    if not plus or not last.strip()[:1].isdigit() or _NAME_GOES_ON.match(last) or index.knows(text):
        return text.strip(), None
    return head.strip(), _memory(last)


def _memory(text: str) -> int:
    try:
        return parse_bytes(text)
    except UnitError as error:
        raise BadHardwareError(f"hardware: {error}") from error


def _split_memory(text: str) -> tuple[str, int | None]:
    match = _TRAILING_MEMORY.match(text.strip())
    return (match["name"], _memory(match["size"])) if match else (text, None)


def _key(name: str) -> str:
    return squash(name)


def _spellings(text: str) -> tuple[str, ...]:
    """A text as it is, and without what listings and shops add to a chip's name."""
    bare = _DECORATION.sub(" ", text).strip()
    bracketed = _BRACKETED.match(text.strip())
    return (text, bare, _MAC.sub("", bare), *(bracketed.groups() if bracketed else ()))


def _sold_sizes(chip: ChipSpec) -> tuple[int, ...]:
    """Memory sizes a chip is sold with; none where it takes whatever is fitted."""
    soldered = chip.memory_bytes is not None and (not chip.unified or chip.vendor == "NVIDIA")
    return chip.memory_choices_bytes or ((chip.memory_bytes,) if soldered and chip.memory_bytes else ())


def _sold_bytes(chip: ChipSpec, memory_bytes: int) -> int:
    """The size that a chip is sold with and a user means by ``128GB``, which vendors count in GiB."""
    return next((size for size in _sold_sizes(chip) if _is_written(size, memory_bytes)), memory_bytes)


def _is_written(size_bytes: int, memory_bytes: int) -> bool:
    """Whether a size written by hand is this one: to the last digit, or in GB where GiB are meant."""
    written = (memory_bytes, memory_bytes * GIB / 10**9)
    return any(abs(size_bytes - each) <= _ROUNDING_FRAC * size_bytes for each in written)


def _only(text: str, found: Iterable[ChipSpec]) -> ChipSpec:
    first, *others = found
    if others:
        raise UnknownNameError("chip", text, candidates=tuple(chip.chip_id for chip in (first, *others)))
    return first


def _is_sold_with(chip: ChipSpec, memory_bytes: int) -> bool:
    """Whether a chip can be bought with the memory that a user wrote."""
    sizes = _sold_sizes(chip)
    return not sizes or any(_is_written(size, memory_bytes) for size in sizes)


def _has_memory(chip: ChipSpec, memory_bytes: int) -> bool:
    sizes = _sold_sizes(chip)
    return not sizes or any(abs(size - memory_bytes) <= _SAME_SIZE_FRAC * size for size in sizes)


def _sizes(chip: ChipSpec) -> str:
    sizes = _sold_sizes(chip)
    return ", ".join(f"{size / GIB:.4g} GiB" for size in sizes) or "any size"
