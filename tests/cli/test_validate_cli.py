"""``advisor validate``: what it runs, what it prints, its exit codes; the engine is a pretended one."""

import json
import sqlite3
from pathlib import Path

import pytest
from command_line import advisor
from small_machine import pretend

from advisor import codec, history, store
from advisor.cli import _validation
from advisor.engines.base import EngineCrashedError, ModelRefusedError
from advisor.engines.fake import FakeEngine, Speeds
from advisor.types import Validation
from catalog.load import load_catalog

MODEL = "SmolLM2-135M-Instruct:q8_0"


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    pretended = FakeEngine()
    pretend(pretended, monkeypatch, tmp_path)
    return pretended


def predicted_speeds(capsys) -> Speeds:
    """The speeds at which the pretended engine agrees with the prediction."""
    advisor("validate", MODEL, "--budget", "5s", "--json")
    estimate = json.loads(capsys.readouterr().out)["records"][0]["estimate"]
    return Speeds(
        prefill_s_per_token=1 / estimate["prefill_tokens_per_s"]["mid"],
        decode_s_per_token=1 / estimate["decode_tokens_per_s"]["mid"],
    )


def test_agreement_is_exit_0(capsys, engine):
    speeds = predicted_speeds(capsys)
    engine.speeds = lambda _: speeds
    assert advisor("validate", MODEL, "--json") == 0
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
    assert advisor("validate", MODEL, "--budget", "5s", "--json") == 3
    assert json.loads(capsys.readouterr().out)["records"][0]["within_interval"]["decode_tokens_per_s"] is False


def test_a_failure_is_exit_1_and_still_a_document(capsys, engine):
    engine.fault = EngineCrashedError("the engine ended during 'prefill' (exit -6)")
    assert advisor("validate", MODEL, "--json") == 1
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert record["status"] == "failed"
    assert "exit -6" in record["reason"]


def test_an_engine_that_cannot_run_is_exit_1_with_the_remedy(capsys, engine):
    engine.missing = "llama-cpp-python is not installed; pip install it"
    assert advisor("validate", MODEL) == 1
    assert "pip install it" in " ".join(capsys.readouterr().out.split())


def test_results_are_remembered_and_written(capsys):
    advisor("validate", MODEL, "-o", "out/validation.json", "--budget", "5s")
    saved: Validation = codec.load("out/validation.json", kind="validation")
    assert saved.hardware == "a test machine"
    with history.open_history() as past:
        assert past.validations() == saved.records
    assert not any((store.cache_dir() / "twins").iterdir())


def test_a_file_is_run_as_it_is(tmp_path: Path, capsys):
    from advisor.twins.twin import write_twin

    write_twin(load_catalog().model("SmolLM2-135M-Instruct"), "Q8_0", tmp_path / "mine.gguf", hollow=True)
    advisor("validate", "mine.gguf", "--budget", "5s", "--json")
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert record["weights"] == "real"
    assert record["answer"] == "Paris, on the Seine."


def test_the_picks_of_a_recommendation_are_run_in_order(tmp_path: Path, capsys):
    advisor("validate", MODEL, "--budget", "5s", "--json")
    estimate = codec.loads(capsys.readouterr().out, where="test").records[0].estimate
    codec.save(recommendation(estimate), tmp_path / "picks.json")
    advisor("validate", "--from", "picks.json", "--top", "2", "--budget", "5s", "--json")
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
    advisor("validate", MODEL, "--budget", "5s", "--json")
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
    assert advisor("validate", "--from", "picks.json", "--top", "3", "--budget", "5s") == 130
    assert [len(document.records) for document in remembered] == [1]
    assert not any((store.cache_dir() / "twins").iterdir())


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 2, "name what to validate one way"),
        ((MODEL, "--from", "x.json"), 2, "name what to validate one way"),
        (("--config", "c.json"), 2, "--config and --quant go together"),
        ((MODEL, "--endpoint", "http://localhost:1"), 2, "--endpoint and --model go together"),
        ((MODEL, "--top", "3"), 2, "give it with --from"),
        ((MODEL, "--hardware", "rtx 5090"), 2, "on this machine"),
        (("nothing-like-it",), 2, "nothing-like-it"),
        (("missing.gguf",), 1, "no such file"),
        (("--config", "missing.json", "--quant", "Q4_K_M"), 1, "no such file"),
        (("--from", "missing.json"), 1, "missing.json"),
        ((MODEL, "--budget", "soon"), 2, "soon"),
        ((MODEL, "--task", "dancing"), 2, "unknown task"),
        ((MODEL, "--endpoint", "gopher://x", "--model", "m"), 2, "no http or https address"),
    ],
)
def test_bad_requests_are_one_line(capsys, args, code, message):
    assert advisor("validate", *args) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "intermediate_size": 128,
    "vocab_size": 256,
    "max_position_embeddings": 8192,
}


def test_a_configuration_file_names_a_model(tmp_path: Path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    advisor("validate", "--config", "config.json", "--quant", "Q8_0", "--budget", "5s", "--json")
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert record["weights"] == "twin"
    assert record["status"] == "ok"


def test_a_wrong_name_is_found_before_anything_is_measured(capsys, monkeypatch):
    def measured(*_: object, **__: object) -> None:
        pytest.fail("the machine was measured first")

    monkeypatch.setattr("advisor.cli._machine.resolve_machine", measured)
    assert advisor("validate", "qwen3-8c") == 2
    assert "nearest" in capsys.readouterr().err


def test_a_server_that_is_down_is_a_failed_record(capsys):
    code = advisor("validate", MODEL, "--endpoint", "http://127.0.0.1:9", "--model", "tiny", "--json")
    printed = capsys.readouterr()
    record = json.loads(printed.out)["records"][0]
    assert code == 1
    assert "nothing listens at 127.0.0.1:9" in record["reason"]
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("advisor: ")
    assert "start the server or correct --endpoint" in printed.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--config", "odd.json", "--quant", "Q4_K_M"), "odd.json: num_hidden_layers is missing"),
        (("--config", "folder", "--quant", "Q4_K_M"), "folder/config.json: No such file"),
        (("--config", "good.json", "--quant", "Q9"), "quantisation 'Q9'"),
        ((MODEL, "--endpoint", "ftp://x", "--model", "x"), "ftp://x is no http or https address"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_measured(tmp_path: Path, capsys, monkeypatch, args, said):
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured although the request was wrong")

    monkeypatch.setattr("advisor.cli._machine.resolve_machine", measured)
    (tmp_path / "folder").mkdir()
    (tmp_path / "odd.json").write_text('{"kind": "profile"}')
    (tmp_path / "good.json").write_text(json.dumps(CONFIG))
    assert advisor("validate", *args) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("advisor: ")
    assert said in line.replace("\\", "/")


def error_lines(capsys) -> list[str]:
    return capsys.readouterr().err.strip().splitlines()


def test_two_quantisations_are_compared_on_a_text(tmp_path: Path, capsys, engine):
    from advisor.twins.twin import write_twin

    for quant in ("Q8_0", "Q4_0"):
        write_twin(load_catalog().model("SmolLM2-135M-Instruct"), quant, tmp_path / f"{quant}.gguf", hollow=True)
    (tmp_path / "own.txt").write_text("one two three " * 30)
    engine.speeds = lambda path: Speeds(loss_per_word=2.2 if "Q4_0" in path else 2.0)
    advisor("validate", "Q4_0.gguf", "Q8_0.gguf", "--quality", "--text", "own.txt", "--budget", "5s", "--json")
    document = json.loads(capsys.readouterr().out)
    assert [record["quality"]["text_name"] for record in document["records"]] == ["own.txt"] * 2
    (delta,) = document["quality_deltas"]
    assert (delta["quant_id"], delta["baseline_quant_id"]) == ("Q4_0", "Q8_0")
    assert delta["change_frac"] == pytest.approx(0.2214, abs=1e-3)
    advisor("validate", "Q4_0.gguf", "Q8_0.gguf", "--quality", "--budget", "5s")
    assert "perplexity +22.1 %" in " ".join(capsys.readouterr().out.split())


def test_a_budget_runs_what_settles_a_saved_ranking(tmp_path: Path, capsys, engine):
    advisor("validate", MODEL, "--budget", "5s", "--json")
    estimate = codec.loads(capsys.readouterr().out, where="test").records[0].estimate
    codec.save(close_ranking(estimate), tmp_path / "picks.json")
    engine.speeds = lambda _: Speeds(decode_s_per_token=1.0, prefill_s_per_token=1e-4)
    code = advisor("validate", "--from", "picks.json", "--budget", "10m", "-o", "settled.json")
    shown = " ".join(capsys.readouterr().out.split())
    settled = codec.load("settled.json", kind="recommendation")
    assert code in (0, 3)
    assert settled.reranking.trials
    assert len(settled.validation.records) == len(settled.reranking.trials)
    assert "doubt about the order" in shown
    assert settled.ranked[0].estimate.model_id != estimate.model_id, "the slow one gave way"
    assert "tok/s was" not in shown


def close_ranking(estimate):
    """The measured model beside two that it could be confused with."""
    from dataclasses import replace

    from advisor.types import Interval, Quality

    base = recommendation(estimate)
    wide = Interval(low=4.0, mid=12.0, high=36.0)
    names = [estimate.model_id, "HuggingFaceTB/SmolLM2-360M-Instruct", "HuggingFaceTB/SmolLM2-1.7B-Instruct"]
    picks = [
        replace(
            choice,
            quality=Quality(low=50 - index, mid=50 - index, high=50 - index, imputed=False),
            estimate=replace(choice.estimate, model_id=name, decode_tokens_per_s=wide),
        )
        for index, (choice, name) in enumerate(zip(base.ranked, names, strict=True))
    ]
    return replace(base, ranked=tuple(picks))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((MODEL, "--text", "x.txt"), "add --quality"),
        ((MODEL, "--twin", "--yes"), "--twin has no real weights"),
        ((MODEL, "--twin", "--quality"), "--twin has no real weights"),
        (("a:q8_0", "--endpoint", "http://localhost:1", "--model", "m", "--quality"), "leave out --yes, --quality"),
        ((MODEL, MODEL, "--endpoint", "http://localhost:1", "--model", "m"), "--endpoint times one model"),
    ],
)
def test_options_that_contradict_each_other_are_refused(capsys, args, message):
    assert advisor("validate", *args) == 2
    assert message in error_lines(capsys)[-1]


def test_a_text_that_is_missing_is_noticed_at_once(capsys):
    assert advisor("validate", MODEL, "--quality", "--text", "none.txt") == 1
    assert "none.txt: cannot be read" in error_lines(capsys)[-1]


def test_a_pick_whose_file_is_gone_fails_and_the_next_goes_on(tmp_path: Path, capsys, engine):
    from dataclasses import replace

    advisor("validate", MODEL, "--budget", "5s", "--json")
    estimate = codec.loads(capsys.readouterr().out, where="test").records[0].estimate
    base = recommendation(estimate)
    gone = replace(base.ranked[0], local_path=str(tmp_path / "gone.gguf"))
    codec.save(replace(base, ranked=(gone, *base.ranked[1:])), tmp_path / "picks.json")

    def speeds(path: str) -> Speeds:
        if path.endswith("gone.gguf"):
            raise ModelRefusedError("llama.cpp cannot load it: no such file")
        return Speeds()

    engine.speeds = speeds
    assert advisor("validate", "--from", "picks.json", "--top", "2", "--budget", "5s", "--json") == 1
    records = json.loads(capsys.readouterr().out)["records"]
    assert [record["status"] for record in records] == ["failed", "ok"]
    assert "no such file" in records[0]["reason"]


def test_a_pick_that_loads_too_slowly_fails_in_time_and_the_others_are_kept(tmp_path: Path, capsys, engine):
    from dataclasses import replace

    advisor("validate", MODEL, "--budget", "5s", "--json")
    estimate = codec.loads(capsys.readouterr().out, where="test").records[0].estimate
    base = recommendation(estimate)
    slow = replace(base.ranked[1], local_path=str(tmp_path / "slow.gguf"))
    codec.save(replace(base, ranked=(base.ranked[0], slow, *base.ranked[2:])), tmp_path / "picks.json")
    engine.speeds = lambda path: Speeds(load_s=900.0 if path.endswith("slow.gguf") else 1.0)
    started_s = engine.clock.now()
    assert advisor("validate", "--from", "picks.json", "--top", "2", "--budget", "20s", "--json") == 1
    captured = capsys.readouterr()
    assert engine.clock.now() - started_s < 2 * 25.0
    assert [record["status"] for record in json.loads(captured.out)["records"]] == ["ok", "failed"]
    (line,) = [line for line in captured.err.splitlines() if line.startswith("advisor:")]
    assert "was stopped; give more, such as --budget 60s" in line


def test_a_full_disk_costs_the_history_not_the_result(capsys, monkeypatch):
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(history.History, "record", full)
    assert advisor("validate", MODEL, "--budget", "5s", "--json") in (0, 3)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["records"][0]["status"] == "ok"
    assert "disk is full" in captured.err
    assert "save the result with -o" in captured.err


def test_a_twin_that_finds_no_room_is_a_failed_record(capsys, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**3))
    assert advisor("validate", MODEL, "--json") == 1
    reason = json.loads(capsys.readouterr().out)["records"][0]["reason"]
    assert "Free some disk or memory" in reason
    assert "\n" not in reason


@pytest.mark.parametrize(("by_hand", "expected_frac"), [(None, 0.95), (10**18, 0.95), (10**8, None)])
def test_the_memory_limit_stays_below_what_the_machine_can_spare(by_hand, expected_frac):
    import psutil

    available = psutil.virtual_memory().available
    allowed = _validation.limits(60.0, by_hand).memory_bytes
    if expected_frac is None:
        assert allowed == by_hand
    else:
        assert allowed < available
        assert allowed == pytest.approx(expected_frac * available, rel=0.1)
