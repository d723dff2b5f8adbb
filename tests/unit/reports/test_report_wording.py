from enum import StrEnum

import pytest

from advisor.types import Basis, Bound, EstimateWarning, Task, ValidationStatus, Verdict
from probes.types import ScanWarning
from reports import wording


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (EstimateWarning, wording.ESTIMATE_WARNINGS),
        (ScanWarning, wording.SCAN_WARNINGS),
        (Basis, wording.BASES),
        (Basis, wording.BASIS_MEANINGS),
        (Bound, wording.BOUNDS),
        (ValidationStatus, wording.VALIDATION_STATUSES),
        (Verdict, wording.VERDICTS),
        (Task, wording.TASKS),
    ],
)
def test_every_member_of_an_enum_is_worded(members: type[StrEnum], words):
    assert set(words) == set(members)


def test_a_warning_of_a_newer_version_is_still_readable():
    assert wording.estimate_warning("moon_phase") == "Moon phase"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("decode.weights.Q4_K", "Weights, Q4_K"),
        ("prefill.experts.MXFP4", "Expert weights, MXFP4"),
        ("decode.kv", "KV cache"),
        ("decode.something_new", "Something new"),
        ("load", "Load"),
    ],
)
def test_terms_read_as_words(name, words):
    assert wording.term_part(name) == words
