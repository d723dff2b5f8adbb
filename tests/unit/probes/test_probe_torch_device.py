"""Which of PyTorch's devices a GPU is, and why it may be none."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from probe_gpu import GPU

from probes import torch_device
from probes.types import Device


def fake_torch(**changes):
    """The questions a waiver asks of ``torch``."""
    found = [SimpleNamespace(uuid="DEF", pci_bus_id=9), SimpleNamespace(uuid="abc", pci_bus_id=1)]
    cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: len(found), get_device_properties=lambda index: found[index]
    )
    values = {
        "__version__": "2.13.0",
        "version": SimpleNamespace(cuda="12.8", hip=None, xpu=None),
        "cuda": cuda,
        "xpu": SimpleNamespace(is_available=lambda: False),
        "mps": SimpleNamespace(),
        "backends": SimpleNamespace(mps=SimpleNamespace(is_built=lambda: True, is_available=lambda: True)),
    }
    return SimpleNamespace(**{**values, **changes})


@pytest.fixture
def torch_is(monkeypatch):
    monkeypatch.setattr(torch_device, "has_torch", lambda: True)
    return lambda **changes: monkeypatch.setitem(sys.modules, "torch", fake_torch(**changes))


def test_devices_are_matched_by_identity_because_numbers_differ(torch_is) -> None:
    torch_is()
    assert torch_device.waiver(GPU) is None
    assert torch_device.open_device(GPU).where == "cuda:1"


def test_without_an_identity_the_bus_address_decides(torch_is) -> None:
    torch_is()
    by_address = replace(GPU, properties={"pci_address": "0000:09:00.0"})
    assert torch_device.open_device(by_address).where == "cuda:0"


@pytest.mark.parametrize(
    ("kind", "hip", "fix"),
    [
        ("cuda", None, "unset CUDA_VISIBLE_DEVICES"),
        ("rocm", "6.4", "unset HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES"),
    ],
)
def test_a_hidden_device_is_waived_with_the_command_that_shows_it(
    torch_is, kind: str, hip: str | None, fix: str
) -> None:
    torch_is(version=SimpleNamespace(cuda="12.8", hip=hip, xpu=None))
    waiver = torch_device.waiver(replace(GPU, kind=kind, properties={"pci_address": "0000:44:00.0"}))
    assert waiver is not None
    assert waiver.fix == fix


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"version": SimpleNamespace(cuda=None, hip=None, xpu=None)}, "cuda", "built without CUDA"),
        ({}, "rocm", "built without ROCm"),
        ({}, "xpu", "built without XPU"),
        ({"cuda": SimpleNamespace(is_available=lambda: False)}, "cuda", "no usable CUDA device"),
        ({"backends": SimpleNamespace(mps=SimpleNamespace(is_built=lambda: False))}, "metal", "built without Metal"),
    ],
)
def test_what_keeps_torch_from_a_device_is_said_with_a_fix(torch_is, changes, kind: str, words: str) -> None:
    torch_is(**changes)
    waiver = torch_device.waiver(replace(GPU, kind=kind, device_id=f"{kind}:0"))
    assert waiver is not None
    assert words in waiver.reason
    assert waiver.fix


def test_metal_and_rocm_open_under_torchs_names(torch_is) -> None:
    torch_is(version=SimpleNamespace(cuda=None, hip="6.4", xpu=None))
    assert torch_device.open_device(replace(GPU, kind="rocm", device_id="rocm:0")).where == "cuda:1"
    metal = Device(device_id="metal:0", kind="metal")
    assert torch_device.waiver(metal) is None
    assert torch_device.open_device(metal).where == "mps"


def test_without_torch_gpus_are_waived(monkeypatch) -> None:
    monkeypatch.setattr(torch_device, "has_torch", lambda: False)
    waiver = torch_device.waiver(GPU)
    assert waiver is not None
    assert "PyTorch" in waiver.reason
