"""Sizes of the tensors in a model's graph, in F32 elements per token of the micro-batch."""

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.architectures.attention import latent_dims
from catalog.architectures.ffn import shared_expert_width
from catalog.architectures.layout import Site
from catalog.architectures.recurrent import conv_kernel, mamba1_dims
from catalog.types import Mixer

_COMPRESSION = 4
_HALF = 2  # half-precision elements in the space of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A micro-batch: how many tokens, of how many sequences, and how many cached cells they see."""

    tokens_count: int
    sequences_count: int
    full_cells_count: int
    sliding_cells_count: int

    def per_token(self, elements_count: int) -> int:
        """One token's share of what every sequence has once."""
        return -(-elements_count * self.sequences_count // self.tokens_count)


def sizes_of(site: Site, batch: Batch) -> Mapping[str, int]:
    """Every size that the programs of ``advisor.memory.graph_programs`` name, for one layer."""
    geometry = site.geometry
    hidden = geometry.hidden_dim
    used = geometry.expert_used_count
    routed = used * (geometry.expert_ffn_dim or 0)
    shared = shared_expert_width(geometry)
    ple = geometry.ple_dim or 0
    sizes = {
        "d": hidden,
        "state": batch.per_token((conv_kernel(geometry) - 1) * hidden),  # a short convolution's
        "3d": 3 * hidden,
        "4d": 4 * hidden,
        "ple": ple,
        "all_ple": ple * geometry.layers_count,
        "vocab": geometry.vocab_count,
        "ffn": site.layer.ffn_dim,
        "ffn2": 2 * site.layer.ffn_dim,
        "experts": geometry.expert_count,
        "routed": routed,
        "routed2": 2 * routed,
        "used_d": used * (geometry.moe_latent_dim or hidden),
        "shared": shared,
        "shared2": 2 * shared,
    }
    return sizes | _MIXER_SIZES.get(site.layer.mixer, _attention)(site, batch)


def _attention(site: Site, batch: Batch) -> dict[str, int]:
    heads, head_dim = site.head_count, site.head_dim
    query, key = heads * head_dim, site.kv_head_count * head_dim
    value_dim = site.geometry.v_head_dim or head_dim
    value = site.kv_head_count * value_dim
    cells = batch.sliding_cells_count if site.layer.mixer is Mixer.SLIDING else batch.full_cells_count
    if site.layer.mixer is Mixer.COMPRESSED:  # a window of raw cells, and at most a quarter of the rest
        cells = batch.sliding_cells_count + cells // _COMPRESSION
    return {
        "q": query,
        "qg": 2 * query,
        "k": key,
        "v": value,
        "qkv": query + key + value,
        "mix": heads * value_dim,
        "scores": heads * cells,
        "mask": cells // _HALF,
        "key_cells": site.kv_head_count * cells,
    }


def _latent(site: Site, batch: Batch) -> dict[str, int]:
    geometry = site.geometry
    rank, rope, nope, value_dim = latent_dims(geometry)
    heads = geometry.head_count
    return {
        "q_low": geometry.q_lora_rank or 0,
        "q": heads * (nope + rope),
        "absorbed": heads * rank,
        "q_rope": heads * rope,
        "latent_q": heads * (rank + rope),
        "latent": rank + rope,
        "rank": rank,
        "rope": rope,
        "mix": heads * rank,
        "value": heads * value_dim,
        "scores": heads * batch.full_cells_count,
        "cached_values": batch.per_token(rank * batch.full_cells_count // _HALF),
        "cells": batch.full_cells_count,
        "mask": batch.full_cells_count // _HALF,
    }


def _gated_delta(site: Site, batch: Batch) -> dict[str, int]:
    geometry = site.geometry
    key_dim = geometry.linear_key_head_dim or 0
    key = (geometry.linear_key_head_count or 0) * key_dim
    value = (geometry.linear_value_head_count or 0) * (geometry.linear_value_head_dim or 0)
    conv = value + 2 * key
    state = batch.per_token(key_dim * value)
    return {
        "conv": conv,
        "history": conv + batch.per_token((conv_kernel(geometry) - 1) * conv),
        "key": key,
        "value": value,
        "state": state,
        "delta": value + state,
    }


def _short_conv(site: Site, batch: Batch) -> dict[str, int]:
    hidden = site.geometry.hidden_dim
    return {"history": hidden + batch.per_token((conv_kernel(site.geometry) - 1) * hidden)}


def _mamba2(site: Site, batch: Batch) -> dict[str, int]:
    geometry = site.geometry
    heads, state_dim = geometry.ssm_head_count or 0, geometry.ssm_state_dim or 0
    inner = heads * (geometry.ssm_head_dim or 0)
    conv = inner + 2 * (geometry.ssm_group_count or 1) * state_dim
    return {
        "in": inner + conv + heads,
        "history": conv + batch.per_token((conv_kernel(geometry) - 1) * conv),
        "conv": conv,
        "heads": heads,
        "inner": inner,
        "scan": inner + batch.per_token(state_dim * inner),
    }


def _mamba1(site: Site, batch: Batch) -> dict[str, int]:
    geometry = site.geometry
    inner, rank = mamba1_dims(geometry)
    state_dim = geometry.ssm_state_dim or 0
    return {
        "in": 2 * inner,
        "history": inner + batch.per_token((conv_kernel(geometry) - 1) * inner),
        "inner": inner,
        "step": rank + 2 * state_dim,
        "rank": rank,
        "scan": inner + batch.per_token(state_dim * inner),
    }


def _kimi_delta(site: Site, batch: Batch) -> dict[str, int]:
    geometry = site.geometry
    head_dim = geometry.linear_key_head_dim or 0
    key = (geometry.linear_key_head_count or 0) * head_dim
    state = batch.per_token(head_dim * key)
    return {
        "key": key,
        "history": key + batch.per_token((conv_kernel(geometry) - 1) * key),
        "state": state,
        "delta": key + state,
        "low": head_dim,
    }


def _lightning(site: Site, batch: Batch) -> dict[str, int]:
    geometry = site.geometry
    heads, head_dim = geometry.head_count, geometry.head_dim
    value = heads * head_dim
    return {
        "qkv": 3 * value,
        "value": value,
        "scores": heads * batch.tokens_count,
        "state": batch.per_token(head_dim * value),
    }


def _attention_and_mamba2(site: Site, batch: Batch) -> dict[str, int]:
    return _attention(site, batch) | _mamba2(site, batch)


_MIXER_SIZES = {
    Mixer.MLA: _latent,
    Mixer.GATED_DELTA: _gated_delta,
    Mixer.SHORT_CONV: _short_conv,
    Mixer.MAMBA2: _mamba2,
    Mixer.MAMBA1: _mamba1,
    Mixer.KDA: _kimi_delta,
    Mixer.LIGHTNING: _lightning,
    Mixer.ATTENTION_MAMBA2: _attention_and_mamba2,
}
