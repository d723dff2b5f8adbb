"""``advisor validate`` and the weights that are not here: consent, downloads, what stands in."""

import json
from pathlib import Path

import pytest
from command_line import advisor
from small_machine import pretend

from advisor import codec
from advisor.engines.fake import FakeEngine
from catalog.load import load_catalog

MODEL = "SmolLM2-135M-Instruct:q8_0"


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    pretended = FakeEngine()
    pretend(pretended, monkeypatch, tmp_path)
    return pretended


def error_lines(capsys) -> list[str]:
    return capsys.readouterr().err.strip().splitlines()


def test_without_consent_a_twin_stands_in_and_one_line_says_so(capsys, monkeypatch):
    monkeypatch.setattr("advisor.validation.hub_files.find_weights", lambda *_: pytest.fail("nothing may be looked up"))
    assert advisor("validate", MODEL, "--budget", "5s") in (0, 3)
    lines = [line for line in error_lines(capsys) if "--yes" in line]
    assert len(lines) == 1
    assert "timing weightless twins" in lines[0]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    from hub_server import FakeHub, serve

    from advisor.twins.twin import write_twin

    model = load_catalog().model("SmolLM2-135M-Instruct")
    write_twin(model, "Q8_0", tmp_path / "hub.gguf", hollow=True)
    fake = FakeHub()
    fake.add(model.repos["gguf"][0], files={"SmolLM2-135M-Instruct-Q8_0.gguf": (tmp_path / "hub.gguf").read_bytes()})
    monkeypatch.setattr("advisor.validation.download.hub_cache", lambda: tmp_path / "hub")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serve(fake) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def test_with_yes_real_weights_are_fetched_and_run(hub, capsys):
    assert advisor("validate", MODEL, "--budget", "5s", "--yes", "--json") in (0, 3)
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert (record["status"], record["weights"]) == ("ok", "real")
    assert record["answer"] == "Paris, on the Seine."
    assert hub.ranges == [None]


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "weights"), [(True, "real"), (False, "twin")])
def test_on_a_terminal_the_user_is_asked_with_size_and_source(hub, capsys, monkeypatch, answer, weights):
    asked = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr("advisor.cli._downloads.click.confirm", confirm)
    monkeypatch.setattr("advisor.cli._downloads.sys.stdin", Terminal())
    monkeypatch.setattr("advisor.cli._downloads.sys.stderr.isatty", lambda: True, raising=False)
    advisor("validate", MODEL, "--budget", "5s", "-o", "v.json")
    (question,) = asked
    assert "GiB" in question
    assert load_catalog().model("SmolLM2-135M-Instruct").repos["gguf"][0] in question
    assert codec.load("v.json").records[0].weights == weights
    assert bool(hub.ranges) is answer


def test_weights_that_cannot_be_had_are_a_failed_record(hub, capsys, monkeypatch):
    hub.answer = lambda path: (401, b"") if path.startswith("/api/") else None
    assert advisor("validate", MODEL, "--yes", "--json") == 1
    record = json.loads(capsys.readouterr().out)["records"][0]
    assert "check HF_TOKEN" in record["reason"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert advisor("validate", MODEL, "--yes", "--json") == 1
    assert "HF_HUB_OFFLINE is set" in json.loads(capsys.readouterr().out)["records"][0]["reason"]
