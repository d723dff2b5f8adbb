"""A/A: halves of a run, pairs of like runs, and the smallest change that would be caught."""

import math
import random

import pytest

from advisor.regression.selftest import halves, selftest, smallest_change
from advisor.types import EngineBuild, MetricSeries, Run, RunCase, RunEnvironment, ValidationStatus


def _run(seed: int, *, noise: float = 0.02, offset: float = 0.0, rounds: int = 10, day: int = 1) -> Run:
    source = random.Random(seed)
    values = tuple(100.0 * math.exp(offset + source.gauss(0, noise)) for _ in range(rounds))
    series = MetricSeries(metric="decode_tokens_per_s", values=values, rounds=tuple(range(rounds)))
    environment = RunEnvironment(machine_id="m", hardware="box", os="linux", engine=EngineBuild(id="llama.cpp"))
    return Run(
        suite_name="smoke",
        suite_id="s",
        environment=environment,
        cases=(RunCase(subject="tiny", status=ValidationStatus.OK, series=(series,)),),
        created_at=f"2026-01-{day:02d}T00:00:00Z",
        tool_version="0",
        rounds_count=rounds,
    )


def test_halves_share_out_the_rounds() -> None:
    even, odd = halves(_run(1, rounds=11))
    assert even.cases[0].series[0].rounds == (0, 2, 4, 6, 8, 10)
    assert (even.rounds_count, odd.rounds_count) == (6, 5)


def test_one_run_is_compared_with_itself_and_a_short_one_is_not() -> None:
    assert selftest([_run(1)], created_at="", tool_version="").comparisons_count == 1
    assert selftest([_run(1, rounds=9)], created_at="", tool_version="").comparisons_count == 0


def test_every_pair_of_like_runs_counts_and_quiet_ones_raise_no_alarm() -> None:
    found = selftest([_run(i, day=i) for i in range(1, 7)], created_at="", tool_version="")
    assert found.comparisons_count == 15 + 6
    assert found.false_alarms_count == 0
    (line,) = found.resolutions
    assert line.runs_count == 6
    assert line.within_frac == pytest.approx(0.02, abs=0.01)


def test_a_wandering_machine_resolves_less_than_a_quiet_one() -> None:
    quiet = selftest([_run(i, day=i) for i in range(1, 9)], created_at="", tool_version="")
    wandering = [_run(i, day=i, offset=0.15 * (-1) ** i) for i in range(1, 9)]
    noisy = selftest(wandering, created_at="", tool_version="")
    assert noisy.resolutions[0].between_frac is not None
    assert noisy.resolutions[0].between_frac > 0.1
    assert noisy.resolutions[0].smallest_change_frac > 3 * quiet.resolutions[0].smallest_change_frac


def test_the_smallest_change_is_never_below_the_threshold() -> None:
    assert smallest_change(0.0, 0.05) == pytest.approx(0.05)
    assert smallest_change(0.03, 0.05) == pytest.approx(math.expm1((1.96 + 1.2816) * 0.03), rel=1e-3)
