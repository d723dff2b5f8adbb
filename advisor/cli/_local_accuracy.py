"""The live half of ``advisor accuracy``: shapes from a file or the usual ones, measured here."""

import json
from pathlib import Path

from advisor.accuracy import summarise_errors
from advisor.errors import AdvisorError, BadRequestError
from advisor.types import Accuracy, AccuracyRow, AccuracySummary

_MAX_BYTES = 8 << 20


def measure(shapes_path: str | None, *, quiet: bool, created_at: str, tool_version: str) -> Accuracy:
    """Calibrate, predict and measure in one interleaved run.

    Raises:
        AdvisorError: if the shapes cannot be read or the engine cannot run.
    """
    from advisor.calibration_run import thread_counts
    from advisor.cli._machine import this_profile
    from advisor.cli._shared import Progress
    from advisor.local_accuracy import default_shapes, measure_accuracy, read_shapes
    from catalog.load import load_catalog

    catalog = load_catalog()
    if shapes_path is None:
        shapes = default_shapes(catalog)
    else:
        shapes = read_shapes(_read_json(shapes_path), catalog, shapes_path)
    profile = this_profile(quiet=quiet)
    with Progress("measuring shapes here", quiet=quiet) as progress:
        rows, notes = measure_accuracy(
            shapes, profile, threads_count=thread_counts(profile)[0], on_progress=progress.update
        )
    if not rows:
        raise AdvisorError(f"nothing could be measured here: {'; '.join(notes)[:300] or 'no shapes'}")
    return Accuracy(rows=rows, summary=summarise(rows), notes=notes, created_at=created_at, tool_version=tool_version)


def summarise(rows: tuple[AccuracyRow, ...]) -> tuple[AccuracySummary, ...]:
    """Errors over all shapes and by quantisation."""
    quants = sorted({row.quant for row in rows})
    groups = [("all", rows), *((f"quant: {quant}", tuple(r for r in rows if r.quant == quant)) for quant in quants)]
    lines = []
    for group, own in groups:
        for phase, start in (("decode", "tg"), ("prefill", "pp")):
            pairs = [(row.predicted, row.measured) for row in own if row.test.startswith(start)]
            if pairs:
                lines.append(summarise_errors(group, phase, pairs))
    return tuple(lines)


def _read_json(path: str) -> object:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise AdvisorError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > _MAX_BYTES:
        raise BadRequestError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; expected a list of shapes")
    try:
        entries: object = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{path}: not valid JSON ({str(error).splitlines()[0][:120]})") from None
    return entries
