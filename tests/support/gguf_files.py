"""GGUF files for tests: written byte by byte, so that they can be wrong where a test wants it."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from catalog.ggml_types import TYPES, tensor_bytes

ALIGNMENT = 32


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, value: object) -> bytes:
    """A key and its value, typed as llama.cpp expects: bool, uint32, float32, string or an array."""
    return text(key) + _value(value)


def _value(value: object) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    kind = _value(value[0])[:4]
    return struct.pack("<I", 9) + kind + struct.pack("<Q", len(value)) + b"".join(_value(item)[4:] for item in value)


def header(metadata: Mapping[str, object], tensors: Sequence[tuple[str, tuple[int, ...], str]]) -> tuple[bytes, int]:
    """The bytes up to the first tensor (aligned), and the size of all tensors' data."""
    offset, infos = 0, []
    for name, shape, type_name in tensors:
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos.append(text(name) + dims + struct.pack("<IQ", TYPES[type_name].number, offset))
        offset += -(-tensor_bytes(type_name, shape) // ALIGNMENT) * ALIGNMENT
    pairs = b"".join(pair(key, value) for key, value in metadata.items())
    start = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + pairs + b"".join(infos)
    return start + b"\0" * (-len(start) % ALIGNMENT), offset


def write_sparse(
    path: Path, metadata: Mapping[str, object], tensors: Sequence[tuple[str, tuple[int, ...], str]]
) -> Path:
    """A file with a true header whose weights are a hole: any size, no space."""
    start, data_bytes = header(metadata, tensors)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + data_bytes)
    return path


def describe(model, types: Sequence[str] | None = None, **more: object):
    """Metadata and typed tensors of a model, ready for `write_sparse`; F16 unless types are given."""
    from catalog.recipes import tensor_types
    from catalog.tensors import gguf_metadata, list_tensors

    tensors = list_tensors(model)
    types = types or tensor_types(model, tensors, "F16")
    metadata = {
        **gguf_metadata(model),
        "tokenizer.ggml.model": "no_vocab",
        "tokenizer.ggml.token_type_count": 2,
        **more,
    }
    return metadata, [(t.name, t.shape, kind) for t, kind in zip(tensors, types, strict=True)]
