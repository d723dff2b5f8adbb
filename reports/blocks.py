"""What a report consists of, before any syntax: the common form that HTML and Markdown render.

All strings in blocks are inert (see `reports.text`); renderers escape them for their own syntax.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.charts.base import Chart


class Tone(StrEnum):
    """How a remark is meant."""

    PLAIN = "plain"
    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table. ``numeric`` holds the indices of right-aligned columns."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    row_headers: bool = True


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A remark that stands out."""

    text: str
    tone: Tone = Tone.CAUTION


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Command:
    """A shell command to copy."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """One headline figure, such as 11.7 with the unit tok/s and its range."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Stats:
    """Headline figures side by side."""

    items: tuple[Stat, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPart:
    """A share of a device's memory bar, as a fraction of the bar's width."""

    role: str
    label: str
    frac: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBar:
    """What one device holds against what it has; the bar spans the larger of the two."""

    label: str
    parts: tuple[MemoryPart, ...]
    limit_frac: float | None
    verdict: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """The ranked table of one recommendation; HTML makes it interactive.

    ``document_index`` says which of the page's documents it belongs to.
    """

    document_index: int
    table: Grid
    total_count: int


@dataclass(frozen=True, slots=True)
class Charts:
    """Charts side by side."""

    charts: "tuple[Chart, ...]"


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks that may be closed, under a summary."""

    summary: str
    blocks: "tuple[Block, ...]"
    open: bool = False


Block = Paragraph | Notice | Facts | Bullets | Command | Stats | MemoryBar | Picks | Charts | Fold | Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page with its own heading and place in the navigation."""

    section_id: str
    title: str
    blocks: tuple[Block, ...]
    nav: str | None = None
    lead: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The top of the page: what it says in one breath."""

    kicker: str
    title: str
    lead: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole report."""

    headline: Headline
    sections: tuple[Section, ...]
    footer: tuple[str, ...] = ()

    def charts(self) -> "tuple[Chart, ...]":
        """Every chart in reading order."""
        return tuple(chart for section in self.sections for chart in _charts_in(section.blocks))


def _charts_in(blocks: Sequence[Block]) -> "list[Chart]":
    found: list[Chart] = []
    for block in blocks:
        if isinstance(block, Charts):
            found.extend(block.charts)
        elif isinstance(block, Fold):
            found.extend(_charts_in(block.blocks))
    return found
