"""Detect the computer and everything in it that a model can run on, measuring nothing."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from probes import amd, apple, host, intel, nvidia, pci, windows
from probes.base import one_line
from probes.errors import ProbeError
from probes.tools import ToolMissingError
from probes.types import Device, Host, ProbeOutcome, ProbeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The computer, its devices, and why a vendor's devices could not be listed."""

    host: Host
    devices: tuple[Device, ...]
    outcomes: tuple[ProbeOutcome, ...] = ()


def read_machine() -> Machine:
    """This machine. Never raises: what cannot be read becomes an outcome with a reason."""
    system = platform.system()
    if system == "Linux":
        return read_linux_machine()
    if system == "Darwin":
        return _read_mac()
    if system == "Windows":
        return _read_windows()
    found = host.portable_host()
    return Machine(host=found, devices=(cpu_device(found),))


def cpu_device(found: Host) -> Device:
    """The processor with main memory, within the control group's limit."""
    total, limit = found.memory_total_bytes, found.memory_limit_bytes
    cache = found.l3_bytes or found.l2_bytes
    return Device(
        device_id="cpu",
        kind="cpu",
        vendor=found.cpu_vendor,
        name=found.cpu_name,
        memory_total_bytes=min(total, limit) if total and limit else total,
        memory_free_bytes=found.memory_available_bytes,
        properties={"last_level_cache_bytes": str(cache)} if cache else {},
    )


def read_linux_machine(root: Path = Path("/")) -> Machine:
    """A Linux machine, from its file tree and its vendors' libraries and tools."""
    found = host.read_linux_host(root)
    listed = pci.read_devices(root)
    vendors: list[tuple[str, bool, Callable[[], tuple[Device, ...]]]] = [
        ("cuda", _hints_at_nvidia(listed, found, root), nvidia.read_devices),
        ("rocm", _has_gpu(listed, pci.AMD), lambda: amd.read_devices(root)),
        ("xpu", _has_gpu(listed, pci.INTEL), lambda: intel.read_devices(root)),
    ]
    devices = [cpu_device(found)]
    outcomes: list[ProbeOutcome] = []
    for kind, hinted, read in vendors:
        cards, outcome = _listed(kind, read) if hinted else ((), None)
        devices += cards
        outcomes += [outcome] if outcome else []
    if "Jetson" in (found.platform_note or "") and not any(device.kind == "cuda" for device in devices):
        devices.append(_jetson(found))
        outcomes = [outcome for outcome in outcomes if outcome.device_id != "cuda"]
    if not any(hinted for _, hinted, _ in vendors):
        outcomes = [_outcome("gpu", ProbeStatus.WAIVED, "no NVIDIA, AMD or Intel GPU in this machine")]
    devices += _npus(listed)
    return Machine(host=found, devices=tuple(devices), outcomes=tuple(outcomes))


def _hints_at_nvidia(listed: Sequence[pci.PciDevice], found: Host, root: Path) -> bool:
    """On the bus, behind WSL's virtual GPU, as a device node passed into a container, or a Jetson."""
    nodes = (root / "dev/nvidiactl", root / "dev/dxg")
    return (
        _has_gpu(listed, pci.NVIDIA) or "Jetson" in (found.platform_note or "") or any(path.exists() for path in nodes)
    )


def _has_gpu(listed: Sequence[pci.PciDevice], vendor_id: int) -> bool:
    return any(card.vendor_id == vendor_id and card.is_gpu for card in listed)


_VENDOR_NAMES = {"cuda": "NVIDIA", "rocm": "AMD", "xpu": "Intel", "metal": "Apple"}


def _listed(kind: str, read: Callable[[], tuple[Device, ...]]) -> tuple[tuple[Device, ...], ProbeOutcome | None]:
    """A vendor's devices, or the outcome that says why they cannot be listed."""
    vendor = _VENDOR_NAMES[kind]
    try:
        found = read()
    except ToolMissingError as error:
        return (), _outcome(kind, ProbeStatus.WAIVED, f"an {vendor} GPU without its driver: {error}", error.fix)
    except ProbeError as error:
        return (), _outcome(
            kind, ProbeStatus.FAILED, f"an {vendor} GPU that cannot be read: {one_line(error)}", error.fix
        )
    except Exception as error:  # noqa: BLE001 - a vendor's library may raise anything
        return (), _outcome(kind, ProbeStatus.FAILED, one_line(f"{vendor}: {type(error).__name__}: {error}"))
    if not found:
        return (), _outcome(kind, ProbeStatus.WAIVED, f"an {vendor} GPU without a driver", _DRIVER_FIXES.get(kind))
    return found, None


_DRIVER_FIXES = {"cuda": nvidia.DRIVER_FIX, "rocm": amd.ROCM_FIX, "xpu": intel.XPU_FIX}


def _outcome(kind: str, status: ProbeStatus, reason: str, fix: str | None = None) -> ProbeOutcome:
    return ProbeOutcome(probe_id=f"{kind}.devices", device_id=kind, status=status, reason=reason, fix=fix)


def _jetson(found: Host) -> Device:
    """A Jetson's GPU shares main memory, and NVML leaves it out on older releases."""
    return Device(
        device_id="cuda:0",
        kind="cuda",
        vendor="NVIDIA",
        name=found.platform_note,
        memory_total_bytes=found.memory_total_bytes,
        memory_free_bytes=found.memory_available_bytes,
        unified=True,
    )


def _npus(listed: Sequence[pci.PciDevice]) -> list[Device]:
    cards = [card for card in listed if card.is_npu]
    names = pci.listed_names() if cards else {}
    return [
        Device(
            device_id=f"npu:{index}",
            kind="npu",
            vendor="Intel" if card.vendor_id == pci.INTEL else "AMD",
            name=names.get(card.address, f"NPU {card.vendor_id:04x}:{card.device_id:04x}"),
            unified=True,
            driver=card.driver,
        )
        for index, card in enumerate(cards)
    ]


def _read_mac() -> Machine:
    try:
        processor = apple.read_processor()
        found = host.macos_host(processor)
    except ProbeError:
        processor, found = apple.Processor(), host.portable_host()
    devices, outcome = _listed("metal", lambda: apple.read_devices(processor))
    return Machine(host=found, devices=(cpu_device(found), *devices), outcomes=(outcome,) if outcome else ())


def _read_windows() -> Machine:
    try:
        inventory = windows.read_inventory()
    except ProbeError as error:
        found = host.portable_host()
        failed = _outcome("windows", ProbeStatus.FAILED, one_line(error), error.fix)
        return Machine(host=found, devices=(cpu_device(found),), outcomes=(failed,))
    found = host.windows_host(inventory)
    cards = inventory.devices
    outcome = None
    if any(card.kind == "cuda" for card in cards):
        precise, outcome = _listed("cuda", nvidia.read_devices)
        if precise:
            cards = (*precise, *(card for card in cards if card.kind != "cuda"))
    return Machine(host=found, devices=(cpu_device(found), *cards), outcomes=(outcome,) if outcome else ())
