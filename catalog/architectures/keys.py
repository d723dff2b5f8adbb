"""The hyper-parameters a GGUF states, from which llama.cpp rebuilds the tensors' shapes.

Values that shapes do not depend on (epsilons, rotary base, scales) are the customary ones: files with
these keys are for measuring speed and size, not for text.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from catalog.architectures.attention import KEY_POOL, latent_dims
from catalog.architectures.blocks import Layout, owns_indexer
from catalog.architectures.extras import HASHED_LAYERS_COUNT, STREAMS, block_indexer_dims
from catalog.architectures.ffn import shared_expert_width
from catalog.architectures.layout import Layer, MetadataValue, Site
from catalog.architectures.recurrent import conv_kernel, mamba1_dims
from catalog.architectures.rotary import rotary_dim
from catalog.types import Ffn, Geometry, Mixer

Keys = dict[str, MetadataValue]

_EPSILON = 1e-6
_GATING_SOFTMAX, _GATING_SIGMOID, _GATING_SQRT_SOFTPLUS = 1, 2, 4
_WITHOUT_KV = frozenset(
    {Mixer.KDA, Mixer.MAMBA1, Mixer.MAMBA2, Mixer.SHORT_CONV, Mixer.NONE}
)  # the loader tells such layers from attention by their having no key-value heads
_STATED_AS_RECURRENT = frozenset({Mixer.GATED_DELTA, Mixer.LIGHTNING})


def hyper_parameters(layout: Layout) -> Mapping[str, MetadataValue]:
    """Hyper-parameters without their architecture prefix."""
    geometry, context_tokens, name = layout.site.geometry, layout.site.context_tokens, layout.architecture.name
    layers = _layers(layout)
    keys: Keys = {
        "vocab_size": geometry.vocab_count,
        "context_length": context_tokens,
        "embedding_length": geometry.hidden_dim,
        "block_count": len(layers),
        "attention.layer_norm_epsilon": _EPSILON,
    }
    if name != "cohere2moe":  # it takes its norm's kind from the epsilon that is there
        keys["attention.layer_norm_rms_epsilon"] = _EPSILON
    keys |= _attention(layout, layers) | _feed_forward(layout, layers)
    for mixer in layout.architecture.mixers:
        if mixer in _PARTS:
            keys |= _PARTS[mixer](geometry)
    if geometry.index_head_count:
        keys |= _indexer(geometry)
    keys |= _ALWAYS.get(name, {})
    if name in _BY_GEOMETRY:
        keys |= _BY_GEOMETRY[name](geometry)
    if name == "glm-dsa":
        types = tuple(int(owns_indexer(context_tokens, index)) for index in range(geometry.layers_count))
        keys["attention.indexer.types"] = types
    if len(layers) > geometry.layers_count:
        keys["nextn_predict_layers"] = len(layers) - geometry.layers_count
    return keys


def _layers(layout: Layout) -> list[Site]:
    """The site of each layer, prediction blocks included."""
    sites = {index: replace(layout.site, layer=block.layer) for block in layout.blocks for index in block.indices}
    return [sites[index] for index in sorted(sites)]


def _attention(layout: Layout, sites: list[Site]) -> Keys:
    geometry = layout.site.geometry
    latent = Mixer.MLA in geometry.mixers and layout.architecture.name != "minicpm3"
    keys: Keys = {
        "attention.head_count": _same_or_each([_heads(site) for site in sites]),
        "attention.head_count_kv": _same_or_each([_kv_heads(site, latent) for site in sites]),
    }
    keys |= _latent_widths(geometry) if latent else _head_widths(layout.site)
    mixers = [site.layer.mixer for site in sites]
    if geometry.sliding_window_tokens:
        keys["attention.sliding_window"] = geometry.sliding_window_tokens
        keys["attention.sliding_window_pattern"] = tuple(mixer is Mixer.SLIDING for mixer in mixers)
    if any(mixer in _STATED_AS_RECURRENT for mixer in mixers):
        keys["attention.recurrent_layers"] = tuple(mixer in _STATED_AS_RECURRENT for mixer in mixers)
    if layout.architecture.encoder:
        keys["attention.causal"] = False
    return keys


def _heads(site: Site) -> int:
    """Query heads; Nemotron's pruned Llamas drop attention from layers whose count is 0."""
    pruned = site.arch.name == "deci" and site.layer.mixer is Mixer.NONE
    return 0 if pruned else site.head_count


def _kv_heads(site: Site, latent: bool) -> int:
    if site.layer.mixer in _WITHOUT_KV:
        return 0
    return 1 if latent else site.kv_head_count


def _head_widths(site: Site) -> Keys:
    geometry = site.geometry
    full = geometry.global_head_dim or geometry.head_dim
    keys: Keys = {
        "attention.key_length": full,
        "attention.value_length": geometry.v_head_dim or full,
        "rope.dimension_count": rotary_dim(site),
        "rope.freq_base": 10000.0,
    }
    if geometry.global_head_dim:
        keys |= {
            "attention.key_length_swa": geometry.head_dim,
            "attention.value_length_swa": geometry.head_dim,
            "rope.dimension_count_swa": geometry.head_dim,
        }
    return keys


def _latent_widths(geometry: Geometry) -> Keys:
    rank, rope, nope, v_dim = latent_dims(geometry)
    return {
        "attention.key_length": rank + rope,
        "attention.value_length": rank,
        "attention.key_length_mla": nope + rope,
        "attention.value_length_mla": v_dim,
        "attention.kv_lora_rank": rank,
        "attention.q_lora_rank": geometry.q_lora_rank or 0,
        "rope.dimension_count": rope,
        "rope.freq_base": 10000.0,
    }


def _feed_forward(layout: Layout, sites: list[Site]) -> Keys:
    geometry = layout.site.geometry
    in_experts = geometry.expert_ffn_dim or 0
    shared_key = layout.architecture.experts_use_ffn_length
    widths = [_ffn_width(site.layer, in_experts, geometry.ffn_dim, shared_key) for site in sites]
    if layout.architecture.name == "qwen":  # the loader halves it: the first Qwen counted gate and up as one
        widths = [width * 2 for width in widths]
    keys: Keys = {"feed_forward_length": _same_or_each(widths)}
    if not geometry.expert_count:
        return keys
    shared = shared_expert_width(geometry)
    per_shared = shared // max(1, geometry.shared_expert_count)
    keys |= {
        "expert_count": geometry.expert_count,
        "expert_used_count": geometry.expert_used_count,
        "expert_feed_forward_length": in_experts,
        "expert_shared_count": geometry.shared_expert_count or int(shared > 0),
        # the loader multiplies this one by the number of shared experts
        "expert_shared_feed_forward_length": per_shared if layout.architecture.name == "bailingmoe2" else shared,
        "expert_gating_func": _GATING_SIGMOID if layout.architecture.score_bias else _GATING_SOFTMAX,
        "expert_weights_scale": 1.0,
        "expert_weights_norm": True,
        "leading_dense_block_count": _leading_dense(geometry),
        "interleave_moe_layer_step": _experts_every(geometry),
    }
    return keys


def _ffn_width(layer: Layer, in_experts: int, dense: int | None, shared_key: bool) -> int:
    """What ``feed_forward_length`` states of a layer; some loaders read the experts' width from it."""
    if layer.ffn is Ffn.NONE:
        return 0
    if layer.ffn is Ffn.MOE and shared_key:
        return in_experts
    return layer.ffn_dim or dense or in_experts


def _leading_dense(geometry: Geometry) -> int:
    return len(geometry.ffns) - len(geometry.ffns.lstrip(Ffn.DENSE.value))


def _experts_every(geometry: Geometry) -> int:
    """Step between expert layers: one whose number, counted from one, divides by it has experts.

    Leading dense layers are stated apart, so two neighbours with experts make it 1. Of layers cut from a
    model so that none has experts it is beyond the last: loaders insist on a step.
    """
    with_experts = [index for index, ffn in enumerate(geometry.ffns) if ffn == Ffn.MOE]
    if not with_experts:
        return len(geometry.ffns) + 1
    first, second = (*with_experts, 2 * with_experts[0] + 1)[:2]
    return second - first


def _same_or_each(values: list[int]) -> int | tuple[int, ...]:
    return values[0] if len(set(values)) == 1 else tuple(values)


def _gated_delta(geometry: Geometry) -> Keys:
    value_heads = geometry.linear_value_head_count or 0
    return {
        "ssm.conv_kernel": conv_kernel(geometry),
        "ssm.state_size": geometry.linear_key_head_dim or 0,
        "ssm.group_count": geometry.linear_key_head_count or 0,
        "ssm.time_step_rank": value_heads,
        "ssm.inner_size": value_heads * (geometry.linear_value_head_dim or 0),
    }


def _mamba2(geometry: Geometry) -> Keys:
    heads = geometry.ssm_head_count or 0
    return {
        "ssm.conv_kernel": conv_kernel(geometry),
        "ssm.state_size": geometry.ssm_state_dim or 0,
        "ssm.group_count": geometry.ssm_group_count or 1,
        "ssm.time_step_rank": heads,
        "ssm.inner_size": heads * (geometry.ssm_head_dim or 0),
    }


def _mamba1(geometry: Geometry) -> Keys:
    inner, rank = mamba1_dims(geometry)
    return {
        "ssm.conv_kernel": conv_kernel(geometry),
        "ssm.state_size": geometry.ssm_state_dim or 0,
        "ssm.time_step_rank": rank,
        "ssm.inner_size": inner,
    }


def _kimi_delta(geometry: Geometry) -> Keys:
    return {
        "ssm.conv_kernel": conv_kernel(geometry),
        "kda.head_dim": geometry.linear_key_head_dim or 0,
        "kda.gate_lower_bound": -5.0,
    }


def _short_convolution(geometry: Geometry) -> Keys:
    return {"shortconv.l_cache": conv_kernel(geometry)}


def _indexer(geometry: Geometry) -> Keys:
    return {
        "attention.indexer.head_count": geometry.index_head_count or 0,
        "attention.indexer.key_length": geometry.index_head_dim or 0,
        "attention.indexer.top_k": geometry.index_topk_count or 0,
    }


# By the mixers an architecture has, whether or not a (truncated) model has layers of them.
_PARTS: Mapping[Mixer, Callable[[Geometry], Keys]] = {
    Mixer.GATED_DELTA: _gated_delta,
    Mixer.MAMBA2: _mamba2,
    Mixer.ATTENTION_MAMBA2: _mamba2,
    Mixer.MAMBA1: _mamba1,
    Mixer.KDA: _kimi_delta,
    Mixer.SHORT_CONV: _short_convolution,
}

_SCALED: Keys = dict.fromkeys(("logit_scale", "residual_scale", "embedding_scale", "attention.scale"), 1.0)
_IMAGE_ROTARY: Keys = {"rope.dimension_sections": (16, 24, 24, 0)}
_ROTARY: Keys = {"rope.dimension_sections": (11, 11, 10, 0)}
_HYPER_CONNECTED: Keys = {
    "hyper_connection.count": STREAMS,
    "hyper_connection.sinkhorn_iterations": 20,
    "hyper_connection.epsilon": 1e-6,
    "swiglu_clamp_exp": 10.0,
}

# Keys that an architecture's loader requires beside the shared ones, whatever the geometry
_ALWAYS: Mapping[str, Keys] = {
    "qwen2vl": _IMAGE_ROTARY,
    "qwen3vl": _IMAGE_ROTARY,
    "qwen3vlmoe": _IMAGE_ROTARY,
    "qwen35": _ROTARY,
    "qwen35moe": _ROTARY,
    "granite": _SCALED,
    "granitemoe": _SCALED,
    "granitehybrid": _SCALED,
    "granite_swa": _SCALED,
    "cohere2": {"logit_scale": 1.0},
    "cohere2moe": {"logit_scale": 1.0},
    "command-r": {"logit_scale": 1.0},
    "muse-glimmer": {"logit_scale": 1.0},
    "minimax-01": {"residual_scale": 1.0},
    "apertus": {"xielu.alpha_n": 1.0, "xielu.alpha_p": 1.0, "xielu.beta": 0.5, "xielu.eps": -1e-6},
    "gptneox": {"use_parallel_residual": True},
    "kimi-k3": {"attn_res.block_size": 1, "activation.situ_beta": 1.0, "activation.situ_linear_beta": 1.0},
    "glm5-next": _HYPER_CONNECTED | {"attention.indexer.kpool": KEY_POOL},
    "deepseek4": _HYPER_CONNECTED | {"expert_gating_func": _GATING_SQRT_SOFTPLUS},
}


def _per_layer_input(geometry: Geometry) -> Keys:
    return {
        "embedding_length_per_layer_input": geometry.ple_dim or 0,
        "attention.shared_kv_layers": geometry.kv_shared_layers_count,
        "final_logit_softcapping": 30.0,
    }


def _latent_experts(geometry: Geometry) -> Keys:
    return {"moe_latent_size": geometry.moe_latent_dim} if geometry.moe_latent_dim else {}


def _routed_experts(geometry: Geometry) -> Keys:
    return {"expert_latent_length": geometry.moe_latent_dim or 0}


def _deepseek4(geometry: Geometry) -> Keys:
    return {
        "hash_layer_count": min(HASHED_LAYERS_COUNT, geometry.layers_count),
        "attention.q_lora_rank": geometry.q_lora_rank or 0,
        "attention.output_group_count": geometry.o_groups_count or 1,
        "attention.output_lora_rank": geometry.o_lora_rank or 0,
        "attention.compress_ratios": geometry.compress_ratios[: geometry.layers_count],
        "attention.compress_rope_freq_base": 10000.0,
        "rope.dimension_count": geometry.qk_rope_head_dim or 64,
    }


def _block_indexer(geometry: Geometry) -> Keys:
    heads, width = block_indexer_dims(geometry)
    return {
        "attention.indexer.head_count": heads,
        "attention.indexer.key_length": width,
        "attention.indexer.top_k": geometry.index_topk_count or 16,
        "attention.indexer.block_size": 64,
        "attention.indexer.local_blocks": 1,
    }


def _joined_latent(geometry: Geometry) -> Keys:
    rank, rope, nope, v_dim = latent_dims(geometry)
    return {
        "attention.q_lora_rank": geometry.q_lora_rank or 0,
        "attention.kv_lora_rank": rank,
        "attention.key_length": nope + rope,
        "attention.value_length": v_dim,
        "rope.dimension_count": rope,
    }


_BY_GEOMETRY: Mapping[str, Callable[[Geometry], Keys]] = {
    "gemma4": _per_layer_input,
    "gemma3n": _per_layer_input,
    "nemotron_h": _latent_experts,
    "nemotron_h_moe": _latent_experts,
    "kimi-k3": _routed_experts,
    "deepseek4": _deepseek4,
    "minimax-m3": _block_indexer,
    "minicpm3": _joined_latent,
}
