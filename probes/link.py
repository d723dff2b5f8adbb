"""How fast data moves between main memory and GPUs, and from GPU to GPU."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from probes import torch_device
from probes.accelerator import launches_for
from probes.base import Bench, Waiver
from probes.errors import ProbeError
from probes.sampling import rate_measurement, sample
from probes.torch_device import TorchDevice, released
from probes.types import Device, Link, Measurement, ProbeOutcome

_TRANSFER_BYTES = 128 << 20
_MIN_TRANSFER_BYTES = 4 << 20
_PLANTED = 7


def transfer_bytes(bench: Bench) -> int:
    """Bytes of one transfer, within the memory allowed on the host.

    Raises:
        ProbeError: if that is too little to time.
    """
    size = min(_TRANSFER_BYTES, bench.memory_bytes // 2)
    if size < _MIN_TRANSFER_BYTES:
        raise ProbeError("too little free memory for a transfer buffer; close other programs and scan again")
    return size


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLinkProbe:
    """Copies between main memory and a GPU, in one direction, from pinned or from pageable memory."""

    probe_id: str
    to_device: bool
    pinned: bool
    dtype: str | None = None

    def waiver(self, device: Device) -> Waiver | None:
        """Where PyTorch cannot use the device, or there is no link."""
        if device.unified or device.kind == "metal":
            return Waiver("shares main memory with the processor: nothing is copied")
        return torch_device.waiver(device)

    def run(self, device: Device, bench: Bench) -> Measurement:
        """Best and median bytes per second.

        Raises:
            ProbeError: if the data does not arrive whole.
        """
        start_s = bench.clock.now()
        gpu = torch_device.open_device(device)
        size = transfer_bytes(bench)
        with released(gpu):
            near = gpu.torch.full((size,), _PLANTED, dtype=gpu.torch.uint8, pin_memory=self.pinned)
            far = gpu.torch.zeros(size, dtype=gpu.torch.uint8, device=gpu.where)
            source, target = (near, far) if self.to_device else (far.fill_(_PLANTED), near.zero_())
            left_s = bench.budget_s - (bench.clock.now() - start_s)  # pinning memory takes as long as many transfers
            return _measure_copy(
                gpu, source, target, replace(bench, budget_s=left_s), quantity=self.probe_id.partition(".")[2]
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLinkProbe:
    """Copies from one GPU to another of the same kind, directly where the hardware allows."""

    peer: Device
    probe_id: str = "link.device_to_device"
    dtype: str | None = None

    def waiver(self, device: Device) -> Waiver | None:
        """Where PyTorch cannot use one of the two."""
        return torch_device.waiver(device) or torch_device.waiver(self.peer)

    def run(self, device: Device, bench: Bench) -> Measurement:
        """Best and median bytes per second.

        Raises:
            ProbeError: if the data does not arrive whole.
        """
        here, there = torch_device.open_device(device), torch_device.open_device(self.peer)
        size = _TRANSFER_BYTES
        with released(here), released(there):
            source = here.torch.full((size,), _PLANTED, dtype=here.torch.uint8, device=here.where)
            target = here.torch.zeros(size, dtype=here.torch.uint8, device=there.where)
            return _measure_copy(here, source, target, bench, quantity="device_to_device", peer=self.peer.device_id)


def _measure_copy(
    gpu: TorchDevice, source: Any, target: Any, bench: Bench, *, quantity: str, peer: str | None = None
) -> Measurement:
    def launch() -> None:
        target.copy_(source, non_blocking=True)

    launches_count = launches_for(launch, gpu.wait, bench)

    def repeat() -> None:
        for _ in range(launches_count):
            launch()
        gpu.wait()

    samples = sample(repeat, bench)
    if not bool((target == _PLANTED).all()):
        raise ProbeError(f"the {quantity.replace('_', ' ')} transfer lost data; check the slot and the riser cable")
    return rate_measurement(
        samples,
        quantity=quantity,
        unit="bytes_per_s",
        work_bytes=launches_count * source.numel(),
        shape=(source.numel(),),
        peer_device_id=peer,
    )


HOST_LINK_PROBES = tuple(
    HostLinkProbe(
        probe_id=f"link.{'host_to_device' if to_device else 'device_to_host'}{'' if pinned else '_pageable'}",
        to_device=to_device,
        pinned=pinned,
    )
    for pinned in (True, False)
    for to_device in (True, False)
)


def peer_probes(device: Device, devices: Sequence[Device]) -> tuple[PeerLinkProbe, ...]:
    """One probe for every other GPU of the same kind."""
    return tuple(
        PeerLinkProbe(peer=other)
        for other in devices
        if other.kind == device.kind and other.device_id != device.device_id and other.kind in ("cuda", "rocm", "xpu")
    )


_ENDS = {
    "link.host_to_device": ("host", None),
    "link.device_to_host": (None, "host"),
    "disk.read": ("disk", "host"),
}


def links_of(outcomes: Sequence[ProbeOutcome]) -> tuple[Link, ...]:
    """The paths that were measured: host to device and back from pinned memory, peers, disk to host.

    A link's rate is the median repeat: what to expect of a transfer, not what it can do at best.
    """
    found = []
    for outcome in outcomes:
        measurement = outcome.measurement
        if measurement is None:
            continue
        if measurement.peer_device_id is not None:
            ends = (outcome.device_id, measurement.peer_device_id)
        elif outcome.probe_id in _ENDS:
            src, dst = _ENDS[outcome.probe_id]
            ends = (src or outcome.device_id, dst or outcome.device_id)
        else:
            continue
        found.append(Link(src=ends[0], dst=ends[1], bytes_per_s=measurement.median_value))
    return tuple(found)
