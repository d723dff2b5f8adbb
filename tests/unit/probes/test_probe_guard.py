"""The guard: what marks a window, what leaves it clean, and a real load that it must see."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest
from probe_recordings import recorded

from probes.counters import (
    Counters,
    parse_proc_stat,
    parse_process_stat,
    parse_throttled_s,
    read_counters,
    total_throttled_s,
)
from probes.guard import judge, merge, watch
from probes.types import Conditions, ScanWarning

QUIET = Counters(
    at_s=10.0, cores_count=2, busy_s=100.0, steal_s=1.0, own_s=40.0, resolution_s=0.01, involuntary_switches_count=7
)


def after(duration_s: float = 1.0, **changes: float) -> Counters:
    """The quiet counters a while later: everything that ran was ours, plus what a test adds."""
    own_s = changes.pop("own_s", 2 * duration_s)
    others_s = changes.pop("others_s", 0.0)
    steal_s = changes.pop("steal_s", 0.0)
    return replace(
        QUIET,
        at_s=10.0 + duration_s,
        own_s=40.0 + own_s,
        busy_s=100.0 + own_s + others_s,
        steal_s=1.0 + steal_s,
        **changes,
    )


def test_a_window_without_rivals_is_clean() -> None:
    conditions = judge(QUIET, after())
    assert not conditions.polluted
    assert conditions.other_busy_cores_frac == pytest.approx(0.0, abs=1e-9)
    assert conditions.notes == conditions.causes == ()


def test_another_process_marks_the_window_and_is_put_in_cores() -> None:
    conditions = judge(QUIET, after(others_s=0.9))
    assert conditions.polluted
    assert conditions.causes == (ScanWarning.CONTENDED,)
    assert conditions.notes == ("other processes used 0.9 cores",)


def test_a_share_that_a_desktop_idles_at_does_not_mark() -> None:
    assert not judge(QUIET, after(others_s=0.05)).polluted
    many = replace(QUIET, cores_count=32)
    assert not judge(many, replace(after(others_s=1.0), cores_count=32)).polluted
    assert judge(many, replace(after(others_s=4.0), cores_count=32)).polluted


def test_a_short_window_is_not_marked_by_the_counters_own_coarseness() -> None:
    assert not judge(QUIET, after(0.1, others_s=0.02)).polluted
    assert judge(QUIET, after(0.1, others_s=0.09)).polluted


def test_steal_marks() -> None:
    conditions = judge(QUIET, after(steal_s=0.4))
    assert conditions.causes == (ScanWarning.STOLEN,)
    assert conditions.steal_frac == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("before", "later"),
    [({"throttled_s": 3.0}, {"throttled_s": 3.5}), ({"heat_throttles_count": 4}, {"heat_throttles_count": 6})],
)
def test_a_quota_and_heat_mark_as_throttling(before: dict[str, float], later: dict[str, float]) -> None:
    conditions = judge(replace(QUIET, **before), after(**later))
    assert conditions.polluted
    assert conditions.causes == (ScanWarning.THROTTLED,)


def test_preemptions_speak_only_where_others_time_is_unknown() -> None:
    many_switches = {"involuntary_switches_count": 900}
    assert not judge(QUIET, after(**many_switches)).polluted
    blind = replace(QUIET, busy_s=None)
    assert judge(blind, replace(after(**many_switches), busy_s=None)).causes == (ScanWarning.CONTENDED,)


def test_nothing_known_is_nothing_marked() -> None:
    nothing = Counters(at_s=1.0, cores_count=1)
    assert judge(nothing, replace(nothing, at_s=2.0)) == Conditions()


def test_a_counter_that_goes_backwards_counts_as_zero() -> None:
    assert judge(QUIET, replace(after(), busy_s=1.0, steal_s=0.0)).other_busy_cores_frac == 0.0


def test_on_many_cores_a_short_window_may_be_off_by_the_sum_of_their_errors() -> None:
    """As on an idle machine of 16 cores, where windows of a tenth of a second showed 1.1 cores now and then."""
    many = replace(QUIET, cores_count=16)
    assert not judge(many, replace(after(0.1, others_s=0.11), cores_count=16)).polluted
    assert judge(many, replace(after(1.0, others_s=1.1), cores_count=16)).polluted


def test_what_the_gpu_says_of_itself_marks_the_window() -> None:
    hot = judge(QUIET, after(gpu_throttled=True, gpu_busy_by_others=False))
    shared = judge(QUIET, after(gpu_throttled=False, gpu_busy_by_others=True))
    assert (hot.polluted, hot.causes) == (True, (ScanWarning.GPU_THROTTLED,))
    assert (shared.polluted, shared.causes) == (True, (ScanWarning.GPU_CONTENDED,))
    found = merge([judge(QUIET, after()), hot, shared])
    assert (found.gpu_throttled, found.gpu_busy_by_others) == (True, True)
    assert merge([judge(QUIET, after())]).gpu_throttled is None
    assert not judge(QUIET, after(gpu_throttled=False, gpu_busy_by_others=False)).polluted


def test_merging_takes_the_mean_of_others_and_the_worst_note_per_cause() -> None:
    quiet = Conditions(other_busy_cores_frac=0.0, involuntary_switches_count=3, frequency_hz=3e9)
    busy = judge(QUIET, after(others_s=0.5))
    busier = judge(QUIET, after(others_s=1.5))
    found = merge([quiet, busy, busier])
    assert found.polluted
    assert found.notes == ("other processes used 1.5 cores",)
    assert found.other_busy_cores_frac == pytest.approx(2.0 / 3)
    assert found.involuntary_switches_count == 3
    assert found.frequency_hz == 3e9


def test_a_window_is_fixed_once_it_closes() -> None:
    readings = iter([QUIET, after(others_s=0.9), after(2.0, others_s=9.0)])
    with watch(read=lambda: next(readings)) as window:
        pass
    assert window.conditions.notes == ("other processes used 0.9 cores",)
    window.close()
    assert window.conditions.notes == ("other processes used 0.9 cores",)


def test_a_window_closes_when_its_block_raises() -> None:
    readings = iter([QUIET, after(others_s=0.9)])
    with pytest.raises(ValueError, match="boom"), watch(read=lambda: next(readings)) as window:
        raise ValueError("boom")
    assert window.conditions.polluted


def test_proc_stat_is_summed_over_our_cores_only() -> None:
    text = recorded("proc/stat_epyc_zen5_vm.txt")
    whole = parse_proc_stat(text, frozenset({0, 1}))
    one = parse_proc_stat(text, frozenset({1}))
    assert whole is not None
    assert one is not None
    total = [int(value) for value in text.splitlines()[0].split()[1:]]
    assert whole[0] == pytest.approx(sum(total[i] for i in (0, 1, 2, 5, 6)) / 100, abs=0.05)
    assert 0 < one[0] < whole[0]
    assert whole[2] is not None


@pytest.mark.parametrize("text", ["", "cpu", "cpu  a b c", "intr 1 2 3\n", "cpu0 1 2\n"])
def test_a_proc_stat_that_cannot_be_read_is_none(text: str) -> None:
    assert parse_proc_stat(text, frozenset({0})) is None


def test_throttling_of_both_versions_of_control_groups() -> None:
    assert parse_throttled_s("nr_periods 3\nthrottled_usec 350000\n") == pytest.approx(0.35)
    assert parse_throttled_s("nr_periods 3\nthrottled_time 1500000000\n") == pytest.approx(1.5)
    assert parse_throttled_s("garbage") is None


def test_a_quota_on_any_group_above_ours_counts_once() -> None:
    inner, outer = "usage_usec 9\nthrottled_usec 0\n", "usage_usec 9\nthrottled_usec 1500000\n"
    root = "usage_usec 9\n"  # the root group has no quota and no such line
    assert total_throttled_s([inner, outer, root]) == pytest.approx(1.5)
    assert total_throttled_s([root, ""]) is None


def test_process_time_survives_a_hostile_process_name() -> None:
    line = "42 (a) S) b 9) R 1 1 1 0 -1 0 0 0 0 0 120 30 10 5 20 0 1 0 99 0 0"
    assert parse_process_stat(line) == pytest.approx(1.65)
    assert parse_process_stat("42 (short) R 1") is None


def test_reading_costs_far_less_than_a_window() -> None:
    read_counters()
    fastest_s = min(_timed_read() for _ in range(20))
    assert fastest_s < 0.02  # generous: a tick of the counters is 10 ms, and this box is shared


def _timed_read() -> float:
    start_s = time.perf_counter()
    read_counters()
    return time.perf_counter() - start_s


@pytest.fixture
def loaded_machine():
    """Another process on every core, for as long as the test runs."""
    cores = read_counters().cores_count
    program = "while True: pass"
    rivals = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(cores)]
    try:
        time.sleep(0.1)
        yield
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()


def _spin(duration_s: float) -> None:
    end_s = time.perf_counter() + duration_s
    while time.perf_counter() < end_s:
        pass


@pytest.mark.skipif(read_counters().busy_s is None, reason="this system does not tell how busy it is")
def test_a_real_rival_on_every_core_is_seen(loaded_machine: None) -> None:
    with watch() as window:
        _spin(0.5)
    assert window.conditions.polluted
    assert ScanWarning.CONTENDED in window.conditions.causes
    assert (window.conditions.other_busy_cores_frac or 0) > 0.3


def test_our_own_work_and_that_of_ended_children_is_put_to_our_account() -> None:
    own_before_s, used_before_s = read_counters().own_s, time.process_time()
    subprocess.run([sys.executable, "-c", "sum(range(3 * 10**6))"], check=True)
    _spin(0.2)
    used_s = time.process_time() - used_before_s
    counted_s = (read_counters().own_s or 0.0) - (own_before_s or 0.0)
    assert counted_s >= used_s * 0.9  # the child's share comes on top


@pytest.mark.skipif(read_counters().busy_s is None, reason="this system does not tell how busy it is")
def test_a_real_quiet_window_stays_unmarked() -> None:
    """Quiet by an independent meter before and after; on a box that never is, there is nothing to test."""
    import psutil

    for _ in range(6):
        idle_before = psutil.cpu_percent(interval=0.2) < 4.0
        with watch() as window:
            time.sleep(0.4)
        if idle_before and psutil.cpu_percent(interval=0.2) < 4.0:
            assert not window.conditions.polluted, window.conditions.notes
            return
    pytest.skip("other programs kept this machine busy")
