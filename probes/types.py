"""What the probes report: devices, links, measurements and the conditions they were taken under.

Every type is a frozen value. A field's suffix is its unit; ``None`` means unknown, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

SCHEMA_VERSION = 1


class ProbeStatus(StrEnum):
    """What became of one probe on one device."""

    OK = "ok"
    WAIVED = "waived"
    FAILED = "failed"


class ScanWarning(StrEnum):
    """Things that make a measurement a lower bound or suspect; worded by ``reports``."""

    CONTENDED = "contended"  # other processes used the cores
    STOLEN = "stolen"  # the hypervisor took the cores
    THROTTLED = "throttled"  # CPU quota or heat
    GPU_CONTENDED = "gpu_contended"  # other programs used the GPU
    GPU_THROTTLED = "gpu_throttled"  # heat or the power supply slowed the GPU
    ABOVE_PHYSICS = "above_physics"
    BELOW_DATASHEET = "below_datasheet"  # a small part of what the chip should do
    BUDGET_CUT = "budget_cut"  # fewer repeats than wanted
    SMALL_BUFFER = "small_buffer"  # memory limit forced a buffer that may fit in cache
    UNSTEADY = "unsteady"  # the same work took very different times, for no cause that shows from here


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The computer: what it is, not what it measures."""

    os: str
    os_version: str | None = None
    machine: str | None = None  # x86_64, aarch64, arm64
    cpu_vendor: str | None = None
    cpu_name: str | None = None
    sockets_count: int | None = None
    cores_count: int | None = None
    threads_count: int | None = None
    usable_threads_count: int | None = None  # after affinity and quota
    performance_cores_count: int | None = None
    efficiency_cores_count: int | None = None
    numa_nodes_count: int | None = None
    instruction_sets: tuple[str, ...] = ()
    l1d_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None  # all instances together
    memory_channels_count: int | None = None
    memory_transfers_per_s: float | None = None
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    memory_limit_bytes: int | None = None  # cgroup
    cpu_quota_cores_frac: float | None = None  # cgroup quota, in cores
    governor: str | None = None
    turbo_enabled: bool | None = None
    on_battery: bool | None = None
    virtualization: str | None = None
    platform_note: str | None = None  # WSL, Jetson, Raspberry Pi, container


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something a model can run on: the CPU with its memory, or an accelerator."""

    device_id: str  # "cpu", "cuda:0", "metal:0"
    kind: str  # cpu | cuda | rocm | metal | xpu | vulkan | npu
    vendor: str | None = None
    name: str | None = None
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    unified: bool = False
    driver: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A path data moves along: host to device, device to device, disk to host."""

    src: str
    dst: str
    bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How busy the machine was during a timed window, or over a whole scan."""

    other_busy_cores_frac: float | None = None  # cores used by other processes, on average
    steal_frac: float | None = None
    involuntary_switches_count: int | None = None
    run_queue_count: float | None = None
    throttled_s: float | None = None
    frequency_hz: float | None = None
    temperature_celsius: float | None = None
    polluted: bool = False
    notes: tuple[str, ...] = ()
    causes: tuple[ScanWarning, ...] = ()  # what polluted it
    gpu_throttled: bool | None = None  # by heat or its power supply, not by its power limit
    gpu_busy_by_others: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measured quantity with every raw repeat.

    ``value`` is the best repeat in ``unit``; ``median_value`` the middle one.
    """

    quantity: str  # "read", "copy", "matmul", ...
    unit: str  # "bytes_per_s" | "flop_per_s" | "s" | "j" | "w"
    value: float
    median_value: float
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    work_bytes: int | None = None
    work_flop: int | None = None
    threads_count: int | None = None
    warmup_count: int = 0
    elapsed_s: tuple[float, ...] = ()
    spread_frac: float | None = None
    conditions: Conditions | None = None
    warnings: tuple[ScanWarning, ...] = ()
    details: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # curves: sizes, threads, values
    peer_device_id: str | None = None  # the other end of a link between devices


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOutcome:
    """One probe on one device: measured, waived with a reason, or failed with a reason."""

    probe_id: str
    device_id: str
    status: ProbeStatus
    reason: str | None = None
    fix: str | None = None  # a command that would mend a waived or failed probe
    measurement: Measurement | None = None
    elapsed_s: float | None = None
    dtype: str | None = None  # for probes that come once per number format


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDevice:
    """A device as an installed engine lists it."""

    name: str  # "CPU", "CUDA0"
    description: str
    backend: str  # "CPU", "CUDA", "Metal", "Vulkan", ...
    kind: str  # cpu | gpu | igpu | accel
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """An installed engine: how it was built, and what it can use on this machine."""

    engine_id: str
    version: str | None = None
    backends: tuple[str, ...] = ()
    devices: tuple[EngineDevice, ...] = ()
    features: tuple[str, ...] = ()  # instruction sets and options compiled in


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """Everything a scan found. ``profile_id`` is a hash of what identifies the machine."""

    profile_id: str
    created_at: str
    tool_version: str
    host: Host
    devices: tuple[Device, ...]
    links: tuple[Link, ...] = ()
    outcomes: tuple[ProbeOutcome, ...] = ()
    conditions: Conditions = Conditions()
    engines: tuple[EngineReport, ...] = ()
    schema_version: int = SCHEMA_VERSION
    kind: str = "profile"

    def measured(self, probe_id: str, device_id: str = "cpu", dtype: str | None = None) -> Measurement | None:
        """The measurement of a probe on a device, or None if it did not run."""
        for outcome in self.outcomes:
            if (outcome.probe_id, outcome.device_id) != (probe_id, device_id) or outcome.measurement is None:
                continue
            if dtype is None or outcome.measurement.dtype == dtype:
                return outcome.measurement
        return None


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    ABSENT = "absent"  # not in this machine: nothing to mend
    MENDABLE = "mendable"  # would work after the fix
    PROBLEM = "problem"  # should work and does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at."""

    subject: str
    level: Level
    says: str
    fix: str | None = None
    probe_id: str | None = None
    device_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything a doctor's visit found."""

    created_at: str
    tool_version: str
    host: Host
    devices: tuple[Device, ...]
    engines: tuple[EngineReport, ...]
    checks: tuple[Check, ...]
    schema_version: int = SCHEMA_VERSION
    kind: str = "doctor"

    @property
    def healthy(self) -> bool:
        """Whether nothing that should work fails."""
        return all(check.level != Level.PROBLEM for check in self.checks)
