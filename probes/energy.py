"""Energy counters that can be read without root: what a token costs in joules.

Intel and AMD processors count in RAPL (``/sys/class/powercap``), NVIDIA GPUs in NVML, AMD GPUs in the
kernel's hwmon. Apple's are behind a tool that wants root.
"""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from probes import linux, pci
from probes.base import Bench, Waiver
from probes.cpu import READ, checked_buffer_bytes, prepare
from probes.errors import ProbeError
from probes.sampling import sample
from probes.tools import LIMIT_S, within
from probes.types import Device, Measurement

_IDLE_S = 0.2


class Meter(Protocol):
    """A running total of energy."""

    @property
    def device_id(self) -> str:
        """The device it meters."""
        ...

    def read_j(self) -> float:
        """Joules so far; may start again at zero after ``range_j``."""
        ...

    @property
    def range_j(self) -> float | None:
        """Where the counter wraps, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMeter:
    """A counter in microjoules in a file of sysfs."""

    device_id: str
    path: Path
    range_j: float | None = None

    def read_j(self) -> float:
        """Joules so far.

        Raises:
            ProbeError: if it can no longer be read.
        """
        text = linux.read_text(self.path) or ""
        if not text.isdecimal():
            raise ProbeError(f"{self.path} can no longer be read")
        return int(text) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlMeter:
    """The counter of an NVIDIA GPU (Volta and later), in millijoules."""

    device_id: str
    nvml: Any
    handle: Any
    range_j: float | None = None

    def read_j(self) -> float:
        """Joules since the driver was loaded."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1e3


def rapl_meters(root: Path = Path("/")) -> tuple[tuple[FileMeter, ...], bool]:
    """Readable RAPL packages, and whether there are any that only root may read."""
    found, locked = [], False
    for zone in linux.glob(root / "sys/class/powercap", "*-rapl:*"):
        name = linux.read_text(zone / "name") or ""
        if zone.name.count(":") != 1 or not name.startswith("package"):
            continue  # a sub-zone is part of its package; "psys" overlaps all packages
        text = linux.read_text(zone / "energy_uj")
        if text is None:
            locked = True
        elif text.isdecimal():
            wrap = linux.read_text(zone / "max_energy_range_uj") or ""
            range_j = int(wrap) / 1e6 if wrap.isdecimal() else None
            found.append(FileMeter(device_id="cpu", path=zone / "energy_uj", range_j=range_j))
    return tuple(found), locked


def amd_meters(devices: Sequence[Device], root: Path = Path("/")) -> tuple[FileMeter, ...]:
    """Counters of AMD GPUs whose driver publishes one."""
    folders = {card.address: card.folder for card in pci.read_devices(root) if card.folder is not None}
    found = []
    for device in devices:
        folder = folders.get(device.properties.get("pci_address", "")) if device.kind in ("rocm", "xpu") else None
        for path in linux.glob(folder / "hwmon", "hwmon*/energy1_input") if folder else []:
            if (linux.read_text(path) or "").isdecimal():
                found.append(FileMeter(device_id=device.device_id, path=path))
                break
    return tuple(found)


def nvidia_meters(devices: Sequence[Device]) -> tuple[NvmlMeter, ...]:
    """Counters of NVIDIA GPUs; none where NVML or the GPU has no such counter."""
    wanted = [device for device in devices if device.kind == "cuda" and "uuid" in device.properties]
    if not wanted:
        return ()
    import pynvml

    def open_all() -> tuple[NvmlMeter, ...]:
        pynvml.nvmlInit()  # stays open as long as the meters are used; the process's end closes it
        meters = []
        for device in wanted:
            handle = pynvml.nvmlDeviceGetHandleByUUID(device.properties["uuid"])
            meter = NvmlMeter(device_id=device.device_id, nvml=pynvml, handle=handle)
            meter.read_j()
            meters.append(meter)
        return tuple(meters)

    try:
        return within(LIMIT_S, open_all, "NVIDIA's management library")
    except (pynvml.NVMLError, ProbeError):
        return ()


def open_meters(devices: Sequence[Device], root: Path = Path("/")) -> tuple[Meter, ...]:
    """Every counter that can be read here."""
    return (*rapl_meters(root)[0], *amd_meters(devices, root), *nvidia_meters(devices))


@dataclass(slots=True)
class EnergyWindow:
    """Joules per device between the two ends of a `metered` block; empty before its end."""

    joules: dict[str, float] = field(default_factory=dict)


@contextmanager
def metered(meters: Sequence[Meter]) -> Iterator[EnergyWindow]:
    """Add up what each device uses while the block runs. A counter may wrap once."""
    window = EnergyWindow()
    before = [meter.read_j() for meter in meters]
    yield window
    for meter, start_j in zip(meters, before, strict=True):
        window.joules[meter.device_id] = window.joules.get(meter.device_id, 0.0) + used_j(meter, start_j)


def used_j(meter: Meter, start_j: float) -> float:
    """Joules since a counter stood at ``start_j``; it may have wrapped once."""
    used = meter.read_j() - start_j
    return used + meter.range_j if used < 0 and meter.range_j else used


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuEnergyProbe:
    """Power of the processor while it streams memory, beside its idle power."""

    probe_id: str = "energy.cpu"
    dtype: str | None = None
    root: Path = Path("/")

    def waiver(self, device: Device) -> Waiver | None:
        """Needs a counter that may be read."""
        if device.kind != "cpu":
            return Waiver("meters the processor only")
        if platform.system() == "Darwin":
            return Waiver("Apple's counters need root", "sudo powermetrics --samplers cpu_power,gpu_power -n 1")
        meters, locked = rapl_meters(self.root)
        if meters:
            return None
        if locked:
            return Waiver(
                "the processor's energy counter is readable by root only",
                "sudo chmod a+r /sys/class/powercap/*/energy_uj",
            )
        return Waiver("this machine shows no energy counter (virtual machines hide it)")

    def run(self, device: Device, bench: Bench) -> Measurement:
        """Average watts under load; ``details`` hold the idle watts and joules per gigabyte read.

        Raises:
            ProbeError: if the counter stands still.
        """
        meters, _ = rapl_meters(self.root)
        size_bytes, _ = checked_buffer_bytes(device, bench, 1)
        parts = prepare(bench.team, READ, size_bytes)
        with metered(meters) as idle:
            idle_s = _elapsed(bench, lambda: bench.clock.sleep(_IDLE_S))
        with metered(meters) as busy:
            start_s = bench.clock.now()
            samples = sample(lambda: bench.team.run(READ.run, parts), bench, warmups=0)
            busy_s = bench.clock.now() - start_s
        busy_w, idle_w = busy.joules["cpu"] / busy_s, idle.joules["cpu"] / idle_s
        if busy_w <= 0:
            raise ProbeError("the processor's energy counter stands still")
        read_bytes = size_bytes * (len(samples.elapsed_s) + len(samples.discarded_s))
        return Measurement(
            quantity="power",
            unit="w",
            value=busy_w,
            median_value=busy_w,
            threads_count=bench.threads_count,
            elapsed_s=(busy_s,),
            conditions=samples.conditions,
            warnings=samples.warnings,
            details={"idle_w": (idle_w,), "joules_per_gb_read": (busy.joules["cpu"] / (read_bytes / 1e9),)},
        )


def _elapsed(bench: Bench, work: Any) -> float:
    start_s = bench.clock.now()
    work()
    return max(bench.clock.now() - start_s, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuEnergyProbe:
    """Whether a GPU counts its energy, and its power while idle."""

    probe_id: str = "energy.gpu"
    dtype: str | None = None

    def waiver(self, device: Device) -> Waiver | None:
        """Needs a counter that may be read."""
        if device.kind == "metal":
            return Waiver("Apple's counters need root", "sudo powermetrics --samplers cpu_power,gpu_power -n 1")
        if device.kind not in ("cuda", "rocm", "xpu"):
            return Waiver("meters GPUs only")
        if not open_meters((device,)):
            return Waiver("this GPU or its driver has no energy counter")
        return None

    def run(self, device: Device, bench: Bench) -> Measurement:
        """Idle watts."""
        meters = [meter for meter in open_meters((device,)) if meter.device_id == device.device_id]
        with metered(meters) as window:
            idle_s = _elapsed(bench, lambda: bench.clock.sleep(_IDLE_S))
        idle_w = sum(window.joules.values()) / idle_s
        return Measurement(quantity="idle_power", unit="w", value=idle_w, median_value=idle_w, elapsed_s=(idle_s,))
