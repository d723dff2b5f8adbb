"""Rank statistics for few, noisy repeats, in two samples or in pairs: exact, without assumptions on their shape.

Sources: Mann and Whitney 1947 (the distribution of U); Wilcoxon 1945 (signed ranks of pairs); Hodges and
Lehmann 1963 (shifts and their intervals, of two samples and of pairs); Benjamini and Hochberg 1995 (false
discoveries).
"""

import functools
import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_EXACT_COUNT = 40
_FEW_PAIRS = 8  # the smallest Wilcoxon probability of seven pairs is 1.6 %, before many metrics are allowed for
_NORMAL = statistics.NormalDist()


@functools.lru_cache(maxsize=256)
def _u_distribution(x_count: int, y_count: int) -> Floats:
    """P(U <= u) for u = 0 .. x_count * y_count under the null hypothesis, without ties."""
    size = x_count * y_count + 1
    rows = np.zeros((y_count + 1, size))  # rows[j]: counts for the x so far against j of the y
    rows[:, 0] = 1.0
    for _ in range(x_count):
        for j in range(1, y_count + 1):
            # the largest value of all is an x (it beats all j of the y) or the j-th y (it loses to none)
            rows[j, j:] = rows[j, : size - j]
            rows[j, :j] = 0.0
            rows[j] += rows[j - 1]
    below: Floats = np.cumsum(rows[y_count]) / rows[y_count].sum()
    return below


def u_cdf(u: float, x_count: int, y_count: int) -> float:
    """P(U <= u): exact for small samples, normal with continuity correction for large ones."""
    if max(x_count, y_count) <= _EXACT_COUNT:
        index = math.floor(u)
        return 0.0 if index < 0 else float(_u_distribution(x_count, y_count)[min(index, x_count * y_count)])
    mean = x_count * y_count / 2
    deviation = math.sqrt(x_count * y_count * (x_count + y_count + 1) / 12)
    return _NORMAL.cdf((u + 0.5 - mean) / deviation)


def p_value(x: Sequence[float], y: Sequence[float]) -> float:
    """Two-sided Mann-Whitney probability that samples of one distribution differ this much."""
    differences = np.subtract.outer(np.asarray(y), np.asarray(x))
    u = float((differences > 0).sum() + 0.5 * (differences == 0).sum())
    return min(1.0, 2 * u_cdf(min(u, differences.size - u), len(x), len(y)))


def shift(x: Sequence[float], y: Sequence[float], confidence_frac: float = 0.95) -> tuple[float, float, float]:
    """Hodges-Lehmann shift of y against x with its rank interval: low, mid, high."""
    differences = np.sort(np.subtract.outer(np.asarray(y), np.asarray(x)), axis=None)
    tail = (1 - confidence_frac) / 2
    outside = 0
    while outside < differences.size // 2 and u_cdf(outside, len(x), len(y)) <= tail:
        outside += 1
    edge = max(outside - 1, 0)
    return float(differences[edge]), float(np.median(differences)), float(differences[-1 - edge])


@functools.lru_cache(maxsize=256)
def _signed_distribution(count: int) -> Floats:
    """P(W <= w) for the sum w = 0 .. n(n+1)/2 of the positive ranks under the null hypothesis, without ties."""
    ways = np.zeros(count * (count + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, count + 1):
        ways[rank:] = ways[rank:] + ways[: len(ways) - rank]
    below: Floats = np.cumsum(ways) / ways.sum()
    return below


def signed_cdf(w: float, count: int) -> float:
    """P(W <= w): exact for small samples, normal with continuity correction for large ones."""
    if count <= _EXACT_COUNT:
        index = math.floor(w)
        return 0.0 if index < 0 else float(_signed_distribution(count)[min(index, count * (count + 1) // 2)])
    mean, deviation = count * (count + 1) / 4, math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    return _NORMAL.cdf((w + 0.5 - mean) / deviation)


def paired_p_value(differences: Sequence[float]) -> float:
    """Two-sided probability that differences of pairs lie this far to one side of zero by chance.

    Wilcoxon's; of fewer than eight pairs, whose ranks cannot be sure of anything, Student's.
    """
    array = np.asarray([value for value in differences if value != 0])
    if array.size < 2:
        return 1.0
    if array.size < _FEW_PAIRS:
        error = float(array.std(ddof=1)) / math.sqrt(array.size)
        return student_two_sided(float(array.mean()) / error, array.size - 1) if error > 0 else 0.0
    sizes = np.abs(array)
    ranks = np.asarray([(sizes < size).sum() + ((sizes == size).sum() + 1) / 2 for size in sizes])
    positive = float(ranks[array > 0].sum())
    return min(1.0, 2 * signed_cdf(min(positive, float(ranks.sum()) - positive), array.size))


def student_two_sided(t: float, freedom: int) -> float:
    """P(|T| >= |t|) for a whole number of degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(abs(t) / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    inside = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return max(0.0, 1.0 - inside)


def centre(differences: Sequence[float], confidence_frac: float = 0.95) -> tuple[float, float, float]:
    """Hodges-Lehmann centre of differences of pairs, the median of their means, with its rank interval."""
    array = np.asarray(differences)
    first, second = np.triu_indices(array.size)
    means = np.sort((array[first] + array[second]) / 2)
    tail = (1 - confidence_frac) / 2
    outside = 0
    while outside < means.size // 2 and signed_cdf(outside, array.size) <= tail:
        outside += 1
    edge = max(outside - 1, 0)
    return float(means[edge]), float(np.median(means)), float(means[-1 - edge])


def spread(values: Sequence[float]) -> float:
    """A robust standard deviation: the median absolute deviation, scaled to the normal."""
    array = np.asarray(values)
    return float(1.4826 * np.median(np.abs(array - np.median(array))))


def autocorrelation(samples: Sequence[Sequence[float]]) -> float:
    """Lag-1 autocorrelation pooled over samples, outliers clipped."""
    numerator = denominator = 0.0
    for sample in samples:
        array = np.asarray(sample) - np.median(sample)
        limit = 3 * spread(sample)
        clipped = np.clip(array, -limit, limit) if limit > 0 else array
        clipped = clipped - clipped.mean()
        numerator += float((clipped[1:] * clipped[:-1]).sum())
        denominator += float((clipped * clipped).sum())
    return numerator / denominator if denominator > 0 else 0.0


def variance_inflation(autocorrelation_frac: float) -> float:
    """How much wider the variance of a mean is for correlated repeats: (1 + r) / (1 - r), at least 1."""
    r = min(max(autocorrelation_frac, 0.0), 0.9)
    return (1 + r) / (1 - r)


def two_sided_normal(z: float) -> float:
    """P(|Z| >= |z|)."""
    return math.erfc(abs(z) / math.sqrt(2))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i], reverse=True)
    result = [0.0] * len(p_values)
    smallest = 1.0
    for position, index in enumerate(order):
        rank = len(p_values) - position
        smallest = min(smallest, p_values[index] * len(p_values) / rank)
        result[index] = smallest
    return result
