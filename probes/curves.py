"""How read bandwidth depends on the number of threads, and on the size of what is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from probes.base import Bench, Waiver
from probes.cpu import READ, buffer_bytes, checked_buffer_bytes, last_level_cache_bytes, plant
from probes.sampling import Samples, rate_measurement, sample_in_turn
from probes.team import Array, Team
from probes.types import Device, Measurement

_SMALLEST_BYTES = 16 << 10
_PASS_BYTES = 128 << 20  # read per thread and repeat: some milliseconds, so that starting the threads does not show


def thread_counts(most: int) -> tuple[int, ...]:
    """Counts worth trying: powers of two with one step between, and all."""
    counts = {1, most}
    step = 2
    while step < most:
        counts |= {step, step * 3 // 2}
        step *= 2
    return tuple(sorted(count for count in counts if count <= most))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadSweepProbe:
    """Read bandwidth at each thread count, taken in turn so that all see the same conditions."""

    probe_id: str = "cpu.thread_sweep"
    dtype: str | None = None

    def waiver(self, device: Device) -> Waiver | None:
        """One thread leaves nothing to compare."""
        return None if device.kind == "cpu" else Waiver("streams the memory of CPUs only")

    def run(self, device: Device, bench: Bench) -> Measurement:
        """The best thread count and its bandwidth; ``details`` hold the whole sweep.

        Raises:
            ProbeError: if there is no memory for a buffer.
        """
        size_bytes, warnings = checked_buffer_bytes(device, bench, 1)
        counts = thread_counts(bench.threads_count)
        shares = [bench.team.slices(size_bytes, READ.fills, count) for count in counts]
        for parts in shares:  # after all are filled: they are slices of one buffer
            plant(parts)
        works = [_reader(bench.team, parts) for parts in shares]
        samples = sample_in_turn(works, bench)
        best = min(range(len(counts)), key=lambda index: samples[index].best_s)
        return rate_measurement(
            samples[best],
            quantity="read",
            unit="bytes_per_s",
            work_bytes=size_bytes,
            threads_count=counts[best],
            warnings=warnings,
            details={
                "threads": tuple(float(count) for count in counts),
                "bytes_per_s": _rates([size_bytes] * len(counts), samples),
            },
        )


def _reader(team: Team, parts: list[list[Array]]) -> Callable[[], None]:
    return lambda: team.run(READ.run, parts)


def _rates(sizes_bytes: Sequence[int], samples: Sequence[Samples]) -> tuple[float, ...]:
    return tuple(size / taken.best_s for size, taken in zip(sizes_bytes, samples, strict=True))


def curve_sizes(last_bytes: int) -> tuple[int, ...]:
    """Doublings from 16 KiB to the last size."""
    sizes = []
    size = _SMALLEST_BYTES
    while size < last_bytes:
        sizes.append(size)
        size *= 2
    return (*sizes, last_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCurveProbe:
    """Read bandwidth of all threads by the size of what they read again and again: L1 to main memory."""

    probe_id: str = "cpu.cache_curve"
    dtype: str | None = None

    def waiver(self, device: Device) -> Waiver | None:
        """Runs on every CPU."""
        return None if device.kind == "cpu" else Waiver("streams the memory of CPUs only")

    def run(self, device: Device, bench: Bench) -> Measurement:
        """The highest point; ``details`` hold the bytes in use and the bytes per second of all threads together."""
        threads_count = bench.threads_count
        total_bytes, _ = buffer_bytes(last_level_cache_bytes(device), 1, bench.memory_bytes)
        parts = bench.team.slices(total_bytes, (1.0,))
        sizes = curve_sizes(min(part[0].nbytes for part in parts))
        works, work_bytes = [], []
        for size in sizes:
            rows = max(1, _PASS_BYTES // size)
            works.append(_cycler(bench.team, [part[0] for part in parts], size, rows))
            work_bytes.append(rows * size * threads_count)
        samples = sample_in_turn(works, bench)
        rates = _rates(work_bytes, samples)
        peak = max(range(len(sizes)), key=lambda index: rates[index])
        return rate_measurement(
            samples[peak],
            quantity="read",
            unit="bytes_per_s",
            work_bytes=work_bytes[peak],
            shape=(sizes[peak],),
            threads_count=threads_count,
            details={"buffer_bytes": tuple(float(size * threads_count) for size in sizes), "bytes_per_s": rates},
        )


def _cycler(team: Team, arrays: Sequence[Array], size_bytes: int, rows_count: int) -> Callable[[], None]:
    """Read the first bytes of each thread's array many times in one call: a view whose rows are all the same row."""
    count = size_bytes // 4
    views = [[as_strided(array.view(np.int32), (rows_count, count), (0, 4), writeable=False)] for array in arrays]

    def read(part: Sequence[Array]) -> None:
        np.maximum.reduce(part[0], axis=1)

    return lambda: team.run(read, views)


CURVE_PROBES = (ThreadSweepProbe(), CacheCurveProbe())
