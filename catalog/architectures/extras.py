"""Tensors that only one family of architectures has, beside its token mixer and feed-forward."""

from catalog.architectures.layout import Site, Tensor, matrix, vector
from catalog.types import Ffn, Geometry, Mixer, Role

# Gemma 3n: alternating updates over 4 inputs, learned augmented residuals of rank 64
_ALTUP_INPUTS = 4
_LAUREL_RANK = 64
# DeepSeek-V4 and GLM-5.3 keep 4 residual streams (hyper-connections)
STREAMS = 4
_STREAM_MIXES = (2 + STREAMS) * STREAMS
# DeepSeek-V4 routes the first layers by token id instead of by a learned router
HASHED_LAYERS_COUNT = 3


def gemma4(site: Site) -> list[Tensor]:
    """Layer scale, the second feed-forward's norms and the per-layer embedding's gate."""
    hidden = site.geometry.hidden_dim
    tensors = [vector("layer_output_scale", 1)]
    if site.layer.ffn is Ffn.DENSE_AND_MOE:
        names = ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2")
        tensors += [vector(name, hidden) for name in names]
        tensors += [
            vector("ffn_gate_inp", hidden, ".scale"),
            vector("ffn_down_exps", site.geometry.expert_count, ".scale"),
        ]
    return tensors + _per_layer_input(site.geometry)


def _per_layer_input(geometry: Geometry) -> list[Tensor]:
    width, hidden = geometry.ple_dim, geometry.hidden_dim
    if not width:
        return []
    return [
        matrix("inp_gate", hidden, width, Role.FFN),
        matrix("proj", width, hidden, Role.FFN),
        vector("post_norm", hidden),
    ]


def gemma3n(site: Site) -> list[Tensor]:
    """Alternating updates, learned augmented residuals and the per-layer embedding's gate."""
    hidden = site.geometry.hidden_dim
    return [
        *_per_layer_input(site.geometry),
        Tensor("altup_correct_coef.weight", (_ALTUP_INPUTS, _ALTUP_INPUTS), Role.NORM),
        vector("altup_correct_scale", hidden),
        Tensor("altup_predict_coef.weight", (_ALTUP_INPUTS, _ALTUP_INPUTS**2), Role.NORM),
        Tensor("altup_router.weight", (hidden, _ALTUP_INPUTS), Role.FFN),
        vector("altup_router_norm", hidden),
        matrix("laurel_l", hidden, _LAUREL_RANK, Role.FFN),
        matrix("laurel_r", _LAUREL_RANK, hidden, Role.FFN),
        vector("laurel_post_norm", hidden),
    ]


def gemma3n_top(site: Site) -> list[Tensor]:
    """Projections between the four alternating inputs, and the per-layer embedding."""
    shape = (site.geometry.hidden_dim, site.geometry.hidden_dim, _ALTUP_INPUTS - 1)
    return [
        Tensor("altup_proj.weight", shape, Role.FFN),
        Tensor("altup_unembd_proj.weight", shape, Role.FFN),
        *per_layer_embedding(site),
    ]


def per_layer_embedding(site: Site) -> list[Tensor]:
    """Gemma's per-layer embedding: one looked-up row per token holds a slice for each layer."""
    if not site.geometry.ple_dim:
        return []
    width = site.geometry.ple_dim * site.geometry.layers_count
    return [
        Tensor("per_layer_token_embd.weight", (width, site.geometry.vocab_count), Role.EMBEDDING),
        Tensor("per_layer_model_proj.weight", (site.geometry.hidden_dim, width), Role.FFN),
        vector("per_layer_proj_norm", site.geometry.ple_dim),
    ]


def gemma4_top(site: Site) -> list[Tensor]:
    """The per-layer embedding, and rotary factors where full-attention layers need them."""
    tensors = per_layer_embedding(site)
    if Mixer.FULL in site.geometry.mixers:
        tensors.append(vector("rope_freqs", (site.geometry.global_head_dim or site.geometry.head_dim) // 2))
    return tensors


def position_embedding(site: Site) -> list[Tensor]:
    """Learned absolute positions."""
    return [Tensor("position_embd.weight", (site.geometry.hidden_dim, site.context_tokens), Role.EMBEDDING)]


def bert_top(site: Site) -> list[Tensor]:
    """Learned positions, token types and the embedding's norm."""
    return [*position_embedding(site), *token_types_top(site)]


def token_types_top(site: Site) -> list[Tensor]:
    """Token types and the embedding's norm."""
    hidden = site.geometry.hidden_dim
    return [
        Tensor("token_types.weight", (hidden, 2), Role.EMBEDDING),
        vector("token_embd_norm", hidden),
        vector("token_embd_norm", hidden, ".bias"),
    ]


def embedding_norm(site: Site) -> list[Tensor]:
    """A norm straight after the token embedding."""
    return [vector("token_embd_norm", site.geometry.hidden_dim)]


def hyper_connections(site: Site) -> list[Tensor]:
    """Mixing of the residual streams before attention and feed-forward (DeepSeek-V4, GLM-5.3)."""
    tensors: list[Tensor] = []
    for part in ("attn", "ffn"):
        tensors += [
            Tensor(f"hc_{part}_fn.weight", (STREAMS * site.geometry.hidden_dim, _STREAM_MIXES), Role.NORM),
            vector(f"hc_{part}_base", _STREAM_MIXES),
            vector(f"hc_{part}_scale", 3),
        ]
    return tensors


def deepseek4(site: Site) -> list[Tensor]:
    """Hyper-connections, and the table that routes the first layers' tokens by their id."""
    tensors = hyper_connections(site)
    if site.layer.hashed_router:
        shape = (site.geometry.expert_used_count, site.geometry.vocab_count)
        tensors.append(Tensor("ffn_gate_tid2eid.weight", shape, Role.NORM))
    return tensors


def deepseek4_top(site: Site) -> list[Tensor]:
    """Mixing of the residual streams before the output."""
    return [
        Tensor("output_hc_fn.weight", (STREAMS * site.geometry.hidden_dim, STREAMS), Role.NORM),
        vector("output_hc_base", STREAMS),
        vector("output_hc_scale", 1),
    ]


def glm5_next(site: Site) -> list[Tensor]:
    """Hyper-connections of the trunk; prediction blocks have a plain residual."""
    return [] if site.layer.nextn else hyper_connections(site)


def residual_scores(site: Site) -> list[Tensor]:
    """Scores by which blocks choose among earlier residuals, and the latent experts' projections (Kimi K3)."""
    hidden = site.geometry.hidden_dim
    tensors = [vector("attn_res_score", hidden), vector("ffn_res_score", hidden)]
    latent = site.geometry.moe_latent_dim
    if site.layer.ffn is Ffn.MOE and latent:
        tensors += [
            matrix("ffn_routed_down", hidden, latent, Role.FFN),
            matrix("ffn_routed_up", latent, hidden, Role.FFN),
            vector("ffn_routed_norm", latent),
        ]
    return tensors


def residual_scores_top(site: Site) -> list[Tensor]:
    """The output's residual score (Kimi K3)."""
    return [vector("output_res_score", site.geometry.hidden_dim)]


def nemotron_latent(site: Site) -> list[Tensor]:
    """Projections into and out of the latent width that routed experts work in (Nemotron 3)."""
    latent = site.geometry.moe_latent_dim
    if site.layer.ffn is not Ffn.MOE or not latent:
        return []
    return [
        matrix("ffn_latent_down", site.geometry.hidden_dim, latent, Role.FFN),
        matrix("ffn_latent_up", latent, site.geometry.hidden_dim, Role.FFN),
    ]


def sub_norms(site: Site) -> list[Tensor]:
    """Norms inside attention and feed-forward (BitNet)."""
    return [vector("attn_sub_norm", site.geometry.hidden_dim), vector("ffn_sub_norm", site.layer.ffn_dim)]


def block_indexer(site: Site) -> list[Tensor]:
    """The block-sparse indexer of the layers that have experts (MiniMax-M3)."""
    if site.layer.ffn is not Ffn.MOE:
        return []
    heads, width = block_indexer_dims(site.geometry)
    hidden = site.geometry.hidden_dim
    return [
        Tensor("indexer.q_proj.weight", (hidden, heads * width), Role.NORM),
        Tensor("indexer.k_proj.weight", (hidden, width), Role.NORM),
        vector("indexer.q_norm", width),
        vector("indexer.k_norm", width),
    ]


def block_indexer_dims(geometry: Geometry) -> tuple[int, int]:
    """Heads and head width of MiniMax-M3's indexer: one head per key-value head, 128 wide unless stated."""
    return geometry.index_head_count or geometry.kv_head_count, geometry.index_head_dim or 128
