"""The rates of an accelerator: what explains how long its calibration twins took, the host's part told apart.

An accelerator adds what a processor lacks: a fixed price per token, answers copied back, and a host that prepares
each micro-batch and launches its operations while the accelerator works on the one before (``advisor.roofline``).
So a prompt's time is no longer linear in the coefficients but piecewise so, and is solved again from where the last
solution stands.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

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
    solve,
    types_in,
    without,
    zero_rates,
)
from advisor.calibration.untimed import role_factor, roof_bytes_per_s, with_any_type
from advisor.engines.base import Phase
from advisor.roofline import ANY_TYPE, EXPERTS
from advisor.types import AttentionRates, Rates
from advisor.work import Work
from catalog.types import Role

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[np.float64]

#: What the cost model leaves unexplained on shapes that no calibration times, beside the noise of the samples: set so
#: that 80 % of 134 speeds of 14 shapes on an H100 lie in their intervals (``benchmarks/accelerator_refit.py``).
_DECODE_MODEL_SIGMA = 0.07
_PREFILL_MODEL_SIGMA = 0.09
_HALF_TOKENS_OPTIONS = (0.0, 16.0, 32.0, 64.0, 128.0)
_STEPS_COUNT = 12
_NUDGE = 1e-3
#: Prompts explained this well count alike, others the less: a hiccup of the host lengthens one by half.
_TRUSTED_FRAC = 0.2
#: Twins of little but one part, which do not show how well a whole model is explained.
_PARTIAL_TWINS = (ATTENTION, "embedded")


def fit_accelerator(
    observations: Sequence[Observation],
    *,
    device_id: str,
    backend: str,
    memory_bytes_per_s: float | None = None,
) -> Rates:
    """Rates that explain a calibration's observations on an accelerator.

    Args:
        observations: of ``accelerator_experiments``.
        device_id: the accelerator.
        backend: what the engine drives it through.
        memory_bytes_per_s: the bandwidth of its memory as probed, which no weights pass; None is unknown.
    """
    rates = replace(zero_rates(device_id, backend), fuses=True, memory_bytes_per_s=memory_bytes_per_s)
    rates = _fit_depth(rates, observations)
    usual = [item for item in observations if item.work.attention_kernel == USUAL_ATTENTION]
    decode = [item for item in usual if item.phase == "decode"]
    prefill = [item for item in usual if item.phase == "prefill"]
    rates = _fit_decode(rates, decode)
    rates = _fit_prefill(rates, prefill)
    rates = with_any_type(rates)
    return replace(
        rates,
        decode_sigma=math.hypot(residual_sigma(decode_s, rates, _whole(decode)), _DECODE_MODEL_SIGMA),
        prefill_sigma=math.hypot(residual_sigma(prefill_s, rates, _whole(prefill)), _PREFILL_MODEL_SIGMA),
        memory_bytes_per_s=roof_bytes_per_s(memory_bytes_per_s, rates),
        source="timed through the engine on this machine",
    )


def _whole(observations: Sequence[Observation]) -> list[Observation]:
    return [item for item in observations if not item.experiment_id.startswith(_PARTIAL_TWINS)]


@dataclass(frozen=True, slots=True)
class _Deeper:
    """By how much more cached tokens lengthened a step: what they cost the heads, by kind, and the host."""

    kind: tuple[HeadShape, AttentionKernel]
    attention_flop: float
    mask_cells_count: float
    time_s: float


def _deeper(observations: Sequence[Observation], phase: Phase) -> list[_Deeper]:
    """Every attention twin's longest step against its shortest."""
    by_twin: dict[str, list[Observation]] = {}
    for item in observations:
        if item.phase == phase and item.experiment_id.startswith(ATTENTION):
            by_twin.setdefault(item.experiment_id, []).append(item)
    found = []
    for items in by_twin.values():
        near, deep = (pick(items, key=lambda item: item.depth_tokens) for pick in (min, max))
        shape, kernel = near.work.head_shape, near.work.attention_kernel
        if shape is not None and deep.time_s > near.time_s:
            flop = deep.work.attention_flop - near.work.attention_flop
            cells = deep.work.mask_cells_count - near.work.mask_cells_count
            found.append(_Deeper((shape, kernel), flop, cells, deep.time_s - near.time_s))
    return found


def _depth_prices(found: Sequence[_Deeper]) -> tuple[dict[tuple[HeadShape, AttentionKernel], float], float]:
    """Seconds per flop of each kind of heads, and per cell of the mask, which all models pay once.

    Twins of one kind but of few and many layers tell the two apart.
    """
    import numpy as np
    from scipy.optimize import nnls

    kinds = list(dict.fromkeys(step.kind for step in found))
    if not kinds:
        return {}, 0.0
    design = np.zeros((len(found), len(kinds) + 1))
    for row, step in enumerate(found):
        design[row, kinds.index(step.kind)] = step.attention_flop / step.time_s
        design[row, -1] = step.mask_cells_count / step.time_s
    scale = design.max(axis=0)
    prices, _ = nnls(design / scale, np.ones(len(found)))
    prices /= scale
    return dict(zip(kinds, map(float, prices[:-1]), strict=True)), float(prices[-1])


def _fit_depth(rates: Rates, observations: Sequence[Observation]) -> Rates:
    """What cached tokens cost the heads of each shape, and the host."""
    decode, decode_cell_s = _depth_prices(_deeper(observations, "decode"))
    prefill, prefill_cell_s = _depth_prices(_deeper(observations, "prefill"))
    return replace(
        rates,
        attention=tuple(
            _attention(shape, kernel, prefill[shape, kernel], decode[shape, kernel])
            for shape, kernel in prefill
            if prefill[shape, kernel] > 0.0 and decode.get((shape, kernel), 0.0) > 0.0
        ),
        decode_s_per_cached_token=decode_cell_s,
        host_s_per_mask_cell=prefill_cell_s,
    )


def _attention(shape: HeadShape, kernel: AttentionKernel, prefill: float, decode: float) -> AttentionRates:
    """One price near and far back: no accelerator's cache holds either."""
    return AttentionRates(
        head_dim=shape.head_dim,
        kv_heads_count=shape.kv_heads_count,
        queries_per_kv_head=shape.queries_per_kv_head,
        flash=kernel.flash,
        kv_quant_id=kernel.kv_quant_id,
        prefill_s_per_flop=prefill,
        deep_prefill_s_per_flop=prefill,
        decode_s_per_flop=decode,
        deep_decode_s_per_flop=decode,
    )


def _types(observations: Sequence[Observation]) -> list[str]:
    """Types of the layers' weights; those of outputs and experts have rates of their own."""
    return sorted({kind for role in (Role.ATTENTION, Role.FFN) for kind in types_in(observations, role)})


def _coefficients(field: str, names: Iterable[str]) -> list[Coefficient]:
    return [Coefficient(field, name) for name in names]


_DECODE_FIELDS = (
    "decode_s_per_token",
    "decode_s_per_operation",
    "decode_s_per_activation",
    "decode_s_per_logit",
    "decode_s_per_moe_layer",
    "state_s_per_byte",
)


def _fit_decode(rates: Rates, observations: Sequence[Observation]) -> Rates:
    experts = _coefficients("decode_s_per_byte", keys(observations, Role.EXPERT))
    wanted = [*_coefficients("decode_s_per_byte", _types(observations)), *experts, *map(Coefficient, _DECODE_FIELDS)]
    rates = solve(decode_s, without(rates, "decode_s_per_byte", experts), wanted, observations)
    return replace(rates, decode_expert_factor=role_factor(rates.decode_s_per_byte, EXPERTS))


_PREFILL_FIELDS = (
    "prefill_s_per_operation",
    "prefill_s_per_embedded_value",
    "state_s_per_flop",
    "host_s_per_pass",
    "host_s_per_token",
    "host_s_per_launch",
    "host_s_per_moe_layer",
)


def _fit_prefill(rates: Rates, observations: Sequence[Observation]) -> Rates:
    experts = _coefficients("prefill_s_per_flop", keys(observations, Role.EXPERT))
    embedded = {item.work.embedding_type for item in observations if item.work.embedding_type is not None}
    wanted = [
        *_coefficients("prefill_s_per_flop", _types(observations)),
        *experts,
        Coefficient("expert_s_per_byte", ANY_TYPE),
        *_coefficients("host_s_per_embedded_value", sorted(embedded)),
        *map(Coefficient, _PREFILL_FIELDS),
    ]
    # without the roof, for a price that may not pass it would not be linear in the coefficients from zero on
    bare = replace(without(rates, "prefill_s_per_flop", experts), memory_bytes_per_s=None)
    options = [_settle(replace(bare, ubatch_half_tokens=half), wanted, observations) for half in _HALF_TOKENS_OPTIONS]
    best = min(options, key=lambda option: residual_sigma(prefill_s, option, observations))
    rates = replace(best, memory_bytes_per_s=rates.memory_bytes_per_s)
    return replace(rates, prefill_moe_factor=role_factor(rates.prefill_s_per_flop, EXPERTS))


def _settle(rates: Rates, coefficients: Sequence[Coefficient], observations: Sequence[Observation]) -> Rates:
    """Least squares on relative errors of prompts, none of the coefficients below zero.

    How much of the host's work a device hides depends on the coefficients themselves: the first solution takes it
    that none is hidden, and each further one what the last says, as long as that helps.
    """
    import numpy as np

    works = [item.work for item in observations]
    seconds = np.array([item.time_s for item in observations])
    passes = np.array([float(work.passes_count) for work in works])
    held = _parts(rates, works)
    design = np.stack([_parts(one.put(rates, 1.0), works) - held for one in coefficients], axis=2)
    parts, slopes, weights = held, np.broadcast_to(passes, held.shape), np.ones(len(works))
    best, least = np.zeros(len(coefficients)), math.inf
    for _ in range(_STEPS_COUNT):
        values = _solve_slopes(slopes, design, _total_s(parts, passes), parts - held, seconds, weights)
        parts = design @ values + held
        error = np.abs(_total_s(parts, passes) / seconds - 1.0)
        weights = np.sqrt(_TRUSTED_FRAC / np.maximum(error, _TRUSTED_FRAC))
        misfit = float(np.square(error * weights).sum())
        if misfit < least:
            best, least = values, misfit
        slopes = _slopes(parts, passes)
    for one, value in zip(coefficients, best, strict=True):
        rates = one.put(rates, float(value))
    return rates


def _parts(rates: Rates, works: Sequence[Work]) -> "Array":
    """Seconds per micro-batch of preparing, launching and the device (rows) of each prompt at some rates."""
    import numpy as np

    host = [roofline.price_host(work, rates) for work in works]
    device = [roofline.total_s(roofline.price_prefill_alone(work, rates)) / work.passes_count for work in works]
    return np.array([[prepare_s for prepare_s, _ in host], [launch_s for _, launch_s in host], device])


def _total_s(parts: "Array", passes: "Array") -> "Array":
    prepare_s, launch_s, device_s = parts
    return roofline.overlapped_s(prepare_s, launch_s, device_s, passes)


def _slopes(parts: "Array", passes: "Array") -> "Array":
    """By how much a prompt's seconds grow with those of each of its parts."""
    import numpy as np

    now = _total_s(parts, passes)
    nudge = _NUDGE * now
    nudged = [parts + nudge * (np.arange(len(parts)) == part)[:, None] for part in range(len(parts))]
    return np.array([(_total_s(more, passes) - now) / nudge for more in nudged])


def _solve_slopes(
    slopes: "Array", design: "Array", now: "Array", explained: "Array", seconds: "Array", weights: "Array"
) -> "Array":
    """Coefficients whose columns, along the slopes, make up what the prompts took beyond what is held."""
    import numpy as np
    from scipy.optimize import nnls

    columns = np.einsum("po,poc->oc", slopes, design) * (weights / seconds)[:, None]
    scale = columns.max(axis=0)
    scale[scale <= 0.0] = 1.0
    left = (seconds - now + (slopes * explained).sum(axis=0)) * weights / seconds
    values, _ = nnls(columns / scale, left)
    return np.asarray(values / scale)
