"""Suites are read from tables, expanded, bounded and told apart."""

import pytest

from advisor.errors import BadRequestError
from advisor.regression.suite import MAX_CASES_COUNT, parse_suite


def test_a_matrix_stands_for_every_combination_over_the_defaults() -> None:
    suite = parse_suite(
        {
            "name": "nightly",
            "rounds": 12,
            "defaults": {"prompt": 64},
            "case": [{"file": "models/x.gguf", "threads": 2}],
            "matrix": [
                {"model": "a", "quant": ["Q4_K_M", "Q8_0"], "workload": [{"output": 8}, {"prompt": 512, "output": 64}]}
            ],
        }
    )
    assert [case.subject for case in suite.cases] == [
        "x.gguf p64 n32 t2",
        "a:Q4_K_M p64 n8",
        "a:Q4_K_M p512 n64",
        "a:Q8_0 p64 n8",
        "a:Q8_0 p512 n64",
    ]
    assert (suite.rounds_count, suite.windows_count) == (12, 3)


def test_the_identity_follows_what_is_measured_and_nothing_else() -> None:
    case = {"model": "a", "quant": "Q4_0"}
    suite = parse_suite({"name": "one", "rounds": 5, "case": [case]})
    assert parse_suite({"name": "two", "rounds": 50, "case": [case]}).suite_id == suite.suite_id
    assert parse_suite({"case": [{**case, "threads": 2}]}).suite_id != suite.suite_id
    assert parse_suite({"windows": 4, "case": [case]}).suite_id != suite.suite_id


def test_context_is_just_enough_unless_asked_for() -> None:
    small, large = parse_suite(
        {"case": [{"file": "x", "prompt": 100, "output": 10}, {"file": "x", "context": 4096}]}
    ).cases
    assert small.loaded_context_tokens == 174
    assert large.workload.context_tokens == 4096


def test_settings_reach_the_deployment_and_the_name() -> None:
    (case,) = parse_suite(
        {"case": [{"model": "a", "quant": "Q4_0", "kv_type": "q8_0", "backend": "cuda", "gpu_layers": 20}]}
    ).cases
    made = case.deployment("org/a", "Q4_0")
    assert (made.kv_quant_id, made.layers_by_device) == ("q8_0", {"cpu": 1, "cuda:0": 20})
    assert case.deployment("org/a", "Q4_0", layers_count=32).layers_by_device == {"cpu": 12, "cuda:0": 20}
    assert case.deployment("org/a", "Q4_0", layers_count=16).layers_by_device == {"cuda:0": 20}
    assert made.gpu_layers_count == 21  # the output layer counts as one
    assert case.subject.endswith("kv_type=q8_0 backend=cuda gpu_layers=20")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "has 0 cases"),
        ({"case": [{"quant": "Q4_0"}]}, "case 1: give either model .with quant. or file"),
        ({"case": [{"model": "a"}]}, "needs a quant"),
        ({"case": [{"file": "x", "layers": 2}]}, "a real file runs whole"),
        ({"case": [{"file": "x", "promt": 2}]}, "unknown key 'promt'"),
        ({"case": [{"file": "x", "prompt": 0}]}, "not within 1 to"),
        ({"case": [{"file": "x", "prompt": "8k"}]}, "must be a whole number"),
        ({"case": [{"file": "x", "threads": True}]}, "must be a whole number"),
        ({"case": [{"file": "x", "prompt": 500, "context": 512}]}, "does not hold prompt . output"),
        ({"case": [{"file": "x"}, {"file": "x"}]}, "listed twice"),
        ({"case": {"file": "x"}}, "as ..case.. tables"),
        ({"rounds": 0, "case": [{"file": "x"}]}, "rounds must be"),
        ({"suite": 1}, "unknown key 'suite'"),
        ({"probes": "no", "case": [{"file": "x"}]}, "probes is true or false"),
        ({"matrix": [{"model": "a", "quant": []}]}, "stands for 0 cases"),
        ({"matrix": [{"file": ["x"] * 100, "threads": list(range(1, 100))}]}, "can be recorded"),
        ({"case": [{"file": str(i)} for i in range(MAX_CASES_COUNT + 1)]}, "can be recorded"),
    ],
)
def test_a_wrong_suite_is_named_entry_and_key(data: dict[str, object], words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        parse_suite(data)
