"""NVIDIA's GPUs from recorded output of nvidia-smi and answers of its management library."""

import sys
from types import SimpleNamespace

import pytest
from probe_recordings import recorded

from probes import nvidia
from probes.errors import ProbeError
from probes.tools import ToolMissingError

MIB = 1 << 20


def smi(name: str) -> tuple[str | None, nvidia.Card]:
    driver, cards = nvidia.parse_smi_xml(recorded(f"nvidia/{name}.xml"))
    return driver, cards[0]


def test_an_a100_with_mig() -> None:
    driver, card = smi("a100_sxm4_mig")
    assert driver == "535.54.03"
    assert card.name == "NVIDIA A100-SXM4-80GB"
    assert card.memory_total_bytes == 81920 * MIB  # the card's, not the MIG slice's
    assert card.memory_free_bytes == 80999 * MIB
    assert card.mig is True
    assert card.ecc is True
    assert card.power_limit_w == 500.0
    assert (card.pcie, card.pcie_max) == ("gen 4 x16", "gen 4 x16")
    assert card.pci_address == "0000:01:00.0"


def test_a_blackwell_card_whose_driver_deprecates_half_its_fields() -> None:
    _, card = smi("rtx_pro_6000_blackwell")
    assert card.name == "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"
    assert card.architecture == "Blackwell"
    assert card.mig is None
    assert card.ecc is False
    assert card.pcie == "gen 1 x16"  # idle links rest at the lowest generation
    assert card.pcie_max == "gen 4 x16"
    assert card.power_limit_w == 300.0


def test_a_data_center_card_in_a_virtual_machine() -> None:
    driver, card = smi("h100_sxm_vm")
    assert (driver, card.name, card.architecture) == ("580.159.04", "NVIDIA H100 80GB HBM3", "Hopper")
    assert card.pci_address == "0000:00:06.0"
    assert card.memory_total_bytes == 81559 * MIB
    assert (card.power_limit_w, card.ecc, card.mig) == (700.0, True, False)
    assert card.core_clock_hz == 1980e6


def test_the_plain_fp32_rate_is_two_flop_per_core_and_clock() -> None:
    h100 = nvidia.Card(index=0, cores_count=16896, core_clock_hz=1980e6)
    assert nvidia.fp32_peak_flop_per_s(h100) == pytest.approx(66.9e12, rel=1e-3)  # its data sheet says 67
    assert nvidia.device(h100, None).properties["datasheet_fp32_flop_per_s"] == "66908160000000"
    assert nvidia.fp32_peak_flop_per_s(nvidia.Card(index=0, core_clock_hz=1980e6)) is None


def test_a_card_its_driver_does_not_know_keeps_its_own_figures() -> None:
    _, card = smi("gtx_1660_ti_2019")
    device = nvidia.device(card, "418.43")
    assert device.name == "Graphics Device"
    assert device.memory_total_bytes == 5912 * MIB
    assert device.properties["power_limit_w"] == "130"
    assert "ecc" not in device.properties


@pytest.mark.parametrize("text", ["", "not xml", "<html></html>", "<nvidia_smi_log>", "<a>" * 50])
def test_garbage_of_nvidia_smi_is_one_error(text: str) -> None:
    with pytest.raises(ProbeError, match="nvidia-smi printed"):
        nvidia.parse_smi_xml(text)


def test_a_document_without_gpus_is_an_empty_list() -> None:
    assert nvidia.parse_smi_xml("<nvidia_smi_log></nvidia_smi_log>") == (None, ())


def test_the_data_sheets_bandwidth_follows_from_clock_and_bus() -> None:
    a100 = nvidia.Card(index=0, memory_clock_hz=1593e6, memory_bus_bits_count=5120)
    assert nvidia.memory_peak_bytes_per_s(a100) == pytest.approx(2039e9, rel=0.001)
    rtx_3090 = nvidia.Card(index=0, memory_clock_hz=9751e6, memory_bus_bits_count=384)
    assert nvidia.memory_peak_bytes_per_s(rtx_3090) == pytest.approx(936e9, rel=0.001)
    assert nvidia.memory_peak_bytes_per_s(nvidia.Card(index=0)) is None


class NvmlError(Exception):
    pass


def fake_nvml(**overrides):
    """The part of pynvml that is used, answering as an A100 does."""

    def unsupported(*_):
        raise NvmlError("Not Supported")

    values = {
        "NVMLError": NvmlError,
        "NVML_CLOCK_MEM": 2,
        "NVML_CLOCK_SM": 1,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: b"535.54.03",
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: "NVIDIA A100-SXM4-80GB",
        "nvmlDeviceGetUUID": lambda handle: "GPU-513536b6",
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=81920 * MIB, free=80999 * MIB),
        "nvmlDeviceGetCudaComputeCapability": lambda handle: (8, 0),
        "nvmlDeviceGetPciInfo": lambda handle: SimpleNamespace(busId=b"00000000:01:00.0"),
        "nvmlDeviceGetPowerManagementLimit": lambda handle: 500_000,
        "nvmlDeviceGetEccMode": lambda handle: [1, 1],
        "nvmlDeviceGetMigMode": unsupported,
        "nvmlDeviceGetMemoryBusWidth": lambda handle: 5120,
        "nvmlDeviceGetMaxClockInfo": lambda handle, kind: 1593 if kind == 2 else 1410,
        "nvmlDeviceGetCurrPcieLinkGeneration": lambda handle: 4,
        "nvmlDeviceGetCurrPcieLinkWidth": lambda handle: 16,
        "nvmlDeviceGetMaxPcieLinkGeneration": lambda handle: 4,
        "nvmlDeviceGetMaxPcieLinkWidth": lambda handle: 16,
        "nvmlDeviceGetNvLinkState": lambda handle, link: 1 if link < 12 else unsupported(),
        "nvmlDeviceGetNumGpuCores": lambda handle: 6912,
    }
    return SimpleNamespace(**{**values, **overrides})


def test_nvml_answers_become_a_device(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    (device,) = nvidia.read_devices()
    assert device.device_id == "cuda:0"
    assert device.driver == "535.54.03"
    assert device.properties["compute_capability"] == "8.0"
    assert device.properties["nvlinks"] == "12"
    assert device.properties["datasheet_bytes_per_s"] == "2039040000000"
    assert "mig" not in device.properties  # unsupported is unknown, not off


@pytest.mark.parametrize(
    ("name", "reason", "fix"),
    [
        ("NVMLError_LibraryNotFound", "driver is not installed", "nvidia.com/drivers"),
        ("NVMLError_DriverNotLoaded", "not loaded", "modprobe nvidia"),
        ("NVMLError_LibRmVersionMismatch", "updated but the old one still runs", "reboot"),
        ("NVMLError_NoPermission", "no permission", "usermod"),
        ("NVMLError_GpuIsLost", "fell off the bus", "dmesg"),
        ("NVMLError_Unknown", "Unknown Error", "nvidia-smi"),
    ],
)
def test_every_failure_of_nvml_has_a_reason_and_a_command(monkeypatch, name: str, reason: str, fix: str) -> None:
    def fail() -> None:
        raise type(name, (NvmlError,), {})("Unknown Error")

    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(nvmlInit=fail))
    monkeypatch.setattr(nvidia, "run_tool", lambda *_, **__: (_ for _ in ()).throw(ToolMissingError("nvidia-smi")))
    with pytest.raises(ProbeError, match=reason) as caught:
        nvidia.read_devices()
    assert fix in (caught.value.fix or "")


def test_where_nvml_is_missing_nvidia_smi_answers(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(nvidia, "run_tool", lambda *_, **__: recorded("nvidia/gtx_1660_ti_2019.xml"))
    assert [device.driver for device in nvidia.read_devices()] == ["418.43"]


def test_a_card_lost_while_it_is_asked_is_an_error_not_a_crash(monkeypatch) -> None:
    def lost(_):
        raise type("NVMLError_GpuIsLost", (NvmlError,), {})("GPU is lost")

    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(nvmlDeviceGetHandleByIndex=lost))
    monkeypatch.setattr(nvidia, "run_tool", lambda *_, **__: "garbage")
    with pytest.raises(ProbeError, match="fell off the bus"):
        nvidia.read_devices()
