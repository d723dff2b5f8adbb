"""Processors, GPUs and memory of Windows from recorded output of PowerShell."""

import dataclasses

import pytest
from probe_recordings import recorded

from probes import windows
from probes.errors import ProbeError

MIB = 1 << 20
GIB = 1 << 30


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
