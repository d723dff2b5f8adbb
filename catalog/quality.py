"""Quality scores for models that joined the catalog after the scores were fitted."""

import math
from collections.abc import Sequence

from catalog.types import ModelSpec, Score
from catalog.units import Z_80

_DERIVED_SHIFT = 0.08  # nats of score
_DERIVED_WIDTH = 0.16


def impute(model: ModelSpec, weights: Sequence[float]) -> Score:
    """Impute a score from size, date and kind alone.

    Args:
        model: the model.
        weights: intercept, one slope per feature of `features`, and the standard deviation, in nats.
    """
    intercept, *slopes, sd = weights
    mid = intercept + sum(slope * value for slope, value in zip(slopes, features(model), strict=True))
    low, middle, high = (round(_points(nats), 1) for nats in (mid - Z_80 * sd, mid, mid + Z_80 * sd))
    return Score(low=low, mid=middle, high=high, imputed=True, evidence=("imputed from size and date",))


def inherit(parent: Score, parent_id: str) -> Score:
    """The score of a fine-tune that nobody has measured: its parent's, a little lower and wider."""
    low, mid, high = (_nats(value) for value in (parent.low, parent.mid, parent.high))
    mid -= _DERIVED_SHIFT
    below = math.hypot(mid + _DERIVED_SHIFT - low, _DERIVED_WIDTH)
    above = math.hypot(high - mid - _DERIVED_SHIFT, _DERIVED_WIDTH)
    low, middle, high = (round(_points(nats), 1) for nats in (mid - below, mid, mid + above))
    return Score(low=low, mid=middle, high=high, imputed=True, evidence=(f"imputed from {parent_id}",))


def features(model: ModelSpec, default_date: str = "2025-01") -> tuple[float, ...]:
    """log10 of total and active parameters from 10 billion, years from 2025, and what it is tuned for."""
    total = max(model.params_total_count, 5e7)
    active = max(model.params_active_count or total, 5e7)
    date = model.release_date or default_date
    year = int(date[:4]) + (int(date[5:7]) - 0.5) / 12 - 2025
    kinds = (float(kind in model.capabilities) for kind in ("reasoning", "coding", "vision"))
    return (math.log10(total) - 10, math.log10(active) - 10, year, *kinds, float(not model.official))


def _nats(points: float) -> float:
    share = min(max(points / 100, 1e-3), 1 - 1e-3)
    return math.log(share / (1 - share))


def _points(nats: float) -> float:
    return 100 / (1 + math.exp(-nats))
