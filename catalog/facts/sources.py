"""Read the raw facts in ``catalog/sources``."""

import csv
import gzip
import io
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCES_DIR = Path(__file__).resolve().parent.parent / "sources"


def read_models(sources_dir: Path = SOURCES_DIR) -> list[dict[str, Any]]:
    """Every raw model record, in file order; the hand-kept ones of ``models_more.jsonl`` come last."""
    with lzma.open(sources_dir / "models.jsonl.xz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    more = (sources_dir / "models_more.jsonl").read_text(encoding="utf-8")
    return records + [json.loads(line) for line in more.splitlines()]


def read_table(name: str, sources_dir: Path = SOURCES_DIR) -> Iterator[dict[str, str]]:
    """The rows of one compressed table, e.g. ``chips`` or ``published/llama_bench``; cells are text."""
    data = gzip.decompress((sources_dir / f"{name}.csv.gz").read_bytes())
    yield from csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))


def read_plain_table(name: str, sources_dir: Path = SOURCES_DIR) -> list[dict[str, str]]:
    """The rows of one hand-kept table, stored as plain CSV so that it can be corrected by anyone."""
    text = (sources_dir / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))
