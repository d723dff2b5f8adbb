"""Which probes there are for a device, which of them predictions rest on, and what share of the time each has."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from probes.base import Probe
from probes.products import TORCH_KINDS
from probes.types import Device

#: probes that scans report beside those of `tasks_for`: they list devices, and measure nothing
LISTING_IDS = ("gpu.devices", "cuda.devices", "rocm.devices", "xpu.devices", "metal.devices", "engine.devices")
_EVERY_KIND = ("cpu", *TORCH_KINDS)
_HALF = ("fp16", "bf16")
#: turns of a scan: what every profile holds, what predictions rest on (GPUs first), what only informs
_EVERY_PROFILE, _GPU, _PROCESSOR, _INFORMS = range(4)
_ESSENTIAL_PRODUCTS = (*_HALF, "int8", "fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One probe on one device, with its share of the time."""

    probe: Probe
    device: Device
    weight: float = 1.0
    quick: bool = True  # part of a quick scan
    turn: int = _INFORMS  # a scan runs the tasks of earlier turns first
    needs_torch: bool = False

    @property
    def label(self) -> str:
        """What a progress line shows."""
        return " ".join(filter(None, (self.probe.probe_id, self.probe.dtype)))


def tasks_for(devices: Sequence[Device]) -> Iterator[Task]:
    """Every probe on every device it is meant for, as a profile lists them: the processor, GPUs, curves, the disk."""
    processors = [device for device in devices if device.kind == "cpu"]
    for device in processors:
        yield from _processor_tasks(device)
    for device in devices:
        yield from _gpu_tasks(device, devices)
    for device in processors:
        yield from _slower_tasks(device)


def _processor_tasks(device: Device) -> Iterator[Task]:
    from probes.cpu import STREAM_PROBES
    from probes.matmul import MATMUL_PROBES

    for stream in STREAM_PROBES:
        name = stream.kernel.name
        quick = name not in ("scale", "add")
        turn = _EVERY_PROFILE if quick else _INFORMS
        yield Task(probe=stream, device=device, weight=2.0 if name == "read" else 1.0, quick=quick, turn=turn)
    for product in MATMUL_PROBES:
        yield Task(probe=product, device=device, weight=1.5, needs_torch=True, turn=_PROCESSOR)


def _gpu_tasks(device: Device, devices: Sequence[Device]) -> Iterator[Task]:
    from probes.accelerator import gpu_probes
    from probes.energy import GpuEnergyProbe
    from probes.link import HOST_LINK_PROBES, peer_probes

    if device.kind not in TORCH_KINDS:
        return
    for probe in gpu_probes(device.kind):
        read = probe.probe_id.endswith("read_bandwidth")
        turn = _GPU if read or probe.dtype in _ESSENTIAL_PRODUCTS else _INFORMS
        yield Task(probe=probe, device=device, quick=read or probe.dtype in _HALF, needs_torch=True, turn=turn)
    for link in HOST_LINK_PROBES:
        turn = _GPU if link.pinned else _INFORMS
        yield Task(probe=link, device=device, quick=link.pinned, needs_torch=True, turn=turn)
    for peer in peer_probes(device, devices):
        yield Task(probe=peer, device=device, weight=0.5, quick=False, needs_torch=True)
    yield Task(probe=GpuEnergyProbe(), device=device, weight=0.5, quick=False)


def _slower_tasks(device: Device) -> Iterator[Task]:
    from probes.curves import CURVE_PROBES
    from probes.disk import DISK, DiskReadProbe
    from probes.energy import CpuEnergyProbe

    for curve in CURVE_PROBES:
        turn = _PROCESSOR if curve.probe_id == "cpu.thread_sweep" else _INFORMS
        yield Task(probe=curve, device=device, weight=2.0, quick=False, turn=turn)
    yield Task(probe=DiskReadProbe(), device=DISK, weight=2.0, quick=False, turn=_PROCESSOR)
    yield Task(probe=CpuEnergyProbe(), device=device, weight=0.5, quick=False)


def known_probe_ids() -> tuple[str, ...]:
    """Every probe id there is on any machine, in the order of a scan."""
    devices = [Device(device_id=f"{kind}:{index}", kind=kind) for kind in _EVERY_KIND for index in range(2)]
    return (*dict.fromkeys(task.probe.probe_id for task in tasks_for(devices)), *LISTING_IDS)


def select(tasks: Iterator[Task], *, quick: bool, only: Sequence[str]) -> tuple[Task, ...]:
    """The tasks a scan was asked for; ``only`` outranks ``quick``."""
    if only:
        return tuple(task for task in tasks if wanted(task.probe.probe_id, only))
    return tuple(task for task in tasks if task.quick or not quick)


def wanted(probe_id: str, only: Sequence[str]) -> bool:
    """Whether a scan limited to some patterns includes a probe; no pattern means all."""
    return not only or any(matches(pattern, probe_id) for pattern in only)


def matches(pattern: str, probe_id: str) -> bool:
    """Whether a probe id is meant by a pattern: itself, its group, or a shell pattern."""
    return probe_id == pattern or probe_id.startswith(f"{pattern}.") or fnmatch.fnmatchcase(probe_id, pattern)
