"""What attention depends on: the shape of a model's heads, how it is computed, and how many cached tokens are seen."""

import math
from dataclasses import dataclass
from functools import lru_cache

from catalog.types import Geometry, Mixer

#: How far back cached tokens count as near; those beyond, out of a processor's caches, have a price of their own.
NEAR_TOKENS = 4096
_CACHE_PADDING_CELLS = 256


@dataclass(frozen=True, slots=True)
class HeadShape:
    """What attention kernels are quick or slow by: the length of a head, and how many of them share how many caches."""

    head_dim: int
    kv_heads_count: int
    queries_per_kv_head: float


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """How an engine computes attention: in one sweep or by a matrix of scores, from caches of what type."""

    flash: bool = True
    kv_quant_id: str = "f16"


USUAL_ATTENTION = AttentionKernel()


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """Attention of a whole model: flop and heads per (query, cached token) pair, split by reach."""

    full_flop: float
    sliding_flop: float
    window_tokens: int
    full_heads_count: int = 0
    sliding_heads_count: int = 0


@lru_cache(maxsize=4096)
def attention_shape(geometry: Geometry) -> AttentionShape:
    """Flop of one query against one cached token, summed over layers (score and weighted sum)."""
    full = sliding = 0.0
    full_heads = sliding_heads = 0
    for mixer in geometry.mixers:
        if mixer in (Mixer.FULL, Mixer.ATTENTION_MAMBA2, Mixer.COMPRESSED):
            full += _full_pair_flop(geometry)
            full_heads += geometry.head_count
        elif mixer == Mixer.SLIDING:
            heads = geometry.swa_head_count or geometry.head_count
            sliding += 2.0 * heads * (geometry.head_dim + (geometry.v_head_dim or geometry.head_dim))
            sliding_heads += heads
        elif mixer == Mixer.MLA:
            rank, rope = geometry.kv_lora_rank or 0, geometry.qk_rope_head_dim or 0
            full += 2.0 * geometry.head_count * (2 * rank + rope)
            full_heads += geometry.head_count
    return AttentionShape(full, sliding, geometry.sliding_window_tokens or 0, full_heads, sliding_heads)


def _full_pair_flop(geometry: Geometry) -> float:
    key_dim = geometry.global_head_dim or geometry.head_dim
    value_dim = geometry.global_head_dim or geometry.v_head_dim or geometry.head_dim
    return 2.0 * geometry.head_count * (key_dim + value_dim)


@lru_cache(maxsize=4096)
def head_shape(geometry: Geometry) -> HeadShape | None:
    """The heads of the layers that see the whole context, else of the sliding ones; None without attention."""
    mixers = set(geometry.mixers)
    if Mixer.MLA in mixers:
        latent_dim = (geometry.kv_lora_rank or 0) + (geometry.qk_rope_head_dim or 0)
        return HeadShape(latent_dim, 1, float(geometry.head_count))
    if mixers & {Mixer.FULL, Mixer.ATTENTION_MAMBA2, Mixer.COMPRESSED}:
        kv_heads_count = geometry.global_kv_head_count or geometry.kv_head_count
        head_dim = geometry.global_head_dim or geometry.head_dim
        heads_count = geometry.head_count
    elif Mixer.SLIDING in mixers:
        kv_heads_count = geometry.swa_kv_head_count or geometry.kv_head_count
        head_dim, heads_count = geometry.head_dim, geometry.swa_head_count or geometry.head_count
    else:
        return None
    if not (head_dim and kv_heads_count):
        return None
    return HeadShape(head_dim, kv_heads_count, heads_count / kv_heads_count)


def kv_read_bytes(geometry: Geometry, depth_tokens: float, bytes_per_element: float) -> float:
    """Bytes of KV cache one token reads at a depth."""
    window = geometry.sliding_window_tokens or 0
    elements = geometry.kv_full_elements_count * depth_tokens
    elements += geometry.kv_sliding_elements_count * min(depth_tokens, window)
    return elements * bytes_per_element


def pairs_in_window(prompt_tokens: float, depth_tokens: float, window_tokens: float) -> float:
    """Sum over a prompt's tokens of how many cached tokens each one sees within a window."""
    first, last = depth_tokens, depth_tokens + prompt_tokens
    full_part = max(0.0, min(last, window_tokens) - first)
    seen_growing = full_part * (first + min(last, window_tokens)) / 2.0
    return seen_growing + (prompt_tokens - full_part) * window_tokens


def deep_pairs(prompt_tokens: float, depth_tokens: float) -> float:
    """Pairs of a prompt's tokens and cached ones whose query stands beyond `NEAR_TOKENS`, less the near part."""
    near = pairs_in_window(prompt_tokens, depth_tokens, NEAR_TOKENS)
    return prompt_tokens * (depth_tokens + prompt_tokens / 2.0) - near


def busiest_depth_tokens(depth_tokens: float, threads_count: int | None) -> float:
    """Cached tokens that one query costs when a CPU's threads share them, counted on the busiest thread.

    llama.cpp pads the cache to 256 cells and, from 512 on, cuts the padded length into one chunk per
    thread, so a thread whose chunk is filled waits for none and the others wait for it
    (``ggml_compute_forward_flash_attn_ext_f16``, the split-KV path).
    """
    cells = math.ceil((depth_tokens + 1) / _CACHE_PADDING_CELLS) * _CACHE_PADDING_CELLS
    if threads_count is None or cells < 2 * _CACHE_PADDING_CELLS:
        return depth_tokens
    return threads_count * min(depth_tokens, cells / threads_count)
