"""Fit sums of products of effects to measured times, shrinking every effect towards nothing.

The model of one measurement is a posynomial: ``log t = log(sum of m_k)`` with ``log m_k`` linear in the
effects. Residuals follow Student's t distribution, so a mispublished row pulls little; effects are normal
around zero with the spreads that the caller gives, which makes the estimate a maximum a posteriori one
(partial pooling: Gelman and Hill, "Data Analysis Using Regression and Multilevel Models", ch. 12). The
optimiser is Levenberg and Marquardt's with the t distribution's weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DEGREES_OF_FREEDOM = 4.0
_STEPS_COUNT = 400
_TRIALS_COUNT = 10
_ENOUGH = 1e-8


@dataclass(frozen=True, slots=True)
class Monomial:
    """One term of one measurement: its size with all effects at zero, and the effects it takes part in."""

    value: float
    exponents: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Monomials of all measurements side by side, those of one measurement adjacent.

    A monomial takes part in few effects: ``columns`` (indices into ``names``) and ``exponents`` are monomials x the
    most that any has, padded with exponents of zero.
    """

    names: tuple[str, ...]
    starts: NDArray[np.intp]
    log_values: Floats
    columns: NDArray[np.intp]
    exponents: Floats

    @classmethod
    def of(cls, rows: Sequence[Sequence[Monomial]]) -> "Design":
        """Lay out the monomials of every measurement."""
        kept = [[term for term in row if term.value > 0.0] for row in rows]
        terms = [term for row in kept for term in row]
        names = sorted({name for term in terms for name, _ in term.exponents})
        column = {name: index for index, name in enumerate(names)}
        width = max((len(term.exponents) for term in terms), default=0)
        columns = np.zeros((len(terms), width), dtype=np.intp)
        exponents = np.zeros((len(terms), width))
        for at, term in enumerate(terms):
            columns[at, : len(term.exponents)] = [column[name] for name, _ in term.exponents]
            exponents[at, : len(term.exponents)] = [weight for _, weight in term.exponents]
        return cls(
            names=tuple(names),
            starts=np.cumsum([0, *map(len, kept[:-1])], dtype=np.intp),
            log_values=np.log([term.value for term in terms]),
            columns=columns,
            exponents=exponents,
        )

    def log_times(self, effects: Floats) -> Floats:
        """Predicted logarithms of all measurements."""
        return np.asarray(np.log(np.add.reduceat(self._sizes(effects), self.starts)))

    def jacobian(self, effects: Floats) -> Floats:
        """Derivatives of the predicted logarithms by the effects: each monomial's share times its exponents."""
        sizes = self._sizes(effects)
        counts = np.diff(np.append(self.starts, len(sizes)))
        row = np.repeat(np.arange(len(self.starts)), counts)
        shares = sizes / np.add.reduceat(sizes, self.starts)[row]
        cells = row[:, None] * len(self.names) + self.columns
        slopes = (shares[:, None] * self.exponents).ravel()
        summed = np.bincount(cells.ravel(), slopes, len(self.starts) * len(self.names))
        return np.asarray(summed.reshape(len(self.starts), len(self.names)), dtype=np.float64)

    def _sizes(self, effects: Floats) -> Floats:
        return np.asarray(np.exp(self.log_values + np.sum(self.exponents * effects[self.columns], axis=1)))


def fit(
    design: Design,
    log_times: Floats,
    spreads: Floats,
    *,
    weights: Floats,
    scales: Floats,
    start: Floats | None = None,
) -> Floats:
    """The most probable effects.

    Args:
        design: what each measurement is a sum of.
        log_times: measured logarithms.
        spreads: prior standard deviation of every effect, in the order of ``design.names``.
        weights: how much each measurement counts; zero leaves it out.
        scales: scale of every residual's t distribution.
        start: effects to start from, e.g. those of a fit on slightly other rows.
    """
    effects = np.zeros(len(design.names)) if start is None else start.copy()
    damping = 1e-3
    loss = _loss(design, effects, log_times, spreads, weights, scales)
    for _ in range(_STEPS_COUNT):
        residuals = design.log_times(effects) - log_times
        jacobian = design.jacobian(effects)
        pull = weights * (_DEGREES_OF_FREEDOM + 1) / (_DEGREES_OF_FREEDOM * scales**2 + residuals**2)
        curvature = (jacobian * pull[:, None]).T @ jacobian + np.diag(spreads**-2.0)
        gradient = jacobian.T @ (pull * residuals) + effects / spreads**2
        for _ in range(_TRIALS_COUNT):
            damped = curvature + damping * np.diag(np.diag(curvature))
            trial = effects - np.linalg.solve(damped, gradient)
            trial_loss = _loss(design, trial, log_times, spreads, weights, scales)
            if trial_loss < loss:
                break
            damping *= 5.0
        else:
            break
        gained, effects, loss = loss - trial_loss, trial, trial_loss
        damping = max(damping / 5.0, 1e-9)
        if gained < _ENOUGH:
            break
    return effects


def _loss(
    design: Design, effects: Floats, log_times: Floats, spreads: Floats, weights: Floats, scales: Floats
) -> float:
    residuals = (design.log_times(effects) - log_times) / scales
    misfit = (_DEGREES_OF_FREEDOM + 1) / 2.0 * np.log1p(residuals**2 / _DEGREES_OF_FREEDOM)
    return float(weights @ misfit + 0.5 * np.sum((effects / spreads) ** 2))
