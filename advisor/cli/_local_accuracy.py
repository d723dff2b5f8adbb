"""The live half of ``advisor accuracy``: shapes from a file or the usual ones, measured here."""

import json
from typing import TYPE_CHECKING

from advisor.cli import _shared
from advisor.errors import AdvisorError, BadRequestError
from advisor.types import Accuracy, SkippedRow

if TYPE_CHECKING:
    from advisor.calibration.local_accuracy import Bench
    from advisor.calibration.shapes import Shape
    from probes.types import HardwareProfile

_MAX_BYTES = 8 << 20
_NO_SHAPES: "tuple[tuple[Shape, ...], tuple[SkippedRow, ...]]" = ((), ())


def measure(shapes_path: str | None, *, quiet: bool, created_at: str, tool_version: str) -> Accuracy:
    """Calibrate, predict and measure in one interleaved run.

    Raises:
        AdvisorError: if the shapes cannot be read or the engine cannot run.
    """
    from advisor.calibration.calibrate import engine_key
    from advisor.calibration.local_accuracy import measure_accuracy, summarise
    from advisor.calibration.shapes import default_shapes, read_shapes
    from advisor.cli._machine import this_profile
    from advisor.cli._shared import Progress
    from catalog.load import load_catalog

    entries = None if shapes_path is None else _read_json(shapes_path)
    if engine_key() is None:
        raise AdvisorError(
            "llama-cpp-python is not installed, so nothing can be measured here;"
            " install it with: pip install 'model-fit-advisor[llama-cpp]'"
        )
    catalog = load_catalog()
    shapes, unread = _NO_SHAPES if shapes_path is None else read_shapes(entries, catalog, shapes_path)
    if shapes_path is not None and not shapes:
        raise AdvisorError(f"{shapes_path}: no shape can be measured: {_reasons(unread)}")
    profile = this_profile(quiet=quiet)
    bench = _bench(profile)
    shapes = shapes or default_shapes(catalog, on_accelerator=bench.engine_name is not None)
    with Progress(f"measuring shapes on {bench.name}", quiet=quiet) as progress:
        measured = measure_accuracy(shapes, profile, bench, on_progress=progress.update)
    skipped = (*unread, *measured.skipped)
    if not measured.rows:
        raise AdvisorError(f"nothing could be measured here: {_reasons(skipped)}")
    return Accuracy(
        rows=tuple(row.row for row in measured.rows),
        summary=summarise(measured.rows),
        skipped=skipped,
        notes=measured.notes,
        created_at=created_at,
        tool_version=tool_version,
    )


def _bench(profile: "HardwareProfile") -> "Bench":
    """The first accelerator that the engine can use, else the processor."""
    from advisor.calibration.accelerators import usable_accelerators
    from advisor.calibration.calibrate import thread_counts
    from advisor.calibration.local_accuracy import accelerator_bench, processor_bench
    from advisor.engines.llamacpp import open_worker

    threads_count = thread_counts(profile)[0]
    with open_worker() as worker:
        found = usable_accelerators(profile, worker.info["devices"])
    if found:
        return accelerator_bench(profile, found[0], threads_count=threads_count)
    return processor_bench(profile, threads_count=threads_count)


def _reasons(skipped: tuple[SkippedRow, ...]) -> str:
    """Why, in a line of bounded length."""
    return "; ".join(f"{one.row.get('name', '?')}: {one.reason}" for one in skipped)[:400]


def _read_json(path: str) -> object:
    data = _shared.read_bytes(path, _MAX_BYTES)
    if len(data) > _MAX_BYTES:
        raise BadRequestError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; expected a list of shapes")
    try:
        entries: object = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{path}: not valid JSON ({str(error).splitlines()[0][:120]})") from None
    return entries
