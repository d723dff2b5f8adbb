"""What is believed of a measurement: roofs, peaks of memory, answers."""

import pytest

from advisor.types import Deployment
from advisor.validation import sanity, verdict
from advisor.validation.verdict import Roof


@pytest.mark.parametrize(
    ("placed", "experts_on_cpu", "limit"),
    [
        ({"cpu": 4}, 0, 10.0),
        ({"cuda:0": 4}, 0, 3000.0),
        ({"cuda:0": 2, "cpu": 2}, 0, 3010.0),
        ({"cuda:0": 4}, 3, 3010.0),
    ],
)
def test_the_roof_is_that_of_the_devices_that_hold_the_model(placed, experts_on_cpu, limit):
    roof = Roof(memory_bytes_per_s=10.0, accelerators={"cuda:0": Roof(memory_bytes_per_s=3000.0)})
    deployment = Deployment(
        model_id="m", quant_id="q", layers_by_device=placed, experts_on_cpu_layers_count=experts_on_cpu
    )
    assert roof.over(deployment).memory_bytes_per_s == limit


def test_the_peak_is_the_buffers_or_the_process_whichever_is_more():
    buffers = {"cpu.weights": 100, "cpu.kv": 50}
    assert verdict.peak_bytes({}) is None
    assert verdict.peak_bytes(buffers) == 150
    assert verdict.peak_bytes({**buffers, "process.peak": 1200, "process.before": 1000}) == 200
    assert verdict.peak_bytes({**buffers, "process.peak": 1100, "process.before": 1000}) == 150


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("The capital of France is Paris.", "stop", None),
        ("Paris", "stop", None),
        ("巴黎是法国的首都。", "length", None),
        ("I do not know.", "stop", None),
        ("", "stop", "the model said nothing"),
        (None, "stop", "the model said nothing"),
        ("ok " * 12, "length", "the answer repeats one word"),
        ("ab" * 40, "length", "the answer repeats one character"),
        ("\x00\x01\x02a\x03\x04", "length", "the answer is full of control characters"),
        ("!!! ??? ... ,,,", "length", "the answer holds no words"),
        ("\N{REPLACEMENT CHARACTER}" * 9 + "a", "length", "the answer is not valid text"),
        ("fine", "nonfinite", "the model computed values that are not numbers"),
    ],
)
def test_garbage_is_told_from_an_answer(text, finish, reason):
    assert sanity.garbage_reason(text, finish) == reason
