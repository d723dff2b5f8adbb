"""AMD's GPUs from recorded output of its tools and the kernel's files."""

from pathlib import Path

import pytest
from probe_recordings import recorded, write_file

from probes import amd, pci
from probes.errors import ProbeError

MIB = 1 << 20


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
