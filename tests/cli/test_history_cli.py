"""``advisor history``: what is remembered, shown, exported and taken in."""

import json
import math
import random
from pathlib import Path

import pytest
from command_line import advisor

from advisor import codec, history
from advisor.types import MetricSeries, Run, RunCase, RunEnvironment, ValidationStatus


def make_run(day: int, speed: float, reason: str | None = None) -> Run:
    source = random.Random(day)
    values = tuple(speed * math.exp(source.gauss(0, 0.01)) for _ in range(5))
    series = MetricSeries(metric="decode_tokens_per_s", values=values, rounds=tuple(range(5)))
    return Run(
        suite_name="smoke",
        suite_id="s1",
        environment=RunEnvironment(machine_id="m", hardware="box", os="linux"),
        cases=(RunCase(subject="tiny", status=ValidationStatus.OK, series=(series,), reason=reason),),
        created_at=f"2026-01-{day:02d}T00:00:00Z",
        tool_version="0",
        rounds_count=5,
    )


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_an_empty_history_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert advisor("history") == 0
    assert "0 documents" in capsys.readouterr().out


def test_a_lasting_step_is_marked_with_its_date(capsys: pytest.CaptureFixture[str]) -> None:
    with history.open_history() as past:
        for day in range(1, 17):
            past.record(make_run(day, 100.0 if day <= 8 else 80.0))
    assert advisor("history", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "history"
    (trend,) = document["trends"]
    assert [point["created_at"][:10] for point in trend["change_points"]] == ["2026-01-09"]
    assert advisor("history", "--subject", "tiny") == 0
    assert "on 2026-01-09" in capsys.readouterr().out


def test_documents_are_added_shown_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    codec.save(make_run(1, 100.0), "run.json")
    assert advisor("history", "--add", "run.json", "--add", "run.json") == 0
    assert "was known already" in capsys.readouterr().err
    with history.open_history() as past:
        (entry,) = past.entries()
    assert advisor("history", "--show", entry.digest[:8]) == 0
    assert json.loads(capsys.readouterr().out)["suite_name"] == "smoke"
    assert advisor("history", "--forget", entry.digest[:8]) == 0
    assert advisor("history", "--show", entry.digest[:8]) == 1
    assert "no document" in capsys.readouterr().err


def test_a_bundle_travels_without_personal_data(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    monkeypatch.setattr("socket.gethostname", lambda: "alicebox.example.org")
    with history.open_history() as past:
        past.record(make_run(1, 100.0, reason="alice's /home/alice/x.gguf on alicebox"))
    assert advisor("history", "--export", "bundle.json") == 0
    assert "alice" not in Path("bundle.json").read_text(encoding="utf-8")
    monkeypatch.setenv("ADVISOR_HOME", "elsewhere")
    assert advisor("history", "--import", "bundle.json") == 0
    assert advisor("history", "--import", "bundle.json") == 0
    with history.open_history() as past:
        (entry,) = past.entries()
        assert entry.origin == "imported"
        assert past.runs()[0].cases[0].series == make_run(1, 100.0).cases[0].series


def test_a_bad_bundle_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    good = codec.to_mapping(make_run(1, 100.0))
    for documents, words in (([good, {"kind": "run"}], "document 2"), ([good, 3], "document 2")):
        bundle = {"kind": "bundle", "schema_version": 1, "documents": documents}
        Path("bad.json").write_text(json.dumps(bundle), encoding="utf-8")
        assert advisor("history", "--import", "bad.json") == 1
        assert words in capsys.readouterr().err
    Path("cut.json").write_text('{"kind": "bun', encoding="utf-8")
    assert advisor("history", "--import", "cut.json") == 1
    assert advisor("history", "--import", "none.json") == 1
    with history.open_history() as past:
        assert past.entries() == ()


def test_a_document_of_another_version_does_not_keep_the_others_from_being_shared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with history.open_history() as past:
        past.record(make_run(1, 100.0))
        past.record(make_run(2, 100.0))
        damaged = past.entries()[0].digest
        past._connection.execute("UPDATE documents SET body = '{}' WHERE digest = ?", (damaged,))
        past._connection.commit()
    assert advisor("history", "--export", "bundle.json") == 0
    said = capsys.readouterr().err
    assert f"{damaged[:12]} is left out" in said
    assert f"advisor history --forget {damaged[:12]}" in said
    assert "wrote 1 documents" in said
