"""How far predictions from data sheets are off on published speeds, beside what rivals' formulas say.

Rows go through the same cost model as every estimate: work counted by ``advisor.work``, priced by
``advisor.roofline`` with the rates of ``advisor.datasheets.datasheet``.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from advisor import roofline
from advisor.datasheets.coefficients import Coefficients, load_coefficients
from advisor.datasheets.datasheet import rates_for_chip
from advisor.datasheets.factors import Setting
from advisor.datasheets.published import PricedRow, RowError, parse_row, price_row, skipped
from advisor.datasheets.traits import traits_of
from advisor.estimate import interval
from advisor.types import Accuracy, AccuracyRow, AccuracySummary, Interval, Rates, SkippedRow
from catalog.load import Catalog
from catalog.units import GIB

#: What popular advisors take of the bandwidth, whatever the chip, model and backend.
_RIVAL_EFFICIENCY = 0.55
_SIZES = ((0.0, 2.0), (2.0, 8.0), (8.0, 24.0), (24.0, float("inf")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One row, what was predicted for it, and what rivals would have said (tokens per second by formula)."""

    priced: PricedRow
    predicted: Interval
    level: str
    rivals: Mapping[str, float]

    @property
    def error_frac(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted.mid / self.priced.row.tokens_per_s - 1.0


class Scorer:
    """Predicts published rows; rates are worked out once per chip, backend and build."""

    def __init__(self, catalog: Catalog, coefficients: Coefficients | None = None) -> None:
        self._catalog = catalog
        self._coefficients = coefficients or load_coefficients()
        self._rates: dict[tuple[str, str, Setting], Rates] = {}

    def score(self, fields: Mapping[str, str | None]) -> Scored:
        """Predict one row.

        Raises:
            RowError: if the row cannot be read or priced.
        """
        priced = price_row(parse_row(fields), self._catalog)
        traits = traits_of(priced.chip, priced.row.backend)
        if traits is None:
            raise RowError(f"{priced.chip.chip_id}: memory bandwidth unknown")
        return Scored(
            priced=priced,
            predicted=predict_row(priced, self._rates_of(priced)),
            level=self._coefficients.level(traits),
            rivals=rival_speeds(priced),
        )

    def _rates_of(self, priced: PricedRow) -> Rates:
        row = priced.row
        key = (priced.chip.chip_id, row.backend, row.setting)
        if key not in self._rates:
            self._rates[key] = rates_for_chip(
                priced.chip, row.backend, setting=row.setting, coefficients=self._coefficients
            )
        return self._rates[key]


def predict_row(priced: PricedRow, rates: Rates) -> Interval:
    """Tokens per second of a row's test. Several cards take layers in turn, and launch operations one by one."""
    if priced.row.phase == "decode":
        time_s = roofline.total_s(roofline.price_decode(priced.work, rates))
        if priced.cards_count > 1:
            time_s += priced.work.operations_count * rates.batch_s_per_operation
        return interval(1.0 / time_s, rates.decode_sigma)
    time_s = roofline.total_s(roofline.price_prefill(priced.work, rates))
    return interval(priced.row.tokens / time_s, rates.prefill_sigma)


def rival_speeds(priced: PricedRow) -> dict[str, float]:
    """What simpler formulas say, given the right data sheet and the bytes and flop a token really takes.

    The constant is what popular advisors multiply bandwidth by; they say nothing of prompts.
    """
    chip, work = priced.chip, priced.work
    if priced.row.phase == "decode":
        roof = (chip.memory_bytes_per_s or 0.0) / work.weight_bytes
        return {f"rival: bandwidth/size x {_RIVAL_EFFICIENCY}": _RIVAL_EFFICIENCY * roof, "rival: plain roofline": roof}
    peak = chip.fp16_flop_per_s or chip.fp32_flop_per_s
    return {"rival: plain roofline": peak * priced.row.tokens / work.weight_flop} if peak else {}


def score_published(
    rows: Iterable[Mapping[str, str | None]],
    catalog: Catalog,
    *,
    coefficients: Coefficients | None = None,
    created_at: str = "",
    tool_version: str = "",
) -> Accuracy:
    """Predict every row of a published table and sum up the errors by group."""
    scorer = Scorer(catalog, coefficients)
    scored: list[Scored] = []
    left_out: list[SkippedRow] = []
    for fields in rows:
        try:
            scored.append(scorer.score(fields))
        except RowError as error:
            left_out.append(skipped(fields, error))
    return Accuracy(
        rows=tuple(_row(one) for one in scored),
        summary=summarise(scored),
        skipped=tuple(left_out),
        notes=_notes(scored, left_out),
        created_at=created_at,
        tool_version=tool_version,
    )


def _row(scored: Scored) -> AccuracyRow:
    row = scored.priced.row
    return AccuracyRow(
        hardware=row.hardware,
        backend=row.backend,
        model_id=row.model_id,
        quant=row.quant,
        test=row.test,
        measured=row.tokens_per_s,
        predicted=scored.predicted,
        error_frac=scored.error_frac,
    )


def _notes(scored: Sequence[Scored], left_out: Sequence[SkippedRow]) -> tuple[str, ...]:
    fitted_on = sum(one.level == "chip" for one in scored)
    notes = [f"{len(scored)} rows predicted, {len(left_out)} left out"]
    if fitted_on:
        notes.append(
            f"{fitted_on} rows are of chips that the packaged coefficients were fitted on; "
            "errors on chips left out of the fit: benchmarks/fit_datasheet.py"
        )
    return tuple(notes)


def summarise(scored: Sequence[Scored]) -> tuple[AccuracySummary, ...]:
    """Errors of all rows, by backend, quantisation, file size and nearness, and of the rivals' formulas."""
    lines = [line for group in _groups(scored) for line in _by_phase(*group)]
    formulas = sorted({name for one in scored for name in one.rivals})
    for formula in formulas:
        told = [one for one in scored if formula in one.rivals]
        lines += _by_phase(formula, told, partial(_said_by, formula))
    return tuple(lines)


def _groups(scored: Sequence[Scored]) -> list[tuple[str, Sequence[Scored]]]:
    groups: list[tuple[str, Sequence[Scored]]] = [("all", scored)]
    labels: tuple[tuple[str, Callable[[Scored], str]], ...] = (
        ("backend", lambda one: one.priced.row.backend),
        ("quant", lambda one: one.priced.row.quant),
        ("file", _size_label),
        ("nearest runs", lambda one: f"same {one.level}" if one.level != "unknown" else "none"),
    )
    for name, label in labels:
        values = sorted({label(one) for one in scored})
        groups += [(f"{name}: {value}", [one for one in scored if label(one) == value]) for value in values]
    return groups


def _size_label(scored: Scored) -> str:
    size = scored.priced.artifact.file_bytes / GIB
    low, high = next((low, high) for low, high in _SIZES if low <= size < high)
    return f"{low:.0f}-{high:.0f} GiB" if high < float("inf") else f"over {low:.0f} GiB"


def _said_by(formula: str, scored: Scored) -> Interval:
    tokens_per_s = scored.rivals[formula]
    return Interval(low=tokens_per_s, mid=tokens_per_s, high=tokens_per_s)


def _by_phase(
    group: str,
    scored: Sequence[Scored],
    predicted: Callable[[Scored], Interval] = lambda one: one.predicted,
) -> list[AccuracySummary]:
    lines = []
    for phase in ("decode", "prefill"):
        own = [one for one in scored if one.priced.row.phase == phase]
        if own:
            pairs = [(predicted(one), one.priced.row.tokens_per_s) for one in own]
            lines.append(summarise_errors(group, phase, pairs))
    return lines


def summarise_errors(group: str, phase: str, pairs: Sequence[tuple[Interval, float]]) -> AccuracySummary:
    """Errors of predictions against measurements (of the same unit); at least one pair."""
    errors = [predicted.mid / measured - 1.0 for predicted, measured in pairs]
    misses = sorted(abs(error) for error in errors)
    return AccuracySummary(
        group=group,
        phase=phase,
        n=len(pairs),
        median_ape=statistics.median(misses),
        p90_ape=misses[min(len(misses) - 1, int(0.9 * len(misses)))],
        coverage=sum(predicted.holds(measured) for predicted, measured in pairs) / len(pairs),
        bias=statistics.median(errors),
    )
