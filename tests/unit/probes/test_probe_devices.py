"""GPUs and neural engines from recorded output of vendors' tools, drivers and libraries."""

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from probe_recordings import recorded, write_file

from probes import amd, apple, intel, machine, nvidia, pci, windows
from probes.errors import ProbeError
from probes.tools import ToolError, ToolMissingError
from probes.types import Device, ProbeStatus

MIB = 1 << 20
GIB = 1 << 30


# NVIDIA ---------------------------------------------------------------------------------------


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


# AMD ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "card", "total_bytes", "free_bytes", "gfx"),
    [
        ("rocm_smi_mi100", 4, "Instinct MI100", 34342961152, 34342961152 - 6750208, None),
        ("rocm_smi_rx6700xt", 1, "Radeon RX 6700/6700 XT / 6800M", 12868124672, 11295379456, "gfx1031"),
        ("rocm_smi_rx7900xt", 1, "Radeon RX 7900 XT", 21458059264, 21458059264 - 27856896, "gfx1100"),
        ("rocm_smi_radeon_780m", 1, "Phoenix3", None, None, None),
    ],
)
def test_rocm_smi_of_several_releases(
    name: str, count: int, card: str, total_bytes: int | None, free_bytes: int | None, gfx: str | None
) -> None:
    devices = amd.parse_rocm_smi(recorded(f"amd/{name}.json"))
    assert len(devices) == count
    assert devices[0].name == card
    assert devices[0].memory_total_bytes == total_bytes
    assert devices[0].memory_free_bytes == free_bytes
    assert devices[0].properties.get("gfx") == gfx
    assert [device.device_id for device in devices] == [f"rocm:{index}" for index in range(count)]


def test_amd_smi_of_an_mi300x() -> None:
    (device,) = amd.parse_amd_smi(recorded("amd/amd_smi_mi300x.json"))
    assert device.name == "AMD Instinct MI300X"
    assert device.memory_total_bytes == 196592 * MIB
    assert device.driver == "6.19.14"
    assert device.properties == {"pci_address": "0000:83:00.0", "gfx": "gfx942", "memory": "HBM3"}


def test_warnings_before_the_document_are_skipped() -> None:
    text = "WARNING: AMD GPU device(s) is/are in a low-power state.\n" + recorded("amd/rocm_smi_rx7900xt.json")
    assert len(amd.parse_rocm_smi(text)) == 1


@pytest.mark.parametrize("text", ["", "garbage", "[1, 2]", '"text"', "{" * 10_000])
def test_garbage_of_amds_tools_is_one_error(text: str) -> None:
    for parse in (amd.parse_amd_smi, amd.parse_rocm_smi):
        with pytest.raises(ProbeError, match="printed"):
            parse(text)


def _amd_card(root: Path, address: str, *, device_id: str, gfx: str, vram: int, revision: str = "0xc8") -> None:
    folder = f"sys/bus/pci/devices/{address}"
    files = {
        "vendor": "0x1002", "device": device_id, "class": "0x030000", "revision": revision, "driver_name": "amdgpu",
        "mem_info_vram_total": str(vram), "mem_info_vram_used": "27856896",
        "mem_info_gtt_total": "16706056192", "mem_info_gtt_used": "14680064",
        "current_link_speed": "16.0 GT/s PCIe", "current_link_width": "16",
        "max_link_speed": "16.0 GT/s PCIe", "max_link_width": "16", "hwmon/hwmon3/power1_cap": "339000000",
    }  # fmt: skip
    for name, text in files.items():
        write_file(root, f"{folder}/{name}", text + "\n")
    write_file(root, "sys/class/kfd/kfd/topology/nodes/1/properties", gfx)
    write_file(root, "sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 16\nsimd_count 0\n")


IDS = "# device, revision, name\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tAMD Radeon RX 7900 XT\n"


def test_a_7900_xtx_from_sysfs_and_the_kernels_topology(tmp_path: Path) -> None:
    _amd_card(tmp_path, "0000:86:00.0", device_id="0x744c", gfx=recorded("amd/kfd_rx7900xtx.txt"), vram=25753026560)
    write_file(tmp_path, "usr/share/libdrm/amdgpu.ids", IDS)
    write_file(tmp_path, "sys/module/amdgpu/version", "6.12.12\n")
    (device,) = amd.read_sysfs(tmp_path)
    assert device.name == "AMD Radeon RX 7900 XTX"  # by revision: an XT has the same device number
    assert device.memory_total_bytes == 25753026560
    assert device.memory_free_bytes == 25753026560 - 27856896
    assert device.unified is False
    assert device.driver == "6.12.12"
    assert device.properties["gfx"] == "gfx1100"
    assert device.properties["compute_units"] == "96"
    assert device.properties["pcie"] == "gen 4 x16"
    assert device.properties["power_limit_w"] == "339"


def test_an_integrated_gpu_shares_main_memory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pci, "listed_names", dict)
    gfx = recorded("amd/kfd_rx7900xtx.txt").replace("110000", "110501")
    _amd_card(tmp_path, "0000:86:00.0", device_id="0x1586", gfx=gfx, vram=512 * MIB)
    (device,) = amd.read_sysfs(tmp_path)
    assert device.unified
    assert device.properties["gfx"] == "gfx1151"
    assert device.properties["gtt_bytes"] == "16706056192"
    assert device.properties["memory_pool"] == "gtt"
    assert device.memory_total_bytes == 16706056192  # what may be mapped, not the 512 MiB that the firmware sets aside
    assert device.memory_free_bytes == 16706056192 - 14680064
    assert device.name == "AMD GPU 1002:1586"  # no table, no lspci: its own number, never another's name


def test_a_large_slice_set_aside_for_graphics_is_all_they_have(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pci, "listed_names", dict)
    gfx = recorded("amd/kfd_rx7900xtx.txt").replace("110000", "110501")
    _amd_card(tmp_path, "0000:86:00.0", device_id="0x1586", gfx=gfx, vram=96 * 1024 * MIB)
    (device,) = amd.read_sysfs(tmp_path)
    assert device.properties["memory_pool"] == "vram"
    assert device.memory_total_bytes == 96 * 1024 * MIB


def test_kfd_versions_become_compiler_names(tmp_path: Path) -> None:
    assert amd.parse_kfd_properties("gfx_target_version 90402\nbroken\nx y\n") == {"gfx_target_version": 90402}
    _amd_card(tmp_path, "0000:86:00.0", device_id="0x74a1", gfx="simd_count 8\ngfx_target_version 90010\n", vram=1)
    assert amd.read_kfd_nodes(tmp_path) == {"0000:00:00.0": {"simd_count": 8, "gfx_target_version": 90010}}


# PCI, Intel, neural engines ---------------------------------------------------------------------


def test_lspci_of_real_machines() -> None:
    (xtx,) = pci.parse_lspci(recorded("lspci/rx7900xtx.txt"))
    assert (xtx.address, xtx.vendor_id, xtx.device_id) == ("0000:03:00.0", pci.AMD, 0x744C)
    assert pci.product_name(xtx.name or "") == "Radeon RX 7900 XT/7900 XTX"
    nvidia_gpu, amd_gpu = pci.parse_lspci(recorded("lspci/laptop_two_gpus.txt"))
    assert pci.product_name(nvidia_gpu.name or "") == "GeForce RTX 3050 Ti Mobile"
    assert amd_gpu.name == "Rembrandt"


def test_a_neural_engine_is_neither_a_gpu_nor_an_ethernet_card() -> None:
    gpu, npu = pci.parse_lspci(recorded("lspci/strix_halo.txt"))
    assert gpu.is_gpu
    assert not gpu.is_npu
    assert npu.is_npu
    assert npu.name == "Strix/Krackan/Strix Halo Neural Processing Unit"


@pytest.mark.parametrize("text", ["", "\n\n", "03:00.0 VGA [zzzz]: x [1:2]", "a" * 10_000])
def test_garbage_of_lspci_lists_nothing(text: str) -> None:
    assert pci.parse_lspci(text) == ()


@pytest.mark.parametrize(
    ("text", "generation"),
    [("16.0 GT/s PCIe", 4), ("32.0 GT/s PCIe", 5), ("Unknown", None), ("", None), ("7 GT/s", None)],
)
def test_link_speeds(text: str, generation: int | None) -> None:
    assert pci.parse_link_speed(text) == generation


def _pci(root: Path, address: str, vendor: str, device: str, klass: str, **files: str) -> None:
    for name, text in {"vendor": vendor, "device": device, "class": klass, **files}.items():
        write_file(root, f"sys/bus/pci/devices/{address}/{name}", text + "\n")


def test_intel_cards_integrated_and_discrete(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pci, "listed_names", lambda: {"0000:03:00.0": "Arc B580"})
    _pci(tmp_path, "0000:00:02.0", "0x8086", "0xa780", "0x030000", driver_name="i915")
    _pci(tmp_path, "0000:03:00.0", "0x8086", "0xe20b", "0x030000", driver_name="xe")
    _pci(tmp_path, "0000:00:02.1", "0x8086", "0xa780", "0x030000")  # a virtual function without a driver
    write_file(tmp_path, "sys/bus/pci/devices/0000:03:00.0/tile0/physical_vram_size_bytes", "12884901888\n")
    inside, card = intel.read_devices(tmp_path)
    assert (inside.unified, inside.memory_total_bytes, inside.driver) == (True, None, "i915")
    assert (card.name, card.memory_total_bytes, card.unified) == ("Arc B580", 12884901888, False)


def test_a_laptop_with_everything(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pci, "listed_names", dict)
    monkeypatch.setattr(nvidia, "read_devices", lambda: (Device(device_id="cuda:0", kind="cuda", name="RTX"),))
    _pci(tmp_path, "0000:01:00.0", "0x10de", "0x25a0", "0x030200", driver_name="nvidia")
    _pci(tmp_path, "0000:c4:00.1", "0x1022", "0x17f0", "0x118000", driver_name="amdxdna")
    _pci(tmp_path, "0000:c1:00.0", "0x8086", "0x125c", "0x020000")
    found = machine.read_linux_machine(tmp_path)
    assert [device.kind for device in found.devices] == ["cpu", "cuda", "npu"]
    assert found.devices[2].name == "NPU 1022:17f0"
    assert found.outcomes == ()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            ToolMissingError("rocm-smi is not installed", "sudo apt install rocm"),
            ProbeStatus.WAIVED,
            "without its driver",
        ),
        (ToolError("nvidia-smi did not answer within 5 s"), ProbeStatus.FAILED, "did not answer"),
        (ProbeError("no permission to use /dev/nvidia*", "usermod"), ProbeStatus.FAILED, "no permission"),
        (RuntimeError("segment\x1b[2J\nfault"), ProbeStatus.FAILED, "RuntimeError"),
    ],
)
def test_a_vendor_that_fails_is_one_outcome_and_the_rest_goes_on(tmp_path, monkeypatch, error, status, words) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(nvidia, "read_devices", fail)
    _pci(tmp_path, "0000:01:00.0", "0x10de", "0x2204", "0x030000")
    found = machine.read_linux_machine(tmp_path)
    (outcome,) = (item for item in found.outcomes if item.probe_id == "cuda.devices")
    assert outcome.status == status
    assert words in (outcome.reason or "")
    assert (outcome.reason or "").isprintable()
    assert outcome.fix == getattr(error, "fix", None)
    assert found.devices[0].kind == "cpu"


def test_a_card_no_driver_serves_is_waived_with_the_install_command(tmp_path: Path) -> None:
    _pci(tmp_path, "0000:03:00.0", "0x8086", "0x56a0", "0x030000")
    found = machine.read_linux_machine(tmp_path)
    (outcome,) = (item for item in found.outcomes if item.probe_id == "xpu.devices")
    assert outcome.status == ProbeStatus.WAIVED
    assert outcome.fix == intel.XPU_FIX


# Apple ----------------------------------------------------------------------------------------


def test_an_m1_pro_by_sysctl() -> None:
    found = apple.parse_sysctl(recorded("apple/sysctl_m1_pro.txt"))
    assert found.name == "Apple M1 Pro"
    assert (found.cores_count, found.performance_cores_count, found.efficiency_cores_count) == (10, 8, 2)
    assert found.l1d_bytes == 131072  # the fast cores'
    assert found.l2_bytes == 2 * 12582912 + 4194304  # two fast clusters and a slow one


def test_a_cluster_of_three_cores_counts_its_cache_once() -> None:
    found = apple.parse_sysctl(recorded("apple/sysctl_m1_pro_6p.txt"))
    assert found.l2_bytes == 2 * 12582912
    assert found.performance_cores_count is None  # one level listed: nothing to tell apart


def test_an_intel_mac_has_no_levels() -> None:
    found = apple.parse_sysctl(recorded("apple/sysctl_core_i5_4440.txt"))
    assert found.name == "Intel(R) Core(TM) i5-4440 CPU @ 3.10GHz"
    assert found.performance_cores_count is None
    assert not found.translated


def test_features_and_rosetta() -> None:
    text = (
        "hw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_BF16: 0\nhw.optional.neon: 1\nsysctl.proc_translated: 1\n"
    )
    found = apple.parse_sysctl(text)
    assert found.instruction_sets == ("NEON", "I8MM")
    assert found.translated


@pytest.mark.parametrize(
    ("name", "chip", "cores"), [("displays_m1", "Apple M1", "7"), ("displays_m3_pro", "Apple M3 Pro", "18")]
)
def test_apple_gpus_and_what_metal_lets_them_wire(name: str, chip: str, cores: str) -> None:
    processor = apple.Processor(memory_bytes=16 * GIB)
    (device,) = apple.parse_displays(recorded(f"apple/{name}.json"), processor)
    assert device.name == chip
    assert device.vendor == "Apple"
    assert device.unified
    assert device.properties["cores"] == cores
    assert device.properties["metal"] == "spdisplays_metal3"
    assert device.memory_total_bytes == 16 * GIB * 2 // 3


def test_a_wired_limit_set_by_hand_outranks_the_default() -> None:
    processor = apple.parse_sysctl("hw.memsize: 137438953472\niogpu.wired_limit_mb: 122880\n")
    (device,) = apple.parse_displays(recorded("apple/displays_m1.json"), processor)
    assert device.memory_total_bytes == 122880 * MIB


@pytest.mark.parametrize(
    ("memory_gib", "logged_mb"),
    [(16, 12713.12), (24, 19069.67), (32, 26800.60), (36, 30150.67), (48, 40200.90), (64, 55662.79), (128, 115448.73)],
)
def test_macos_26_leaves_the_gpu_what_llama_cpp_logged(memory_gib: int, logged_mb: float) -> None:
    limit = apple.default_wired_limit_bytes(memory_gib * GIB)
    assert limit / 1e6 == pytest.approx(logged_mb, rel=2e-5)


@pytest.mark.parametrize(("memory_gib", "left_gib"), [(8, 16 / 3), (16, 32 / 3), (32, 64 / 3), (36, 27), (128, 96)])
def test_an_older_or_unknown_macos_leaves_two_thirds_or_three_quarters(memory_gib: int, left_gib: float) -> None:
    text = recorded("apple/displays_m1.json")
    for version in ("15.6", "", "beta"):
        (device,) = apple.parse_displays(text, apple.Processor(memory_bytes=memory_gib * GIB), macos_version=version)
        assert device.memory_total_bytes == pytest.approx(left_gib * GIB)


def test_a_macs_own_version_decides_its_default() -> None:
    processor = apple.Processor(memory_bytes=64 * GIB)
    (device,) = apple.parse_displays(recorded("apple/displays_m1.json"), processor, macos_version="26.1")
    assert device.memory_total_bytes == 64 * GIB * 81 // 100


def test_an_intel_macs_discrete_gpu_keeps_its_own_memory() -> None:
    row = {"sppci_model": "Radeon Pro 5500M", "spdisplays_vram": "8 GB", "spdisplays_vendor": "sppci_vendor_amd"}
    text = json.dumps({"SPDisplaysDataType": [row]})
    (device,) = apple.parse_displays(text, apple.Processor(memory_bytes=16 * GIB))
    assert (device.vendor, device.memory_total_bytes, device.unified) == ("AMD", 8 * GIB, False)


@pytest.mark.parametrize("text", ["", "{}", "[]", "garbage"])
def test_garbage_of_system_profiler_is_one_error(text: str) -> None:
    with pytest.raises(ProbeError, match="system_profiler printed"):
        apple.parse_displays(text, apple.Processor())


def test_a_profile_without_displays_lists_nothing() -> None:
    assert apple.parse_displays('{"SPDisplaysDataType": 3}', apple.Processor()) == ()
    assert apple.parse_displays('{"SPDisplaysDataType": [{}, 3]}', apple.Processor()) == ()


# Windows --------------------------------------------------------------------------------------


def test_a_windows_desktop() -> None:
    found = windows.parse_inventory(recorded("windows/ryzen_5900x_gtx_1660.json"))
    assert found.cpu_name == "AMD Ryzen 9 5900X 12-Core Processor"
    assert (found.sockets_count, found.cores_count, found.threads_count) == (1, 12, 24)
    assert found.l3_bytes == 64 * MIB
    assert found.memory_channels_count == 2
    assert found.memory_transfers_per_s == 2.4e9
    assert found.on_battery is None
    (gpu,) = found.devices
    assert gpu.kind == "cuda"
    assert gpu.memory_total_bytes == 6 * GIB  # the registry's, not the 32-bit 4 GiB


def test_a_windows_laptop_with_single_rows_and_a_virtual_display() -> None:
    found = windows.parse_inventory(recorded("windows/laptop_three_adapters.json"))
    assert found.cpu_name == "AMD Ryzen 7 5800H with Radeon Graphics"
    assert found.on_battery is True
    assert [(device.kind, device.name) for device in found.devices] == [
        ("cuda", "NVIDIA GeForce RTX 3050 Laptop GPU"),
        ("vulkan", "AMD Radeon(TM) Graphics"),
        ("npu", "AMD IPU Device"),
    ]
    assert found.devices[0].memory_total_bytes == 4154458112


@pytest.mark.parametrize("text", ["", "[]", "3", "Get-CimInstance : not recognized", "{"])
def test_garbage_of_powershell_is_one_error(text: str) -> None:
    with pytest.raises(ProbeError, match="PowerShell printed"):
        windows.parse_inventory(text)


def test_an_empty_answer_is_all_unknown() -> None:
    found = windows.parse_inventory("{}")
    assert dataclasses.replace(found, os_version=None) == windows.Inventory()


def test_a_windows_machine_prefers_nvml_for_nvidia(monkeypatch) -> None:
    monkeypatch.setattr(windows, "run_tool", lambda *_, **__: recorded("windows/laptop_three_adapters.json"))
    precise = Device(device_id="cuda:0", kind="cuda", name="NVIDIA GeForce RTX 3050 Laptop GPU", driver="610.88")
    monkeypatch.setattr(nvidia, "read_devices", lambda: (precise,))
    monkeypatch.setattr(machine.platform, "system", lambda: "Windows")
    found = machine.read_machine()
    assert found.host.os == "Windows"
    assert [device.kind for device in found.devices] == ["cpu", "cuda", "vulkan", "npu"]
    assert found.devices[1] is precise


def test_a_mac_whose_tools_fail_is_still_a_machine(monkeypatch) -> None:
    def missing(*_, **__):
        raise ToolMissingError("sysctl is not installed")

    monkeypatch.setattr(apple, "run_tool", missing)
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    found = machine.read_machine()
    assert found.devices[0].kind == "cpu"
    assert found.outcomes[0].probe_id == "metal.devices"
    assert found.outcomes[0].status == ProbeStatus.WAIVED


def test_a_mac_by_its_recordings(monkeypatch) -> None:
    answers = {
        "sysctl": recorded("apple/sysctl_m1_pro.txt") + "hw.memsize: 17179869184\n",
        "system_profiler": recorded("apple/displays_m1.json"),
    }
    monkeypatch.setattr(apple, "run_tool", lambda argv, **_: answers[argv[0]])
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    found = machine.read_machine()
    assert found.host.cpu_name == "Apple M1 Pro"
    assert found.host.memory_total_bytes == 16 * GIB
    assert [device.kind for device in found.devices] == ["cpu", "metal"]
    assert found.outcomes == ()
