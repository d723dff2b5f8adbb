"""What every fit of rates rests on: what was observed, the coefficients wanted, and least squares on relative errors.

Prices are linear in the coefficients of `Rates` (``advisor.roofline``), so non-negative least squares recovers them.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from advisor import roofline
from advisor.calibration.experiment import Experiment, Timing, work_of
from advisor.engines.base import Phase
from advisor.roofline import ANY_TYPE
from advisor.types import Basis, Rates
from advisor.work import Work
from catalog.types import Role

if TYPE_CHECKING:
    from advisor.calibration.rehearse import Rehearsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a timing took: one token's time for decode, the whole prompt's for prefill."""

    experiment_id: str
    phase: Phase
    depth_tokens: int
    work: Work
    time_s: float
    spread_frac: float


def observe(
    experiment: Experiment, timing: Timing, seconds: Sequence[float], *, threads_count: int | None = None
) -> Observation:
    """The middle of several repeats, and how far they spread (half the 10-90 % range over the middle).

    Not the best: a twin's windows are short and slip between disturbances that a real prompt of some seconds
    averages over. From the best tenth, the middle of what 23 unseen shapes took was predicted 6-10 % too fast when
    decoding and 7-15 % in prompts; from the middle, between 3 % too slow and 5 % too fast.

    ``threads_count`` is given where a CPU's threads did the work.
    """
    ordered = sorted(seconds)
    tenth = len(ordered) // 10
    return Observation(
        experiment_id=experiment.experiment_id,
        phase=timing.phase,
        depth_tokens=timing.depth_tokens,
        work=work_of(experiment, timing, threads_count=threads_count),
        time_s=median(ordered),
        spread_frac=(ordered[-1 - tenth] - ordered[tenth]) / (2.0 * median(ordered)),
    )


def observe_all(results: Iterable["Rehearsed"], *, threads_count: int | None = None) -> list[Observation]:
    """Every timing of some twins."""
    return [
        observe(item.experiment, timing, item.seconds(timing), threads_count=threads_count)
        for item in results
        for timing in item.windows
    ]


Price = Callable[[Work, Rates], float]


def decode_s(work: Work, rates: Rates) -> float:
    """Seconds of one decoded token."""
    return roofline.total_s(roofline.price_decode(work, rates))


def prefill_s(work: Work, rates: Rates) -> float:
    """Seconds of a whole prompt."""
    return roofline.total_s(roofline.price_prefill(work, rates))


def zero_rates(device_id: str, backend: str) -> Rates:
    """Rates of which nothing is known yet."""
    return Rates(
        device_id=device_id,
        backend=backend,
        basis=Basis.CALIBRATED,
        decode_s_per_byte={ANY_TYPE: 0.0},
        prefill_s_per_flop={ANY_TYPE: 0.0},
        kv_s_per_byte=0.0,
        attention_s_per_flop=0.0,
    )


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One unknown: a field of `Rates`, or one type's entry of a mapping field."""

    field: str
    tensor_type: str | None = None

    def put(self, rates: Rates, value: Any) -> Rates:
        """The rates with this coefficient set."""
        if self.tensor_type is None:
            return replace(rates, **{self.field: value})
        mapping: Mapping[str, float] = getattr(rates, self.field)
        changed: Any = {**mapping, self.tensor_type: value}
        return replace(rates, **{self.field: changed})

    def least(self, rates: Rates) -> float:
        """What it cannot be below.

        No byte comes faster than from a memory that was probed, no expert's flop than others of its type.
        """
        if self.field == "decode_s_per_byte" and rates.memory_bytes_per_s is not None:
            return 1.0 / rates.memory_bytes_per_s
        kind = self.tensor_type or ""
        if self.field != "prefill_s_per_flop" or not kind.startswith(roofline.EXPERTS):
            return 0.0
        return rates.prefill_s_per_flop.get(kind.removeprefix(roofline.EXPERTS), 0.0)


def solve(
    price: Price, rates: Rates, coefficients: Sequence[Coefficient], observations: Sequence[Observation]
) -> Rates:
    """Least squares on relative errors, the rates' other coefficients held as they are; none below its least.

    The design matrix comes from the cost model itself: a coefficient's column is what one more second per unit
    adds to each observation's price.
    """
    import numpy as np
    from scipy.optimize import nnls

    floors = [coefficient.least(rates) for coefficient in coefficients]
    for coefficient, floor in zip(coefficients, floors, strict=True):
        rates = coefficient.put(rates, floor)
    held = np.array([price(item.work, rates) for item in observations], dtype=np.float64)
    columns = [
        [price(item.work, coefficient.put(rates, floor + 1.0)) for item in observations]
        for coefficient, floor in zip(coefficients, floors, strict=True)
    ]
    design = np.array(columns).T - held[:, None]
    seconds = np.array([item.time_s for item in observations])
    left = (seconds - held) / seconds
    scale = (design / seconds[:, None]).max(axis=0)
    scale[scale == 0.0] = 1.0
    solution, _ = nnls(design / seconds[:, None] / scale, np.maximum(left, 0.0))
    for coefficient, floor, value in zip(coefficients, floors, solution / scale, strict=True):
        rates = coefficient.put(rates, floor + float(value))
    return rates


def select(observations: Iterable[Observation], phase: Phase, *names: str) -> list[Observation]:
    """One phase of the twins of some kinds."""
    return [item for item in observations if item.phase == phase and item.experiment_id.partition(".")[0] in names]


def types_in(observations: Iterable[Observation], role: Role = Role.FFN) -> list[str]:
    """Types that a role's weights were timed in."""
    found = {weight.tensor_type for item in observations for weight in item.work.weights if weight.role == role}
    return sorted(found)


def keys(observations: Iterable[Observation], role: Role) -> list[str]:
    """The names under which the rates of a role's weights are kept."""
    weights = (weight for item in observations for weight in item.work.weights if weight.role == role)
    return sorted({roofline.rate_key(weight) for weight in weights})


def without(rates: Rates, field: str, coefficients: Sequence[Coefficient]) -> Rates:
    """The rates with the coefficients that are about to be fitted at zero."""
    for coefficient in coefficients:
        rates = Coefficient(field, coefficient.tensor_type).put(rates, 0.0)
    return rates


def residual_sigma(price: Price, rates: Rates, observations: Sequence[Observation]) -> float:
    """By how much prices are off what was timed, root mean square of relative errors."""
    errors = [price(item.work, rates) / item.time_s - 1.0 for item in observations]
    variance = sum(error**2 for error in errors) / len(errors) if errors else 0.0
    return math.sqrt(variance)
