"""A clock wound by hand, counters that say what they are told, and a bench made of both."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from probes.base import Bench
from probes.counters import Counters
from probes.team import Team


class FakeClock:
    """Time passes only when something sleeps or works."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def now(self) -> float:
        return self.time_s

    def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s


class FakeCounters:
    """Counters of a machine on which others use a number of cores, as a function of time."""

    def __init__(self, clock: FakeClock, cores_count: int = 2) -> None:
        self.clock = clock
        self.others_cores: Callable[[float], float] = lambda _: 0.0
        self._last_s = clock.now()
        self._totals = Counters(
            at_s=clock.now(),
            cores_count=cores_count,
            busy_s=50.0,
            steal_s=1.0,
            own_s=10.0,
            involuntary_switches_count=5,
            throttled_s=0.0,
        )

    def __call__(self) -> Counters:
        now_s = self.clock.now()
        elapsed_s = now_s - self._last_s
        own_s = elapsed_s * self._totals.cores_count
        others_s = elapsed_s * self.others_cores(now_s)
        self._last_s = now_s
        self._totals = replace(
            self._totals,
            at_s=now_s,
            own_s=(self._totals.own_s or 0.0) + own_s,
            busy_s=(self._totals.busy_s or 0.0) + own_s + others_s,
        )
        return self._totals


@contextmanager
def fake_bench(budget_s: float = 5.0, memory_bytes: int = 64 << 20, threads_count: int = 2) -> Iterator[Bench]:
    """A bench whose clock stands still unless the test winds it."""
    clock = FakeClock()
    with Team(threads_count) as team:
        yield Bench(
            budget_s=budget_s,
            memory_bytes=memory_bytes,
            team=team,
            clock=clock,
            read=FakeCounters(clock, threads_count),
        )


@contextmanager
def real_bench(budget_s: float = 0.3, memory_bytes: int = 24 << 20, threads_count: int = 2) -> Iterator[Bench]:
    """A bench on this machine, small enough for a unit test."""
    with Team(threads_count) as team:
        yield Bench(budget_s=budget_s, memory_bytes=memory_bytes, team=team)
