"""Check how far effects may spread, which is chosen by scores: choose on half of the chips, score on the other half.

    python benchmarks/datasheet_choices.py

Chips are dealt into halves at random. On one half the choice with the least error is taken, every chip left out of the
fit in turn, and scored on the other half; then the other way round. Choices are the spreads of
``advisor.datasheets.datasheet_fit`` and others of them, among them those of former rounds. Takes about three minutes.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from fit_datasheet import Marks, further_samples, main_samples
from numpy.typing import NDArray

from advisor.datasheets.datasheet_fit import PHASES, PhaseFit, Sample
from advisor.datasheets.posynomial import Floats
from catalog.load import load_catalog

DRAWS_COUNT = 40
NOT_SHARED = 1e-6
#: By phase: what is chosen among, spreads by start of an effect's name; a pair as in ``datasheet_fit``.
CHOICES: Mapping[str, Mapping[str, Mapping[str, float | tuple[float, float]]]] = {
    "decode": {
        "as fitted": {},
        "former": {
            "decode.flop:": 1.0,
            "decode.operation/": (0.5, 0.8),
            "decode.kv/": 0.5,
            "decode.integrated": 0.04,
            "decode.chip/": 0.06,
        },
        "unpacking by type 1.0": {"decode.flop:": 1.0},
        "unpacking by generation 1.0": {"decode.flop/": (0.3, 1.0)},
        "launches by generation 0.8": {"decode.operation/": (0.5, 0.8)},
        "caches 0.5": {"decode.kv/": 0.5},
        "integrated 0.04": {"decode.integrated": 0.04},
        "integrated 0.08": {"decode.integrated": 0.08},
        "launches by generation 0.4": {"decode.operation/": (0.5, 0.4)},
        "chips 0.06": {"decode.chip/": 0.06},
        "plain attention 0.5": {"decode.plain": 0.5, "decode.plain/": 0.5},
    },
    "prefill": {
        "as fitted": {},
        "former": {
            "prefill.expert/": 0.12,
            "prefill.expert_half": 0.5,
            "prefill.attention": NOT_SHARED,
            "prefill.score": NOT_SHARED,
            "prefill.power": 0.5,
        },
        "experts 0.12": {"prefill.expert/": 0.12},
        "filling experts 0.5": {"prefill.expert_half": 0.5},
        "attention by stack alone": {"prefill.attention": NOT_SHARED},
        "scores by stack alone": {"prefill.score": NOT_SHARED},
        "matrices by stack 1.0": {"prefill.flop/": (1.0, 0.12)},
        "age by generation 0.1": {"prefill.age/": (0.04, 0.1)},
        "element-wise work by stack 0.8": {"prefill.activation/": (0.8, 0.4)},
        "scores 0.8": {"prefill.score/": 0.8},
        "power 0.5": {"prefill.power": 0.5},
    },
}


def spreads_of(fit: PhaseFit, choice: Mapping[str, float | tuple[float, float]]) -> Floats:
    """Spreads of a fit's effects, a choice's in the place of its own."""
    spreads = fit.spreads.copy()
    for index, name in enumerate(fit.design.names):
        starts = [start for start in choice if matches(name, start)]
        if starts:
            value = choice[max(starts, key=len)]
            spreads[index] = value if isinstance(value, float) else value[name.count("/") > 1]
    return spreads


def matches(name: str, start: str) -> bool:
    """Whether a choice is about an effect: of the same name, or of those that go on from a separator."""
    return name.startswith(start) if start.endswith(("/", ":")) else name == start


def errors(residuals: Floats, rows: Marks) -> Floats:
    """|predicted / measured - 1| of some rows."""
    return np.asarray(np.abs(np.exp(-residuals[rows]) - 1.0))


def cost(residuals: Floats, rows: Marks, chips: NDArray[np.str_]) -> float:
    """What a choice is made by: the mean absolute log error of the rows, and of the chips counting alike."""
    own, names = np.abs(residuals[rows]), chips[rows]
    return float(own.mean() + np.mean([own[names == name].mean() for name in sorted(set(names))]))


def nested(by_choice: Mapping[str, Floats], chips: NDArray[np.str_]) -> list[str]:
    """Scores of halves by the choice of the other halves, and how often each was chosen."""
    generator, scores, chosen = random.Random(1), [], Counter[str]()
    names = sorted({name.split("/", 1)[1] for name in chips})
    for _ in range(DRAWS_COUNT):
        half = set(generator.sample(names, len(names) // 2))
        first = np.array([name.split("/", 1)[1] in half for name in chips])
        residuals = np.empty(len(chips))
        for chosen_on, scored_on in ((first, ~first), (~first, first)):
            best = min(by_choice, key=lambda name: cost(by_choice[name], chosen_on, chips))
            chosen[best] += 1
            residuals[scored_on] = by_choice[best][scored_on]
        misses = errors(residuals, np.ones(len(chips), dtype=bool))
        scores.append((np.median(misses), np.quantile(misses, 0.9)))
    middle, spread = np.mean(scores, axis=0), np.std(scores, axis=0)
    often = ", ".join(f"{name} {count}" for name, count in chosen.most_common())
    return [
        f"chosen on the other half of the chips: median {middle[0]:.1%} ± {spread[0]:.1%}, "
        f"90 % {middle[1]:.1%} ± {spread[1]:.1%}",
        f"chosen of {2 * DRAWS_COUNT}: {often}",
    ]


def check(phase: str, samples: list[Sample], main_count: int) -> list[str]:
    """Scores of every choice, and of choosing on one half of the chips for the other."""
    fit = PhaseFit.of(phase, samples)
    main = np.arange(len(fit.samples)) < main_count
    chips = np.array([f"{sample.traits.stack}/{sample.chip}" for sample in fit.samples])[main]
    by_choice, lines = {}, []
    for name, choice in CHOICES[phase].items():
        residuals = replace(fit, spreads=spreads_of(fit, choice)).leave_out(lambda sample: sample.chip)[main]
        misses = errors(residuals, np.ones(len(residuals), dtype=bool))
        by_choice[name] = residuals
        lines.append(f"{phase}, {name}: median {np.median(misses):.1%}, 90 % {np.quantile(misses, 0.9):.1%}")
    return lines + [f"{phase}, {line}" for line in nested(by_choice, chips)]


def main() -> None:
    """Check both phases."""
    catalog = load_catalog()
    own = main_samples(catalog)
    samples = own + further_samples(catalog)
    for phase in PHASES:
        count = sum(sample.priced.row.phase == phase for sample in own)
        print("\n".join(check(phase, samples, count)))


if __name__ == "__main__":
    main()
