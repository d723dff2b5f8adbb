"""From benchmark observations to cells on one scale: intercept, slope and noise per benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.facts.benchmarks import Observation

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_RECENCY_HALF_LIFE_YEARS = 1.0
_STALE_VARIANCE_PER_YEAR = 0.25
_STALE_YEARS_MAX = 3.0
_ELO_SLOPE = 0.6  # an Elo table spreads models less than accuracy does
_SLOPE_PRIOR_SD = 0.25
_SLOPE_MIN = 0.15
_PRIOR_RESIDUAL_VARIANCE = 0.25
_PRIOR_RESIDUAL_COUNT = 4
_SCALE_MIN_COUNT = 8
_NOISE_FACTOR_RANGE = (0.2, 6.0)
_NOISE_PRIOR_COUNT = 20  # a benchmark of few models cannot prove itself exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Sibling observations of one (subject, task, benchmark family), to be averaged into one number.

    ``of_row`` gives the cell of each observation, ``benchmark_of_row`` its benchmark.
    """

    subject: Index
    task: Index
    family: Index
    reported_frac: Array  # share of the siblings that the model's maker reported
    spread_variance: Array  # disagreement between sources
    age_years: Array  # of the newest sibling
    of_row: Index
    benchmark_of_row: Index
    values: Array
    recency: Array
    slope_prior: Array  # by benchmark
    tasks: tuple[str, ...]
    families: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How each benchmark shows ability θ: value = intercept + slope · θ."""

    intercept: Array
    slope: Array


def group(rows: Sequence[Observation], subject_of: dict[str, int], today_year: float) -> Cells:
    """Observations of known subjects as cells."""
    tasks = tuple(sorted({row.task for row in rows}))
    families = tuple(sorted({row.family for row in rows}))
    keys = sorted({(subject_of[row.model_id], tasks.index(row.task), families.index(row.family)) for row in rows})
    place = {key: number for number, key in enumerate(keys)}
    of_row = np.array(
        [place[subject_of[row.model_id], tasks.index(row.task), families.index(row.family)] for row in rows]
    )
    benchmarks = sorted({(row.task, row.benchmark) for row in rows})
    number = {key: position for position, key in enumerate(benchmarks)}
    ages = np.array([_age_years(row, today_year) for row in rows])
    spread, newest = np.zeros(len(keys)), np.full(len(keys), np.inf)
    np.maximum.at(spread, of_row, np.array([row.spread**2 for row in rows]))
    np.minimum.at(newest, of_row, ages)
    return Cells(
        subject=np.array([key[0] for key in keys]),
        task=np.array([key[1] for key in keys]),
        family=np.array([key[2] for key in keys]),
        reported_frac=_mean_by(of_row, np.array([row.reported_frac for row in rows]), len(keys)),
        spread_variance=spread,
        age_years=newest,
        of_row=of_row,
        benchmark_of_row=np.array([number[row.task, row.benchmark] for row in rows]),
        values=np.array([row.value for row in rows]),
        recency=0.5 ** (ages / _RECENCY_HALF_LIFE_YEARS),
        slope_prior=np.array([_ELO_SLOPE if _is_elo(name) else 1.0 for _, name in benchmarks]),
        tasks=tasks,
        families=families,
    )


def cell_means(cells: Cells, calibration: Calibration) -> Array:
    """Each cell's ability estimate: its calibrated siblings, the newer weighing more."""
    row = cells.benchmark_of_row
    ability = (cells.values - calibration.intercept[row]) / calibration.slope[row]
    return _mean_by(cells.of_row, ability, cells.count, cells.recency)


def calibrate(cells: Cells, ability: Array) -> Calibration:
    """Regress each benchmark on abilities predicted without the cell; slopes shrink to their prior.

    The predictions are conditional means, so the regression is unbiased though they are uncertain.
    """
    count = len(cells.slope_prior)
    intercept, slope = np.zeros(count), np.ones(count)
    for benchmark in range(count):
        here = cells.benchmark_of_row == benchmark
        x, y = ability[cells.of_row[here]], cells.values[here]
        slope[benchmark] = _shrunk_slope(x - x.mean(), y - y.mean(), float(cells.slope_prior[benchmark]))
        intercept[benchmark] = y.mean() - slope[benchmark] * x.mean()
    seen = np.bincount(cells.benchmark_of_row, minlength=count)
    anchors = (cells.slope_prior == 1.0) & (seen >= _SCALE_MIN_COUNT)
    scale = np.average(slope[anchors], weights=np.sqrt(seen[anchors])) if anchors.any() else 1.0
    return Calibration(intercept=intercept, slope=slope / scale)


def _shrunk_slope(x: Array, y: Array, prior: float) -> float:
    variance = _PRIOR_RESIDUAL_VARIANCE
    slope = prior
    for _ in range(3):  # residual variance and slope in turn; three rounds change nothing in the third digit
        precision = x @ x / variance + _SLOPE_PRIOR_SD**-2
        slope = float((x @ y / variance + prior * _SLOPE_PRIOR_SD**-2) / precision)
        residual = y - slope * x
        weight = _PRIOR_RESIDUAL_COUNT * _PRIOR_RESIDUAL_VARIANCE
        variance = float((residual @ residual + weight) / (len(y) + _PRIOR_RESIDUAL_COUNT))
    return max(slope, _SLOPE_MIN)


def cell_noise(cells: Cells, measured: float, reported: float, factor: Array) -> Array:
    """Noise variance of each cell: reported figures, stale ones and contradictory ones weigh less.

    ``factor`` by (task, family) is what the data say beyond that: saturated and erratic benchmarks.
    """
    base = measured + (reported - measured) * cells.reported_frac
    stale = 1 + _STALE_VARIANCE_PER_YEAR * np.minimum(cells.age_years, _STALE_YEARS_MAX)
    noise: Array = base * stale * factor[cells.task, cells.family] + cells.spread_variance
    return noise


def refine_noise(cells: Cells, factor: Array, surprise: Array) -> Array:
    """Noise factors after seeing squared left-out errors relative to their predicted variance."""
    shape = factor.shape
    flat = cells.task * shape[1] + cells.family
    total = np.bincount(flat, weights=surprise, minlength=factor.size).reshape(shape)
    seen = np.bincount(flat, minlength=factor.size).reshape(shape)
    ratio = (total + _NOISE_PRIOR_COUNT) / (seen + _NOISE_PRIOR_COUNT)
    return np.clip(factor * ratio, *_NOISE_FACTOR_RANGE)


def _mean_by(index: Index, value: Array, count: int, weight: Array | None = None) -> Array:
    weights = np.ones_like(value) if weight is None else weight
    total = np.bincount(index, weights=weights * value, minlength=count)
    mean: Array = total / np.bincount(index, weights=weights, minlength=count)
    return mean


def _is_elo(benchmark: str) -> bool:
    return (benchmark.startswith("arena_") and benchmark not in {"arena_hard", "arena_hard_v2"}) or (
        benchmark == "codeforces_rating"
    )


def _age_years(row: Observation, today_year: float) -> float:
    month = int(row.date[5:7]) if len(row.date) > 5 else 6
    return max(0.0, today_year - int(row.date[:4]) - month / 12)
