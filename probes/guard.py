"""Watch the machine while something is timed, and say whether the figure can be trusted.

    with watch() as window:
        run_the_timed_work()
    if window.conditions.polluted: ...

Judging is pure: two readings of the counters in, conditions out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from probes.counters import Counters, read_counters
from probes.types import Conditions, ScanWarning

# A window is polluted past any of these. Quiet desktops idle at 1-3 % of their cores.
_OTHERS_FLOOR_CORES = 0.12
_OTHERS_SHARE_OF_CORES = 0.05
_STEAL_FRAC = 0.03
_THROTTLED_FRAC = 0.02
_PREEMPTIONS_PER_CORE_S = 60.0  # only where others' time is unknown: our own threads preempt each other, too
_RESOLUTION_TICKS = 2.0  # each end of the window may be off by a tick per core, either way


def judge(before: Counters, after: Counters) -> Conditions:
    """Compare two readings; a window is polluted when others took a share of our cores worth marking."""
    elapsed_s = max(after.at_s - before.at_s, 1e-9)
    busy = _difference(before.busy_s, after.busy_s)
    own = _difference(before.own_s, after.own_s)
    others = None if busy is None or own is None else max(0.0, busy - own) / elapsed_s
    steal = _difference(before.steal_s, after.steal_s)
    steal_frac = None if steal is None else steal / (elapsed_s * after.cores_count)
    throttled = _difference(before.throttled_s, after.throttled_s)
    switches = _difference(before.involuntary_switches_count, after.involuntary_switches_count)
    heat = _difference(before.heat_throttles_count, after.heat_throttles_count)

    blur = _RESOLUTION_TICKS * after.resolution_s / elapsed_s
    others_blur = blur * math.sqrt(after.cores_count)  # every core is off on its own, and others' time is their sum
    findings: dict[ScanWarning, str] = {}
    if others is not None and others > _others_limit(after.cores_count) + others_blur:
        findings[ScanWarning.CONTENDED] = f"other processes used {others:.1f} cores"
    if steal_frac is not None and steal_frac > _STEAL_FRAC + blur:
        findings[ScanWarning.STOLEN] = f"the hypervisor took {steal_frac:.0%} of the cores"
    if throttled is not None and throttled > _THROTTLED_FRAC * elapsed_s:
        findings[ScanWarning.THROTTLED] = f"the CPU quota held us back for {throttled:.2f} s"
    if heat:
        findings.setdefault(ScanWarning.THROTTLED, "the processor slowed down to cool")
    if others is None and _preempted(switches, own, elapsed_s):
        findings[ScanWarning.CONTENDED] = f"our threads were preempted {switches:.0f} times"
    if after.gpu_busy_by_others:
        findings[ScanWarning.GPU_CONTENDED] = "other programs used the GPU"
    if after.gpu_throttled:
        findings[ScanWarning.GPU_THROTTLED] = "heat or its power supply slowed the GPU"
    return Conditions(
        other_busy_cores_frac=others,
        steal_frac=steal_frac,
        involuntary_switches_count=None if switches is None else round(switches),
        run_queue_count=None if after.run_queue_count is None else float(after.run_queue_count),
        throttled_s=throttled,
        frequency_hz=after.frequency_hz,
        temperature_celsius=after.temperature_celsius,
        polluted=bool(findings),
        notes=tuple(findings.values()),
        causes=tuple(findings),
        gpu_throttled=after.gpu_throttled,
        gpu_busy_by_others=after.gpu_busy_by_others,
    )


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)


def _others_limit(cores_count: int) -> float:
    return max(_OTHERS_FLOOR_CORES, _OTHERS_SHARE_OF_CORES * cores_count)


def _preempted(switches: float | None, own_s: float | None, elapsed_s: float) -> bool:
    if switches is None or own_s is None:
        return False
    return switches > 10 and switches > _PREEMPTIONS_PER_CORE_S * max(own_s, elapsed_s)


class Window:
    """The machine's state since the window opened; fixed once it closes."""

    def __init__(self, read: Callable[[], Counters]) -> None:
        self._read = read
        self._before = read()
        self._after: Counters | None = None

    def close(self) -> None:
        """Take the closing reading; later calls change nothing."""
        self._after = self._after or self._read()

    @property
    def conditions(self) -> Conditions:
        """Conditions of the window so far; ``causes`` are the warnings its measurement must carry."""
        return judge(self._before, self._after or self._read())


@contextmanager
def watch(*, pids: Sequence[int] = (), read: Callable[[], Counters] | None = None) -> Iterator[Window]:
    """Record conditions around a timed block; opening and closing cost under a millisecond each.

    Args:
        pids: running processes whose CPU time is ours, such as an engine's worker. Children that
            end inside the window count as ours anyway.
        read: where the counters come from; tests pass recorded ones.
    """
    window = Window(read or partial(read_counters, pids))
    try:
        yield window
    finally:
        window.close()


def merge(conditions: Sequence[Conditions]) -> Conditions:
    """The conditions of several windows as one, polluted if any was.

    Each is the worst, except what others and the host took of the processor: over a tenth of a second on many
    cores the counters are coarse, and the largest of many such readings would be mostly their error.
    """
    switches = _total([item.involuntary_switches_count for item in conditions])
    notes: dict[ScanWarning, str] = {}
    for item in sorted(conditions, key=_disturbance, reverse=True):
        for cause, note in zip(item.causes, item.notes, strict=False):
            notes.setdefault(cause, note)
    return Conditions(
        other_busy_cores_frac=_mean([item.other_busy_cores_frac for item in conditions]),
        steal_frac=_mean([item.steal_frac for item in conditions]),
        involuntary_switches_count=None if switches is None else round(switches),
        run_queue_count=_worst([item.run_queue_count for item in conditions]),
        throttled_s=_total([item.throttled_s for item in conditions]),
        frequency_hz=min((item.frequency_hz for item in conditions if item.frequency_hz), default=None),
        temperature_celsius=_worst([item.temperature_celsius for item in conditions]),
        polluted=any(item.polluted for item in conditions),
        notes=tuple(notes.values()),
        causes=tuple(notes),
        gpu_throttled=_any([item.gpu_throttled for item in conditions]),
        gpu_busy_by_others=_any([item.gpu_busy_by_others for item in conditions]),
    )


def _disturbance(item: Conditions) -> float:
    return (item.other_busy_cores_frac or 0.0) + (item.steal_frac or 0.0) + (item.throttled_s or 0.0)


def _worst(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _any(values: Sequence[bool | None]) -> bool | None:
    known = [value for value in values if value is not None]
    return any(known) if known else None


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
