"""What sweeps of threads in validations say about other numbers of threads than the calibrated one.

Every rate of a CPU holds for the number of threads it was calibrated with. A validation may time its model with
other numbers too; the ratio of its speeds says what those do to a like model. Ratios are averaged on a logarithmic
scale, each with the correlation of its model and the one that is asked about; between two numbers that were timed
the ratio is interpolated, beyond them nothing is known. Pure.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from advisor.types import ThreadsSpeed

S = TypeVar("S")
#: What a repeat of a sweep differs by, and how much less is known from a model that is quite unlike, as log sigmas.
_REPEAT_SIGMA, _UNLIKE_SIGMA = 0.05, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(Generic[S]):
    """Seconds per token of one model by phase and number of threads."""

    subject: S
    s_per_token: Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadsFactor:
    """What a number of threads does to a phase's time, its log standard deviation, and on how many sweeps it rests."""

    time_factor: float
    sigma: float
    count: int


def sweep_of(subject: S, speeds: Iterable[ThreadsSpeed]) -> "Sweep[S]":
    """A record's sweep as times."""
    rows = tuple(speeds)
    decode = {row.threads_count: 1.0 / row.decode_tokens_per_s for row in rows if row.decode_tokens_per_s}
    prefill = {row.threads_count: 1.0 / row.prefill_tokens_per_s for row in rows if row.prefill_tokens_per_s > 0.0}
    return Sweep(subject=subject, s_per_token={"decode": decode, "prefill": prefill})


def threads_factor(
    sweeps: "Sequence[Sweep[S]]", phase: str, usual_count: int, count: int, alike: Callable[[S], float]
) -> ThreadsFactor | None:
    """What ``count`` threads rather than the usual number do to a phase's time; None if no sweep says.

    Args:
        sweeps: those on this machine.
        phase: "decode" or "prefill".
        usual_count: the number of threads that rates and predictions hold for.
        count: the number that is asked about.
        alike: how much a swept model says about the one that is asked about, 0 to 1.
    """
    found = []
    for sweep in sweeps:
        times, weight = sweep.s_per_token.get(phase, {}), alike(sweep.subject)
        own, usual = _at(times, count), _at(times, usual_count)
        if own is not None and usual is not None and weight > 0.0:
            found.append((weight, math.log(own / usual)))
    if not found:
        return None
    total = sum(weight for weight, _ in found)
    mean = sum(weight * ratio for weight, ratio in found) / total
    scatter = sum(weight * (ratio - mean) ** 2 for weight, ratio in found) / total
    unlike = _UNLIKE_SIGMA**2 * (1.0 - max(weight for weight, _ in found))
    return ThreadsFactor(
        time_factor=math.exp(mean), sigma=math.sqrt(_REPEAT_SIGMA**2 + scatter + unlike), count=len(found)
    )


def _at(times: Mapping[int, float], count: int) -> float | None:
    """Time at a number of threads, between its neighbours on logarithmic scales; None beyond what was timed."""
    if count in times:
        return times[count]
    below, above = [n for n in times if n < count], [n for n in times if n > count]
    if not below or not above:
        return None
    low, high = max(below), min(above)
    share = math.log(count / low) / math.log(high / low)
    return math.exp((1.0 - share) * math.log(times[low]) + share * math.log(times[high]))
