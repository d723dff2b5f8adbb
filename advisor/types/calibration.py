"""The rates of a machine, and the calibration they came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from advisor.types.prediction import SCHEMA_VERSION, Basis
from advisor.types.validation import EngineBuild


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRates:
    """What attention costs heads of one shape: seconds per flop, up to `advisor.attention.NEAR_TOKENS` and beyond."""

    head_dim: int
    kv_heads_count: int
    queries_per_kv_head: float
    flash: bool = True
    kv_quant_id: str = "f16"
    prefill_s_per_flop: float
    deep_prefill_s_per_flop: float
    decode_s_per_flop: float
    deep_decode_s_per_flop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one device achieves with one engine backend: the coefficients of the cost model.

    Per weight type: seconds per weight byte while decoding one token, and seconds per flop
    while working through a prompt. ``*_sigma`` is the standard deviation of the logarithm of the
    whole phase's time around the prediction.
    """

    device_id: str
    backend: str
    basis: Basis
    decode_s_per_byte: Mapping[str, float]  # by tensor type, with "*" for every other type
    prefill_s_per_flop: Mapping[str, float]
    kv_s_per_byte: float
    attention_s_per_flop: float
    decode_s_per_layer: float = 0.0
    decode_s_per_moe_layer: float = 0.0
    cached_bytes: float = 0.0  # weights that stay in the last-level cache from one token to the next
    decode_s_per_operation: float = 0.0  # graph node: a launch on a GPU, a barrier on a CPU
    fuses: bool = False  # operations that kernels can take together are priced by the layer of a mixture
    decode_s_per_token: float = 0.0
    decode_s_per_flop: float = 0.0
    decode_s_per_activation: float = 0.0  # per layer and hidden dimension
    decode_s_per_logit: float = 0.0  # copied back from an accelerator
    decode_s_per_cached_token: float = 0.0  # once per token, however many layers: cells to look through and to mask
    decode_expert_factor: float = 1.0  # time of a routed-expert byte relative to a dense one
    output_factor: float = 1.0  # time of an output-layer byte relative to one of the layers
    decode_attention_s_per_flop: float = 0.0
    state_s_per_byte: float = 0.0  # recurrent state, decoding
    state_s_per_flop: float = 0.0  # recurrent state, per prompt token
    prefill_s_per_activation: float = 0.0  # per token, layer and hidden dimension
    prefill_s_per_value: float = 0.0  # per value of a token that an operation takes in; instead of activations
    prefill_s_per_routed_activation: float = 0.0  # per token, chosen expert and value it takes in or works on
    prefill_s_per_layer: float = 0.0  # per micro-batch
    prefill_s_per_operation: float = 0.0  # graph node, per micro-batch
    prefill_s_per_embedded_value: float = 0.0  # embeddings copied to an accelerator
    host_s_per_pass: float = 0.0  # what the processor does before an accelerator can begin a micro-batch: once,
    host_s_per_token: float = 0.0  # per token,
    host_s_per_mask_cell: float = 0.0  # per token and token it may look back on,
    host_s_per_embedded_value: Mapping[str, float] = field(default_factory=dict)  # looked up, by type of the embeddings
    host_s_per_moe_layer: float = 0.0  # what launching routed experts takes beyond that, per micro-batch
    host_s_per_launch: float = 0.0  # graph node of a prompt, launched while the accelerator works on those before
    prefill_moe_factor: float = 1.0  # time of routed-expert flop relative to dense flop
    ubatch_half_tokens: float = 0.0  # micro-batch at which prefill runs at half its full rate
    expert_half_tokens: float = 0.0  # the same for the tokens that reach one expert
    prefill_s_per_byte: float = 0.0  # weights swept once per micro-batch
    prefill_s_per_moe_layer: float = 0.0  # per micro-batch
    batch_matvec_factor: float = 1.0  # time of a further user's flop in a matrix-vector kernel, relative to prefill's
    batch_half_tokens: float | None = None  # users at which a matrix kernel runs at half its rate; None: there is none
    batch_s_per_operation: float = 0.0  # graph node of several users: what it costs more than in a single user's graph
    experts_reread: bool = False  # matrix-vector kernels read an expert again for each user who wakes it
    decode_s_per_dot: Mapping[str, float] = field(default_factory=dict)  # row times token, by `roofline.kernel_kind`
    prefill_s_per_dot: float = 0.0  # the same for a prompt's tokens, where kernels take them row by row
    related_types: tuple[str, ...] = ()  # types with rates of a like type, none of their own
    repacked_types: tuple[str, ...] = ()  # types the CPU multiplies several rows of at once
    expert_s_per_dot: Mapping[str, float] = field(default_factory=dict)  # an expert's, beyond that
    expert_s_per_byte: Mapping[str, float] = field(default_factory=dict)  # expert fetched for a micro-batch
    attention: tuple[AttentionRates, ...] = ()  # by shape of heads, before the rates for any shape
    kv_decode_factors: Mapping[str, float] = field(default_factory=dict)  # time of an attention flop from caches of a
    kv_prefill_factors: Mapping[str, float] = field(default_factory=dict)  # type, relative to F16; for any shape alike
    attention_s_per_score: float = 0.0  # without flash attention the score matrix goes through memory
    decode_sigma: float = 0.3
    prefill_sigma: float = 0.4
    threads_count: int | None = None
    memory_bytes_per_s: float | None = None  # the roof no estimate may pass
    flop_per_s: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Rates measured through the engine on this machine, and the samples they were fitted from."""

    calibration_id: str
    profile_id: str
    engine: EngineBuild
    created_at: str
    rates: tuple[Rates, ...]
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    polluted: bool = False
    schema_version: int = SCHEMA_VERSION
    kind: str = "calibration"
