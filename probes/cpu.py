"""Memory bandwidth of the CPU: the STREAM kernels and a pure read, in NumPy on a pool of threads.

NumPy releases the interpreter lock inside its loops, so one thread per core streams its own share of
the buffer. Bytes are counted as STREAM counts them (McCalpin 1995): what the program asks for, without
the read of a line before it is overwritten (write-allocate).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.base import Bench, Waiver
from probes.errors import ProbeError
from probes.sampling import rate_measurement, sample
from probes.team import ELEMENT_BYTES, Array, Kernel, Team
from probes.types import Device, Measurement, ScanWarning

_SCALAR = np.float32(3.0)
_CACHE_MULTIPLE = 4  # STREAM's rule: each buffer at least four times the last-level cache
_FALLBACK_CACHE_BYTES = 64 << 20
_MIN_BUFFER_BYTES = 64 << 20
_TOO_SMALL_BYTES = 1 << 20
_COPY_BLOCK_COUNT = (512 << 10) // ELEMENT_BYTES
_TRIAD_BLOCK_COUNT = (1 << 20) // ELEMENT_BYTES  # stays in a core's cache between the two operations
_FEW_THREADS = 8  # more threads than this would queue for the interpreter lock between blocks
_CHECK_COUNT = 1 << 20
_REPEAT_S = 0.01  # a repeat makes this many passes long, so that starting the threads does not show
_PLANTED = np.float32(2.0)  # the largest value in a read buffer
_PLANTED_BITS = 1 << 30


def read_kernel(arrays: Sequence[Array]) -> None:
    """Load every element: the maximum of the bit patterns, one integer instruction per vector.

    Raises:
        ProbeError: if the planted value was not seen.
    """
    if int(np.maximum.reduce(arrays[0].view(np.int32))) != _PLANTED_BITS:
        raise ProbeError("the read kernel missed the value planted in its buffer; memory may be faulty")


def copy_kernel(arrays: Sequence[Array]) -> None:
    """``a = b`` in one call: the C library's memcpy, which streams past the cache when a copy is large."""
    np.copyto(arrays[0], arrays[1])


def copy_blocks_kernel(arrays: Sequence[Array]) -> None:
    """``a = b`` block by block: on few cores memcpy is a tenth faster when it is called for half a MiB at a time."""
    target, source = arrays
    for start in range(0, len(target), _COPY_BLOCK_COUNT):
        np.copyto(target[start : start + _COPY_BLOCK_COUNT], source[start : start + _COPY_BLOCK_COUNT])


def scale_kernel(arrays: Sequence[Array]) -> None:
    """``a = 3 b``."""
    target, source = arrays
    np.multiply(source, _SCALAR, out=target)


def add_kernel(arrays: Sequence[Array]) -> None:
    """``a = b + c``."""
    target, left, right = arrays
    np.add(left, right, out=target)


def triad_kernel(arrays: Sequence[Array]) -> None:
    """``a = b + 3 c`` block by block: the product waits in cache for the sum, so memory sees one pass."""
    target, left, right = arrays
    for start in range(0, len(target), _TRIAD_BLOCK_COUNT):
        block = slice(start, start + _TRIAD_BLOCK_COUNT)
        np.multiply(right[block], _SCALAR, out=target[block])
        np.add(left[block], target[block], out=target[block])


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKernel:
    """One kernel: what its buffers are filled with (target first), its flop, and its target afterwards."""

    name: str
    run: Kernel
    fills: tuple[float, ...]
    flop_per_element: int
    expected: float | None
    run_on_few: Kernel | None = None  # a variant that is faster on few threads

    def on(self, threads_count: int) -> Kernel:
        """The variant for a number of threads."""
        return self.run_on_few if self.run_on_few and threads_count <= _FEW_THREADS else self.run

    @property
    def bytes_per_element(self) -> int:
        """STREAM's count: every buffer once."""
        return len(self.fills) * ELEMENT_BYTES


READ = StreamKernel(name="read", run=read_kernel, fills=(1.0,), flop_per_element=0, expected=None)
COPY = StreamKernel(
    name="copy",
    run=copy_kernel,
    run_on_few=copy_blocks_kernel,
    fills=(0.0, 1.0),
    flop_per_element=0,
    expected=1.0,
)
SCALE = StreamKernel(name="scale", run=scale_kernel, fills=(0.0, 1.0), flop_per_element=1, expected=3.0)
ADD = StreamKernel(name="add", run=add_kernel, fills=(0.0, 1.0, 2.0), flop_per_element=1, expected=3.0)
TRIAD = StreamKernel(name="triad", run=triad_kernel, fills=(0.0, 1.0, 2.0), flop_per_element=2, expected=7.0)


def buffer_bytes(cache_bytes: int | None, buffers_count: int, memory_bytes: int) -> tuple[int, bool]:
    """Bytes of one buffer, and whether a memory limit made it smaller than four times the last-level cache."""
    wanted = max(_MIN_BUFFER_BYTES, _CACHE_MULTIPLE * (cache_bytes or _FALLBACK_CACHE_BYTES))
    allowed = memory_bytes // buffers_count
    return min(wanted, allowed), allowed < wanted


def prepare(team: Team, kernel: StreamKernel, size_bytes: int, threads_count: int | None = None) -> list[list[Array]]:
    """The team's slices, filled for a kernel."""
    parts = team.slices(size_bytes, kernel.fills, threads_count)
    if kernel is READ:
        plant(parts)
    return parts


def plant(parts: Sequence[Sequence[Array]]) -> None:
    """Put the value that the read kernel must find into every thread's slice."""
    for part in parts:
        part[0][len(part[0]) * 5 // 7] = _PLANTED


def verify(kernel: StreamKernel, parts: Sequence[Sequence[Array]]) -> None:
    """Check every element the kernel wrote.

    Raises:
        ProbeError: if one is wrong.
    """
    if kernel.expected is None:
        return
    for part in parts:
        for start in range(0, len(part[0]), _CHECK_COUNT):
            if not bool((part[0][start : start + _CHECK_COUNT] == kernel.expected).all()):
                raise ProbeError(f"the {kernel.name} kernel left wrong values in its target; memory may be faulty")


def last_level_cache_bytes(device: Device) -> int | None:
    """The cache size a scan noted on the CPU device."""
    text = device.properties.get("last_level_cache_bytes", "")
    return int(text) if text.isdecimal() else None


def checked_buffer_bytes(device: Device, bench: Bench, buffers_count: int) -> tuple[int, tuple[ScanWarning, ...]]:
    """Bytes of one buffer under the memory limit, and the warning a small one carries.

    Raises:
        ProbeError: if there is no memory worth measuring.
    """
    size_bytes, small = buffer_bytes(last_level_cache_bytes(device), buffers_count, bench.memory_bytes)
    if size_bytes < _TOO_SMALL_BYTES:
        raise ProbeError("too little free memory for buffers of 1 MiB; close other programs and scan again")
    return size_bytes, (ScanWarning.SMALL_BUFFER,) if small else ()


def timed_passes(team: Team, kernel: Kernel, parts: Sequence[Sequence[Array]], bench: Bench) -> int:
    """How many passes make one repeat long enough to time."""
    team.run(kernel, parts)
    start_s = bench.clock.now()
    team.run(kernel, parts)
    pass_s = max(bench.clock.now() - start_s, 1e-6)
    return max(1, round(_REPEAT_S / pass_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProbe:
    """One STREAM kernel, or the pure read, over all usable cores."""

    probe_id: str
    kernel: StreamKernel
    dtype: str | None = None

    def waiver(self, device: Device) -> Waiver | None:
        """Runs on every CPU."""
        return None if device.kind == "cpu" else Waiver("streams the memory of CPUs only")

    def run(self, device: Device, bench: Bench) -> Measurement:
        """Best and median bytes per second over all cores.

        Raises:
            ProbeError: if the moved data does not check out, or there is no memory for buffers.
        """
        kernel, team = self.kernel, bench.team
        size_bytes, warnings = checked_buffer_bytes(device, bench, len(kernel.fills))
        start_s = bench.clock.now()
        parts = prepare(team, kernel, size_bytes)
        run = kernel.on(team.threads_count)
        passes = timed_passes(team, run, parts, bench)
        remaining_s = bench.budget_s - (bench.clock.now() - start_s)
        samples = sample(lambda: team.run(run, parts, passes), bench, budget_s=remaining_s, warmups=0)
        verify(kernel, parts)
        elements_count = sum(len(part[0]) for part in parts)
        return rate_measurement(
            samples,
            quantity=kernel.name,
            unit="bytes_per_s",
            work_bytes=passes * elements_count * kernel.bytes_per_element,
            work_flop=passes * elements_count * kernel.flop_per_element,
            shape=(len(kernel.fills), elements_count),
            threads_count=team.threads_count,
            warnings=warnings,
        )


STREAM_PROBES = (
    StreamProbe(probe_id="cpu.read_bandwidth", kernel=READ),
    StreamProbe(probe_id="cpu.stream_copy", kernel=COPY),
    StreamProbe(probe_id="cpu.stream_triad", kernel=TRIAD),
    StreamProbe(probe_id="cpu.stream_scale", kernel=SCALE),
    StreamProbe(probe_id="cpu.stream_add", kernel=ADD),
)
