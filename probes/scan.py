"""Run the probes on every device, within a budget of time and memory, into a `HardwareProfile`."""

import importlib.metadata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from probes.base import Bench, Clock, SystemClock, run_probe
from probes.counters import Counters, read_counters
from probes.errors import StuckError
from probes.gpu_watch import counters_with, open_look
from probes.guard import merge, watch
from probes.identity import profile_id
from probes.machine import Machine, read_machine
from probes.plan import Task, select, tasks_for, wanted
from probes.products import TORCH_BYTES, TORCH_KINDS
from probes.tools import within
from probes.types import Conditions, Device, EngineReport, HardwareProfile, Host, ProbeOutcome, ProbeStatus, ScanWarning

DEFAULT_BUDGET_S = 18.0  # the whole command stays under 20 s
QUICK_BUDGET_S = 3.4  # under 5 s, with starting Python and writing the result
_MEMORY_SHARE = 0.25
_FALLBACK_MEMORY_BYTES = 256 << 20
_QUIET_WINDOW_S = 0.5
_LEAST_BUDGET_S = 0.05  # a probe that gets less than this says little
_LOADING_TORCH_WEIGHT = 3.0  # a turn of its own between the probes that do without and those that need it
_LEAST_LOADING_S = 0.4
_READ_TWICE = ("cpu.read_bandwidth", "cpu.thread_sweep")
_DRIFT_FRAC = 0.2
_LEAST_WEIGHT_S = 0.35  # what is left at least for a task of weight 1 once a GPU is started ...
_LEAST_WEIGHT_QUICK_S = 0.22  # ... and in a quick scan
_FURTHER_GPU_S = 4.0  # what each GPU but the first adds to a scan ...
_FURTHER_GPU_QUICK_S = 1.0  # ... and to a quick one
_LARGEST_SHARE = 1 / 6  # a probe that cannot get a clean window must not eat what others left
_STUCK_AFTER_S = 30.0  # a GPU probe this far over its budget will not come back

Progress = Callable[[str, int, int], None]


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
) -> HardwareProfile:
    """Detect and measure this machine.

    Args:
        quick: fewer probes and repeats, under 5 s in all.
        only: probe ids or patterns (``cpu.matmul``, ``cuda.*``, ``cpu``); empty for all.
        budget_s: seconds for everything, kept whatever is found; the default is 18, or 3.4 with ``quick``, and
            more where there are GPUs: 4 or 1 for each but the first, and what starting them took too much.
        wait_quiet_s: wait up to this long for other programs to calm down before measuring.
        on_progress: called with the probe, how many are done, and how many there are.
    """
    from probes.engine import PROBE_ID, survey

    clock = SystemClock()
    start_s = clock.now()
    machine = read_machine()
    deadline_s = start_s + (budget_s or default_budget_s(machine.devices, quick=quick))
    if wait_quiet_s:
        deadline_s += wait_for_quiet(wait_quiet_s, clock)
    engines: tuple[EngineReport, ...] = ()
    listings = [outcome for outcome in machine.outcomes if wanted(outcome.probe_id, only)]
    if wanted(PROBE_ID, only):
        _report(on_progress, "installed engines", done=0, count=1)
        engines, found = survey(machine.devices)
        listings += found
    tasks = select(tasks_for(machine.devices), quick=quick, only=only)
    outcomes = measure(
        tasks,
        machine.host,
        deadline_s=deadline_s,
        extend=budget_s is None,
        quick=quick,
        clock=clock,
        on_progress=on_progress,
    )
    return _complete(_profile(machine), (*outcomes, *listings), engines)


def default_budget_s(devices: Sequence[Device], *, quick: bool) -> float:
    """Seconds for a scan of these devices: one GPU fits beside the processor, each further one adds its own."""
    further_count = max(0, sum(is_gpu(device) for device in devices) - 1)
    if quick:
        return QUICK_BUDGET_S + _FURTHER_GPU_QUICK_S * further_count
    return DEFAULT_BUDGET_S + _FURTHER_GPU_S * further_count


def _complete(
    profile: HardwareProfile, outcomes: tuple[ProbeOutcome, ...], engines: tuple[EngineReport, ...]
) -> HardwareProfile:
    from probes.link import links_of

    outcomes = mark_drift(outcomes)
    watched = [item.measurement.conditions for item in outcomes if item.measurement and item.measurement.conditions]
    conditions = merge(watched) if watched else Conditions()
    return replace(profile, outcomes=outcomes, links=links_of(outcomes), conditions=conditions, engines=engines)


def mark_drift(outcomes: tuple[ProbeOutcome, ...]) -> tuple[ProbeOutcome, ...]:
    """Mark the read bandwidth as unsteady if the thread sweep, taken later in the scan, contradicts it.

    Other machines on the same host change the bandwidth left to this one, and no counter here shows it.
    """
    best = {
        item.probe_id: item.measurement.value
        for item in outcomes
        if item.probe_id in _READ_TWICE and item.measurement is not None
    }
    if len(best) < 2 or max(best.values()) < (1 + _DRIFT_FRAC) * min(best.values()):
        return outcomes
    return tuple(_marked(item) if item.probe_id in _READ_TWICE else item for item in outcomes)


def _marked(outcome: ProbeOutcome) -> ProbeOutcome:
    measured = outcome.measurement
    if measured is None or ScanWarning.UNSTEADY in measured.warnings:
        return outcome
    return replace(outcome, measurement=replace(measured, warnings=(*measured.warnings, ScanWarning.UNSTEADY)))


def merged(older: HardwareProfile | None, newer: HardwareProfile) -> HardwareProfile:
    """A partial scan laid over an earlier one of the same machine: outcomes it did not repeat stay."""
    if older is None or older.profile_id != newer.profile_id:
        return newer
    fresh = {(item.probe_id, item.device_id) for item in newer.outcomes}
    kept = [item for item in older.outcomes if (item.probe_id, item.device_id) not in fresh]
    return _complete(newer, (*kept, *newer.outcomes), newer.engines or older.engines)


def wait_for_quiet(limit_s: float, clock: Clock, read: Callable[[], Counters] = read_counters) -> float:
    """Wait until half a second passes unpolluted, at most the limit; returns the seconds waited."""
    start_s = clock.now()
    while clock.now() - start_s < limit_s:
        with watch(read=read) as window:
            clock.sleep(_QUIET_WINDOW_S)
        if not window.conditions.polluted:
            break
    return clock.now() - start_s


def measure(
    tasks: Sequence[Task],
    host: Host,
    *,
    deadline_s: float,
    extend: bool = False,
    quick: bool = False,
    clock: Clock,
    on_progress: Progress | None = None,
) -> tuple[ProbeOutcome, ...]:
    """Run tasks one after the other, those of earlier turns first, each with its share of the time left.

    A device whose driver stops answering is not asked again.

    Args:
        tasks: what to run.
        host: tells how much memory and how many cores there are.
        deadline_s: when to be done, on the clock.
        extend: let the deadline give way where GPUs, and starting them, left the rest too little time.
        quick: fewer repeats.
        clock: what is timed by.
        on_progress: called with what runs, how many are done, and how many there are.

    Returns:
        An outcome for each task, in the order of the tasks.
    """
    from probes.team import Team

    order = sorted(range(len(tasks)), key=lambda index: tasks[index].turn)
    queue = [tasks[index] for index in order]
    state = _State(deadline_s=deadline_s, total_s=deadline_s - clock.now(), clock=clock, extend=extend, quick=quick)
    state.loading = _memory_bytes(host) >= TORCH_BYTES
    found: dict[int, ProbeOutcome] = {}
    with Team(host.usable_threads_count or 1) as team:
        for done, index in enumerate(order):
            report = partial(_report, on_progress, done=done, count=len(tasks))
            state.start_what_is_needed(queue[done:], report)
            report(tasks[index].label)
            budget_s = share_s(queue[done:], state.left_s, state.total_s, loading=state.loading)
            bench = Bench(
                budget_s=budget_s,
                memory_bytes=_memory_bytes(host),
                team=team,
                quick=quick,
                clock=clock,
                accelerator=is_gpu(tasks[index].device),
                read=state.reader(tasks[index].device),
            )
            found[index] = state.run(tasks[index], bench)
    _report(on_progress, "done", done=len(tasks), count=len(tasks))
    return tuple(found[index] for index in range(len(tasks)))


@dataclass(slots=True, kw_only=True)
class _State:
    """How far a scan is: its deadline, what is loaded and started, and what is stuck."""

    deadline_s: float
    total_s: float
    clock: Clock
    extend: bool
    quick: bool
    loading: bool = True  # PyTorch is still to come
    started: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    readers: dict[str, Callable[[], Counters]] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline_s - self.clock.now()

    def start_what_is_needed(self, queue: Sequence[Task], report: Callable[[str], None]) -> None:
        """Load PyTorch and start the GPU for the first of the tasks, so that no probe's time is spent on it."""
        task = queue[0]
        starts_gpu = is_gpu(task.device) and task.needs_torch and task.device.device_id not in self.started
        in_time = self.left_s > _LEAST_LOADING_S or (self.extend and starts_gpu)
        if self.loading and task.needs_torch and in_time:
            report("loading PyTorch")
            _load_torch()
            self.loading = False
        if starts_gpu and not self.loading:
            report(f"starting {task.device.device_id}")
            self._start_gpu(queue)
        if self.extend and self.started:
            least_s = _LEAST_WEIGHT_QUICK_S if self.quick else _LEAST_WEIGHT_S
            self.deadline_s += max(0.0, least_s * sum(other.weight for other in queue) - self.left_s)

    def _start_gpu(self, queue: Sequence[Task]) -> None:
        device = queue[0].device
        self.started.add(device.device_id)
        dtypes = [task.probe.dtype for task in queue if task.device == device and task.probe.dtype]
        try:
            within(_STUCK_AFTER_S, lambda: _warm_up(device, dtypes), f"starting {device.device_id}")
        except StuckError:
            self.stuck.add(device.device_id)
        except Exception:  # noqa: BLE001 - a driver may raise anything; the probes will say what
            return

    def reader(self, device: Device) -> Callable[[], Counters]:
        """What is read around a device's windows: the machine's counters and, of a GPU, its own."""
        if not is_gpu(device):
            return read_counters
        if device.device_id not in self.readers:
            self.readers[device.device_id] = counters_with(open_look(device))
        return self.readers[device.device_id]

    def run(self, task: Task, bench: Bench) -> ProbeOutcome:
        """Run a task with the time it has; an import cannot be cut short, so one that lacks time is not begun."""
        if bench.budget_s < _LEAST_BUDGET_S or (self.loading and task.needs_torch):
            return _too_late(task)
        return _run(task, bench, self.stuck)


def share_s(tasks: Sequence[Task], left_s: float, total_s: float, *, loading: bool = False) -> float:
    """Seconds for the first of the tasks: its weight's share of what is left, up to a sixth of the whole per weight.

    Args:
        tasks: what is still to be run.
        left_s: seconds until the deadline.
        total_s: seconds the whole scan was given.
        loading: PyTorch is not loaded yet; if a task needs it, its loading has a share, too.
    """
    reserved = _LOADING_TORCH_WEIGHT if loading and any(task.needs_torch for task in tasks) else 0.0
    share = left_s * tasks[0].weight / (reserved + sum(task.weight for task in tasks))
    return min(share, total_s * _LARGEST_SHARE * tasks[0].weight, left_s)


def _run(task: Task, bench: Bench, stuck: set[str]) -> ProbeOutcome:
    """Run a task; one on a GPU from a thread that can be abandoned, and not on one that was."""
    if task.device.device_id in stuck:
        reason = "the device stopped answering earlier in this scan"
        return _outcome(task, ProbeStatus.WAIVED, reason, "sudo dmesg | tail")
    if task.device.kind == "cpu":
        return run_probe(task.probe, task.device, bench)
    try:
        limit_s = bench.budget_s + _STUCK_AFTER_S
        return within(
            limit_s, lambda: run_probe(task.probe, task.device, bench), f"{task.label} on {task.device.device_id}"
        )
    except StuckError as error:
        stuck.add(task.device.device_id)
        return _outcome(task, ProbeStatus.FAILED, str(error), "sudo dmesg | tail")


def is_gpu(device: Device) -> bool:
    """Whether PyTorch may know the device as an accelerator."""
    return device.kind in TORCH_KINDS


def _warm_up(device: Device, dtypes: Sequence[str]) -> None:
    from probes.accelerator import warm_up

    warm_up(device, dtypes)


def _load_torch() -> None:
    """Import PyTorch and start its threads; where it is missing or broken the probes say so themselves."""
    with suppress(Exception):
        import torch

        torch.mm(torch.ones(64, 64), torch.ones(64, 64))


def _report(on_progress: Progress | None, label: str, *, done: int, count: int) -> None:
    if on_progress is not None:
        on_progress(label, done, count)


def _too_late(task: Task) -> ProbeOutcome:
    fix = f"advisor scan --only {task.probe.probe_id}"
    return _outcome(task, ProbeStatus.WAIVED, "the scan's time was spent before its turn", fix)


def _outcome(task: Task, status: ProbeStatus, reason: str, fix: str) -> ProbeOutcome:
    return ProbeOutcome(
        probe_id=task.probe.probe_id,
        device_id=task.device.device_id,
        dtype=task.probe.dtype,
        status=status,
        reason=reason,
        fix=fix,
    )


def _memory_bytes(host: Host) -> int:
    if host.memory_available_bytes is None:
        return _FALLBACK_MEMORY_BYTES
    return int(host.memory_available_bytes * _MEMORY_SHARE)


def _profile(machine: Machine) -> HardwareProfile:
    return HardwareProfile(
        profile_id=profile_id(machine.host, machine.devices),
        created_at=utc_now(),
        tool_version=_tool_version(),
        host=machine.host,
        devices=machine.devices,
        outcomes=machine.outcomes,
    )


def utc_now() -> str:
    """The time as documents write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tool_version() -> str:
    try:
        return importlib.metadata.version("model-fit-advisor")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
