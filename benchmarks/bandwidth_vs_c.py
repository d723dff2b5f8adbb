"""The probes' bandwidth kernels against the same kernels in C, repeat by repeat in turn.

    python benchmarks/bandwidth_vs_c.py

Compiles ``kernels.c`` with ``cc -O3 -march=native -fopenmp`` and runs both on the same buffers. A ratio
of 1 means that NumPy on threads is as fast as compiled code. Needs a C compiler and a quiet machine.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# libgomp's threads spin for milliseconds after a parallel region and would steal the cores from NumPy's turn
os.environ["OMP_WAIT_POLICY"] = "passive"

from probes.cpu import ADD, COPY, READ, SCALE, TRIAD, StreamKernel, buffer_bytes, prepare, verify
from probes.guard import watch
from probes.machine import read_machine
from probes.team import Array, Team

FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
SYMBOLS = {READ: ("read_max", "read_sum"), COPY: ("copy",), SCALE: ("scale",), ADD: ("add",), TRIAD: ("triad",)}


@contextmanager
def compiled() -> Iterator[ctypes.CDLL]:
    """The C kernels as a library."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "kernels.so"
        source = Path(__file__).with_name("kernels.c")
        subprocess.run(["cc", *FLAGS, "-o", str(library), str(source)], check=True)
        loaded = ctypes.CDLL(str(library))
        loaded.read_sum.restype = ctypes.c_float
        yield loaded


@dataclass(frozen=True)
class Comparison:
    """Seconds per pass of both sides, taken in turn."""

    name: str
    pass_bytes: int
    compiled_s: tuple[float, ...]
    numpy_s: tuple[float, ...]
    quiet: bool

    @property
    def best_ratio(self) -> float:
        """NumPy's best bandwidth over C's best."""
        return min(self.compiled_s) / min(self.numpy_s)

    @property
    def median_ratio(self) -> float:
        """The middle of the ratios of neighbouring repeats."""
        return statistics.median(c / n for c, n in zip(self.compiled_s, self.numpy_s, strict=True))

    def rate(self, elapsed_s: Sequence[float]) -> str:
        """Best and median GB/s."""
        best, middle = self.pass_bytes / min(elapsed_s) / 1e9, self.pass_bytes / statistics.median(elapsed_s) / 1e9
        return f"{best:6.1f} {middle:6.1f}"


def timed(work: Callable[[], object]) -> float:
    """Seconds a call takes."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def compare(
    library: ctypes.CDLL, symbol: str, kernel: StreamKernel, team: Team, size_bytes: int, repeats_count: int
) -> Comparison:
    """Run both sides in turn on the same buffers."""
    parts = prepare(team, kernel, size_bytes)
    whole: list[Array] = [part.base for part in parts[0] if part.base is not None]
    arguments = [ctypes.c_void_p(array.ctypes.data) for array in whole] + [ctypes.c_ssize_t(len(whole[0]))]
    function = getattr(library, symbol)
    sides = (lambda: function(*arguments), lambda: team.run(kernel.on(team.threads_count), parts))
    for side in sides:
        side()
    with watch() as window:
        pairs = [tuple(timed(side) for side in sides) for _ in range(repeats_count)]
    verify(kernel, parts)
    return Comparison(
        name=symbol.replace("_", " "),
        pass_bytes=len(whole[0]) * kernel.bytes_per_element,
        compiled_s=tuple(pair[0] for pair in pairs),
        numpy_s=tuple(pair[1] for pair in pairs),
        quiet=not window.conditions.polluted,
    )


def main() -> int:
    """Print one line per kernel; 1 if read or copy stay under 90 % of C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()

    machine = read_machine()
    memory_bytes = (machine.host.memory_available_bytes or 1 << 30) // 4
    threads_count = machine.host.usable_threads_count or 1
    print(f"{machine.host.cpu_name}, {threads_count} threads, cc {' '.join(FLAGS)}; GB/s best and median")
    print(f"{'kernel':10} {'C':>13} {'probe':>13}  {'best':>6} {'median':>6}  (probe / C)")
    lowest = 1.0
    with compiled() as library, Team(threads_count) as team:
        for kernel, symbols in SYMBOLS.items():
            size_bytes, _ = buffer_bytes(machine.host.l3_bytes, len(kernel.fills), memory_bytes)
            for symbol in symbols:
                found = compare(library, symbol, kernel, team, size_bytes, options.repeats)
                marks = "" if found.quiet else "  disturbed by other programs"
                print(
                    f"{found.name:10} {found.rate(found.compiled_s):>13} {found.rate(found.numpy_s):>13}"
                    f"  {found.best_ratio:6.2f} {found.median_ratio:6.2f}{marks}"
                )
                if kernel in (READ, COPY):
                    lowest = min(lowest, found.median_ratio)
    print(f"read and copy: at least {lowest:.0%} of C")
    return 0 if lowest >= 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
