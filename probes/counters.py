"""The operating system's own counters of how busy the machine is, read in well under a millisecond.

Linux gives the rich set from ``/proc``, ``/sys`` and the control group; elsewhere psutil gives system and
process CPU time. Whatever cannot be read is ``None``.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from probes.cgroup import folders

_CLOCK_TICK_S = 0.01  # /proc/stat counts in hundredths of a second on every Linux port (USER_HZ)
_NANOSECONDS_PER_S = 1e9
_MICROSECONDS_PER_S = 1e6
_BUSY_COLUMNS = (0, 1, 2, 5, 6)  # user nice system irq softirq; not idle, iowait, steal, guest (part of user)
_STEAL_COLUMN = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Running totals at one instant; a window is the difference of two.

    ``busy_s`` is summed over the cores this process may use, ``own_s`` over this process and the
    processes it watches.
    """

    at_s: float
    cores_count: int
    busy_s: float | None = None
    steal_s: float | None = None
    own_s: float | None = None
    resolution_s: float = 0.0  # granularity of ``busy_s`` on one core
    involuntary_switches_count: int | None = None
    run_queue_count: int | None = None
    throttled_s: float | None = None
    heat_throttles_count: int | None = None
    frequency_hz: float | None = None
    temperature_celsius: float | None = None
    gpu_throttled: bool | None = None  # at this instant
    gpu_busy_by_others: bool | None = None  # since the reading before


def parse_proc_stat(text: str, cores: frozenset[int]) -> tuple[float, float, int | None] | None:
    """Busy seconds, stolen seconds and runnable tasks from ``/proc/stat``.

    Only ``cores`` are summed; where none of them is listed the machine's total line counts.
    """
    rows: dict[str, list[int]] = {}
    running = None
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name.startswith("cpu"):
            rows[name] = [int(value) for value in rest.split() if value.isdecimal()]
        elif name == "procs_running" and rest.strip().isdecimal():
            running = int(rest)
    chosen = [rows[f"cpu{core}"] for core in cores if f"cpu{core}" in rows] or [rows.get("cpu", [])]
    chosen = [row for row in chosen if len(row) > _BUSY_COLUMNS[-1]]
    if not chosen:
        return None
    busy = sum(row[column] for row in chosen for column in _BUSY_COLUMNS)
    steal = sum(row[_STEAL_COLUMN] for row in chosen if len(row) > _STEAL_COLUMN)
    return busy * _CLOCK_TICK_S, steal * _CLOCK_TICK_S, running


def parse_throttled_s(text: str) -> float | None:
    """Seconds a control group was held back by its CPU quota, from either version's ``cpu.stat``."""
    fields = dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split()) == 2)
    if fields.get("throttled_usec", "").isdecimal():
        return int(fields["throttled_usec"]) / _MICROSECONDS_PER_S
    if fields.get("throttled_time", "").isdecimal():
        return int(fields["throttled_time"]) / _NANOSECONDS_PER_S
    return None


def total_throttled_s(texts: Iterable[str]) -> float | None:
    """Seconds held back by the quotas of a control group and those it lies in; each counts its own only."""
    known = [throttled for text in texts if (throttled := parse_throttled_s(text)) is not None]
    return sum(known) if known else None


def parse_process_stat(text: str) -> float | None:
    """CPU seconds of a process and its reaped children, from ``/proc/PID/stat``."""
    values = text.rpartition(")")[2].split()  # the name before may hold spaces and parentheses
    times = values[11:15]  # utime stime cutime cstime
    if len(times) < 4 or not all(value.lstrip("-").isdecimal() for value in times):
        return None
    return sum(int(value) for value in times) * _CLOCK_TICK_S


def _read_text(path: Path | str | None) -> str | None:
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - Path.open costs twice as much
            return file.read(1 << 20)
    except OSError:
        return None


def _read_int(path: Path | str | None) -> int | None:
    text = _read_text(path)
    try:
        return int(text) if text else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _LinuxPaths:
    """Where this machine keeps what is worth reading, found once."""

    cpu_stats: tuple[Path, ...]  # of our control group and all above it: a quota on any of them holds us back
    frequency: Path | None
    temperature: Path | None
    heat_throttles: Path | None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _first_existing(paths: Sequence[Path]) -> Path | None:
    return next(filter(_exists, paths), None)


def _temperature_path(sys_class: Path) -> Path | None:
    wanted = ("x86_pkg_temp", "cpu", "soc", "k10temp", "coretemp", "zenpower", "acpitz")
    found: list[tuple[int, Path]] = []
    for pattern, label, value in (
        ("thermal/thermal_zone*", "type", "temp"),
        ("hwmon/hwmon*", "name", "temp1_input"),
    ):
        for folder in sys_class.glob(pattern):
            name = (_read_text(folder / label) or "").strip().lower()
            rank = next((index for index, prefix in enumerate(wanted) if name.startswith(prefix)), None)
            if rank is not None and _read_int(folder / value) is not None:
                found.append((rank, folder / value))
    return min(found)[1] if found else None


@cache
def _linux_paths() -> _LinuxPaths:
    cpu = Path("/sys/devices/system/cpu/cpu0")
    return _LinuxPaths(
        cpu_stats=tuple(path for folder in folders("cpu") if _exists(path := folder / "cpu.stat")),
        frequency=_first_existing([cpu / "cpufreq/scaling_cur_freq"]),
        temperature=_temperature_path(Path("/sys/class")),
        heat_throttles=_first_existing([cpu / "thermal_throttle/package_throttle_count"]),
    )


def usable_cores() -> frozenset[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _linux_counters(pids: Sequence[int]) -> Counters:
    import resource

    paths = _linux_paths()
    cores = usable_cores()
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    watched = [parse_process_stat(_read_text(f"/proc/{pid}/stat") or "") or 0.0 for pid in pids]
    frequency_khz = _read_int(paths.frequency)
    millicelsius = _read_int(paths.temperature)
    # read last before the clock: the system's total must not be older than our own share of it
    system = parse_proc_stat(_read_text("/proc/stat") or "", cores)
    return Counters(
        at_s=time.perf_counter(),
        cores_count=len(cores),
        busy_s=system[0] if system else None,
        steal_s=system[1] if system else None,
        own_s=own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime + sum(watched),
        resolution_s=_CLOCK_TICK_S,
        involuntary_switches_count=own.ru_nivcsw,
        run_queue_count=system[2] if system else None,
        throttled_s=total_throttled_s(_read_text(path) or "" for path in paths.cpu_stats),
        heat_throttles_count=_read_int(paths.heat_throttles),
        frequency_hz=frequency_khz * 1e3 if frequency_khz else None,
        temperature_celsius=millicelsius / 1e3 if millicelsius is not None else None,
    )


def _portable_counters(pids: Sequence[int]) -> Counters:
    import psutil

    system = psutil.cpu_times()
    busy = system.user + system.system + getattr(system, "nice", 0.0)
    process = psutil.Process()
    own = process.cpu_times()
    watched = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue
        watched += times.user + times.system
    switches = process.num_ctx_switches().involuntary if os.name == "posix" else None
    return Counters(
        at_s=time.perf_counter(),
        cores_count=os.cpu_count() or 1,
        busy_s=busy,
        own_s=own.user + own.system + watched,
        resolution_s=1 / 64 if os.name == "nt" else _CLOCK_TICK_S,  # Windows' timer interrupt
        involuntary_switches_count=switches,
    )


def read_counters(pids: Sequence[int] = ()) -> Counters:
    """The counters now. ``pids`` are other processes that belong to us, such as an engine's worker."""
    if Path("/proc/stat").exists():
        return _linux_counters(pids)
    return _portable_counters(pids)
