"""Accelerators on the PCI bus, whether or not a driver serves them."""

import re
from dataclasses import dataclass
from pathlib import Path

from probes import linux
from probes.errors import ProbeError
from probes.tools import run_tool

NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086
_AMD_PROCESSORS = 0x1022  # AMD's neural engines carry the processor division's number
_AMD_NPUS = frozenset({0x1502, 0x17F0})  # XDNA and XDNA 2; their class is the catch-all of signal processing

_DISPLAY, _SIGNAL_PROCESSING, _ACCELERATOR = 0x03, 0x11, 0x12
_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}  # by giga-transfers a second
_LSPCI_LINE = re.compile(r"^(\S+) [^\[]*\[([0-9a-f]{4})\]: (.*) \[([0-9a-f]{4}):([0-9a-f]{4})\]")
_VENDOR_WORDS = re.compile(r"^(NVIDIA Corporation|Intel Corporation|Advanced Micro Devices, Inc\. \[AMD(/ATI)?\]) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class PciDevice:
    """One function on the bus. ``class_code`` is base class and subclass, as in 0x0300."""

    address: str
    vendor_id: int
    device_id: int
    class_code: int
    driver: str | None = None
    name: str | None = None
    folder: Path | None = None

    @property
    def is_gpu(self) -> bool:
        """Display controllers, and the compute-only cards that AMD and NVIDIA class as accelerators."""
        if self.class_code >> 8 == _DISPLAY:
            return True
        return self.class_code >> 8 == _ACCELERATOR and self.vendor_id in (NVIDIA, AMD)

    @property
    def is_npu(self) -> bool:
        """Neural engines of processors."""
        if self.vendor_id == _AMD_PROCESSORS:
            return self.device_id in _AMD_NPUS
        return self.class_code >> 8 == _ACCELERATOR and self.vendor_id == INTEL


def read_devices(root: Path = Path("/")) -> tuple[PciDevice, ...]:
    """Display controllers and processing accelerators from sysfs; empty where there is none."""
    found = []
    for folder in linux.glob(root / "sys/bus/pci/devices", "*"):
        numbers = [_hex(linux.read_text(folder / name)) for name in ("vendor", "device", "class")]
        if None in numbers:
            continue
        vendor_id, device_id, class_code = (number or 0 for number in numbers)
        if class_code >> 16 in (_DISPLAY, _SIGNAL_PROCESSING, _ACCELERATOR):
            found.append(
                PciDevice(
                    address=folder.name,
                    vendor_id=vendor_id,
                    device_id=device_id,
                    class_code=class_code >> 8,
                    driver=_driver(folder),
                    folder=folder,
                )
            )
    return tuple(found)


def _driver(folder: Path) -> str | None:
    try:
        return (folder / "driver").readlink().name
    except OSError:
        return linux.read_text(folder / "driver_name")  # recorded trees hold no links


def _hex(text: str | None) -> int | None:
    try:
        return int(text, 16) if text else None
    except ValueError:
        return None


def parse_lspci(text: str) -> tuple[PciDevice, ...]:
    """Display controllers and processing accelerators from ``lspci -Dnn``."""
    found = []
    for match in filter(None, map(_LSPCI_LINE.match, text.splitlines())):
        address, class_code, name, vendor_id, device_id = match.groups()
        device = PciDevice(
            address=address if address.count(":") == 2 else f"0000:{address}",
            vendor_id=int(vendor_id, 16),
            device_id=int(device_id, 16),
            class_code=int(class_code, 16),
            name=_VENDOR_WORDS.sub("", name),
        )
        if device.is_gpu or device.is_npu:
            found.append(device)
    return tuple(found)


def listed_names() -> dict[str, str]:
    """Names by address, from ``lspci``; empty where it is not installed."""
    try:
        listed = parse_lspci(run_tool(["lspci", "-Dnn"]))
    except ProbeError:
        return {}
    return {device.address: product_name(device.name) for device in listed if device.name}


def product_name(name: str) -> str:
    """What the pci.ids database puts in brackets at the end is the product: ``GA102 [GeForce RTX 3090]``."""
    match = re.search(r"\[([^\]]+)\]\s*$", name)
    return match.group(1) if match else name


def parse_link_speed(text: str) -> int | None:
    """PCIe generation for a sysfs speed such as ``16.0 GT/s PCIe``."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    try:
        return _GENERATIONS.get(float(word))
    except ValueError:
        return None


def link_properties(folder: Path) -> dict[str, str]:
    """PCIe generation and lanes, now and at most."""
    found = {}
    for name, key in (("current", "pcie"), ("max", "pcie_max")):
        generation = parse_link_speed(linux.read_text(folder / f"{name}_link_speed") or "")
        lanes = linux.read_text(folder / f"{name}_link_width") or ""
        if generation and lanes.isdecimal() and int(lanes) > 0:
            found[key] = f"gen {generation} x{lanes}"
    return found
