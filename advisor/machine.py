"""The machine an estimate is for: devices with their memory and rates, whatever they were learnt from.

A `Machine` is built from this computer's profile and calibration, or from data sheets for a
``--hardware`` what-if; estimates and recommendations cannot tell the difference, except by basis.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from advisor.types import Rates

CPU_DEVICE_ID = "cpu"
#: Assumed where no disk was measured: a SATA solid-state disk.
ASSUMED_DISK_BYTES_PER_S = 0.5e9
#: Assumed where no link was measured: PCIe 4.0 x16 at its usual 80 %.
ASSUMED_LINK_BYTES_PER_S = 25e9


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDevice:
    """One device a model can be placed on."""

    device_id: str
    backend: str  # cpu cuda metal rocm vulkan sycl
    name: str
    memory_available_bytes: int
    rates: Rates
    unified: bool = False
    vendor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Everything the estimator needs to know about a computer.

    ``devices`` are in order of preference: accelerators first, the CPU last.
    """

    name: str
    profile_id: str
    devices: tuple[MachineDevice, ...]
    engine_id: str = "llama.cpp"
    disk_bytes_per_s: float | None = None
    link_bytes_per_s: Mapping[str, float] = field(default_factory=dict)  # by device, to and from the host
    engine_available: bool = True
    calibration_id: str | None = None
    polluted: bool = False
    price_usd: float | None = None
    power_w: float | None = None

    def device(self, device_id: str) -> MachineDevice:
        """A device by id."""
        return next(device for device in self.devices if device.device_id == device_id)

    def available_bytes(self) -> dict[str, int]:
        """Memory that a model may take, per device."""
        return {device.device_id: device.memory_available_bytes for device in self.devices}
