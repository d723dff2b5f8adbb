"""Reading what a safetensors checkpoint holds, from its header and index alone.

Format: an eight-byte little-endian length, then that much JSON naming each tensor's type, shape and place.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from catalog.files import open_file, read_file
from catalog.gguf_header import HeaderError, printable

__all__ = ["Checkpoint", "HeaderError", "StoredTensor", "read_safetensors"]

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100 * 1000**2  # the format's own bound
_MAX_INDEX_BYTES = 64 * 1024**2
_MAX_SHARDS_COUNT = 1024
_MAX_DIMENSIONS = 16
_MAX_TENSOR_PARAMS = 1 << 48
_BITS_BY_TYPE = {
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "F32": 32,
    "I32": 32,
    "U32": 32,
    "F16": 16,
    "BF16": 16,
    "I16": 16,
    "U16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I8": 8,
    "U8": 8,
    "BOOL": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """One tensor of a checkpoint; ``shape`` in the file's order (outermost first)."""

    name: str
    type_name: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint's tensors. ``file_bytes`` covers all its files."""

    tensors: tuple[StoredTensor, ...]
    metadata: Mapping[str, str]
    file_bytes: int


def read_safetensors(path: str | os.PathLike[str]) -> Checkpoint:
    """The tensors of a safetensors file, or of all files of a ``*.safetensors.index.json`` or a folder.

    Raises:
        HeaderError: if a file is missing, damaged or shorter than its tensors; one line says where.
    """
    parts = _files(Path(path))
    tensors: list[StoredTensor] = []
    metadata: dict[str, str] = {}
    size = 0
    for part in parts:
        found, stated, file_bytes = _read_file(part)
        tensors += found
        metadata |= stated
        size += file_bytes
    return Checkpoint(tensors=tuple(tensors), metadata=metadata, file_bytes=size)


def _files(path: Path) -> list[Path]:
    """The checkpoint's files, in order of their names."""
    if path.is_dir():
        index = path / "model.safetensors.index.json"
        if index.is_file():
            return _indexed(index)
        single = path / "model.safetensors"
        found = [single] if single.is_file() else sorted(path.glob("*.safetensors"))[:_MAX_SHARDS_COUNT]
        if not found:
            raise HeaderError(f"{printable(path.name)}: folder: holds no .safetensors file; check the path")
        return found
    return _indexed(path) if path.name.endswith(".json") else [path]


def _indexed(index: Path) -> list[Path]:
    raw = _parse_json(index.name, _read(index, _MAX_INDEX_BYTES))
    mapping = raw.get("weight_map")
    names = set(mapping.values()) if isinstance(mapping, dict) and all(map(_is_file_name, mapping.values())) else set()
    if not names or len(names) > _MAX_SHARDS_COUNT:
        raise HeaderError(f"{printable(index.name)}: weight_map: names no files; download the index again")
    return [index.parent / name for name in sorted(names)]


def _is_file_name(value: object) -> bool:
    """Whether an index entry names a file beside the index, and no path elsewhere."""
    return isinstance(value, str) and 0 < len(value) < 256 and not set(value) & set("/\\\0:") and value != ".."


def _read(path: Path, limit: int) -> bytes:
    try:
        content = read_file(path, limit)
    except OSError as error:
        raise HeaderError(f"{printable(path.name)}: file: {error.strerror or error}; check the path") from error
    if len(content) > limit:
        raise HeaderError(f"{printable(path.name)}: file: larger than {limit >> 20} MiB; check the path")
    return content


def _parse_json(name: str, content: bytes) -> Mapping[str, Any]:
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"{printable(name)}: header: is not JSON; download the file again") from error
    if not isinstance(raw, dict):
        raise HeaderError(f"{printable(name)}: header: is no JSON object; download the file again")
    return raw


def _read_file(path: Path) -> tuple[list[StoredTensor], dict[str, str], int]:
    name = path.name
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > min(_MAX_HEADER_BYTES, size - _LENGTH_BYTES):
                raise HeaderError(f"{printable(name)}: header length: {length} bytes are not there; download it again")
            raw = _parse_json(name, file.read(length))
    except OSError as error:
        raise HeaderError(f"{printable(name)}: file: {error.strerror or error}; check the path") from error
    room = size - _LENGTH_BYTES - length
    stated = raw.get("__metadata__")
    metadata = {k: v for k, v in stated.items() if isinstance(v, str)} if isinstance(stated, dict) else {}
    tensors = [_tensor(name, key, entry, room) for key, entry in raw.items() if key != "__metadata__"]
    return tensors, metadata, size


def _tensor(file_name: str, key: str, entry: object, room_bytes: int) -> StoredTensor:
    where = f"{printable(file_name)}: tensor {printable(key)}"
    fields = entry if isinstance(entry, dict) else {}
    type_name, shape, place = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not (isinstance(type_name, str) and _are_counts(shape) and _are_counts(place) and len(place) == 2):
        raise HeaderError(f"{where}: dtype, shape or data_offsets are malformed; download the file again")
    bits = _BITS_BY_TYPE.get(type_name)
    if bits is None:
        raise HeaderError(f"{where}: type {printable(type_name)} is unknown; update the advisor")
    start, end = place
    params = math.prod(shape[:_MAX_DIMENSIONS])
    if len(shape) > _MAX_DIMENSIONS or params > _MAX_TENSOR_PARAMS or end - start != params * bits // 8:
        raise HeaderError(f"{where}: its place and shape disagree; download the file again")
    if end > room_bytes:
        raise HeaderError(f"{where}: the file ends {end - room_bytes} bytes before it does; download the file again")
    return StoredTensor(name=key, type_name=type_name, shape=tuple(shape), size_bytes=end - start)


def _are_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_TENSOR_PARAMS for item in value)
