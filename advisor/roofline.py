"""Seconds from work: the cost model, and the only place where it is written down.

A step's time is a sum of terms, each linear in one coefficient of `Rates`, so the same formula
predicts, explains itself line by line, and is fitted by linear least squares
(``advisor.calibration.processor_fit`` on this machine, the data-sheet fit on published runs)::

    decode  = Σ_type bytes·s_per_byte + flop·s_per_flop + dots·s_per_dot
              + KV bytes·s_per_kv_byte + attention flop·s_per_flop
              + state bytes·s_per_byte + layers·s_per_layer + MoE layers·s_per_moe_layer
              + operations·s_per_operation + s_per_token
    prefill = Σ_type [flop·s_per_flop·(1 + half/rows) + dots·s_per_dot + passes·bytes·s_per_byte]
              + attention flop·s_per_flop + scores·s_per_score
              + state flop·s_per_flop + activations·s_per_activation + values·s_per_value
              + passes·(layers·s_per_layer + MoE layers·s_per_moe_layer) + what an accelerator waits for the host

A processor prepares each micro-batch and launches its operations one by one. An accelerator waits for the first to
be prepared; after that it hides the host's work behind its own, or waits for it where there is more of it.

Where attention was timed, its flop are priced by the shape of heads most like the model's
(``advisor.timed_attention``), near and far back apart. No term may beat the roof: its bytes over the
memory bandwidth, its flop over the peak rate (Williams, Waterman and Patterson, "Roofline", 2009).
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from advisor.timed_attention import attention_rates, priced_kv_type
from advisor.types import Bound, Rates, Term
from advisor.weight_work import WeightWork
from advisor.work import Work
from catalog.types import Role

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: A number, or many of them at once.
Number = TypeVar("Number", float, "npt.NDArray[np.float64]")
ANY_TYPE = "*"
EXPERTS = "experts:"
OUTPUT = "output:"
REPACKED = "repacked"
PLAIN = "plain"
#: Types that are multiplied as they are stored; others are unpacked first, which costs most at a row's ends.
PLAIN_TYPES = frozenset({"F32", "F16", "BF16", "Q8_0"})
#: Types that a prompt multiplies in tiles of rows and tokens (``llamafile_sgemm``) rather than row by row.
TILED_TYPES = PLAIN_TYPES | {"Q4_0", "Q5_0", "IQ4_NL"}
#: Launching one operation on CUDA rather than replaying it from a recorded graph, which llama.cpp does for one token on
#: one card only ("disabling CUDA graphs due to batch size > 1"): fitted on the one published pair of unlike GPUs.
UNRECORDED_LAUNCH_S = 2.5e-6
#: However small a model, it is not taken to run from cache alone: what it shares the cache with is unknown.
_LEAST_MISSED_FRAC = 0.5

_KEY_PREFIXES = {Role.EXPERT: EXPERTS, Role.OUTPUT: OUTPUT}
_PARTS = {
    Role.OUTPUT: "output",
    Role.EXPERT: "experts",
    Role.ATTENTION: "attention_weights",
    Role.FFN: "feed_forward_weights",
    Role.NORM: "norms",
}


def expert_key(tensor_type: str) -> str:
    """Under which name the rates of routed experts of a type are kept."""
    return EXPERTS + tensor_type


def rate_key(weight: WeightWork) -> str:
    """Under which name a weight's own rates are kept: experts and the output layer apart from the rest."""
    return _KEY_PREFIXES.get(weight.role, "") + weight.tensor_type


def _rate(by_type: Mapping[str, float], weight: WeightWork, factors: Mapping[Role, float]) -> float:
    """Coefficient of a weight: that of its type and role, else its type's times the role's usual factor."""
    own = by_type.get(rate_key(weight))
    if own is not None:
        return own
    return by_type.get(weight.tensor_type, by_type[ANY_TYPE]) * factors.get(weight.role, 1.0)


def _decode_rate(rates: Rates, weight: WeightWork) -> float:
    factors = {Role.EXPERT: rates.decode_expert_factor, Role.OUTPUT: rates.output_factor}
    return _rate(rates.decode_s_per_byte, weight, factors)


def _prefill_rate(rates: Rates, weight: WeightWork) -> float:
    return _rate(rates.prefill_s_per_flop, weight, {Role.EXPERT: rates.prefill_moe_factor})


def kernel_kind(rates: Rates, tensor_type: str) -> str:
    """Which kind of CPU kernels multiplies a type: such as take several rows at once, or one plain or packed row."""
    if tensor_type in rates.repacked_types:
        return REPACKED
    return PLAIN if tensor_type in PLAIN_TYPES else ANY_TYPE


def _by_kernel(by_kernel: Mapping[str, float], rates: Rates, weight: WeightWork) -> float:
    """Coefficient of the kernels that multiply a weight; plain rows may have none of their own."""
    kind = kernel_kind(rates, weight.tensor_type)
    return by_kernel.get(ANY_TYPE if kind == PLAIN and PLAIN not in by_kernel else kind, 0.0)


def knows_type(rates: Rates, tensor_type: str) -> bool:
    """Whether both phases have a coefficient fitted for this very type."""
    timed = tensor_type not in rates.related_types
    return timed and tensor_type in rates.decode_s_per_byte and tensor_type in rates.prefill_s_per_flop


def _memory_floor_s(rates: Rates, work_bytes: float) -> float:
    return work_bytes / rates.memory_bytes_per_s if rates.memory_bytes_per_s else 0.0


def _compute_floor_s(rates: Rates, flop: float) -> float:
    return flop / rates.flop_per_s if rates.flop_per_s else 0.0


def _term(rates: Rates, name: str, time_s: float, bound: Bound, *, moved: float = 0.0, flop: float = 0.0) -> Term:
    return Term(
        name=name,
        device_id=rates.device_id,
        bytes=moved,
        flop=flop,
        time_s=time_s,
        bound=bound,
        basis=rates.basis,
    )


def _weights_name(phase: str, weight: WeightWork) -> str:
    return f"{phase}.{_PARTS.get(weight.role, 'weights')}.{weight.tensor_type}"


def _missed_frac(work: Work, rates: Rates) -> float:
    """Share of the weights that a token must fetch from memory because the cache does not hold them."""
    held_bytes = work.held_bytes
    return max(_LEAST_MISSED_FRAC, 1.0 - rates.cached_bytes / held_bytes) if held_bytes else 1.0


def _decode_weights(work: Work, rates: Rates, weight: WeightWork) -> Term:
    missed_bytes = weight.bytes * _missed_frac(work, rates)
    memory_s = max(missed_bytes * _decode_rate(rates, weight), _memory_floor_s(rates, missed_bytes))
    first_token_flop = weight.flop / work.tokens_count
    compute_s = first_token_flop * rates.decode_s_per_flop
    compute_s += weight.dots_count * _by_kernel(rates.decode_s_per_dot, rates, weight)
    time_s = memory_s + compute_s
    if work.tokens_count > 1:
        time_s = compute_s + _batched_s(work, rates, weight, memory_s)
    bound = Bound.COMPUTE if time_s > 2.0 * memory_s else Bound.MEMORY
    name = _weights_name("decode", weight)
    return _term(rates, name, time_s, bound, moved=weight.bytes, flop=weight.flop)


def _batched_s(work: Work, rates: Rates, weight: WeightWork, memory_s: float) -> float:
    """Weights of a batch: by matrix-vector kernels user after user, or by a matrix kernel if that is faster.

    Users beyond the first ride along on the same bytes and pay for their arithmetic; a matrix kernel hides
    arithmetic behind its reads and wastes the part of a tile that few users leave empty.
    """
    per_flop = _prefill_rate(rates, weight)
    further_flop = weight.flop * (1.0 - 1.0 / work.tokens_count)
    sweeps = weight.rows_count if rates.experts_reread and weight.role == Role.EXPERT else 1.0
    vector_s = memory_s * sweeps + further_flop * per_flop * rates.batch_matvec_factor
    if rates.batch_half_tokens is None:
        return vector_s
    half_tokens = rates.expert_half_tokens if weight.role == Role.EXPERT else rates.batch_half_tokens
    fill = 1.0 + half_tokens / weight.rows_count
    return min(vector_s, math.hypot(memory_s, weight.flop * per_flop * fill))


def _near_flop(work: Work) -> float:
    return max(0.0, work.attention_flop - work.deep_attention_flop)


def _kv_factor(by_type: Mapping[str, float], work: Work) -> float:
    """Time of attention from the cache's type relative to F16, where no shape of heads was timed."""
    return by_type.get(priced_kv_type(work.attention_kernel.kv_quant_id), 1.0)


def _decode_attention_s(work: Work, rates: Rates) -> float:
    timed = attention_rates(rates, work.head_shape, work.attention_kernel)
    if timed is None:
        per_flop = rates.decode_attention_s_per_flop * _kv_factor(rates.kv_decode_factors, work)
        return work.kv_bytes * rates.kv_s_per_byte + work.attention_flop * per_flop
    deep_s = work.deep_attention_flop * timed.deep_decode_s_per_flop
    return _near_flop(work) * timed.decode_s_per_flop + deep_s


def _prefill_attention_s(work: Work, rates: Rates) -> float:
    timed = attention_rates(rates, work.head_shape, work.attention_kernel)
    if timed is None:
        per_flop = rates.attention_s_per_flop * _kv_factor(rates.kv_prefill_factors, work)
        return work.attention_flop * per_flop + work.scores_count * rates.attention_s_per_score
    deep_s = work.deep_attention_flop * timed.deep_prefill_s_per_flop
    return _near_flop(work) * timed.prefill_s_per_flop + deep_s


def _launched_count(work: Work, rates: Rates) -> float:
    """Graph nodes that are priced one by one."""
    return work.operations_count - (work.fusible_count if rates.fuses else 0.0)


def price_decode(work: Work, rates: Rates) -> tuple[Term, ...]:
    """Terms of one decoded token (for each user of the batch)."""
    terms = [_decode_weights(work, rates, weight) for weight in work.weights]
    if work.kv_bytes:
        time_s = max(_decode_attention_s(work, rates), _memory_floor_s(rates, work.kv_bytes))
        flop = work.attention_flop
        terms.append(_term(rates, "decode.kv", time_s, Bound.MEMORY, moved=work.kv_bytes, flop=flop))
    if work.state_bytes:
        time_s = max(work.state_bytes * rates.state_s_per_byte, _memory_floor_s(rates, work.state_bytes))
        terms.append(_term(rates, "decode.state", time_s, Bound.MEMORY, moved=work.state_bytes, flop=work.state_flop))
    overhead_s = work.layers_count * rates.decode_s_per_layer + rates.decode_s_per_token
    overhead_s += work.moe_layers_count * rates.decode_s_per_moe_layer
    overhead_s += work.activations_count * rates.decode_s_per_activation
    overhead_s += work.logits_count * rates.decode_s_per_logit
    overhead_s += work.mask_cells_count * rates.decode_s_per_cached_token
    per_operation = rates.decode_s_per_operation + (rates.batch_s_per_operation if work.tokens_count > 1 else 0.0)
    overhead_s += _launched_count(work, rates) * per_operation
    if overhead_s:
        terms.append(_term(rates, "decode.overhead", overhead_s, Bound.OVERHEAD))
    return tuple(terms)


def _prefill_output(rates: Rates, weight: WeightWork) -> Term:
    """Logits of the last prompt token: one matrix-vector product, priced as when decoding."""
    per_byte = _decode_rate(rates, weight)
    time_s = max(weight.bytes * per_byte, _memory_floor_s(rates, weight.bytes))
    name = _weights_name("prefill", weight)
    return _term(rates, name, time_s, Bound.MEMORY, moved=weight.bytes, flop=weight.flop)


def _prefill_weights(work: Work, rates: Rates, weight: WeightWork) -> Term:
    if weight.role == Role.OUTPUT:
        return _prefill_output(rates, weight)
    per_flop = _prefill_rate(rates, weight)
    half_tokens = rates.expert_half_tokens if weight.role == Role.EXPERT else rates.ubatch_half_tokens
    fill = 1.0 + half_tokens / weight.rows_count
    compute_s = weight.flop * per_flop * fill
    dots_count = weight.dots_count * work.tokens_count
    if kernel_kind(rates, weight.tensor_type) != REPACKED and weight.tensor_type not in TILED_TYPES:
        compute_s += dots_count * rates.prefill_s_per_dot
    if weight.role == Role.EXPERT:
        compute_s += dots_count * _by_kernel(rates.expert_s_per_dot, rates, weight)
        compute_s += weight.bytes * work.passes_count * _by_kernel(rates.expert_s_per_byte, rates, weight)
    compute_s = max(compute_s, _compute_floor_s(rates, weight.flop))
    moved = weight.bytes * work.passes_count
    memory_s = _memory_floor_s(rates, moved)
    # reads partly hide behind the arithmetic; the coefficient is what does not
    time_s = max(compute_s + moved * rates.prefill_s_per_byte, memory_s)
    bound = Bound.COMPUTE if compute_s >= memory_s else Bound.MEMORY
    name = _weights_name("prefill", weight)
    return _term(rates, name, time_s, bound, moved=moved, flop=weight.flop)


def price_prefill(work: Work, rates: Rates) -> tuple[Term, ...]:
    """Terms of working through a whole prompt."""
    terms = price_prefill_alone(work, rates)
    prepare_s, launch_s = price_host(work, rates)
    if prepare_s or launch_s:
        alone_s, passes = total_s(terms), work.passes_count
        waited_s = overlapped_s(prepare_s, launch_s, alone_s / passes, passes) - alone_s
        terms = (*terms, _term(rates, "prefill.host", waited_s, Bound.OVERHEAD))
    return terms


def price_prefill_alone(work: Work, rates: Rates) -> tuple[Term, ...]:
    """Terms of a prompt on a device that never waits for another."""
    terms = [_prefill_weights(work, rates, weight) for weight in work.weights]
    if work.attention_flop:
        time_s = max(_prefill_attention_s(work, rates), _compute_floor_s(rates, work.attention_flop))
        terms.append(_term(rates, "prefill.attention", time_s, Bound.COMPUTE, flop=work.attention_flop))
    if work.state_flop:
        time_s = max(work.state_flop * rates.state_s_per_flop, _compute_floor_s(rates, work.state_flop))
        terms.append(_term(rates, "prefill.state", time_s, Bound.COMPUTE, flop=work.state_flop))
    overhead_s = work.passes_count * work.layers_count * rates.prefill_s_per_layer
    overhead_s += work.passes_count * work.moe_layers_count * rates.prefill_s_per_moe_layer
    overhead_s += work.activations_count * rates.prefill_s_per_activation
    overhead_s += work.values_count * rates.prefill_s_per_value
    overhead_s += work.routed_activations_count * rates.prefill_s_per_routed_activation
    overhead_s += work.operations_count * rates.prefill_s_per_operation
    overhead_s += work.embedded_values_count * rates.prefill_s_per_embedded_value
    if overhead_s:
        terms.append(_term(rates, "prefill.overhead", overhead_s, Bound.OVERHEAD))
    return tuple(terms)


def price_host(work: Work, rates: Rates) -> tuple[float, float]:
    """Seconds per micro-batch of a prompt that the processor takes to prepare it, and to launch its operations."""
    passes = work.passes_count
    by_type = rates.host_s_per_embedded_value
    per_value = by_type.get(work.embedding_type or "", by_type.get(ANY_TYPE, 0.0))
    prepare_s = rates.host_s_per_pass if work.prepared_tokens_count else 0.0
    prepare_s += work.prepared_tokens_count / passes * rates.host_s_per_token
    prepare_s += work.mask_cells_count / passes * rates.host_s_per_mask_cell
    prepare_s += work.embedded_values_count / passes * per_value
    launch_s = work.operations_count / passes * rates.host_s_per_launch
    return prepare_s, launch_s + work.moe_layers_count * rates.host_s_per_moe_layer


def overlapped_s(prepare_s: Number, launch_s: Number, device_s: Number, passes: Number) -> Number:
    """Seconds of a prompt whose micro-batches are prepared and launched by the host and worked on by a device.

    The device waits for the first to be prepared; the host goes on to the next while the device works, so each later
    one takes as long as the slower of the two. All but ``passes`` are of one micro-batch, numbers or arrays of them.
    """
    later_s = _larger(prepare_s + launch_s, device_s)
    return prepare_s + _larger(launch_s, device_s) + (passes - 1) * later_s


def _larger(one: Number, other: Number) -> Number:
    return (one + other + abs(one - other)) / 2


def total_s(terms: tuple[Term, ...]) -> float:
    """Seconds of a step."""
    return sum(term.time_s for term in terms)


def least_s(rates: Rates, term: Term) -> float:
    """The least time that a term's roofs leave it; a part of it may come from cache, so never above its own time."""
    roof_s = max(_memory_floor_s(rates, term.bytes), _compute_floor_s(rates, term.flop))
    return min(term.time_s, roof_s)
