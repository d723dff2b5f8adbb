"""llama.cpp's mixing rules: which tensors a file type stores better or worse than its default.

A port of ``llama_tensor_get_type_impl`` of ``src/llama-quant.cpp`` (llama.cpp as vendored in
llama-cpp-python 0.3.36) into a table: per file type and tensor category, an ordered tuple of lifts of
which the first that applies decides; where none applies, the file type's default type stands.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """What a tensor is to the mixing rules."""

    EMBEDDING = "token_embd"
    OUTPUT = "output"
    ATTN_Q = "attn_q"
    ATTN_K = "attn_k"
    ATTN_V = "attn_v"  # fused attn_qkv and latent attn_kv_b included
    ATTN_OUTPUT = "attn_output"
    FFN_GATE = "ffn_gate"
    FFN_UP = "ffn_up"
    FFN_DOWN = "ffn_down"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the rules ask of a model.

    Attributes:
        group_size: query heads per key-value head of the first layer (0 where it has no attention).
        expert_count: routed experts.
        layer_count: layers the file states, prediction blocks included.
        falcon: the architecture is Falcon's, whose tensors have rules of their own.
        is_70b: the loader takes it for a 70-billion-parameter model.
        imatrix: quantised with an importance matrix.
    """

    group_size: int
    expert_count: int
    layer_count: int
    falcon: bool = False
    is_70b: bool = False
    imatrix: bool = True


When = Callable[[Traits], bool]
Where = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Lift:
    """``tensor_type`` for the tensors at some places (``where``) of some models (``when``); None: all."""

    tensor_type: str
    when: When | None = None
    where: Where | None = None


def _grouped(traits: Traits) -> bool:
    return traits.group_size >= 4


def _grouped_or_mixed(traits: Traits) -> bool:
    return traits.group_size >= 4 or traits.expert_count >= 4


def _eight_experts(traits: Traits) -> bool:
    return traits.expert_count == 8


def _falcon(traits: Traits) -> bool:
    return traits.falcon


def _not_falcon(traits: Traits) -> bool:
    return not traits.falcon


def _no_imatrix(traits: Traits) -> bool:
    return not traits.imatrix


def _imatrix(traits: Traits) -> bool:
    return traits.imatrix


def _first_sixteenth(index: int, count: int) -> bool:
    return index < count // 16


def _first_eighth(index: int, count: int) -> bool:
    return index < count // 8


def _first_two(index: int, count: int) -> bool:  # noqa: ARG001 - a place is always (index, count)
    return index < 2


def _first_four(index: int, count: int) -> bool:  # noqa: ARG001 - a place is always (index, count)
    return index < 4


def _middle(index: int, count: int) -> bool:
    return count // 8 <= index < 7 * count // 8


def _more_bits(index: int, count: int) -> bool:
    """The first and last eighth, and every third layer between."""
    eighth = count // 8
    return index < eighth or index >= 7 * count // 8 or (index - eighth) % 3 == 2


_DEFAULT_TYPE_OF_OTHERS = {
    "Q2_K_S": "Q2_K",
    "Q3_K_S": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "IQ2_S": "IQ2_XS",
    "IQ2_M": "IQ2_S",
    "IQ3_XS": "IQ3_S",
    "IQ3_M": "IQ3_S",
    "MXFP4_MOE": "MXFP4",
}
_OF_THEIR_OWN_NAME = (
    "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q6_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ3_XXS IQ3_S IQ4_NL IQ4_XS "
    "TQ1_0 TQ2_0 Q1_0 Q2_0"
)
DEFAULT_TYPES: Mapping[str, str] = {name: name for name in _OF_THEIR_OWN_NAME.split()} | _DEFAULT_TYPE_OF_OTHERS

LOW_BIT = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})
_LIFTED_OUTPUT = LOW_BIT | {"IQ3_XXS"}


def output_type(file_type: str) -> str:
    """Type of the output matrix, and of a tied embedding, where its rows are whole blocks."""
    if file_type in ("MXFP4_MOE", "Q8_0"):
        return "Q8_0"
    return "Q5_K" if file_type in _LIFTED_OUTPUT else "Q6_K"


EMBEDDING_TYPES: Mapping[str, str] = {
    "IQ1_S": "Q2_K",
    "IQ1_M": "Q2_K",
    "IQ2_XXS": "Q2_K",
    "IQ2_XS": "Q2_K",
    "IQ2_S": "IQ3_S",
    "IQ2_M": "IQ3_S",
    "IQ3_XXS": "IQ3_S",
    "TQ1_0": "Q4_K",
    "TQ2_0": "Q4_K",
    "Q2_0": "Q4_K",
}

_EIGHT_EXPERT_OUTPUT = frozenset(
    ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M", "IQ4_NL", "IQ4_XS")
)
_ATTN_OUTPUT = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}

_V_OF_FEW_HEADS = (Lift("Q8_0", when=_eight_experts),)
_V = {
    "Q2_K": (Lift("Q4_K", when=_grouped), Lift("Q3_K")),
    "Q2_K_S": (Lift("Q4_K", when=_grouped),),
    "IQ3_XXS": (Lift("Q4_K", when=_grouped), Lift("IQ3_S", when=_no_imatrix)),
    "IQ3_XS": (Lift("Q4_K", when=_grouped),),
    "IQ3_S": (Lift("Q4_K", when=_grouped),),
    "IQ3_M": (Lift("Q4_K"),),
    "Q3_K_M": (Lift("Q5_K", where=_first_two), Lift("Q4_K")),
    "Q3_K_L": (Lift("Q5_K"),),
    "IQ4_NL": (Lift("Q5_K", when=_grouped),),
    "IQ4_XS": (Lift("Q5_K", when=_grouped),),
    "Q4_K_S": (Lift("Q5_K", where=_first_four),),
    "Q4_K_M": (Lift("Q6_K", where=_more_bits),),
    "Q5_K_M": (Lift("Q6_K", where=_more_bits),),
}

_DOWN = {
    "Q2_K": (Lift("Q3_K"),),
    "Q2_K_S": (Lift("Q4_K", where=_first_eighth),),
    "IQ3_XXS": (Lift("Q4_K", when=_no_imatrix, where=_first_eighth), Lift("Q3_K", when=_no_imatrix)),
    "IQ3_M": (Lift("Q4_K", where=_first_eighth), Lift("Q4_K", when=_eight_experts, where=_more_bits)),
    "Q3_K_M": (
        Lift("Q5_K", where=_first_sixteenth),
        Lift("Q4_K", when=_not_falcon),
        Lift("Q4_K", where=_more_bits),
    ),
    "Q3_K_L": (Lift("Q4_K", when=_falcon), Lift("Q5_K")),
    "Q4_K_S": (Lift("Q5_K", when=_not_falcon, where=_first_eighth),),
    "Q4_K_M": (
        Lift("Q6_K", when=_not_falcon, where=_more_bits),
        Lift("Q6_K", when=_falcon, where=_first_sixteenth),
        Lift("Q5_K", when=_falcon, where=_more_bits),
    ),
    "Q5_K_M": (Lift("Q6_K", where=_more_bits),),
    "IQ4_NL": (Lift("Q5_K", when=_no_imatrix, where=_first_eighth),),
    "IQ4_XS": (Lift("Q5_K", when=_no_imatrix, where=_first_eighth),),
    "Q4_0": (Lift("Q4_1", when=_imatrix, where=_first_eighth),),
    "Q5_0": (Lift("Q5_1", when=_imatrix, where=_first_eighth),),
}


def _ordinary(file_type: str) -> dict[Category, tuple[Lift, ...]]:
    lifts: dict[Category, tuple[Lift, ...]] = {
        Category.ATTN_V: _V_OF_FEW_HEADS + _V.get(file_type, ()),
        Category.ATTN_K: (Lift("Q8_0", when=_eight_experts),),
        Category.FFN_DOWN: _DOWN.get(file_type, ()),
        Category.ATTN_OUTPUT: _output_projection(file_type),
    }
    if file_type == "IQ3_XS":
        lifts[Category.ATTN_Q] = (Lift("IQ3_XXS"),)
        lifts[Category.ATTN_K] += (Lift("IQ3_XXS"),)
        lifts[Category.FFN_GATE] = lifts[Category.FFN_UP] = (Lift("IQ3_XXS", where=_middle),)
    if file_type == "IQ3_XXS":
        lifts[Category.ATTN_Q] = (Lift("IQ2_S"),)
        lifts[Category.ATTN_K] += (Lift("IQ2_S"),)
    return lifts


def _output_projection(file_type: str) -> tuple[Lift, ...]:
    lifts: list[Lift] = []
    if file_type == "Q3_K_L":
        lifts.append(Lift("Q4_K", when=_falcon))
    if file_type in _EIGHT_EXPERT_OUTPUT:
        lifts.append(Lift("Q5_K", when=lambda traits: _eight_experts(traits) and _not_falcon(traits)))
    if file_type in _ATTN_OUTPUT:
        when: When = lambda traits: not _eight_experts(traits) and _not_falcon(traits)  # noqa: E731
        lifts.append(Lift(_ATTN_OUTPUT[file_type], when=when))
    return tuple(lifts)


def _low_bit(file_type: str) -> dict[Category, tuple[Lift, ...]]:
    better = "IQ3_S" if file_type in ("IQ2_S", "IQ2_M") else "Q2_K"
    outputs = {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}
    output = (Lift(outputs[file_type]),) if file_type in outputs else ()
    return {
        Category.ATTN_V: (Lift("Q4_K", when=_grouped_or_mixed), Lift(better)),
        Category.ATTN_K: (Lift("Q4_K", when=_eight_experts),),
        Category.FFN_DOWN: (Lift(better, where=_first_eighth),),
        Category.ATTN_OUTPUT: (Lift("Q5_K", when=_eight_experts), *output),
    }


LIFTS: Mapping[str, Mapping[Category, tuple[Lift, ...]]] = {
    name: _low_bit(name) if name in LOW_BIT else _ordinary(name) for name in DEFAULT_TYPES
}

# What a tensor becomes whose rows are not whole blocks of the type it should have.
FALLBACK: Mapping[str, str] = dict.fromkeys(
    ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"
) | {
    "Q2_0": "Q4_0",
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "TQ1_0": "Q4_0",
    "TQ2_0": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
