"""The machine an estimate is for: devices with their memory and rates, whatever they were learnt from.

A `Machine` is built from this computer's profile and calibration, or from data sheets for a
``--hardware`` what-if; estimates and recommendations cannot tell the difference, except by basis.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from advisor.errors import BadRequestError
from advisor.experience import Experience
from advisor.memory.cpu_repack import COMMON
from advisor.types import Rates

CPU_DEVICE_ID = "cpu"
#: Assumed where no disk was measured: a SATA solid-state disk.
ASSUMED_DISK_BYTES_PER_S = 0.5e9
#: Assumed where no link was measured: PCIe 4.0 x16 at its usual 80 %.
ASSUMED_LINK_BYTES_PER_S = 25e9
_PLENTY_BYTES = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDevice:
    """One device a model can be placed on.

    ``set_aside``: what a ``unified`` device has of the computer's memory is kept for it, and the system's own is the
    rest. ``memory_by_default_bytes`` is what the system lets it have until a limit is raised; None where there is none
    or it is part of ``memory_available_bytes`` already.
    """

    device_id: str
    backend: str  # cpu cuda metal rocm vulkan sycl
    name: str
    memory_available_bytes: int
    rates: Rates
    unified: bool = False
    vendor: str | None = None
    set_aside: bool = False
    memory_by_default_bytes: int | None = None


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
    experience: Experience | None = None  # what validations here taught
    price_usd: float | None = None
    power_w: float | None = None
    repacked_types: frozenset[str] = COMMON  # what its engine keeps a rearranged copy of on the CPU

    @property
    def provenance(self) -> dict[str, str]:
        """Where its rates come from, as estimates record it."""
        sources = {f"rates.{device.device_id}": device.rates.source for device in self.devices}
        calibration = {"calibration": self.calibration_id} if self.calibration_id else {}
        return {key: text for key, text in (sources | calibration).items() if text}

    @property
    def usual_threads_count(self) -> int | None:
        """The number of threads that its processor's rates hold for."""
        host = self.devices[-1]
        return host.rates.threads_count if host.device_id == CPU_DEVICE_ID else None

    @property
    def sigmas(self) -> dict[str, float]:
        """Log standard deviation of its predictions on its first device, by phase."""
        rates = self.devices[0].rates
        return {"decode": rates.decode_sigma, "prefill": rates.prefill_sigma}

    def device(self, device_id: str) -> MachineDevice:
        """A device by id.

        Raises:
            BadRequestError: if the machine has no such device.
        """
        found = next((device for device in self.devices if device.device_id == device_id), None)
        if found is None:
            known = ", ".join(device.device_id for device in self.devices)
            raise BadRequestError(f"{self.name} has no device {device_id[:20]!r}; it has {known}")
        return found

    def with_room(self) -> "Machine":
        """The same machine with more memory than anything needs: its speeds where nothing spills."""
        devices = tuple(replace(device, memory_available_bytes=_PLENTY_BYTES) for device in self.devices)
        return replace(self, devices=devices)

    @property
    def shared_device_ids(self) -> frozenset[str]:
        """Accelerators whose memory is the computer's own."""
        return frozenset(
            device.device_id
            for device in self.devices
            if device.unified and not device.set_aside and device.device_id != CPU_DEVICE_ID
        )

    def available_bytes(self) -> dict[str, int]:
        """Memory that a model may take, per device."""
        return {device.device_id: device.memory_available_bytes for device in self.devices}
