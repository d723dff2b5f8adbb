"""Matrix-multiply rate of the CPU per number format, through PyTorch where installed, else NumPy.

The problem grows from tiny until one product takes long enough to time, and never past the budget:
half precision can be a thousand times slower than bfloat16 on the same CPU.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from probes.base import Bench, Waiver
from probes.errors import ProbeError
from probes.sampling import rate_measurement, sample
from probes.types import Device, Measurement

_FIRST_DIM = 64
_LAST_DIM = 8192
_LONG_ENOUGH_S = 0.05
_GROWTH_OF_WORK = 8.0  # doubling a square product's sides
_TORCH_FIX = "pip install 'model-fit-advisor[torch]'"
_ITEM_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
_RESULT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 4}
_TOLERANCE = {"fp32": 1e-3, "bf16": 0.06, "fp16": 0.02, "int8": 0.0}


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


@contextmanager
def _torch_threads(threads_count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads_count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Operands(Protocol):
    """Two square matrices and their product."""

    dim: int

    def multiply(self) -> None:
        """Multiply once."""
        ...

    def error_frac(self) -> float:
        """Largest error of the first row, relative to its largest exact element."""
        ...


@dataclass(slots=True)
class TorchProduct:
    """A square product in PyTorch, and a check of its first row against float64."""

    dtype: str
    dim: int
    result: Any = None
    left: Any = None
    right: Any = None

    def __post_init__(self) -> None:
        import torch

        generator = torch.Generator().manual_seed(1)
        sides = (self.dim, self.dim)
        if self.dtype == "int8":
            self.left, self.right = (
                torch.randint(-64, 64, sides, dtype=torch.int8, generator=generator) for _ in range(2)
            )
            return
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.dtype]
        self.left, self.right = (torch.rand(sides, generator=generator).to(kind) for _ in range(2))

    def multiply(self) -> None:
        """Multiply once."""
        import torch

        if self.dtype == "int8":
            self.result = torch._int_mm(self.left, self.right)  # noqa: SLF001 - PyTorch's only integer product
        else:
            self.result = torch.mm(self.left, self.right)

    def error_frac(self) -> float:
        """Largest relative error of the first row."""
        import torch

        exact = self.left[:1].to(torch.float64) @ self.right.to(torch.float64)
        found = self.result[:1].to(torch.float64)
        return float((found - exact).abs().max() / exact.abs().max().clamp(min=1e-9))


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

    def multiply(self) -> None:
        """Multiply once."""
        np.matmul(self.left, self.right, out=self.result)

    def error_frac(self) -> float:
        """Largest relative error of the first row."""
        exact = self.left[:1].astype(np.float64) @ self.right.astype(np.float64)
        return float(np.abs(self.result[:1] - exact).max() / np.abs(exact).max())


def grow(make: Callable[[int], Operands], bench: Bench, *, last_dim: int) -> tuple[Operands, float]:
    """Double the sides until a product is long enough to time, or the next would break half the budget.

    Returns:
        The operands and the seconds one product took.
    """
    clock = bench.clock
    deadline_s = clock.now() + bench.budget_s / 2
    dim = _FIRST_DIM
    while True:
        began_s = clock.now()
        product = make(dim)
        product.multiply()
        start_s = clock.now()
        product.multiply()
        product_s = max(clock.now() - start_s, 1e-6)
        next_s = _GROWTH_OF_WORK * (clock.now() - began_s)
        if product_s >= _LONG_ENOUGH_S or dim * 2 > last_dim or clock.now() + next_s > deadline_s:
            return product, product_s
        dim *= 2


def _last_dim(dtype: str, memory_bytes: int) -> int:
    per_element = 2 * _ITEM_BYTES[dtype] + _RESULT_BYTES[dtype]
    dim = _FIRST_DIM
    while dim < _LAST_DIM and per_element * (2 * dim) ** 2 * 2 <= memory_bytes:  # twice: copies while converting
        dim *= 2
    return dim


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulProbe:
    """Rate of a square matrix product in one number format."""

    dtype: str
    probe_id: str = "cpu.matmul"

    def waiver(self, device: Device) -> Waiver | None:
        """Formats other than fp32 need PyTorch."""
        if device.kind != "cpu":
            return Waiver("multiplies on CPUs only")
        if self.dtype != "fp32" and not _has_torch():
            return Waiver(f"{self.dtype} products need PyTorch, which is not installed", _TORCH_FIX)
        return None

    def run(self, device: Device, bench: Bench) -> Measurement:  # noqa: ARG002 - there is one CPU
        """Best and median flop per second.

        Raises:
            ProbeError: if the product is wrong.
        """
        if not _has_torch():
            return self._measure(NumpyProduct, bench)
        with _torch_threads(bench.threads_count):
            return self._measure(partial(TorchProduct, self.dtype), bench)

    def _measure(self, make: Callable[[int], Operands], bench: Bench) -> Measurement:
        start_s = bench.clock.now()
        operands, product_s = grow(make, bench, last_dim=_last_dim(self.dtype, bench.memory_bytes))
        dim = operands.dim
        products_count = math.ceil(_LONG_ENOUGH_S / product_s)

        def repeat() -> None:
            for _ in range(products_count):
                operands.multiply()

        remaining_s = bench.budget_s - (bench.clock.now() - start_s)
        samples = sample(repeat, bench, budget_s=remaining_s, warmups=0)
        if operands.error_frac() > _TOLERANCE[self.dtype]:
            raise ProbeError(
                f"the {self.dtype} product is off by {operands.error_frac():.1%}; its kernel is not usable"
            )
        return rate_measurement(
            samples,
            quantity="matmul",
            unit="flop_per_s",
            dtype=self.dtype,
            shape=(dim, dim, dim),
            work_flop=products_count * 2 * dim**3,
            work_bytes=products_count * dim * dim * (2 * _ITEM_BYTES[self.dtype] + _RESULT_BYTES[self.dtype]),
            threads_count=bench.threads_count,
        )


MATMUL_PROBES = tuple(MatmulProbe(dtype=dtype) for dtype in ("fp32", "bf16", "int8", "fp16"))
