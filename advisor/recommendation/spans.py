"""Durations in words, for the sentences that documents carry."""

_HOUR_S = 3600.0
_MINUTE_S = 60.0


def span(seconds: float) -> str:
    """A duration in the unit people would say it in, such as ``0.42 s``, ``12.3 s``, ``26.8 min``.

    Units change where the tables' do, and it has at most three significant digits, so that a sentence
    and the table above it agree.
    """
    if seconds >= 2 * _HOUR_S:
        value, unit = seconds / _HOUR_S, "h"
    elif seconds >= 2 * _MINUTE_S:
        value, unit = seconds / _MINUTE_S, "min"
    else:
        value, unit = seconds, "s"
    decimals = 0 if value >= 99.95 or value == int(value) else 1 if value >= 0.995 else 2
    return f"{value:,.{decimals}f} {unit}" if value >= 0.01 or value == 0.0 else f"{1000.0 * value:.2g} ms"
