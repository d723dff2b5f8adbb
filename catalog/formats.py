"""Weight formats other than GGUF: which tensors a scheme packs, and into how many bytes.

Arithmetic of each scheme from its reference implementation (AutoAWQ, GPTQModel, compressed-tensors,
TensorRT Model Optimizer, bitsandbytes, MLX): payload bits, plus scales and zero points per group of
weights along a row, plus what is stored once per row or per input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.types import FileFormat, Role

_BF16_BYTES = 2
_LINEAR = frozenset({Role.ATTENTION, Role.FFN, Role.EXPERT})
_EVERY_MATRIX = _LINEAR | {Role.EMBEDDING, Role.OUTPUT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a format stores a matrix of (columns = inputs, rows = outputs).

    Attributes:
        bits: payload bits per weight.
        group_columns: weights of a row that share scales (None: the whole row does).
        group_bytes: scales and zero points of one such group.
        group_rows: rows that share them too (block-wise scales).
        row_bytes: stored once per output row.
        column_bytes: stored once per input column (GPTQ's group index).
        roles: roles that are packed; everything else is BF16.
    """

    file_format: FileFormat
    bits: int
    group_columns: int | None = None
    group_bytes: float = 0.0
    group_rows: int = 1
    row_bytes: int = 0
    column_bytes: int = 0
    roles: frozenset[Role] = _LINEAR

    def matrix_bytes(self, columns: int, rows: int) -> int:
        """Bytes of one packed matrix, partial groups counted whole."""
        payload = -(-columns * rows * self.bits // 8)
        if self.group_columns is not None:
            groups = -(-columns // self.group_columns) * -(-rows // self.group_rows)
            payload += round(groups * self.group_bytes)
        return payload + rows * self.row_bytes + columns * self.column_bytes


def _mlx(bits: int) -> Scheme:
    return Scheme(file_format=FileFormat.MLX, bits=bits, group_columns=64, group_bytes=4, roles=_EVERY_MATRIX)


def _linear(bits: int, group_columns: int | None = None, group_bytes: float = 0.0) -> Scheme:
    return Scheme(file_format=FileFormat.SAFETENSORS, bits=bits, group_columns=group_columns, group_bytes=group_bytes)


SCHEMES: Mapping[str, Scheme] = {
    "AWQ-4bit": _linear(4, 128, 2.5),
    "GPTQ-4bit": replace(_linear(4, 128, 2.5), column_bytes=4),
    "GPTQ-8bit": replace(_linear(8, 128, 3.0), column_bytes=4),
    "W4A16": _linear(4, 128, 2.0),
    "FP8": replace(_linear(8), row_bytes=2),
    "FP8-block": replace(_linear(8, 128, 4.0), group_rows=128),
    "INT8": replace(_linear(8), row_bytes=2),
    "NVFP4": _linear(4, 16, 1.0),
    "BNB-nf4": _linear(4, 64, 4.0),
    "MXFP4": Scheme(
        file_format=FileFormat.SAFETENSORS, bits=4, group_columns=32, group_bytes=1.0, roles=frozenset({Role.EXPERT})
    ),
    "BF16-safetensors": Scheme(file_format=FileFormat.SAFETENSORS, bits=16, roles=frozenset()),
    "MLX-2bit": _mlx(2),
    "MLX-3bit": _mlx(3),
    "MLX-4bit": _mlx(4),
    "MLX-5bit": _mlx(5),
    "MLX-6bit": _mlx(6),
    "MLX-8bit": _mlx(8),
    "MLX-mxfp4": Scheme(file_format=FileFormat.MLX, bits=4, group_columns=32, group_bytes=1.0, roles=_EVERY_MATRIX),
}

# Rows of fewer weights stay as they are: state-space and gating projections of a few heads.
_FEWEST_COLUMNS = 64


def scheme_bytes(scheme: Scheme, shape: Sequence[int], role: Role) -> tuple[bool, int]:
    """Whether the scheme packs a tensor, and its bytes; ``shape`` in ggml order."""
    params = 1
    for count in shape:
        params *= count
    matrices = params // (shape[0] * shape[1]) if len(shape) > 1 else 0
    if role not in scheme.roles or not matrices or min(shape[0], shape[1]) < _FEWEST_COLUMNS:
        return False, params * _BF16_BYTES
    return True, matrices * scheme.matrix_bytes(shape[0], shape[1])
