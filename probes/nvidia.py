"""NVIDIA GPUs: through the management library (NVML), else through ``nvidia-smi``."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from probes.base import one_line
from probes.errors import ProbeError
from probes.tools import LIMIT_S, run_tool, within
from probes.types import Device

_MIB = 1024**2
DRIVER_FIX = "install NVIDIA's driver: https://www.nvidia.com/drivers (Ubuntu: sudo ubuntu-drivers install)"
_NOT_KNOWN = frozenset(
    {
        "",
        "N/A",
        "[N/A]",
        "Not Supported",
        "Unknown Error",
        "[Unknown Error]",
        "Requested functionality has been deprecated",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What NVML or nvidia-smi tells of one GPU; None where it does not."""

    index: int
    name: str | None = None
    uuid: str | None = None
    pci_address: str | None = None
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    compute_capability: str | None = None
    architecture: str | None = None
    memory_bus_bits_count: int | None = None
    memory_clock_hz: float | None = None
    core_clock_hz: float | None = None
    power_limit_w: float | None = None
    pcie: str | None = None
    pcie_max: str | None = None
    ecc: bool | None = None
    mig: bool | None = None
    nvlinks_count: int | None = None
    cores_count: int | None = None


def read_devices() -> tuple[Device, ...]:
    """The GPUs, by NVML or, where that library is missing, by ``nvidia-smi``.

    Raises:
        ProbeError: with the reason neither works.
    """
    try:
        driver, cards = within(LIMIT_S, _read_nvml, "NVIDIA's management library")
    except ProbeError as error:
        try:
            driver, cards = parse_smi_xml(run_tool(["nvidia-smi", "-q", "-x"]))
        except ProbeError:
            raise error from None
    return tuple(device(card, driver) for card in cards)


def device(card: Card, driver: str | None) -> Device:
    """A card as a device of a profile."""
    facts = {
        "uuid": card.uuid,
        "pci_address": card.pci_address,
        "compute_capability": card.compute_capability,
        "architecture": card.architecture,
        "memory_bus_bits": card.memory_bus_bits_count,
        "memory_clock_hz": card.memory_clock_hz,
        "core_clock_hz": card.core_clock_hz,
        "datasheet_bytes_per_s": memory_peak_bytes_per_s(card),
        "datasheet_fp32_flop_per_s": fp32_peak_flop_per_s(card),
        "power_limit_w": card.power_limit_w,
        "pcie": card.pcie,
        "pcie_max": card.pcie_max,
        "ecc": _on_off(card.ecc),
        "mig": _on_off(card.mig),
        "nvlinks": card.nvlinks_count or None,
        "cores": card.cores_count,
    }
    return Device(
        device_id=f"cuda:{card.index}",
        kind="cuda",
        vendor="NVIDIA",
        name=card.name,
        memory_total_bytes=card.memory_total_bytes,
        memory_free_bytes=card.memory_free_bytes,
        driver=driver,
        properties={key: _plain(value) for key, value in facts.items() if value is not None},
    )


def memory_peak_bytes_per_s(card: Card) -> float | None:
    """Data-sheet bandwidth: two transfers per memory clock over the bus's width.

    NVML's memory clock is half the data rate for GDDR and HBM alike (an A100's 1593 MHz on 5120 bits
    is 2039 GB/s).
    """
    if not card.memory_clock_hz or not card.memory_bus_bits_count:
        return None
    return 2 * card.memory_clock_hz * card.memory_bus_bits_count / 8


def fp32_peak_flop_per_s(card: Card) -> float | None:
    """Data-sheet rate without tensor cores: a multiplication and an addition per core and clock."""
    if not card.cores_count or not card.core_clock_hz:
        return None
    return 2 * card.cores_count * card.core_clock_hz


def _on_off(value: bool | None) -> str | None:
    return None if value is None else "on" if value else "off"


def _plain(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _read_nvml() -> tuple[str | None, tuple[Card, ...]]:
    try:
        import pynvml
    except ImportError:
        raise ProbeError("the NVML bindings are not installed", "pip install nvidia-ml-py") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _explained(error) from None
    try:
        driver = _text(asked(pynvml.nvmlSystemGetDriverVersion))
        count = pynvml.nvmlDeviceGetCount()
        return driver, tuple(_read_card(pynvml, index) for index in range(count))
    except pynvml.NVMLError as error:
        raise _explained(error) from None
    finally:
        pynvml.nvmlShutdown()


def _explained(error: Exception) -> ProbeError:
    """NVML's error in the user's terms, with the command that mends it."""
    name = type(error).__name__
    if name == "NVMLError_LibraryNotFound":
        return ProbeError("NVIDIA's driver is not installed", DRIVER_FIX)
    if name == "NVMLError_DriverNotLoaded":
        return ProbeError("NVIDIA's driver is installed but not loaded", "sudo modprobe nvidia")
    if name == "NVMLError_LibRmVersionMismatch":
        return ProbeError("NVIDIA's driver was updated but the old one still runs; reboot", "sudo reboot")
    if name == "NVMLError_NoPermission":
        return ProbeError("no permission to use /dev/nvidia*", "sudo usermod -aG video,render $USER, then log in again")
    if name == "NVMLError_GpuIsLost":
        return ProbeError("a GPU fell off the bus; power the machine off and on", "sudo dmesg | grep -i xid")
    return ProbeError(f"NVIDIA's management library: {one_line(error)}", "nvidia-smi")


def asked(call: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers, or None: cards differ in what they support, and a lost one fails call by call."""
    try:
        return call(*arguments)
    except Exception:  # noqa: BLE001 - NVMLError, or AttributeError/FunctionNotFound with an older driver
        return None


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return one_line(value) if isinstance(value, str) and value else None


def _read_card(nvml: Any, index: int) -> Card:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = asked(nvml.nvmlDeviceGetMemoryInfo, handle)
    capability = asked(nvml.nvmlDeviceGetCudaComputeCapability, handle)
    pci = asked(nvml.nvmlDeviceGetPciInfo, handle)
    limit_mw = asked(nvml.nvmlDeviceGetPowerManagementLimit, handle)
    ecc = asked(nvml.nvmlDeviceGetEccMode, handle)
    mig = asked(nvml.nvmlDeviceGetMigMode, handle)
    return Card(
        index=index,
        name=_text(asked(nvml.nvmlDeviceGetName, handle)),
        uuid=_text(asked(nvml.nvmlDeviceGetUUID, handle)),
        pci_address=_pci_address(_text(getattr(pci, "busId", None))),
        memory_total_bytes=getattr(memory, "total", None),
        memory_free_bytes=getattr(memory, "free", None),
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        memory_bus_bits_count=asked(nvml.nvmlDeviceGetMemoryBusWidth, handle),
        memory_clock_hz=_mhz(asked(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM)),
        core_clock_hz=_mhz(asked(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM)),
        power_limit_w=limit_mw / 1e3 if limit_mw else None,
        pcie=_pcie(
            asked(nvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
            asked(nvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
        ),
        pcie_max=_pcie(
            asked(nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle), asked(nvml.nvmlDeviceGetMaxPcieLinkWidth, handle)
        ),
        ecc=bool(ecc[0]) if ecc else None,
        mig=bool(mig[0]) if mig else None,
        nvlinks_count=sum(asked(nvml.nvmlDeviceGetNvLinkState, handle, link) == 1 for link in range(18)),
        cores_count=asked(nvml.nvmlDeviceGetNumGpuCores, handle),
    )


def _mhz(value: int | None) -> float | None:
    return value * 1e6 if value else None


def _pcie(generation: int | None, lanes: int | None) -> str | None:
    return f"gen {generation} x{lanes}" if generation and lanes else None


def _pci_address(text: str | None) -> str | None:
    """``00000000:01:00.0`` as sysfs writes it: ``0000:01:00.0``."""
    if text is None:
        return None
    domain, _, rest = text.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def parse_smi_xml(text: str) -> tuple[str | None, tuple[Card, ...]]:
    """Driver version and cards from ``nvidia-smi -q -x``.

    Raises:
        ProbeError: if it is not that document.
    """
    try:
        # bounded output of a local tool; expat itself limits entity expansion
        log = ET.fromstring(text)  # noqa: S314
    except ET.ParseError as error:
        raise ProbeError(f"nvidia-smi printed no readable XML ({one_line(error)})", "nvidia-smi") from None
    if log.tag != "nvidia_smi_log":
        raise ProbeError(f"nvidia-smi printed an unknown document <{one_line(log.tag)}>", "nvidia-smi")
    return _known(log.findtext("driver_version")), tuple(
        _smi_card(index, gpu) for index, gpu in enumerate(log.findall("gpu"))
    )


def _smi_card(index: int, gpu: ET.Element) -> Card:
    def ask(*paths: str) -> str | None:
        return next((known for path in paths if (known := _known(gpu.findtext(path)))), None)

    link = "pci/pci_gpu_link_info"
    return Card(
        index=index,
        name=ask("product_name"),
        uuid=ask("uuid"),
        pci_address=_pci_address(_known(gpu.get("id"))),
        memory_total_bytes=_quantity(ask("fb_memory_usage/total"), {"MiB": _MIB}),
        memory_free_bytes=_quantity(ask("fb_memory_usage/free"), {"MiB": _MIB}),
        architecture=ask("product_architecture"),
        memory_clock_hz=_number(ask("max_clocks/mem_clock"), {"MHz": 1e6}),
        core_clock_hz=_number(ask("max_clocks/sm_clock"), {"MHz": 1e6}),
        power_limit_w=_number(
            ask(
                "gpu_power_readings/current_power_limit",
                "power_readings/enforced_power_limit",
                "power_readings/power_limit",
            ),
            {"W": 1.0},
        ),
        pcie=_pcie_text(ask(f"{link}/pcie_gen/current_link_gen"), ask(f"{link}/link_widths/current_link_width")),
        pcie_max=_pcie_text(ask(f"{link}/pcie_gen/max_link_gen"), ask(f"{link}/link_widths/max_link_width")),
        ecc=_enabled(ask("ecc_mode/current_ecc")),
        mig=_enabled(ask("mig_mode/current_mig")),
    )


def _known(text: str | None) -> str | None:
    stripped = (text or "").strip()
    return None if stripped in _NOT_KNOWN else one_line(stripped)


def _number(text: str | None, units: Mapping[str, float]) -> float | None:
    value, _, unit = (text or "").partition(" ")
    try:
        return float(value) * units[unit]
    except (ValueError, KeyError):
        return None


def _quantity(text: str | None, units: Mapping[str, float]) -> int | None:
    number = _number(text, units)
    return None if number is None else round(number)


def _pcie_text(generation: str | None, width: str | None) -> str | None:
    lanes = (width or "").rstrip("x")
    return f"gen {generation} x{lanes}" if generation and lanes else None


def _enabled(text: str | None) -> bool | None:
    return None if text is None else text == "Enabled"
