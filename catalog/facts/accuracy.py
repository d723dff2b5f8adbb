"""How well the quality fit predicts what it has not seen.

Two tests per task, exact and without refitting: the model's cells at the task are left out (its other
scores stay), or everything of the model is left out (only family, size, date and kind remain).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.facts.ability import Posterior
from catalog.units import Z_80

Array = NDArray[np.float64]


_FOLDS = 5
KEPT = ("other tasks", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Prediction errors of one task's scores, on the logit scale of ability."""

    task: str
    kept: str  # what was known of the model: its "other tasks", or "nothing"
    models_count: int
    spread: float  # standard deviation of what was predicted: the error of knowing nothing at all
    error: float  # root mean square
    coverage: float  # share inside the 80 % interval, whose width was set on the other four fifths of the models
    bias: float
    width_factor: float  # what the process's own width is multiplied by to hold 80 %


def left_out(posterior: Posterior) -> list[LeftOut]:
    """Both tests for every task of a fit."""
    found = []
    for number, task in enumerate(posterior.cells.tasks):
        for kept in KEPT:
            errors, sds, values = (np.array(part) for part in zip(*_predictions(posterior, number, kept), strict=True))
            found.append(
                LeftOut(
                    task=task,
                    kept=kept,
                    models_count=len(errors),
                    spread=round(float(np.std(values)), 3),
                    error=round(float(np.sqrt((errors**2).mean())), 3),
                    coverage=round(_cross_fitted_coverage(np.abs(errors) / sds), 3),
                    bias=round(float(errors.mean()), 3),
                    width_factor=round(_width(np.abs(errors) / sds), 3),
                )
            )
    return found


def _width(surprise: Array) -> float:
    """The factor that makes the 80 % interval hold 80 % of these standardised errors."""
    return float(np.quantile(surprise, 0.8)) / Z_80


def _cross_fitted_coverage(surprise: Array) -> float:
    """Coverage of each fold with the width that the other folds set."""
    fold = np.arange(len(surprise)) % _FOLDS
    inside = [surprise[fold == k] <= Z_80 * _width(surprise[fold != k]) for k in range(_FOLDS)]
    return float(np.concatenate(inside).mean())


def _predictions(posterior: Posterior, task: int, kept: str) -> Iterator[tuple[float, float, float]]:
    """Error, its predicted standard deviation and the value, for each model with a score at the task."""
    cells = posterior.cells
    for subject in np.unique(cells.subject[cells.task == task]):
        rows = np.flatnonzero(cells.subject == subject)
        if kept == "other tasks":
            rows = rows[cells.task[rows] == task]
        error, covariance = posterior.left_out(rows)
        here = np.flatnonzero(cells.task[rows] == task)
        weight = 1 / posterior.noise[rows[here]]
        weight /= weight.sum()
        variance = weight @ covariance[np.ix_(here, here)] @ weight
        yield float(weight @ error[here]), float(np.sqrt(variance)), float(weight @ posterior.values[rows[here]])
