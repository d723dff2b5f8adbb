"""A raw model record's shape as `catalog.types.Geometry` fields."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.tensors import params_count
from catalog.types import Ffn, Geometry, Mixer, ModelSpec

_MIXER_BY_NAME = {
    "attn": Mixer.FULL,
    "swa": Mixer.SLIDING,
    "mla": Mixer.MLA,
    "linear": Mixer.GATED_DELTA,
    "kda": Mixer.KDA,
    "mamba2": Mixer.MAMBA2,
    "mamba1": Mixer.MAMBA1,
    "conv": Mixer.SHORT_CONV,
    "attn+mamba2": Mixer.ATTENTION_MAMBA2,
    "lightning": Mixer.LIGHTNING,
    "v4": Mixer.COMPRESSED,
    "none": Mixer.NONE,
}
_FFN_BY_NAME = {"dense": Ffn.DENSE, "moe": Ffn.MOE, "dense+moe": Ffn.DENSE_AND_MOE, "none": Ffn.NONE}

# Geometry field <- raw field, copied as is where present
_COPIED = {
    "hidden_dim": "hidden_size",
    "vocab_count": "vocab_size",
    "tied_embeddings": "tie_embeddings",
    "head_count": "n_heads",
    "kv_head_count": "n_kv_heads",
    "head_dim": "head_dim",
    "ffn_gated": "mlp_gated",
    "v_head_dim": "v_head_dim",
    "qkv_bias": "qkv_bias",
    "qk_norm": "qk_norm",
    "norms_per_layer": "norms_per_layer",
    "attention_output_gate": "attn_output_gate",
    "sliding_window_tokens": "sliding_window",
    "swa_head_count": "swa_n_heads",
    "swa_kv_head_count": "swa_n_kv_heads",
    "global_head_dim": "global_head_dim",
    "global_kv_head_count": "global_n_kv_heads",
    "k_equals_v_global": "k_eq_v_global",
    "kv_shared_layers_count": "num_kv_shared_layers",
    "expert_count": "n_experts",
    "expert_used_count": "n_experts_used",
    "expert_ffn_dim": "moe_intermediate_size",
    "shared_expert_count": "n_shared_experts",
    "shared_expert_ffn_dim": "shared_expert_intermediate_size",
    "moe_latent_dim": "moe_latent_size",
    "kv_lora_rank": "kv_lora_rank",
    "q_lora_rank": "q_lora_rank",
    "qk_nope_head_dim": "qk_nope_head_dim",
    "qk_rope_head_dim": "qk_rope_head_dim",
    "index_head_count": "index_n_heads",
    "index_head_dim": "index_head_dim",
    "index_topk_count": "index_topk",
    "compress_ratios": "compress_ratios",
    "o_groups_count": "o_groups",
    "o_lora_rank": "o_lora_rank",
    "linear_key_head_count": "linear_num_key_heads",
    "linear_value_head_count": "linear_num_value_heads",
    "linear_key_head_dim": "linear_key_head_dim",
    "linear_value_head_dim": "linear_value_head_dim",
    "conv_kernel_count": "conv_kernel",
    "ssm_state_dim": "mamba_d_state",
    "ssm_head_count": "mamba_n_heads",
    "ssm_head_dim": "mamba_head_dim",
    "ssm_group_count": "mamba_n_groups",
    "ple_dim": "ple_dim",
    "ple_embedding_params_count": "ple_embed_params",
    "mtp_layers_count": "mtp_layers",
    "kv_full_elements_count": "kv_elems_per_token_full",
    "kv_sliding_elements_count": "kv_elems_per_token_swa",
    "recurrent_state_elements_count": "recurrent_state_elems",
}

# The fields that make up a shape, for copying a whole shape from one record to another.
_SHAPE_KEYS = frozenset(_COPIED.values()) | {
    "n_layers", "intermediate_size", "layer_mix", "layer_pattern", "ffn_mix", "ffn_pattern", "first_k_dense",
    "moe_layer_step", "params_total", "params_active", "params_extra_stored", "params_extra_kind",
}  # fmt: skip
_MISSING = object()
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Geometry)}
_LOST_EXPERTS_FRAC = 0.5
# What must agree, where it is stated, for a shape to be another model's.
_TELLING_KEYS = ("n_layers", "hidden_size", "vocab_size", "n_heads", "n_kv_heads", "head_dim", "intermediate_size")
_PLAIN_KEYS = _TELLING_KEYS
_PLAIN_ARCHITECTURES = frozenset({"bert", "modern-bert", "eurobert", "llama", "qwen2", "qwen3"})
_POOLING_FRAC = 0.005  # BERTs store a pooling layer that no converter keeps

_STATUS_NOTES = {
    "none": "its layers are not published in a form that was read",
    "fields_only": "its configuration is known but its parameter count could not be recomputed from it",
    "fields_only_unreconciled": "parameters computed from its configuration differ from the stated count",
    "approx": "parameters computed from its configuration differ from the stated count",
}


def mend_geometry(raws: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records whose shape was inherited without its experts get another donor's shape, or lose it.

    Such a record computes to less than half of its stored parameters. A donor has the same
    architecture and exactly the stored parameter count. A record that only has some fields gets the shape
    of a donor that agrees with all of them, or a plain transformer's where that comes to its stored count.
    """
    donors = {
        (raw.get("gguf_arch"), raw["params_total"]): raw
        for raw in raws
        if raw["geometry_complete"] and raw["geometry_status"] in {"exact", "lm_plus_extra"}
    }
    mended = []
    for raw in raws:
        stored = raw.get("params_stored") or 0
        computed = raw["params_total"] + (raw.get("params_extra_stored") or 0)
        if not raw["geometry_complete"]:
            alike = donors.get((raw.get("gguf_arch"), stored or raw["params_total"]))
            mended.append(_completed(raw, alike))
            continue
        if computed >= _LOST_EXPERTS_FRAC * stored:
            mended.append(dict(raw))
            continue
        donor = donors.get((raw.get("gguf_arch"), stored))
        bare = {key: value for key, value in raw.items() if key not in _SHAPE_KEYS} | {"params_total": stored}
        if donor:
            shape = {key: donor[key] for key in _SHAPE_KEYS if key in donor}
            mended.append({**bare, **shape, "geometry_status": f"identical parameter count to {donor['hf_id']}"})
        else:
            status = "the shape it was given lacks its experts"
            mended.append({**bare, "geometry_complete": False, "geometry_status": status})
    return mended


def _completed(raw: Mapping[str, Any], donor: Mapping[str, Any] | None) -> dict[str, Any]:
    """A record that only has some fields with the rest of its shape, where that is certain; else unchanged."""
    if donor and all(raw.get(key) in (None, donor.get(key)) for key in _TELLING_KEYS):
        shape = {key: donor[key] for key in _SHAPE_KEYS - {"params_total", "params_active"} if key in donor}
        counts = {"params_total": donor["params_total"], "params_active": donor.get("params_active")}
        status = f"identical parameter count to {donor['hf_id']}"
        return {**raw, **shape, **counts, "geometry_complete": True, "geometry_status": status}
    return _as_plain_transformer(raw) or dict(raw)


def _as_plain_transformer(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record as equal layers of full attention and one feed-forward, if that meets its stored count."""
    stored, layers = raw.get("params_stored"), raw.get("n_layers")
    if raw.get("gguf_arch") not in _PLAIN_ARCHITECTURES or not stored or not layers or raw.get("n_experts"):
        return None
    if any(not isinstance(raw.get(key), int) for key in _PLAIN_KEYS):
        return None
    for tied in (True, False):  # an encoder, which has no output matrix, counts as tied
        shape = {
            **{key: raw[key] for key in _PLAIN_KEYS},
            "layer_mix": {"attn": layers},
            "ffn_mix": {"dense": layers},
            "tie_embeddings": tied,
            "mlp_gated": raw["gguf_arch"] != "bert",
            "kv_elems_per_token_full": 2 * layers * raw["n_kv_heads"] * raw["head_dim"],
            "kv_elems_per_token_swa": 0,
            "recurrent_state_elems": 0,
        }
        whole = {**raw, **shape, "params_total": stored, "params_active": stored, "geometry_complete": True}
        error_frac = _computed_params(whole) / stored - 1
        if abs(error_frac) <= (_POOLING_FRAC if raw["gguf_arch"] == "bert" else 0.0):
            status = f"read as a plain transformer, which comes within {abs(error_frac):.2%} of its stored count"
            return {**whole, "geometry_status": status if error_frac else "exact"}
    return None


def _computed_params(raw: Mapping[str, Any]) -> int:
    fields = geometry_fields(raw)
    geometry = Geometry(**fields) if fields else None
    return params_count(
        ModelSpec(
            model_id=raw["hf_id"],
            display_name=raw["hf_id"],
            org=raw["org"],
            official=False,
            architecture=raw["gguf_arch"],
            params_total_count=raw["params_total"],
            geometry=geometry,
            max_context_tokens=raw.get("context_length"),
        )
    )


def geometry_fields(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Keyword arguments for `Geometry`, or None where the record's shape is not exact."""
    if not raw["geometry_complete"]:
        return None
    fields = {name: raw[key] for name, key in _COPIED.items() if raw.get(key) is not None}
    for name in ("kv_full_elements_count", "kv_sliding_elements_count", "recurrent_state_elements_count"):
        fields[name] = round(fields[name])
    fields["mixers"] = _letters(raw, "layer_pattern", "layer_mix", _MIXER_BY_NAME)
    fields["ffns"] = _letters(raw, "ffn_pattern", "ffn_mix", _FFN_BY_NAME)
    ffn_dim = raw.get("intermediate_size")
    if isinstance(ffn_dim, list):
        fields["ffn_dims"] = ffn_dim
        ffn_dim = max(ffn_dim)
    fields["ffn_dim"] = ffn_dim
    return {name: value for name, value in fields.items() if value != _DEFAULTS.get(name, _MISSING)}


def geometry_note(raw: Mapping[str, Any]) -> str | None:
    """Why a record has no exact geometry, or what its recomputed parameters leave out; None if exact."""
    status = str(raw["geometry_status"])
    if not raw["geometry_complete"]:
        return _STATUS_NOTES.get(status, status.replace("_", " "))
    extra = raw.get("params_extra_stored")
    if extra:
        return f"{extra:,} further stored parameters are outside the language model ({raw['params_extra_kind']})"
    return None if status == "exact" else status.replace("_", " ")


def _letters(raw: Mapping[str, Any], pattern_key: str, mix_key: str, letter_by_name: Mapping[str, str]) -> str:
    """One letter per layer: the record's pattern, or its only kind repeated.

    Raises:
        ValueError: if a mixed record names no order, or letters and layers differ in number.
    """
    pattern = raw.get(pattern_key)
    if pattern is None:
        mix = raw[mix_key]
        if len(mix) != 1:
            raise ValueError(f"{raw['hf_id']}: {mix_key} {mix} has several kinds but no {pattern_key}")
        [(name, count)] = mix.items()
        pattern = letter_by_name[name] * count
    if len(pattern) != raw["n_layers"]:
        raise ValueError(f"{raw['hf_id']}: {pattern_key} has {len(pattern)} letters for {raw['n_layers']} layers")
    return str(pattern)
