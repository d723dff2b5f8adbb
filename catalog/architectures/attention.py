"""Token mixers with softmax attention: grouped-query, latent (MLA) and compressed (DeepSeek-V4)."""

from catalog.architectures.layout import Site, Tensor, matrix, vector
from catalog.types import Geometry, Mixer, Role

_ATTENTION = Role.ATTENTION


def grouped_query(site: Site) -> list[Tensor]:
    """Multi-head, grouped-query and sliding-window attention."""
    hidden = site.geometry.hidden_dim
    heads, kv_heads, head_dim = site.head_count, site.kv_head_count, site.head_dim
    v_dim = site.geometry.v_head_dim or head_dim
    query, key, value = heads * head_dim, kv_heads * head_dim, kv_heads * v_dim
    wide_query = query * 2 if site.arch.gated_query else query
    tensors = _projections(site, (wide_query, key, value))
    tensors.append(matrix("attn_output", heads * v_dim, hidden, _ATTENTION))
    if site.arch.attention_bias:
        tensors.append(vector("attn_output", hidden, ".bias"))
    tensors += _query_key_norms(_norm_kind(site), heads, kv_heads, head_dim)
    if site.arch.attention_gate is not None:
        width = heads if site.arch.attention_gate == "head" else query
        tensors.append(matrix("attn_gate", hidden, width, _ATTENTION))
    if site.arch.sinks:
        tensors.append(vector("attn_sinks", heads))
    return tensors


def _projections(site: Site, widths: tuple[int, int, int]) -> list[Tensor]:
    geometry = site.geometry
    named = dict(zip(("attn_q", "attn_k", "attn_v"), widths, strict=True))
    if site.arch.fused_qkv:
        named = {"attn_qkv": sum(widths)}
    elif geometry.k_equals_v_global and site.layer.mixer is Mixer.FULL:
        del named["attn_v"]
    tensors = [matrix(name, geometry.hidden_dim, width, _ATTENTION) for name, width in named.items()]
    if geometry.qkv_bias:
        tensors += [vector(name, width, ".bias") for name, width in named.items()]
    return tensors


def _norm_kind(site: Site) -> str | None:
    """The kind of query and key norms; not all models of some architectures have them."""
    kind, stated = site.arch.qk_norm, site.geometry.qk_norm
    if kind == "geometry" or (kind == "heads" and stated is None):
        return stated
    return kind if site.geometry.layers_count >= site.arch.qk_norm_from_layers else None


def _query_key_norms(kind: str | None, heads: int, kv_heads: int, head_dim: int) -> list[Tensor]:
    if kind is None:
        return []
    if kind == "heads":
        return [
            Tensor("attn_q_norm.weight", (head_dim, heads), Role.NORM),
            Tensor("attn_k_norm.weight", (head_dim, kv_heads), Role.NORM),
        ]
    widths = (heads * head_dim, kv_heads * head_dim) if kind == "full" else (head_dim, head_dim)
    return [vector("attn_q_norm", widths[0]), vector("attn_k_norm", widths[1])]


def latent(site: Site) -> list[Tensor]:
    """Multi-head latent attention with the key and value up-projections split per head (DeepSeek-V2)."""
    hidden, heads = site.geometry.hidden_dim, site.geometry.head_count
    rank, rope, nope, v_dim = latent_dims(site.geometry)
    tensors = latent_query(site.geometry)
    tensors += [
        matrix("attn_kv_a_mqa", hidden, rank + rope, _ATTENTION),
        vector("attn_kv_a_norm", rank),
        Tensor("attn_k_b.weight", (nope, rank, heads), _ATTENTION),
        Tensor("attn_v_b.weight", (rank, v_dim, heads), _ATTENTION),
        matrix("attn_output", heads * v_dim, hidden, _ATTENTION),
    ]
    if site.arch.attention_gate is not None:
        tensors.append(
            matrix("attn_gate", hidden, heads if site.arch.attention_gate == "head" else heads * v_dim, _ATTENTION)
        )
    return tensors


def latent_joined(site: Site) -> list[Tensor]:
    """Multi-head latent attention with one joint up-projection (MiniCPM3, early conversions)."""
    hidden, heads = site.geometry.hidden_dim, site.geometry.head_count
    rank, rope, nope, v_dim = latent_dims(site.geometry)
    return [
        *latent_query(site.geometry),
        matrix("attn_kv_a_mqa", hidden, rank + rope, _ATTENTION),
        vector("attn_kv_a_norm", rank),
        matrix("attn_kv_b", rank, heads * (nope + v_dim), _ATTENTION),
        matrix("attn_output", heads * v_dim, hidden, _ATTENTION),
    ]


def latent_dims(geometry: Geometry) -> tuple[int, int, int, int]:
    """Latent rank, rotated width, unrotated width and value width of one head."""
    rank, rope = geometry.kv_lora_rank or 0, geometry.qk_rope_head_dim or 0
    nope = geometry.qk_nope_head_dim or geometry.head_dim - rope
    return rank, rope, nope, geometry.v_head_dim or geometry.head_dim


def latent_query(geometry: Geometry) -> list[Tensor]:
    """Query projection of latent attention, through a low rank where there is one."""
    _, rope, nope, _ = latent_dims(geometry)
    width = geometry.head_count * (nope + rope)
    rank = geometry.q_lora_rank
    if not rank:
        return [matrix("attn_q", geometry.hidden_dim, width, _ATTENTION)]
    return [
        matrix("attn_q_a", geometry.hidden_dim, rank, _ATTENTION),
        vector("attn_q_a_norm", rank),
        matrix("attn_q_b", rank, width, _ATTENTION),
    ]


def latent_indexed(site: Site) -> list[Tensor]:
    """Latent attention with DeepSeek-V3.2's sparse-attention indexer."""
    tensors = latent(site)
    if site.layer.indexed:
        heads, width = site.geometry.index_head_count or 0, site.geometry.index_head_dim or 0
        tensors += [
            vector("indexer.k_norm", width),
            vector("indexer.k_norm", width, ".bias"),
            matrix("indexer.proj", site.geometry.hidden_dim, heads, _ATTENTION),
            matrix("indexer.attn_k", site.geometry.hidden_dim, width, _ATTENTION),
            matrix("indexer.attn_q_b", site.geometry.q_lora_rank or 0, heads * width, _ATTENTION),
        ]
    return tensors


def latent_pooled(site: Site) -> list[Tensor]:
    """Latent attention whose indexer first pools neighbouring keys (GLM-5.3)."""
    tensors = latent_indexed(site)
    if site.layer.indexed:
        width = site.geometry.index_head_dim or 0
        tensors += [
            matrix("indexer_compressor_gate", site.geometry.hidden_dim, width, _ATTENTION),
            Tensor("indexer_compressor_ape.weight", (width, KEY_POOL), Role.NORM),
        ]
    return tensors


# Keys that GLM-5.3's indexer pools into one; its configuration file names no other.
KEY_POOL = 4


def compressed(site: Site) -> list[Tensor]:
    """DeepSeek-V4 attention: one shared key-value head, compressed history, grouped output."""
    hidden, heads, head_dim = site.geometry.hidden_dim, site.geometry.head_count, site.geometry.head_dim
    q_rank, groups = site.geometry.q_lora_rank or 0, site.geometry.o_groups_count or 1
    o_rank = site.geometry.o_lora_rank or 0
    tensors = [
        vector("attn_sinks", heads),
        matrix("attn_q_a", hidden, q_rank, _ATTENTION),
        vector("attn_q_a_norm", q_rank),
        matrix("attn_q_b", q_rank, heads * head_dim, _ATTENTION),
        matrix("attn_kv", hidden, head_dim, _ATTENTION),
        vector("attn_kv_a_norm", head_dim),
        matrix("attn_output_a", heads * head_dim // groups, o_rank * groups, _ATTENTION),
        matrix("attn_output_b", groups * o_rank, hidden, _ATTENTION),
    ]
    ratio = site.layer.compress_ratio
    if ratio:
        width = head_dim * 2 if ratio == _OVERLAPPING_RATIO else head_dim
        tensors += _compressor("attn_compressor", hidden, width, head_dim, ratio)
    if ratio == _OVERLAPPING_RATIO:
        index_heads, index_dim = site.geometry.index_head_count or 0, site.geometry.index_head_dim or 0
        tensors += [
            matrix("indexer.proj", hidden, index_heads, _ATTENTION),
            matrix("indexer.attn_q_b", q_rank, index_heads * index_dim, _ATTENTION),
            *_compressor("indexer_compressor", hidden, index_dim * 2, index_dim, ratio),
        ]
    return tensors


# Windows of ratio 4 overlap, so their compressor makes two halves; ratio 128 does not.
_OVERLAPPING_RATIO = 4


def _compressor(name: str, hidden: int, width: int, norm_width: int, ratio: int) -> list[Tensor]:
    return [
        matrix(f"{name}_kv", hidden, width, _ATTENTION),
        matrix(f"{name}_gate", hidden, width, _ATTENTION),
        matrix(f"{name}_ape", width, ratio, _ATTENTION),
        vector(f"{name}_norm", norm_width),
    ]
