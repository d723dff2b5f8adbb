"""Which of the heads that a calibration timed a model's attention is priced by: those most like its own.

It chooses rates and turns no work into seconds: that is ``advisor.roofline``'s alone.
"""

import math
from dataclasses import replace

from advisor.attention import USUAL_ATTENTION, AttentionKernel, HeadShape
from advisor.types import AttentionRates, Rates

_VECTOR_STEP = 64  # halves that llama.cpp's dot product takes at once with AVX-512; the most of any instruction set
#: Types of caches that are not timed, and the timed one that is unpacked most like them.
_KV_RELATIVES = {"bf16": "f16", "f32": "f16", "q4_1": "q4_0", "q5_0": "q4_0", "q5_1": "q4_0", "iq4_nl": "q4_0"}
_OTHER_KERNEL = 16.0  # unlikeness, more than any other difference


def attention_rates(rates: Rates, shape: HeadShape | None, kernel: AttentionKernel) -> AttentionRates | None:
    """What attention costs heads of a shape by a kernel: as the timed heads most like them, None if none were.

    Kernels other than the usual are timed on few shapes: others cost in proportion to what they do by the usual one.
    """
    usual = _nearest(rates, shape, USUAL_ATTENTION)
    kernel = replace(kernel, kv_quant_id=priced_kv_type(kernel.kv_quant_id))
    if usual is None or kernel == USUAL_ATTENTION:
        return usual
    special = _nearest(rates, shape, kernel)
    if special is None:
        return usual
    alike = HeadShape(special.head_dim, special.kv_heads_count, special.queries_per_kv_head)
    reference = _nearest(rates, alike, USUAL_ATTENTION)
    return usual if reference is None else _in_proportion(special, usual, reference)


def priced_kv_type(kv_quant_id: str) -> str:
    """The type of caches that this one's attention is priced by: itself, or the timed one unpacked most like it."""
    return _KV_RELATIVES.get(kv_quant_id, kv_quant_id)


def _in_proportion(special: AttentionRates, usual: AttentionRates, reference: AttentionRates) -> AttentionRates:
    """A kernel's rates for heads of the shape of ``usual``, seen on those of ``reference``."""
    deep_prefill = usual.deep_prefill_s_per_flop / reference.deep_prefill_s_per_flop
    deep_decode = usual.deep_decode_s_per_flop / reference.deep_decode_s_per_flop
    return replace(
        usual,
        flash=special.flash,
        kv_quant_id=special.kv_quant_id,
        prefill_s_per_flop=special.prefill_s_per_flop * usual.prefill_s_per_flop / reference.prefill_s_per_flop,
        deep_prefill_s_per_flop=special.deep_prefill_s_per_flop * deep_prefill,
        decode_s_per_flop=special.decode_s_per_flop * usual.decode_s_per_flop / reference.decode_s_per_flop,
        deep_decode_s_per_flop=special.deep_decode_s_per_flop * deep_decode,
    )


def _nearest(rates: Rates, shape: HeadShape | None, kernel: AttentionKernel) -> AttentionRates | None:
    """The timed attention whose heads are most like these."""
    if shape is None:
        return None
    by_kernel = (
        timed for timed in rates.attention if timed.flash == kernel.flash and timed.kv_quant_id == kernel.kv_quant_id
    )
    return min(by_kernel, key=lambda timed: unlikeness(timed, shape), default=None)


def unlikeness(one: AttentionRates | HeadShape, other: AttentionRates | HeadShape) -> float:
    """How little the attention of one shape of heads says about another's; their length counts double.

    Kernels differ by it, and by how far apart the rows of one head lie in the cache. Heads that are not whole steps
    of a vector kernel long end in a slow loop: only such are alike (Phi 3's 96 values cost several times 128).
    """
    return (
        2.0 * abs(math.log2(one.head_dim / other.head_dim))
        + abs(math.log2(one.kv_heads_count / other.kv_heads_count))
        + abs(math.log2(one.queries_per_kv_head / other.queries_per_kv_head))
        + _OTHER_KERNEL * (_in_steps(one.head_dim) != _in_steps(other.head_dim))
    )


def _in_steps(head_dim: int) -> bool:
    return head_dim % _VECTOR_STEP == 0
