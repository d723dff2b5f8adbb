"""What a model must move and multiply: the machine-independent half of every estimate.

Decoding one token reads every used weight once and the KV cache up to the current depth.
Working through a prompt multiplies every token by every used weight, and each token attends to
those before it. Bytes, flop and operations are counted here, from ``advisor.weight_work``, ``advisor.attention``
and ``advisor.operations``; ``advisor.roofline`` turns them into seconds.

Counts follow the model as llama.cpp evaluates it: embeddings are looked up, logits are computed for the last
prompt token only, multi-head latent attention runs in its absorbed form.
"""

import math
from dataclasses import dataclass, replace

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
from advisor.operations import (
    fusible_operations_count,
    last_ffn_values_count,
    moe_layers_count,
    operations_count,
    routed_values_count,
    values_count,
)
from advisor.shares import WHOLE, Share
from advisor.weight_work import WeightWork, spares_last_ffn, sweep_weights
from catalog.architectures.evaluation import uses_gelu
from catalog.types import ArtifactSpec, Geometry, Role

_STATE_BYTES_PER_ELEMENT = 4  # recurrent states are kept in F32
_FLOP_PER_STATE_ELEMENT = 6  # decay, outer-product update and read-out: a multiply and an add each


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One step: a decoded token for each of ``batch_count`` users, or one prompt.

    ``passes_count`` is how often the weights are swept (micro-batches of a prompt);
    ``tokens_per_pass`` how many tokens share one sweep. Without a model's geometry the rest is unknown and left out.
    """

    weights: tuple[WeightWork, ...]
    tokens_count: float
    tokens_per_pass: float
    passes_count: int
    kv_bytes: float = 0.0
    attention_flop: float = 0.0
    deep_attention_flop: float = 0.0  # the part of attention_flop spent on tokens far back (`NEAR_TOKENS`)
    scores_count: float = 0.0  # attention scores: query, cached token and head, over all layers
    head_shape: HeadShape | None = None
    attention_kernel: AttentionKernel = USUAL_ATTENTION
    state_bytes: float = 0.0
    state_flop: float = 0.0
    layers_count: float = 0.0
    moe_layers_count: float = 0.0
    operations_count: float = 0.0  # graph nodes evaluated one after another, each with a launch or a barrier
    fusible_count: float = 0.0  # the part of operations_count that accelerators' kernels take together
    activations_count: float = 0.0  # hidden values that pass element-wise work: tokens x layers x hidden dimension
    values_count: float = 0.0  # of a prompt: values that operations take in, to quantise, norm, rotate or add them
    routed_activations_count: float = 0.0  # of a prompt: values each routed expert takes in and works on
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
    weights = sweep_weights(
        artifact, geometry, share, tokens_count=batch_count, tokens_per_pass=batch_count, outputs_count=batch_count
    )
    if geometry is None:
        return Work(weights=weights, tokens_count=batch_count, tokens_per_pass=batch_count, passes_count=1)
    step = _step(
        artifact,
        geometry,
        share,
        weights,
        tokens_count=batch_count,
        passes_count=1,
        users_count=batch_count,
        reach_tokens=depth_tokens,
        attention_kernel=attention_kernel,
    )
    shape = attention_shape(geometry)
    near_tokens = min(depth_tokens, shape.window_tokens)
    held = share.layers_frac * batch_count
    return replace(
        step,
        kv_bytes=kv_read_bytes(geometry, depth_tokens, kv_bytes_per_element) * held,
        attention_flop=held
        * (
            shape.full_flop * busiest_depth_tokens(depth_tokens, threads_count)
            + shape.sliding_flop * busiest_depth_tokens(near_tokens, threads_count)
        ),
        deep_attention_flop=held * shape.full_flop * max(0.0, depth_tokens - NEAR_TOKENS),
        scores_count=(shape.full_heads_count * depth_tokens + shape.sliding_heads_count * near_tokens) * held,
    )


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
    per_pass = prompt_tokens / passes_count
    weights = sweep_weights(
        artifact,
        geometry,
        share,
        tokens_count=prompt_tokens,
        tokens_per_pass=per_pass,
        outputs_count=1.0,
        architecture=architecture,
    )
    if geometry is None:
        return Work(weights=weights, tokens_count=prompt_tokens, tokens_per_pass=per_pass, passes_count=passes_count)
    reach_tokens = depth_tokens + prompt_tokens / 2.0
    step = _step(
        artifact,
        geometry,
        share,
        weights,
        tokens_count=prompt_tokens,
        passes_count=passes_count,
        users_count=1,
        reach_tokens=reach_tokens,
        attention_kernel=attention_kernel,
    )
    shape = attention_shape(geometry)
    full_pairs = prompt_tokens * reach_tokens
    near_pairs = pairs_in_window(prompt_tokens, depth_tokens, shape.window_tokens)
    return replace(
        step,
        attention_flop=(shape.full_flop * full_pairs + shape.sliding_flop * near_pairs) * share.layers_frac,
        deep_attention_flop=shape.full_flop * deep_pairs(prompt_tokens, depth_tokens) * share.layers_frac,
        scores_count=(shape.full_heads_count * full_pairs + shape.sliding_heads_count * near_pairs) * share.layers_frac,
        values_count=_prompt_values_count(geometry, prompt_tokens, architecture) * share.layers_frac,
        routed_activations_count=prompt_tokens * routed_values_count(geometry) * share.experts_frac,
    )


def _prompt_values_count(geometry: Geometry, prompt_tokens: int, architecture: str | None) -> float:
    """Values that a prompt's operations take in; the last feed-forward's may be those of the last token alone."""
    gelu = uses_gelu(architecture)
    spared_tokens = prompt_tokens - 1 if spares_last_ffn(geometry, architecture) else 0
    return prompt_tokens * values_count(geometry, gelu) - spared_tokens * last_ffn_values_count(geometry, gelu)


def _step(
    artifact: ArtifactSpec,
    geometry: Geometry,
    share: Share,
    weights: tuple[WeightWork, ...],
    *,
    tokens_count: int,
    passes_count: int,
    users_count: int,
    reach_tokens: float,
    attention_kernel: AttentionKernel,
) -> Work:
    """What decoding and working through a prompt are counted by alike; attention is left to them.

    ``users_count`` states are read and written in each pass; a token looks back on ``reach_tokens`` on average.
    """
    states_count = geometry.recurrent_state_elements_count * share.layers_frac
    launched = share.launched_frac
    prepared_tokens = tokens_count if share.output else 0
    return Work(
        weights=weights,
        tokens_count=tokens_count,
        tokens_per_pass=tokens_count / passes_count,
        passes_count=passes_count,
        head_shape=head_shape(geometry),
        attention_kernel=attention_kernel,
        state_bytes=2.0 * _STATE_BYTES_PER_ELEMENT * states_count * users_count * passes_count,
        state_flop=_FLOP_PER_STATE_ELEMENT * states_count * tokens_count,
        layers_count=geometry.layers_count * launched,
        moe_layers_count=moe_layers_count(geometry) * launched,
        operations_count=operations_count(geometry) * launched * passes_count,
        fusible_count=fusible_operations_count(geometry) * launched * passes_count,
        activations_count=tokens_count * geometry.layers_count * share.layers_frac * geometry.hidden_dim,
        embedding_type=_embedding_type(artifact) if share.output else None,
        embedded_values_count=prepared_tokens * geometry.hidden_dim,
        mask_cells_count=prepared_tokens * reach_tokens,
        logits_count=geometry.vocab_count if share.output else 0,
        prepared_tokens_count=prepared_tokens,
    )


def _embedding_type(artifact: ArtifactSpec) -> str | None:
    """The type of the token embeddings; tied ones are stored once, as the output layer."""
    roles = (Role.EMBEDDING, Role.OUTPUT)
    return next((group.tensor_type for role in roles for group in artifact.groups if group.role == role), None)
