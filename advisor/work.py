"""What a model must move and multiply: the machine-independent half of every estimate.

Decoding one token reads every used weight once and the KV cache up to the current depth.
Working through a prompt multiplies every token by every used weight, and each token attends to
those before it. This module counts bytes and flop; ``advisor.roofline`` turns them into seconds.

Counts follow the model as llama.cpp evaluates it: embeddings are looked up; logits, and the last
layer's feed-forward, are computed for the last prompt token only (measured: leaving that out makes a
two-layer twin look 1.6 times as fast per layer as a deep one; ``catalog.architectures.evaluation`` lists the
exceptions); multi-head latent attention runs in its absorbed form.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from advisor.attention import (
    NEAR_TOKENS,
    USUAL_ATTENTION,
    AttentionKernel,
    HeadShape,
    attention_shape,
    busiest_depth_tokens,
    deep_pairs,
    head_shape,
    kv_read_bytes,
    pairs_in_window,
)
from catalog.architectures.evaluation import uses_gelu, works_through_last_ffn
from catalog.types import ArtifactSpec, Ffn, Geometry, Mixer, Role

RECURRENT_MIXERS = frozenset(
    {Mixer.GATED_DELTA, Mixer.KDA, Mixer.MAMBA1, Mixer.MAMBA2, Mixer.SHORT_CONV, Mixer.LIGHTNING}
)
_SKIPPED_ROLES = frozenset({Role.EMBEDDING, Role.TOWER})
_RECURRENT_OPERATIONS = {
    Mixer.GATED_DELTA: 30,
    Mixer.KDA: 34,
    Mixer.MAMBA2: 18,
    Mixer.MAMBA1: 18,
    Mixer.SHORT_CONV: 10,
    Mixer.LIGHTNING: 16,
}
_ROUTING_EXPONENT = 0.8
_STATE_BYTES_PER_ELEMENT = 4  # recurrent states are kept in F32
_GELU_VALUES = 3  # as long as so many values take to be quantised, a value of GELU takes to be looked up
_FLOP_PER_STATE_ELEMENT = 6  # decay, outer-product update and read-out: a multiply and an add each


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightWork:
    """Weights of one storage type: bytes moved and floating-point operations made.

    ``rows_count`` is how many tokens share one sweep of a weight matrix; an expert sees only those that wake it.
    ``dots_count`` is how many rows of the matrices one token is multiplied with, each to be set up and summed.
    ``held_bytes`` are all that are stored, of experts also those that sleep.
    """

    tensor_type: str
    role: Role
    bytes: float
    flop: float
    rows_count: float
    held_bytes: float
    dots_count: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One step: a decoded token for each of ``batch_count`` users, or one prompt.

    ``passes_count`` is how often the weights are swept (micro-batches of a prompt);
    ``tokens_per_pass`` how many tokens share one sweep.
    """

    weights: tuple[WeightWork, ...]
    kv_bytes: float
    attention_flop: float
    scores_count: float  # attention scores: query, cached token and head, over all layers
    state_bytes: float
    state_flop: float
    layers_count: float
    moe_layers_count: float
    operations_count: float  # graph nodes evaluated one after another, each with a launch or a barrier
    activations_count: float  # hidden values that pass element-wise work: tokens x layers x hidden dimension
    tokens_count: float
    tokens_per_pass: float
    passes_count: int
    values_count: float = 0.0  # of a prompt: values that operations take in, to quantise, norm, rotate or add them
    routed_activations_count: float = 0.0  # of a prompt: values each routed expert takes in and works on
    deep_attention_flop: float = 0.0  # the part of attention_flop spent on tokens far back (`NEAR_TOKENS`)
    head_shape: HeadShape | None = None
    attention_kernel: AttentionKernel = USUAL_ATTENTION
    fusible_count: float = 0.0  # the part of operations_count that accelerators' kernels take together
    # once for the whole model, on the device that holds its output:
    embedding_type: str | None = None  # the type its token embeddings are stored in
    embedded_values_count: float = 0.0  # looked up: tokens x hidden dimension
    mask_cells_count: float = 0.0  # tokens x cached tokens they may look back on
    logits_count: float = 0.0
    prepared_tokens_count: float = 0.0  # tokens laid out for the engine

    @property
    def weight_bytes(self) -> float:
        """Bytes of weights moved in one sweep."""
        return sum(weight.bytes for weight in self.weights)

    @property
    def held_bytes(self) -> float:
        """Bytes of weights stored, of experts also those that sleep."""
        return sum(weight.held_bytes for weight in self.weights)

    @property
    def weight_flop(self) -> float:
        """Floating-point operations on weights in the whole step."""
        return sum(weight.flop for weight in self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of a model that one device holds.

    ``side_by_side`` devices each hold a slice of every layer (tensor parallelism): a slice is launched as
    often as the whole layer.
    """

    layers_frac: float = 1.0
    experts_frac: float = 1.0
    output: bool = True
    side_by_side: bool = False

    @property
    def launched_frac(self) -> float:
        """Share of the model's layers that this device launches, whole or in slices."""
        return 1.0 if self.side_by_side else self.layers_frac


WHOLE = Share()


def experts_touched_frac(geometry: Geometry, tokens_count: float) -> float:
    """Expected share of experts that some tokens wake: 1-(1-k/E)^n, with n what they would be if routed evenly.

    Tokens share favourites: batches of 2 to 32 users on published runs wake as many experts as n^0.8 even
    tokens would.
    """
    if not geometry.expert_count:
        return 1.0
    idle_frac = 1.0 - geometry.expert_used_count / geometry.expert_count
    return float(1.0 - idle_frac ** (tokens_count**_ROUTING_EXPONENT))


@lru_cache(maxsize=4096)
def moe_layers_count(geometry: Geometry) -> int:
    """Layers with routed experts."""
    return sum(ffn in (Ffn.MOE, Ffn.DENSE_AND_MOE) for ffn in geometry.ffns)


@lru_cache(maxsize=4096)
def operations_count(geometry: Geometry) -> int:
    """Graph nodes of all layers in llama.cpp's terms: what a token costs however small its matrices are.

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
        return _RECURRENT_OPERATIONS.get(mixer, 16) + post_norm
    operations = 12 + post_norm  # norm 2, q k v, rotate 2, write 2, attend, project, add
    operations += 4 * (geometry.qk_norm is not None) + 3 * geometry.qkv_bias + 2 * geometry.attention_output_gate
    operations += 6 * (mixer == Mixer.MLA)  # low-rank projections and their norms
    return operations + _RECURRENT_OPERATIONS[Mixer.MAMBA2] * (mixer == Mixer.ATTENTION_MAMBA2)


def routing_operations_count(geometry: Geometry) -> int:
    """Graph nodes of a layer that choose experts and sum up what they say: route 7, weigh, and an addition each."""
    return 8 + geometry.expert_used_count


def fusible_operations_count(geometry: Geometry) -> int:
    """Graph nodes that accelerators' kernels take as one: choosing among a power of two of experts."""
    power_of_two = geometry.expert_count & (geometry.expert_count - 1) == 0
    return moe_layers_count(geometry) * routing_operations_count(geometry) if power_of_two else 0


def _ffn_operations(geometry: Geometry, ffn: str) -> int:
    if ffn == Ffn.NONE:
        return 0
    post_norm = 2 if geometry.norms_per_layer >= 4 else 0
    dense = 6 + geometry.ffn_gated + post_norm  # norm 2, up, gate, activate, down, add
    if ffn == Ffn.DENSE:
        return dense
    shared = 5 if geometry.shared_expert_count else 0
    products = 5  # norm 2, gate, up, down
    return products + routing_operations_count(geometry) + shared + dense * (ffn == Ffn.DENSE_AND_MOE)


def _works_through_last_ffn(geometry: Geometry, architecture: str | None) -> bool:
    """Whether all tokens of a prompt pass the last feed-forward; by the layers alone where builds have differed."""
    return Mixer.GATED_DELTA in geometry.mixers or works_through_last_ffn(architecture)


def _output_only_frac(geometry: Geometry | None, role: Role, architecture: str | None) -> float:
    """Share of a role's weights that only tokens with logits pass: the output layer, the last feed-forward."""
    if role == Role.OUTPUT:
        return 1.0
    if geometry is None or role not in (Role.FFN, Role.EXPERT):
        return 0.0
    if geometry.ffns[-1] == Ffn.NONE or _works_through_last_ffn(geometry, architecture):
        return 0.0
    layers = moe_layers_count(geometry) if role == Role.EXPERT else geometry.layers_count
    return 1.0 / layers if layers else 0.0


def row_dim(geometry: Geometry | None, role: Role) -> float | None:
    """Mean length of the rows that a role's matrices multiply a token with; None where it is unknown."""
    if geometry is None:
        return None
    inner = {Role.FFN: geometry.ffn_dim, Role.EXPERT: geometry.expert_ffn_dim}.get(role)
    if not inner:
        return float(geometry.hidden_dim)
    widening = 1 + geometry.ffn_gated  # gate and up
    return (widening + 1) * geometry.hidden_dim * inner / (widening * inner + geometry.hidden_dim)


def _woken_frac(geometry: Geometry | None, used_frac: float, tokens_count: float) -> float:
    """Share of a layer's experts that some tokens wake."""
    return min(1.0, used_frac * tokens_count) if geometry is None else experts_touched_frac(geometry, tokens_count)


def _weight_work(
    artifact: ArtifactSpec,
    geometry: Geometry | None,
    share: Share,
    *,
    tokens: float,
    tokens_per_pass: float,
    outputs: float,
    architecture: str | None = None,
) -> tuple[WeightWork, ...]:
    works = []
    for group in artifact.groups:
        if group.role in _SKIPPED_ROLES or (group.role == Role.OUTPUT and not share.output):
            continue
        idle_frac = _output_only_frac(geometry, group.role, architecture)
        woken, moved, held_frac = 1.0, 1.0, share.layers_frac
        if group.role == Role.EXPERT:
            held_frac = share.experts_frac
            woken = _woken_frac(geometry, group.used_frac, tokens_per_pass)
            woken_last = _woken_frac(geometry, group.used_frac, min(outputs, tokens_per_pass))
            moved = woken * (1.0 - idle_frac) + woken_last * idle_frac
        elif group.role == Role.OUTPUT:
            held_frac = 1.0
        if held_frac <= 0.0:
            continue
        rows = tokens * (1.0 - idle_frac) + outputs * idle_frac
        row = row_dim(geometry, group.role)
        works.append(
            WeightWork(
                tensor_type=group.tensor_type,
                role=group.role,
                bytes=group.weight_bytes * moved * held_frac,
                flop=2.0 * group.params_count * group.used_frac * rows * held_frac,
                rows_count=tokens_per_pass * group.used_frac / woken,
                held_bytes=group.weight_bytes * held_frac,
                dots_count=group.params_count * group.used_frac * held_frac * rows / tokens / row if row else 0.0,
            )
        )
    return tuple(works)


def _embedding_type(artifact: ArtifactSpec) -> str | None:
    """The type of the token embeddings; tied ones are stored once, as the output layer."""
    roles = (Role.EMBEDDING, Role.OUTPUT)
    return next((group.tensor_type for role in roles for group in artifact.groups if group.role == role), None)


def _once(step: Work, artifact: ArtifactSpec, geometry: Geometry, tokens: float, reach_tokens: float) -> Work:
    """A step with what is done once for the whole model."""
    return replace(
        step,
        embedding_type=_embedding_type(artifact),
        embedded_values_count=tokens * geometry.hidden_dim,
        mask_cells_count=tokens * reach_tokens,
        logits_count=geometry.vocab_count,
        prepared_tokens_count=tokens,
    )


def decode_work(
    artifact: ArtifactSpec,
    geometry: Geometry | None,
    *,
    depth_tokens: float,
    kv_bytes_per_element: float = 2.0,
    batch_count: int = 1,
    share: Share = WHOLE,
    threads_count: int | None = None,
    attention_kernel: AttentionKernel = USUAL_ATTENTION,
) -> Work:
    """Work of decoding one token for each of ``batch_count`` users at a depth.

    Without geometry the KV cache and per-layer costs are unknown and left out. ``threads_count`` is given
    for a CPU, whose threads share attention unevenly.
    """
    weights = _weight_work(
        artifact, geometry, share, tokens=batch_count, tokens_per_pass=batch_count, outputs=batch_count
    )
    step = Work(
        weights=weights,
        kv_bytes=0.0,
        attention_flop=0.0,
        scores_count=0.0,
        state_bytes=0.0,
        state_flop=0.0,
        layers_count=0.0,
        moe_layers_count=0.0,
        operations_count=0.0,
        activations_count=0.0,
        tokens_count=batch_count,
        tokens_per_pass=batch_count,
        passes_count=1,
    )
    if geometry is None:
        return step
    shape = attention_shape(geometry)
    reach = min(depth_tokens, shape.window_tokens)
    held = share.layers_frac * batch_count
    state = geometry.recurrent_state_elements_count * held
    if share.output:
        step = _once(step, artifact, geometry, batch_count, depth_tokens)
    return replace(
        step,
        kv_bytes=kv_read_bytes(geometry, depth_tokens, kv_bytes_per_element) * held,
        attention_flop=held
        * (
            shape.full_flop * busiest_depth_tokens(depth_tokens, threads_count)
            + shape.sliding_flop * busiest_depth_tokens(reach, threads_count)
        ),
        deep_attention_flop=held * shape.full_flop * max(0.0, depth_tokens - NEAR_TOKENS),
        head_shape=head_shape(geometry),
        attention_kernel=attention_kernel,
        scores_count=(shape.full_heads_count * depth_tokens + shape.sliding_heads_count * reach) * held,
        state_bytes=2.0 * _STATE_BYTES_PER_ELEMENT * state,
        state_flop=_FLOP_PER_STATE_ELEMENT * state,
        layers_count=geometry.layers_count * share.launched_frac,
        moe_layers_count=moe_layers_count(geometry) * share.launched_frac,
        operations_count=operations_count(geometry) * share.launched_frac,
        fusible_count=fusible_operations_count(geometry) * share.launched_frac,
        activations_count=batch_count * geometry.layers_count * share.layers_frac * geometry.hidden_dim,
    )


@lru_cache(maxsize=4096)
def values_count(geometry: Geometry, gelu: bool = False) -> int:
    """Values of one token that the operations of all layers take in, each counted as often as it is.

    Every matrix product quantises its input anew, and norms, rotations and additions sweep over theirs: timed
    operation by operation, either costs about as much per value. Routed experts have prices of their own.
    """
    widths = geometry.ffn_dims or (geometry.ffn_dim or 0,) * geometry.layers_count
    return sum(
        _mixer_values(geometry, Mixer(mixer)) + _ffn_values(geometry, Ffn(ffn), width, gelu)
        for mixer, ffn, width in zip(geometry.mixers, geometry.ffns, widths, strict=True)
    )


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


def _routed_values_count(geometry: Geometry) -> int:
    """Values that one token's chosen experts take in and work on, over all layers."""
    width = geometry.hidden_dim + (geometry.expert_ffn_dim or 0)
    return moe_layers_count(geometry) * geometry.expert_used_count * width


def prefill_work(
    artifact: ArtifactSpec,
    geometry: Geometry | None,
    *,
    prompt_tokens: int,
    depth_tokens: float = 0.0,
    ubatch_tokens: int = 512,
    share: Share = WHOLE,
    attention_kernel: AttentionKernel = USUAL_ATTENTION,
    architecture: str | None = None,
) -> Work:
    """Work of a prompt of ``prompt_tokens`` that follows ``depth_tokens`` already in the cache.

    ``architecture`` is llama.cpp's name of it, for what today's build does; runs of builds before it are counted
    without.
    """
    passes_count = math.ceil(prompt_tokens / ubatch_tokens)
    tokens_per_pass = prompt_tokens / passes_count
    step = Work(
        weights=_weight_work(
            artifact,
            geometry,
            share,
            tokens=prompt_tokens,
            tokens_per_pass=tokens_per_pass,
            outputs=1.0,
            architecture=architecture,
        ),
        kv_bytes=0.0,
        attention_flop=0.0,
        scores_count=0.0,
        state_bytes=0.0,
        state_flop=0.0,
        layers_count=0.0,
        moe_layers_count=0.0,
        operations_count=0.0,
        activations_count=0.0,
        tokens_count=prompt_tokens,
        tokens_per_pass=tokens_per_pass,
        passes_count=passes_count,
    )
    if geometry is None:
        return step
    shape = attention_shape(geometry)
    full_pairs = prompt_tokens * (depth_tokens + prompt_tokens / 2.0)
    near_pairs = pairs_in_window(prompt_tokens, depth_tokens, shape.window_tokens)
    state = geometry.recurrent_state_elements_count * share.layers_frac
    if share.output:
        step = _once(step, artifact, geometry, prompt_tokens, depth_tokens + prompt_tokens / 2.0)
    return replace(
        step,
        attention_flop=(shape.full_flop * full_pairs + shape.sliding_flop * near_pairs) * share.layers_frac,
        deep_attention_flop=shape.full_flop * deep_pairs(prompt_tokens, depth_tokens) * share.layers_frac,
        head_shape=head_shape(geometry),
        attention_kernel=attention_kernel,
        scores_count=(shape.full_heads_count * full_pairs + shape.sliding_heads_count * near_pairs) * share.layers_frac,
        state_bytes=2.0 * _STATE_BYTES_PER_ELEMENT * state * passes_count,
        state_flop=_FLOP_PER_STATE_ELEMENT * state * prompt_tokens,
        layers_count=geometry.layers_count * share.launched_frac,
        moe_layers_count=moe_layers_count(geometry) * share.launched_frac,
        operations_count=operations_count(geometry) * share.launched_frac * passes_count,
        fusible_count=fusible_operations_count(geometry) * share.launched_frac * passes_count,
        activations_count=prompt_tokens * geometry.layers_count * share.layers_frac * geometry.hidden_dim,
        values_count=prompt_tokens * values_count(geometry, uses_gelu(architecture)) * share.layers_frac,
        routed_activations_count=prompt_tokens * _routed_values_count(geometry) * share.experts_frac,
    )
