"""What a fit says beyond its twins: rates of types and roles that were not timed, and the roof that they may reach."""

from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from advisor import roofline
from advisor.roofline import ANY_TYPE
from advisor.types import Rates
from catalog.ggml_types import TYPES

#: Types that no twin is made of, or that time ran out for, and the timed type whose unpacking is most like theirs:
#: the same seconds per weight while decoding, and per flop in a prompt. Their intervals are wider.
_RELATIVES = {
    "F32": "F16",
    "IQ2_XXS": "IQ3_XXS",
    "IQ2_XS": "IQ3_XXS",
    "IQ1_S": "IQ3_XXS",
    "IQ1_M": "IQ3_XXS",
    "TQ1_0": "Q2_K",
    "TQ2_0": "Q2_K",
    "Q1_0": "Q2_K",
    "Q2_0": "Q2_K",
    "NVFP4": "MXFP4",
    "Q8_1": "Q8_0",
    "Q8_K": "Q8_0",
    "BF16": "F16",
    "IQ2_S": "IQ3_XXS",
    "IQ3_XXS": "IQ3_S",
    "IQ3_S": "IQ3_XXS",
    "IQ4_XS": "IQ4_NL",
    "IQ4_NL": "Q4_0",
    "MXFP4": "IQ4_NL",
    "Q5_0": "Q4_1",
    "Q5_1": "Q5_0",
    "Q4_1": "Q5_0",
    "Q2_K": "Q3_K",
    "Q3_K": "Q5_K",
}


def with_any_type(rates: Rates) -> Rates:
    """Types that were not timed take after a timed relative; others get the slowest: never an optimistic guess."""
    decode, prefill = dict(rates.decode_s_per_byte), dict(rates.prefill_s_per_flop)
    related = {name: kin for name, kin in _RELATIVES.items() if name not in decode and kin in decode and kin in prefill}
    fastest = min((value for name, value in decode.items() if name in TYPES and value > 0.0), default=0.0)
    for name, kin in related.items():
        alike = rates.decode_s_per_byte[kin] * _bytes_per_weight(kin) / _bytes_per_weight(name)
        decode[name] = max(fastest, alike)  # bytes come no faster than the quickest type's
        prefill[name] = rates.prefill_s_per_flop[kin]
    return replace(
        rates,
        decode_s_per_byte={**decode, ANY_TYPE: _slowest_dense(decode)},
        prefill_s_per_flop={**prefill, ANY_TYPE: _slowest_dense(prefill)},
        host_s_per_embedded_value=_with_any_embedding(rates.host_s_per_embedded_value),
        related_types=tuple(sorted(related)),
    )


def _with_any_embedding(timed: Mapping[str, float]) -> dict[str, float]:
    """Embeddings of types that were not timed are looked up like a timed relative's, others like the slowest."""
    if not timed:
        return {}
    related = {name: timed[kin] for name, kin in _RELATIVES.items() if kin in timed}
    return {ANY_TYPE: max(timed.values()), **related, **timed}


def _bytes_per_weight(tensor_type: str) -> float:
    kind = TYPES[tensor_type]
    return kind.block_bytes / kind.block_weights_count


def _slowest_dense(by_type: Mapping[str, float]) -> float:
    return max(value for name, value in by_type.items() if not name.startswith((roofline.EXPERTS, roofline.OUTPUT)))


def role_factor(by_type: Mapping[str, float], prefix: str) -> float:
    """How much slower a role's weights are than others of their type: the middle of the types timed as both."""
    factors = [
        value / by_type[name.removeprefix(prefix)]
        for name, value in by_type.items()
        if name.startswith(prefix) and by_type.get(name.removeprefix(prefix))
    ]
    return median(factors) if factors else 1.0


def roof_bytes_per_s(probed_bytes_per_s: float | None, rates: Rates) -> float | None:
    """The read bandwidth, raised to what the fastest type was seen to reach.

    The probe ran at another, perhaps busier moment: what the engine did is possible, and a lower roof would
    slow exactly the fastest types down.
    """
    if probed_bytes_per_s is None:
        return None
    seen = [1.0 / cost for name, cost in rates.decode_s_per_byte.items() if name != ANY_TYPE and cost > 0.0]
    return max([probed_bytes_per_s, *seen])
