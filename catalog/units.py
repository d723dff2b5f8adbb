"""Units: constants and parsers for sizes, token counts and durations, and the width of the intervals stated.

Everything in this project is stored in base units (bytes, seconds, tokens);
these parsers are the one place where a user's spelling becomes a number.
"""

import math
import re

KIB = 1024
MIB = 1024**2
GIB = 1024**3
TIB = 1024**4
#: Half the width of an 80 % interval, in standard deviations of a normal distribution.
Z_80 = 1.2816

_BYTE_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": KIB,
    "MIB": MIB,
    "GIB": GIB,
    "TIB": TIB,
}
_TOKEN_UNITS = {"": 1, "K": 1024, "M": 1024**2}
_TIME_UNITS = {"": 1.0, "MS": 1e-3, "S": 1.0, "M": 60.0, "MIN": 60.0, "H": 3600.0}
_NUMBER_WITH_UNIT = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*$")
_MAX_TEXT_LENGTH = 64


class UnitError(ValueError):
    """A size, token count or duration could not be read; the message says how to write it."""

    exit_code = 2


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = _NUMBER_WITH_UNIT.match(text) if len(text) <= _MAX_TEXT_LENGTH else None
    if match is None:
        raise UnitError(f"{what} {text[:_MAX_TEXT_LENGTH]!r} is not a number with a unit; write it like {example}")
    value = float(match.group(1))
    if not math.isfinite(value):
        raise UnitError(f"{what} {text[:_MAX_TEXT_LENGTH]!r} is too large")
    return value, match.group(2).upper()


def parse_bytes(text: str) -> int:
    """Read a memory size such as ``24GiB`` or ``24GB``.

    A bare ``G`` is refused, because GiB and GB differ by 7 %.

    Raises:
        UnitError: if the text is not a positive number followed by a byte unit.
    """
    value, unit = _split(text, "size", "24GiB or 24GB")
    if unit not in _BYTE_UNITS:
        raise UnitError(f"size {text!r} has no byte unit; write 24GiB (1024³) or 24GB (1000³)")
    size_bytes = round(value * _BYTE_UNITS[unit])
    if size_bytes < 1:
        raise UnitError(f"size {text!r} is not above zero; write 24GiB or 24GB, or leave it out")
    return size_bytes


def parse_tokens(text: str) -> int:
    """Read a token count such as ``4096`` or ``32k`` (k means 1024).

    Raises:
        UnitError: if the text is not a whole, positive number of tokens.
    """
    value, unit = _split(text, "token count", "4096 or 32k")
    if unit not in _TOKEN_UNITS:
        raise UnitError(f"token count {text!r} has an unknown unit; write 4096 or 32k")
    tokens = value * _TOKEN_UNITS[unit]
    if tokens < 1 or tokens != int(tokens):
        raise UnitError(f"token count {text!r} is not a whole number of at least 1; write 4096 or 32k, or leave it out")
    return int(tokens)


def parse_duration(text: str) -> float:
    """Read a duration such as ``90``, ``90s``, ``2m`` or ``1h``; returns seconds.

    Raises:
        UnitError: if the text is not a positive duration.
    """
    value, unit = _split(text, "duration", "90s or 2m")
    if unit not in _TIME_UNITS:
        raise UnitError(f"duration {text!r} has an unknown unit; write 90s, 2m or 1h")
    if value <= 0:
        raise UnitError(f"duration {text!r} is not above zero; write 90s or 2m, or leave it out")
    return value * _TIME_UNITS[unit]
