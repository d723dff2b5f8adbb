"""Models' abilities per task from incomplete benchmark tables: one Gaussian process, solved exactly.

What model m can do at task t is a latent number θ on a logit scale. Its prior covariance sums what
two (model, task) pairs share: size, activity, release date and kind (linear and smooth), family,
lineage (a fine-tune and its base), the model itself. A benchmark cell observes θ with noise, an
effect of the benchmark family on that model (shared by its scores at other tasks), and an effect of
the maker on what it reports of its own models. So siblings count once, one maker's figures lean
together, and a missing score is imputed with the width that its ignorance deserves.

Calibrations and noise levels are fitted in turn with the process, on predictions that leave each cell out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.facts.benchmarks import Observation
from catalog.facts.calibration import Cells, calibrate, cell_means, cell_noise, group, refine_noise

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_START = np.array([1.2, 0.8, 0.8, 0.3])  # θ per feature before anything is fitted
_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model as the process sees it; the first three features are sizes (decades) and date (years)."""

    model_id: str
    features: tuple[float, ...]
    lineage: str
    family: str
    maker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """Prior and noise variances and length scales, by marginal likelihood on the 2026-10 tables.

    ``python -m catalog.facts.tune`` repeats the search. ``task_model`` is kept above its optimum (0),
    so that a model's own score at a task always counts a little for that task alone.
    """

    constant: float = 1.0
    linear: float = 0.25
    smooth: float = 0.1
    family: float = 0.05
    lineage: float = 0.05
    model: float = 0.002
    task_constant: float = 0.5
    task_linear: float = 0.0125
    task_smooth: float = 0.0075
    task_family: float = 0.015
    task_model: float = 0.01
    benchmark_family: float = 0.025
    maker: float = 0.05
    measured_noise: float = 0.06
    reported_noise: float = 0.24
    size_scale: float = 1.2  # decades of parameters
    date_scale: float = 1.0  # years


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What the process knows after seeing the cells; rows of ``inverse`` and ``weights`` are cells."""

    subjects: tuple[Subject, ...]
    cells: Cells
    values: Array
    noise: Array
    inverse: Array
    weights: Array
    variances: Variances

    def predict(self, subjects: Sequence[Subject], task_weights: Mapping[str, float]) -> tuple[Array, Array]:
        """Mean and standard deviation of a weighted mixture of tasks, for any subjects."""
        mixture = np.array([task_weights.get(task, 0.0) for task in self.cells.tasks])
        shared, own = _kernels(subjects, self.subjects, self.variances)
        at = self.cells.subject
        cross = shared[:, at] * mixture.sum() + own[:, at] * mixture[self.cells.task]
        prior_shared, prior_own = _prior_variances(subjects, self.variances)
        prior = prior_shared * mixture.sum() ** 2 + prior_own * (mixture**2).sum()
        variance = prior - np.einsum("ij,ij->i", cross @ self.inverse, cross)
        sd: Array = np.sqrt(np.maximum(variance, 1e-6, dtype=np.float64))
        return cross @ self.weights, sd

    @property
    def log_likelihood(self) -> float:
        """Log marginal likelihood of the cells, up to a constant."""
        _, log_determinant = np.linalg.slogdet(self.inverse)
        return float(0.5 * log_determinant - 0.5 * self.values @ self.weights)

    def left_out(self, rows: Index) -> tuple[Array, Array]:
        """Errors of these cells when all of them are predicted from the rest, and the errors' covariance."""
        covariance: Array = np.linalg.inv(self.inverse[np.ix_(rows, rows)]).astype(np.float64)
        return covariance @ self.weights[rows], covariance


def fit(rows: Sequence[Observation], subjects: Sequence[Subject], variances: Variances, today_year: float) -> Posterior:
    """Calibrate the benchmarks and solve the process.

    Args:
        rows: observations, all of them of the given subjects.
        subjects: the models that have observations.
        variances: hyperparameters.
        today_year: the date ages are counted from, e.g. 2026.75.
    """
    cells = group(rows, {subject.model_id: number for number, subject in enumerate(subjects)}, today_year)
    features = np.array([subject.features for subject in subjects])
    guess = features[:, : len(_START)] @ _START[: features.shape[1]]
    calibration = calibrate(cells, guess[cells.subject])
    factor = np.ones((len(cells.tasks), len(cells.families)))
    prior = _cell_covariance(cells, subjects, variances)
    for _ in range(_ROUNDS):
        solved = _solve(cells, subjects, cell_means(cells, calibration), factor, prior, variances)
        spread = 1 / np.diag(solved.inverse)
        error = solved.weights * spread
        calibration = calibrate(cells, solved.values - error)
        factor = refine_noise(cells, factor, error**2 / spread)
    return _solve(cells, subjects, cell_means(cells, calibration), factor, prior, variances)


def _solve(
    cells: Cells, subjects: Sequence[Subject], values: Array, factor: Array, prior: Array, variances: Variances
) -> Posterior:
    noise = cell_noise(cells, variances.measured_noise, variances.reported_noise, factor)
    covariance = prior + np.diag(noise)
    inverse: Array = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    weights: Array = inverse @ values
    return Posterior(
        subjects=tuple(subjects),
        cells=cells,
        values=values,
        noise=noise,
        inverse=inverse,
        weights=weights,
        variances=variances,
    )


def _cell_covariance(cells: Cells, subjects: Sequence[Subject], variances: Variances) -> Array:
    """Covariance of the cells before independent noise."""
    shared, own = _kernels(subjects, subjects, variances)
    at = cells.subject
    pairs = np.ix_(at, at)
    same_model = at[:, None] == at[None, :]
    same_family = cells.family[:, None] == cells.family[None, :]
    makers = _codes([subject.maker for subject in subjects])[at]
    same_maker = makers[:, None] == makers[None, :]
    covariance: Array = (
        shared[pairs]
        + own[pairs] * (cells.task[:, None] == cells.task[None, :])
        + variances.benchmark_family * (same_model & same_family)
        + variances.maker * same_maker * np.outer(cells.reported_frac, cells.reported_frac)
    )
    return covariance


def _kernels(left: Sequence[Subject], right: Sequence[Subject], variances: Variances) -> tuple[Array, Array]:
    """Covariance of abilities that holds for every task, and what is added within one task."""
    x, y = (np.array([subject.features for subject in side]) for side in (left, right))
    linear = x @ y.T
    scale = np.array([variances.size_scale, variances.size_scale, variances.date_scale])
    steps = (x[:, None, :3] - y[None, :, :3]) / scale
    smooth = np.exp(-0.5 * (steps**2).sum(axis=-1))
    family, lineage, model = (
        _same([getattr(one, name) for one in left], [getattr(one, name) for one in right])
        for name in ("family", "lineage", "model_id")
    )
    shared = (
        variances.constant
        + variances.linear * linear
        + variances.smooth * smooth
        + variances.family * family
        + variances.lineage * lineage
        + variances.model * model
    )
    own = (
        variances.task_constant
        + variances.task_linear * linear
        + variances.task_smooth * smooth
        + variances.task_family * family
        + variances.task_model * model
    )
    return shared, own


def _prior_variances(subjects: Sequence[Subject], variances: Variances) -> tuple[Array, Array]:
    """The diagonals of `_kernels` of subjects with themselves."""
    square = np.array([sum(value**2 for value in subject.features) for subject in subjects])
    v = variances
    shared = v.constant + v.linear * square + v.smooth + v.family + v.lineage + v.model
    own = v.task_constant + v.task_linear * square + v.task_smooth + v.task_family + v.task_model
    return shared, own


def _same(left: Sequence[str], right: Sequence[str]) -> Array:
    codes = _codes([*left, *right])
    same: Array = (codes[: len(left), None] == codes[None, len(left) :]).astype(np.float64)
    return same


def _codes(names: Sequence[str]) -> Index:
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
