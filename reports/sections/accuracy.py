"""How far predictions are off over many machines or shapes."""

from advisor.types import Accuracy
from reports import format as fmt
from reports import phrases
from reports.blocks import Block, Bullets, Fold, Grid, Headline, Notice, Section
from reports.text import plain

_ROWS_SHOWN = 200


def headline(accuracy: Accuracy) -> Headline:
    """The overall error."""
    total = next((line for line in accuracy.summary if line.n), None)
    title = f"Half of the predictions are within {fmt.percent(total.median_ape)}" if total else "No predictions"
    return Headline(
        kicker="How far predictions are off",
        title=title,
        lead=f"{phrases.counted(len(accuracy.rows), 'prediction')} against measurements; first group shown, "
        "all groups below.",
    )


def section(accuracy: Accuracy, document_index: int) -> Section:
    """Summaries by group, then rows, then what was skipped."""
    blocks: list[Block] = []
    if accuracy.summary:
        blocks.append(summary_grid(accuracy))
    if accuracy.rows:
        blocks.append(Fold(f"Rows, furthest off first ({fmt.count(len(accuracy.rows))})", (_rows_grid(accuracy),)))
    else:
        blocks.append(Notice("The document holds no rows."))
    if accuracy.skipped:
        reasons = tuple(sorted({plain(skipped.reason) for skipped in accuracy.skipped}))
        summary = f"Not predicted ({phrases.counted(len(accuracy.skipped), 'row')})"
        blocks.append(Fold(summary, (Bullets(reasons),)))
    if accuracy.notes:
        blocks.append(Bullets(tuple(map(plain, accuracy.notes))))
    return Section(
        section_id=f"accuracy-{document_index}",
        title="How far predictions are off",
        nav="Accuracy",
        blocks=tuple(blocks),
    )


def summary_grid(accuracy: Accuracy) -> Grid:
    """Errors by group and phase."""
    rows = tuple(
        (
            plain(line.group),
            plain(line.phase),
            fmt.count(line.n),
            fmt.percent(line.median_ape),
            fmt.percent(line.p90_ape),
            fmt.percent(line.coverage),
            fmt.change(line.bias),
        )
        for line in accuracy.summary
    )
    headers = ("Group", "Phase", "Rows", "Median error", "90 % within", "In the 80 % range", "Bias")
    return Grid(caption="Errors by group", headers=headers, rows=rows, numeric=frozenset({2, 3, 4, 5, 6}))


def _rows_grid(accuracy: Accuracy) -> Grid:
    worst = sorted(accuracy.rows, key=lambda row: -abs(row.error_frac))[:_ROWS_SHOWN]
    rows = tuple(
        (
            f"{plain(row.hardware)} ({plain(row.backend)})",
            f"{phrases.short_name(row.model_id)} {plain(row.quant)}",
            plain(row.test),
            fmt.interval(row.predicted),
            fmt.number(row.measured),
            fmt.change(row.error_frac),
        )
        for row in worst
    )
    headers = ("Machine", "Model", "Test", "Predicted, tok/s", "Measured, tok/s", "Off by")
    return Grid(caption="Predictions, furthest off first", headers=headers, rows=rows, numeric=frozenset({3, 4, 5}))
