"""Square matrix products in PyTorch, one class for every number format, on any of its devices."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from probes.errors import NotSupportedError

TORCH_KINDS = ("cuda", "rocm", "xpu", "metal")  # kinds of device it may know as accelerators
TORCH_BYTES = 400 << 20  # what a process grows by when it imports PyTorch and multiplies
_ITEM_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1, "fp16_sparse": 2}
_RESULT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 2, "int8": 4, "fp16_sparse": 2}
_DRAWN_AS = {"bf16": "bfloat16", "fp16": "float16", "fp16_sparse": "float16", "fp8": "bfloat16"}
_BLOCK_DIM = 512
_CHECKED_COUNT = 64
#: largest error relative to the largest element that rounding in the format explains
TOLERANCE = {"fp32": 1e-3, "tf32": 0.02, "bf16": 0.06, "fp16": 0.02, "fp8": 0.2, "int8": 0.0, "fp16_sparse": 0.02}


def has_torch() -> bool:
    """Whether PyTorch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def working_set_bytes(dtype: str, dim: int) -> int:
    """Bytes of both operands and the result."""
    return dim * dim * (2 * _ITEM_BYTES[dtype] + _RESULT_BYTES[dtype])


class Operands(Protocol):
    """Two square matrices and their product, multiplied once when made: kernels are loaded, pages touched."""

    @property
    def dim(self) -> int:
        """Rows, and columns."""
        ...

    def multiply(self) -> None:
        """Start one product."""
        ...

    def error_frac(self) -> float:
        """Largest error of what is checked of the product, relative to its largest exact element."""
        ...


@dataclass(slots=True)
class TorchProduct:
    """A product in one format on one device.

    Operands beyond 512 x 512 repeat one random block of that size: drawing 8192 x 8192 numbers takes a
    processor seconds, laying out copies takes any device milliseconds, and the values that meet in a unit
    are as random. Zeros would draw less power, and so run faster than weights do.

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
        generator = torch.Generator().manual_seed(1)
        self.left, self.right = (self._operand(torch, generator) for _ in range(2))
        self._run = self._product(torch)

    def _operand(self, torch: Any, generator: Any) -> Any:
        side = min(self.dim, _BLOCK_DIM)
        if self.dtype == "int8":
            block = torch.randint(-64, 64, (side, side), dtype=torch.int8, generator=generator)
        else:
            drawn = torch.empty(side, side).uniform_(-1.0, 1.0, generator=generator)
            block = drawn.to(getattr(torch, _DRAWN_AS.get(self.dtype, "float32")))
        copies = -(-self.dim // side)
        return block.to(self.where).repeat(copies, copies)[: self.dim, : self.dim]

    def _product(self, torch: Any) -> Callable[[], Any]:
        if self.dtype == "int8":
            return self._int8(torch)
        if self.dtype == "fp8":
            return self._fp8(torch)
        if self.dtype == "fp16_sparse":
            return self._fp16_sparse(torch)
        return lambda: torch.mm(self.left, self.right)

    def _int8(self, torch: Any) -> Callable[[], Any]:
        if self.where != "cpu":
            self.right = self.right.t()  # tensor cores want both operands contiguous along the sum
        return lambda: torch._int_mm(self.left, self.right)  # noqa: SLF001 - PyTorch's only integer product

    def _fp8(self, torch: Any) -> Callable[[], Any]:
        left = self.left = self.left.to(torch.float8_e4m3fn)
        right = self.right = self.right.to(torch.float8_e4m3fn).t()  # the kernel wants columns contiguous
        one = torch.tensor(1.0, device=self.where)
        return lambda: torch._scaled_mm(  # noqa: SLF001 - PyTorch's only fp8 product
            left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
        )

    def _fp16_sparse(self, torch: Any) -> Callable[[], Any]:
        """NVIDIA's library called directly: PyTorch's tensor class around it imports its compiler, for seconds."""
        # keep two of every four weights of a row: the pattern the sparse tensor cores skip
        mask = torch.tensor([1, 1, 0, 0], dtype=torch.bool, device=self.where).tile(self.dim, self.dim // 4)
        self.left = self.left * mask
        packed = torch._cslt_compress(self.left)  # noqa: SLF001
        return lambda: torch._cslt_sparse_mm(packed, self.right)  # noqa: SLF001

    def multiply(self) -> None:
        """Start one product; on an accelerator it runs on after this returns."""
        if self._run is not None:
            self.result = self._run()

    def error_frac(self) -> float:
        """Largest error among 64 columns of the first and last row, relative to their largest exact element."""
        import torch

        rows, columns = slice(None, None, max(1, self.dim - 1)), slice(None, None, max(1, self.dim // _CHECKED_COUNT))
        left, right, found = (
            part.to("cpu").to(torch.float64)
            for part in (self.left[rows], self.right[:, columns], self.result[rows, columns])
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
