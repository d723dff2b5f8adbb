"""The history: deduplicated, migrated, whole after a kill, correct under concurrent writers."""

import dataclasses
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import report_examples
from tiny_estimate import tiny_estimate

from advisor import codec, history
from advisor.regression.changepoints import with_change_points
from advisor.types import (
    Calibration,
    EngineBuild,
    MetricSeries,
    Observed,
    Run,
    RunCase,
    RunEnvironment,
    Validation,
    ValidationRecord,
    ValidationStatus,
)


def _record(model_id: str = "tiny", engine: str = "llama.cpp") -> ValidationRecord:
    return ValidationRecord(
        estimate=tiny_estimate(10.0, model_id=model_id),
        engine=EngineBuild(id=engine, version="0.3"),
        weights="twin",
        status=ValidationStatus.OK,
        observed=Observed(decode_tokens_per_s=10.0, prefill_tokens_per_s=100.0),
        samples={"decode_tokens_per_s": (9.0, 10.0, 12.0)},
    )


def _validation(created_at: str, *records: ValidationRecord, profile_id: str = "machine-a") -> Validation:
    return Validation(records=records, created_at=created_at, tool_version="0", profile_id=profile_id)


def _run(created_at: str, decode: float = 50.0, suite_id: str = "s1") -> Run:
    series = MetricSeries(
        metric="decode_tokens_per_s", values=(decode, decode + 2, 1.0), rounds=(0, 1, 2), polluted=(False, False, True)
    )
    case = RunCase(subject="tiny:Q4_K_M p8", status=ValidationStatus.OK, series=(series,))
    environment = RunEnvironment(
        machine_id="machine-a", hardware="box", os="linux", engine=EngineBuild(id="llama.cpp", version="b1")
    )
    return Run(
        suite_name="smoke",
        suite_id=suite_id,
        environment=environment,
        cases=(case,),
        created_at=created_at,
        tool_version="0",
        rounds_count=3,
    )


def test_documents_come_back_equal_and_only_once(tmp_path: Path) -> None:
    validation = _validation("2026-01-01T00:00:00Z", _record(), _record("other", "vllm"))
    with history.open_history(tmp_path / "h.sqlite3") as past:
        assert past.record(validation)
        assert not past.record(validation)
        assert past.validations() == validation.records
        assert [r.engine.id for r in past.validations(engine="vllm")] == ["vllm"]
        assert past.validations(profile_id="machine-b") == ()
        assert past.document(past.entries()[0].digest) == validation


def test_a_record_in_two_documents_counts_once_and_survives_forgetting_one(tmp_path: Path) -> None:
    first = _validation("2026-01-01T00:00:00Z", _record())
    second = _validation("2026-01-02T00:00:00Z", _record(), _record("other"))
    with history.open_history(tmp_path / "h.sqlite3") as past:
        past.record(first)
        past.record(second)
        assert [r.estimate.model_id for r in past.validations()] == ["tiny", "other"]
        assert past.forget([past.entries()[0].digest]) == 1
        assert [r.estimate.model_id for r in past.validations()] == ["tiny", "other"]


def test_runs_and_trends_leave_polluted_windows_out(tmp_path: Path) -> None:
    with history.open_history(tmp_path / "h.sqlite3") as past:
        past.record(_run("2026-01-02T00:00:00Z", 40.0))
        past.record(_run("2026-01-01T00:00:00Z", 50.0))
        past.record(_run("2026-01-03T00:00:00Z", 50.0, suite_id="s2"))
        assert [run.created_at[8:10] for run in past.runs(suite_id="s1")] == ["01", "02"]
        (trend,) = past.trends()
        assert [(point.value, point.low) for point in trend.points] == [(51.0, 50.0), (41.0, 40.0), (51.0, 50.0)]
        assert trend.points[0].engine == "llama.cpp b1"


def test_a_recommendation_is_refused(tmp_path: Path) -> None:
    with (
        history.open_history(tmp_path / "h.sqlite3") as past,
        pytest.raises(history.HistoryError, match="not remembered"),
    ):
        past.record(tiny_estimate())


def test_version_1_is_migrated_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    run = _run("2026-01-01T00:00:00Z")
    mapping = codec.to_mapping(run)
    with sqlite3.connect(path, isolation_level=None) as old:
        history._create(old)
        old.execute(
            "INSERT INTO documents (digest, kind, created_at, machine_id, summary, origin, body)"
            " VALUES (?, 'run', ?, 'machine-a', 'smoke', 'here', ?)",
            (history.digest(mapping), run.created_at, history.canonical(mapping)),
        )
        old.execute("PRAGMA user_version = 1")
    old.close()
    with history.open_history(path) as past:
        assert past.runs() == (run,)
        assert len(past.trends()) == 1
        assert not past.record(run)


def test_a_newer_history_and_a_foreign_file_are_refused_and_kept(tmp_path: Path) -> None:
    newer = tmp_path / "newer.sqlite3"
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(history.HistoryError, match="upgrade model-fit-advisor"):
        history.open_history(newer)
    foreign = tmp_path / "notes.txt"
    foreign.write_text("these are my notes, not a database " * 40)
    with pytest.raises(history.HistoryError, match="move it away"):
        history.open_history(foreign)
    assert foreign.read_text().startswith("these are my notes")


def test_an_unreadable_document_hides_no_other(tmp_path: Path) -> None:
    with history.open_history(tmp_path / "h.sqlite3") as past:
        past.record(_validation("2026-01-01T00:00:00Z", _record()))
        past.record(_validation("2026-01-02T00:00:00Z", _record("other")))
        past._connection.execute("UPDATE documents SET body = substr(body, 1, 200) WHERE document_id = 1")
        assert [r.estimate.model_id for r in past.validations()] == ["other"]
        assert len(past.entries()) == 2
        with pytest.raises(history.HistoryError, match="truncated"):
            past.document(past.entries()[0].digest)


def test_ambiguous_and_unknown_digests_are_named(tmp_path: Path) -> None:
    with history.open_history(tmp_path / "h.sqlite3") as past:
        for prefix in ("", "zz", "abc", "%"):
            with pytest.raises(history.HistoryError, match="no document"):
                past.document(prefix)


_WRITER = """
import sys
from advisor import codec, history
document = codec.load(sys.argv[2])
import dataclasses
with history.open_history(sys.argv[1]) as past:
    for i in range(int(sys.argv[4])):
        past.record(dataclasses.replace(document, created_at=f"2026-01-01T00:00:00.{sys.argv[3]}{i:05d}Z"))
        print(i, flush=True)
"""


def _writer(database: Path, document: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(database), str(document), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_concurrent_writers_from_an_empty_folder_lose_nothing(tmp_path: Path) -> None:
    document = tmp_path / "run.json"
    codec.save(_run("2026-01-01T00:00:00Z"), document)
    database = tmp_path / "h.sqlite3"
    writers = [_writer(database, document, str(n), 25) for n in range(4)]
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    with history.open_history(database) as past:
        assert len(past.entries("run")) == 100


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_what_was_recorded_survives_kill_9(tmp_path: Path) -> None:
    document = tmp_path / "run.json"
    codec.save(_run("2026-01-01T00:00:00Z"), document)
    database = tmp_path / "h.sqlite3"
    for attempt in range(3):
        writer = _writer(database, document, str(attempt), 100_000)
        assert writer.stdout is not None
        acknowledged = 0
        deadline = time.monotonic() + 30
        while acknowledged < 10 + attempt and time.monotonic() < deadline:
            acknowledged = int(writer.stdout.readline()) + 1
        writer.send_signal(signal.SIGKILL)
        acknowledged += len(writer.stdout.read().split())
        writer.wait()
        writer.stdout.close()
        with history.open_history(database) as past:
            kept = [e for e in past.entries("run") if f"00.{attempt}" in e.created_at]
            assert len(kept) >= acknowledged >= 10 + attempt
            assert past._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_calibrations_are_found_by_machine(tmp_path: Path) -> None:
    calibration = Calibration(
        calibration_id="c",
        profile_id="machine-a",
        engine=EngineBuild(id="llama.cpp"),
        created_at="2026-01-01T00:00:00Z",
        rates=(),
    )
    other = dataclasses.replace(calibration, profile_id="machine-b")
    with history.open_history(tmp_path / "h.sqlite3") as past:
        past.record(calibration)
        past.record(other)
        assert past.calibrations("machine-a") == (calibration,)
        assert json.loads(codec.dump(past.calibrations()[1]))["profile_id"] == "machine-b"


def test_a_calibrations_rates_are_trends_with_change_points(tmp_path: Path) -> None:
    made = report_examples.calibration()
    with history.open_history(tmp_path / "h.sqlite3") as past:
        for day in range(1, 9):
            slower = 1.0 if day < 5 else 1.25  # an update of the engine costs a quarter
            rates = dataclasses.replace(
                made.rates[0],
                decode_s_per_byte={kind: cost * slower for kind, cost in made.rates[0].decode_s_per_byte.items()},
            )
            engine = EngineBuild(id="llama.cpp", version="1" if day < 5 else "2")
            created_at = f"2026-01-{day:02d}T00:00:00Z"
            past.record(dataclasses.replace(made, rates=(rates,), engine=engine, created_at=created_at))
        trends = {(trend.subject, trend.metric): trend for trend in past.trends()}
    assert ("calibration cpu *", "decode_bytes_per_s") not in trends
    decode = with_change_points(trends["calibration cpu Q4_K", "decode_bytes_per_s"])
    assert [point.value for point in decode.points][:1] == [pytest.approx(27e9)]
    (step,) = decode.change_points
    assert (step.created_at, step.engine_before, step.engine_after) == (
        "2026-01-05T00:00:00Z",
        "llama.cpp 1",
        "llama.cpp 2",
    )
    assert step.change_frac == pytest.approx(-0.2)
    assert not with_change_points(trends["calibration cpu Q4_K", "prefill_flop_per_s"]).change_points


def test_calibrations_of_version_2_become_trends(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    with history.open_history(path) as past:
        past.record(report_examples.calibration())
        past._connection.execute("DELETE FROM points")
        past._connection.execute("PRAGMA user_version = 2")
    with history.open_history(path) as past:
        assert {trend.metric for trend in past.trends()} == {"decode_bytes_per_s", "prefill_flop_per_s"}


def test_the_default_place_is_the_users_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    with history.open_history() as past:
        assert past.path == tmp_path / "home" / "history.sqlite3"
