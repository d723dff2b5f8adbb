"""A recommendation: the pick, the ranked table, what was left out."""

from advisor.types import Choice, DeviceMemory, Estimate, Recommendation, Validation, ValidationStatus
from reports import answers, pace, phrases, wording
from reports import format as fmt
from reports.blocks import (
    Block,
    Bullets,
    Command,
    Facts,
    Fold,
    Grid,
    Headline,
    MemoryBar,
    MemoryPart,
    Notice,
    Paragraph,
    Picks,
    Section,
    Stat,
    Stats,
    Tone,
)
from reports.text import plain, plain_block

ROWS_SHOWN = 25
_REJECTED_SHOWN = 12
_CLOSE_FRAC = 0.10

PICK_NUMERIC = frozenset({0, 3, 4, 5, 6, 8})


def headline(recommendation: Recommendation, validations: tuple[Validation, ...]) -> Headline:
    """What to run, in one breath, with its figures and its proof."""
    task, hardware = wording.task(recommendation.task), plain(recommendation.hardware)
    kicker = f"Best model for {task} on {hardware}"
    if not recommendation.ranked:
        lead = "No model passes the limits on this machine. Below: what came closest and what would change it."
        return Headline(kicker=kicker, title="Nothing fits", lead=lead)
    choice = recommendation.ranked[0]
    estimate = choice.estimate
    blocks: list[Block] = [_stats(choice)]
    proof = _proof(estimate, validations)
    if proof is not None:
        blocks.append(proof)
    blocks += [Bullets(tuple(map(phrases.capitalised, choice.reasons))), *_memory_bars(estimate)]
    if estimate.warnings:
        blocks.append(Notice(" ".join(map(wording.estimate_warning, estimate.warnings))))
    if choice.command:
        blocks.append(Command(plain_block(choice.command)))
    return Headline(
        kicker=kicker,
        title=f"{phrases.choice_name(choice)} {plain(estimate.quant_id)}",
        lead=_in_words(recommendation, choice),
        blocks=tuple(blocks),
    )


def _in_words(recommendation: Recommendation, choice: Choice) -> str:
    considered = recommendation.considered_count or len(recommendation.ranked) + len(recommendation.rejected)
    best = "finds best here" if pace.reads_only(recommendation.task) else "promises the most useful answers here"
    return f"Of {phrases.counted(considered, 'model')}, it {best}: {pace.in_words(choice)}."


def _stats(choice: Choice) -> Stats:
    estimate = choice.estimate
    task = estimate.workload.task
    speed, first = pace.speed(estimate), estimate.first_token_s
    quality_note = f"{fmt.score_range(choice.quality.low, choice.quality.high)} of 100"
    if choice.quality.imputed:
        quality_note += ", inferred"
    first_value, first_unit = fmt.duration_parts(first.mid)
    return Stats(
        (
            Stat(label="Speed", value=fmt.number(speed.mid), unit=pace.unit(task), note=fmt.edges(speed)),
            Stat(label=pace.wait_name(task), value=first_value, unit=first_unit, note=fmt.duration_edges(first)),
            Stat(label="Quality", value=fmt.points(choice.quality.mid), note=quality_note),
            Stat(
                label="Memory",
                value=fmt.gib(estimate.memory.total_bytes).removesuffix(" GiB"),
                unit="GiB",
                note="fits" if estimate.memory.fits else "does not fit",
                tone=Tone.PLAIN if estimate.memory.fits else Tone.BAD,
            ),
        )
    )


def _proof(estimate: Estimate, validations: tuple[Validation, ...]) -> Notice | None:
    """The measurement of this very pick, if a validation holds one."""
    for record in (record for validation in validations for record in validation.records):
        same = (record.estimate.model_id, record.estimate.quant_id) == (estimate.model_id, estimate.quant_id)
        measured = record.observed.decode_tokens_per_s
        if not same or record.status != ValidationStatus.OK or measured is None:
            continue
        error_frac = record.error_frac.get("decode_tokens_per_s")
        prompt_frac = record.error_frac.get("prefill_tokens_per_s", 0.0)
        close = error_frac is not None and abs(error_frac) <= _CLOSE_FRAC and abs(prompt_frac) <= _CLOSE_FRAC
        text = (
            f"Predicted {fmt.rate(record.estimate.decode_tokens_per_s.mid)}, measured {fmt.rate(measured)} with "
            f"{wording.weights_kind(record.weights)}: off by {fmt.change(error_frac)}."
        )
        if abs(prompt_frac) > _CLOSE_FRAC:
            text += f" Reading prompts: off by {fmt.change(prompt_frac)}."
        return Notice(text, Tone.GOOD if close and not record.polluted else Tone.CAUTION)
    return None


def _memory_bars(estimate: Estimate) -> tuple[MemoryBar, ...]:
    return tuple(memory_bar(device) for device in estimate.memory.devices)


def memory_bar(device: DeviceMemory) -> MemoryBar:
    """What a device must hold, to the scale of what it must hold or has, whichever is larger."""
    free = device.available_bytes
    span = max(device.total_bytes, free or 0, 1)
    parts = tuple(
        MemoryPart(role=role, label=f"{label} {fmt.gib(size)}", frac=size / span)
        for role, label, size in (
            ("weights", "weights", device.weights_bytes),
            ("kv", "KV cache", device.kv_bytes),
            ("compute", "working space", device.compute_bytes),
            ("overhead", "overhead", device.overhead_bytes),
        )
        if size
    )
    fits = free is None or device.total_bytes <= free
    total = fmt.gib(device.total_bytes)
    if free is None:
        verdict = f"{total}, free memory unknown"
    elif fits:
        verdict = f"{total} of {fmt.gib(free)} free"
    else:
        verdict = f"{total}, but only {fmt.gib(free)} free"
    return MemoryBar(
        label=plain(device.device_id),
        parts=parts,
        limit_frac=None if free is None else free / span,
        verdict=verdict,
        tone=Tone.GOOD if fits else Tone.BAD,
    )


def pick_headers(task: str) -> tuple[str, ...]:
    """The columns of the ranked table."""
    speed, wait = f"Speed, {pace.unit(task)}", pace.wait_name(task)
    return "#", "Model", "Quant", "Quality", speed, wait, "Memory", "Known by", "Score"


def pick_row(choice: Choice) -> tuple[str, ...]:
    """One line of the ranked table; cells follow `pick_headers`."""
    estimate = choice.estimate
    mark = "≈" if choice.about_equal_to_rank else ""
    return (
        f"{mark}{choice.rank}",
        phrases.choice_name(choice),
        plain(estimate.quant_id),
        phrases.quality(choice.quality),
        fmt.interval(pace.speed(estimate)),
        fmt.duration(estimate.first_token_s.mid),
        fmt.gib(estimate.memory.total_bytes),
        wording.basis(estimate.basis),
        fmt.number(choice.score),
    )


def picks_section(recommendation: Recommendation, document_index: int, suffix: str = "") -> Section:
    """The ranked table."""
    blocks: list[Block] = []
    limits = phrases.limits(recommendation.limits)
    asked = f"Asked for: {phrases.workload(recommendation.workload)}."
    blocks.append(Paragraph(f"{asked} Limits: {limits}." if limits else asked))
    if recommendation.ranked:
        table = Grid(
            caption=f"Picks for {wording.task(recommendation.task)}{suffix}",
            headers=pick_headers(recommendation.task),
            rows=tuple(pick_row(choice) for choice in recommendation.ranked[:ROWS_SHOWN]),
            numeric=PICK_NUMERIC,
            row_headers=False,
        )
        blocks.append(Picks(document_index=document_index, table=table, total_count=len(recommendation.ranked)))
        blocks.append(Paragraph(_legend(recommendation)))
    else:
        blocks.append(Notice("Nothing is ranked: no model passes the limits.", Tone.BAD))
    return Section(
        section_id=f"picks-{document_index}",
        title=f"All picks{suffix}",
        nav="Picks",
        blocks=tuple(blocks),
    )


def _legend(recommendation: Recommendation) -> str:
    notes = ["Ranges in brackets hold 80 % of outcomes."]
    if any(choice.quality.imputed for choice in recommendation.ranked):
        notes.append("* quality inferred from related models, not measured.")
    if any(choice.about_equal_to_rank for choice in recommendation.ranked):
        notes.append("≈ about as good as a pick above it, within the ranges.")
    return " ".join(notes)


def rejected_section(recommendation: Recommendation, document_index: int, suffix: str = "") -> Section | None:
    """Models that are not ranked, and why; None if there are none."""
    rejected = recommendation.rejected
    if not rejected:
        return None

    def grid(start: int, end: int | None, caption: str) -> Grid:
        return Grid(
            caption=caption,
            headers=answers.REJECTION_HEADERS,
            rows=tuple(map(answers.rejection_cells, rejected[start:end])),
        )

    blocks: list[Block] = [grid(0, _REJECTED_SHOWN, "Models that are not ranked")]
    if len(rejected) > _REJECTED_SHOWN:
        rest = grid(_REJECTED_SHOWN, None, "Further models that are not ranked")
        blocks.append(Fold(f"{fmt.count(len(rejected) - _REJECTED_SHOWN)} more", (rest,)))
    return Section(
        section_id=f"rejected-{document_index}",
        title=f"Not ranked{suffix}, and why",
        nav="Why not",
        blocks=tuple(blocks),
    )


def provenance(recommendation: Recommendation) -> Facts:
    """Where a recommendation's figures come from."""
    rows = [
        ("Hardware", plain(recommendation.hardware)),
        ("Made", fmt.clock(recommendation.created_at)),
        ("Profile", plain(recommendation.profile_id)),
        ("Catalog", plain(recommendation.catalog_version)),
        ("Calibration", plain(recommendation.calibration_id or "none")),
        ("Models considered", fmt.count(recommendation.considered_count or None)),
    ]
    return Facts(tuple(rows))
