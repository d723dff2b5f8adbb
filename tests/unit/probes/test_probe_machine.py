"""A whole machine: what each vendor's probe finds, and what becomes of one that fails."""

from pathlib import Path

import pytest
from probe_recordings import pci_device, recorded

from probes import apple, intel, machine, nvidia, pci, windows
from probes.errors import ProbeError
from probes.tools import ToolError, ToolMissingError
from probes.types import Device, ProbeStatus

GIB = 1 << 30


def test_a_laptop_with_everything(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pci, "listed_names", dict)
    monkeypatch.setattr(nvidia, "read_devices", lambda: (Device(device_id="cuda:0", kind="cuda", name="RTX"),))
    pci_device(tmp_path, "0000:01:00.0", "0x10de", "0x25a0", "0x030200", driver_name="nvidia")
    pci_device(tmp_path, "0000:c4:00.1", "0x1022", "0x17f0", "0x118000", driver_name="amdxdna")
    pci_device(tmp_path, "0000:c1:00.0", "0x8086", "0x125c", "0x020000")
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
    pci_device(tmp_path, "0000:01:00.0", "0x10de", "0x2204", "0x030000")
    found = machine.read_linux_machine(tmp_path)
    (outcome,) = (item for item in found.outcomes if item.probe_id == "cuda.devices")
    assert outcome.status == status
    assert words in (outcome.reason or "")
    assert (outcome.reason or "").isprintable()
    assert outcome.fix == getattr(error, "fix", None)
    assert found.devices[0].kind == "cpu"


def test_a_card_no_driver_serves_is_waived_with_the_install_command(tmp_path: Path) -> None:
    pci_device(tmp_path, "0000:03:00.0", "0x8086", "0x56a0", "0x030000")
    found = machine.read_linux_machine(tmp_path)
    (outcome,) = (item for item in found.outcomes if item.probe_id == "xpu.devices")
    assert outcome.status == ProbeStatus.WAIVED
    assert outcome.fix == intel.XPU_FIX


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
