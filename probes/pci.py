"""Accelerators on the PCI bus, whether or not a driver serves them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes import linux

NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086
_AMD_PROCESSORS = 0x1022  # AMD's neural engines carry the processor division's number

_DISPLAY_CLASS = 0x03
_ACCELERATOR_CLASS = 0x12
_TRANSFERS_PER_S_OF_GENERATION = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
_LSPCI_FIELD = re.compile(r'"([^"]*)"')
_NUMBERED = re.compile(r"^(.*) \[([0-9a-f]{4})\]$")


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
        if self.class_code >> 8 == _DISPLAY_CLASS:
            return True
        return self.class_code >> 8 == _ACCELERATOR_CLASS and self.vendor_id in (NVIDIA, AMD)

    @property
    def is_npu(self) -> bool:
        """Neural engines of processors."""
        return self.class_code >> 8 == _ACCELERATOR_CLASS and self.vendor_id in (INTEL, _AMD_PROCESSORS)


def read_devices(root: Path = Path("/")) -> tuple[PciDevice, ...]:
    """Display controllers and processing accelerators from sysfs; empty where there is none."""
    found = []
    for folder in linux.glob(root / "sys/bus/pci/devices", "*"):
        numbers = [_hex(linux.read_text(folder / name)) for name in ("vendor", "device", "class")]
        if None in numbers:
            continue
        vendor_id, device_id, class_code = (number or 0 for number in numbers)
        if class_code >> 16 in (_DISPLAY_CLASS, _ACCELERATOR_CLASS):
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
    """Display controllers and processing accelerators from ``lspci -Dnnmm``."""
    found = []
    for line in text.splitlines():
        address, _, rest = line.partition(" ")
        fields = [_NUMBERED.match(field) for field in _LSPCI_FIELD.findall(rest)]
        if len(fields) < 3 or any(field is None for field in fields[:3]):
            continue
        kind, vendor, device = (match for match in fields[:3] if match is not None)
        class_code = int(kind.group(2), 16)
        if class_code >> 8 in (_DISPLAY_CLASS, _ACCELERATOR_CLASS):
            found.append(
                PciDevice(
                    address=address,
                    vendor_id=int(vendor.group(2), 16),
                    device_id=int(device.group(2), 16),
                    class_code=class_code,
                    name=device.group(1),
                )
            )
    return tuple(found)


def marketing_name(name: str) -> str:
    """What the pci.ids database puts in brackets is the product: ``Navi 31 [Radeon RX 7900 XTX]``."""
    match = re.search(r"\[([^\]]+)\]\s*$", name)
    return match.group(1) if match else name


def named(devices: Sequence[PciDevice], listed: Sequence[PciDevice]) -> dict[str, str]:
    """Names by address, for the devices that ``lspci`` knows."""
    names = {device.address: device.name for device in listed if device.name}
    return {device.address: names[device.address] for device in devices if device.address in names}


def parse_link_speed(text: str) -> int | None:
    """PCIe generation for a sysfs speed such as ``16.0 GT/s PCIe``."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    try:
        return _TRANSFERS_PER_S_OF_GENERATION.get(float(word))
    except ValueError:
        return None


def link_properties(folder: Path) -> dict[str, str]:
    """PCIe generation and lanes, now and at most."""
    found = {}
    for name, key in (("current", "pcie"), ("max", "pcie_max")):
        generation = parse_link_speed(linux.read_text(folder / f"{name}_link_speed") or "")
        lanes = linux.read_text(folder / f"{name}_link_width") or ""
        if generation and lanes.isdigit() and int(lanes) > 0:
            found[key] = f"gen {generation} x{lanes}"
    return found
