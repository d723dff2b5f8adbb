"""How often ``regress`` raises a false alarm, and how often it catches a real slowdown, on simulated noise.

Every trial simulates two recordings of a suite (10 rounds of 3 windows per case, cases taking turns) on a
machine with one kind of noise and passes them through ``advisor.regression.regress``. Noise is shared by all cases of
a suite, as it is on a real machine. Run: python benchmarks/regress_power.py [--trials N] [--seed N]
"""

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from advisor.regression import comparison, regress
from advisor.regression.thresholds import Gate
from advisor.types import MetricSeries, Run, RunCase, RunEnvironment, ValidationStatus, Verdict

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Floats]
WINDOWS_COUNT = 3


def quiet(sigma: float) -> Noise:
    """A dedicated box: independent normal noise, and a run-to-run offset of 0.5 %."""
    return lambda rng, count: rng.normal(0, sigma, count) + rng.normal(0, 0.005)


def heavy_tailed(sigma: float) -> Noise:
    """Student's t with 3 degrees of freedom: rare large outliers both ways."""
    return lambda rng, count: rng.standard_t(3, count) * sigma / math.sqrt(3) + rng.normal(0, 0.005)


def bursty(chance: float) -> Noise:
    """Other tenants: episodes of several windows that run 20 to 250 % longer."""

    def noise(rng: np.random.Generator, count: int) -> Floats:
        values = rng.normal(0, 0.015, count) + rng.normal(0, 0.01)
        start = 0
        while start < count:
            length = int(rng.integers(1, 6))
            if rng.random() < chance:
                values[start : start + length] += rng.uniform(0.2, 1.25)
            start += length
        return values

    return noise


def drifting(rho: float, sigma: float) -> Noise:
    """Slow change, as of temperature or a neighbour's load: a first-order autoregression over windows."""

    def noise(rng: np.random.Generator, count: int) -> Floats:
        steps = rng.normal(0, sigma * math.sqrt(1 - rho * rho), count)
        values = np.empty(count)
        level = rng.normal(0, sigma)
        for index, step in enumerate(steps):
            level = rho * level + step
            values[index] = level
        return values + rng.normal(0, 0.01, count)

    return noise


def two_modes(gap: float) -> Noise:
    """Clock or placement states: the machine switches between two speeds every ten windows or so."""

    def noise(rng: np.random.Generator, count: int) -> Floats:
        flips = rng.random(count) < 0.1
        state = (np.cumsum(flips) + rng.integers(2)) % 2
        return gap * state + rng.normal(0, 0.01, count)

    return noise


def shared_host(between: float) -> Noise:
    """The two-core server this was developed on: 3 % windows, 8 % slow spells, run-to-run offset."""

    def noise(rng: np.random.Generator, count: int) -> Floats:
        slow = two_modes(0.08)(rng, count)
        return slow + rng.normal(0, 0.02, count) + np.abs(bursty(0.03)(rng, count)) + rng.normal(0, between)

    return noise


KINDS: dict[str, Noise] = {
    "quiet 1 %": quiet(0.01),
    "quiet 3 %": quiet(0.03),
    "quiet 6 %": quiet(0.06),
    "quiet 10 %": quiet(0.10),
    "heavy-tailed 3 %": heavy_tailed(0.03),
    "heavy-tailed 6 %": heavy_tailed(0.06),
    "bursty 10 %": bursty(0.10),
    "bursty 25 %": bursty(0.25),
    "drifting, fast, 3 %": drifting(0.8, 0.03),
    "drifting, slow, 3 %": drifting(0.97, 0.03),
    "two modes 6 %": two_modes(0.06),
    "shared host 1 %": shared_host(0.01),
    "shared host 2 %": shared_host(0.02),
}


def record(rng: np.random.Generator, noise: Noise, cases: int, rounds: int, slowdown: Sequence[float]) -> Run:
    """One simulated recording; ``slowdown`` is the fraction of speed lost per case."""
    shared = noise(rng, rounds * cases * WINDOWS_COUNT).reshape(rounds, cases, WINDOWS_COUNT)
    numbers = tuple(int(r) for r in np.repeat(np.arange(rounds), WINDOWS_COUNT))
    made = []
    for case in range(cases):
        speed = 100.0 * (1 - slowdown[case]) * np.exp(-shared[:, case, :]).ravel()
        series = MetricSeries(metric="decode_tokens_per_s", values=tuple(float(v) for v in speed), rounds=numbers)
        made.append(RunCase(subject=f"case {case}", status=ValidationStatus.OK, series=(series,)))
    environment = RunEnvironment(machine_id="m", hardware="simulated", os="simulated")
    return Run(
        suite_name="s", suite_id="s", environment=environment, cases=tuple(made),
        created_at="2026-01-01T00:00:00Z", tool_version="0", rounds_count=rounds,
    )  # fmt: skip


def alarms(
    rng: np.random.Generator, noise: Noise, *, trials: int, cases: int, rounds: int, past: int, slowdown: float
) -> tuple[float, float, float]:
    """Share of trials in which the first case, and in which any case, is called slower; and any finding at all."""
    slower = failed = anything = 0
    loss = [slowdown] + [0.0] * (cases - 1)
    none = [0.0] * cases
    for _ in range(trials):
        history = [record(rng, noise, cases, rounds, none) for _ in range(past)]
        between = comparison.between_runs(history)
        base, new = record(rng, noise, cases, rounds, none), record(rng, noise, cases, rounds, loss)
        found = regress.regress(base, new, created_at="", tool_version="", gate=Gate(), between=between)
        slower += found.findings[0].verdict is Verdict.SLOWER
        failed += found.regressed
        anything += any(finding.significant for finding in found.findings)
    return slower / trials, failed / trials, anything / trials


def main() -> None:
    """Print one row per kind of noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--slowdown", type=float, default=0.10)
    parser.add_argument("--cases", type=int, default=1)
    asked = parser.parse_args()
    print(f"{asked.rounds} rounds of {WINDOWS_COUNT} windows, {asked.cases} cases, {asked.trials} trials a figure")
    print(f"{'noise':<21}{'A/A: run fails':>20}{'A/A: any finding':>20}{f'{asked.slowdown:.0%} slowdown caught':>24}")
    print(f"{'':<21}" + 3 * f"{'no history':>12}{'8 runs':>8}")
    for name, noise in KINDS.items():
        rng = np.random.default_rng(asked.seed)
        shares = {}
        for slowdown in (0.0, asked.slowdown):
            for past in (0, 8):
                shares[slowdown, past] = alarms(
                    rng, noise, trials=asked.trials, cases=asked.cases, rounds=asked.rounds, past=past,
                    slowdown=slowdown,
                )  # fmt: skip
        figures = [shares[0.0, past][column] for column in (1, 2) for past in (0, 8)]
        figures += [shares[asked.slowdown, past][0] for past in (0, 8)]
        print(f"{name:<21}" + "".join(f"{f:>{12 - 4 * (i % 2)}.1%}" for i, f in enumerate(figures)), flush=True)


if __name__ == "__main__":
    main()
