"""``advisor plan`` and ``advisor compare`` as a user types them: documents, wrong requests, nothing that passes."""

import json

import pytest
from command_line import answer

from advisor import codec
from probes.types import Device, HardwareProfile, Host

HERE = HardwareProfile(
    profile_id="here",
    created_at="2026-11-01T00:00:00Z",
    tool_version="0",
    host=Host(os="Linux", memory_total_bytes=32 << 30, memory_available_bytes=30 << 30),
    devices=(Device(device_id="cpu", kind="cpu"),),
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    return tmp_path


def test_a_plan_is_a_document_with_every_class_and_upgrades(home, capsys):
    code, out, _ = answer(capsys, "plan", "qwen3-8b:Q4_K_M", "--hardware", "rtx 3060", "--electricity", "0.2", "--json")
    assert code == 0
    made = json.loads(out)
    assert (made["kind"], made["schema_version"]) == ("plan", 1)
    classes = {row["machine_class"] for row in made["rows"]}
    assert {"gaming GPU in a PC", "unified-memory computer", "Apple silicon", "data-centre GPU"} <= classes
    assert made["assumptions"]["electricity_usd_per_kwh"] == 0.2
    assert made["here"]["quant_id"] == "Q4_K_M"
    assert any(upgrade["name"] == "second RTX 3060" for upgrade in made["upgrades"])
    assert codec.from_mapping(made).kind == "plan"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("plan", "qwen3-8b", "--electricity", "99"), 2, "--electricity 99"),
        (("plan", "qwen3-8b", "--min-tps", "-1"), 2, "--min-tps -1"),
        (("plan", "qwen3-8b", "--engine", "nope"), 2, "unknown engine"),
        (("plan", "qwen3-8b:AWQ-4bit", "--engine", "llama.cpp"), 2, "does not load"),
        (("plan", "qwen3-8b", "--license", "mit"), 3, "licence apache-2.0"),
        (("compare", "h100", "--model", "qwen3-8b"), 2, "NVIDIA H100 SXM"),
        (("compare", "rtx 5091"), 2, "nearest"),
        (("estimate", "qwen3-8b", "--engine", "mlx", "--hardware", "rtx 4090"), 2, "use --engine llama.cpp"),
        (("estimate", "qwen3-8b:Q4_K_M", "--engine", "vllm", "--hardware", "rtx 4090"), 2, "it loads"),
    ],
)
def test_a_wrong_request_is_one_line(home, capsys, args, code, said):
    exit_code, out, err = answer(capsys, *args)
    assert (exit_code, out) == (code, "")
    line = [text for text in err.splitlines() if text.startswith("advisor:")]
    assert len(line) == 1
    assert said in line[0]


@pytest.mark.parametrize(("option", "value"), [("--min-tps", "100000"), ("--license", "mit")])
def test_a_no_is_a_document_with_what_each_machine_lacks(home, capsys, option, value):
    code, out, err = answer(capsys, "plan", "qwen3-8b", option, value, "--json")
    made = json.loads(out)
    assert (code, made["kind"], made["rows"]) == (3, "plan", [])
    assert made["rejected"][0]["reason"]
    assert err.count("\n") == 1


def test_a_comparison_without_an_answer_is_a_no_with_reasons(home, capsys):
    codec.save(HERE, home / "profile.json")
    asked = ("compare", "rtx 4090", "--model", "qwen3-8b", "--min-tps", "100000", "--no-calibrate", "--json")
    code, out, err = answer(capsys, *asked)
    assert code == 3
    assert all("below --min-tps" in column["reason"] for column in json.loads(out)["machines"])
    assert "no machine of these" in err


def test_estimate_uses_the_engine_of_the_named_weights(home, capsys):
    code, out, _ = answer(capsys, "estimate", "qwen3-8b:AWQ-4bit", "--hardware", "rtx 4090", "--json")
    assert code == 0
    assert json.loads(out)["engine_id"] == "vllm"


def test_an_engine_that_cannot_run_here_is_planned_for_where_it_can(home, capsys):
    codec.save(HERE, home / "profile.json")
    code, out, _ = answer(capsys, "plan", "qwen3-8b", "--engine", "mlx", "--json")
    made = json.loads(out)
    assert code == 0
    assert {row["machine_class"] for row in made["rows"]} == {"Apple silicon"}
    assert made["base_reason"] == "MLX cannot run on it: it runs on Apple silicon"
    assert made["here"] is None
    assert made["upgrades"] == []


def test_an_engine_that_cannot_run_here_is_refused_before_anything_is_timed(home, capsys, monkeypatch):
    codec.save(HERE, home / "profile.json")
    monkeypatch.setattr("advisor.cli._machine.this_calibration", lambda *_, **__: pytest.fail("it was timed"))
    code, _, err = answer(capsys, "estimate", "qwen3-8b", "--engine", "mlx")
    assert (code, err.count("\n")) == (2, 1)
    assert "use --engine llama.cpp or ollama" in err
