"""Facts about the world: models, quantisations, files, chips and engines.

Every type is a frozen value. A field's suffix is its unit; ``None`` means unknown, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FileFormat(StrEnum):
    """How a model's weights are stored on disk."""

    GGUF = "gguf"
    SAFETENSORS = "safetensors"
    MLX = "mlx"


class Role(StrEnum):
    """What a weight tensor does, which decides when it is read."""

    EMBEDDING = "embedding"  # looked up: one row per token
    OUTPUT = "output"  # multiplied once per produced token
    ATTENTION = "attention"  # or whatever mixes tokens: linear attention, state space, convolution
    FFN = "ffn"  # dense feed-forward, shared experts included
    EXPERT = "expert"  # routed experts: only the chosen ones are read
    NORM = "norm"  # norms, biases, routers: small and kept in full precision
    TOWER = "tower"  # vision or audio encoder, multi-token-prediction head: outside the text path


class Mixer(StrEnum):
    """How a layer mixes tokens; the letters are those of ``layer_pattern`` in the source data."""

    FULL = "A"
    SLIDING = "S"
    MLA = "L"
    GATED_DELTA = "G"
    KDA = "K"
    MAMBA2 = "M"
    MAMBA1 = "m"
    SHORT_CONV = "C"
    ATTENTION_MAMBA2 = "B"
    LIGHTNING = "T"
    COMPRESSED = "V"
    NONE = "-"


class Ffn(StrEnum):
    """A layer's feed-forward kind; the letters are those of ``ffn_pattern`` in the source data."""

    DENSE = "d"
    MOE = "e"
    DENSE_AND_MOE = "x"
    NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a fact comes from, and when it was read."""

    source: str
    date: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A model's quality at one task on the catalog's common 0–100 scale, as an 80 % interval."""

    low: float
    mid: float
    high: float
    imputed: bool
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantSpec:
    """One quantisation: a ggml tensor type, a GGUF file type, or another format's scheme.

    ``bits_per_weight`` is nominal; exact bytes come from ``catalog.weights.weigh``.
    ``quality_loss_frac`` is the expected relative loss of task quality for an 8-billion-parameter model.
    """

    quant_id: str
    file_format: FileFormat
    bits_per_weight: float
    block_weights_count: int | None = None
    block_bytes: int | None = None
    kv_capable: bool = False
    quality_loss_frac: float | None = None
    kl_divergence: float | None = None
    citation: Citation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A language model's shape: everything needed to list its tensors and size its caches.

    ``mixers`` and ``ffns`` hold one letter per layer (see `Mixer` and `Ffn`).
    """

    mixers: str
    ffns: str
    hidden_dim: int
    vocab_count: int
    tied_embeddings: bool
    head_count: int
    kv_head_count: int
    head_dim: int
    ffn_dim: int | None = None
    ffn_dims: tuple[int, ...] = ()  # one per layer, where layers differ; ffn_dim is then the largest
    ffn_gated: bool = True
    v_head_dim: int | None = None
    qkv_bias: bool = False
    qk_norm: str | None = None  # "head" | "full"
    norms_per_layer: int = 2
    attention_output_gate: bool = False
    sliding_window_tokens: int | None = None
    # sliding layers, or global layers, whose heads differ from the default
    swa_head_count: int | None = None
    swa_kv_head_count: int | None = None
    global_head_dim: int | None = None
    global_kv_head_count: int | None = None
    k_equals_v_global: bool = False
    kv_shared_layers_count: int = 0
    # mixture of experts
    expert_count: int = 0
    expert_used_count: int = 0
    expert_ffn_dim: int | None = None
    shared_expert_count: int = 0
    shared_expert_ffn_dim: int | None = None
    moe_latent_dim: int | None = None
    # multi-head latent attention
    kv_lora_rank: int | None = None
    q_lora_rank: int | None = None
    qk_nope_head_dim: int | None = None
    qk_rope_head_dim: int | None = None
    index_head_count: int | None = None
    index_head_dim: int | None = None
    index_topk_count: int | None = None
    compress_ratios: tuple[int, ...] = ()
    o_groups_count: int | None = None
    o_lora_rank: int | None = None
    # linear attention and state space
    linear_key_head_count: int | None = None
    linear_value_head_count: int | None = None
    linear_key_head_dim: int | None = None
    linear_value_head_dim: int | None = None
    conv_kernel_count: int | None = None
    ssm_state_dim: int | None = None
    ssm_head_count: int | None = None
    ssm_head_dim: int | None = None
    ssm_group_count: int | None = None
    # per-layer embeddings (Gemma E models): looked up, never multiplied
    ple_dim: int | None = None
    ple_embedding_params_count: int = 0
    mtp_layers_count: int = 0
    # rotary factors stored beside the weights, per table; 0: none are; None: as is customary for the architecture
    rope_factors_count: int | None = None
    # exact cache sizes, in elements: per token in full-attention layers, per token in
    # sliding-window layers, and a constant recurrent state
    kv_full_elements_count: int = 0
    kv_sliding_elements_count: int = 0
    recurrent_state_elements_count: int = 0

    @property
    def layers_count(self) -> int:
        """Number of transformer blocks."""
        return len(self.mixers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One open-weight model. ``geometry`` is None where its shape is not known exactly."""

    model_id: str
    display_name: str
    org: str
    official: bool
    architecture: str | None  # llama.cpp's name, e.g. "qwen3moe"
    family: str | None = None
    release_date: str | None = None
    license_id: str | None = None
    params_total_count: int
    params_active_count: int | None = None
    geometry: Geometry | None = None
    geometry_note: str | None = None
    max_context_tokens: int | None = None
    modalities: frozenset[str] = frozenset({"text"})
    # instruct base embedding reranker vision coding math tool_use reasoning; and what keeps a model out of
    # every open task: guard reward classifier ocr speech translation diffusion late_interaction specialist experiment
    capabilities: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()  # the tasks it may be ranked for; none for base models and copies
    duplicate_of: str | None = None  # the canonical repository of the same weights
    derived_from: str | None = None  # the model it was tuned from
    released_as: str | None = None  # of a trial ("-Exp", "-Preview"): its maker's released model of that size
    released_tasks: frozenset[str] = frozenset()  # those of ``tasks`` that the released model may be ranked for
    extra_params_count: int | None = None  # stored weights outside the language model
    extra_params_kind: str | None = None  # "vision/audio" | "mtp" | "mtp+vision/audio"
    languages: tuple[str, ...] = ()
    repos: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # "gguf" -> ("org/name-GGUF", ...)
    official_quants: tuple[str, ...] = ()
    quants_seen: tuple[str, ...] = ()
    downloads_count: int | None = None
    tier: str = "extended"  # "core" | "extended"
    citation: Citation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One weight tensor as the engine names it.

    ``shape`` is in ggml order: the row length (the dimension that is quantised) first.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: int | None = None

    @property
    def params_count(self) -> int:
        """Number of weights."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightGroup:
    """All tensors of one role and storage type, summed.

    ``used_frac`` is the share that one token's forward pass reads (experts used / experts).
    """

    role: Role
    tensor_type: str
    params_count: int
    weight_bytes: int
    used_frac: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSpec:
    """The weights of one model at one quantisation, exact to the tensor where geometry is known.

    ``layer_bytes`` has one entry per block (all of it), ``expert_bytes`` the routed-expert part of each.
    ``exact`` is False when bytes are params × nominal bits.
    """

    model_id: str
    quant_id: str
    file_format: FileFormat
    file_bytes: int
    groups: tuple[WeightGroup, ...]
    layer_bytes: tuple[int, ...] = ()
    expert_bytes: tuple[int, ...] = ()
    exact: bool = True
    repo: str | None = None
    local_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipSpec:
    """A chip's data sheet. Rates are peaks; what a machine reaches is measured by the probes."""

    chip_id: str
    vendor: str
    kind: str  # gpu | apu | apple | cpu | accelerator
    architecture: str | None = None
    memory_bytes: int | None = None
    memory_bytes_per_s: float | None = None
    fp32_flop_per_s: float | None = None
    fp16_flop_per_s: float | None = None  # dense tensor-core or matrix rate
    int8_op_per_s: float | None = None
    unified: bool = False
    power_w: float | None = None
    price_usd: float | None = None
    launch_year: int | None = None
    bare_name: str = ""  # without memory size and core count: shared by a chip's variants
    memory_choices_bytes: tuple[int, ...] = ()  # what it is sold with, where that varies
    note: str | None = None
    aliases: tuple[str, ...] = ()
    pci_ids: tuple[str, ...] = ()
    citation: Citation | None = None
