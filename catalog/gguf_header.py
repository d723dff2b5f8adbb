"""Parsing a GGUF header: untrusted bytes in, key-values and tensor infos out, everything bounded.

Format: docs/gguf.md of ggml (versions 2 and 3, little-endian). Vocabulary arrays are walked over, not kept.
"""

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from operator import length_hint

from catalog.errors import CatalogError
from catalog.ggml_types import TYPE_BY_NUMBER

MetadataValue = str | int | float | bool | tuple[int | float | bool, ...]
Fetch = Callable[[int, int], bytes]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
MAX_HEADER_BYTES = 64 * 1024**2
_MAX_PAIRS_COUNT = 1 << 16
_MAX_TENSORS_COUNT = 1 << 18
_MAX_ARRAY_COUNT = 1 << 22
_MAX_KEY_BYTES = 1 << 10
_MAX_KEPT_STRING_BYTES = 1 << 12
_MAX_KEPT_ARRAY_COUNT = 1 << 12
_MAX_DIMENSIONS = 4
_MAX_TENSOR_PARAMS = 1 << 48
_MAX_OFFSET_BYTES = 1 << 56
_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20
_WINDOW_BYTES = 1 << 18

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    _BOOL: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}


class HeaderError(CatalogError):
    """A model file's header cannot be read; the message names the file, the field and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderTensor:
    """One tensor as the header states it. ``type_name`` is ``type<n>`` for types ggml does not have."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a GGUF file says about itself before its weights.

    ``array_counts`` holds the length of every array, kept or not (the vocabulary's is the one of
    ``tokenizer.ggml.tokens``). ``data_offset_bytes`` is where the first tensor begins.
    """

    metadata: Mapping[str, MetadataValue]
    array_counts: Mapping[str, int]
    tensors: tuple[HeaderTensor, ...]
    data_offset_bytes: int
    data_bytes: int


def printable(text: str, limit: int = 60) -> str:
    """Text of a file as it may be shown: escaped and cut."""
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


class _Cursor:
    """Reads forward through a file, a window at a time, never past its end or the header's bound."""

    def __init__(self, fetch: Fetch, size_bytes: int, name: str) -> None:
        self._fetch = fetch
        self._end = min(size_bytes, MAX_HEADER_BYTES)
        self._cut = size_bytes > MAX_HEADER_BYTES
        self._name = name
        self._buffer = b""
        self._start = 0
        self.offset = 0
        self.field = "magic"

    def fail(self, problem: str, advice: str = "download the file again") -> HeaderError:
        """The error to raise for the field being read."""
        return HeaderError(f"{self._name}: {self.field}: {problem}; {advice}")

    def _at(self, size: int) -> int:
        """Index of the current offset in the buffer, which then holds ``size`` bytes from there."""
        if self.offset + size > self._end:
            if self._cut:
                raise self.fail(f"the header is larger than {MAX_HEADER_BYTES >> 20} MiB", "it is no model file")
            raise self.fail("the file ends within the header")
        index = self.offset - self._start
        if index < 0 or index + size > len(self._buffer):
            wanted = min(max(size, _WINDOW_BYTES), self._end - self.offset)
            self._buffer, self._start, index = self._fetch(self.offset, wanted), self.offset, 0
            if len(self._buffer) < size:
                raise self.fail("the file ends within the header")
        return index

    def number(self, layout: struct.Struct) -> int | float | bool:
        """One fixed-size number."""
        index = self._at(layout.size)
        self.offset += layout.size
        (value,) = layout.unpack_from(self._buffer, index)
        return value  # type: ignore[no-any-return]

    def count(self, limit: int, what: str, layout: struct.Struct = _U64) -> int:
        """An unsigned number that must not exceed a limit."""
        value = int(self.number(layout))
        if value > limit:
            raise self.fail(f"{value} {what} is more than the {limit} that are read")
        return value

    def text(self, limit: int) -> str:
        """A length-prefixed string; longer ones than the limit are an error."""
        size = self.count(limit, "bytes of text")
        index = self._at(size)
        self.offset += size
        return self._buffer[index : index + size].decode("utf-8", "replace")

    def long_text(self) -> str | None:
        """A length-prefixed string, or None after walking over one too long to keep."""
        size = self.count(MAX_HEADER_BYTES, "bytes of text")
        if size > _MAX_KEPT_STRING_BYTES:
            self.skip(size)
            return None
        index = self._at(size)
        self.offset += size
        return self._buffer[index : index + size].decode("utf-8", "replace")

    def skip(self, size: int) -> None:
        """Walk over bytes without reading them."""
        if self.offset + size > self._end:
            self._at(size)
        self.offset += size

    def skip_texts(self, count: int) -> None:
        """Walk over length-prefixed strings; the inner loop is what reading a large vocabulary costs."""
        unpack = _U64.unpack_from
        while count:
            index = self._at(_U64.size)
            buffer, left = self._buffer, iter(range(count))
            try:
                for _ in left:
                    index += unpack(buffer, index)[0] + 8
                count = 0
            except (struct.error, OverflowError):  # beyond the window: take the failed one again from there
                count = length_hint(left) + 1
            self.offset = self._start + index
            if self.offset > self._end:
                self._at(0)


def parse_header(fetch: Fetch, size_bytes: int, name: str) -> Header:
    """Read a GGUF header.

    Args:
        fetch: gives ``size`` bytes (fewer at the end of the file) from ``offset``.
        size_bytes: size of the whole file.
        name: the file as messages call it.

    Raises:
        HeaderError: if the header is damaged, cut short, absurd, or of a version that is not read.
    """
    cursor = _Cursor(fetch, size_bytes, name)
    pairs_count, tensors_count = _preamble(cursor)
    metadata: dict[str, MetadataValue] = {}
    counts: dict[str, int] = {}
    for i in range(pairs_count):
        cursor.field = f"key {i}"
        key = cursor.text(_MAX_KEY_BYTES)
        cursor.field = f"key {printable(key)}"
        _read_value(cursor, key, metadata, counts)
    alignment = _alignment(cursor, metadata)
    infos = [_tensor_info(cursor, i) for i in range(tensors_count)]
    start = cursor.offset + -cursor.offset % alignment
    tensors = _sized(cursor, infos, alignment, size_bytes - start)
    return Header(
        metadata=metadata,
        array_counts=counts,
        tensors=tensors,
        data_offset_bytes=start,
        data_bytes=max((t.offset_bytes + t.size_bytes for t in tensors), default=0),
    )


def _preamble(cursor: _Cursor) -> tuple[int, int]:
    """Numbers of key-value pairs and tensors."""
    magic = int(cursor.number(_U32)).to_bytes(4, "little")
    if magic != _MAGIC:
        raise cursor.fail("this is no GGUF file", "give a .gguf file")
    cursor.field = "version"
    version = int(cursor.number(_U32))
    if version not in _VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
        problem = "big-endian files are not read" if swapped else f"version {version} is not read"
        raise cursor.fail(problem, "convert it with a recent llama.cpp")
    cursor.field = "tensor count"
    tensors_count = cursor.count(_MAX_TENSORS_COUNT, "tensors")
    cursor.field = "key count"
    return cursor.count(_MAX_PAIRS_COUNT, "keys"), tensors_count


def _read_value(cursor: _Cursor, key: str, metadata: dict[str, MetadataValue], counts: dict[str, int]) -> None:
    kind = int(cursor.number(_U32))
    if kind == _ARRAY:
        values = _read_array(cursor, key, counts)
        if values is not None:
            metadata[key] = values
    elif kind == _STRING:
        text = cursor.long_text()
        if text is not None:
            metadata[key] = text
    elif kind in _SCALARS:
        value = cursor.number(_SCALARS[kind])
        if isinstance(value, float) and not math.isfinite(value):
            raise cursor.fail("the value is not finite")
        metadata[key] = value
    else:
        raise cursor.fail(f"value type {kind} does not exist")


def _read_array(cursor: _Cursor, key: str, counts: dict[str, int]) -> MetadataValue | None:
    """An array's values if they are few numbers; its length goes to ``counts`` either way."""
    kind = int(cursor.number(_U32))
    count = cursor.count(_MAX_ARRAY_COUNT, "array elements")
    counts[key] = count
    if kind == _STRING:
        cursor.skip_texts(count)
        return None
    layout = _SCALARS.get(kind)
    if layout is None:
        raise cursor.fail(f"array elements of type {kind} are not read")
    if count > _MAX_KEPT_ARRAY_COUNT:
        cursor.skip(count * layout.size)
        return None
    return tuple(cursor.number(layout) for _ in range(count))


def _alignment(cursor: _Cursor, metadata: Mapping[str, MetadataValue]) -> int:
    value = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    cursor.field = "general.alignment"
    if type(value) is not int or not 0 < value <= _MAX_ALIGNMENT or value & (value - 1):
        raise cursor.fail("the alignment is not a power of two")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Info:
    name: str
    shape: tuple[int, ...]
    type_number: int
    offset_bytes: int


def _tensor_info(cursor: _Cursor, index: int) -> _Info:
    cursor.field = f"tensor {index}"
    name = cursor.text(_MAX_KEY_BYTES)
    cursor.field = f"tensor {printable(name)}"
    dimensions = cursor.count(_MAX_DIMENSIONS, "dimensions", _U32)
    shape = tuple(cursor.count(_MAX_TENSOR_PARAMS, "weights in a row") for _ in range(dimensions)) or (1,)
    if math.prod(shape) > _MAX_TENSOR_PARAMS or 0 in shape:
        raise cursor.fail("the shape is empty or absurdly large")
    type_number = int(cursor.number(_U32))
    return _Info(
        name=name, shape=shape, type_number=type_number, offset_bytes=cursor.count(_MAX_OFFSET_BYTES, "bytes of offset")
    )


def _sized(cursor: _Cursor, infos: list[_Info], alignment: int, room_bytes: int) -> tuple[HeaderTensor, ...]:
    """Tensors with their sizes, checked against each other and against the file's size."""
    order = sorted(range(len(infos)), key=lambda i: infos[i].offset_bytes)
    ends = {i: infos[j].offset_bytes for i, j in pairwise(order)}
    names: set[str] = set()
    tensors = []
    for i, info in enumerate(infos):
        cursor.field = f"tensor {printable(info.name)}"
        if info.name in names:
            raise cursor.fail("the name occurs twice")
        if info.offset_bytes % alignment:
            raise cursor.fail("the offset is not aligned")
        names.add(info.name)
        size = _size_bytes(cursor, info, ends.get(i, max(room_bytes, 0)))
        if info.offset_bytes + size > ends.get(i, info.offset_bytes + size):
            raise cursor.fail("it overlaps the next tensor")
        if info.offset_bytes + size > room_bytes:
            missing = info.offset_bytes + size - room_bytes
            raise cursor.fail(f"the file ends {missing} bytes before the tensor does")
        known = TYPE_BY_NUMBER.get(info.type_number)
        tensors.append(
            HeaderTensor(
                name=info.name,
                shape=info.shape,
                type_name=known.name if known else f"type{info.type_number}",
                offset_bytes=info.offset_bytes,
                size_bytes=size,
            )
        )
    return tuple(tensors)


def _size_bytes(cursor: _Cursor, info: _Info, end_bytes: int) -> int:
    """A tensor's bytes; those of a type ggml does not have (a fork's) reach to the next tensor."""
    known = TYPE_BY_NUMBER.get(info.type_number)
    if known is None:
        return max(0, end_bytes - info.offset_bytes)
    if info.shape[0] % known.block_weights_count:
        raise cursor.fail(f"rows of {info.shape[0]} weights are not whole blocks of {known.name}")
    rows = math.prod(info.shape[1:])
    return info.shape[0] // known.block_weights_count * known.block_bytes * rows
