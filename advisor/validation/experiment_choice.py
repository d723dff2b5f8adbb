"""Which run to make next when there is time for few: the one that removes most doubt about the order per second.

A pick's score is known as a normal distribution; its spread comes from the interval of its predicted speed, which
a run would remove. Two picks may be in the wrong order with the probability that the lower one is really better.
*Doubt* is the sum of these over all pairs, each divided by the better rank of the two: who is first matters most.
A run's gain is the doubt it is expected to remove, averaged over what it may find (Lindley's expected information,
with wrong order as the loss). Pure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

#: Nodes and weights of a standard normal average (Gauss-Hermite, nine points, probabilists' form).
_NODES = (0.0, 1.023255663789133, 2.076847978677831, 3.205429002856470, 4.512745863399783)
_WEIGHTS = (0.406349206349206, 0.244097502894939, 0.049916406765218, 0.002789141321232, 0.000022345844008)
_AVERAGE = tuple(
    (sign * node, weight)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True)
    for sign in ((1.0, -1.0) if node else (1.0,))
)
LEAST_GAIN = 0.002  # doubt: less is not worth a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A pick whose place is in doubt: its score, how unsure that is, and the seconds a run of it takes.

    ``sigma`` counts only what a run would settle; 0 once it was run. One that is not ``runnable`` was tried in vain.
    """

    key: str
    score: float
    sigma: float
    cost_s: float
    runnable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A run worth making: which, the doubt it is expected to remove, and its seconds."""

    key: str
    gain: float
    cost_s: float


def wrong_order_chance(first: Contender, second: Contender) -> float:
    """Probability that the one with the lower score is really the better one; at most one half."""
    spread = math.hypot(first.sigma, second.sigma)
    return _tail(abs(first.score - second.score), spread)


def _tail(gap: float, spread: float) -> float:
    if spread <= 0.0:
        return 0.5 if gap == 0.0 else 0.0
    return 0.5 * math.erfc(gap / (spread * math.sqrt(2.0)))


def _by_rank(contenders: Sequence[Contender]) -> list[Contender]:
    return sorted(contenders, key=lambda contender: (-contender.score, contender.key))


def doubt(contenders: Sequence[Contender]) -> float:
    """Expected number of wrongly ordered pairs, those at the top counted most."""
    ranked = list(enumerate(_by_rank(contenders), start=1))
    return sum(wrong_order_chance(upper, lower) / rank for (rank, upper), (_, lower) in combinations(ranked, 2))


def gain(contenders: Sequence[Contender], key: str) -> float:
    """Doubt that a run of one contender is expected to remove; never negative.

    Knowing one's score exactly leaves, in each pair, the other's spread.
    """
    ranked = _by_rank(contenders)
    place = next(index for index, contender in enumerate(ranked) if contender.key == key)
    chosen = ranked[place]
    if chosen.sigma <= 0.0:
        return 0.0
    total = 0.0
    for index, other in enumerate(ranked):
        if index != place:
            removed = wrong_order_chance(chosen, other) - _expected_after(chosen, other)
            total += max(0.0, removed) / (min(index, place) + 1)
    return total


def _expected_after(chosen: Contender, other: Contender) -> float:
    """Chance of a wrong order once one's score is known, averaged over what it may turn out to be."""
    if other.sigma <= 0.0:
        return 0.0
    gap = chosen.score - other.score
    return sum(weight * _tail(abs(gap + chosen.sigma * node), other.sigma) for node, weight in _AVERAGE)


def next_experiment(contenders: Sequence[Contender], left_s: float) -> Experiment | None:
    """The affordable run that removes most doubt per second; None if none would remove any worth the name."""
    options = [
        Experiment(key=contender.key, gain=gain(contenders, contender.key), cost_s=contender.cost_s)
        for contender in _by_rank(contenders)
        if contender.runnable and contender.sigma > 0.0 and contender.cost_s <= left_s
    ]
    worth = [option for option in options if option.gain >= LEAST_GAIN]
    return max(worth, key=lambda option: option.gain / max(option.cost_s, 1e-9), default=None)


def settled(contenders: Sequence[Contender], key: str, score: float | None) -> tuple[Contender, ...]:
    """The contenders after a run: its score is now known.

    None for a run that could not be made, or was disturbed: it taught nothing and is not tried again.
    """

    def after(contender: Contender) -> Contender:
        if contender.key != key:
            return contender
        return replace(contender, runnable=False) if score is None else replace(contender, score=score, sigma=0.0)

    return tuple(map(after, contenders))
