"""Matrix-multiply rate per number format, through PyTorch where installed, else NumPy.

The problem grows from tiny until one product takes long enough to time, and never past the budget:
half precision can be a thousand times slower than bfloat16 on the same CPU.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from probes.base import Bench, Waiver
from probes.errors import NotSupportedError, ProbeError
from probes.products import TOLERANCE, TORCH_BYTES, Operands, TorchProduct, has_torch, torch_threads, working_set_bytes
from probes.sampling import rate_measurement, sample
from probes.types import Device, Measurement

_FIRST_DIM = 64
_LAST_DIM = 8192
_LONG_ENOUGH_S = 0.05
_TIMINGS_COUNT = 3
_GROWTH_OF_WORK = 8.0  # doubling a square product's sides
_TORCH_FIX = "pip install 'model-fit-advisor[torch]'"


@dataclass(slots=True)
class NumpyProduct:
    """A square float32 product in NumPy; the BLAS library chooses its own threads."""

    dim: int
    result: Any = None
    left: Any = None
    right: Any = None

    def __post_init__(self) -> None:
        generator = np.random.default_rng(1)
        self.left, self.right = (generator.random((self.dim, self.dim), dtype=np.float32) for _ in range(2))
        self.result = np.empty((self.dim, self.dim), np.float32)
        self.multiply()

    def multiply(self) -> None:
        """Multiply once."""
        np.matmul(self.left, self.right, out=self.result)

    def error_frac(self) -> float:
        """Largest error of the first row, relative to its largest exact element."""
        exact = self.left[:1].astype(np.float64) @ self.right.astype(np.float64)
        return float(np.abs(self.result[:1] - exact).max() / np.abs(exact).max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How large a product is grown: from ``first_dim`` until it takes ``long_enough_s``, as long as a repeat."""

    last_dim: int  # memory allows no more
    first_dim: int = _FIRST_DIM
    long_enough_s: float = _LONG_ENOUGH_S


def grow(
    make: Callable[[int], Operands], wait: Callable[[], object], bench: Bench, growth: Growth
) -> tuple[Operands, float]:
    """Double the sides until a product is long enough to time, or the next would break half the budget.

    Args:
        make: operands of a size, multiplied once.
        wait: returns when the device has finished what was started.
        bench: clock and budget.
        growth: where to begin and to end.

    Returns:
        The operands and the seconds one product took.
    """
    clock = bench.clock
    dim = min(growth.first_dim, growth.last_dim)
    product = make(dim)
    wait()
    deadline_s = clock.now() + bench.budget_s / 2  # not before: a format's first product loads its library
    while True:
        product_s = _product_s(product, wait, bench, growth.long_enough_s, deadline_s)
        next_s = _GROWTH_OF_WORK * 2 * product_s  # once when made, once to time
        if product_s >= growth.long_enough_s or dim * 2 > growth.last_dim or clock.now() + next_s > deadline_s:
            return product, product_s
        dim *= 2
        product = make(dim)
        wait()


def _product_s(
    product: Operands, wait: Callable[[], object], bench: Bench, long_enough_s: float, deadline_s: float
) -> float:
    """Seconds of one product; a slow one is timed again, because a rival can stall a tiny one for many milliseconds."""
    fastest_s = math.inf
    for _ in range(_TIMINGS_COUNT):
        start_s = bench.clock.now()
        product.multiply()
        wait()
        fastest_s = min(fastest_s, max(bench.clock.now() - start_s, 1e-6))
        if fastest_s < long_enough_s or bench.clock.now() + fastest_s > deadline_s:
            break
    return fastest_s


def largest_dim(dtype: str, memory_bytes: int, at_most: int = _LAST_DIM) -> int:
    """The largest power of two whose operands fit, with room for a copy while they are converted."""
    dim = _FIRST_DIM
    while dim < at_most and 2 * working_set_bytes(dtype, 2 * dim) <= memory_bytes:
        dim *= 2
    return dim


def measure_product(
    make: Callable[[int], Operands],
    dtype: str,
    bench: Bench,
    growth: Growth,
    *,
    wait: Callable[[], object] = lambda: None,
    threads_count: int | None = None,
) -> Measurement:
    """Best and median flop per second of square products in one format.

    Raises:
        ProbeError: if the product is wrong.
    """
    start_s = bench.clock.now()
    operands, product_s = grow(make, wait, bench, growth)
    dim = operands.dim
    products_count = math.ceil(growth.long_enough_s / product_s)

    def repeat() -> None:
        for _ in range(products_count):
            operands.multiply()
        wait()

    remaining_s = bench.budget_s - (bench.clock.now() - start_s)
    samples = sample(repeat, bench, budget_s=remaining_s, warmups=0)
    error_frac = operands.error_frac()
    if not error_frac <= TOLERANCE[dtype]:
        raise ProbeError(f"the {dtype} product is off by {error_frac:.1%}; its kernel is not usable")
    return rate_measurement(
        samples,
        quantity="matmul",
        unit="flop_per_s",
        dtype=dtype,
        shape=(dim, dim, dim),
        work_flop=products_count * 2 * dim**3,
        work_bytes=products_count * working_set_bytes(dtype, dim),
        threads_count=threads_count,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulProbe:
    """Rate of a square matrix product on the CPU in one number format."""

    dtype: str
    probe_id: str = "cpu.matmul"

    def waiver(self, device: Device) -> Waiver | None:
        """Formats other than fp32 need PyTorch."""
        if device.kind != "cpu":
            return Waiver("multiplies on CPUs only")
        if self.dtype != "fp32" and not has_torch():
            return Waiver(f"{self.dtype} products need PyTorch, which is not installed", _TORCH_FIX)
        return None

    def run(self, device: Device, bench: Bench) -> Measurement:  # noqa: ARG002 - there is one CPU
        """Best and median flop per second over all cores.

        Raises:
            ProbeError: if the product is wrong.
        """
        growth = Growth(last_dim=largest_dim(self.dtype, bench.memory_bytes))
        measure = partial(measure_product, dtype=self.dtype, bench=bench, growth=growth)
        if not has_torch() or bench.memory_bytes < TORCH_BYTES:
            if self.dtype != "fp32":
                raise NotSupportedError(
                    f"{self.dtype} products need PyTorch, and PyTorch more free memory than there is"
                )
            return measure(NumpyProduct)
        with torch_threads(bench.threads_count):
            return measure(partial(TorchProduct, self.dtype), threads_count=bench.threads_count)


MATMUL_PROBES = tuple(MatmulProbe(dtype=dtype) for dtype in ("fp32", "bf16", "int8", "fp16"))
