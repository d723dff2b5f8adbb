"""Thresholds of the gate, as users write them."""

import pytest

from advisor.errors import BadRequestError
from advisor.regression.thresholds import Gate, parse_gate

METRIC = "decode_tokens_per_s"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"metrics": {}}, "unknown key 'metrics'"),
        ({"metric": {METRIC: {"treshold": 0.1}}}, "unknown key 'treshold'"),
        ({"metric": {METRIC: {"threshold": "5%"}}}, "write 0.05 for 5 %"),
        ({"metric": {METRIC: {"threshold": True}}}, "write 0.05 for 5 %"),
        ({"metric": {METRIC: 0.1}}, "expected a table"),
        ({"metric": 3}, "write .metric.NAME. tables"),
        ({"fail_on": ["faster"]}, "fail_on must be a list"),
        ({"min_rounds": 2}, "min_rounds"),
        ({"false_discovery": 0}, "not a fraction"),
    ],
)
def test_thresholds_that_cannot_be_read_are_named(table: dict[str, object], words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        parse_gate(table)


def test_later_thresholds_win_and_keep_what_they_do_not_name() -> None:
    gate = parse_gate(
        {
            "metric": {"load_s": {"threshold": 0.5}},
            "override": [{"subject": "big*", "metric": "*_per_s", "threshold": 0.2}],
        }
    )
    assert gate.threshold("tiny", "load_s").change_frac == 0.5
    assert gate.threshold("big one", METRIC).change_frac == 0.2
    assert gate.threshold("big one", METRIC).between_frac == Gate().threshold("big one", METRIC).between_frac
    assert gate.threshold("tiny", METRIC) == Gate().threshold("tiny", METRIC)
