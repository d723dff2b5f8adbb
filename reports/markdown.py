"""The page as Markdown for a pull request or an issue: same words, same numbers, no pictures."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reports.blocks import (
    Block,
    Bullets,
    Charts,
    Command,
    Facts,
    Fold,
    Grid,
    Headline,
    MemoryBar,
    Notice,
    Page,
    Paragraph,
    Picks,
    Section,
    Stat,
    Stats,
    Tone,
)
from reports.view import build_page

_SPECIAL = re.compile(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
_LEADING = re.compile(r"^(?:[-+](?=\s|$)|#(?=#{0,5}(?:\s|$))|[-=](?=[-=]*$)|\d{1,9}(?=[.)](?:\s|$)))")
#: a mention or an issue reference would notify or link strangers; an invisible joiner stops both
_REFERENCES = re.compile(r"([@#])(?=\w)")
_MARKS = {Tone.PLAIN: "", Tone.GOOD: "✅ ", Tone.CAUTION: "⚠️ ", Tone.BAD: "❌ "}


def render(documents: Sequence[object]) -> bytes:
    """Documents as a Markdown file."""
    return ("\n".join(_page(build_page(documents))).rstrip() + "\n").encode()


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no link, mention, emphasis, HTML, table cell or formula."""
    line = _SPECIAL.sub(lambda match: f"\\{match.group()}", text.replace("\n", " "))
    line = _LEADING.sub(lambda match: _escaped_start(match.group()), line)
    return _REFERENCES.sub("\\1\N{WORD JOINER}", line)


def _escaped_start(start: str) -> str:
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def _page(page: Page) -> Iterable[str]:
    yield from _headline(page.headline)
    for section in page.sections:
        yield from _section(section)
    for line in page.footer:
        yield f"<sub>{_html(line)}</sub>"


def _headline(headline: Headline) -> Iterable[str]:
    yield f"# {escaped(headline.title)}"
    yield ""
    yield f"**{escaped(headline.kicker)}**"
    yield ""
    if headline.lead:
        yield escaped(headline.lead)
        yield ""
    for block in headline.blocks:
        yield from _block(block)


def _section(section: Section) -> Iterable[str]:
    if all(isinstance(block, Charts) for block in section.blocks):
        return
    yield f"## {escaped(section.title)}"
    yield ""
    if section.lead:
        yield escaped(section.lead)
        yield ""
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterable[str]:
    write = _WRITERS.get(type(block))
    if write is not None:
        yield from write(block)
        yield ""


def _paragraph(paragraph: Paragraph) -> Iterable[str]:
    yield escaped(paragraph.text)


def _notice(notice: Notice) -> Iterable[str]:
    yield f"> {_MARKS[notice.tone]}{escaped(notice.text)}"


def _facts(facts: Facts) -> Iterable[str]:
    yield from (f"- **{escaped(name)}**: {escaped(value)}" for name, value in facts.rows)


def _bullets(bullets: Bullets) -> Iterable[str]:
    yield from (f"- {escaped(item)}" for item in bullets.items)


def _stats(stats: Stats) -> Iterable[str]:
    yield " · ".join(map(_stat, stats.items))


def _memory(bar: MemoryBar) -> Iterable[str]:
    listed = ", ".join(part.label for part in bar.parts)
    yield f"- **Memory on {escaped(bar.label)}**: {escaped(bar.verdict)} ({escaped(listed)})"


def _picks(picks: Picks) -> Iterable[str]:
    yield from _grid(picks.table)
    if picks.total_count > len(picks.table.rows):
        yield ""
        yield f"… and {picks.total_count - len(picks.table.rows)} more."


def _fold(fold: Fold) -> Iterable[str]:
    yield f"<details><summary>{_html(fold.summary)}</summary>"
    yield ""
    for inner in fold.blocks:
        yield from _block(inner)
    yield "</details>"


def _stat(stat: Stat) -> str:
    figure = escaped(f"{stat.value} {stat.unit}".strip())
    note = f" ({stat.note})" if stat.note else ""
    return f"{escaped(stat.label)} **{figure}**{escaped(note)}"


def _html(text: str) -> str:
    """Text inside the few HTML elements that Markdown needs."""
    return "".join(char if char.isalnum() or char in " .,·:()%-" else f"&#{ord(char)};" for char in text)


def _command(command: Command) -> Iterable[str]:
    text = command.text
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}sh"
    yield text
    yield fence


def _grid(grid: Grid) -> Iterable[str]:
    yield f"| {' | '.join(map(escaped, grid.headers))} |"
    yield "|" + "|".join("---:" if i in grid.numeric else ":---" for i in range(len(grid.headers))) + "|"
    yield from (f"| {' | '.join(map(escaped, row))} |" for row in grid.rows)


#: charts have no place in text: their numbers stand in the tables around them
_WRITERS: dict[type, Callable[[Any], Iterable[str]]] = {
    Bullets: _bullets,
    Command: _command,
    Facts: _facts,
    Fold: _fold,
    Grid: _grid,
    MemoryBar: _memory,
    Notice: _notice,
    Paragraph: _paragraph,
    Picks: _picks,
    Stats: _stats,
}
