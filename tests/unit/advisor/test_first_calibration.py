"""The first use of an engine: calibrated once, and remembered."""

from pathlib import Path

import pytest
import report_examples

from advisor import history
from advisor.cli import _machine


@pytest.fixture(autouse=True)
def _fresh_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    monkeypatch.setattr(_machine, "find_calibration", lambda profile_id: None)
    monkeypatch.setattr(_machine, "engine_key", lambda: "b1")
    monkeypatch.setattr(_machine, "calibrate", lambda profile, on_progress: report_examples.calibration())


def test_a_calibration_is_added_to_the_history() -> None:
    made = _machine.this_calibration(report_examples.profile(), quiet=True)
    with history.open_history() as past:
        assert past.calibrations() == (made,)


def test_a_damaged_history_does_not_cost_the_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "history.sqlite3").write_text("these are my notes, not a database " * 40)
    assert _machine.this_calibration(report_examples.profile(), quiet=True) == report_examples.calibration()
    assert "not added to the history" in capsys.readouterr().err


def test_no_calibrate_uses_a_saved_calibration_and_runs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a calibration was run")

    monkeypatch.setattr(_machine, "calibrate", refuse)
    monkeypatch.setattr(_machine, "engine_key", lambda: "llama.cpp-test")
    for saved in (None, report_examples.calibration()):
        monkeypatch.setattr(_machine, "find_calibration", lambda _profile_id, saved=saved: saved)
        assert _machine.this_calibration(report_examples.profile(), run=False) == saved
