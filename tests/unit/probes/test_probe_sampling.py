"""Sampling by a clock wound by hand: warm-up, stop rule, discarded windows, budgets."""

import itertools

import pytest
from probe_fakes import FakeCounters, fake_bench

from probes.sampling import rate_measurement, sample, sample_in_turn
from probes.types import ScanWarning


def test_a_steady_piece_of_work_stops_early_and_is_clean() -> None:
    with fake_bench(budget_s=60.0) as bench:
        samples = sample(lambda: bench.clock.sleep(0.02), bench)
    assert samples.best_s == samples.median_s == pytest.approx(0.02)
    assert samples.warmup_count == 1
    assert samples.warnings == ()
    assert samples.discarded_s == ()
    assert not samples.conditions.polluted
    assert 25 <= len(samples.elapsed_s) <= 30  # five windows of a tenth of a second
    assert samples.spread_frac == pytest.approx(0.0)


def test_work_that_keeps_getting_faster_is_followed_to_a_limit() -> None:
    calls = itertools.count()
    with fake_bench(budget_s=60.0) as bench:
        samples = sample(lambda: bench.clock.sleep(0.1 * 0.97 ** next(calls)), bench, warmups=0)
    assert samples.best_s == samples.elapsed_s[-1]
    assert len(samples.elapsed_s) > 5 * 2  # not content with five windows while each beats the last
    assert samples.best_s > 0.01  # nor going on for ever


def test_a_polluted_window_is_thrown_away_and_taken_again() -> None:
    with fake_bench(budget_s=60.0) as bench:
        assert isinstance(bench.read, FakeCounters)
        disturbed_until_s = bench.clock.now() + 0.3
        bench.read.others_cores = lambda at_s: 1.0 if at_s < disturbed_until_s else 0.0

        def work() -> None:
            bench.clock.sleep(0.09 if bench.clock.now() < disturbed_until_s else 0.02)

        samples = sample(work, bench, warmups=0)
    assert samples.discarded_s
    assert all(elapsed == pytest.approx(0.09) for elapsed in samples.discarded_s[:2])
    assert not samples.conditions.polluted
    assert ScanWarning.CONTENDED not in samples.warnings
    assert samples.median_s == pytest.approx(0.02)


def test_what_stays_polluted_is_kept_and_marked() -> None:
    with fake_bench(budget_s=1.0) as bench:
        assert isinstance(bench.read, FakeCounters)
        bench.read.others_cores = lambda _: 0.9
        samples = sample(lambda: bench.clock.sleep(0.02), bench)
    assert samples.conditions.polluted
    assert ScanWarning.CONTENDED in samples.warnings
    assert samples.conditions.notes == ("other processes used 0.9 cores",)
    assert len(samples.elapsed_s) > 10  # every raw repeat is there
    assert samples.discarded_s == ()


def test_a_budget_too_small_still_takes_one_repeat_and_says_so() -> None:
    with fake_bench(budget_s=0.001) as bench:
        samples = sample(lambda: bench.clock.sleep(0.5), bench, warmups=0)
    assert len(samples.elapsed_s) == 1
    assert ScanWarning.BUDGET_CUT in samples.warnings


def test_the_budget_is_kept_under_lasting_pollution() -> None:
    with fake_bench(budget_s=2.0) as bench:
        assert isinstance(bench.read, FakeCounters)
        bench.read.others_cores = lambda _: 2.0
        start_s = bench.clock.now()
        sample(lambda: bench.clock.sleep(0.05), bench)
        assert bench.clock.now() - start_s <= 2.0 + 0.15


def test_work_too_fast_to_see_does_not_fill_memory_or_divide_by_zero() -> None:
    with fake_bench(budget_s=1.0) as bench:
        calls = 0

        def work() -> None:
            nonlocal calls
            calls += 1
            if calls % 1000 == 0:
                bench.clock.sleep(0.2)

        samples = sample(work, bench, warmups=0)
    assert min(samples.elapsed_s) > 0
    assert len(samples.elapsed_s) <= 12_000


def test_turns_are_shared_out_evenly_and_pollution_hits_all_alike() -> None:
    with fake_bench(budget_s=60.0) as bench:
        assert isinstance(bench.read, FakeCounters)
        disturbed_until_s = bench.clock.now() + 0.35
        bench.read.others_cores = lambda at_s: 1.0 if at_s < disturbed_until_s else 0.0
        fast, slow = sample_in_turn([lambda: bench.clock.sleep(0.01), lambda: bench.clock.sleep(0.03)], bench)
    assert len(fast.elapsed_s) == len(slow.elapsed_s)
    assert len(fast.discarded_s) == len(slow.discarded_s) > 0
    assert fast.best_s == pytest.approx(0.01)
    assert slow.best_s == pytest.approx(0.03)


def test_a_rate_is_work_over_time_and_keeps_the_raw_repeats() -> None:
    with fake_bench(budget_s=60.0) as bench:
        samples = sample(lambda: bench.clock.sleep(0.02), bench)
    measured = rate_measurement(samples, quantity="read", unit="bytes_per_s", work_bytes=2_000_000, threads_count=2)
    assert measured.value == pytest.approx(1e8)
    assert measured.median_value == pytest.approx(1e8)
    assert measured.elapsed_s == samples.elapsed_s
    assert measured.conditions == samples.conditions


@pytest.mark.parametrize("unit", ["bytes_per_s", "flop_per_s"])
def test_a_rate_without_its_work_is_refused(unit: str) -> None:
    with fake_bench() as bench:
        samples = sample(lambda: bench.clock.sleep(0.5), bench)
    with pytest.raises(ValueError, match=unit):
        rate_measurement(samples, quantity="read", unit=unit)


def test_the_median_and_the_quartiles_tell_the_spread() -> None:
    durations = iter([0.05, 0.06, 0.07, 0.08] * 50)
    with fake_bench(budget_s=60.0) as bench:
        samples = sample(lambda: bench.clock.sleep(next(durations)), bench, warmups=0)
    assert 0.05 < samples.median_s < 0.08
    assert 0.1 < samples.spread_frac < 0.5


def test_times_that_differ_for_no_visible_cause_are_marked_unsteady() -> None:
    durations = iter([0.02, 0.05] * 200)
    with fake_bench(budget_s=60.0) as bench:
        samples = sample(lambda: bench.clock.sleep(next(durations)), bench, warmups=0)
    assert not samples.conditions.polluted
    assert ScanWarning.UNSTEADY in samples.warnings
