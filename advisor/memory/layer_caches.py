"""What a model caches, layer by layer: keys and values, latent keys, windows, recurrent states.

These are facts of the architecture; how an engine allocates them is in `advisor.memory.kv_cache` and
`advisor.memory.paged`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from catalog.architectures.blocks import owns_indexer
from catalog.architectures.extras import block_indexer_dims
from catalog.architectures.recurrent import conv_kernel, mamba1_dims
from catalog.types import Ffn, Geometry, Mixer

# GLM-5.3's indexer caches each key, its gate and the pooled value
KEY_POOLED_PARTS = 3


class Reach(Enum):
    """How far back a cache remembers, which sets its number of cells."""

    FULL = "full"
    SLIDING = "sliding"
    COMPRESSED_4 = "one cell per 4 tokens"
    COMPRESSED_128 = "one cell per 128 tokens"
    STATE = "constant, F32"


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache of one layer: key and value elements per cell; a state has one cell, and its history for values."""

    reach: Reach
    key_dim: int
    value_dim: int = 0


@dataclass(frozen=True, slots=True)
class LayerCaches:
    """The caches of every layer: the distinct sets, and each layer's index into them."""

    kinds: tuple[tuple[Cache, ...], ...]
    kind_by_layer: tuple[int, ...]


@lru_cache(maxsize=4096)
def layer_caches(geometry: Geometry, architecture: str | None, max_context_tokens: int | None = None) -> LayerCaches:
    """The caches of every layer; none for layers that share another layer's.

    ``max_context_tokens`` is what the model was trained for: it tells GLM-5's generations apart.
    """
    own_count = geometry.layers_count - geometry.kv_shared_layers_count
    caches = [
        _mixer_caches(geometry, architecture, index, Mixer(letter)) if index < own_count else ()
        for index, letter in enumerate(geometry.mixers)
    ]
    for index, indexer in _indexer_caches(geometry, architecture, max_context_tokens or 0):
        caches[index] += (indexer,)
    if architecture == "bailingmoe3" and geometry.mtp_layers_count:
        # its prediction blocks are cached whether or not they are loaded
        caches[-1] += (_latent_cache(geometry),) * geometry.mtp_layers_count
    kinds = tuple(dict.fromkeys(caches))
    return LayerCaches(kinds, tuple([kinds.index(of_layer) for of_layer in caches]))


def _mixer_caches(geometry: Geometry, architecture: str | None, index: int, mixer: Mixer) -> tuple[Cache, ...]:
    if mixer is Mixer.NONE:
        # llama.cpp gives Nemotron's attention-free layers an empty cache, padded like the others
        return (Cache(Reach.FULL, 0),) if architecture == "deci" else ()
    if mixer is Mixer.COMPRESSED:
        return _compressed_caches(geometry, index)
    if mixer is Mixer.MLA:
        return (_joined_latent_cache(geometry) if architecture == "minicpm3" else _latent_cache(geometry),)
    if mixer in (Mixer.FULL, Mixer.SLIDING):
        return (_attention_cache(geometry, sliding=mixer is Mixer.SLIDING),)
    state = _state(geometry, mixer)
    return (_attention_cache(geometry, sliding=False), state) if mixer is Mixer.ATTENTION_MAMBA2 else (state,)


def _attention_cache(geometry: Geometry, *, sliding: bool) -> Cache:
    if sliding:
        heads = geometry.swa_kv_head_count or geometry.kv_head_count
        return Cache(Reach.SLIDING, heads * geometry.head_dim, heads * (geometry.v_head_dim or geometry.head_dim))
    heads = geometry.global_kv_head_count or geometry.kv_head_count
    key_dim = geometry.global_head_dim or geometry.head_dim
    value_dim = geometry.global_head_dim or geometry.v_head_dim or geometry.head_dim
    return Cache(Reach.FULL, heads * key_dim, heads * value_dim)


def _latent_cache(geometry: Geometry) -> Cache:
    """Multi-head latent attention stores the compressed key and its rotary part, no value."""
    return Cache(Reach.FULL, (geometry.kv_lora_rank or 0) + (geometry.qk_rope_head_dim or 0))


def _joined_latent_cache(geometry: Geometry) -> Cache:
    """MiniCPM3 decompresses before caching: full keys and values."""
    key_dim = (geometry.qk_nope_head_dim or 0) + (geometry.qk_rope_head_dim or 0)
    value_dim = geometry.v_head_dim or geometry.head_dim
    return Cache(Reach.FULL, geometry.head_count * key_dim, geometry.head_count * value_dim)


def _indexer_caches(
    geometry: Geometry, architecture: str | None, max_context_tokens: int
) -> Iterator[tuple[int, Cache]]:
    """Keys that sparse attention selects by, one cache per layer with an indexer of its own."""
    if architecture == "minimax-m3":
        width = block_indexer_dims(geometry)[1]
        sparse = Cache(Reach.FULL, width, geometry.v_head_dim or geometry.head_dim)
        dense_count = len(geometry.ffns) - len(geometry.ffns.lstrip(Ffn.DENSE.value))
        yield from ((index, sparse) for index in range(dense_count, geometry.layers_count))
    if not geometry.index_head_dim or architecture not in ("deepseek32", "glm-dsa", "glm5-next"):
        return
    pooled = KEY_POOLED_PARTS if architecture == "glm5-next" else 1
    for index, letter in enumerate(geometry.mixers):
        if letter != Mixer.MLA.value:
            continue
        if architecture != "glm-dsa" or owns_indexer(max_context_tokens, index):
            yield index, Cache(Reach.FULL, pooled * geometry.index_head_dim)


def _compressed_caches(geometry: Geometry, index: int) -> tuple[Cache, ...]:
    """DeepSeek-V4: a sliding raw cache, plus compressed keys, indexer keys and compressor states."""
    key_dim, index_dim = geometry.head_dim, geometry.index_head_dim or 0
    raw = Cache(Reach.SLIDING, key_dim)
    ratio = geometry.compress_ratios[index] if index < len(geometry.compress_ratios) else 0
    if ratio == 4:
        states = 2 * (2 * 4) * (2 * key_dim + 2 * index_dim)
        return (
            raw,
            Cache(Reach.COMPRESSED_4, key_dim),
            Cache(Reach.COMPRESSED_4, index_dim),
            Cache(Reach.STATE, states),
        )
    if ratio == 128:
        return (raw, Cache(Reach.COMPRESSED_128, key_dim), Cache(Reach.STATE, 2 * 128 * key_dim))
    return (raw,)


def _state(geometry: Geometry, mixer: Mixer) -> Cache:
    """Recurrent state of one layer, and the history of its convolution."""
    state, channels = _state_dims(geometry, mixer)
    return Cache(Reach.STATE, state, (conv_kernel(geometry) - 1) * channels if channels else 0)


def _state_dims(geometry: Geometry, mixer: Mixer) -> tuple[int, int]:
    """Elements of a recurrent state, and channels of the convolution before it."""
    if mixer is Mixer.SHORT_CONV:
        return 0, geometry.hidden_dim
    if mixer is Mixer.LIGHTNING:
        return geometry.head_dim**2 * geometry.head_count, 0
    if mixer in (Mixer.GATED_DELTA, Mixer.KDA):
        key_heads, key_dim = geometry.linear_key_head_count or 0, geometry.linear_key_head_dim or 0
        inner = (geometry.linear_value_head_count or 0) * (geometry.linear_value_head_dim or 0)
        return key_dim * inner, inner + 2 * key_heads * key_dim
    state_dim = geometry.ssm_state_dim or 0
    if mixer is Mixer.MAMBA1:
        inner = mamba1_dims(geometry)[0]
        return state_dim * inner, inner
    inner = (geometry.ssm_head_count or 0) * (geometry.ssm_head_dim or 0)
    return state_dim * inner, inner + 2 * (geometry.ssm_group_count or 1) * state_dim
