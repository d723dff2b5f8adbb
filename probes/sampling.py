"""Take repeats of a timed piece of work: warm up, watch each window, discard polluted ones, know when to stop.

Deterministic given a clock and counters, so tests run it without waiting.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from probes.base import Bench
from probes.guard import Window, merge
from probes.types import Conditions, Measurement, ScanWarning

_WINDOW_S = 0.1  # ten ticks of the coarsest common counter
_STEADY_GAIN_FRAC = 0.01  # stop once a window no longer beats the best by more than this
_MIN_CLEAN_WINDOWS = 5
_ACCELERATOR_CLEAN_WINDOWS = 3
_QUICK_CLEAN_WINDOWS = 2
_MAX_CLEAN_WINDOWS = 12
_MAX_REPEATS_PER_WINDOW = 1000
_UNSTEADY_FRAC = 0.2  # quartiles this far apart: something unseen shares the memory or the caches


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Raw repeats, oldest first. ``discarded_s`` are those of polluted windows that were retried."""

    elapsed_s: tuple[float, ...]
    warmup_count: int
    conditions: Conditions
    warnings: tuple[ScanWarning, ...] = ()
    discarded_s: tuple[float, ...] = ()

    @property
    def best_s(self) -> float:
        """The fastest repeat: the least disturbed one."""
        return min(self.elapsed_s)

    @property
    def median_s(self) -> float:
        """The middle repeat."""
        return statistics.median(self.elapsed_s)

    @property
    def spread_frac(self) -> float:
        """Distance between the quartiles, relative to the median."""
        if len(self.elapsed_s) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.elapsed_s, n=4, method="inclusive")
        return (high - low) / self.median_s


@dataclass(slots=True)
class _Tally:
    clean: list[tuple[list[float], Window]] = field(default_factory=list)
    polluted: list[tuple[list[float], Window]] = field(default_factory=list)
    steady: bool = False

    def add(self, repeats: list[float], window: Window) -> None:
        if window.conditions.polluted:
            self.polluted.append((repeats, window))
            return
        best_before_s = min((min(earlier) for earlier, _ in self.clean), default=float("inf"))
        self.steady = min(repeats) > best_before_s * (1 - _STEADY_GAIN_FRAC)
        self.clean.append((repeats, window))

    def enough(self, bench: Bench) -> bool:
        count = len(self.clean)
        return count >= _MAX_CLEAN_WINDOWS or (count >= wanted_windows(bench) and self.steady)


def wanted_windows(bench: Bench) -> int:
    """Clean windows a figure should rest on: fewer on an accelerator, which others on the processor hardly disturb."""
    if bench.quick:
        return _QUICK_CLEAN_WINDOWS
    return _ACCELERATOR_CLEAN_WINDOWS if bench.accelerator else _MIN_CLEAN_WINDOWS


def sample(work: Callable[[], None], bench: Bench, *, budget_s: float | None = None, warmups: int = 1) -> Samples:
    """Repeat ``work`` in watched windows until the best time is steady or the budget is spent.

    A polluted window is taken again while there is time. If no window was clean, the polluted ones
    are kept and marked. At least one repeat is always taken.
    """
    clock = bench.clock
    deadline_s = clock.now() + (bench.budget_s if budget_s is None else budget_s)
    for _ in range(warmups):
        work()
    tally = _Tally()
    while True:
        window = Window(bench.read)
        repeats = _fill_window(work, bench, deadline_s)
        window.close()
        tally.add(repeats, window)
        if tally.enough(bench) or clock.now() >= deadline_s:
            return _summarise(tally, warmups, bench)


def sample_in_turn(works: Sequence[Callable[[], None]], bench: Bench) -> tuple[Samples, ...]:
    """Samples of several pieces of work whose repeats take turns, so that all see the same conditions.

    Windows hold whole turns and are discarded and retried like those of `sample`; at least one turn is taken.
    """
    clock = bench.clock
    deadline_s = clock.now() + bench.budget_s
    for work in works:
        work()
    tallies = [_Tally() for _ in works]
    while True:
        window = Window(bench.read)
        turns = _fill_window_in_turn(works, bench, deadline_s)
        window.close()
        for index, tally in enumerate(tallies):
            tally.add([turn[index] for turn in turns], window)
        if all(tally.enough(bench) for tally in tallies) or clock.now() >= deadline_s:
            return tuple(_summarise(tally, 1, bench) for tally in tallies)


def _fill_window_in_turn(works: Sequence[Callable[[], None]], bench: Bench, deadline_s: float) -> list[list[float]]:
    opened_s = bench.clock.now()
    turns: list[list[float]] = []
    while True:
        turns.append([_timed(work, bench) for work in works])
        now_s = bench.clock.now()
        if now_s - opened_s >= _WINDOW_S or now_s >= deadline_s or len(turns) >= _MAX_REPEATS_PER_WINDOW:
            return turns


def _timed(work: Callable[[], None], bench: Bench) -> float:
    before_s = bench.clock.now()
    work()
    return max(bench.clock.now() - before_s, 1e-9)


def _fill_window(work: Callable[[], None], bench: Bench, deadline_s: float) -> list[float]:
    clock = bench.clock
    opened_s = before_s = clock.now()
    repeats: list[float] = []
    while len(repeats) < _MAX_REPEATS_PER_WINDOW:
        work()
        after_s = clock.now()
        repeats.append(max(after_s - before_s, 1e-9))
        if after_s - opened_s >= _WINDOW_S or after_s >= deadline_s:
            break
        before_s = after_s
    return repeats


def _summarise(tally: _Tally, warmups: int, bench: Bench) -> Samples:
    kept = tally.clean or tally.polluted
    discarded = tally.polluted if tally.clean else []
    warnings = [warning for _, window in kept for warning in window.conditions.causes]
    if len(kept) < wanted_windows(bench):
        warnings.append(ScanWarning.BUDGET_CUT)
    samples = Samples(
        elapsed_s=tuple(elapsed for repeats, _ in kept for elapsed in repeats),
        warmup_count=warmups,
        conditions=merge([window.conditions for _, window in kept]),
        warnings=tuple(dict.fromkeys(warnings)),
        discarded_s=tuple(elapsed for repeats, _ in discarded for elapsed in repeats),
    )
    if tally.clean and samples.spread_frac > _UNSTEADY_FRAC:
        return replace(samples, warnings=(*samples.warnings, ScanWarning.UNSTEADY))
    return samples


def rate_measurement(
    samples: Samples,
    *,
    quantity: str,
    unit: str,
    work_bytes: int | None = None,
    work_flop: int | None = None,
    dtype: str | None = None,
    shape: tuple[int, ...] = (),
    threads_count: int | None = None,
    peer_device_id: str | None = None,
    warnings: tuple[ScanWarning, ...] = (),
    details: Mapping[str, tuple[float, ...]] | None = None,
) -> Measurement:
    """A measurement whose value is work done per second, in ``unit``: bytes or flop.

    Raises:
        ValueError: if the work in that unit is not given.
    """
    work = work_flop if unit == "flop_per_s" else work_bytes
    if not work:
        raise ValueError(f"a rate in {unit} needs its work")
    extra = dict(details or {})
    if samples.discarded_s:
        extra["discarded_elapsed_s"] = samples.discarded_s
    return Measurement(
        quantity=quantity,
        unit=unit,
        value=work / samples.best_s,
        median_value=work / samples.median_s,
        dtype=dtype,
        shape=shape,
        work_bytes=work_bytes,
        work_flop=work_flop,
        threads_count=threads_count,
        peer_device_id=peer_device_id,
        warmup_count=samples.warmup_count,
        elapsed_s=samples.elapsed_s,
        spread_frac=samples.spread_frac,
        conditions=samples.conditions,
        warnings=tuple(dict.fromkeys(samples.warnings + warnings)),
        details=extra,
    )
