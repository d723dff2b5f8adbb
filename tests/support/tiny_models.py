"""One model of each architecture, small enough to be loaded in a moment: the catalog's, shrunk, or made up."""

from collections.abc import Mapping
from dataclasses import replace

from catalog.architectures.caches import with_cache_sizes
from catalog.architectures.table import ARCHITECTURES
from catalog.load import Catalog
from catalog.tensors import gguf_architecture, truncate
from catalog.types import Geometry, ModelSpec

_HIDDEN_DIM = 256
_KEPT_LAYERS_COUNT = 4
_CONTEXT_TOKENS = 4096
# These read their geometry's kind off a context length, which therefore stays.
_TOLD_BY_CONTEXT = frozenset({"glm-dsa"})


def tiny_models(catalog: Catalog) -> Mapping[str, ModelSpec]:
    """A tiny model by llama.cpp's name of its architecture, for every architecture that is known by name."""
    shrunken = {name: shrunk(model) for name, model in largest_by_architecture(catalog).items()}
    return {name: shrunken.get(name) or made_up(name) for name in sorted(ARCHITECTURES)}


def largest_by_architecture(catalog: Catalog) -> Mapping[str, ModelSpec]:
    """The catalog's model with most experts, then most layers, of each architecture."""
    largest: dict[str, ModelSpec] = {}
    for model in catalog.models.values():
        name = gguf_architecture(model)
        if model.geometry is not None and name is not None and _size(model) > _size(largest.get(name)):
            largest[name] = model
    return largest


def _size(model: ModelSpec | None) -> tuple[int, int]:
    if model is None or model.geometry is None:
        return -1, -1
    return model.geometry.expert_count, model.geometry.layers_count


def shrunk(model: ModelSpec) -> ModelSpec:
    """The model with a few layers, one of each kind at least, and every width made small."""
    geometry = model.geometry
    assert geometry is not None
    layers = list(enumerate(zip(geometry.mixers, geometry.ffns, strict=True)))
    first_of_kind = {kind: index for index, kind in reversed(layers)}
    kept = truncate(model, sorted({*range(min(_KEPT_LAYERS_COUNT, len(layers))), *first_of_kind.values()}))
    shape = kept.geometry
    small = replace(shape, **(_widths(shape) | _latent(shape) | _recurrent(shape)))
    context = model.max_context_tokens if model.architecture in _TOLD_BY_CONTEXT else _CONTEXT_TOKENS
    if model.architecture == "jamba":
        small = replace(small, expert_ffn_dim=small.ffn_dim)
    return replace(kept, geometry=with_cache_sizes(small), max_context_tokens=context)


def _widths(geometry: Geometry) -> dict[str, object]:
    grouped = geometry.head_count and max(1, 4 * geometry.kv_head_count // geometry.head_count)
    return {
        "hidden_dim": _HIDDEN_DIM,
        "vocab_count": 512,
        "head_count": 4 if geometry.head_count else 0,
        "kv_head_count": grouped,
        "head_dim": 64,
        "v_head_dim": geometry.v_head_dim and 32,
        "ffn_dim": _HIDDEN_DIM if {"d", "x"} & set(geometry.ffns) else None,
        "ffn_dims": (),
        "swa_head_count": geometry.swa_head_count and 8,
        "swa_kv_head_count": geometry.swa_kv_head_count and 4,
        "global_head_dim": geometry.global_head_dim and 128,
        "global_kv_head_count": geometry.global_kv_head_count and 1,
        "expert_count": geometry.expert_count and 16,
        "expert_used_count": min(4, geometry.expert_used_count),
        "expert_ffn_dim": geometry.expert_ffn_dim and 64,
        "shared_expert_ffn_dim": geometry.shared_expert_ffn_dim and 128,
        "moe_latent_dim": geometry.moe_latent_dim and 128,
        "ple_dim": geometry.ple_dim and _HIDDEN_DIM,
        "ple_embedding_params_count": _HIDDEN_DIM * 512 * geometry.layers_count if geometry.ple_dim else 0,
    }


def _latent(geometry: Geometry) -> dict[str, object]:
    small: dict[str, object] = {
        "q_lora_rank": geometry.q_lora_rank and 64,
        "index_head_count": geometry.index_head_count and 4,
        "index_head_dim": geometry.index_head_dim and 64,
        "index_topk_count": geometry.index_topk_count and 16,
        "o_groups_count": geometry.o_groups_count and 2,
        "o_lora_rank": geometry.o_lora_rank and 32,
    }
    if not geometry.kv_lora_rank:
        return small
    rotary = 32 if geometry.qk_rope_head_dim else 0
    small |= {"kv_lora_rank": 64, "qk_nope_head_dim": 32, "qk_rope_head_dim": rotary, "head_dim": 32 + rotary}
    return small


def _recurrent(geometry: Geometry) -> dict[str, object]:
    small: dict[str, object] = {}
    if geometry.linear_key_head_count:
        same = bool({"K", "T"} & set(geometry.mixers))  # one head count for keys and values
        small |= {"linear_key_head_dim": 64, "linear_value_head_dim": 64}
        small |= {"linear_key_head_count": 4 if same else 2, "linear_value_head_count": 4}
    if geometry.ssm_head_count:
        small |= {"ssm_head_count": 8, "ssm_head_dim": 64, "ssm_state_dim": 32}
        small |= {"ssm_group_count": min(2, geometry.ssm_group_count or 1)}
    return small


_DENSE = Geometry(
    mixers="AAAA",
    ffns="dddd",
    hidden_dim=_HIDDEN_DIM,
    vocab_count=512,
    tied_embeddings=False,
    head_count=4,
    kv_head_count=4,
    head_dim=64,
    ffn_dim=512,
)
_SLIDING = {"mixers": "SSSSSA", "ffns": "dddddd", "sliding_window_tokens": 64}
_MIXED = {"ffns": "eeee", "ffn_dim": None, "expert_count": 16, "expert_used_count": 4, "expert_ffn_dim": 64}
_DEPARTURES: Mapping[str, Mapping[str, object]] = {
    "bailingmoe": {**_MIXED, "shared_expert_count": 2},
    "bert": {"tied_embeddings": True, "qkv_bias": True, "ffn_gated": False},
    "nomic-bert": {"tied_embeddings": True},
    "modern-bert": {"tied_embeddings": True, "mixers": "ASSASS", "ffns": "dddddd", "sliding_window_tokens": 64},
    "eurobert": {"tied_embeddings": True},
    "gemma-embedding": {"tied_embeddings": True, "norms_per_layer": 4, "qk_norm": "head", **_SLIDING},
    "bitnet": {"tied_embeddings": True},
    "falcon": {"kv_head_count": 1, "ffn_gated": False, "ffn_dim": 1024},
    "starcoder": {"kv_head_count": 1, "qkv_bias": True, "ffn_gated": False, "ffn_dim": 1024},
    "granite_swa": {
        **_MIXED,
        "mixers": "SSSA",
        "sliding_window_tokens": 64,
        "shared_expert_ffn_dim": 128,
    },
    "pangu-embedded": {"qkv_bias": True},
    "llada-moe": {**_MIXED, "qk_norm": "head"},
    "maincoder": {"qk_norm": "head"},
    "mamba": {
        "mixers": "mmmm",
        "ffns": "----",
        "head_count": 0,
        "kv_head_count": 0,
        "head_dim": 0,
        "ffn_dim": None,
        "ffn_gated": False,
        "ssm_state_dim": 16,
        "conv_kernel_count": 4,
    },
    "mamba2": {
        "mixers": "MMMM",
        "ffns": "----",
        "head_count": 0,
        "kv_head_count": 0,
        "head_dim": 0,
        "ffn_dim": None,
        "ffn_gated": False,
        "ssm_state_dim": 32,
        "ssm_head_count": 8,
        "ssm_head_dim": 64,
        "ssm_group_count": 2,
        "conv_kernel_count": 4,
    },
    "minicpm3": {
        "mixers": "LLLL",
        "kv_lora_rank": 64,
        "q_lora_rank": 64,
        "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
    },
}


def made_up(architecture: str) -> ModelSpec:
    """A tiny model of an architecture of which the catalog has no geometry."""
    geometry = with_cache_sizes(replace(_DENSE, **_DEPARTURES.get(architecture, {})))
    return ModelSpec(
        model_id=f"tests/tiny-{architecture}",
        display_name=f"tiny-{architecture}",
        org="tests",
        official=False,
        architecture=architecture,
        params_total_count=1_000_000,
        geometry=geometry,
        max_context_tokens=_CONTEXT_TOKENS,
    )
