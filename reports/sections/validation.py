"""Predictions beside their measurements."""

from advisor.types import Interval, Validation, ValidationRecord, ValidationStatus
from reports import format as fmt
from reports import phrases, proof, wording
from reports.blocks import Block, Bullets, Facts, Fold, Grid, Headline, Notice, Section, Tone
from reports.text import plain

_SHORT_HEADERS = ("Model", "Generation", "Measured", "Off by", "Prompt", "Measured", "Off by", "Held", "Weights")
_HEADERS = ("Model", "What", "Predicted", "Measured", "Off by", "In range")
_RATE_METRICS = ("decode_tokens_per_s", "prefill_tokens_per_s")
_TIME_METRICS = ("first_token_s", "load_s")


def headline(validation: Validation) -> Headline:
    """How well the predictions held."""
    done = [record for record in validation.records if record.status == ValidationStatus.OK]
    held = [metric for record in done for metric in record.within_interval.values()]
    where = f" on {plain(validation.hardware)}" if validation.hardware else ""
    title = f"{sum(held)} of {len(held)} predictions held" if held else "Nothing was measured"
    return Headline(
        kicker=f"Predicted and measured{where}",
        title=title,
        lead=f"{phrases.counted(len(done), 'model')} loaded and timed, {fmt.clock(validation.created_at)}. "
        "A prediction holds if the measurement lies in its 80 % range.",
    )


def section(validation: Validation, document_index: int) -> Section:
    """Every record, and what failed."""
    done = [record for record in validation.records if record.status == ValidationStatus.OK]
    blocks: list[Block] = []
    if done:
        blocks.append(
            Grid(
                caption="Predicted and measured, tokens per second",
                headers=_SHORT_HEADERS,
                rows=tuple(map(_short_row, done)),
                numeric=frozenset(range(1, 7)),
            )
        )
    else:
        blocks.append(Notice("The document holds no measurement."))
    blocks += [_failure(record) for record in validation.records if record.status != ValidationStatus.OK]
    if validation.quality_deltas:
        blocks.append(Bullets(proof.delta_lines(validation)))
    busy = [phrases.estimate_name(record.estimate) for record in done if record.polluted]
    if busy:
        blocks.append(Notice(f"The machine was busy while measuring {', '.join(busy)}: read them as lower bounds."))
    if done:
        rows = tuple(row for record in done for row in _rows(record))
        every = Grid(caption="Every metric", headers=_HEADERS, rows=rows, numeric=frozenset({2, 3, 4}))
        blocks.append(Fold("Every metric, with load time and memory", (every,)))
        blocks.append(Fold("Engine and answers", tuple(block for record in done for block in _details(record))))
    return Section(
        section_id=f"validation-{document_index}",
        title="Predicted and measured",
        nav="Proof",
        lead="Each model was loaded in its engine and timed; the prediction was made before.",
        blocks=tuple(blocks),
    )


def _name(record: ValidationRecord) -> str:
    return f"{phrases.short_name(record.estimate.model_id)} {plain(record.estimate.quant_id)}"


def _short_row(record: ValidationRecord) -> tuple[str, ...]:
    """Speeds of one record, and how many of its predictions held."""
    cells = [_name(record)]
    for metric in _RATE_METRICS:
        measured: float | None = getattr(record.observed, metric)
        span: Interval = getattr(record.estimate, metric)
        cells += [fmt.interval(span), fmt.number(measured), fmt.change(record.error_frac.get(metric))]
    held = record.within_interval.values()
    cells.append(f"{sum(held)} of {len(held)}" if held else fmt.UNKNOWN)
    cells.append(plain(record.weights).replace("_", " "))
    return tuple(cells)


def _rows(record: ValidationRecord) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for metric in (*_RATE_METRICS, *_TIME_METRICS, "peak_memory_bytes"):
        measured: float | None = getattr(record.observed, metric)
        if measured is None:
            continue
        within = record.within_interval.get(metric)
        rows.append(
            (
                _name(record),
                wording.metric(metric),
                _predicted(record, metric),
                phrases.metric_value(metric, measured),
                fmt.change(record.error_frac.get(metric)),
                fmt.UNKNOWN if within is None else ("yes" if within else "no"),
            )
        )
    return rows


def _predicted(record: ValidationRecord, metric: str) -> str:
    if metric == "peak_memory_bytes":
        return fmt.gib(record.estimate.memory.total_bytes)
    span: Interval = getattr(record.estimate, metric)
    return f"{fmt.interval(span)} tok/s" if metric in _RATE_METRICS else fmt.duration_interval(span)


def _failure(record: ValidationRecord) -> Notice:
    status = wording.VALIDATION_STATUSES.get(record.status, plain(record.status))
    reason = plain(record.reason or "no reason recorded")
    tone = Tone.BAD if record.status == ValidationStatus.FAILED else Tone.CAUTION
    return Notice(f"{phrases.estimate_name(record.estimate)} {status}: {reason}.", tone)


def _details(record: ValidationRecord) -> tuple[Block, ...]:
    engine = " ".join(filter(None, (record.engine.id, record.engine.version, record.engine.build)))
    rows = [
        ("Model", phrases.estimate_name(record.estimate)),
        ("Engine", plain(engine)),
        ("Weights", wording.weights_kind(record.weights)),
        *((f"Memory, {plain(name)}", fmt.gib(size)) for name, size in record.engine_memory_bytes.items()),
    ]
    if record.answer:
        rows.append(("It answered", plain(record.answer, 600)))
    blocks: list[Block] = [Facts(tuple(rows))]
    told = (*proof.record_lines(record), *map(plain, record.notes))
    if told:
        blocks.append(Bullets(told))
    return tuple(blocks)
