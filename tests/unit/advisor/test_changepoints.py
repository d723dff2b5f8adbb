"""Lasting steps in a trend are found; outliers and noise are not steps."""

import math
import random

from advisor.regression.changepoints import steps, with_change_points
from advisor.types import Trend, TrendPoint


def _noisy(levels: list[float], seed: int = 1, noise: float = 0.01) -> list[float]:
    source = random.Random(seed)
    return [level * math.exp(source.gauss(0, noise)) for level in levels]


def test_a_lasting_step_is_found_where_it_is() -> None:
    assert steps(_noisy([100.0] * 12 + [90.0] * 12)) == [12]


def test_two_steps_are_told_apart() -> None:
    assert steps(_noisy([100.0] * 10 + [80.0] * 10 + [95.0] * 10)) == [10, 20]


def test_a_single_bad_run_is_no_step() -> None:
    values = _noisy([100.0] * 20)
    values[9] = 30.0
    assert steps(values) == []


def test_noise_is_no_step() -> None:
    assert sum(bool(steps(_noisy([100.0] * 20, seed, 0.03))) for seed in range(40)) <= 3


def test_a_step_too_small_to_matter_is_left_out() -> None:
    assert steps(_noisy([100.0] * 20 + [99.0] * 20, noise=0.001)) == []


def test_few_points_have_no_steps() -> None:
    assert steps([]) == []
    assert steps([1.0, 1.0, 1.0, 50.0, 50.0]) == []


def test_only_recent_points_are_looked_at() -> None:
    assert steps(_noisy([50.0] * 30 + [100.0] * 140 + [80.0] * 10)) == [170]


def test_a_marked_trend_names_date_levels_and_engines() -> None:
    values = _noisy([100.0] * 8 + [80.0] * 8)
    points = tuple(
        TrendPoint(created_at=f"2026-01-{i + 1:02d}T00:00:00Z", value=v, engine="b1" if i < 8 else "b2")
        for i, v in enumerate(values)
    )
    (change,) = with_change_points(Trend(machine_id="m", subject="s", metric="x_per_s", points=points)).change_points
    assert change.created_at == "2026-01-09T00:00:00Z"
    assert (change.engine_before, change.engine_after) == ("b1", "b2")
    assert abs(change.change_frac + 0.2) < 0.02


def test_a_trend_with_an_impossible_value_is_left_unmarked() -> None:
    points = tuple(TrendPoint(created_at=str(i), value=0.0) for i in range(10))
    assert with_change_points(Trend(machine_id="m", subject="s", metric="x", points=points)).change_points == ()
