"""Lengthen a saved sequence of llama.cpp without computing it. Runs in the worker process only.

What a token costs at a depth depends on how many cells the cache holds there, not on what they say. So the state
of a short piece is taken apart and its cells are written again and again, with the positions of a longer one; a
sliding window's cells are as many as the window, at the end; a recurrent state only moves. The format is that of
``llama_state_seq_get_data``; it is read strictly, every byte accounted for, and one that differs is left alone.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_HEADER_BYTES = 8  # magic and sequence
_EXTRA_BYTES = (0, 12, 8)  # of each cell: none, two positions and a token, or (before 2026) two positions
_MAX_STREAMS, _MAX_LAYERS, _MAX_ROWS, _MAX_ROW_BYTES = 4096, 4096, 1 << 20, 1 << 24


class _OtherFormatError(Exception):
    """These bytes are something else."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Data of one layer: its own header, and rows × cells × bytes (a transposed value cache has many rows)."""

    header: bytes
    rows_count: int
    cell_bytes: int
    data: Any


@dataclass(frozen=True, slots=True)
class _Cache:
    """The one filled stream of a cache among several empty ones, its cells in order of position."""

    streams_before: int
    streams_count: int
    cells_count: int
    extras: Any  # bytes of each cell behind its position and count
    tail: bytes  # flags before the layers' data
    blocks: tuple[_Block, ...]


@dataclass(frozen=True, slots=True)
class State:
    """A parsed state: attention caches, and what follows them if it is recurrent."""

    header: bytes
    caches: tuple[_Cache, ...]
    recurrent: Any  # its bytes, or None


class _Reader:
    def __init__(self, data: Any, offset: int) -> None:
        self.data = data
        self.offset = offset

    def take(self, size: int) -> Any:
        if size < 0 or self.offset + size > len(self.data):
            raise _OtherFormatError
        found = self.data[self.offset : self.offset + size]
        self.offset += size
        return found

    def number(self, code: str, least: int, most: int) -> int:
        (value,) = struct.unpack(code, self.take(struct.calcsize(code)).tobytes())
        if not least <= value <= most:
            raise _OtherFormatError
        return int(value)


def parse(raw: Any, tokens_count: int) -> State | None:
    """Take the state of a sequence of ``tokens_count`` tokens apart; None if it is of another form.

    Args:
        raw: the bytes, as anything that shares its memory.
        tokens_count: how long the sequence is.
    """
    import numpy as np

    data = np.frombuffer(raw, dtype=np.uint8)
    if len(data) <= _HEADER_BYTES or tokens_count < 1:
        return None
    found = _sections(data, _HEADER_BYTES, tokens_count)
    if found is None:
        return None
    caches, recurrent = found
    return State(header=data[:_HEADER_BYTES].tobytes(), caches=caches, recurrent=recurrent)


def _sections(data: Any, offset: int, tokens_count: int) -> tuple[tuple[_Cache, ...], Any] | None:
    """All that follows: every way to read it is tried until one ends where the bytes end."""
    if offset == len(data):
        return (), None
    for extra_bytes in _EXTRA_BYTES:
        for with_values in (True, False):
            try:
                cache, end = _cache(_Reader(data, offset), tokens_count, extra_bytes, with_values)
            except _OtherFormatError:
                continue
            rest = _sections(data, end, tokens_count)
            if rest is not None:
                return (cache, *rest[0]), rest[1]
    return ((), data[offset:]) if _is_recurrent(data, offset, tokens_count) else None


def _is_recurrent(data: Any, offset: int, tokens_count: int) -> bool:
    reader = _Reader(data, offset)
    try:
        reader.number("<I", 1, 1)
        reader.number("<i", tokens_count - 1, tokens_count - 1)
        reader.number("<I", 0, 0)
    except _OtherFormatError:
        return False
    return True


def _cache(reader: _Reader, tokens_count: int, extra_bytes: int, with_values: bool) -> tuple[_Cache, int]:
    streams = reader.number("<I", 1, _MAX_STREAMS)
    before = 0
    while (cells := reader.number("<I", 0, tokens_count)) == 0:
        before += 1
        if before == streams:
            raise _OtherFormatError
    extras = _cells(reader, cells, tokens_count, extra_bytes)
    flags_at = reader.offset
    transposed = reader.number("<I", 0, 1)
    layers = reader.number("<I", 0, _MAX_LAYERS)
    tail = reader.data[flags_at : reader.offset].tobytes()
    blocks = [_rows(reader, cells) for _ in range(layers)]
    if with_values:
        blocks += [_columns(reader, cells) if transposed else _rows(reader, cells) for _ in range(layers)]
    for _ in range(streams - before - 1):
        reader.number("<I", 0, 0)
    cache = _Cache(before, streams, cells, extras, tail, tuple(blocks))
    return cache, reader.offset


def _cells(reader: _Reader, cells: int, tokens_count: int, extra_bytes: int) -> Any:
    """What is kept of each cell besides its position; positions must be the sequence's last ones, in order."""
    import numpy as np

    table = reader.take(cells * (8 + extra_bytes + 4)).reshape(cells, -1)
    positions = np.ascontiguousarray(table[:, :4]).view("<i4").ravel()
    counts = np.ascontiguousarray(table[:, 4:8]).view("<u4").ravel()
    sequences = np.ascontiguousarray(table[:, -4:]).view("<i4").ravel()
    expected = np.arange(tokens_count - cells, tokens_count)
    if not ((np.sort(positions) == expected).all() and (counts == 1).all() and (sequences == 0).all()):
        raise _OtherFormatError
    return table[:, 4:]


def _rows(reader: _Reader, cells: int) -> _Block:
    """A row per cell: type, bytes of a row, data."""
    start = reader.offset
    reader.number("<i", 0, 1000)
    row_bytes = reader.number("<Q", 1, _MAX_ROW_BYTES)
    header = reader.data[start : reader.offset].tobytes()
    return _Block(header, 1, row_bytes, reader.take(cells * row_bytes))


def _columns(reader: _Reader, cells: int) -> _Block:
    """Transposed: type, bytes of an element, number of rows, then each row's element of every cell."""
    start = reader.offset
    reader.number("<i", 0, 1000)
    element_bytes = reader.number("<I", 1, 16)
    rows = reader.number("<I", 1, _MAX_ROWS)
    header = reader.data[start : reader.offset].tobytes()
    return _Block(header, rows, element_bytes, reader.take(rows * cells * element_bytes))


# --- lengthening -----------------------------------------------------------------------------------


def lengthened_bytes(state: State, tokens_count: int, window_tokens: int) -> int:
    """Size of the state of a longer sequence."""
    size = len(state.header) + (0 if state.recurrent is None else len(state.recurrent))
    for index, cache in enumerate(state.caches):
        cells = _cells_count(state, index, tokens_count, window_tokens)
        size += 4 + 4 * cache.streams_count + cells * (4 + cache.extras.shape[1]) + len(cache.tail)
        size += sum(len(block.header) + block.rows_count * block.cell_bytes * cells for block in cache.blocks)
    return size


def lengthened(state: State, tokens_count: int, window_tokens: int) -> Iterator[Any]:
    """The bytes of the state of a longer sequence, in parts.

    Args:
        state: of a shorter one.
        tokens_count: how long it is to be.
        window_tokens: cells that the second of two caches holds; 0 if no layer slides.
    """
    import numpy as np

    yield np.frombuffer(state.header, dtype=np.uint8)
    for index, cache in enumerate(state.caches):
        cells = _cells_count(state, index, tokens_count, window_tokens)
        counts = [0] * cache.streams_before + [cells]
        yield np.array([cache.streams_count, *counts], dtype="<u4").view(np.uint8)
        positions = np.arange(tokens_count - cells, tokens_count, dtype="<i4").view(np.uint8).reshape(cells, 4)
        yield np.hstack([positions, np.resize(cache.extras, (cells, cache.extras.shape[1]))]).ravel()
        yield np.frombuffer(cache.tail, dtype=np.uint8)
        for block in cache.blocks:
            yield np.frombuffer(block.header, dtype=np.uint8)
            rows = block.data.reshape(block.rows_count, cache.cells_count, block.cell_bytes)
            repeats = -(-cells // cache.cells_count)
            yield np.tile(rows, (1, repeats, 1))[:, :cells].ravel()
        yield np.zeros(4 * (cache.streams_count - cache.streams_before - 1), dtype=np.uint8)
    if state.recurrent is not None:
        moved = state.recurrent.copy()
        moved[4:8] = np.array([tokens_count - 1], dtype="<i4").view(np.uint8)
        yield moved


def _cells_count(state: State, index: int, tokens_count: int, window_tokens: int) -> int:
    """Cells of a cache at that length: all tokens, or a sliding window's, whose cache is written second."""
    slides = window_tokens > 0 and index == 1 and len(state.caches) > 1
    return min(tokens_count, window_tokens) if slides else tokens_count
