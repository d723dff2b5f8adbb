"""Which of a machine's accelerators the installed llama.cpp can run on, and what it calls them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probes.types import Device, HardwareProfile

#: Kind of device in a profile -> how llama.cpp's names for such devices begin.
_ENGINE_NAMES = {"cuda": "CUDA", "rocm": "ROCm", "metal": "MTL", "xpu": "SYCL", "vulkan": "Vulkan"}
_BACKENDS = {"xpu": "sycl"}
_USABLE_SHARE = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A device of the machine, as the engine calls it."""

    device_id: str
    backend: str
    engine_name: str
    name: str
    memory_free_bytes: int

    @property
    def usable_bytes(self) -> int:
        """What twins held at once may take of its memory."""
        return int(_USABLE_SHARE * self.memory_free_bytes)


def read_bytes_per_s(profile: HardwareProfile, device_id: str) -> float | None:
    """The probed read bandwidth of a processor (``cpu``) or an accelerator (``cuda:0``); None if it was not probed."""
    read = profile.measured(f"{device_id.partition(':')[0]}.read_bandwidth", device_id)
    return read.value if read else None


def usable_accelerators(profile: HardwareProfile, listed: Sequence[Mapping[str, Any]]) -> tuple[Accelerator, ...]:
    """The profile's accelerators that the engine lists too.

    Drivers number devices by where they are plugged in, engines often by speed: one of the same name is taken, the
    first that is left, and only where names say nothing the one of the same number.

    Args:
        profile: the machine.
        listed: the engine's own list, as its worker gives it: ``name``, ``description``, ``free_bytes``.
    """
    left = list(listed)
    found = []
    for device in profile.devices:
        engine_device = _take(device, left)
        if engine_device is not None:
            left.remove(engine_device)
            found.append(
                Accelerator(
                    device_id=device.device_id,
                    backend=_BACKENDS.get(device.kind, device.kind),
                    engine_name=str(engine_device["name"]),
                    name=device.name or device.device_id,
                    memory_free_bytes=int(engine_device["free_bytes"]),
                )
            )
    return tuple(found)


def _take(device: Device, listed: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    prefix = _ENGINE_NAMES.get(device.kind)
    alike = [row for row in listed if prefix is not None and str(row["name"]).startswith(prefix)]
    name = (device.name or "").lower()
    same = [row for row in alike if name and name in str(row["description"]).lower()]
    number = device.device_id.rpartition(":")[2]
    return next(iter([*same, *(row for row in alike if row["name"] == f"{prefix}{number}")]), None)
