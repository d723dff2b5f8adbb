"""Accuracy measured here: what a file of shapes may hold, and how rows are summed up."""

import json
from dataclasses import replace

import pytest
import report_examples
from click.testing import CliRunner
from timed_twins import FakeWorker, rehearsed, rehearsing

from advisor.calibration import local_accuracy
from advisor.calibration.accelerators import Accelerator
from advisor.calibration.local_accuracy import (
    Bench,
    Measured,
    accelerator_bench,
    summarise,
)
from advisor.calibration.shapes import PROMPT_TOKENS, default_shapes, read_shapes, shape_experiment
from advisor.cli import _local_accuracy
from advisor.cli.accuracy import command
from advisor.errors import AdvisorError, BadRequestError
from advisor.types import AttentionRates, Basis, Rates
from catalog.load import load_catalog

TRUE_RATES = Rates(
    device_id="cpu",
    backend="cpu",
    basis=Basis.CALIBRATED,
    decode_s_per_byte={"*": 3e-11},
    prefill_s_per_flop={"*": 2e-12},
    kv_s_per_byte=4e-11,
    attention_s_per_flop=8e-12,
    decode_s_per_operation=3e-6,
    prefill_s_per_value=6e-10,
)
ACCELERATOR_RATES = Rates(
    device_id="cuda:0",
    backend="cuda",
    basis=Basis.CALIBRATED,
    decode_s_per_byte={"*": 6e-13, "Q4_K": 4e-13},
    prefill_s_per_flop={"*": 9e-15, "Q4_K": 6e-15},
    kv_s_per_byte=0.0,
    attention_s_per_flop=0.0,
    attention=(
        AttentionRates(
            head_dim=128,
            kv_heads_count=8,
            queries_per_kv_head=4.0,
            prefill_s_per_flop=5e-15,
            deep_prefill_s_per_flop=5e-15,
            decode_s_per_flop=1e-13,
            deep_decode_s_per_flop=1e-13,
        ),
    ),
    decode_s_per_token=1e-4,
    decode_s_per_operation=1.5e-6,
    decode_s_per_logit=5e-10,
    decode_s_per_cached_token=4e-9,
    prefill_s_per_operation=8e-6,
    host_s_per_pass=4e-4,
    host_s_per_token=3e-6,
    host_s_per_launch=1.2e-5,
    host_s_per_embedded_value={"*": 1e-9, "F16": 2e-10},
)
LLAMA = {
    "model_type": "llama",
    "hidden_size": 1024,
    "num_hidden_layers": 4,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 8192,
}
GOOD = {"name": "mine", "config": LLAMA, "quant": "Q4_K_M"}


def read(*entries):
    return read_shapes(list(entries), load_catalog(), "shapes.json")


def test_shapes_are_read_and_stored_as_asked():
    (shape,), skipped = read(GOOD)
    assert not skipped
    assert (shape.name, shape.quant_id) == ("mine", "Q4_K_M")
    assert "Q4_K" in shape_experiment(shape).tensor_types


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (3, "not an object"),
        ({"name": "x", "config": LLAMA}, "field quant is missing"),
        ({**GOOD, "quant": "Q99_Z"}, "Q99_Z"),
        ({**GOOD, "config": "/etc/passwd"}, "config must be the object"),
        ({**GOOD, "config": {}}, ""),
        ({**GOOD, "config": {**LLAMA, "model_type": "never_heard_of"}}, "never_heard_of"),
        ({**GOOD, "config": {**LLAMA, "num_hidden_layers": 10**9}}, ""),
        ({**GOOD, "config": {**LLAMA, "hidden_size": -1}}, ""),
        ({**GOOD, "config": {**LLAMA, "hidden_size": "wide"}}, ""),
        ({**GOOD, "config": {**LLAMA, "vocab_size": 1e308}}, ""),
        ({**GOOD, "quant": "MLX-4bit"}, ""),
    ],
)
def test_a_bad_entry_gets_one_line_and_the_others_go_on(entry, said):
    shapes, (skipped,) = read(entry, GOOD)
    assert [shape.name for shape in shapes] == ["mine"]
    assert said in skipped.reason
    assert "\n" not in skipped.reason


@pytest.mark.parametrize("entries", [{}, [], "x", None, [GOOD] * 65])
def test_what_is_no_list_of_shapes_is_refused(entries):
    with pytest.raises(BadRequestError, match=r"shapes\.json"):
        read_shapes(entries, load_catalog(), "shapes.json")


def test_two_shapes_never_share_a_file_name():
    (shape,), _ = read({**GOOD, "name": "../../a b"})
    assert shape_experiment(shape).experiment_id == "shape...-..-a-b.Q4_K_M"


def timed(shape, prefill_s, decode_s):
    return rehearsed(shape_experiment(shape), lambda timing: prefill_s if timing.phase == "prefill" else decode_s)


BENCH = Bench(name="a processor", memory_bytes=32 << 30, read_bytes_per_s=40e9, threads_count=2)


@pytest.fixture(autouse=True)
def no_engine_is_started(monkeypatch):
    monkeypatch.setattr("advisor.engines.llamacpp.open_worker", FakeWorker)


def rows_of(machine, *shapes):
    return [row for shape in shapes for row in local_accuracy._rows(shape, timed(shape, 1.0, 0.1), machine, BENCH)]


def test_rows_are_summed_up_by_quantisation_kind_and_size_beside_simpler_formulas(machine):
    shapes = default_shapes(load_catalog())
    lines = summarise(rows_of(machine, *shapes))
    groups = {line.group for line in lines}
    assert {"all", "quant: Q4_K_M", "kind: mixture of experts", "kind: dense", "kind: sliding window"} <= groups
    assert {"kind: recurrent", "size: under 0.5 GiB", "rival: bandwidth/size x 0.55"} <= groups
    by_group = {(line.group, line.phase): line for line in lines}
    assert by_group["all", "decode"].n == by_group["all", "prefill"].n == len(shapes)
    assert by_group["rival: plain roofline", "decode"].n == len(shapes)
    roofline, scaled = by_group["rival: plain roofline", "decode"], by_group["rival: bandwidth/size x 0.55", "decode"]
    assert (1.0 + scaled.bias) == pytest.approx(0.55 * (1.0 + roofline.bias))


def test_measured_rates_are_of_the_window_that_was_timed(machine):
    (shape,), _ = read(GOOD)
    prefill, decode = local_accuracy._rows(shape, timed(shape, 2.0, 0.05), machine, BENCH)
    assert prefill.row.measured == pytest.approx(PROMPT_TOKENS / 2.0)
    assert decode.row.measured == pytest.approx(20.0)


def test_shapes_too_large_for_memory_are_named_with_their_size():
    (shape,), _ = read(GOOD)
    planned, (skipped,) = local_accuracy._that_fit([shape], replace(BENCH, memory_bytes=1 << 20))
    assert not planned
    assert "GiB of weights" in skipped.reason


def invoke(tmp_path, text, monkeypatch, key="b1"):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("advisor.calibration.calibrate.engine_key", lambda: key)
    path = tmp_path / "shapes.json"
    path.write_bytes(text)
    return CliRunner().invoke(command, ["--local", "--shapes", str(path), "--json"])


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"[]", b'[{"name": 1}]', b"3"])
def test_a_shapes_file_that_is_none_fails_in_one_line(tmp_path, monkeypatch, text):
    result = invoke(tmp_path, text, monkeypatch)
    assert isinstance(result.exception, AdvisorError)
    assert "shapes.json" in str(result.exception)
    assert "\n" not in str(result.exception)


def test_no_engine_says_how_to_get_one(tmp_path, monkeypatch):
    result = invoke(tmp_path, json.dumps([GOOD]).encode(), monkeypatch, key=None)
    assert isinstance(result.exception, AdvisorError)
    assert "pip install" in str(result.exception)


def test_the_document_holds_rows_groups_and_what_was_skipped(tmp_path, monkeypatch, machine):
    shapes, _ = read(GOOD)
    made = Measured(rows=tuple(rows_of(machine, *shapes)), skipped=(), notes=("a remark",))
    monkeypatch.setattr("advisor.calibration.local_accuracy.measure_accuracy", lambda *args, **options: made)
    monkeypatch.setattr("advisor.cli._machine.this_profile", lambda quiet: report_examples.profile())
    text = json.dumps([GOOD, {**GOOD, "quant": "Q99_Z"}]).encode()
    document = json.loads(invoke(tmp_path, text, monkeypatch).output)
    assert len(document["rows"]) == 2
    assert document["skipped"][0]["row"] == {"name": "mine", "quant": "Q99_Z"}
    assert document["notes"] == ["a remark"]


def test_nothing_measured_is_an_error_with_the_reasons(monkeypatch, tmp_path):
    skipped = (local_accuracy.SkippedRow(row={"name": "mine"}, reason="llama.cpp cannot load it"),)
    monkeypatch.setattr(
        "advisor.calibration.local_accuracy.measure_accuracy",
        lambda *a, **o: Measured(rows=(), skipped=skipped, notes=()),
    )
    monkeypatch.setattr("advisor.cli._machine.this_profile", lambda quiet: report_examples.profile())
    result = invoke(tmp_path, json.dumps([GOOD]).encode(), monkeypatch)
    assert "mine: llama.cpp cannot load it" in str(result.exception)


def test_reasons_stay_within_a_line():
    many = tuple(local_accuracy.SkippedRow(row={"name": "x" * 70}, reason="y" * 70) for _ in range(20))
    assert len(_local_accuracy._reasons(many)) <= 400


REFUSED = {"shape.refused": "llama.cpp cannot load it"}


def shapes_here():
    shapes, _ = read(GOOD, {**GOOD, "name": "other", "quant": "Q6_K"}, {**GOOD, "name": "refused"})
    return shapes


def bare_profile():
    return replace(report_examples.profile(), outcomes=())


def test_calibrating_predicting_and_measuring_in_one_run(monkeypatch, tmp_path):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    monkeypatch.setattr(local_accuracy, "rehearse", rehearsing(TRUE_RATES, threads_count=2, faults=REFUSED))
    measured = local_accuracy.measure_accuracy(shapes_here(), bare_profile(), BENCH)
    assert [row.row.model_id for row in measured.rows] == ["mine", "mine", "other", "other"]
    assert [(one.row["name"], one.reason) for one in measured.skipped] == [("refused", "llama.cpp cannot load it")]
    assert max(abs(row.row.error_frac) for row in measured.rows) < 0.1


def test_an_accelerator_is_calibrated_and_measured_in_one_run(monkeypatch, tmp_path):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    asked = []
    monkeypatch.setattr(local_accuracy, "rehearse", rehearsing(ACCELERATOR_RATES, asked, faults=REFUSED))
    accelerator = Accelerator(
        device_id="cuda:0", backend="cuda", engine_name="CUDA0", name="a card", memory_free_bytes=32 << 30
    )
    bench = accelerator_bench(bare_profile(), accelerator, threads_count=2)
    measured = local_accuracy.measure_accuracy(shapes_here(), bare_profile(), bench)
    assert [options["device"] for options in asked] == ["CUDA0"]
    assert {row.row.backend for row in measured.rows} == {"cuda"}
    assert [row.row.test for row in measured.rows[:2]] == ["pp2048", "tg16@d2048"]
    assert max(abs(row.row.error_frac) for row in measured.rows) < 0.05


def test_larger_shapes_are_measured_on_accelerators():
    small, large = (default_shapes(load_catalog(), on_accelerator=on) for on in (False, True))
    biggest = [max(shape_experiment(shape).weights_bytes for shape in shapes) for shapes in (small, large)]
    assert biggest[1] > 4 * biggest[0]
