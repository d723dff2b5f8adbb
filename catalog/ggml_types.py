"""ggml's tensor types: how many bytes a block of weights takes, and llama.cpp's numbers for them.

Source: ``enum ggml_type`` and the block structures of ggml, ``enum llama_ftype`` of llama.cpp.
"""

from dataclasses import dataclass

from catalog.errors import CatalogError


@dataclass(frozen=True, slots=True, kw_only=True)
class GgmlType:
    """One storage type: ``block_weights_count`` weights share ``block_bytes`` bytes."""

    name: str
    number: int
    block_weights_count: int
    block_bytes: int


_NUMBERED = (
    ("F32", 0, 1, 4),
    ("F16", 1, 1, 2),
    ("Q4_0", 2, 32, 18),
    ("Q4_1", 3, 32, 20),
    ("Q5_0", 6, 32, 22),
    ("Q5_1", 7, 32, 24),
    ("Q8_0", 8, 32, 34),
    ("Q8_1", 9, 32, 36),
    ("Q2_K", 10, 256, 84),
    ("Q3_K", 11, 256, 110),
    ("Q4_K", 12, 256, 144),
    ("Q5_K", 13, 256, 176),
    ("Q6_K", 14, 256, 210),
    ("Q8_K", 15, 256, 292),
    ("IQ2_XXS", 16, 256, 66),
    ("IQ2_XS", 17, 256, 74),
    ("IQ3_XXS", 18, 256, 98),
    ("IQ1_S", 19, 256, 50),
    ("IQ4_NL", 20, 32, 18),
    ("IQ3_S", 21, 256, 110),
    ("IQ2_S", 22, 256, 82),
    ("IQ4_XS", 23, 256, 136),
    ("I8", 24, 1, 1),
    ("I16", 25, 1, 2),
    ("I32", 26, 1, 4),
    ("I64", 27, 1, 8),
    ("F64", 28, 1, 8),
    ("IQ1_M", 29, 256, 56),
    ("BF16", 30, 1, 2),
    ("TQ1_0", 34, 256, 54),
    ("TQ2_0", 35, 256, 66),
    ("MXFP4", 39, 32, 17),
    ("NVFP4", 40, 64, 36),
    ("Q1_0", 41, 128, 18),
    ("Q2_0", 42, 64, 18),
)

TYPES = {
    name: GgmlType(name=name, number=number, block_weights_count=weights, block_bytes=size)
    for name, number, weights, size in _NUMBERED
}
TYPE_BY_NUMBER = {ggml_type.number: ggml_type for ggml_type in TYPES.values()}

# Not quantised: what a tensor of such a type holds is stored weight by weight.
FULL_PRECISION = frozenset({"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"})


def tensor_bytes(type_name: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor's data; ``shape`` in ggml order, rows stored in whole blocks.

    Raises:
        CatalogError: if the type is unknown or a row is not a whole number of blocks.
    """
    ggml_type = TYPES.get(type_name)
    if ggml_type is None:
        raise CatalogError(f"{type_name!r} is no ggml tensor type this catalog knows; update the catalog")
    if shape[0] % ggml_type.block_weights_count:
        raise CatalogError(
            f"rows of {shape[0]} weights are not whole blocks of {type_name} ({ggml_type.block_weights_count})"
        )
    size = shape[0] // ggml_type.block_weights_count * ggml_type.block_bytes
    for count in shape[1:]:
        size *= count
    return size
