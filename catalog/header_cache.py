"""Parsed headers of local model files, kept so that a file is walked through once.

A header is taken from the cache only for the same path, size and time of change. An entry that is damaged in any way
counts as none: the file is read again. Entries are few and small, and the oldest make room for new ones.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.gguf_header import Header, HeaderTensor, MetadataValue

_FORMAT = 1
_MAX_ENTRIES_COUNT = 256
_MAX_ENTRY_BYTES = 4 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What tells one state of a file from another."""

    path: str
    size_bytes: int
    changed_ns: int


def stamp_of(path: str, status: os.stat_result) -> Stamp:
    """The stamp of a file in the state that the system reports."""
    return Stamp(path=os.path.abspath(path), size_bytes=status.st_size, changed_ns=status.st_mtime_ns)  # noqa: PTH100


@dataclass(frozen=True, slots=True)
class HeaderCache:
    """Headers in a folder of their own, one file for each model file."""

    folder: Path

    def get(self, stamp: Stamp) -> Header | None:
        """The header of a file in this state, or None where it is not known."""
        try:
            with self._entry(stamp).open("rb") as file:
                content = file.read(_MAX_ENTRY_BYTES + 1)
            digest, _, body = content.partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                return None
            entry = json.loads(body)
            return _header(entry["header"]) if entry["stamp"] == _written(stamp) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def put(self, stamp: Stamp, header: Header) -> None:
        """Keep a header. Where the folder cannot be written nothing is kept: the cache only saves time."""
        body = json.dumps({"stamp": _written(stamp), "header": _plain(header)}, separators=(",", ":")).encode()
        if len(body) > _MAX_ENTRY_BYTES - 100:
            return
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room()
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".header-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                Path(temporary).replace(self._entry(stamp))
            finally:
                Path(temporary).unlink(missing_ok=True)

    def _entry(self, stamp: Stamp) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(stamp.path)).hexdigest()[:32]}.json"

    def _make_room(self) -> None:
        entries = [(path.stat().st_mtime_ns, path) for path in self.folder.iterdir()]
        for _, path in sorted(entries)[: max(0, len(entries) - _MAX_ENTRIES_COUNT + 1)]:
            path.unlink(missing_ok=True)


def _written(stamp: Stamp) -> list[str | int]:
    return [_FORMAT, ascii(stamp.path), stamp.size_bytes, stamp.changed_ns]


def _plain(header: Header) -> dict[str, Any]:
    return {
        "metadata": dict(header.metadata),
        "array_counts": dict(header.array_counts),
        "tensors": [[t.name, t.shape, t.type_name, t.offset_bytes, t.size_bytes] for t in header.tensors],
        "data_offset_bytes": header.data_offset_bytes,
        "data_bytes": header.data_bytes,
    }


def _header(plain: Mapping[str, Any]) -> Header:
    return Header(
        metadata={key: _value(value) for key, value in plain["metadata"].items()},
        array_counts=dict(plain["array_counts"]),
        tensors=tuple(
            HeaderTensor(name=name, shape=tuple(shape), type_name=kind, offset_bytes=offset, size_bytes=size)
            for name, shape, kind, offset, size in plain["tensors"]
        ),
        data_offset_bytes=plain["data_offset_bytes"],
        data_bytes=plain["data_bytes"],
    )


def _value(value: Any) -> MetadataValue:
    return tuple(value) if isinstance(value, list) else value
