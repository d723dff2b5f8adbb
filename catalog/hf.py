"""Reading a model's shape from its Hugging Face ``config.json``."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from catalog.architectures.blocks import find_architecture
from catalog.architectures.caches import with_cache_sizes
from catalog.errors import CatalogError
from catalog.gguf_header import printable
from catalog.hf_config import Config, load_config
from catalog.hf_dialects import ARCHITECTURE_BY_MODEL_TYPE, BIASED_UNLESS_STATED, TIED_UNLESS_STATED
from catalog.hf_layers import ffns_of, mixers_of
from catalog.tensors import params_count
from catalog.types import Citation, Ffn, Geometry, ModelSpec, Role
from catalog.weights import weigh

Fields = dict[str, Any]  # keyword arguments of `Geometry`

_BIAS_NAMES = ("attention_bias", "qkv_bias", "use_qkv_bias", "add_qkv_bias", "use_bias")
_PREDICTING_UNSTATED = {"qwen3next": 1, "mimo2": 3}  # their configurations leave the blocks out
_MAX_PREDICTING_COUNT = 64
_LFM2_ROUNDING = 256


def read_config(source: Mapping[str, Any] | str | os.PathLike[str], model_id: str | None = None) -> ModelSpec:
    """A model's shape from its Hugging Face configuration.

    Args:
        source: the parsed ``config.json``, its path, or the folder it is in.
        model_id: the model's name; by default what the configuration calls itself.

    Returns:
        The model with its geometry, its parameters counted from it. An unknown ``model_type`` is taken for
        a decoder of the common kind, which ``geometry_note`` then says.

    Raises:
        CatalogError: if the configuration states no transformer's layers, widths and vocabulary.
    """
    try:
        return _model_of(load_config(source), model_id)
    except CatalogError as error:
        if isinstance(source, Mapping) or not str(error).startswith("config.json:"):
            raise
        raise CatalogError(f"{os.fspath(source)}{str(error).removeprefix('config.json')}") from error


def _model_of(config: Config, model_id: str | None) -> ModelSpec:
    known = _architecture(config)
    geometry = _geometry(config, known or "")
    name = model_id or _named(config)
    note = None
    if known is None:
        note = f"architecture {printable(config.model_type or 'unstated')} is unknown: taken for a Llama-like decoder"
    model = ModelSpec(
        model_id=name,
        display_name=name.rpartition("/")[2],
        org=name.rpartition("/")[0],
        official=False,
        architecture=known,
        params_total_count=0,
        geometry=geometry,
        geometry_note=note,
        max_context_tokens=config.integer(
            "max_position_embeddings", "n_positions", "seq_length", "model_max_length", "max_sequence_length"
        ),
        modalities=frozenset({"text", "vision"} if "vision_config" in config.outer else {"text"}),
        citation=Citation(source="config.json"),
    )
    return replace(model, params_total_count=params_count(model), params_active_count=_active(model))


def _named(config: Config) -> str:
    name = config.outer.get("_name_or_path")
    stated = name if isinstance(name, str) and name else config.model_type or "unnamed"
    return printable(stated, limit=200)


def _architecture(config: Config) -> str | None:
    """llama.cpp's name for the configuration's model type, or None."""
    for values in (config.values, config.outer):
        kind = values.get("model_type")
        name = ARCHITECTURE_BY_MODEL_TYPE.get(kind, kind) if isinstance(kind, str) else None
        if name is not None and find_architecture(name).name == name:
            return name
    return None


def _geometry(config: Config, architecture: str) -> Geometry:
    count = config.layers_count or len(config.items("layers_block_type"))
    hidden = config.integer("hidden_size", "n_embd", "d_model", "dim")
    vocab = config.integer("vocab_size", "padded_vocab_size", "embedding_size")
    if not count or not hidden or not vocab:
        missing = "num_hidden_layers" if not count else "hidden_size" if not hidden else "vocab_size"
        raise CatalogError(f"config.json: {missing} is missing; give a language model's config.json")
    experts = _experts(config, architecture)
    mixers = mixers_of(config, architecture, count)
    ffns = ffns_of(config, architecture, count, experts.get("expert_count", 0))
    geometry = Geometry(
        mixers="".join(mixers),
        ffns="".join(ffns),
        hidden_dim=hidden,
        vocab_count=_vocab(config, architecture, vocab),
        tied_embeddings=config.flag("tie_word_embeddings", "tie_embedding", default=architecture in TIED_UNLESS_STATED),
        mtp_layers_count=_predicting(config, architecture),
        **_heads(config, architecture, hidden),
        **_latent(config),
        **_widths(config, architecture, ffns, hidden),
        **experts,
        **_recurrent(config, architecture),
        **_per_layer(config),
    )
    return with_cache_sizes(_checked(geometry))


def _checked(geometry: Geometry) -> Geometry:
    """The geometry, if its layers can be built.

    Raises:
        CatalogError: if widths that its layers need are missing.
    """
    if len(geometry.mixers) != len(geometry.ffns):
        raise CatalogError("config.json: it does not say what each layer is; give the model's own config.json")
    dense = any(ffn in (Ffn.DENSE, Ffn.DENSE_AND_MOE) for ffn in geometry.ffns)
    if dense and not geometry.ffn_dim:
        raise CatalogError("config.json: intermediate_size is missing; give a language model's config.json")
    if any(mixer in "ASB" for mixer in geometry.mixers) and not geometry.head_count:
        raise CatalogError("config.json: num_attention_heads is missing; give a language model's config.json")
    return geometry


def _vocab(config: Config, architecture: str, stated: int) -> int:
    padded = config.integer("padded_vocab_size", "embedding_size")
    return padded if padded and architecture in ("chatglm", "olmo") else stated


def _predicting(config: Config, architecture: str) -> int:
    stated = config.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers")
    if stated is not None and stated > _MAX_PREDICTING_COUNT:
        raise CatalogError(f"config.json: num_nextn_predict_layers: {stated} blocks are not read; check the file")
    return _PREDICTING_UNSTATED.get(architecture, 0) if stated is None else stated


def _heads(config: Config, architecture: str, hidden: int) -> Fields:
    heads = config.integer("num_attention_heads", "n_head", "n_heads") or 0
    head_dim = config.integer("head_dim", "kv_channels", "attention_head_dim", "v_channels")
    head_dim = head_dim or (hidden // heads if heads else 0)
    arch = find_architecture(architecture)
    return {
        "head_count": heads,
        "kv_head_count": _kv_heads(config, architecture, heads),
        "head_dim": head_dim,
        "v_head_dim": _differing(config.integer("v_head_dim"), head_dim),
        "qkv_bias": config.flag(*_BIAS_NAMES, default=architecture in BIASED_UNLESS_STATED),
        "qk_norm": _query_norm(config, arch.qk_norm),
        "attention_output_gate": arch.gated_query,
        "sliding_window_tokens": config.integer("sliding_window", "attention_chunk_size", "local_attention") or None,
        "rope_factors_count": _rope_factors(config, head_dim),
        **_sliding_heads(config, heads),
    }


def _rope_factors(config: Config, head_dim: int) -> int:
    """Length of the tables by which a GGUF scales rotary frequencies; 0: it has none."""
    stated = config.mapping("rope_scaling") or config.mapping("rope_parameters")
    inner = stated.get("full_attention")
    scaling = Config(inner if isinstance(inner, Mapping) else stated, {})
    if scaling.first("rope_type", "type") == "llama3":
        return head_dim // 2
    return len(scaling.items("long_factor"))


def _kv_heads(config: Config, architecture: str, heads: int) -> int:
    blocks = config.items("block_configs")
    if architecture == "deci" and blocks:
        grouped = (block.get("attention", {}).get("n_heads_in_group") for block in blocks if isinstance(block, dict))
        return heads // next((count for count in grouped if type(count) is int and count), heads or 1)
    if architecture == "falcon" and not config.flag("new_decoder_architecture"):
        return 1 if config.flag("multi_query", default=True) else heads
    if architecture == "starcoder":
        return 1 if config.flag("multi_query", default=True) else heads
    return config.integer("num_key_value_heads", "multi_query_group_num", "num_kv_heads", "n_head_kv") or heads


def _differing(value: int | None, usual: int) -> int | None:
    return value if value and value != usual else None


def _query_norm(config: Config, usual: str | None) -> str | None:
    if usual == "heads":
        return "full" if config.flag("use_qk_norm", "qk_layernorm") else None
    if usual == "geometry":
        return "head" if config.flag("use_qk_norm") else None
    return usual


def _sliding_heads(config: Config, heads: int) -> Fields:
    """Head counts and widths where sliding or global layers differ from the rest."""
    per_layer = config.integers("num_attention_heads_per_layer")
    sliding = config.integer("num_sliding_attention_heads", "swa_num_attention_heads") or max(per_layer, default=None)
    other = config.mapping("attention_other_setting")
    sliding = sliding or (other.get("num_attention_heads") if type(other.get("num_attention_heads")) is int else None)
    special = [block for block in config.mapping("per_layer_config").values() if isinstance(block, Mapping)]
    first = Config(special[0] if special else {}, {})
    return {
        "swa_head_count": _differing(sliding, heads),
        "swa_kv_head_count": config.integer("swa_num_key_value_heads"),
        "global_head_dim": config.integer("global_head_dim") or first.integer("head_dim"),
        "global_kv_head_count": config.integer("num_global_key_value_heads") or first.integer("num_key_value_heads"),
        "k_equals_v_global": config.flag("attention_k_eq_v"),
        "kv_shared_layers_count": config.integer("num_kv_shared_layers") or 0,
    }


def _latent(config: Config) -> Fields:
    """Latent and sparse attention."""
    rope, nope = config.integer("qk_rope_head_dim"), config.integer("qk_nope_head_dim")
    fields: Fields = {
        "kv_lora_rank": config.integer("kv_lora_rank") or None,
        "q_lora_rank": config.integer("q_lora_rank") or None,
        "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rope,
        "index_head_count": config.integer("index_n_heads"),
        "index_head_dim": config.integer("index_head_dim"),
        "index_topk_count": config.integer("index_topk", "index_topk_blocks"),
        "compress_ratios": _compress_ratios(config),
        "o_groups_count": config.integer("o_groups"),
        "o_lora_rank": config.integer("o_lora_rank"),
    }
    return fields


def _compress_ratios(config: Config) -> tuple[int, ...]:
    rates, types = config.mapping("compress_rates"), config.items("layer_types")
    stated = [rates.get(kind, 0) for kind in types if isinstance(kind, str)] if rates else []
    ratios = config.integers("compress_ratios") or [ratio for ratio in stated if type(ratio) is int]
    return tuple(ratios[: config.layers_count]) if len(ratios) >= config.layers_count else ()


def _widths(config: Config, architecture: str, ffns: list[Ffn], hidden: int) -> Fields:
    """Dense feed-forward widths."""
    dense = config.integer("prefix_dense_intermediate_size", "intermediate_size_mlp", "dense_intermediate_size")
    stated = config.first("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "mlp_hidden_size")
    if architecture == "granitehybrid" and Ffn.MOE not in ffns:
        dense = config.integer("shared_intermediate_size")
    each = [width for width in stated if type(width) is int] if isinstance(stated, list) else []
    each = each or _pruned_widths(config, hidden)
    each = each[: len(ffns)] if len(each) >= len(ffns) else []
    width = dense or (stated if type(stated) is int else max(each, default=4 * hidden))
    if architecture == "lfm2":
        width = _lfm2_width(config, width)
    if architecture == "qwen":
        width //= 2
    shared = config.integer("num_kv_shared_layers") or 0
    if config.flag("use_double_wide_mlp") and shared:
        each = [width] * (len(ffns) - shared) + [2 * width] * shared
    arch = find_architecture(architecture)
    return {
        "ffn_dim": max(each, default=width) if Ffn.DENSE in ffns or Ffn.DENSE_AND_MOE in ffns else None,
        "ffn_dims": tuple(each) if len(set(each)) > 1 else (),
        "ffn_gated": arch.ffn != "plain",
    }


def _pruned_widths(config: Config, hidden: int) -> list[int]:
    """Widths of Nemotron's pruned Llamas: a multiplier per block, rounded up to 256."""
    widths = []
    for block in config.items("block_configs"):
        part = block.get("ffn") if isinstance(block, dict) else None
        factor = part.get("ffn_mult") if isinstance(part, dict) else None
        width = int(2 * factor * hidden / 3) if isinstance(factor, int | float) and 0 <= factor < 1e4 else 0
        widths.append(-(-width // 256) * 256)
    return widths


def _lfm2_width(config: Config, width: int) -> int:
    """LFM2 states the width of a plain feed-forward; the gated one is two thirds of it, rounded up."""
    if not config.flag("block_auto_adjust_ff_dim", default=True):
        return width
    factor = config.first("block_ffn_dim_multiplier")
    scaled = int(2 * width / 3 * factor) if isinstance(factor, int | float) and 0 < factor < 1e4 else 2 * width // 3
    multiple = config.integer("block_multiple_of") or _LFM2_ROUNDING
    return -(-scaled // multiple) * multiple


def _experts(config: Config, architecture: str) -> Fields:
    count = config.integer("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts") or 0
    if architecture == "gemma4" and not config.flag("enable_moe_block", default=count > 0):
        count = 0
    if count <= 1:
        return {}
    width = config.integer("moe_intermediate_size", "expert_intermediate_size", "intermediate_size")
    width = width or max(config.integers("moe_intermediate_size"), default=0)
    used = config.integer("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk", "top_k_experts")
    used = used or max(config.integers("moe_topk", "num_experts_per_tok"), default=1)
    fields: Fields = {
        "expert_count": count,
        "expert_used_count": min(used, count),
        "expert_ffn_dim": width,
        "moe_latent_dim": config.integer("moe_latent_size", "expert_latent_dim"),
    }
    return fields | _shared_experts(config, architecture)


def _shared_experts(config: Config, architecture: str) -> Fields:
    count = config.integer("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
    count = count if count is not None else max(config.integers("num_shared_expert"), default=0)
    width = config.integer(
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "share_expert_dim",
    )
    if architecture == "llama4" or (architecture == "hunyuan-moe" and not count):
        count = 1  # always there, so their configurations need not say so
    return {"shared_expert_count": count, "shared_expert_ffn_dim": width or None}


def _recurrent(config: Config, architecture: str) -> Fields:
    """Linear attention, state spaces and short convolutions."""
    kernel = config.integer(
        "linear_conv_kernel_dim", "mamba_d_conv", "conv_kernel", "conv_L_cache", "short_conv_kernel_size"
    )
    linear = Config(config.mapping("linear_attn_config") or {}, {})
    heads = linear.integer("num_heads") or config.integer("linear_num_heads")
    width = linear.integer("head_dim") or config.integer("linear_head_dim")
    if architecture in ("bailingmoe3", "kimi-linear", "kimi-k3", "glm5-next"):
        heads = heads or config.integer("num_attention_heads")
        width = width or config.integer("kda_head_dim", "head_dim")
    is_mamba2 = architecture == "mamba2"
    return {
        "linear_key_head_count": config.integer("linear_num_key_heads") or heads,
        "linear_value_head_count": config.integer("linear_num_value_heads") or heads,
        "linear_key_head_dim": config.integer("linear_key_head_dim") or width,
        "linear_value_head_dim": config.integer("linear_value_head_dim") or width,
        "conv_kernel_count": linear.integer("short_conv_kernel_size") or kernel,
        "ssm_state_dim": config.integer("mamba_d_state", "ssm_state_size", "state_size"),
        "ssm_head_count": config.integer("mamba_n_heads", "mamba_num_heads", *(("num_heads",) if is_mamba2 else ())),
        "ssm_head_dim": config.integer("mamba_d_head", "mamba_head_dim", *(("head_dim",) if is_mamba2 else ())),
        "ssm_group_count": config.integer("mamba_n_groups", "n_groups"),
    }


def _per_layer(config: Config) -> Fields:
    """Gemma's per-layer embedding."""
    width = config.integer("hidden_size_per_layer_input")
    vocab = config.integer("vocab_size_per_layer_input", "vocab_size") or 0
    if not width:
        return {}
    return {"ple_dim": width, "ple_embedding_params_count": width * config.layers_count * vocab}


def _active(model: ModelSpec) -> int:
    """Weights that one token multiplies; with experts, the looked-up embedding is left out."""
    geometry = model.geometry
    if geometry is None or not geometry.expert_count:
        return params_count(model)
    groups = weigh(model, "F16").groups
    counted = (group for group in groups if group.role not in (Role.EMBEDDING, Role.TOWER))
    return round(sum(group.params_count * group.used_frac for group in counted))
