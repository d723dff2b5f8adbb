"""A GPU that is really the CPU: PyTorch's tensors on ``cpu`` behind the calls the GPU probes make."""

from types import SimpleNamespace

from probes.types import Device

GPU = Device(
    device_id="cuda:0",
    kind="cuda",
    name="Stand-in",
    memory_total_bytes=256 << 20,
    memory_free_bytes=256 << 20,
    properties={"uuid": "GPU-ABC", "pci_address": "0000:01:00.0"},
)
PEER = Device(device_id="cuda:1", kind="cuda", name="Stand-in", memory_total_bytes=256 << 20)


class StandIn:
    """What is used of the ``torch`` module, computing on the CPU and counting the waits."""

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self.waits_count = 0
        self.released_count = 0
        self.fails_after: int | None = None
        self.int32 = torch.int32
        self.uint8 = torch.uint8
        self.amax, self.add = torch.amax, torch.add
        self.cuda = SimpleNamespace(synchronize=self._wait, empty_cache=self._release)

    def _wait(self, *_: object) -> None:
        self.waits_count += 1
        if self.fails_after is not None and self.waits_count > self.fails_after:
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")

    def _release(self) -> None:
        self.released_count += 1

    def full(self, size: object, fill: int, *, dtype: object, device: str = "cpu", pin_memory: bool = False) -> object:
        sizes = size if isinstance(size, tuple) else (size,)
        return self._torch.full(sizes, fill, dtype=dtype)

    def zeros(self, size: int, *, dtype: object, device: str = "cpu") -> object:
        return self._torch.zeros(size, dtype=dtype)
