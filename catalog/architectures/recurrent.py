"""Token mixers with a recurrent state: gated delta nets, state spaces, short convolutions."""

from catalog.architectures.attention import grouped_query
from catalog.architectures.layout import Site, Tensor, matrix, vector
from catalog.types import Geometry, Role

_ATTENTION = Role.ATTENTION


_DEFAULT_KERNEL = 4  # what Mamba's and the delta nets' configurations leave unsaid


def conv_kernel(geometry: Geometry) -> int:
    """Taps of the short convolution before the recurrence."""
    return geometry.conv_kernel_count or _DEFAULT_KERNEL


def gated_delta(site: Site) -> list[Tensor]:
    """Gated delta net with separate decay and write-strength projections (Qwen3.5)."""
    value_heads = site.geometry.linear_value_head_count or 0
    return [
        *_gated_delta_core(site.geometry),
        matrix("ssm_beta", site.geometry.hidden_dim, value_heads, _ATTENTION),
        matrix("ssm_alpha", site.geometry.hidden_dim, value_heads, _ATTENTION),
    ]


def gated_delta_joined(site: Site) -> list[Tensor]:
    """Gated delta net with decay and write strength in one projection (Qwen3-Next)."""
    value_heads = site.geometry.linear_value_head_count or 0
    return [*_gated_delta_core(site.geometry), matrix("ssm_ba", site.geometry.hidden_dim, 2 * value_heads, _ATTENTION)]


def _gated_delta_core(geometry: Geometry) -> list[Tensor]:
    hidden = geometry.hidden_dim
    value_heads, value_dim = geometry.linear_value_head_count or 0, geometry.linear_value_head_dim or 0
    keys = (geometry.linear_key_head_count or 0) * (geometry.linear_key_head_dim or 0)
    values = value_heads * value_dim
    return [
        matrix("attn_qkv", hidden, 2 * keys + values, _ATTENTION),
        matrix("attn_gate", hidden, values, _ATTENTION),
        Tensor("ssm_conv1d.weight", (conv_kernel(geometry), 2 * keys + values), Role.NORM),
        vector("ssm_dt", value_heads, ".bias"),
        vector("ssm_a", value_heads, ""),
        vector("ssm_norm", value_dim),
        matrix("ssm_out", values, hidden, _ATTENTION),
    ]


def kimi_delta(site: Site) -> list[Tensor]:
    """Kimi delta attention with low-rank decay and gate (Kimi Linear)."""
    inner, head_dim = _kda_inner(site.geometry), site.geometry.linear_key_head_dim or 0
    return [
        *_kimi_delta_core(site.geometry),
        matrix("ssm_f_a", site.geometry.hidden_dim, head_dim, _ATTENTION),
        matrix("ssm_f_b", head_dim, inner, _ATTENTION),
        matrix("ssm_g_a", site.geometry.hidden_dim, head_dim, _ATTENTION),
        matrix("ssm_g_b", head_dim, inner, _ATTENTION),
        Tensor("ssm_a", (1, site.geometry.head_count), Role.NORM),
    ]


def kimi_delta_full_rank(site: Site) -> list[Tensor]:
    """Kimi delta attention with full-rank decay and gate (Ling 3)."""
    hidden, inner = site.geometry.hidden_dim, _kda_inner(site.geometry)
    return [
        *_kimi_delta_core(site.geometry),
        matrix("ssm_f_a", hidden, inner, _ATTENTION),
        matrix("ssm_g_a", hidden, inner, _ATTENTION),
        Tensor("ssm_a", (1, site.geometry.head_count), Role.NORM),
    ]


def kimi_delta_full_gate(site: Site) -> list[Tensor]:
    """Kimi delta attention with a low-rank decay and a full-rank gate (Kimi K3)."""
    hidden, inner, head_dim = (
        site.geometry.hidden_dim,
        _kda_inner(site.geometry),
        site.geometry.linear_key_head_dim or 0,
    )
    return [
        *_kimi_delta_core(site.geometry),
        matrix("ssm_f_a", hidden, head_dim, _ATTENTION),
        matrix("ssm_f_b", head_dim, inner, _ATTENTION),
        matrix("ssm_g", hidden, inner, _ATTENTION),
        vector("ssm_a", site.geometry.head_count, ""),
    ]


def kimi_delta_flat(site: Site) -> list[Tensor]:
    """Kimi delta attention as in Kimi Linear, its decay rate one-dimensional (GLM-5.3)."""
    tensors = kimi_delta(site)
    return [vector("ssm_a", site.geometry.head_count, "") if t.name == "ssm_a" else t for t in tensors]


def _kda_inner(geometry: Geometry) -> int:
    return (geometry.linear_key_head_count or geometry.head_count) * (geometry.linear_key_head_dim or 0)


def _kimi_delta_core(geometry: Geometry) -> list[Tensor]:
    hidden, inner, kernel = geometry.hidden_dim, _kda_inner(geometry), conv_kernel(geometry)
    convolutions = [Tensor(f"ssm_conv1d_{part}.weight", (kernel, 1, inner), Role.NORM) for part in "qkv"]
    projections = [matrix(f"attn_{part}", hidden, inner, _ATTENTION) for part in "qkv"]
    return [
        *convolutions,
        *projections,
        matrix("ssm_beta", hidden, geometry.head_count, _ATTENTION),
        vector("ssm_dt", inner, ".bias"),
        vector("ssm_norm", geometry.linear_value_head_dim or 0),
        matrix("attn_output", inner, hidden, _ATTENTION),
    ]


def mamba2(site: Site) -> list[Tensor]:
    """Mamba-2 state space with grouped norm."""
    groups = site.geometry.ssm_group_count or 1
    inner = (site.geometry.ssm_head_count or 0) * (site.geometry.ssm_head_dim or 0)
    return [*_mamba2_core(site.geometry), Tensor("ssm_norm.weight", (inner // groups, groups), Role.NORM)]


def _mamba2_core(geometry: Geometry) -> list[Tensor]:
    heads, groups = geometry.ssm_head_count or 0, geometry.ssm_group_count or 1
    inner = heads * (geometry.ssm_head_dim or 0)
    convolved = inner + 2 * groups * (geometry.ssm_state_dim or 0)
    return [
        matrix("ssm_in", geometry.hidden_dim, inner + convolved + heads, _ATTENTION),
        Tensor("ssm_conv1d.weight", (conv_kernel(geometry), convolved), Role.NORM),
        vector("ssm_conv1d", convolved, ".bias"),
        vector("ssm_dt", heads, ".bias"),
        Tensor("ssm_a", (1, heads), Role.NORM),
        Tensor("ssm_d", (1, heads), Role.NORM),
        matrix("ssm_out", inner, geometry.hidden_dim, _ATTENTION),
    ]


def attention_beside_mamba2(site: Site) -> list[Tensor]:
    """Attention and Mamba-2 side by side in one layer (Falcon-H1, without the grouped norm)."""
    return [*grouped_query(site), *_mamba2_core(site.geometry)]


def mamba1(site: Site) -> list[Tensor]:
    """Mamba-1 state space; inner width and step rank follow from the hidden width."""
    hidden, state = site.geometry.hidden_dim, site.geometry.ssm_state_dim or 0
    inner, rank = mamba1_dims(site.geometry)
    return [
        matrix("ssm_in", hidden, 2 * inner, _ATTENTION),
        Tensor("ssm_conv1d.weight", (conv_kernel(site.geometry), inner), Role.NORM),
        vector("ssm_conv1d", inner, ".bias"),
        matrix("ssm_x", inner, rank + 2 * state, _ATTENTION),
        matrix("ssm_dt", rank, inner, _ATTENTION),
        vector("ssm_dt", inner, ".bias"),
        Tensor("ssm_a", (state, inner), Role.NORM),
        vector("ssm_d", inner, ""),
        matrix("ssm_out", inner, hidden, _ATTENTION),
    ]


def mamba1_normed(site: Site) -> list[Tensor]:
    """Mamba-1 with norms on its step, input and output projections (Jamba)."""
    _, rank = mamba1_dims(site.geometry)
    state = site.geometry.ssm_state_dim or 0
    norms = [vector("ssm_dt_norm", rank), vector("ssm_b_norm", state), vector("ssm_c_norm", state)]
    return [*mamba1(site), *norms]


def mamba1_dims(geometry: Geometry) -> tuple[int, int]:
    """Inner width and time-step rank: 2 x hidden and ceil(hidden / 16), the reference's defaults."""
    return 2 * geometry.hidden_dim, -(-geometry.hidden_dim // 16)


def short_convolution(site: Site) -> list[Tensor]:
    """Gated short convolution (LFM2)."""
    hidden = site.geometry.hidden_dim
    return [
        Tensor("shortconv.conv.weight", (conv_kernel(site.geometry), hidden), Role.NORM),
        matrix("shortconv.in_proj", hidden, 3 * hidden, _ATTENTION),
        matrix("shortconv.out_proj", hidden, hidden, _ATTENTION),
    ]


def lightning(site: Site) -> list[Tensor]:
    """Lightning attention (MiniMax-01): fused projections, a normed and gated output."""
    hidden, width = site.geometry.hidden_dim, site.geometry.head_count * site.geometry.head_dim
    return [
        vector("attn_norm_2", width),
        matrix("attn_qkv", hidden, 3 * width, _ATTENTION),
        matrix("attn_gate", hidden, width, _ATTENTION),
        matrix("attn_output", width, hidden, _ATTENTION),
    ]
