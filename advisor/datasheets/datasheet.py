"""Rates of a chip that is not here, from its data sheet and what published runs taught.

Gaps in a data sheet are filled by what chips of the kind usually have; such rates are wider and say so.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from advisor.datasheets.coefficients import Coefficients, load_coefficients
from advisor.datasheets.factors import (
    DecodeFactors,
    Factor,
    Setting,
    decode_factors,
    flop_per_byte,
    prefill_factors,
    replays_graphs,
)
from advisor.datasheets.traits import ChipTraits, traits_of
from advisor.roofline import ANY_TYPE, UNRECORDED_LAUNCH_S, expert_key
from advisor.types import Basis, Rates
from catalog.ggml_types import TYPES
from catalog.types import ChipSpec

#: Bandwidth of a chip that tells none: two channels of DDR4-3200, a mid-range card.
_ASSUMED_BYTES_PER_S = {"cpu": 51.2e9}
_ASSUMED_ACCELERATOR_BYTES_PER_S = 250e9
#: Extra log standard deviation where a field had to be assumed.
_IMPUTED_SIGMA = 0.1
_ASSUMED_BANDWIDTH_SIGMA = 0.5
_INT8_PER_LANE = 4.0
#: Small batches cost this many times a prompt token's arithmetic per further user: batches of 2 to 32 on GB10 and
#: M2 Ultra (``benchmarks/batched_decode.py``).
_BATCH_MATVEC_FACTOR = 4.0
#: What a processor takes for a flop of attention from quantised caches, relative to F16: it unpacks each row it reads
#: again. Medians of eleven calibrations through the engine of an x86 one (quarters: decode 1.1-1.6 and 1.8-2.7, prompts
#: 4.3-5.3 and 8.5-10.6). Accelerators unpack in registers.
_CPU_KV_DECODE = {"q8_0": 1.3, "q4_0": 2.1}
_CPU_KV_PREFILL = {"q8_0": 5.0, "q4_0": 9.4}
#: Types read rarely or never published stand behind this one.
_FALLBACK_TYPE = "Q4_K"
TODAY = Setting()


def rates_for_chip(
    chip: ChipSpec,
    backend: str,
    *,
    device_id: str | None = None,
    threads_count: int | None = None,
    setting: Setting = TODAY,
    coefficients: Coefficients | None = None,
) -> Rates:
    """What a chip should achieve with a backend.

    Args:
        chip: its data sheet; a measured bandwidth may stand in the place of the listed one.
        backend: cuda, metal, rocm, vulkan, sycl or cpu.
        device_id: the device the rates are for; the backend's first if None.
        threads_count: CPU threads the engine will use.
        setting: the build's age and flash attention.
        coefficients: other effects than the packaged ones, for leave-one-out checks.
    """
    known = coefficients or load_coefficients()
    traits = traits_of(chip, backend)
    if traits is None:
        assumed = _ASSUMED_BYTES_PER_S.get(chip.kind, _ASSUMED_ACCELERATOR_BYTES_PER_S)
        rates = rates_for_chip(
            replace(chip, memory_bytes_per_s=assumed),
            backend,
            device_id=device_id,
            threads_count=threads_count,
            setting=setting,
            coefficients=known,
        )
        return _assumed(rates)
    doubt = _IMPUTED_SIGMA if traits.imputed else 0.0
    decode, prefill = decode_factors(traits, setting), prefill_factors(traits, setting)
    effects = known.effects
    return Rates(
        device_id=device_id or ("cpu" if backend == "cpu" else f"{backend}:0"),
        backend=backend,
        basis=Basis.DATASHEET,
        decode_s_per_byte=_with_experts(_byte_costs(decode, effects), decode.expert, effects),
        kv_s_per_byte=decode.kv_byte.value(effects),
        decode_attention_s_per_flop=decode.attention_flop.value(effects),
        state_s_per_byte=decode.kv_byte.value(effects),
        decode_s_per_operation=decode.operation.value(effects),
        decode_s_per_moe_layer=decode.moe_layer.value(effects),
        prefill_s_per_flop=_with_experts(_values(prefill.weight_flop, effects), prefill.expert, effects),
        ubatch_half_tokens=prefill.ubatch_half.value(effects),
        expert_half_tokens=prefill.expert_half.value(effects),
        batch_matvec_factor=_BATCH_MATVEC_FACTOR if backend != "cpu" else 1.0,
        batch_half_tokens=prefill.ubatch_half.value(effects) if backend != "cpu" else None,
        batch_s_per_operation=UNRECORDED_LAUNCH_S if replays_graphs(traits) else 0.0,
        experts_reread=backend == "metal",
        prefill_s_per_byte=prefill.weight_byte.value(effects),
        attention_s_per_flop=prefill.attention_flop.value(effects),
        attention_s_per_score=prefill.score.value(effects),
        kv_decode_factors=_CPU_KV_DECODE if backend == "cpu" else {},
        kv_prefill_factors=_CPU_KV_PREFILL if backend == "cpu" else {},
        prefill_s_per_activation=prefill.activation.value(effects),
        prefill_s_per_routed_activation=prefill.routed_activation.value(effects),
        prefill_s_per_layer=prefill.layer.value(effects),
        prefill_s_per_moe_layer=prefill.moe_layer.value(effects),
        decode_sigma=math.hypot(known.sigma("decode", traits), doubt),
        prefill_sigma=math.hypot(known.sigma("prefill", traits), doubt),
        threads_count=threads_count,
        memory_bytes_per_s=traits.memory_bytes_per_s,
        flop_per_s=_peak_flop_per_s(chip, traits),
        source=_source(traits, known),
    )


def _peak_flop_per_s(chip: ChipSpec, traits: ChipTraits) -> float | None:
    """The fastest arithmetic a chip is listed with or its lanes can do; no estimate may pass it.

    Quantised products run on 8-bit integers: four in a lane where no matrix unit is listed.
    """
    if chip.kind == "cpu" or traits.imputed:
        return None
    listed = (chip.int8_op_per_s, chip.fp16_flop_per_s, chip.fp32_flop_per_s)
    return max(_INT8_PER_LANE * traits.vector_flop_per_s, *(rate for rate in listed if rate))


def _assumed(rates: Rates) -> Rates:
    return replace(
        rates,
        basis=Basis.ASSUMED,
        decode_sigma=math.hypot(rates.decode_sigma, _ASSUMED_BANDWIDTH_SIGMA),
        prefill_sigma=math.hypot(rates.prefill_sigma, _ASSUMED_BANDWIDTH_SIGMA),
        source=f"{rates.source}; memory bandwidth assumed",
    )


def _source(traits: ChipTraits, known: Coefficients) -> str:
    nearness = {
        "chip": "runs on this chip among them",
        "generation": f"runs on other {traits.generation} chips among them",
        "stack": f"none on {traits.generation}",
        "unknown": f"none with {traits.stack}",
    }
    text = (
        f"data sheet of {traits.chip_id}, fitted on {known.runs_count} published runs, {nearness[known.level(traits)]}"
    )
    return f"{text}; {', '.join(traits.imputed)} imputed" if traits.imputed else text


def _values(factors: Mapping[str, Factor], effects: Mapping[str, float]) -> dict[str, float]:
    return {name: factor.value(effects) for name, factor in factors.items()}


def _with_experts(
    dense: dict[str, float], experts: Mapping[str, Factor], effects: Mapping[str, float]
) -> dict[str, float]:
    """Coefficients by type, routed experts beside dense weights where they differ."""
    factors = _values(experts, effects)
    own = {expert_key(name): dense[name] * factors[name] for name in dense if factors[name] != 1.0}
    return {**dense, **own, ANY_TYPE: dense[_FALLBACK_TYPE]}


def _byte_costs(factors: DecodeFactors, effects: Mapping[str, float]) -> dict[str, float]:
    """Seconds per weight byte while decoding: moving it, and unpacking the weights in it."""
    moved, unpacked = _values(factors.weight_byte, effects), _values(factors.weight_flop, effects)
    return {name: moved[name] + unpacked[name] * flop_per_byte(TYPES[name]) for name in TYPES}
