"""Square matrix products in PyTorch, one class for every number format, on any of its devices."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from probes.errors import NotSupportedError

TORCH_BYTES = 400 << 20  # what a process grows by when it imports PyTorch and multiplies
_ITEM_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1, "fp16_sparse": 2}
_RESULT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 2, "int8": 4, "fp16_sparse": 2}
#: largest error of a row relative to its largest element that rounding in the format explains
TOLERANCE = {"fp32": 1e-3, "tf32": 0.02, "bf16": 0.06, "fp16": 0.02, "fp8": 0.2, "int8": 0.0, "fp16_sparse": 0.02}


def has_torch() -> bool:
    """Whether PyTorch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def working_set_bytes(dtype: str, dim: int) -> int:
    """Bytes of both operands and the result."""
    return dim * dim * (2 * _ITEM_BYTES[dtype] + _RESULT_BYTES[dtype])


class Operands(Protocol):
    """Two square matrices and their product."""

    @property
    def dim(self) -> int:
        """Rows, and columns."""
        ...

    def multiply(self) -> None:
        """Start one product."""
        ...

    def error_frac(self) -> float:
        """Largest error of the first row, relative to its largest exact element."""
        ...


@dataclass(slots=True)
class TorchProduct:
    """A product in one format on one device.

    Raises:
        NotSupportedError: if the device or this build of PyTorch cannot multiply in the format.
    """

    dtype: str
    dim: int
    where: str = "cpu"
    left: Any = None
    right: Any = None
    result: Any = None
    _run: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        import torch

        try:
            self._prepare(torch)
            self.multiply()
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError) as error:
            raise NotSupportedError(f"{self.dtype} products are not supported here ({_first_line(error)})") from None

    def _prepare(self, torch: Any) -> None:
        sides = (self.dim, self.dim)
        generator = torch.Generator().manual_seed(1)
        if self.dtype == "int8":
            left, right = (torch.randint(-64, 64, sides, dtype=torch.int8, generator=generator) for _ in range(2))
        else:
            left, right = (torch.rand(sides, generator=generator) for _ in range(2))
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp16_sparse": torch.float16}
        kind = kinds.get(self.dtype, left.dtype)
        self.left, self.right = left.to(self.where, kind), right.to(self.where, kind)
        self._run = self._product(torch)

    def _product(self, torch: Any) -> Callable[[], Any]:
        if self.dtype == "int8":
            return lambda: torch._int_mm(self.left, self.right)  # noqa: SLF001 - PyTorch's only integer product
        if self.dtype == "fp8":
            return self._fp8(torch)
        if self.dtype == "fp16_sparse":
            # keep two of every four weights of a row: the pattern the sparse tensor cores skip
            mask = torch.tensor([1, 1, 0, 0], dtype=torch.bool, device=self.where).tile(self.dim, self.dim // 4)
            self.left = self.left * mask
            packed = torch.sparse.to_sparse_semi_structured(self.left)
            return lambda: torch.mm(packed, self.right)
        return lambda: torch.mm(self.left, self.right)

    def _fp8(self, torch: Any) -> Callable[[], Any]:
        left = self.left.to(torch.float8_e4m3fn)
        right = self.right.t().contiguous().to(torch.float8_e4m3fn).t()  # the kernel wants columns contiguous
        one = torch.tensor(1.0, device=self.where)
        self.left, self.right = left, right
        return lambda: torch._scaled_mm(left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)  # noqa: SLF001

    def multiply(self) -> None:
        """Start one product; on an accelerator it runs on after this returns."""
        if self._run is not None:
            self.result = self._run()

    def error_frac(self) -> float:
        """Largest error of the first row, relative to its largest exact element."""
        import torch

        left, right, found = (
            tensor.to("cpu", torch.float32).to(torch.float64) for tensor in (self.left[:1], self.right, self.result[:1])
        )
        exact = left @ right
        return float((found - exact).abs().max() / exact.abs().max().clamp(min=1e-9))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


@contextmanager
def torch_threads(threads_count: int) -> Iterator[None]:
    """PyTorch's CPU kernels on this many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads_count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def tensor_float_32(allowed: bool) -> Iterator[None]:
    """Whether fp32 products may be rounded to TF32 on NVIDIA's tensor cores."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
