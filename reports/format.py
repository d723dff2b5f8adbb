"""Numbers as people read them: the display conventions, and the only place that rounds.

Memory is shown in GiB, bandwidth in GB/s, compute in TFLOP/s, with at most three significant
digits. An unknown value is shown as a dash, never as zero. ``static/format.js`` follows the same
rules, and a browser test holds the two together.
"""

import math

from advisor.types import Interval
from catalog.units import GIB, KIB, MIB

UNKNOWN = "—"
_MINUS = "\N{MINUS SIGN}"


def decimals_of(value: float) -> int:
    """Decimal places that leave two to three significant digits."""
    size = abs(value)
    if size >= 99.95 or size == 0.0:
        return 0
    if size >= 0.995:
        return 1
    return min(12, 1 - math.floor(math.log10(size)))


def _fixed(value: float, decimals: int) -> str:
    if decimals == 0 and abs(value) >= 1000:
        step = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
        value = math.floor(value / step + 0.5) * step
    text = f"{value:,.{decimals}f}"
    return text.replace("-", _MINUS) if text.strip("-0.,") else text.lstrip("-")


def number(value: float | None) -> str:
    """A number with at most three significant digits, such as ``8.7``, ``15.6``, ``24`` or ``1,230``."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return _fixed(value, 0 if value == int(value) else decimals_of(value))


def _finite(span: Interval) -> bool:
    return all(math.isfinite(edge) for edge in (span.low, span.mid, span.high))


def interval(span: Interval | None, factor: float = 1.0) -> str:
    """An 80 % interval as ``8.7 (8.2–9.2)``: all three with the middle's decimals."""
    if span is None or not _finite(span):
        return UNKNOWN
    decimals = decimals_of(span.mid * factor)
    low, mid, high = (_fixed(edge * factor, decimals) for edge in (span.low, span.mid, span.high))
    return mid if low == mid == high else f"{mid} ({low}–{high})"


def edges(span: Interval, factor: float = 1.0) -> str:
    """Only the ends of an interval, such as ``8.2–9.2``."""
    if not _finite(span):
        return UNKNOWN
    decimals = decimals_of(span.mid * factor)
    return f"{_fixed(span.low * factor, decimals)}–{_fixed(span.high * factor, decimals)}"


def points(score: float) -> str:
    """A quality on the 0-100 scale in whole points."""
    return f"{score:.0f}" if math.isfinite(score) else UNKNOWN


def score_range(low: float, high: float) -> str:
    """The ends of a quality interval in whole points."""
    return f"{points(low)}–{points(high)}"


def score_interval(low: float, mid: float, high: float) -> str:
    """A quality on the 0-100 scale with its interval, in whole points."""
    return f"{points(mid)} ({score_range(low, high)})"


def gib(size_bytes: float | None) -> str:
    """Memory, such as ``5.1 GiB``."""
    if size_bytes is None:
        return UNKNOWN
    return f"{number(size_bytes / GIB)} GiB" if size_bytes == 0 or size_bytes >= 0.005 * GIB else "<0.01 GiB"


def cache_size(size_bytes: float | None) -> str:
    """A buffer or cache of any size, such as ``48 KiB`` or ``32 MiB``."""
    if size_bytes is None:
        return UNKNOWN
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes >= unit:
            return f"{number(size_bytes / unit)} {name}"
    return f"{number(size_bytes)} B"


def bandwidth(bytes_per_s: float | None) -> str:
    """A transfer rate, such as ``40.2 GB/s``."""
    return UNKNOWN if bytes_per_s is None else f"{number(bytes_per_s / 1e9)} GB/s"


def compute(flop_per_s: float | None) -> str:
    """An arithmetic rate, such as ``0.27 TFLOP/s``."""
    return UNKNOWN if flop_per_s is None else f"{number(flop_per_s / 1e12)} TFLOP/s"


def flop(amount: float | None) -> str:
    """An amount of arithmetic in the unit that suits it, such as ``31 GFLOP`` or ``9.4 TFLOP``."""
    if amount is None:
        return UNKNOWN
    for unit, name in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP")):
        if abs(amount) >= unit * 0.9995:
            return f"{number(amount / unit)} {name}"
    return f"{number(amount)} FLOP"


def _scaled_time(value_s: float) -> tuple[float, str]:
    size = abs(value_s)
    if size >= 7200.0:
        return 3600.0, "h"
    if size >= 120.0:
        return 60.0, "min"
    if size >= 0.0995 or size == 0.0:
        return 1.0, "s"
    return (1e-3, "ms") if size >= 9.95e-5 else (1e-6, "µs")


def duration(value_s: float | None) -> str:
    """A time in the unit that suits it: ``42 ms``, ``12.3 s``, ``3.2 min``."""
    if value_s is None or not math.isfinite(value_s):
        return UNKNOWN
    scale_s, unit = _scaled_time(value_s)
    return f"{number(value_s / scale_s)} {unit}"


def duration_parts(value_s: float | None) -> tuple[str, str]:
    """A time's number and unit apart, for headline figures."""
    value, _, unit = duration(value_s).partition(" ")
    return value, unit


def duration_interval(span: Interval | None) -> str:
    """A time with its interval, such as ``12.3 (11.1–13.9) s``."""
    if span is None or not _finite(span):
        return UNKNOWN
    scale_s, unit = _scaled_time(span.mid)
    return f"{interval(span, 1.0 / scale_s)} {unit}"


def duration_edges(span: Interval) -> str:
    """The ends of a time's interval in the unit that suits its middle, such as ``11.1–13.9 s``."""
    if not _finite(span):
        return UNKNOWN
    scale_s, unit = _scaled_time(span.mid)
    return f"{edges(span, 1.0 / scale_s)} {unit}"


def rate(tokens_per_s: float | None) -> str:
    """A speed, such as ``8.7 tok/s``."""
    return UNKNOWN if tokens_per_s is None else f"{number(tokens_per_s)} tok/s"


def tokens(count: int | None) -> str:
    """A token count, such as ``32k`` (a multiple of 1024) or ``1,000``."""
    if count is None:
        return UNKNOWN
    return f"{count // 1024:,}k" if count >= 1024 and count % 1024 == 0 else f"{count:,}"


def params(count: float | None) -> str:
    """A parameter count, such as ``7.6B`` or ``135M``."""
    if count is None:
        return UNKNOWN
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if count >= unit * 0.9995:
            return f"{number(count / unit)}{letter}"
    return number(count)


def _percent_number(frac: float) -> str:
    value = frac * 100
    if 0.095 <= abs(value) < 99.95:
        return _fixed(value, 1)
    return number(value)


def percent(frac: float | None) -> str:
    """A share, such as ``5.3 %``."""
    return UNKNOWN if frac is None or not math.isfinite(frac) else f"{_percent_number(frac)} %"


def change(frac: float | None) -> str:
    """A relative change with its sign, such as ``+5.3 %``."""
    text = percent(frac)
    return f"+{text}" if frac is not None and 0.0 < frac < math.inf else text


def count(value: int | None) -> str:
    """A whole number with thousands separated."""
    return UNKNOWN if value is None else f"{value:,}"


def clock(timestamp: str | None) -> str:
    """A UTC timestamp without fractions of a second, such as ``2026-11-22 16:00 UTC``."""
    if not timestamp:
        return UNKNOWN
    return f"{timestamp[:10]} {timestamp[11:16]} UTC" if timestamp[10:11] == "T" else timestamp
