"""The rates of a processor: what explains how long its calibration twins took.

Every quantisation has its own kernels, so neither a data sheet nor a bandwidth probe can say how fast an
engine decodes Q4_K here. The times of the twins of ``advisor.calibration.processor_experiments`` are linear in the
coefficients of `Rates` (``advisor.roofline``), which non-negative least squares on relative errors
recovers (``advisor.calibration.least_squares``). Pure: the timing itself is ``advisor.calibration.rehearse``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from advisor import roofline
from advisor.attention import USUAL_ATTENTION, AttentionKernel, HeadShape
from advisor.calibration.experiment import ATTENTION
from advisor.calibration.least_squares import (
    Coefficient,
    Observation,
    decode_s,
    keys,
    prefill_s,
    residual_sigma,
    select,
    solve,
    types_in,
    without,
    zero_rates,
)
from advisor.calibration.untimed import role_factor, roof_bytes_per_s, with_any_type
from advisor.roofline import ANY_TYPE
from advisor.timed_attention import unlikeness
from advisor.types import AttentionRates, Rates
from catalog.types import Role

#: What the cost model leaves unexplained on shapes that no calibration times, beside the noise of the samples: with
#: it, 80 % of 132 speeds of 32 shapes in eight runs, the ones it was set from, lay in their intervals.
_DECODE_MODEL_SIGMA = 0.045
_PREFILL_MODEL_SIGMA = 0.065
#: By how much the speed of one and the same model moved from one such run to another within the hour.
_DRIFT_SIGMA = 0.07
_CACHED_BYTES_OPTIONS = tuple(size * 2.0 * 1024**2 for size in range(17))
_MIXTURES = ("experts", "small-experts", "experts-awake", "small-experts-awake")
_DENSE = ("wide", "narrow", "slim", "long", "broad")
#: What several layers show of attention, as a share of what one layer alone would make it; beyond, it is noise.
_LEAST_IN_LAYERS, _MOST_IN_LAYERS = 0.5, 1.1
_LIKE_REAL = (*_DENSE, "recurrent", *_MIXTURES)


def _attention_rates(observations: Sequence[Observation]) -> tuple[AttentionRates, ...]:
    """What attention cost each twin that was timed at several depths."""
    by_twin: dict[str, list[Observation]] = {}
    for item in observations:
        if item.experiment_id.startswith(ATTENTION):
            by_twin.setdefault(item.experiment_id, []).append(item)
    return tuple(filter(None, map(_twin_attention, by_twin.values())))


def _twin_attention(found: Sequence[Observation]) -> AttentionRates | None:
    shape = found[0].work.head_shape
    decode = _near_and_deep([item for item in found if item.phase == "decode"])
    prefill = _near_and_deep([item for item in found if item.phase == "prefill"])
    if shape is None or decode is None or prefill is None:
        return None
    return AttentionRates(
        head_dim=shape.head_dim,
        kv_heads_count=shape.kv_heads_count,
        queries_per_kv_head=shape.queries_per_kv_head,
        flash=found[0].work.attention_kernel.flash,
        kv_quant_id=found[0].work.attention_kernel.kv_quant_id,
        prefill_s_per_flop=prefill[0],
        deep_prefill_s_per_flop=prefill[1],
        decode_s_per_flop=decode[0],
        deep_decode_s_per_flop=decode[1],
    )


def _in_layers(rates: Rates, observations: Sequence[Observation]) -> Rates:
    """Attention near by, as twins of many layers show it behind a thousand tokens: heads take after the most like.

    One layer alone makes it dearer, and behind 4,096 tokens each costs more than behind fewer where several heads
    share a cache: what the first of them fetched is no longer close by for the next.
    """
    bare = {item.experiment_id: item for item in observations if not item.depth_tokens}
    factors: list[tuple[HeadShape, float]] = []
    for item in observations:
        first, shape = bare.get(item.experiment_id), item.work.head_shape
        if item.depth_tokens and first is not None and shape is not None:
            priced_s = _decode_attention_s(item, rates) - _decode_attention_s(first, rates)
            if priced_s > 0.0:  # none where noise hid what the usual kernel costs in every single layer
                factors.append((shape, (item.time_s - first.time_s) / priced_s))
    return replace(rates, attention=tuple(_scaled(timed, factors) for timed in rates.attention))


def _scaled(timed: AttentionRates, factors: Sequence[tuple[HeadShape, float]]) -> AttentionRates:
    """The usual kernel's, by what it takes of its time in many layers; others take the same in any number."""
    if not factors or AttentionKernel(flash=timed.flash, kv_quant_id=timed.kv_quant_id) != USUAL_ATTENTION:
        return timed
    _, factor = min(factors, key=lambda seen: unlikeness(timed, seen[0]))
    factor = min(_MOST_IN_LAYERS, max(_LEAST_IN_LAYERS, factor))
    return replace(timed, decode_s_per_flop=min(factor * timed.decode_s_per_flop, timed.deep_decode_s_per_flop))


def _decode_attention_s(item: Observation, rates: Rates) -> float:
    """Seconds of attention alone in a decoded token."""
    terms = roofline.price_decode(item.work, rates)
    return sum(term.time_s for term in terms if term.name == "decode.kv")


def _near_and_deep(found: Sequence[Observation]) -> tuple[float, float] | None:
    """Seconds per flop near and, if a twin was timed so deep, far back; None where noise hides what attention costs.

    Times are per token, so that what a token costs besides attention drops out. Attention does not get cheaper
    with depth: where noise says so, one rate serves both.
    """
    points = [
        (item.work.attention_flop / item.work.tokens_count, item.time_s / item.work.tokens_count)
        for item in sorted(found, key=lambda item: item.depth_tokens)
    ]
    if len(points) < 2:
        return None
    whole = _slope(points[0], points[-1])
    near, deep = _slope(*points[:2]), _slope(*points[-2:])
    if whole <= 0.0:
        return None
    return (near, deep) if 0.0 < near <= deep else (whole, whole)


def _slope(near: tuple[float, float], deep: tuple[float, float]) -> float:
    return (deep[1] - near[1]) / (deep[0] - near[0])


def fit_processor(
    observations: Sequence[Observation],
    *,
    device_id: str,
    backend: str,
    threads_count: int | None = None,
    memory_bytes_per_s: float | None = None,
    repacked_types: Iterable[str] = (),
) -> Rates:
    """Rates that explain a calibration's observations.

    Dense twins fix the rates of types, layers, tokens and attention; the mixtures of experts and the
    recurrent twin then fix their own terms on top. The memory roof is not enforced while fitting: small
    twins may partly stay in cache.
    """
    rates = replace(
        zero_rates(device_id, backend),
        repacked_types=tuple(sorted(repacked_types)),
        attention=_attention_rates(observations),
    )
    rates = _in_layers(rates, select(observations, "decode", *_DENSE))
    rates = _fit_decode(rates, observations)
    rates = _fit_prefill(rates, observations)
    rates = with_any_type(rates)
    decode_residual = residual_sigma(decode_s, rates, select(observations, "decode", *_LIKE_REAL))
    prefill_residual = residual_sigma(prefill_s, rates, select(observations, "prefill", *_LIKE_REAL))
    return replace(
        rates,
        decode_sigma=math.hypot(decode_residual, _DECODE_MODEL_SIGMA),
        prefill_sigma=math.hypot(prefill_residual, _PREFILL_MODEL_SIGMA),
        threads_count=threads_count,
        memory_bytes_per_s=roof_bytes_per_s(memory_bytes_per_s, rates),
        source="timed through the engine on this machine",
    )


def at_another_time(rates: Rates) -> Rates:
    """Rates for other moments than the one they were timed in: a machine is not always as fast."""
    return replace(
        rates,
        decode_sigma=math.hypot(rates.decode_sigma, _DRIFT_SIGMA),
        prefill_sigma=math.hypot(rates.prefill_sigma, _DRIFT_SIGMA),
    )


def _fit_decode(rates: Rates, observations: Sequence[Observation]) -> Rates:
    dense = select(observations, "decode", *_DENSE)
    rates = _fit_decode_weights(rates, [item for item in dense if not item.depth_tokens])
    outputs = select(observations, "decode", "vocabulary")
    if outputs:
        own = [Coefficient("decode_s_per_byte", name) for name in keys(outputs, Role.OUTPUT)]
        rates = solve(decode_s, without(rates, "decode_s_per_byte", own), own, outputs)
        rates = replace(rates, output_factor=role_factor(rates.decode_s_per_byte, roofline.OUTPUT))
    mixtures = select(observations, "decode", *_MIXTURES)
    if mixtures:
        experts = [Coefficient("decode_s_per_byte", name) for name in keys(mixtures, Role.EXPERT)]
        bare = without(rates, "decode_s_per_byte", experts)
        rates = solve(decode_s, bare, [*experts, Coefficient("decode_s_per_moe_layer")], mixtures)
    recurrent = select(observations, "decode", "recurrent")
    if recurrent:
        rates = solve(decode_s, rates, [Coefficient("state_s_per_byte")], recurrent)
    return replace(rates, decode_expert_factor=role_factor(rates.decode_s_per_byte, roofline.EXPERTS))


def _fit_decode_weights(rates: Rates, dense: Sequence[Observation]) -> Rates:
    """Rates of types and operations, for the amount of cached weights that explains short and long twins best."""
    wanted = [Coefficient("decode_s_per_byte", name) for name in types_in(dense)]
    kinds = sorted({roofline.kernel_kind(rates, name) for name in types_in(dense)})
    wanted += [Coefficient("decode_s_per_operation"), *(Coefficient("decode_s_per_dot", kind) for kind in kinds)]
    options = [solve(decode_s, replace(rates, cached_bytes=size), wanted, dense) for size in _CACHED_BYTES_OPTIONS]
    return min(options, key=lambda option: residual_sigma(decode_s, option, dense))


def _fit_prefill(rates: Rates, observations: Sequence[Observation]) -> Rates:
    dense = select(observations, "prefill", *_DENSE)
    rates = _fit_prefill_weights(rates, dense)
    mixtures = select(observations, "prefill", *_MIXTURES)
    if mixtures:
        experts = [Coefficient("prefill_s_per_flop", name) for name in keys(mixtures, Role.EXPERT)]
        bare = without(rates, "prefill_s_per_flop", experts)
        rates = solve(prefill_s, bare, [*experts, *_expert_coefficients(rates)], mixtures)
    recurrent = select(observations, "prefill", "recurrent")
    if recurrent:
        rates = solve(prefill_s, rates, [Coefficient("state_s_per_flop")], recurrent)
    return replace(rates, prefill_moe_factor=role_factor(rates.prefill_s_per_flop, roofline.EXPERTS))


def _fit_prefill_weights(rates: Rates, dense: Sequence[Observation]) -> Rates:
    """Rates of types and values, and of fetching the weights for a micro-batch: at most what it takes when decoding.

    Two lengths of prompts tell fetching from arithmetic through little noise: without that bound it came out at one to
    four times as much, and the number of rows at which products run at half speed anywhere from 0 to 24.
    """
    wanted = [Coefficient("prefill_s_per_flop", name) for name in types_in(dense)]
    wanted += [Coefficient("prefill_s_per_value"), Coefficient("prefill_s_per_dot")]
    fetch = Coefficient("prefill_s_per_byte")
    free = solve(prefill_s, rates, [*wanted, fetch], dense)
    decoding = [rates.decode_s_per_byte[name] for name in types_in(dense) if rates.decode_s_per_byte.get(name)]
    most = min(decoding, default=math.inf)
    if free.prefill_s_per_byte <= most:
        return free
    return solve(prefill_s, fetch.put(rates, most), wanted, dense)


def _expert_coefficients(rates: Rates) -> list[Coefficient]:
    """What experts of all types share: two prompts of a type cannot tell fetching from multiplying through noise.

    Kernels that take several rows at once go through an expert token by token, and fetch it as they multiply.
    """
    kinds = (ANY_TYPE, roofline.REPACKED) if rates.repacked_types else (ANY_TYPE,)
    return [Coefficient("expert_s_per_byte", ANY_TYPE), *(Coefficient("expert_s_per_dot", kind) for kind in kinds)]
