"""How each coefficient of the cost model follows from a data sheet: a physical base times fitted effects.

Every coefficient of `Rates` is a physical base (one over the bandwidth, one over the vector rate, a launch
time) times ``exp(sum of fitted effects)``. Effects form a tree that shrinks to nothing where nothing was
published: the stack (backend, and whose hardware), the generation within it, the chip itself; beside them
the storage type, the age of the build and what the chip may draw. An unseen generation gets its stack's
figure, an unseen chip its generation's; what attention costs, with and without a score matrix, and how fast launches
got cheaper is shared by all stacks first. ``advisor.datasheets.datasheet`` turns the products into rates,
``advisor.datasheets.design`` into what ``benchmarks/fit_datasheet.py`` fits.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from advisor.datasheets.traits import ChipTraits
from catalog.ggml_types import TYPES, GgmlType

#: Builds as old as this or younger count as new: their age is zero.
NEWEST_BUILD = 2026.0
#: First builds that support a generation at all.
_FIRST_BUILDS = {"M5": 2025.9, "Blackwell": 2025.2, "RDNA 4": 2025.3}
#: Before these, a generation ran on kernels that were not made for it, and its matrix units stood idle.
_TUNED_BUILDS = {"RDNA 3.5": 2025.7}
#: What multiplies meanwhile, in vector rates: Vulkan's shaders packed FP16, as on chips without matrix units; ROCm's
#: libraries had no kernels for the chip.
_PER_VECTOR_UNTUNED = {"vulkan-amd": 2.0}

#: CUDA graphs took over launching in 2024, on Ampere and later.
_WITHOUT_GRAPHS = frozenset({"Kepler", "Kepler 2.0", "Maxwell", "Pascal", "Volta", "Turing"})
#: Decoding there takes the same time on chips with few cores and with many.
_UNPACKING_FOR_FREE = frozenset({"metal"})
_USUAL_EFFICIENCY = 0.9
_BASE_OPERATION_S = 3e-6
_BASE_MOE_LAYER_S = 20e-6
_BASE_PREFILL_LAYER_S = 60e-6
_BASE_PREFILL_MOE_LAYER_S = 150e-6
#: Before this, CUDA builds sorted a batch's tokens by expert on the host, between two synchronisations.
_DEVICE_ROUTING_SINCE = 2025.66
_HOST_ROUTING_FACTOR = 10.0
_BASE_UBATCH_HALF_TOKENS = 65.0
#: On a processor experts cost about twice what dense weights do at this many rows (an x86 one timed through the engine:
#: 2.2 times); what matrix units need beyond is fitted.
_BASE_EXPERT_HALF_TOKENS = 15.0
#: Bytes of element-wise traffic per hidden value and layer: about sixty passes in FP32, quantising included.
_BASE_ACTIVATION_BYTES = 250.0
#: Bytes per value that a routed expert takes in or works on: gathered, quantised, activated, weighed, added.
_BASE_ROUTED_ACTIVATION_BYTES = 40.0
#: Without flash attention a score is written, masked, normalised and read back: about six passes in FP32.
_BASE_SCORE_BYTES = 24.0
_BASE_PREFILL_FLOP = 0.5
_BASE_ATTENTION_FLOP = 1.0
_BASE_PREFILL_BYTES = 0.7
_BASE_KV = 1.5
_BASE_DECODE_ATTENTION_FLOP = 4.0
#: Without flash attention a decoded token pays for every score by itself, whatever the bandwidth: 1.3 ns of 128 values
#: on an M2 Ultra, at 32 and at 64 heads alike, 0.2 to 0.3 ns on an L40S, an A100 and an H100. Seconds per flop:
_BASE_PLAIN_FLOP_S = 1e-12
#: Kernels of a processor take half as long without flash attention as with it (an x86 one timed through the engine).
_PLAIN_PER_FLASH_ON_CPU = 0.5
#: A processor multiplies packed integers in two instructions, accelerators in one.
_CPU_UNPACKING = 2.0
#: Kernels of the types below two and three bits unpack by table look-ups.
_LOOKUP_TYPES = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "TQ1_0", "TQ2_0"})
#: Vector operations per weight relative to a 4-bit type, whose products take four weights at a time: floats take
#: them one by one, and the bits of two- and three-bit types lie in two places.
_UNPACKING = {"F32": 4.0, "F16": 4.0, "BF16": 4.0, "Q2_K": 2.0, "Q3_K": 2.0}
#: Types whose kernels for routed experts are far from those for dense weights on some stacks.
_OWN_EXPERT_KERNELS = ("BF16",)
_LOOKUP_DECODE = 1.2
_LOOKUP_PREFILL = 1.3

Effects = Mapping[str, float]
#: (effect, how strongly the coefficient takes part in it)
Exponent = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Factor:
    """A coefficient: ``base`` times the exponential of its effects."""

    base: float
    exponents: tuple[Exponent, ...] = ()

    def value(self, effects: Effects) -> float:
        """The coefficient; effects that were never fitted are zero."""
        return self.base * math.exp(sum(effects.get(name, 0.0) * weight for name, weight in self.exponents))

    def times(self, *exponents: Exponent, base: float = 1.0) -> "Factor":
        """The product with another factor."""
        return Factor(self.base * base, self.exponents + exponents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the engine was built and run: the build's decimal year (None: today's) and flash attention."""

    built: float | None = None
    flash_attention: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeFactors:
    """Coefficients of decoding one token. Weights cost their bytes and the arithmetic of unpacking them."""

    weight_byte: Mapping[str, Factor]
    weight_flop: Mapping[str, Factor]
    expert: Mapping[str, Factor]
    kv_byte: Factor
    attention_flop: Factor
    operation: Factor
    moe_layer: Factor


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillFactors:
    """Coefficients of working through a prompt."""

    weight_flop: Mapping[str, Factor]
    expert: Mapping[str, Factor]
    ubatch_half: Factor
    expert_half: Factor
    weight_byte: Factor
    attention_flop: Factor
    score: Factor
    activation: Factor
    routed_activation: Factor
    layer: Factor
    moe_layer: Factor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """Names of the effects a chip takes part in."""

    traits: ChipTraits
    age: float
    early: float
    whole: tuple[Exponent, ...] = field(default=())

    def tree(self, coefficient: str) -> tuple[Exponent, ...]:
        """A coefficient's effects of the stack and of the generation within it."""
        stack = self.traits.stack
        return ((f"{coefficient}/{stack}", 1.0), (f"{coefficient}/{stack}/{self.traits.generation}", 1.0))


def _names(phase: str, traits: ChipTraits, setting: Setting) -> _Names:
    first = _FIRST_BUILDS.get(traits.generation, 0.0)
    built = NEWEST_BUILD if setting.built is None else max(setting.built, first)
    age = max(0.0, NEWEST_BUILD - built)
    tuned = _TUNED_BUILDS.get(traits.generation)
    early = 1.0 if tuned is not None and built < tuned else 0.0
    whole = ((f"{phase}.chip/{traits.stack}/{traits.chip_id}", 1.0),)
    return _Names(traits=traits, age=age, early=early, whole=whole)


def replays_graphs(traits: ChipTraits) -> bool:
    """Whether a single user's token is one recorded graph, replayed: on CUDA from Ampere on."""
    return traits.stack == "cuda" and traits.generation not in _WITHOUT_GRAPHS


def decode_factors(traits: ChipTraits, setting: Setting = Setting()) -> DecodeFactors:
    """Coefficients of decoding as products of fitted effects."""
    names = _names("decode", traits, setting)
    stack, bandwidth = traits.stack, traits.memory_bytes_per_s
    aged = (*names.whole, (f"decode.age/{stack}", names.age))
    byte = Factor(1.0 / (_USUAL_EFFICIENCY * bandwidth), (*names.tree("decode.byte"), *aged)).times(
        ("decode.joined_dies", float(traits.joined_dies)),
        ("decode.inline_ecc", float(traits.inline_ecc)),
        ("decode.integrated", float(traits.integrated)),
    )
    flop = Factor(_unpacking_s(traits), (*names.tree("decode.flop"), *aged))
    launch_age = names.age if stack != "cuda" or replays_graphs(traits) else 0.0
    overhead = (*aged, ("decode.operation_age", launch_age), (f"decode.operation_age/{stack}", launch_age))
    return DecodeFactors(
        weight_byte={name: _typed(byte, "decode.byte", stack, name, _LOOKUP_DECODE) for name in TYPES},
        weight_flop={name: flop.times((f"decode.flop:{name}", 1.0), base=_UNPACKING.get(name, 1.0)) for name in TYPES},
        expert=_experts("decode.expert", stack),
        kv_byte=Factor(_BASE_KV / bandwidth, ((f"decode.kv/{stack}", 1.0), *aged)),
        attention_flop=_decode_attention(traits, setting).times(*aged),
        operation=Factor(_BASE_OPERATION_S, (*names.tree("decode.operation"), *overhead)),
        moe_layer=Factor(_BASE_MOE_LAYER_S, ((f"decode.moe_layer/{stack}", 1.0), *overhead)),
    )


def _unpacking_s(traits: ChipTraits) -> float:
    """Seconds per flop that weights take to be unpacked.

    Within a generation it goes by the power a chip may draw rather than by its lanes: all of them are at work.
    """
    if traits.stack in _UNPACKING_FOR_FREE:
        return 0.0
    base = _CPU_UNPACKING if traits.stack == "cpu" else 1.0
    return base * math.exp(-traits.power_log) / traits.vector_flop_per_s


def _decode_attention(traits: ChipTraits, setting: Setting) -> Factor:
    """Seconds per flop of a decoded token's attention: by arithmetic in one sweep, score by score without it."""
    stack, vector_s = traits.stack, 1.0 / traits.vector_flop_per_s
    flash = Factor(_BASE_DECODE_ATTENTION_FLOP * vector_s, ((f"decode.attention/{stack}", 1.0),))
    if setting.flash_attention:
        return flash
    if stack == "cpu":
        return flash.times(base=_PLAIN_PER_FLASH_ON_CPU)
    return Factor(_BASE_PLAIN_FLOP_S + vector_s, (("decode.plain", 1.0), (f"decode.plain/{stack}", 1.0)))


def prefill_factors(traits: ChipTraits, setting: Setting = Setting()) -> PrefillFactors:
    """Coefficients of prompt processing as products of fitted effects."""
    names = _names("prefill", traits, setting)
    stack, bandwidth = traits.stack, traits.memory_bytes_per_s
    whole = names.whole
    power = ("prefill.power", -traits.power_log)
    aged = (
        (f"prefill.age/{stack}", names.age),
        (f"prefill.age/{stack}/{traits.generation}", names.age),
        (f"prefill.early/{stack}", names.early),
    )
    untuned = traits.vector_flop_per_s * _PER_VECTOR_UNTUNED.get(stack, 1.0)
    rate = untuned if names.early else traits.matrix_flop_per_s
    flop = Factor(_BASE_PREFILL_FLOP / rate, (*names.tree("prefill.flop"), *whole, *aged, power))
    promoted = {"BF16": rate / min(rate, traits.bf16_flop_per_s)}
    flash = setting.flash_attention
    return PrefillFactors(
        weight_flop={
            name: _typed(flop, "prefill.flop", stack, name, _LOOKUP_PREFILL).times(base=promoted.get(name, 1.0))
            for name in TYPES
        },
        expert=_experts("prefill.expert", stack),
        ubatch_half=Factor(_BASE_UBATCH_HALF_TOKENS, (("prefill.ubatch_half", 1.0),)),
        expert_half=Factor(_BASE_EXPERT_HALF_TOKENS, (("prefill.expert_half", 0.0 if stack == "cpu" else 1.0),)),
        weight_byte=Factor(_BASE_PREFILL_BYTES / bandwidth, ((f"prefill.byte/{stack}", 1.0), *whole)),
        attention_flop=Factor(
            _BASE_ATTENTION_FLOP / traits.vector_flop_per_s if flash else 0.0,
            (("prefill.attention", 1.0), *names.tree("prefill.attention"), *whole, power),
        ),
        score=Factor(
            0.0 if flash else _BASE_SCORE_BYTES / bandwidth,
            (("prefill.score", 1.0), (f"prefill.score/{stack}", 1.0), *whole),
        ),
        activation=Factor(_BASE_ACTIVATION_BYTES / bandwidth, (*names.tree("prefill.activation"), *whole)),
        routed_activation=Factor(
            _BASE_ROUTED_ACTIVATION_BYTES / bandwidth, ((f"prefill.routed_activation/{stack}", 1.0), *whole)
        ),
        layer=Factor(_BASE_PREFILL_LAYER_S, ((f"prefill.layer/{stack}", 1.0), *whole)),
        moe_layer=_prefill_moe_layer(stack, setting).times(*whole),
    )


def _prefill_moe_layer(stack: str, setting: Setting) -> Factor:
    factor = Factor(_BASE_PREFILL_MOE_LAYER_S, ((f"prefill.moe_layer/{stack}", 1.0),))
    if stack == "cuda" and setting.built is not None and setting.built < _DEVICE_ROUTING_SINCE:
        return factor.times((f"prefill.host_routing/{stack}", 1.0), base=_HOST_ROUTING_FACTOR)
    return factor


def _typed(factor: Factor, coefficient: str, stack: str, tensor_type: str, lookup: float) -> Factor:
    base = lookup if tensor_type in _LOOKUP_TYPES else 1.0
    return factor.times((f"{coefficient}:{tensor_type}", 1.0), (f"{coefficient}:{tensor_type}/{stack}", 1.0), base=base)


def _experts(coefficient: str, stack: str) -> Mapping[str, Factor]:
    """Time of routed experts relative to dense weights of the same type, by type."""
    common = Factor(1.0, ((f"{coefficient}/{stack}", 1.0),))
    own = {name: common.times((f"{coefficient}:{name}/{stack}", 1.0)) for name in _OWN_EXPERT_KERNELS}
    return {name: own.get(name, common) for name in TYPES}


def flop_per_byte(ggml_type: GgmlType) -> float:
    """Floating-point operations that one stored byte of a type takes part in per token."""
    return 2.0 * ggml_type.block_weights_count / ggml_type.block_bytes
