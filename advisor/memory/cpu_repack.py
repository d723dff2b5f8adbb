"""Which weights llama.cpp keeps twice on a CPU: once as stored, once rearranged for its kernels.

The rules are those of ``ggml/src/ggml-cpu/repack.cpp``: a matrix is copied when its type has a
kernel for the instruction sets and its rows come in groups of eight (or four), which they do for every
published shape. Embeddings that are only looked up, and small full-precision tensors, are not.
"""

from collections.abc import Collection

_AVX2 = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
_AVX512 = frozenset({"Q2_K"})
_DOTPROD = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4", "Q8_0", "Q1_0"})
_DOTPROD_NAMES = frozenset({"asimddp", "dotprod", "neon_dotprod", "i8mm", "matmul_int8"})

#: Types assumed where the instruction sets are unknown: those of a current x86-64 server.
COMMON = _AVX2 | _AVX512
#: Types of an Arm processor with dot products: every one since about 2018.
ARM = _DOTPROD


def repacked_types(instruction_sets: Collection[str]) -> frozenset[str]:
    """Tensor types an engine built for these instruction sets holds a second copy of."""
    names = {name.lower() for name in instruction_sets}
    types: frozenset[str] = frozenset()
    if "avx2" in names:
        types |= _AVX2
        if any(name.startswith("avx512") for name in names):
            types |= _AVX512
    if names & _DOTPROD_NAMES:
        types |= _DOTPROD
    return types
