"""Compress raw facts into ``catalog/sources`` so that equal facts give equal bytes."""

import gzip
import lzma
from pathlib import Path


def pack_sources(raw_dir: Path, sources_dir: Path) -> list[Path]:
    """Compress every raw table (``.csv`` to ``.csv.gz``, ``.jsonl`` to ``.jsonl.xz``); JSON stays plain.

    Returns the files written.
    """
    written = []
    for raw in sorted(raw_dir.rglob("*")):
        target = sources_dir / raw.relative_to(raw_dir)
        if raw.suffix == ".csv":
            target = target.with_name(target.name + ".gz")
            data = gzip.compress(raw.read_bytes(), compresslevel=9, mtime=0)
        elif raw.suffix == ".jsonl":
            target = target.with_name(target.name + ".xz")
            data = lzma.compress(raw.read_bytes(), preset=9)
        elif raw.suffix == ".json":
            data = raw.read_bytes()
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        written.append(target)
    return written
