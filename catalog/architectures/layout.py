"""The pieces an architecture is described with: tensors, layer kinds and switches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from catalog.types import Ffn, Geometry, Mixer, Role


class Tensor(NamedTuple):
    """A weight tensor of one layer kind: ``blk.N.`` + ``name``, its ggml shape and its role."""

    name: str
    shape: tuple[int, ...]
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What tells one layer from another, as far as its tensors go.

    ``ffn_dim`` is the dense feed-forward width (0: none). ``compress_ratio`` and ``hashed_router`` are
    those of DeepSeek-V4. ``nextn`` marks a multi-token-prediction block behind the last layer.
    """

    mixer: Mixer
    ffn: Ffn
    ffn_dim: int = 0
    compress_ratio: int = 0
    hashed_router: bool = False
    first: bool = False
    indexed: bool = True
    nextn: bool = False


Builder = Callable[["Site"], list[Tensor]]
MetadataValue = str | int | float | bool | tuple[int, ...] | tuple[float, ...] | tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How one architecture departs from the plain Llama block. Names are llama.cpp's.

    Attributes:
        norms: per-layer norm weights of the hidden width.
        bare_norms: those of them whose name lacks the customary ``.weight``.
        norm_bias: norms have a bias (layer norm instead of RMS norm).
        output_norm: name of the final norm, or None.
        fused_qkv: query, key and value are one ``attn_qkv`` tensor.
        gated_query: the query projection also makes the output gate, so it is twice as wide.
        qk_norm: "head" (one head's width), "full" (all heads), "heads" (two-dimensional) or None.
        qk_norm_from_layers: the loader expects them only in models of at least so many layers.
        attention_bias: the attention output projection has a bias.
        attention_gate: a separate ``attn_gate``: "head" (one value per head) or "element".
        sinks: one learned sink per query head.
        ffn: "gated" (gate, up, down), "joined" (gate and up in one tensor) or "plain" (up, down).
        expert_ffn: the same for routed experts.
        experts_use_ffn_length: the loader reads the experts' width from ``feed_forward_length``.
        score_bias: name of the router's load-balancing bias.
        shared_gate: the shared expert has its own sigmoid gate.
        output: "tied" (never a separate output matrix), "own" (always) or "geometry".
        encoder: no output matrix is used: embeddings come out.
        nextn: files carry the multi-token-prediction blocks.
        nextn_ffn, nextn_slides, nextn_norms, nextn_output_norm: how those blocks depart from the layers.
        nextn_matrices_count: vocabulary-sized matrices of their own (output, embedding) that they carry.
        mixers: builders of the token mixers that are not plain attention.
        rope_frac: share of a head that is rotated.
        sliding_every: where a file does not say which layers slide, one in so many does not: the last of
            each group, or (negative) the first; 0: none slides unless the file says so.
        layer_extras, top_extras: builders of what only this family has.
    """

    name: str
    norms: tuple[str, ...] = ("attn_norm", "ffn_norm")
    bare_norms: frozenset[str] = frozenset()
    norm_bias: bool = False
    output_norm: str | None = "output_norm"
    fused_qkv: bool = False
    gated_query: bool = False
    qk_norm: str | None = None
    qk_norm_from_layers: int = 0
    attention_bias: bool = False
    attention_gate: str | None = None
    sinks: bool = False
    ffn: str = "gated"
    ffn_bias: bool = False
    expert_ffn: str = "gated"
    expert_bias: bool = False
    experts_use_ffn_length: bool = False
    score_bias: str | None = None
    shared_gate: bool = False
    shared_ffn: str = "gated"
    output: str = "geometry"
    output_bias: bool = False
    encoder: bool = False
    nextn: bool = False
    nextn_ffn: Ffn | None = None
    nextn_slides: bool = False
    nextn_norms: tuple[str, ...] = ()
    nextn_output_norm: str = "nextn.shared_head_norm"
    nextn_matrices_count: int = 0
    rope_frac: float = 1.0
    sliding_every: int = 0
    mixers: Mapping[Mixer, Builder] = field(default_factory=dict)
    layer_extras: Builder | None = None
    top_extras: Builder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a builder builds: a layer kind of one model, or (``layer`` unset) the model's top level."""

    arch: Architecture
    geometry: Geometry
    context_tokens: int
    layer: Layer = field(default_factory=lambda: Layer(mixer=Mixer.NONE, ffn=Ffn.NONE))

    @property
    def head_count(self) -> int:
        """Query heads of this layer."""
        sliding = self.layer.mixer is Mixer.SLIDING
        return (self.geometry.swa_head_count if sliding else None) or self.geometry.head_count

    @property
    def kv_head_count(self) -> int:
        """Key and value heads of this layer."""
        sliding = self.layer.mixer is Mixer.SLIDING
        special = self.geometry.swa_kv_head_count if sliding else self.geometry.global_kv_head_count
        return special or self.geometry.kv_head_count

    @property
    def head_dim(self) -> int:
        """Width of one query or key head of this layer."""
        sliding = self.layer.mixer is Mixer.SLIDING
        return (None if sliding else self.geometry.global_head_dim) or self.geometry.head_dim


def matrix(name: str, columns: int, rows: int, role: Role) -> Tensor:
    """A two-dimensional weight; ``columns`` is the input width, the dimension that is quantised."""
    return Tensor(f"{name}.weight", (columns, rows), role)


def vector(name: str, size: int, suffix: str = ".weight") -> Tensor:
    """A norm weight, a bias or another small vector."""
    return Tensor(f"{name}{suffix}", (size,), Role.NORM)
