"""Validation documents are compared like runs, window by window."""

import math
import random

from tiny_estimate import tiny_estimate

from advisor.regression import regress, series
from advisor.types import EngineBuild, Observed, Validation, ValidationRecord, ValidationStatus, Verdict


def _validation(seed: int, speed: float, polluted: bool = False) -> Validation:
    source = random.Random(seed)
    windows_s = tuple(16 / speed * math.exp(source.gauss(0, 0.01)) for _ in range(8))
    record = ValidationRecord(
        estimate=tiny_estimate(),
        engine=EngineBuild(id="llama.cpp", version="b1"),
        weights="twin",
        status=ValidationStatus.OK,
        observed=Observed(decode_tokens_per_s=speed, load_s=1.0),
        samples={"decode_windows_s": windows_s, "decode_windows_polluted": (float(polluted),) * 8},
    )
    return Validation(records=(record,), created_at="2026-01-01T00:00:00Z", tool_version="0", profile_id="m")


def _compare(base: Validation, new: Validation) -> dict[str, Verdict]:
    runs = (series.run_from_validation(base), series.run_from_validation(new))
    found = regress.regress(*runs, created_at="", tool_version="")
    return {finding.metric: finding.verdict for finding in found.findings}


def test_windows_become_rates_around_the_observed_one() -> None:
    (case,) = series.run_from_validation(_validation(1, 100.0)).cases
    decode = next(s for s in case.series if s.metric == "decode_tokens_per_s")
    assert len(decode.values) == 8
    assert sorted(decode.values)[3] <= 100.0 <= sorted(decode.values)[4]


def test_a_slower_validation_is_caught_and_single_figures_are_not_compared() -> None:
    verdicts = _compare(_validation(1, 100.0), _validation(2, 80.0))
    assert verdicts["decode_tokens_per_s"] is Verdict.SLOWER
    assert verdicts["decode_prediction_error"] is Verdict.SLOWER
    assert verdicts["load_s"] is Verdict.NOT_COMPARABLE


def test_disturbed_validations_are_not_compared() -> None:
    verdicts = _compare(_validation(1, 100.0), _validation(2, 80.0, polluted=True))
    assert verdicts["decode_tokens_per_s"] is Verdict.NOT_COMPARABLE


def test_the_last_of_two_records_of_one_case_counts() -> None:
    first, second = _validation(1, 100.0), _validation(2, 80.0)
    both = Validation(
        records=first.records + second.records, created_at="2026-01-01T00:00:00Z", tool_version="0", profile_id="m"
    )
    (case,) = series.run_from_validation(both).cases
    assert case == series.case_from_validation(second.records[0])
