"""The operations that one token passes in all layers, and the values that they take in.

Counted from the geometry alone, as nodes of the graph that llama.cpp evaluates.
"""

from functools import lru_cache

from catalog.types import Ffn, Geometry, Mixer

_RECURRENT_OPERATIONS = {
    Mixer.GATED_DELTA: 30,
    Mixer.KDA: 34,
    Mixer.MAMBA2: 18,
    Mixer.MAMBA1: 18,
    Mixer.SHORT_CONV: 10,
    Mixer.LIGHTNING: 16,
}
#: Mixers that keep a state of fixed size instead of a cache that grows.
RECURRENT_MIXERS = frozenset(_RECURRENT_OPERATIONS)
_GELU_VALUES = 3  # as long as so many values take to be quantised, a value of GELU takes to be looked up


@lru_cache(maxsize=4096)
def moe_layers_count(geometry: Geometry) -> int:
    """Layers with routed experts."""
    return sum(ffn in (Ffn.MOE, Ffn.DENSE_AND_MOE) for ffn in geometry.ffns)


@lru_cache(maxsize=4096)
def operations_count(geometry: Geometry) -> int:
    """Graph nodes of all layers: what a token costs however small its matrices are.

    A norm is two (normalise, scale), a rotation, a cache write, a matrix product or an addition one each.
    """
    return sum(
        _mixer_operations(geometry, mixer) + _ffn_operations(geometry, ffn)
        for mixer, ffn in zip(geometry.mixers, geometry.ffns, strict=True)
    )


def _mixer_operations(geometry: Geometry, letter: str) -> int:
    mixer = Mixer(letter)
    if mixer == Mixer.NONE:
        return 0
    post_norm = 2 if geometry.norms_per_layer >= 4 else 0
    if mixer in RECURRENT_MIXERS:
        return _RECURRENT_OPERATIONS[mixer] + post_norm
    operations = 12 + post_norm  # norm 2, q k v, rotate 2, write 2, attend, project, add
    operations += 4 * (geometry.qk_norm is not None) + 3 * geometry.qkv_bias + 2 * geometry.attention_output_gate
    operations += 6 * (mixer == Mixer.MLA)  # low-rank projections and their norms
    return operations + _RECURRENT_OPERATIONS[Mixer.MAMBA2] * (mixer == Mixer.ATTENTION_MAMBA2)


def _ffn_operations(geometry: Geometry, ffn: str) -> int:
    if ffn == Ffn.NONE:
        return 0
    post_norm = 2 if geometry.norms_per_layer >= 4 else 0
    dense = 6 + geometry.ffn_gated + post_norm  # norm 2, up, gate, activate, down, add
    if ffn == Ffn.DENSE:
        return dense
    shared = 5 if geometry.shared_expert_count else 0
    products = 5  # norm 2, gate, up, down
    return products + _routing_operations(geometry) + shared + dense * (ffn == Ffn.DENSE_AND_MOE)


def _routing_operations(geometry: Geometry) -> int:
    """Graph nodes of a layer that choose experts and sum up what they say: route 7, weigh, and an addition each."""
    return 8 + geometry.expert_used_count


def fusible_operations_count(geometry: Geometry) -> int:
    """Graph nodes that accelerators' kernels take as one: choosing among a power of two of experts."""
    power_of_two = geometry.expert_count & (geometry.expert_count - 1) == 0
    return moe_layers_count(geometry) * _routing_operations(geometry) if power_of_two else 0


@lru_cache(maxsize=4096)
def values_count(geometry: Geometry, gelu: bool = False) -> int:
    """Values of one token that the operations of all layers take in, each counted as often as it is.

    Every matrix product quantises its input anew, and norms, rotations and additions sweep over theirs: timed
    operation by operation, either costs about as much per value. Routed experts have prices of their own.
    """
    mixers = sum(_mixer_values(geometry, Mixer(mixer)) for mixer in geometry.mixers)
    ffns = zip(geometry.ffns, _ffn_widths(geometry), strict=True)
    return mixers + sum(_ffn_values(geometry, Ffn(ffn), width, gelu) for ffn, width in ffns)


@lru_cache(maxsize=4096)
def last_ffn_values_count(geometry: Geometry, gelu: bool = False) -> int:
    """The part of `values_count` that the last feed-forward takes in."""
    return _ffn_values(geometry, Ffn(geometry.ffns[-1]), _ffn_widths(geometry)[-1], gelu)


def _ffn_widths(geometry: Geometry) -> tuple[int, ...]:
    return geometry.ffn_dims or (geometry.ffn_dim or 0,) * geometry.layers_count


def _mixer_values(geometry: Geometry, mixer: Mixer) -> int:
    if mixer == Mixer.NONE:
        return 0
    inner = geometry.head_count * geometry.head_dim
    if mixer in RECURRENT_MIXERS:
        inner = (geometry.linear_value_head_count or 0) * (geometry.linear_value_head_dim or 0) or geometry.hidden_dim
    swept = 3 if geometry.qk_norm else 2  # rotated and projected, perhaps normed
    return (geometry.norms_per_layer // 2 + 4) * geometry.hidden_dim + swept * inner  # norms, three products, addition


def _ffn_values(geometry: Geometry, ffn: Ffn, width: int, gelu: bool) -> int:
    if ffn == Ffn.NONE:
        return 0
    hidden = (geometry.norms_per_layer - geometry.norms_per_layer // 2 + 1) * geometry.hidden_dim  # norms, addition
    if ffn == Ffn.MOE:
        width = geometry.shared_expert_count and (geometry.shared_expert_ffn_dim or 0)
    inner = width * (2 + gelu * _GELU_VALUES)  # activated and multiplied
    return hidden + ((1 + geometry.ffn_gated) * geometry.hidden_dim + inner if width else geometry.hidden_dim)


def routed_values_count(geometry: Geometry) -> int:
    """Values that one token's chosen experts take in and work on, over all layers."""
    width = geometry.hidden_dim + (geometry.expert_ffn_dim or 0)
    return moe_layers_count(geometry) * geometry.expert_used_count * width
