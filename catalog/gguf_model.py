"""A model's shape read back from a GGUF: its layers from the tensors there are, the rest from its keys."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.architectures.blocks import find_architecture, slides_every
from catalog.architectures.caches import with_cache_sizes
from catalog.architectures.table import ARCHITECTURES
from catalog.gguf_header import HeaderTensor, MetadataValue
from catalog.types import Ffn, Geometry, Mixer, Role

Fields = dict[str, Any]  # keyword arguments of `Geometry`

_LAYER = re.compile(r"blk\.(\d+)\.(.+)")
_MAX_LAYERS_COUNT = 1024
_TOWER_PREFIXES = ("v.", "a.", "mm.", "enc.", "nextn.")
_LOOKED_UP = frozenset({"per_layer_token_embd.weight", "position_embd.weight", "token_types.weight"})
_KEPT_SMALL = ("_norm", "ffn_gate_inp", "exp_probs_b", "ssm_conv1d", "shortconv.conv", "attn_sinks", "ssm_a", "ssm_d")

_LLAMA4_CHUNK_TOKENS = 8192  # its loader's constant; files do not state it


def role_of(name: str, *, tied: bool, encoder: bool, dimensions: int) -> Role:
    """What a tensor does, by its name."""
    layer = _LAYER.match(name)
    part = layer.group(2) if layer else name
    if name == "token_embd.weight":
        return Role.OUTPUT if tied and not encoder else Role.EMBEDDING
    if name == "output.weight":
        return Role.OUTPUT
    if name in _LOOKED_UP:
        return Role.EMBEDDING
    if name.startswith(_TOWER_PREFIXES) or part.startswith("nextn."):
        return Role.TOWER
    if dimensions < 2 or not part.endswith(".weight") or part.startswith(_KEPT_SMALL) or "_norm." in part:
        return Role.NORM
    if "_exps." in part:
        return Role.EXPERT
    return Role.FFN if part.startswith(("ffn", "inp_gate", "proj", "altup", "laurel", "per_layer")) else Role.ATTENTION


@dataclass(frozen=True, slots=True)
class Facts:
    """A header's keys, read with a type in mind and without their architecture prefix."""

    architecture: str
    metadata: Mapping[str, MetadataValue]

    def value(self, key: str) -> MetadataValue | None:
        """The raw value of an architecture key."""
        return self.metadata.get(f"{self.architecture}.{key}")

    def integer(self, key: str) -> int | None:
        """A whole number, or None where it is missing or of another type."""
        value = self.value(key)
        return value if type(value) is int and value >= 0 else None

    def each(self, key: str, count: int) -> list[int] | None:
        """A number per layer, from one number or an array; None where missing or malformed."""
        value = self.value(key)
        if type(value) is int:
            return [value] * count
        if isinstance(value, tuple) and len(value) >= count and all(isinstance(v, int) for v in value):
            return [int(v) for v in value[:count]]
        return None


def layers_of(tensors: Iterable[HeaderTensor]) -> dict[int, dict[str, tuple[int, ...]]]:
    """Shapes of each layer's tensors by the part of their names behind the layer's number."""
    layers: dict[int, dict[str, tuple[int, ...]]] = {}
    for tensor in tensors:
        match = _LAYER.match(tensor.name)
        if match and int(match.group(1)) < _MAX_LAYERS_COUNT:
            layers.setdefault(int(match.group(1)), {})[match.group(2)] = tensor.shape
    return layers


def nextn_layers(layers: Mapping[int, Mapping[str, object]]) -> list[int]:
    """The multi-token-prediction blocks among the layers."""
    return [index for index, parts in layers.items() if "nextn.eh_proj.weight" in parts]


def geometry_of(facts: Facts, tensors: Sequence[HeaderTensor], top: Mapping[str, tuple[int, ...]]) -> Geometry | None:
    """The model's shape, or None where the file has no language model's keys and layers."""
    every = layers_of(tensors)
    predicting = set(nextn_layers(every))
    layers = [every[index] for index in sorted(every) if index not in predicting]
    hidden, embedding = facts.integer("embedding_length"), top.get("token_embd.weight")
    heads = facts.each("attention.head_count", len(layers)) or [0]
    if not layers or not hidden or embedding is None or len(embedding) != 2:
        return None
    mixers = _mixers(facts, layers)
    kv_heads = facts.each("attention.head_count_kv", len(layers)) or heads * (len(layers) // len(heads))
    widths = [parts["ffn_down.weight"][0] if "ffn_down.weight" in parts else 0 for parts in layers]
    geometry = Geometry(
        mixers="".join(mixers),
        ffns="".join(_ffn(parts) for parts in layers),
        hidden_dim=hidden,
        vocab_count=embedding[1],
        tied_embeddings="output.weight" not in top,
        ffn_dim=max(widths) or None,
        ffn_dims=tuple(widths) if len(set(widths) - {0}) > 1 else (),
        mtp_layers_count=len(predicting),
        rope_factors_count=math.prod(top.get("rope_freqs.weight") or top.get("rope_factors_long.weight") or (0,)),
        **_attention(facts, layers, mixers, heads, kv_heads),
        **_experts(facts, layers),
        **_latent(facts, len(layers)),
        **_recurrent(facts, mixers),
        **_per_layer_embedding(top, len(layers)),
    )
    return with_cache_sizes(geometry)


def _mixers(facts: Facts, layers: Sequence[Mapping[str, object]]) -> list[Mixer]:
    sliding = _sliding(facts, len(layers))
    mixers = []
    for parts, slides in zip(layers, sliding, strict=True):
        mixer = _mixer(facts.architecture, parts)
        mixers.append(Mixer.SLIDING if mixer is Mixer.FULL and slides else mixer)
    return mixers


_MARKS = (
    ("ssm_conv1d_q.weight", Mixer.KDA),
    ("shortconv.conv.weight", Mixer.SHORT_CONV),
    ("ssm_x.weight", Mixer.MAMBA1),
    ("ssm_ba.weight", Mixer.GATED_DELTA),
    ("ssm_alpha.weight", Mixer.GATED_DELTA),
    ("attn_kv_a_mqa.weight", Mixer.MLA),
    ("attn_output_a.weight", Mixer.COMPRESSED),
)


def _mixer(architecture: str, parts: Mapping[str, object]) -> Mixer:
    """A layer's mixer by the tensor that only this kind has."""
    for mark, mixer in _MARKS:
        if mark in parts:
            return mixer
    attends = "attn_q.weight" in parts or "attn_qkv.weight" in parts
    if "ssm_in.weight" in parts:
        return Mixer.ATTENTION_MAMBA2 if attends else Mixer.MAMBA2
    if architecture == "minimax-01" and "attn_qkv.weight" in parts:
        return Mixer.LIGHTNING
    return Mixer.FULL if attends else Mixer.NONE


def _sliding(facts: Facts, count: int) -> list[bool]:
    """Which layers attend to a window only."""
    architecture = facts.architecture
    window = facts.integer("attention.sliding_window")
    if architecture == "llama4" and window is None:
        window = _LLAMA4_CHUNK_TOKENS
    if not window or architecture == "phi3":
        return [False] * count
    stated = facts.value("attention.sliding_window_pattern")
    if isinstance(stated, tuple) and len(stated) >= count:
        return [bool(value) for value in stated[:count]]
    every = find_architecture(architecture).sliding_every
    if type(stated) is int and stated > 0:
        every = -stated if every < 0 else stated
    return slides_every(every, count)


def _ffn(parts: Mapping[str, object]) -> Ffn:
    dense, mixed = "ffn_down.weight" in parts, "ffn_gate_inp.weight" in parts
    if mixed:
        return Ffn.DENSE_AND_MOE if dense else Ffn.MOE
    return Ffn.DENSE if dense else Ffn.NONE


def _attention(
    facts: Facts,
    layers: Sequence[Mapping[str, tuple[int, ...]]],
    mixers: Sequence[Mixer],
    heads: Sequence[int],
    kv_heads: Sequence[int],
) -> Fields:
    hidden = facts.integer("embedding_length") or 0
    full_heads, slide_heads = _by_kind(heads, mixers)
    full_kv, slide_kv = _by_kind(kv_heads, mixers)
    key = facts.integer("attention.key_length") or (hidden // full_heads if full_heads else 0)
    slide_key = facts.integer("attention.key_length_swa")
    value = facts.integer("attention.value_length") or key
    split_heads = slide_key is not None and slide_key != key
    latent = facts.integer("attention.kv_lora_rank") is not None
    nope_and_rope = facts.integer("attention.key_length_mla")
    parts = {name for layer in layers for name in layer}
    return {
        "head_count": full_heads,
        "kv_head_count": full_heads if latent else (slide_kv if split_heads and slide_kv else full_kv) or full_heads,
        "head_dim": (nope_and_rope or key) if latent else (slide_key or key),
        "v_head_dim": (facts.integer("attention.value_length_mla") or value)
        if latent
        else (value if value != key else None),
        "swa_head_count": slide_heads if slide_heads != full_heads else None,
        "swa_kv_head_count": slide_kv if not split_heads and slide_kv != full_kv else None,
        "global_head_dim": key if split_heads else None,
        "global_kv_head_count": full_kv if split_heads and full_kv != slide_kv else None,
        "k_equals_v_global": any("attn_k.weight" in layer and "attn_v.weight" not in layer for layer in layers),
        "kv_shared_layers_count": facts.integer("attention.shared_kv_layers") or 0,
        "qkv_bias": bool({"attn_q.bias", "attn_qkv.bias"} & parts),
        "qk_norm": _query_norm(layers, (nope_and_rope or key)),
        "attention_output_gate": find_architecture(facts.architecture).gated_query,
        "sliding_window_tokens": facts.integer("attention.sliding_window") or None,
        "ffn_gated": _is_gated(facts.architecture, parts),
    }


def _is_gated(architecture: str, parts: set[str]) -> bool:
    gates = {"ffn_gate.weight", "ffn_gate_exps.weight", "ffn_gate_up_exps.weight"}
    return bool(gates & parts) or find_architecture(architecture).ffn == "joined"


def _by_kind(counts: Sequence[int], mixers: Sequence[Mixer]) -> tuple[int, int | None]:
    """The count of layers that attend to everything (the largest if none does), and of sliding layers."""
    full = [count for count, mixer in zip(counts, mixers, strict=False) if mixer is not Mixer.SLIDING and count]
    sliding = [count for count, mixer in zip(counts, mixers, strict=False) if mixer is Mixer.SLIDING]
    common = Counter(full or sliding or counts).most_common(1)[0][0]
    return common, (sliding[0] if sliding else None)


def _query_norm(layers: Sequence[Mapping[str, tuple[int, ...]]], head_dim: int) -> str | None:
    for parts in layers:
        shape = parts.get("attn_q_norm.weight")
        if shape is not None:
            return "head" if math.prod(shape) == head_dim else "full"
    return None


def _experts(facts: Facts, layers: Sequence[Mapping[str, tuple[int, ...]]]) -> Fields:
    mixed = next((parts for parts in layers if "ffn_down_exps.weight" in parts), None)
    used = facts.each("expert_used_count", len(layers))
    if mixed is None or not used:
        return {}
    width, latent, count = (*mixed["ffn_down_exps.weight"], 1, 1, 1)[:3]
    shared = mixed.get("ffn_down_shexp.weight")
    hidden = facts.integer("embedding_length")
    return {
        "expert_count": count,
        "expert_used_count": max(used),
        "expert_ffn_dim": width,
        "shared_expert_count": int(shared is not None) and (facts.integer("expert_shared_count") or 1),
        "shared_expert_ffn_dim": shared[0] if shared else None,
        "moe_latent_dim": latent if latent != hidden else None,
    }


def _latent(facts: Facts, layers_count: int) -> Fields:
    rank, rope = facts.integer("attention.kv_lora_rank"), facts.integer("rope.dimension_count")
    if rank is None and facts.integer("attention.q_lora_rank") is None:
        return {}
    key = facts.integer("attention.key_length_mla") or facts.integer("attention.key_length") or 0
    ratios = facts.each("attention.compress_ratios", layers_count)
    return {
        "kv_lora_rank": rank,
        "q_lora_rank": facts.integer("attention.q_lora_rank") or None,
        "qk_rope_head_dim": rope,
        "qk_nope_head_dim": key - (rope or 0) if rank else None,
        "index_head_count": facts.integer("attention.indexer.head_count"),
        "index_head_dim": facts.integer("attention.indexer.key_length"),
        "index_topk_count": facts.integer("attention.indexer.top_k"),
        "compress_ratios": tuple(ratios or ()),
        "o_groups_count": facts.integer("attention.output_group_count"),
        "o_lora_rank": facts.integer("attention.output_lora_rank"),
    }


def _recurrent(facts: Facts, mixers: Sequence[Mixer]) -> Fields:
    state, inner = facts.integer("ssm.state_size"), facts.integer("ssm.inner_size") or 0
    rank, groups = facts.integer("ssm.time_step_rank") or 0, facts.integer("ssm.group_count")
    kernel = facts.integer("ssm.conv_kernel") or facts.integer("shortconv.l_cache")
    if Mixer.GATED_DELTA in mixers:
        return {
            "linear_key_head_count": groups,
            "linear_value_head_count": rank,
            "linear_key_head_dim": state,
            "linear_value_head_dim": inner // rank if rank else None,
            "conv_kernel_count": kernel,
        }
    if Mixer.KDA in mixers or Mixer.LIGHTNING in mixers:
        heads = max(facts.each("attention.head_count", 1) or [0])
        head_dim = facts.integer("kda.head_dim") or facts.integer("attention.key_length")
        return {
            "linear_key_head_count": heads,
            "linear_value_head_count": heads,
            "linear_key_head_dim": head_dim,
            "linear_value_head_dim": head_dim,
            "conv_kernel_count": kernel,
        }
    if Mixer.MAMBA2 in mixers or Mixer.ATTENTION_MAMBA2 in mixers:
        return {
            "ssm_head_count": rank,
            "ssm_head_dim": inner // rank if rank else None,
            "ssm_state_dim": state,
            "ssm_group_count": groups,
            "conv_kernel_count": kernel,
        }
    return {"ssm_state_dim": state, "conv_kernel_count": kernel}


def _per_layer_embedding(top: Mapping[str, tuple[int, ...]], count: int) -> Fields:
    shape = top.get("per_layer_token_embd.weight")
    if shape is None or len(shape) != 2:
        return {}
    return {"ple_dim": shape[0] // count, "ple_embedding_params_count": math.prod(shape)}


def is_known(architecture: str) -> bool:
    """Whether the architecture's tensors are known by name."""
    return architecture in ARCHITECTURES
