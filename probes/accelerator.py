"""Bandwidth of GPUs' memory and rates of their matrix products, through PyTorch."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from probes import torch_device
from probes.base import Bench, Waiver
from probes.errors import NotSupportedError, ProbeError
from probes.matmul import Growth, largest_dim, measure_product
from probes.products import TorchProduct, tensor_float_32
from probes.sampling import rate_measurement, sample
from probes.torch_device import TorchDevice, released
from probes.types import Device, Measurement, ScanWarning

_BUFFER_BYTES = 512 << 20  # beyond the last-level cache of every GPU (256 MiB on AMD's largest)
_MIN_BUFFER_BYTES = 16 << 20
_MEMORY_SHARE = 0.25
_LISTS_USERS = {"cuda": "nvidia-smi", "rocm": "rocm-smi --showpids"}  # tools that name what holds a GPU's memory
_REPEAT_S = 0.01
_FIRST_DIM = 256  # in no time even where a driver emulates a format; a fast GPU doubles it in milliseconds
_LAST_DIM = 8192  # no chip multiplies larger ones faster, and they take longer to time
_LONG_ENOUGH_S = 0.02
_PHYSICS_SLACK = 1.05  # data sheets round
_ABSURD_FRAC = 0.25  # of the chip's fp32 peak, which every other format of its matrix units exceeds
_PLANTED = 2


def buffer_bytes(device: Device, buffers_count: int) -> int:
    """Bytes of one buffer: well beyond any cache, within a quarter of the free memory for all.

    Raises:
        ProbeError: if too little is free.
    """
    free = device.memory_free_bytes or device.memory_total_bytes
    allowed = int((free or 4 * _BUFFER_BYTES) * _MEMORY_SHARE) // buffers_count
    if allowed < _MIN_BUFFER_BYTES:
        fix = _LISTS_USERS.get(device.kind)
        raise ProbeError("too little free device memory to measure; close what uses it and scan again", fix)
    return min(_BUFFER_BYTES, allowed)


def _read(torch: Any, buffers: list[Any]) -> None:
    buffers[-1] = torch.amax(buffers[0])


def _copy(torch: Any, buffers: list[Any]) -> None:  # noqa: ARG001 - one signature for all kernels
    buffers[0].copy_(buffers[1])


def _triad(torch: Any, buffers: list[Any]) -> None:
    torch.add(buffers[1], buffers[2], alpha=3, out=buffers[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKernel:
    """A streaming kernel on a device: what its int32 buffers hold (target first), and its target afterwards."""

    name: str
    run: Callable[[Any, list[Any]], None]
    fills: tuple[int, ...]
    flop_per_element: int
    expected: int


KERNELS = (
    GpuKernel(name="read", run=_read, fills=(1,), flop_per_element=0, expected=_PLANTED),
    GpuKernel(name="copy", run=_copy, fills=(0, 1), flop_per_element=0, expected=1),
    GpuKernel(name="triad", run=_triad, fills=(0, 1, 2), flop_per_element=2, expected=7),
)


def launches_for(work: Callable[[], None], wait: Callable[[], None], bench: Bench, repeat_s: float = _REPEAT_S) -> int:
    """How many launches make one repeat long enough to time, waiting once at its end."""
    work()
    wait()
    start_s = bench.clock.now()
    work()
    wait()
    return max(1, min(10_000, round(repeat_s / max(bench.clock.now() - start_s, 1e-6))))


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuStreamProbe:
    """One streaming kernel over a GPU's memory."""

    probe_id: str
    kernel: GpuKernel
    dtype: str | None = None

    def waiver(self, device: Device) -> Waiver | None:
        """Where PyTorch cannot use the device."""
        return torch_device.waiver(device)

    def run(self, device: Device, bench: Bench) -> Measurement:
        """Best and median bytes per second.

        Raises:
            ProbeError: if the data does not check out, or memory is short.
        """
        gpu = torch_device.open_device(device)
        with released(gpu):
            return self._measure(gpu, device, bench)

    def _measure(self, gpu: TorchDevice, device: Device, bench: Bench) -> Measurement:
        kernel, torch, start_s = self.kernel, gpu.torch, bench.clock.now()
        count = buffer_bytes(device, len(kernel.fills)) // 4
        buffers = [torch.full((count,), fill, dtype=torch.int32, device=gpu.where) for fill in kernel.fills]
        if kernel.name == "read":
            buffers[0][count * 5 // 7] = _PLANTED
            buffers.append(None)  # where the maximum lands
        launch = partial(kernel.run, torch, buffers)
        launches_count = launches_for(launch, gpu.wait, bench)

        def repeat() -> None:
            for _ in range(launches_count):
                launch()
            gpu.wait()

        samples = sample(repeat, bench, budget_s=bench.budget_s - (bench.clock.now() - start_s))
        self._verify(buffers)
        work_bytes = launches_count * count * 4 * len(kernel.fills)
        return rate_measurement(
            samples,
            quantity=kernel.name,
            unit="bytes_per_s",
            work_bytes=work_bytes,
            work_flop=launches_count * count * kernel.flop_per_element,
            shape=(len(kernel.fills), count),
            warnings=physics_warnings(device, work_bytes / samples.best_s),
        )

    def _verify(self, buffers: list[Any]) -> None:
        target = buffers[-1] if self.kernel.name == "read" else buffers[0]
        if not bool((target == self.kernel.expected).all()):
            raise ProbeError(f"the {self.kernel.name} kernel left wrong values; the GPU's memory may be faulty")


def physics_warnings(device: Device, bytes_per_s: float) -> tuple[ScanWarning, ...]:
    """A figure above the data sheet is a fault of the method or the timer, never a fact."""
    peak = _property(device, "datasheet_bytes_per_s")
    return (ScanWarning.ABOVE_PHYSICS,) if peak is not None and bytes_per_s > peak * _PHYSICS_SLACK else ()


def _property(device: Device, name: str) -> float | None:
    try:
        return float(device.properties[name])
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMatmulProbe:
    """Rate of a square matrix product on a GPU in one number format."""

    probe_id: str
    dtype: str

    def waiver(self, device: Device) -> Waiver | None:
        """Where PyTorch cannot use the device."""
        return torch_device.waiver(device)

    def run(self, device: Device, bench: Bench) -> Measurement:
        """Best and median flop per second; a sparse product counts the flop of the dense one it stands for.

        Raises:
            NotSupportedError: if this GPU has no such format.
            ProbeError: if the product is wrong.
        """
        if self.dtype == "tf32" and device.kind != "cuda":
            raise NotSupportedError("tf32 is a format of NVIDIA's tensor cores")
        gpu = torch_device.open_device(device)
        with released(gpu), tensor_float_32(allowed=self.dtype == "tf32"):
            measured = measure_product(
                lambda dim: TorchProduct(self.dtype, dim, gpu.where),
                self.dtype,
                bench,
                _growth(device, self.dtype),
                wait=gpu.wait,
            )
        return replace(measured, warnings=measured.warnings + absurdity_warnings(device, measured.value))


def _growth(device: Device, dtype: str) -> Growth:
    """Sizes worth timing on a GPU."""
    free_bytes = device.memory_free_bytes or device.memory_total_bytes or _BUFFER_BYTES
    return Growth(
        first_dim=_FIRST_DIM,
        last_dim=largest_dim(dtype, int(free_bytes * _MEMORY_SHARE), _LAST_DIM),
        long_enough_s=_LONG_ENOUGH_S,
    )


def absurdity_warnings(device: Device, flop_per_s: float) -> tuple[ScanWarning, ...]:
    """A product far below the chip's plain fp32 rate was not multiplied by what the chip has for it."""
    peak = _property(device, "datasheet_fp32_flop_per_s")
    return (ScanWarning.BELOW_DATASHEET,) if peak is not None and flop_per_s < peak * _ABSURD_FRAC else ()


def warm_up(device: Device, dtypes: Iterable[str]) -> None:
    """Use a GPU for the first time, before anything on it is timed: seconds for its context, libraries and kernels.

    What does not work is left to its own probe to explain.

    Args:
        device: the GPU.
        dtypes: number formats that will be multiplied.
    """
    if torch_device.waiver(device) is not None:
        return
    gpu = torch_device.open_device(device)
    with released(gpu):
        gpu.torch.zeros(1, dtype=gpu.torch.int32, device=gpu.where)
        gpu.wait()
        for dtype in dtypes:
            growth = _growth(device, dtype)
            with suppress(NotSupportedError), tensor_float_32(allowed=dtype == "tf32"):
                TorchProduct(dtype, min(growth.first_dim, growth.last_dim), gpu.where)
                gpu.wait()


def gpu_probes(kind: str) -> tuple[GpuStreamProbe | GpuMatmulProbe, ...]:
    """The probes of one kind of GPU."""
    names = {"read": "read_bandwidth", "copy": "stream_copy", "triad": "stream_triad"}
    streams = [GpuStreamProbe(probe_id=f"{kind}.{names[kernel.name]}", kernel=kernel) for kernel in KERNELS]
    formats = (
        ("fp32", "fp16", "bf16", "int8")
        if kind != "cuda"
        else ("fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp16_sparse")
    )
    return (*streams, *(GpuMatmulProbe(probe_id=f"{kind}.matmul", dtype=dtype) for dtype in formats))
