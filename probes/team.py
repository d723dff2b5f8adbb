"""Threads that stream their own share of common buffers, kept between probes because pages cost time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Kernel = Callable[[Sequence[Array]], None]
ELEMENT_BYTES = 4


class Team:
    """A pool of threads and up to three float32 buffers; each thread works on its own slice of each."""

    def __init__(self, threads_count: int) -> None:
        self.threads_count = threads_count
        self._pool = ThreadPoolExecutor(threads_count, thread_name_prefix="probe")
        self._buffers: list[Array] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release threads and memory."""
        self._buffers.clear()
        self._pool.shutdown()

    def slices(self, buffer_bytes: int, fills: Sequence[float], threads_count: int | None = None) -> list[list[Array]]:
        """Per thread, its slice of each buffer, filled with the given values.

        Pages are touched first by the thread that uses them, so they lie in memory near it.
        """
        count = max(1024, buffer_bytes // ELEMENT_BYTES)
        threads_count = threads_count or self.threads_count
        self._buffers = [buffer for buffer in self._buffers if len(buffer) == count]
        while len(self._buffers) < len(fills):
            self._buffers.append(np.empty(count, np.float32))
        shares = [np.array_split(buffer, threads_count) for buffer in self._buffers[: len(fills)]]
        parts = [list(part) for part in zip(*shares, strict=True)]

        def fill(part: Sequence[Array]) -> None:
            for array, value in zip(part, fills, strict=True):
                array.fill(value)

        self.run(fill, parts)
        return parts

    def run(self, kernel: Kernel, parts: Sequence[Sequence[Array]], passes: int = 1) -> None:
        """Run a kernel ``passes`` times on every part at once and wait; the first error is raised."""

        def work(part: Sequence[Array]) -> None:
            for _ in range(passes):
                kernel(part)

        for _ in self._pool.map(work, parts):
            pass
