"""Windows: one PowerShell query of the Common Information Model, answered as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probes.base import one_line
from probes.errors import ProbeError
from probes.tools import run_tool
from probes.types import Device

#: the display-adapter class; its keys hold memory sizes that the CIM's 32-bit AdapterRAM cannot
_ADAPTERS_KEY = r"HKLM:\SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}\0*"
QUERY = (
    "$ErrorActionPreference='SilentlyContinue';@{"
    "processors=@(Get-CimInstance Win32_Processor|Select-Object Name,Manufacturer,NumberOfCores,"
    "NumberOfLogicalProcessors,L2CacheSize,L3CacheSize);"
    "computer=@(Get-CimInstance Win32_ComputerSystem|Select-Object Manufacturer,Model,TotalPhysicalMemory);"
    "system=@(Get-CimInstance Win32_OperatingSystem|Select-Object Caption,Version,FreePhysicalMemory);"
    "memory=@(Get-CimInstance Win32_PhysicalMemory|Select-Object Capacity,Speed,ConfiguredClockSpeed,"
    "DeviceLocator,BankLabel);"
    "video=@(Get-CimInstance Win32_VideoController|Select-Object Name,AdapterRAM,DriverVersion,PNPDeviceID);"
    "battery=@(Get-CimInstance Win32_Battery|Select-Object BatteryStatus);"
    f"adapters=@(Get-ItemProperty '{_ADAPTERS_KEY}'|ForEach-Object{{@{{name=$_.DriverDesc;"
    "bytes=$_.'HardwareInformation.qwMemorySize'}}});"
    "npus=@(Get-CimInstance Win32_PnPEntity -Filter \"PNPClass='ComputeAccelerator'\"|Select-Object Name)"
    "}|ConvertTo-Json -Depth 4 -Compress"
)
_VIRTUAL_MODELS = ("Virtual Machine", "VMware", "VirtualBox", "KVM", "QEMU", "HVM domU")
_ON_BATTERY = 1  # BatteryStatus: the battery is discharging


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What one query says of a Windows computer."""

    cpu_name: str | None = None
    cpu_vendor: str | None = None
    sockets_count: int | None = None
    cores_count: int | None = None
    threads_count: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    memory_channels_count: int | None = None
    memory_transfers_per_s: float | None = None
    os_version: str | None = None
    on_battery: bool | None = None
    virtualization: str | None = None
    devices: tuple[Device, ...] = ()


def read_inventory() -> Inventory:
    """Ask PowerShell.

    Raises:
        ProbeError: if it is missing, hangs, or prints no JSON.
    """
    return parse_inventory(run_tool(["powershell", "-NoProfile", "-NonInteractive", "-Command", QUERY]))


def parse_inventory(text: str) -> Inventory:
    """Read the query's answer.

    Raises:
        ProbeError: if it is not JSON.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ProbeError(
            "PowerShell printed no readable JSON", "powershell -Command Get-CimInstance Win32_Processor"
        ) from None
    if not isinstance(document, dict):
        raise ProbeError(
            "PowerShell printed an unknown document", "powershell -Command Get-CimInstance Win32_Processor"
        )
    processors, memory = _rows(document, "processors"), _rows(document, "memory")
    computer, system = _first(document, "computer"), _first(document, "system")
    battery = _first(document, "battery").get("BatteryStatus")
    free_kib = _integer(system.get("FreePhysicalMemory"))
    speed = max((_integer(row.get("ConfiguredClockSpeed") or row.get("Speed")) or 0 for row in memory), default=0)
    return Inventory(
        cpu_name=_word(processors[0].get("Name")) if processors else None,
        cpu_vendor=_word(processors[0].get("Manufacturer")) if processors else None,
        sockets_count=len(processors) or None,
        cores_count=_total(processors, "NumberOfCores"),
        threads_count=_total(processors, "NumberOfLogicalProcessors"),
        l2_bytes=_kib(_total(processors, "L2CacheSize")),
        l3_bytes=_kib(_total(processors, "L3CacheSize")),
        memory_total_bytes=_integer(computer.get("TotalPhysicalMemory")),
        memory_available_bytes=_kib(free_kib),
        memory_channels_count=_channels(memory),
        memory_transfers_per_s=speed * 1e6 if speed else None,
        os_version=_word(f"{system.get('Caption', '')} {system.get('Version', '')}"),
        on_battery=None if battery is None else battery == _ON_BATTERY,
        virtualization=next((name for name in _VIRTUAL_MODELS if name in str(computer.get("Model", ""))), None),
        devices=_devices(document),
    )


def _rows(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """PowerShell writes one row as an object and several as a list."""
    value = document.get(key)
    rows = value if isinstance(value, list) else [value]
    return [row for row in rows if isinstance(row, dict)]


def _first(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return next(iter(_rows(document, key)), {})


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    text = str(value)
    return int(text) if text.isdecimal() else None


def _total(rows: Sequence[Mapping[str, Any]], key: str) -> int | None:
    return sum(_integer(row.get(key)) or 0 for row in rows) or None


def _kib(value: int | None) -> int | None:
    return value * 1024 if value else None


def _word(value: object) -> str | None:
    return one_line(str(value).strip()) if value and str(value).strip() else None


def _channels(memory: Sequence[Mapping[str, Any]]) -> int | None:
    """Distinct channels among the filled slots' labels, where the firmware names channels at all."""
    labels = {f"{row.get('BankLabel', '')} {row.get('DeviceLocator', '')}".upper() for row in memory}
    channels = {label.partition("CHANNEL")[2].strip(" _-")[:1] for label in labels if "CHANNEL" in label}
    return len(channels - {""}) or None


_VENDORS = (("VEN_10DE", "cuda", "NVIDIA"), ("VEN_1002", "vulkan", "AMD"), ("VEN_8086", "vulkan", "Intel"))


def _devices(document: Mapping[str, Any]) -> tuple[Device, ...]:
    """GPUs and neural engines. Adapters that are not on the PCI bus are virtual displays."""
    sizes = {str(row.get("name")): size for row in _rows(document, "adapters") if (size := _integer(row.get("bytes")))}
    found: list[Device] = []
    for row in _rows(document, "video"):
        vendor = next((entry for entry in _VENDORS if entry[0] in str(row.get("PNPDeviceID", "")).upper()), None)
        name = _word(row.get("Name"))
        if vendor is None or name is None:
            continue
        _, kind, maker = vendor
        found.append(
            Device(
                device_id=f"{kind}:{sum(device.kind == kind for device in found)}",
                kind=kind,
                vendor=maker,
                name=name,
                memory_total_bytes=sizes.get(name) or _integer(row.get("AdapterRAM")),
                driver=_word(row.get("DriverVersion")),
            )
        )
    npus = [_word(row.get("Name")) for row in _rows(document, "npus")]
    found += [Device(device_id=f"npu:{index}", kind="npu", name=name) for index, name in enumerate(filter(None, npus))]
    return tuple(found)
