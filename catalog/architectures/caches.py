"""How many elements a geometry's caches hold: per token, per token in the window, and constant."""

from dataclasses import replace

from catalog.architectures.recurrent import conv_kernel, mamba1_dims
from catalog.types import Geometry, Mixer

_INDEXER_RATIO = 4  # DeepSeek-V4 indexes the layers that compress by this ratio


def with_cache_sizes(geometry: Geometry) -> Geometry:
    """The geometry with its cache sizes computed from its layers."""
    full = sum(_full_elements(geometry, i) for i in range(geometry.layers_count))
    sliding = sum(_sliding_elements(geometry, i) for i in range(geometry.layers_count))
    return replace(
        geometry,
        kv_full_elements_count=round(full),
        kv_sliding_elements_count=sliding,
        recurrent_state_elements_count=sum(_state_elements(geometry, mixer) for mixer in geometry.mixers),
    )


def _owns_cache(geometry: Geometry, index: int) -> bool:
    """Whether a layer keeps keys and values of its own; Gemma's last layers reuse earlier ones."""
    return index < geometry.layers_count - geometry.kv_shared_layers_count


def _full_elements(geometry: Geometry, index: int) -> float:
    mixer = geometry.mixers[index]
    if not _owns_cache(geometry, index):
        return 0
    if mixer in (Mixer.FULL, Mixer.ATTENTION_MAMBA2):
        head_dim = geometry.global_head_dim or geometry.head_dim
        return (geometry.global_kv_head_count or geometry.kv_head_count) * (
            head_dim + (geometry.v_head_dim or head_dim)
        )
    if mixer == Mixer.MLA:
        return (geometry.kv_lora_rank or 0) + (geometry.qk_rope_head_dim or 0)
    if mixer == Mixer.COMPRESSED and geometry.compress_ratios and geometry.compress_ratios[index]:
        ratio = geometry.compress_ratios[index]
        indexed = (geometry.index_head_dim or 0) if ratio == _INDEXER_RATIO else 0
        return (geometry.head_dim + indexed) / ratio
    return 0


def _sliding_elements(geometry: Geometry, index: int) -> int:
    mixer = geometry.mixers[index]
    if mixer == Mixer.SLIDING and _owns_cache(geometry, index):
        kv_heads = geometry.swa_kv_head_count or geometry.kv_head_count
        return kv_heads * (geometry.head_dim + (geometry.v_head_dim or geometry.head_dim))
    return geometry.head_dim if mixer == Mixer.COMPRESSED else 0


def _state_elements(geometry: Geometry, mixer: str) -> int:
    if mixer in (Mixer.GATED_DELTA, Mixer.KDA):
        heads = geometry.linear_value_head_count or 0
        return heads * (geometry.linear_key_head_dim or 0) * (geometry.linear_value_head_dim or 0)
    if mixer in (Mixer.MAMBA2, Mixer.ATTENTION_MAMBA2):
        inner = (geometry.ssm_head_count or 0) * (geometry.ssm_head_dim or 0)
        return inner * (geometry.ssm_state_dim or 0)
    if mixer == Mixer.MAMBA1:
        return mamba1_dims(geometry)[0] * (geometry.ssm_state_dim or 0)
    if mixer == Mixer.SHORT_CONV:
        return geometry.hidden_dim * (conv_kernel(geometry) - 1)
    if mixer == Mixer.LIGHTNING:
        return geometry.head_count * geometry.head_dim**2
    return 0
