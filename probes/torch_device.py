"""GPUs as PyTorch addresses them, whoever makes them: which of its devices one is, and why it may be none."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from probes.base import Waiver
from probes.errors import ProbeError
from probes.products import TORCH_KINDS, has_torch
from probes.types import Device

_BUILDS = {"cuda": "CUDA", "rocm": "ROCm", "xpu": "XPU", "metal": "Metal"}
_TORCH_GUIDE = "install the right build of PyTorch: https://pytorch.org/get-started/locally"
#: Variables that hide devices of a kind from programs.
_HIDING = {
    "cuda": "CUDA_VISIBLE_DEVICES",
    "rocm": "HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES",
    "xpu": "ZE_AFFINITY_MASK",
}


@dataclass(frozen=True, slots=True)
class TorchDevice:
    """A device as PyTorch addresses it, such as ``cuda:1``, and the module that waits for it."""

    torch: Any
    module: Any
    where: str

    def wait(self) -> None:
        """Return when everything started on the device is done."""
        if self.where.partition(":")[0] in ("cuda", "xpu"):
            self.module.synchronize(self.where)
        else:
            self.module.synchronize()


def waiver(device: Device) -> Waiver | None:
    """Why PyTorch cannot measure a device, or None."""
    if device.kind not in TORCH_KINDS:
        return Waiver("measured through PyTorch on CUDA, ROCm, XPU and Metal devices only")
    if not has_torch():
        return Waiver("needs PyTorch, which is not installed", _TORCH_GUIDE)
    import torch

    name = _BUILDS[device.kind]
    if not _built_for(torch, device.kind):
        return Waiver(f"the installed PyTorch {torch.__version__} was built without {name}", _TORCH_GUIDE)
    if not _module(torch, device.kind).is_available():
        return Waiver(
            f"PyTorch {torch.__version__} finds no usable {name} device: driver too old, or hidden", "advisor doctor"
        )
    if _index(torch, device) is None:
        fix = f"unset {_HIDING[device.kind]}" if device.kind in _HIDING else None
        return Waiver("hidden from programs, or a PyTorch that numbers devices differently", fix)
    return None


def _built_for(torch: Any, kind: str) -> bool:
    if kind == "cuda":
        return getattr(torch.version, "cuda", None) is not None
    if kind == "rocm":
        return getattr(torch.version, "hip", None) is not None
    if kind == "xpu":
        return hasattr(torch, "xpu") and getattr(torch.version, "xpu", None) is not None
    return bool(torch.backends.mps.is_built())


def _module(torch: Any, kind: str) -> Any:
    if kind == "metal":
        return torch.backends.mps
    return torch.xpu if kind == "xpu" else torch.cuda  # ROCm answers under CUDA's name


def _index(torch: Any, device: Device) -> int | None:
    """PyTorch's number for a device.

    Drivers number by bus address, PyTorch by speed or by what is visible: the identity or the bus
    address decides, then the only device of that name.
    """
    number = int(device.device_id.rpartition(":")[2])
    if device.kind == "metal":
        return 0 if number == 0 else None
    module = _module(torch, device.kind)
    found = [module.get_device_properties(index) for index in range(module.device_count())]
    uuid = device.properties.get("uuid", "").lower().removeprefix("gpu-")
    for index, seen in enumerate(found):
        if uuid and str(getattr(seen, "uuid", "")).lower().removeprefix("gpu-") == uuid:
            return index
    address = device.properties.get("pci_address")
    for index, seen in enumerate(found):
        if address and _address(seen) == address:
            return index
    if any(_address(seen) for seen in found) and address:
        return None
    return number if number < len(found) else None


def _address(seen: Any) -> str | None:
    bus = getattr(seen, "pci_bus_id", None)
    if not isinstance(bus, int):
        return None
    return f"{getattr(seen, 'pci_domain_id', 0):04x}:{bus:02x}:{getattr(seen, 'pci_device_id', 0):02x}.0"


def open_device(device: Device) -> TorchDevice:
    """The device, ready to use. Call only where `waiver` is None.

    Raises:
        ProbeError: if it disappeared since.
    """
    import torch

    index = _index(torch, device)
    if index is None:
        raise ProbeError("the device is no longer visible to PyTorch")
    if device.kind == "metal":
        return TorchDevice(torch, torch.mps, "mps")
    if device.kind == "xpu":
        return TorchDevice(torch, torch.xpu, f"xpu:{index}")
    return TorchDevice(torch, torch.cuda, f"cuda:{index}")


@contextmanager
def released(gpu: TorchDevice) -> Iterator[None]:
    """Give cached device memory back afterwards, so that engines find it free."""
    try:
        yield
    finally:
        empty = getattr(gpu.module, "empty_cache", None)
        if empty is not None:
            empty()
