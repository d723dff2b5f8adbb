"""``advisor validate``: what it runs, what it prints, its exit codes; the engine is a pretended one."""

import json
from pathlib import Path

import pytest

from advisor import codec, history, store
from advisor.cli import _machine, _validation
from advisor.cli.main import main
from advisor.engines.base import EngineCrashedError
from advisor.engines.fake import FakeEngine, Speeds
from advisor.machine import Machine, MachineDevice
from advisor.types import Basis, Rates, Validation
from catalog.load import load_catalog
from probes.types import HardwareProfile, Host

GIB = 1024**3
MODEL = "SmolLM2-135M-Instruct:q8_0"


def machine() -> Machine:
    rates = Rates(
        device_id="cpu",
        backend="cpu",
        basis=Basis.CALIBRATED,
        decode_s_per_byte={"*": 1 / 30e9},
        prefill_s_per_flop={"*": 1 / 300e9},
        kv_s_per_byte=1 / 20e9,
        attention_s_per_flop=1 / 100e9,
        threads_count=2,
    )
    device = MachineDevice(device_id="cpu", backend="cpu", name="CPU", memory_available_bytes=16 * GIB, rates=rates)
    return Machine(name="a test machine", profile_id="p1", devices=(device,))


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    pretended = FakeEngine()
    profile = HardwareProfile(
        profile_id="p1", created_at="2026-01-01T00:00:00Z", tool_version="0", host=Host(os="Linux"), devices=()
    )
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_machine, "resolve_machine", lambda *_, **__: machine())
    monkeypatch.setattr(_machine, "this_profile", lambda **_: profile)
    monkeypatch.setattr(_validation, "local_engine", lambda *_: pretended)
    monkeypatch.setattr("catalog.local.find_local_models", lambda *_, **__: ())
    return pretended


def advisor(*args: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["validate", *args])
    return int(stop.value.code or 0)


def predicted_speeds(capsys) -> Speeds:
    """The speeds at which the pretended engine agrees with the prediction."""
    advisor(MODEL, "--budget", "5s", "--json")
    estimate = json.loads(capsys.readouterr().out)["records"][0]["estimate"]
    return Speeds(
        prefill_s_per_token=1 / estimate["prefill_tokens_per_s"]["mid"],
        decode_s_per_token=1 / estimate["decode_tokens_per_s"]["mid"],
    )


def test_agreement_is_exit_0(capsys, engine):
    speeds = predicted_speeds(capsys)
    engine.speeds = lambda _: speeds
    assert advisor(MODEL, "--json") == 0
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert record["status"] == "ok"
    assert record["weights"] == "twin"
    assert abs(record["error_frac"]["decode_tokens_per_s"]) < 0.02
    assert record["within_interval"]["decode_tokens_per_s"] is True
    assert set(record["observed"]) == {
        "prefill_tokens_per_s",
        "decode_tokens_per_s",
        "first_token_s",
        "load_s",
        "peak_memory_bytes",
    }


def test_a_speed_outside_its_interval_is_exit_3(capsys, engine):
    engine.speeds = lambda _: Speeds(decode_s_per_token=5.0)
    assert advisor(MODEL, "--budget", "5s", "--json") == 3
    assert json.loads(capsys.readouterr().out)["records"][0]["within_interval"]["decode_tokens_per_s"] is False


def test_a_failure_is_exit_1_and_still_a_document(capsys, engine):
    engine.fault = EngineCrashedError("the engine ended during 'prefill' (exit -6)")
    assert advisor(MODEL, "--json") == 1
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert record["status"] == "failed"
    assert "exit -6" in record["reason"]


def test_an_engine_that_cannot_run_is_exit_1_with_the_remedy(capsys, engine):
    engine.missing = "llama-cpp-python is not installed; pip install it"
    assert advisor(MODEL) == 1
    assert "pip install it" in " ".join(capsys.readouterr().out.split())


def test_results_are_remembered_and_written(capsys):
    advisor(MODEL, "-o", "out/validation.json", "--budget", "5s")
    saved: Validation = codec.load("out/validation.json", kind="validation")
    assert saved.hardware == "a test machine"
    with history.open_history() as past:
        assert past.validations() == saved.records
    assert not any((store.cache_dir() / "twins").iterdir())


def test_a_file_is_run_as_it_is(tmp_path: Path, capsys):
    from advisor.twin import write_twin

    write_twin(load_catalog().model("SmolLM2-135M-Instruct"), "Q8_0", tmp_path / "mine.gguf", hollow=True)
    advisor("mine.gguf", "--budget", "5s", "--json")
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert record["weights"] == "real"
    assert record["answer"] == "Paris, on the Seine."


def test_the_picks_of_a_recommendation_are_run_in_order(tmp_path: Path, capsys):
    advisor(MODEL, "--budget", "5s", "--json")
    estimate = codec.loads(capsys.readouterr().out, where="test").records[0].estimate
    codec.save(recommendation(estimate), tmp_path / "picks.json")
    advisor("--from", "picks.json", "--top", "2", "--budget", "5s", "--json")
    records = json.loads(capsys.readouterr().out)["records"]
    assert [record["estimate"]["model_id"] for record in records] == [estimate.model_id] * 2


def recommendation(estimate):
    from advisor.types import Choice, Limits, Quality, Recommendation, Task

    choices = tuple(
        Choice(
            rank=rank,
            score=1.0,
            quality=Quality(low=1, mid=2, high=3, imputed=False),
            estimate=estimate,
            reasons=(),
            command="llama-cli",
        )
        for rank in (1, 2, 3)
    )
    return Recommendation(
        task=Task.GENERAL,
        workload=estimate.workload,
        limits=Limits(),
        ranked=choices,
        rejected=(),
        profile_id="p1",
        catalog_version="1",
        created_at="2026-01-01T00:00:00Z",
        tool_version="0",
        hardware="a test machine",
    )


def test_ctrl_c_keeps_what_was_timed(tmp_path: Path, capsys, engine, monkeypatch):
    advisor(MODEL, "--budget", "5s", "--json")
    estimate = codec.loads(capsys.readouterr().out, where="test").records[0].estimate
    codec.save(recommendation(estimate), tmp_path / "picks.json")
    loads = []

    def speeds(path: str) -> Speeds:
        loads.append(path)
        if len(loads) == 2:
            raise KeyboardInterrupt
        return Speeds()

    engine.speeds = speeds
    remembered = []
    monkeypatch.setattr(_validation, "remember", remembered.append)
    assert advisor("--from", "picks.json", "--top", "3", "--budget", "5s") == 130
    assert [len(document.records) for document in remembered] == [1]
    assert not any((store.cache_dir() / "twins").iterdir())


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 2, "name one thing to validate"),
        ((MODEL, "--from", "x.json"), 2, "name one thing to validate"),
        (("--config", "c.json"), 2, "--config and --quant go together"),
        ((MODEL, "--endpoint", "http://localhost:1"), 2, "--endpoint and --model go together"),
        ((MODEL, "--hardware", "rtx 5090"), 2, "on this machine"),
        (("nothing-like-it",), 2, "nothing-like-it"),
        (("missing.gguf",), 1, "no such file"),
        (("--config", "missing.json", "--quant", "Q4_K_M"), 1, "no such file"),
        (("--from", "missing.json"), 1, "missing.json"),
        ((MODEL, "--budget", "soon"), 2, "soon"),
        ((MODEL, "--task", "dancing"), 2, "unknown task"),
        ((MODEL, "--endpoint", "gopher://x", "--model", "m"), 1, "no http or https address"),
    ],
)
def test_bad_requests_are_one_line(capsys, args, code, message):
    assert advisor(*args) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


def test_a_configuration_file_names_a_model(tmp_path: Path, capsys):
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "intermediate_size": 128,
        "vocab_size": 256,
        "max_position_embeddings": 8192,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    advisor("--config", "config.json", "--quant", "Q8_0", "--budget", "5s", "--json")
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert record["weights"] == "twin"
    assert record["status"] == "ok"


def test_a_server_that_is_down_is_a_failed_record(capsys):
    code = advisor(MODEL, "--endpoint", "http://127.0.0.1:9", "--model", "tiny", "--json")
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert code == 1
    assert "nothing listens at 127.0.0.1:9" in record["reason"]
