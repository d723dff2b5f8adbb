"""What a measured time is a sum of: the cost model of ``advisor.roofline`` written out for fitting.

A monomial is a quantity of work times a coefficient of ``advisor.datasheets.factors``. A test holds the sum equal to
what ``roofline`` prices with the same coefficients, floors aside.
"""

import math

from advisor.datasheets.factors import (
    DecodeFactors,
    Factor,
    PrefillFactors,
    decode_factors,
    flop_per_byte,
    prefill_factors,
)
from advisor.datasheets.posynomial import Monomial
from advisor.datasheets.published import PricedRow
from advisor.datasheets.traits import ChipTraits
from advisor.work import Work
from catalog.ggml_types import TYPES
from catalog.types import Role


def monomials_of(priced: PricedRow, traits: ChipTraits) -> list[Monomial]:
    """The terms of one published row's time."""
    setting = priced.row.setting
    if priced.row.phase == "decode":
        return _decode(priced.work, decode_factors(traits, setting))
    return _prefill(priced.work, prefill_factors(traits, setting))


def _monomial(quantity: float, *factors: Factor) -> Monomial:
    value = quantity * math.prod(factor.base for factor in factors)
    return Monomial(value, tuple(exponent for factor in factors for exponent in factor.exponents))


def _decode(work: Work, factors: DecodeFactors) -> list[Monomial]:
    terms = []
    for weight in work.weights:
        expert = (factors.expert[weight.tensor_type],) if weight.role == Role.EXPERT else ()
        unpacked_flop = weight.bytes * flop_per_byte(TYPES[weight.tensor_type])
        terms.append(_monomial(weight.bytes, factors.weight_byte[weight.tensor_type], *expert))
        terms.append(_monomial(unpacked_flop, factors.weight_flop[weight.tensor_type], *expert))
    terms.append(_monomial(work.kv_bytes, factors.kv_byte))
    terms.append(_monomial(work.state_bytes, factors.kv_byte))
    terms.append(_monomial(work.attention_flop, factors.attention_flop))
    terms.append(_monomial(work.operations_count, factors.operation))
    terms.append(_monomial(work.moe_layers_count, factors.moe_layer))
    return terms


def _prefill(work: Work, factors: PrefillFactors) -> list[Monomial]:
    terms = []
    for weight in work.weights:
        if weight.role == Role.OUTPUT:
            continue  # one row of logits: nothing beside the prompt
        flop = factors.weight_flop[weight.tensor_type]
        expert = weight.role == Role.EXPERT
        rates = (flop, factors.expert[weight.tensor_type]) if expert else (flop,)
        half = factors.expert_half if expert else factors.ubatch_half
        terms.append(_monomial(weight.flop, *rates))
        terms.append(_monomial(weight.flop / weight.rows_count, *rates, half))
        terms.append(_monomial(weight.bytes * work.passes_count, factors.weight_byte))
    terms.append(_monomial(work.attention_flop, factors.attention_flop))
    terms.append(_monomial(work.scores_count, factors.score))
    terms.append(_monomial(work.activations_count, factors.activation))
    terms.append(_monomial(work.routed_activations_count, factors.routed_activation))
    terms.append(_monomial(work.passes_count * work.layers_count, factors.layer))
    terms.append(_monomial(work.passes_count * work.moe_layers_count, factors.moe_layer))
    return terms
