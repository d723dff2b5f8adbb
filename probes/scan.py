"""Run the probes on every device, within a budget of time and memory, into a `HardwareProfile`."""

import fnmatch
import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from probes.base import Bench, Clock, Probe, SystemClock, run_probe
from probes.guard import merge, watch
from probes.identity import profile_id
from probes.machine import Machine, read_machine
from probes.types import Conditions, Device, HardwareProfile, Host, ProbeOutcome, ProbeStatus

DEFAULT_BUDGET_S = 18.0  # the whole command stays under 20 s
QUICK_BUDGET_S = 4.0  # under 5 s
_MEMORY_SHARE = 0.25
_FALLBACK_MEMORY_BYTES = 256 << 20
_QUIET_WINDOW_S = 0.5

_ANY_DEVICES = (Device(device_id="cpu", kind="cpu"),)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One probe on one device, with its share of the time."""

    probe: Probe
    device: Device
    weight: float
    quick: bool

    @property
    def label(self) -> str:
        """What a progress line shows."""
        return " ".join(filter(None, (self.probe.probe_id, self.probe.dtype)))


def detect() -> HardwareProfile:
    """The host and its devices, measuring nothing."""
    return _profile(read_machine())


def scan(
    *,
    quick: bool = False,
    only: Sequence[str] = (),
    budget_s: float | None = None,
    wait_quiet_s: float | None = None,
    on_progress: Progress | None = None,
    clock: Clock | None = None,
) -> HardwareProfile:
    """Detect and measure this machine.

    Args:
        quick: fewer probes and repeats, under 5 s in all.
        only: probe ids or patterns (``cpu.matmul``, ``cuda.*``, ``cpu``); empty for all.
        budget_s: seconds for everything; the default is 18, or 4 with ``quick``.
        wait_quiet_s: wait up to this long for other programs to calm down before measuring.
        on_progress: called with the probe, how many are done, and how many there are.
        clock: the stopwatch; tests wind their own.
    """
    clock = clock or SystemClock()
    budget_s = budget_s or (QUICK_BUDGET_S if quick else DEFAULT_BUDGET_S)
    machine = read_machine()
    if wait_quiet_s:
        wait_for_quiet(wait_quiet_s, clock)
    tasks = list(select(plan(machine.devices), quick=quick, only=only))
    outcomes, conditions = _measure(
        tasks, machine.host, deadline_s=clock.now() + budget_s, quick=quick, clock=clock, on_progress=on_progress
    )
    return replace(_profile(machine), outcomes=(*machine.outcomes, *outcomes), conditions=conditions)


def plan(devices: Sequence[Device]) -> Iterator[Task]:
    """Every probe on every device it is meant for, what matters most first."""
    from probes.cpu import STREAM_PROBES
    from probes.matmul import MATMUL_PROBES

    for device in devices:
        if device.kind != "cpu":
            continue
        for stream in STREAM_PROBES:
            yield Task(probe=stream, device=device, weight=2.0 if stream.kernel.name == "read" else 1.0, quick=True)
        for product in MATMUL_PROBES:
            yield Task(probe=product, device=device, weight=1.0, quick=True)


def select(tasks: Iterator[Task], *, quick: bool, only: Sequence[str]) -> Iterator[Task]:
    """The tasks a scan was asked for."""
    for task in tasks:
        if only and not any(matches(pattern, task.probe.probe_id) for pattern in only):
            continue
        if quick and not task.quick and not only:
            continue
        yield task


def known_probe_ids() -> tuple[str, ...]:
    """Every probe id there is on any machine, in the order of a scan."""
    return tuple(dict.fromkeys(task.probe.probe_id for task in plan(_ANY_DEVICES)))


def merged(older: HardwareProfile | None, newer: HardwareProfile) -> HardwareProfile:
    """A partial scan laid over an earlier one of the same machine: outcomes it did not repeat stay."""
    if older is None or older.profile_id != newer.profile_id:
        return newer
    fresh = {(item.probe_id, item.device_id) for item in newer.outcomes}
    kept = [item for item in older.outcomes if (item.probe_id, item.device_id) not in fresh]
    return replace(newer, outcomes=(*kept, *newer.outcomes))


def matches(pattern: str, probe_id: str) -> bool:
    """Whether a probe id is meant by a pattern: itself, its group, or a shell pattern."""
    return probe_id == pattern or probe_id.startswith(f"{pattern}.") or fnmatch.fnmatchcase(probe_id, pattern)


def wait_for_quiet(limit_s: float, clock: Clock) -> bool:
    """Wait until half a second passes unpolluted; False if the limit came first."""
    deadline_s = clock.now() + limit_s
    while clock.now() < deadline_s:
        with watch() as window:
            clock.sleep(_QUIET_WINDOW_S)
        if not window.conditions.polluted:
            return True
    return False


def _measure(
    tasks: Sequence[Task], host: Host, *, deadline_s: float, quick: bool, clock: Clock, on_progress: Progress | None
) -> tuple[tuple[ProbeOutcome, ...], Conditions]:
    from probes.team import Team

    outcomes: list[ProbeOutcome] = []
    with Team(host.usable_threads_count or 1) as team:
        for index, task in enumerate(tasks):
            if on_progress:
                on_progress(task.label, index, len(tasks))
            left_s = deadline_s - clock.now()
            weights = sum(later.weight for later in tasks[index:])
            bench = Bench(
                budget_s=left_s * task.weight / weights,
                memory_bytes=_memory_bytes(host),
                team=team,
                quick=quick,
                clock=clock,
            )
            if left_s <= 0:
                outcomes.append(_out_of_time(task))
                continue
            outcomes.append(run_probe(task.probe, task.device, bench))
    if on_progress:
        on_progress("done", len(tasks), len(tasks))
    measured = [item.measurement.conditions for item in outcomes if item.measurement and item.measurement.conditions]
    return tuple(outcomes), merge(measured)


def _out_of_time(task: Task) -> ProbeOutcome:
    return ProbeOutcome(
        probe_id=task.probe.probe_id,
        device_id=task.device.device_id,
        dtype=task.probe.dtype,
        status=ProbeStatus.WAIVED,
        reason="the scan's time was spent before its turn",
        fix=f"advisor scan --only {task.probe.probe_id}",
    )


def _memory_bytes(host: Host) -> int:
    if host.memory_available_bytes is None:
        return _FALLBACK_MEMORY_BYTES
    return int(host.memory_available_bytes * _MEMORY_SHARE)


def _profile(machine: Machine) -> HardwareProfile:
    return HardwareProfile(
        profile_id=profile_id(machine.host, machine.devices),
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool_version=_tool_version(),
        host=machine.host,
        devices=machine.devices,
        outcomes=machine.outcomes,
    )


def _tool_version() -> str:
    try:
        return importlib.metadata.version("model-fit-advisor")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
