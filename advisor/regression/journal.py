"""A file of JSON lines that survives being cut off at any byte: what was appended before stays readable.

A suite run appends one line per timed visit, so a crash, a power cut or Ctrl-C costs the visit that
was under way and nothing else.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError

MAX_JOURNAL_BYTES = 256 * 1024 * 1024


class JournalError(AdvisorError):
    """A journal cannot be written or read; the message names the file."""


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add one line and put it on the disk before returning.

    Raises:
        JournalError: if the file cannot be written.
    """
    line = json.dumps(entry, separators=(",", ":"), allow_nan=False) + "\n"
    try:
        with path.open("a+b") as file:
            _end_line(file)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise JournalError(
            f"{path}: cannot be written ({error.strerror or error}); what was recorded is kept"
        ) from None


def _end_line(file: Any) -> None:
    """Close a line that a crash cut off, so that the next one starts by itself."""
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        file.write(b"\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Every whole entry, in order; lines that were cut off are left out. Empty if there is no file.

    Raises:
        JournalError: if the file is too large or cannot be read.
    """
    try:
        if not path.exists():
            return []
        if path.stat().st_size > MAX_JOURNAL_BYTES:
            raise JournalError(f"{path}: larger than {MAX_JOURNAL_BYTES >> 20} MiB; not a journal of advisor")
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(f"{path}: cannot be read ({error.strerror or error})") from None
    return [entry for line in lines if (entry := _entry(line)) is not None]


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
