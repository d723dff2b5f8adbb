"""How many bytes an engine's caches take, layer by layer.

llama.cpp's rules follow its ``llama-kv-cache*.cpp``, ``llama-memory-recurrent.cpp`` and
``llama-hparams.cpp``: the context is padded to 256 cells, a sliding-window layer keeps
``window + micro-batch`` cells padded likewise, latent attention keeps keys only, and recurrent
layers keep a constant state in F32. vLLM allocates blocks of 16 tokens and MLX steps of 256.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from advisor.errors import BadRequestError
from catalog.architectures.blocks import find_architecture, owns_indexer
from catalog.architectures.extras import block_indexer_dims
from catalog.architectures.recurrent import conv_kernel, mamba1_dims
from catalog.types import Ffn, Geometry, Mixer

#: Encoders that llama.cpp runs with a cache all the same.
_ENCODERS_WITH_CACHE = frozenset({"llama-embed"})

LLAMA_CPP, VLLM = "llama.cpp", "vllm"
LLAMA_CPP_ENGINES = frozenset({LLAMA_CPP, "ollama"})
#: Engines with a paged cache that plan for many users: they take a share of each device, whatever is needed.
SERVING_ENGINES = frozenset({VLLM, "tensorrt-llm"})
CELLS_ALIGNMENT = 256
VLLM_BLOCK_TOKENS = 16
_STATE_BYTES_PER_ELEMENT = 4
# GLM-5.3's indexer caches each key, its gate and the pooled value
KEY_POOLED_PARTS = 3

# storage of 32 elements, in bytes: ggml's block types, and the one-byte floats of vLLM
_BYTES_PER_32 = {
    "f32": 128,
    "f16": 64,
    "bf16": 64,
    "auto": 64,
    "fp8": 32,
    "fp8_e4m3": 32,
    "fp8_e5m2": 32,
    "q8_0": 34,
    "q5_1": 24,
    "q5_0": 22,
    "q4_1": 20,
    "q4_0": 18,
    "iq4_nl": 18,
}


_WHOLE_ELEMENTS = frozenset({128, 64})  # stored one by one, not in blocks
_BLOCK_ELEMENTS = 32


class Reach(Enum):
    """How far back a cache remembers, which sets its number of cells."""

    FULL = "full"
    SLIDING = "sliding"
    COMPRESSED_4 = "one cell per 4 tokens"
    COMPRESSED_128 = "one cell per 128 tokens"
    STATE = "constant, F32"


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache of one layer: key and value elements per cell (a state has one cell)."""

    reach: Reach
    key_dim: int
    value_dim: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSetup:
    """The load-time parameters that size a cache.

    ``context_tokens`` is per sequence. The first ``shared_prefix_tokens`` of it are the same for all sequences,
    which a paged engine keeps once. ``unified`` is llama.cpp's ``--kv-unified``: one pool of cells for all.
    """

    context_tokens: int
    key_bytes_per_32: int
    value_bytes_per_32: int
    ubatch_tokens: int = 512
    sequences_count: int = 1
    engine_id: str = LLAMA_CPP
    flash_attention: bool = True
    shared_prefix_tokens: int = 0
    unified: bool = False

    @property
    def quantised(self) -> bool:
        """Whether keys are stored in blocks, which llama.cpp rotates first."""
        return self.key_bytes_per_32 not in _WHOLE_ELEMENTS


def cache_setup(
    context_tokens: int,
    kv_quant_id: str,
    *,
    ubatch_tokens: int = 512,
    sequences_count: int = 1,
    engine_id: str = LLAMA_CPP,
    flash_attention: bool = True,
    shared_prefix_tokens: int = 0,
    unified: bool = False,
) -> CacheSetup:
    """Resolve a KV type: one ("q8_0") for both, or "key/value" ("q8_0/q4_0").

    Raises:
        BadRequestError: if the type is unknown.
    """
    key_id, _, value_id = kv_quant_id.lower().partition("/")
    try:
        key_bytes, value_bytes = _BYTES_PER_32[key_id], _BYTES_PER_32[value_id or key_id]
    except KeyError:
        known = ", ".join(sorted(_BYTES_PER_32))
        raise BadRequestError(f"unknown KV cache type {kv_quant_id!r}; use one of {known}") from None
    return CacheSetup(
        context_tokens=context_tokens,
        key_bytes_per_32=key_bytes,
        value_bytes_per_32=value_bytes,
        ubatch_tokens=min(ubatch_tokens, context_tokens * sequences_count),
        sequences_count=sequences_count,
        engine_id=engine_id,
        flash_attention=flash_attention,
        shared_prefix_tokens=shared_prefix_tokens if engine_id in SERVING_ENGINES else 0,
        unified=unified and engine_id in LLAMA_CPP_ENGINES,
    )


def bytes_per_element(kv_quant_id: str) -> float:
    """Mean bytes of a cached key or value element.

    Raises:
        BadRequestError: if the type is unknown.
    """
    setup = cache_setup(CELLS_ALIGNMENT, kv_quant_id)
    return (setup.key_bytes_per_32 + setup.value_bytes_per_32) / 64


def unusable_reason(geometry: Geometry, kv_quant_id: str, flash_attention: bool) -> str | None:
    """Why llama.cpp would refuse a KV type for this shape; None if it takes it.

    Raises:
        BadRequestError: if the type is unknown.
    """
    key_id, _, value_id = kv_quant_id.lower().partition("/")
    setup = cache_setup(1, kv_quant_id)
    latent = Mixer.MLA.value in geometry.mixers
    if latent and value_id and value_id != key_id:
        return "latent attention stores keys and values together, so both need one type"
    if setup.value_bytes_per_32 in _WHOLE_ELEMENTS and setup.key_bytes_per_32 in _WHOLE_ELEMENTS:
        return None
    if not flash_attention and not latent and setup.value_bytes_per_32 not in _WHOLE_ELEMENTS:
        return "a quantised value cache needs flash attention"
    widths = (geometry.head_dim, geometry.v_head_dim, geometry.global_head_dim)
    if not latent and any(width and width % _BLOCK_ELEMENTS for width in widths):
        return f"heads of {geometry.head_dim} do not divide into blocks of {_BLOCK_ELEMENTS}"
    return None


def padded(count: int, alignment: int) -> int:
    """The next multiple of ``alignment``."""
    return -(-count // alignment) * alignment


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
    state = Cache(Reach.STATE, _state_elements_count(geometry, mixer))
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


def _state_elements_count(geometry: Geometry, mixer: Mixer) -> int:
    """Convolution history and recurrent state of one layer."""
    history = conv_kernel(geometry) - 1
    if mixer is Mixer.SHORT_CONV:
        return geometry.hidden_dim * history
    if mixer is Mixer.LIGHTNING:
        return geometry.head_dim**2 * geometry.head_count
    if mixer in (Mixer.GATED_DELTA, Mixer.KDA):
        key_heads, key_dim = geometry.linear_key_head_count or 0, geometry.linear_key_head_dim or 0
        inner = (geometry.linear_value_head_count or 0) * (geometry.linear_value_head_dim or 0)
        return history * (inner + 2 * key_heads * key_dim) + key_dim * inner
    state_dim = geometry.ssm_state_dim or 0
    if mixer is Mixer.MAMBA1:
        inner = mamba1_dims(geometry)[0]
        return history * inner + state_dim * inner
    inner = (geometry.ssm_head_count or 0) * (geometry.ssm_head_dim or 0)
    return history * (inner + 2 * (geometry.ssm_group_count or 1) * state_dim) + state_dim * inner


def cells_count(geometry: Geometry, reach: Reach, setup: CacheSetup) -> int:
    """Cells one sequence's cache holds."""
    window = geometry.sliding_window_tokens
    if setup.engine_id in SERVING_ENGINES:
        tokens = setup.context_tokens
        if reach is Reach.SLIDING and window:
            tokens = min(tokens, window + setup.ubatch_tokens)
        return padded(tokens, VLLM_BLOCK_TOKENS)
    context = padded(setup.context_tokens, CELLS_ALIGNMENT)
    if reach is Reach.SLIDING and window:
        extra = setup.ubatch_tokens if setup.engine_id in LLAMA_CPP_ENGINES else 0
        return padded(min(context, window + extra), CELLS_ALIGNMENT)
    if reach is Reach.COMPRESSED_4:
        return padded(math.ceil(context / 4), CELLS_ALIGNMENT)
    if reach is Reach.COMPRESSED_128:
        return padded(math.ceil(context / 128), CELLS_ALIGNMENT)
    return context


def pooled(setup: CacheSetup) -> CacheSetup:
    """One sequence as long as all together: how llama.cpp sees the pool of a unified cache."""
    if not setup.unified:
        return setup
    total_tokens = setup.context_tokens * setup.sequences_count
    return replace(setup, context_tokens=total_tokens, sequences_count=1, unified=False)


def all_cells_count(geometry: Geometry, reach: Reach, setup: CacheSetup) -> int:
    """Cells of all sequences; in a unified cache a window for each of them and one micro-batch, in one pool."""
    if not setup.unified:
        return cells_count(geometry, reach, setup) * setup.sequences_count
    window = geometry.sliding_window_tokens
    whole = cells_count(geometry, Reach.FULL if reach is Reach.SLIDING else reach, pooled(setup))
    if reach is Reach.SLIDING and window:
        return padded(min(whole, window * setup.sequences_count + setup.ubatch_tokens), CELLS_ALIGNMENT)
    return whole


def cache_bytes(geometry: Geometry, cache: Cache, setup: CacheSetup, value_dim: int | None = None) -> int:
    """Bytes of one layer's cache over all sequences; ``value_dim`` is what its values are padded to."""
    if cache.reach is Reach.STATE:
        return _STATE_BYTES_PER_ELEMENT * cache.key_dim * setup.sequences_count
    value_dim = cache.value_dim if value_dim is None else value_dim
    row = _row_bytes(cache.key_dim, setup.key_bytes_per_32) + _row_bytes(value_dim, setup.value_bytes_per_32)
    return row * all_cells_count(geometry, cache.reach, setup)


def _row_bytes(elements_count: int, bytes_per_32: int) -> int:
    return -(-elements_count * bytes_per_32 // 32)


@lru_cache(maxsize=8192)
def kv_bytes_by_layer(
    geometry: Geometry, architecture: str | None, setup: CacheSetup, max_context_tokens: int | None = None
) -> tuple[int, ...]:
    """Bytes of all caches of each layer, over all sequences; encoders see a whole text at once and keep none."""
    if find_architecture(architecture).encoder and architecture not in _ENCODERS_WITH_CACHE:
        return (0,) * geometry.layers_count
    if setup.shared_prefix_tokens:
        own, shared = _apart(setup)
        parts = (kv_bytes_by_layer(geometry, architecture, part, max_context_tokens) for part in (own, shared))
        return tuple([sum(sizes) for sizes in zip(*parts, strict=True)])
    layers = layer_caches(geometry, architecture, max_context_tokens)
    value_dim = None
    if not setup.flash_attention and setup.engine_id in LLAMA_CPP_ENGINES:
        value_dim = _padded_value_dim(layers.kinds)
    sizes = [
        sum(
            cache_bytes(geometry, cache, setup, None if position else value_dim)
            for position, cache in enumerate(caches)
        )
        for caches in layers.kinds
    ]
    return tuple([sizes[kind] for kind in layers.kind_by_layer])


def _apart(setup: CacheSetup) -> tuple[CacheSetup, CacheSetup]:
    """What each sequence keeps for itself, and the prefix that is kept once.

    vLLM shares whole blocks (``v1/core/kv_cache_manager.py``), and never all of a request: the last token is
    always computed, for its logits. A recurrent layer keeps one more state, that of the prefix.
    """
    sharable = min(setup.shared_prefix_tokens, setup.context_tokens - 1)
    prefix = sharable - sharable % VLLM_BLOCK_TOKENS
    own = replace(setup, context_tokens=setup.context_tokens - prefix, shared_prefix_tokens=0)
    return own, replace(own, context_tokens=prefix, sequences_count=1 if prefix else 0)


def _padded_value_dim(kinds: tuple[tuple[Cache, ...], ...]) -> int:
    """Without flash attention llama.cpp pads the values of each layer's main cache to the widest layer's."""
    return max((caches[0].value_dim for caches in kinds if caches), default=0)


def kv_cache_bytes(
    geometry: Geometry,
    architecture: str | None,
    *,
    context_tokens: int,
    kv_quant_id: str = "f16",
    ubatch_tokens: int = 512,
    sequences_count: int = 1,
    engine_id: str = LLAMA_CPP,
    flash_attention: bool = True,
    max_context_tokens: int | None = None,
) -> int:
    """Bytes of the KV cache and recurrent states of a whole model, over all sequences.

    ``context_tokens`` is per sequence; ``max_context_tokens`` what the model was trained for.

    Raises:
        BadRequestError: if the KV type is unknown.
    """
    setup = cache_setup(
        context_tokens,
        kv_quant_id,
        ubatch_tokens=ubatch_tokens,
        sequences_count=sequences_count,
        engine_id=engine_id,
        flash_attention=flash_attention,
    )
    return sum(kv_bytes_by_layer(geometry, architecture, setup, max_context_tokens))
