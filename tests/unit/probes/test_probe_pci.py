"""What sits on the PCI bus: lspci's output, neural engines, Intel's GPUs."""

from pathlib import Path

import pytest
from probe_recordings import pci_device, recorded, write_file

from probes import intel, pci


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


def test_intel_cards_integrated_and_discrete(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pci, "listed_names", lambda: {"0000:03:00.0": "Arc B580"})
    pci_device(tmp_path, "0000:00:02.0", "0x8086", "0xa780", "0x030000", driver_name="i915")
    pci_device(tmp_path, "0000:03:00.0", "0x8086", "0xe20b", "0x030000", driver_name="xe")
    pci_device(tmp_path, "0000:00:02.1", "0x8086", "0xa780", "0x030000")  # a virtual function without a driver
    write_file(tmp_path, "sys/bus/pci/devices/0000:03:00.0/tile0/physical_vram_size_bytes", "12884901888\n")
    inside, card = intel.read_devices(tmp_path)
    assert (inside.unified, inside.memory_total_bytes, inside.driver) == (True, None, "i915")
    assert (card.name, card.memory_total_bytes, card.unified) == ("Arc B580", 12884901888, False)
