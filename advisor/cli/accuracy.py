"""``advisor accuracy``: how far predictions are off, on published speeds or live on this machine."""

import csv
import gzip
import io
import zlib
from collections.abc import Mapping
from functools import partial

import click

from advisor import __version__
from advisor.cli import _shared
from advisor.errors import AdvisorError, BadRequestError

_MAX_BYTES = 64 << 20
_MAX_ROWS = 200_000
_GZIP_MAGIC = b"\x1f\x8b"


@click.command("accuracy")
@click.option(
    "--published",
    "published_path",
    metavar="FILE.csv",
    help="Predict the rows of a table of published speeds (- is stdin).",
)
@click.option("--local", "local", is_flag=True, help="Calibrate, predict and measure here, interleaved.")
@click.option("--shapes", "shapes_path", metavar="FILE.json", help="Shapes to measure with --local.")
@_shared.output_option
@_shared.json_option
def command(
    published_path: str | None, local: bool, shapes_path: str | None, output_path: str | None, as_json: bool
) -> None:
    """Show how far predictions are off.

    FILE.csv has the columns hardware, backend, model_id, quant, test (ppN, tgN, either with @dDEPTH) and
    tokens_per_s, and may have date and file_size_gib. Rows that cannot be predicted are listed with a reason.
    """
    from advisor.clock import utc_now
    from reports.console import print_accuracy

    if (published_path is None) == (not local):
        raise click.UsageError("give either --published FILE.csv or --local")
    if shapes_path is not None and not local:
        raise click.UsageError("--shapes goes with --local")
    now = utc_now()
    if published_path is not None:
        from advisor.datasheets.accuracy import score_published
        from catalog.load import load_catalog

        document = score_published(read_rows(published_path), load_catalog(), created_at=now, tool_version=__version__)
    else:
        from advisor.cli._local_accuracy import measure

        document = measure(shapes_path, quiet=as_json, created_at=now, tool_version=__version__)
    _shared.deliver(document, as_json=as_json, output_path=output_path, show=partial(print_accuracy, document))


def read_rows(path: str) -> list[Mapping[str, str | None]]:
    """Rows of a CSV file, plain or gzipped; "-" is stdin.

    Raises:
        AdvisorError: if the file cannot be read.
        BadRequestError: if it is no such table.
    """
    from advisor.datasheets.published import COLUMNS

    text = _decoded(_read_bytes(path), path)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header = [(name or "").strip() for name in reader.fieldnames or []]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise BadRequestError(f"{path}: no column {', '.join(missing)}; expected {', '.join(COLUMNS)}")
        reader.fieldnames = header
        rows: list[Mapping[str, str | None]] = []
        for row in reader:
            rows.append({name: value for name, value in row.items() if isinstance(name, str)})
            if len(rows) > _MAX_ROWS:
                raise BadRequestError(f"{path}: more than {_MAX_ROWS} rows; split the table")
    except csv.Error as error:
        raise BadRequestError(f"{path}: line {reader.line_num}: not CSV ({error})") from None
    return rows


def _read_bytes(path: str) -> bytes:
    data = _shared.read_bytes(path, _MAX_BYTES)
    if data.startswith(_GZIP_MAGIC):
        try:
            with gzip.open(io.BytesIO(data)) as packed:
                data = packed.read(_MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise AdvisorError(f"{path}: cannot be unpacked ({error})") from None
    if len(data) > _MAX_BYTES:
        raise BadRequestError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; expected a table of speeds")
    return data


def _decoded(data: bytes, path: str) -> str:
    """UTF-8 with or without a mark, or UTF-16 with one; stray bytes of other encodings become marks."""
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadRequestError(f"{path}: binary data; expected a CSV table")
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return data.decode(encoding, errors="replace")
