"""How many bytes an engine's caches take, layer by layer.

llama.cpp's rules follow its ``llama-kv-cache*.cpp``, ``llama-memory-recurrent.cpp`` and
``llama-hparams.cpp``: the context is padded to 256 cells, a sliding-window layer keeps
``window + micro-batch`` cells padded likewise, latent attention keeps keys only, and recurrent
layers keep a constant state in F32. vLLM's rules are in `advisor.memory.paged`.

MLX (mlx-lm 0.32, ``models/cache.py``) grows a cache in steps of 256 tokens, and in a batch all caches are as long as
the longest. A sliding-window layer keeps the window and, while a prompt is read, the rest of its step.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from advisor.errors import BadRequestError
from advisor.memory import paged
from advisor.memory.layer_caches import Cache, Reach, layer_caches
from catalog.architectures.blocks import find_architecture
from catalog.types import Geometry, Mixer

#: Encoders that llama.cpp runs with a cache all the same.
_ENCODERS_WITH_CACHE = frozenset({"llama-embed"})

LLAMA_CPP, VLLM = "llama.cpp", "vllm"
LLAMA_CPP_ENGINES = frozenset({LLAMA_CPP, "ollama"})
#: Engines with a paged cache that plan for many users: they take a share of each device, whatever is needed.
SERVING_ENGINES = frozenset({VLLM, "tensorrt-llm"})
CELLS_ALIGNMENT = 256
_STATE_BYTES_PER_ELEMENT = 4

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSetup:
    """The load-time parameters that size a cache.

    ``context_tokens`` is per sequence. The first ``shared_prefix_tokens`` of it are the same for all sequences,
    which a paged engine keeps once. ``unified`` is llama.cpp's ``--kv-unified``: one pool of cells for all.
    ``ubatch_tokens`` are those of a prompt that go through the layers together: llama.cpp's micro-batch, vLLM's
    ``--max-num-batched-tokens``, MLX's prefill step. ``on_cpu`` matters to vLLM, whose blocks are larger there.
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
    on_cpu: bool = False

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
    on_cpu: bool = False,
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
        on_cpu=on_cpu and engine_id in SERVING_ENGINES,
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


def cells_count(geometry: Geometry, reach: Reach, setup: CacheSetup) -> int:
    """Cells one sequence's cache holds in llama.cpp and MLX."""
    window = geometry.sliding_window_tokens
    context = padded(setup.context_tokens, CELLS_ALIGNMENT)
    if reach is Reach.SLIDING and window:
        if setup.engine_id in LLAMA_CPP_ENGINES:
            return padded(min(context, window + setup.ubatch_tokens), CELLS_ALIGNMENT)
        return min(context, window + setup.ubatch_tokens - 1)
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
        return _STATE_BYTES_PER_ELEMENT * (cache.key_dim + cache.value_dim) * setup.sequences_count
    return _cell_bytes(cache, setup, value_dim) * all_cells_count(geometry, cache.reach, setup)


def _cell_bytes(cache: Cache, setup: CacheSetup, value_dim: int | None = None) -> int:
    value_dim = cache.value_dim if value_dim is None else value_dim
    return _row_bytes(cache.key_dim, setup.key_bytes_per_32) + _row_bytes(value_dim, setup.value_bytes_per_32)


def _paging(geometry: Geometry, setup: CacheSetup) -> paged.Paging:
    return paged.Paging(
        context_tokens=setup.context_tokens,
        batch_tokens=setup.ubatch_tokens,
        window_tokens=geometry.sliding_window_tokens,
        on_cpu=setup.on_cpu,
    )


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
    if setup.engine_id in SERVING_ENGINES:
        pages = paged.bytes_by_layer(layers, lambda cache: _cell_bytes(cache, setup), _paging(geometry, setup))
        return tuple([size * setup.sequences_count for size in pages])
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
    prefix = sharable - sharable % (paged.CPU_BLOCK_TOKENS if setup.on_cpu else paged.BLOCK_TOKENS)
    own = replace(setup, context_tokens=setup.context_tokens - prefix, shared_prefix_tokens=0)
    return own, replace(own, context_tokens=prefix, sequences_count=1 if prefix else 0)


def _padded_value_dim(kinds: tuple[tuple[Cache, ...], ...]) -> int:
    """Without flash attention llama.cpp pads the values of each layer's main cache to the widest layer's."""
    mains = (caches[0] for caches in kinds if caches)
    return max((main.value_dim for main in mains if main.reach is not Reach.STATE), default=0)


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
