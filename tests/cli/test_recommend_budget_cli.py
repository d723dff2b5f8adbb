"""``advisor recommend --budget``: runs are made, the ranking follows them, and what changed is told."""

import json
from pathlib import Path

import pytest
from command_line import advisor
from small_machine import pretend

from advisor import codec, history
from advisor.engines.fake import FakeEngine, Speeds
from advisor.validation.weights_source import Room


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    pretended = FakeEngine(speeds=lambda _: Speeds(prefill_s_per_token=1e-4, decode_s_per_token=0.02))
    pretend(pretended, monkeypatch, tmp_path)
    room = Room(disk_bytes=10**12, memory_bytes=10**12, budget_s=1e6)  # whatever this machine can spare just now
    monkeypatch.setattr("advisor.validation.validate.measure_room", lambda *_: room)
    monkeypatch.setattr(
        "advisor.validation.validate.write_twin", lambda _model, _quant, path, **_: path.write_bytes(b"GGUF")
    )
    return pretended


def test_a_budget_buys_runs_and_says_what_they_changed(capsys, engine):
    assert advisor("recommend", "--task", "chat", "--top", "4", "--budget", "3m", "--json", "-o", "out.json") == 0
    document = json.loads(capsys.readouterr().out)
    trials = document["reranking"]["trials"]
    assert trials
    assert len(document["validation"]["records"]) == len(trials)
    assert [choice["rank"] for choice in document["ranked"]] == list(range(1, len(document["ranked"]) + 1))
    measured = [choice for choice in document["ranked"] if choice["estimate"]["basis"] == "measured"]
    assert len(measured) == sum(trial["status"] == "ok" for trial in trials)
    assert document["reranking"]["doubt_after"] <= document["reranking"]["doubt_before"]
    assert codec.load("out.json", kind="recommendation").reranking is not None
    with history.open_history() as past:
        assert len(past.validations()) == len(trials)


def test_the_console_tells_the_runs_and_the_moves(capsys):
    assert advisor("recommend", "--task", "chat", "--top", "4", "--budget", "3m") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "doubt about the order" in shown
    assert "Ran " in shown


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--budget", "2m", "--hardware", "rtx 5090"), "time models on this machine"),
        (("--validate", "1", "--hardware", "rtx 5090"), "time models on this machine"),
        (("--quality",), "add --validate N"),
        (("--yes",), "add --validate N"),
        (("--validate", "1", "--text", "x.txt"), "add --quality"),
        (("--budget", "soon"), "soon"),
    ],
)
def test_options_that_make_no_sense_are_one_line(capsys, args, message):
    assert advisor("recommend", *args) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
