"""Fit the effects of ``advisor.datasheets.factors`` to published runs, and measure how far they hold.

Every effect is shrunk towards zero by a spread that says how much such effects differ in the world. The
spreads were chosen by errors on chips and models left out, never by the fit itself; a few coarse values
were tried for each.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.datasheets.design import monomials_of
from advisor.datasheets.posynomial import Design, Floats, fit
from advisor.datasheets.published import PricedRow
from advisor.datasheets.traits import ChipTraits
from catalog.units import Z_80

PHASES = ("decode", "prefill")
#: Scale of the t distribution of residuals: what the same chip, model and build differ by between tables.
_NOISE = {"decode": 0.05, "prefill": 0.08}
#: Phases in which what a cell's runs differed by adds to that. In prompts they differ by drivers and libraries, which
#: are what is asked about: counted there, chips left out were predicted worse.
_CELL_NOISE_COUNTS = frozenset({"decode"})
#: Standard deviation of effects, by longest matching start of the name; a pair gives the stack's effect and
#: the generation's within it (or a type's and the type's on one stack).
_SPREADS: Mapping[str, float | tuple[float, float]] = {
    "decode.byte/": (0.1, 0.1),
    "decode.byte/cpu": 0.12,
    "decode.byte:": (0.1, 0.1),
    "decode.byte:Q4_0": (1e-3, 0.1),  # the type all others are relative to
    "decode.flop/": (0.3, 0.8),
    "decode.flop:": 0.7,
    "decode.flop:Q4_0": 1e-3,
    "decode.operation/": (0.5, 0.5),
    "decode.operation_age": 0.4,
    "decode.operation_age/": 0.3,
    "decode.moe_layer/": 0.8,
    "decode.expert/": 0.08,
    "decode.expert:": 0.8,
    "decode.kv/": 0.3,
    "decode.plain": 1.2,
    "decode.plain/": 1.0,
    "decode.attention/": 0.7,
    "decode.age/": 0.02,
    "decode.joined_dies": 0.15,
    "decode.inline_ecc": 0.07,
    "decode.integrated": 0.05,
    "decode.chip/": 0.04,
    "prefill.flop/": (0.7, 0.12),
    "prefill.flop/cpu": 0.5,
    "prefill.flop/metal/M5": 0.3,  # its matrix units are a vendor's claim, not a rate
    "prefill.flop:": (0.3, 0.12),
    "prefill.flop:Q4_0": (1e-3, 0.08),
    "prefill.age/": (0.04, 0.15),
    "prefill.early/": 0.8,
    "prefill.power": 1.0,
    "prefill.expert/": 0.2,
    "prefill.expert:": 0.8,
    "prefill.ubatch_half": 0.2,
    "prefill.expert_half": 1.0,
    "prefill.byte/": 0.3,
    "prefill.attention": 1.0,
    "prefill.attention/": (0.8, 0.2),
    "prefill.score": 1.0,
    "prefill.score/": 0.5,
    "prefill.activation/": (1.0, 0.4),
    "prefill.layer/": 0.4,
    "prefill.moe_layer/": 0.5,
    "prefill.host_routing/": 0.8,
    "prefill.routed_activation/": 0.7,
    "prefill.chip/": 0.15,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A priced row, the traits of its chip, and the log standard error of the row's figure (zero: unknown)."""

    priced: PricedRow
    traits: ChipTraits
    error_log: float = 0.0

    @property
    def chip(self) -> str:
        """The chip's id."""
        return self.traits.chip_id

    @property
    def model(self) -> str:
        """The model's id."""
        return self.priced.model.model_id

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """What rows of one sweep share."""
        return (self.traits.stack, self.chip, self.model, self.priced.row.quant)


def spread_of(name: str) -> float:
    """Prior standard deviation of an effect."""
    start = max((start for start in _SPREADS if name.startswith(start)), key=len)
    value = _SPREADS[start]
    if isinstance(value, float):
        return value
    broad, narrow = value
    coefficient, _, rest = name.partition(":")
    if rest:
        return narrow if "/" in rest else broad
    return narrow if coefficient.count("/") > 1 else broad


def _scale(phase: str, sample: Sample) -> float:
    """Scale of the t distribution of a sample's residual."""
    return math.hypot(_NOISE[phase], sample.error_log if phase in _CELL_NOISE_COUNTS else 0.0)


#: Expected range of 2 to 16 draws from a normal distribution, in standard deviations (d2 of control charts).
_RANGE_PER_SIGMA = (1.13, 1.69, 2.06, 2.33, 2.53, 2.70, 2.85, 2.97, 3.08, 3.17, 3.26, 3.34, 3.41, 3.47, 3.53)


def error_of_median(low: float, high: float, runs_count: int) -> float:
    """Log standard error of the middle of some runs that lie between two speeds; zero for a single one."""
    if runs_count < 2:
        return 0.0
    sigma = math.log(high / low) / _RANGE_PER_SIGMA[min(runs_count, len(_RANGE_PER_SIGMA) + 1) - 2]
    return sigma / math.sqrt(runs_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFit:
    """One phase's measurements, laid out for fitting any subset of them."""

    phase: str
    samples: tuple[Sample, ...]
    design: Design
    log_times: Floats
    weights: Floats
    scales: Floats
    spreads: Floats

    @classmethod
    def of(cls, phase: str, samples: Sequence[Sample]) -> "PhaseFit":
        """Lay out the samples of a phase. Rows of one sweep share their weight: they err alike."""
        own = tuple(sample for sample in samples if sample.priced.row.phase == phase)
        design = Design.of([monomials_of(sample.priced, sample.traits) for sample in own])
        counts: dict[tuple[str, ...], int] = {}
        for sample in own:
            counts[sample.cell] = counts.get(sample.cell, 0) + 1
        return cls(
            phase=phase,
            samples=own,
            design=design,
            log_times=np.log([sample.priced.measured_s for sample in own]),
            weights=np.array([counts[sample.cell] ** -0.5 for sample in own]),
            scales=np.array([_scale(phase, sample) for sample in own]),
            spreads=np.array([spread_of(name) for name in design.names]),
        )

    def fit(self, used: Floats | None = None, start: Floats | None = None) -> Floats:
        """Effects fitted on the samples that ``used`` marks with one."""
        weights = self.weights if used is None else self.weights * used
        return fit(self.design, self.log_times, self.spreads, weights=weights, scales=self.scales, start=start)

    def effects(self, fitted: Floats) -> dict[str, float]:
        """Effects by name."""
        return dict(zip(self.design.names, map(float, fitted), strict=True))

    def leave_out(self, key: Callable[[Sample], str]) -> Floats:
        """Log of predicted over measured time of every sample, its group left out of the fit."""
        whole = self.fit()
        groups = np.array([key(sample) for sample in self.samples])
        residuals = np.empty(len(groups))
        for group in sorted(set(groups)):
            held_out = groups == group
            fitted = self.fit(used=(~held_out).astype(float), start=whole)
            residuals[held_out] = (self.design.log_times(fitted) - self.log_times)[held_out]
        return residuals


#: How many chips of other stacks a stack's own residuals are pooled with.
_POOLED_CHIPS_COUNT = 1.0
_WITHIN = 0.8


def spread_of_residuals(
    samples: Sequence[Sample], residuals: Floats, weights: Floats, *, least_rows: int = 3
) -> dict[str, float]:
    """Log standard deviation that makes 80 % intervals hold the residuals, by stack and over all ("*").

    A stack seen on few chips borrows from all others: logarithms are pooled with `_POOLED_CHIPS_COUNT`
    chips' worth of the overall figure. The share of residuals that must be held grows by one part in the number of
    chips, as a further chip's must be too (split conformal prediction: Vovk, Gammerman and Shafer, "Algorithmic
    Learning in a Random World", 2005).
    """
    misses = np.abs(residuals)
    overall = weighted_quantile(misses, weights, held_share({sample.chip for sample in samples})) / Z_80
    sigmas = {"*": overall}
    stacks = np.array([sample.traits.stack for sample in samples])
    for stack in sorted(set(stacks)):
        own = stacks == stack
        if own.sum() < least_rows:
            continue
        seen = {sample.chip for sample in samples if sample.traits.stack == stack}
        chips, sigma = len(seen), weighted_quantile(misses[own], weights[own], held_share(seen)) / Z_80
        pooled = (chips * np.log(sigma) + _POOLED_CHIPS_COUNT * np.log(overall)) / (chips + _POOLED_CHIPS_COUNT)
        sigmas[stack] = float(np.exp(pooled))
    return sigmas


def held_share(chips: Collection[str]) -> float:
    """Share of the residuals on some chips that an interval must hold for four in five of further ones."""
    return min(1.0, _WITHIN * (1.0 + 1.0 / len(chips)))


def weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    """The smallest value below which at least a share of the weight lies."""
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    index = int(np.searchsorted(cumulated, share * cumulated[-1]))
    return float(values[order][min(index, len(values) - 1)])
