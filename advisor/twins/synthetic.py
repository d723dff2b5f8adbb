"""Synthetic weights: finite, random, and laid out exactly as ggml stores each tensor type.

An engine's speed does not depend on the values of the weights as long as they stay finite, so a block
gets random quants and small constant scales that keep a weight's standard deviation near 0.02.
Layouts are those of ``ggml-common.h``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from advisor.errors import AdvisorError
from catalog.ggml_types import TYPES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

# Counts of blocks per tile. Primes, so that rows and experts do not start at the same place of the tile.
_TILE_BLOCKS_COUNT = 8191
_TILE_WEIGHTS_COUNT = 1048573
_STANDARD_DEVIATION = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What in a block must not be random: half-precision scales and single bytes, by offset."""

    halves: Mapping[int, float]
    fixed: Mapping[int, int] | None = None
    small_signed: range = range(0)  # scale bytes kept within ±8


def _scale(value: float, offset: int = 0) -> _Layout:
    return _Layout(halves={offset: value})


# IQ1_M spreads its half-precision scale over the top four bits of four 16-bit words: this one is 0.003.
_IQ1_M_SCALE_OFFSET = 48

_LAYOUTS: Mapping[str, _Layout] = {
    "Q4_0": _scale(0.004),
    "Q4_1": _Layout(halves={0: 0.004, 2: -0.03}),
    "Q5_0": _scale(0.002),
    "Q5_1": _Layout(halves={0: 0.002, 2: -0.031}),
    "Q8_0": _scale(0.00027),
    "Q2_K": _Layout(halves={80: 0.0015, 82: 0.00225}),
    "Q3_K": _scale(0.0005, 108),
    "Q4_K": _Layout(halves={0: 0.00008, 2: 0.0006}),
    "Q5_K": _Layout(halves={0: 0.0000625, 2: 0.00097}),
    "Q6_K": _Layout(halves={208: 0.00024}, small_signed=range(192, 208)),
    "IQ2_XXS": _scale(0.0004),
    "IQ2_XS": _scale(0.0004),
    "IQ2_S": _scale(0.0004),
    "IQ3_XXS": _scale(0.00017),
    "IQ3_S": _scale(0.00018),
    "IQ1_S": _scale(0.003),
    "IQ1_M": _Layout(halves={}),
    "IQ4_NL": _scale(0.0003),
    "IQ4_XS": _Layout(halves={0: 0.0000625}, fixed={2: 0xAA, 3: 0xAA}),
    "TQ1_0": _scale(0.025, 52),
    "TQ2_0": _scale(0.02, 64),
    "MXFP4": _Layout(halves={}, fixed={0: 120}),  # a power of two: 2^(120 - 127) / 2
    "NVFP4": _Layout(halves={}, fixed=dict.fromkeys(range(4), 0x08)),  # UE4M3: 2^-6
    "Q1_0": _scale(0.02),
    "Q2_0": _scale(0.015),
}

_FLOATS = frozenset({"F32", "F16", "BF16", "F64"})


@lru_cache(maxsize=64)
def tile(type_name: str, seed: int = 0) -> bytes:
    """About a megabyte of synthetic weights of one type, to be repeated.

    Raises:
        AdvisorError: for a type whose block layout is not known here.
    """
    digest = hashlib.sha256(f"{type_name}/{seed}".encode()).digest()
    if type_name in _FLOATS:
        return _normal_tile(type_name, int.from_bytes(digest[:8], "big"))
    layout = _LAYOUTS.get(type_name)
    if layout is None:
        raise AdvisorError(f"no synthetic weights for tensor type {type_name!r}; choose another quant")
    return _block_tile(type_name, layout, int.from_bytes(digest[:8], "big"))


def constant(type_name: str, value: float, count: int) -> bytes:
    """``count`` equal weights of a floating-point type, for norms and biases."""
    import numpy as np

    return _as_type(np.full(count, value, dtype=np.float32), type_name)


def ids(count: int, below: int, seed: int = 0) -> bytes:
    """``count`` random 32-bit indices below a limit, for tables that name experts."""
    import numpy as np

    return np.random.default_rng(seed).integers(0, below, count, dtype=np.int32).astype("<i4").tobytes()


def _normal_tile(type_name: str, seed: int) -> bytes:
    import numpy as np

    values = np.random.default_rng(seed).normal(0.0, _STANDARD_DEVIATION, _TILE_WEIGHTS_COUNT)
    return _as_type(values.astype(np.float32), type_name)


def _as_type(values: "NDArray[np.float32]", type_name: str) -> bytes:
    import numpy as np

    if type_name == "BF16":
        return (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    widths = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}
    return values.astype(widths[type_name]).tobytes()


def _block_tile(type_name: str, layout: _Layout, seed: int) -> bytes:
    import numpy as np

    size = TYPES[type_name].block_bytes
    raw = np.random.default_rng(seed).bytes(_TILE_BLOCKS_COUNT * size)
    blocks = np.frombuffer(raw, dtype=np.uint8).reshape(_TILE_BLOCKS_COUNT, size).copy()
    for offset, value in layout.halves.items():
        blocks[:, offset : offset + 2] = _half_bytes(value)
    for offset, byte in (layout.fixed or {}).items():
        blocks[:, offset] = byte
    if layout.small_signed:
        kept = slice(layout.small_signed.start, layout.small_signed.stop)
        blocks[:, kept] = ((blocks[:, kept] & 0x0F).astype(np.int8) - 8).view(np.uint8)
    if type_name == "IQ1_M":
        _spread_iq1_m_scale(blocks, 0.003)
    return blocks.tobytes()


def _half_bytes(value: float) -> "Bytes":
    import numpy as np

    return np.frombuffer(np.array([value], dtype="<f2").tobytes(), dtype=np.uint8)


def _spread_iq1_m_scale(blocks: "Bytes", value: float) -> None:
    low, high = (int(byte) for byte in _half_bytes(value))
    half = low | high << 8
    for word in range(4):
        top = _IQ1_M_SCALE_OFFSET + 2 * word + 1  # little-endian: the high byte of the word
        blocks[:, top] = (blocks[:, top] & 0x0F) | ((half >> 4 * word & 0x0F) << 4)
