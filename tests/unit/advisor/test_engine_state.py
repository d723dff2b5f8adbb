"""Saved sequences of llama.cpp: taken apart strictly, and made longer."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.engines import _state


def cells_bytes(first: int, count: int, extra_bytes: int) -> bytes:
    return b"".join(
        struct.pack("<iI", position, 1) + bytes(extra_bytes) + struct.pack("<i", 0)
        for position in range(first, first + count)
    )


def cache_bytes(length, *, cells=None, extra=0, layers=2, values=True, transposed=False, streams=1, row_bytes=6):
    """One attention cache of a sequence of ``length`` tokens, as the engine writes it."""
    count = length if cells is None else cells
    out = struct.pack("<II", streams, count) + cells_bytes(length - count, count, extra)
    out += struct.pack("<II", int(transposed), layers)
    row = bytes(range(row_bytes))
    keys = struct.pack("<iQ", 1, row_bytes) + row * count
    out += keys * layers
    if values and transposed:
        out += (struct.pack("<iII", 1, 2, 3) + b"xy" * 3 * count) * layers
    elif values:
        out += keys * layers
    return out + struct.pack("<I", 0) * (streams - 1)


def recurrent_bytes(length: int, size: int = 40) -> bytes:
    return struct.pack("<IiI", 1, length - 1, 0) + bytes(range(size))


def state_bytes(*sections: bytes) -> bytes:
    return struct.pack("<Ii", 0x67676D6C, 0) + b"".join(sections)


def lengthened(raw: bytes, length: int, new: int, window: int = 0) -> bytes:
    state = _state.parse(raw, length)
    assert state is not None
    longer = b"".join(part.tobytes() for part in _state.lengthened(state, new, window))
    assert len(longer) == _state.lengthened_bytes(state, new, window)
    return longer


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"extra": 12},
        {"extra": 8},
        {"transposed": True},
        {"values": False},
        {"streams": 4},
        {"layers": 0},
        {"layers": 5, "extra": 12, "streams": 2},
    ],
)
def test_a_longer_sequence_is_what_the_engine_would_have_written(shape):
    assert lengthened(state_bytes(cache_bytes(3, **shape)), 3, 50) == state_bytes(cache_bytes(50, **shape))


def test_a_sliding_window_keeps_its_width_at_the_end():
    short = state_bytes(cache_bytes(8), cache_bytes(8, cells=8))
    assert lengthened(short, 8, 100, window=16) == state_bytes(cache_bytes(100), cache_bytes(100, cells=16))
    slid = state_bytes(cache_bytes(40), cache_bytes(40, cells=16))
    assert lengthened(slid, 40, 100, window=16) == state_bytes(cache_bytes(100), cache_bytes(100, cells=16))
    assert lengthened(short, 8, 12, window=16) == state_bytes(cache_bytes(12), cache_bytes(12))


def test_a_recurrent_state_only_moves():
    short = state_bytes(cache_bytes(5), recurrent_bytes(5))
    assert lengthened(short, 5, 900) == state_bytes(cache_bytes(900), recurrent_bytes(900))
    assert lengthened(state_bytes(recurrent_bytes(5)), 5, 900) == state_bytes(recurrent_bytes(900))


def test_data_is_repeated_cell_by_cell():
    raw = bytearray(state_bytes(cache_bytes(2, layers=1, values=False, row_bytes=2)))
    raw[-4:] = b"aabb"
    assert lengthened(bytes(raw), 2, 5)[-10:] == b"aabbaabbaa"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        state_bytes(),
        state_bytes(cache_bytes(3))[:-1],
        state_bytes(cache_bytes(3)) + b"\0",
        state_bytes(cache_bytes(4)),
        state_bytes(recurrent_bytes(4)),
        state_bytes(b"\xff" * 64),
    ],
)
def test_another_form_is_left_alone(raw):
    assert _state.parse(raw, 3) is None


@given(st.binary(max_size=400), st.integers(1, 20))
def test_no_bytes_are_an_accident(raw, length):
    _state.parse(raw, length)


@given(st.integers(0, 300), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_still_reads_as_a_state(index, value):
    raw = np.frombuffer(state_bytes(cache_bytes(6), recurrent_bytes(6)), dtype=np.uint8).copy()
    raw[index % len(raw)] = value
    state = _state.parse(raw, 6)
    if state is not None:
        longer = b"".join(part.tobytes() for part in _state.lengthened(state, 9, 0))
        assert len(longer) == _state.lengthened_bytes(state, 9, 0)
