"""Choosing which run to make: doubt, what a run is worth, and when to stop."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.validation.experiment_choice import (
    LEAST_GAIN,
    Contender,
    doubt,
    gain,
    next_experiment,
    settled,
    wrong_order_chance,
)

SCORE = st.floats(0.0, 100.0)
SIGMA = st.floats(0.0, 20.0)


@st.composite
def fields(draw, least: int = 2):
    count = draw(st.integers(least, 8))
    return tuple(
        Contender(
            key=f"m{index}",
            score=draw(SCORE),
            sigma=draw(SIGMA),
            cost_s=draw(st.floats(0.1, 100.0)),
            runnable=draw(st.booleans()) if index else True,
        )
        for index in range(count)
    )


@given(fields())
def test_a_wrong_order_is_never_likelier_than_not(contenders):
    for one in contenders:
        for other in contenders:
            assert 0.0 <= wrong_order_chance(one, other) <= 0.5
            assert wrong_order_chance(one, other) == wrong_order_chance(other, one)


@given(fields())
def test_a_run_never_adds_doubt_and_never_removes_more_than_there_is(contenders):
    whole = doubt(contenders)
    for contender in contenders:
        assert -1e-12 <= gain(contenders, contender.key) <= whole + 1e-9


@given(fields(), st.floats(0.0, 200.0))
def test_what_is_chosen_can_be_run_and_paid(contenders, left_s):
    chosen = next_experiment(contenders, left_s)
    if chosen is None:
        return
    contender = next(each for each in contenders if each.key == chosen.key)
    assert contender.runnable
    assert contender.sigma > 0
    assert contender.cost_s <= left_s
    rate = chosen.gain / chosen.cost_s
    for other in contenders:
        if other.runnable and other.sigma > 0 and other.cost_s <= left_s:
            removed = gain(contenders, other.key)
            assert removed < LEAST_GAIN or removed / other.cost_s <= rate + 1e-9


@given(fields())
def test_runs_come_to_an_end(contenders):
    runs = 0
    while (chosen := next_experiment(contenders, 1e9)) is not None:
        runs += 1
        contenders = settled(contenders, chosen.key, next(c.score for c in contenders if c.key == chosen.key))
        assert runs <= len(contenders)


@given(fields(), st.integers(0, 7), SCORE)
def test_a_settled_one_is_no_longer_in_doubt_and_the_others_are_as_they_were(contenders, index, score):
    key = contenders[index % len(contenders)].key
    after = settled(contenders, key, score)
    assert gain(after, key) == 0.0
    assert [c for c in after if c.key != key] == [c for c in contenders if c.key != key]
    vain = settled(contenders, key, None)
    assert doubt(vain) == doubt(contenders)
    assert all(not c.runnable for c in vain if c.key == key)


def contender(key: str, score: float, sigma: float = 2.0, cost_s: float = 10.0) -> Contender:
    return Contender(key=key, score=score, sigma=sigma, cost_s=cost_s)


def test_nothing_is_worth_running_when_the_order_is_clear():
    assert next_experiment([contender("a", 90), contender("b", 50), contender("c", 10)], 1000) is None


def test_the_top_is_settled_before_the_bottom():
    chosen = next_experiment([contender("a", 90), contender("b", 89), contender("y", 30), contender("z", 29)], 1000)
    assert chosen.key in ("a", "b")


def test_the_one_all_others_hang_on_is_run_first():
    pivot = contender("b", 80.0, sigma=10.0)
    others = [contender("a", 85.0, sigma=0.5), contender("c", 75.0, sigma=0.5)]
    assert next_experiment([*others, pivot], 1000).key == "b"


def test_of_equals_the_cheaper_is_run():
    pair = [contender("a", 80.0), contender("b", 80.0)]
    assert next_experiment([pair[0], replace(pair[1], cost_s=1.0)], 1000).key == "b"
    assert next_experiment([pair[0], replace(pair[1], cost_s=30.0)], 20.0).key == "a"
    assert next_experiment(pair, 5.0) is None


@pytest.mark.parametrize("seed", range(5))
def test_the_expected_gain_is_what_runs_remove_on_average(seed):
    """Simulated: draw what a run finds from what is believed, and see how much doubt is left."""
    rng = random.Random(seed)
    contenders = [contender(f"m{i}", rng.uniform(70, 80), rng.uniform(1, 4)) for i in range(2)]
    key = contenders[0].key
    before = doubt(contenders)
    left = [doubt(settled(contenders, key, rng.gauss(contenders[0].score, contenders[0].sigma))) for _ in range(4000)]
    assert before - sum(left) / len(left) == pytest.approx(gain(contenders, key), abs=0.02)
