"""Speed against context: how generation slows down as a conversation grows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from advisor import whatif
from advisor.types import Estimate, Recommendation
from reports import format as fmt
from reports import pace, phrases
from reports.blocks import Grid
from reports.charts.axes import LABEL_LIMIT, context_axis, legend, log_axis
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES_SHOWN = 6
_DEPTHS_TOKENS = tuple(2**power for power in range(9, 18))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_TABLE_DEPTHS = (1024, 4096, 16384, 65536)


@dataclass(frozen=True, slots=True)
class _Line:
    """Speed at each depth a model was made for; beyond ``fits_tokens`` its memory does not suffice."""

    name: str
    depths: tuple[int, ...]
    tokens_per_s: tuple[float, ...]
    fits_tokens: float


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """One chart per recommendation whose estimates carry a what-if table."""
    charts: list[Chart] = []
    for document in documents:
        if isinstance(document, Recommendation):
            if pace.reads_only(document.task):
                continue  # nothing is generated
            named = [(phrases.choice_name(choice), choice.estimate) for choice in document.ranked]
        elif isinstance(document, Estimate):
            named = [(phrases.short_name(document.model_id), document)]
        else:
            continue
        lines = [line for line in (_line(name, estimate) for name, estimate in named[:_LINES_SHOWN]) if line]
        if lines:
            charts.append(_chart(tuple(lines), len(charts)))
    return tuple(charts)


def _line(name: str, estimate: Estimate) -> _Line | None:
    table = estimate.whatif
    longest = max(table.get("context_tokens", (0.0,)))
    users_count = estimate.workload.concurrency_count
    depths = tuple(depth for depth in _DEPTHS_TOKENS if depth <= longest)
    times_s = [whatif.decode_s(table, depth, users_count) for depth in depths]
    speeds = tuple(1.0 / time_s for time_s in times_s if time_s)
    if len(depths) < 2 or len(speeds) != len(depths):
        return None
    held = [
        context
        for context in map(int, table["context_tokens"])
        if whatif.fits(table, estimate.memory, context, users_count)
    ]
    return _Line(shortened(name, LABEL_LIMIT), depths, speeds, max(held, default=0))


def _chart(lines: tuple[_Line, ...], index: int) -> Chart:
    def cell(line: _Line, depth: int) -> str:
        return fmt.number(line.tokens_per_s[line.depths.index(depth)]) if depth in line.depths else fmt.UNKNOWN

    rows = tuple(
        (line.name, *(cell(line, depth) for depth in _TABLE_DEPTHS), fmt.tokens(int(line.fits_tokens) or None))
        for line in lines
    )
    first = lines[0]
    return Chart(
        chart_id=f"depth-{index + 1}",
        title="Speed as the conversation grows",
        caption="Speed against tokens already in the context. Dashed: the context no longer fits in memory.",
        description=f"Generation speed of {phrases.counted(len(lines), 'model')} against the tokens in the context. "
        f"{first.name} goes from {fmt.rate(first.tokens_per_s[0])} at {fmt.tokens(first.depths[0])} tokens to "
        f"{fmt.rate(first.tokens_per_s[-1])} at {fmt.tokens(first.depths[-1])}.",
        table=Grid(
            caption="Tokens per second by context depth",
            headers=("Model", *(fmt.tokens(depth) for depth in _TABLE_DEPTHS), "Largest that fits"),
            rows=rows,
            numeric=frozenset(range(1, len(_TABLE_DEPTHS) + 2)),
        ),
        draw=partial(_draw, lines),
    )


def _draw(lines: tuple[_Line, ...], axes: "Axes", theme: Theme) -> None:
    context_axis(axes, [depth for line in lines for depth in line.depths])
    log_axis(axes, "y", [speed for line in lines for speed in line.tokens_per_s], pad=1.15)
    for line, color, marker in zip(lines, theme.series, _MARKERS, strict=False):
        held = [i for i, depth in enumerate(line.depths) if depth <= line.fits_tokens]
        cut = held[-1] if held else 0
        axes.plot(
            line.depths[: cut + 1],
            line.tokens_per_s[: cut + 1],
            color=color,
            marker=marker,
            markersize=4.5,
            lw=1.8,
            label=line.name,
        )
        axes.plot(line.depths[cut:], line.tokens_per_s[cut:], color=color, lw=1.2, ls=(0, (3, 2)), alpha=0.75)
    axes.set_xlabel("Tokens in the context")
    axes.set_ylabel("Generation speed (tokens per second)")
    legend(axes, columns_count=2)
