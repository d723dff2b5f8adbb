"""Predicted against measured: one point per prediction, inside or outside the ±5 % and ±20 % bands."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from advisor.types import Accuracy, Interval, Validation, ValidationRecord, ValidationStatus
from reports import format as fmt
from reports import phrases
from reports.blocks import Grid
from reports.charts.axes import legend, log_axis
from reports.charts.base import Chart
from reports.charts.theme import Theme
from reports.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLOSE_FRAC = 0.05
FAIR_FRAC = 0.20
_ROWS_SHOWN = 60
_RANGES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Pair:
    """A prediction with its measurement, in tokens per second."""

    name: str
    phase: str  # decode | prefill
    predicted: Interval
    measured: float
    error_frac: float
    polluted: bool = False


def _record_pairs(record: ValidationRecord) -> list[Pair]:
    name = f"{phrases.short_name(record.estimate.model_id)} {plain(record.estimate.quant_id)}"
    pairs = []
    for phase in ("decode", "prefill"):
        metric = f"{phase}_tokens_per_s"
        measured = getattr(record.observed, metric)
        error_frac = record.error_frac.get(metric)
        if measured and error_frac is not None:
            predicted = getattr(record.estimate, metric)
            pairs.append(Pair(name, phase, predicted, measured, error_frac, record.polluted))
    return pairs


def _accuracy_pairs(accuracy: Accuracy) -> list[Pair]:
    return [
        Pair(
            f"{phrases.short_name(row.model_id)} {plain(row.quant)} on {plain(row.hardware)}",
            "prefill" if row.test.startswith("pp") else "decode",
            row.predicted,
            row.measured,
            row.error_frac,
        )
        for row in accuracy.rows
        if row.measured > 0
    ]


def build(documents: Sequence[object]) -> tuple[Chart, ...]:
    """One chart per validation or accuracy document that holds pairs."""
    charts: list[Chart] = []
    for document in documents:
        if isinstance(document, Validation):
            done = [record for record in document.records if record.status == ValidationStatus.OK]
            pairs = [pair for record in done for pair in _record_pairs(record)]
            where, name = plain(document.hardware or "this machine"), "proof"
        elif isinstance(document, Accuracy):
            pairs, where, name = _accuracy_pairs(document), "many machines", "accuracy"
        else:
            continue
        if pairs:
            charts.append(_chart(pairs, where, f"{name}-{len(charts) + 1}"))
    return tuple(charts)


def _chart(pairs: Sequence[Pair], where: str, chart_id: str) -> Chart:
    close = sum(abs(pair.error_frac) <= CLOSE_FRAC for pair in pairs)
    fair = sum(abs(pair.error_frac) <= FAIR_FRAC for pair in pairs)
    total = phrases.counted(len(pairs), "prediction")
    rows = tuple(
        (pair.name, pair.phase, fmt.interval(pair.predicted), fmt.number(pair.measured), fmt.change(pair.error_frac))
        for pair in pairs[:_ROWS_SHOWN]
    )
    return Chart(
        chart_id=chart_id,
        title="Predicted against measured",
        caption="On the line the prediction was right. Bands: within 5 % and 20 %. Hollow: the machine was busy.",
        description=f"{total} against measurements on {where}: {close} within 5 %, {fair} within 20 %.",
        table=Grid(
            caption="Predicted and measured, tokens per second",
            headers=("What", "Phase", "Predicted", "Measured", "Off by"),
            rows=rows,
            numeric=frozenset({2, 3, 4}),
        ),
        draw=partial(_draw, tuple(pairs)),
    )


def _draw(pairs: tuple[Pair, ...], axes: "Axes", theme: Theme) -> None:
    values = [value for pair in pairs for value in (pair.measured, pair.predicted.mid)]
    log_axis(axes, "x", values, pad=1.5)
    log_axis(axes, "y", values, pad=1.5)
    span = axes.get_xlim()
    for frac, color in ((FAIR_FRAC, theme.band), (CLOSE_FRAC, theme.band_strong)):
        axes.fill_between(
            span,
            [edge * (1 - frac) for edge in span],
            [edge * (1 + frac) for edge in span],
            color=color,
            lw=0,
            label=f"±{frac:.0%}".replace("%", " %"),
        )
    axes.plot(span, span, color=theme.muted, lw=1.0)
    if len(pairs) <= _RANGES_SHOWN:
        for pair in pairs:
            axes.plot([pair.measured] * 2, [pair.predicted.low, pair.predicted.high], color=theme.sky, lw=1.1)
    size = 7.0 if len(pairs) <= _RANGES_SHOWN else 4.0
    for phase, color, marker, label in (
        ("decode", theme.blue, "o", "generation"),
        ("prefill", theme.orange, "^", "prompt"),
    ):
        for polluted in (False, True):
            own = [pair for pair in pairs if pair.phase == phase and pair.polluted == polluted]
            axes.plot(
                [pair.measured for pair in own],
                [pair.predicted.mid for pair in own],
                linestyle="none",
                marker=marker,
                markersize=size,
                markerfacecolor=theme.surface if polluted else color,
                markeredgecolor=color if polluted else theme.surface,
                markeredgewidth=1.2 if polluted else 0.7,
                label=label if own and not polluted else "_",
            )
    axes.set_xlabel("Measured (tokens per second)")
    axes.set_ylabel("Predicted (tokens per second)")
    legend(axes, columns_count=5)
