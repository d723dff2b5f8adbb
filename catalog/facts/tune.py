"""Choose the ability model's variances by marginal likelihood: ``python -m catalog.facts.tune``.

Coordinate search in factors of two; about a quarter of an hour. Prints what differs from the constants
in use; a person decides.
"""

import dataclasses
import sys
from collections.abc import Sequence

from catalog.facts.ability import Subject, Variances, fit
from catalog.facts.benchmarks import Observation, observations
from catalog.facts.from_sources import TODAY_YEAR, read_model_records
from catalog.facts.scores import make_subjects
from catalog.facts.sources import read_table

_STEPS = (0.5, 2.0)
_GAIN_MIN = 0.5  # nats of log likelihood


def tune(rows: Sequence[Observation], subjects: Sequence[Subject], start: Variances) -> tuple[Variances, float]:
    """The variances that no single halving or doubling improves, and their log likelihood."""
    best, likelihood = start, fit(rows, subjects, start, TODAY_YEAR).log_likelihood
    for field in dataclasses.fields(Variances):
        for step in _STEPS:
            while True:
                trial = dataclasses.replace(best, **{field.name: getattr(best, field.name) * step})
                found = fit(rows, subjects, trial, TODAY_YEAR).log_likelihood
                if found < likelihood + _GAIN_MIN:
                    break
                best, likelihood = trial, found
                sys.stdout.write(f"{field.name} {getattr(best, field.name):g}: {likelihood:.1f}\n")
    return best, likelihood


def main() -> int:
    """Tune on the text tasks and print the result."""
    models = read_model_records()
    observed = observations(read_table("benchmarks"), read_table("bench_conflicts"), models)
    rows = [row for row in observed if row.task != "embedding"]
    seen = {row.model_id for row in rows}
    subjects = [subject for subject in make_subjects(models) if subject.model_id in seen]
    best, likelihood = tune(rows, subjects, Variances())
    sys.stdout.write(f"{best}\nlog likelihood {likelihood:.1f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
