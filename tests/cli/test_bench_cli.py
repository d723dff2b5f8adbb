"""``advisor bench``: files, exit codes and interruption; the engine itself is replaced."""

import json
from pathlib import Path

import pytest
from command_line import advisor

from advisor import codec, history
from advisor.regression import bench
from advisor.regression.recording import Sample, Visit
from advisor.types import EngineBuild, Run

REAL_ENGINE_BUILD = bench.read_engine_build


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    turns: list[str] = []

    def turn(plan: bench.Plan, subject: str, number: int) -> Visit:
        turns.append(subject)
        if len(turns) == 4:
            raise KeyboardInterrupt
        samples = (Sample(metric="decode_tokens_per_s", value=100.0 + number),)
        return Visit(subject=subject, round_number=number, samples=samples, wall_s=0.0, monotonic_s=0.0)

    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        bench, "read_engine_build", lambda python=None: EngineBuild(id="llama.cpp", version="b0" if python else "b1")
    )
    monkeypatch.setattr(bench, "_described", lambda path: (None, None))
    monkeypatch.setattr(bench.Plan, "turn", turn)
    Path("a.gguf").write_bytes(b"weights")
    Path("suite.toml").write_text('name = "mine"\nprobes = false\nrounds = 3\n[[case]]\nfile = "a.gguf"\n')
    return turns


def run_bench(*args: str) -> int:
    return advisor("bench", "--suite", "suite.toml", "--no-predict", *args)


def test_a_recording_is_saved_and_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_bench("-o", "out/run.json", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    run: Run = codec.load("out/run.json", kind="run")
    assert printed == codec.to_mapping(run)
    assert run.complete
    assert run.environment.engine == EngineBuild(id="llama.cpp", version="b1")
    assert run.environment.machine_id
    assert not Path("out/run.json.partial").exists()
    with history.open_history() as past:
        assert past.runs() == (run,)


def test_ctrl_c_keeps_what_was_timed_and_the_same_command_goes_on(
    capsys: pytest.CaptureFixture[str], engine: list[str]
) -> None:
    assert run_bench("-o", "run.json", "--rounds", "6") == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not Path("run.json").exists()
    assert run_bench("-o", "run.json", "--rounds", "6") == 0
    assert len(engine) == 4 + 3
    run: Run = codec.load("run.json")
    assert (run.rounds_count, run.resumed_count) == (6, 1)


def test_two_environments_take_turns_and_are_compared_round_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("-o", "out/run.json", "--against", "old/bin/python", "--rounds", "6")
    assert run_bench(*asked) == 130
    assert "out/run.base.json.partial" in capsys.readouterr().err
    assert run_bench(*asked) == 0
    assert "advisor regress out/run.base.json out/run.json" in capsys.readouterr().err
    new, base = codec.load("out/run.json"), codec.load("out/run.base.json")
    assert [run.environment.engine.version for run in (new, base)] == ["b1", "b0"]
    assert (new.paired_id, new.rounds_count, base.rounds_count) == (base.paired_id, 6, 6)
    with history.open_history() as past:
        assert [run.paired_id for run in past.runs()] == [
            new.paired_id
        ]  # the other one is no run of this machine's own
    assert advisor("regress", "out/run.base.json", "out/run.json") == 0
    printed = capsys.readouterr().out
    assert "compared round by round" in printed
    assert "b0" in printed
    assert not list(Path("out").glob("*.partial"))


def test_an_interrupted_recording_can_be_written_as_it_is() -> None:
    assert run_bench("-o", "run.json", "--rounds", "6") == 130
    assert run_bench("-o", "run.json", "--rounds", "6", "--finish") == 0
    run: Run = codec.load("run.json")
    assert (run.complete, run.rounds_count) == (False, 3)


def test_a_changed_suite_does_not_go_on_with_an_old_recording(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_bench("-o", "run.json", "--rounds", "6") == 130
    Path("suite.toml").write_text('name = "mine"\nprobes = false\n[[case]]\nfile = "a.gguf"\nprompt = 8\n')
    capsys.readouterr()
    assert run_bench("-o", "run.json") == 1
    assert "another suite" in capsys.readouterr().err
    assert Path("run.json.partial").exists()
    assert run_bench("-o", "run.json", "--restart", "--rounds", "2") == 0


def test_an_environment_without_an_engine_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "read_engine_build", REAL_ENGINE_BUILD)
    no_python = tmp_path / "no-python"
    no_python.write_text("#!/bin/sh\nexit 3\n")
    no_python.chmod(0o755)
    for python in ("nothere/bin/python", str(tmp_path), str(no_python)):
        assert run_bench("-o", "run.json", "--against", python) == 1
        error = capsys.readouterr().err
        assert f"--against {python}: " in error
        assert "Traceback" not in error
        assert len(error.strip().splitlines()) == 1, error


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.toml").write_text("rounds = ")
    Path("bad.json").write_text("[1]")
    Path("typo.toml").write_text('[[case]]\nfile = "a.gguf"\npromt = 1\n')
    Path("none.toml").write_text('probes = false\n[[case]]\nfile = "missing.gguf"\n')
    Path("folder").mkdir()
    cases = [
        (("--suite", "nothere.toml"), 1, "cannot be read"),
        (("--suite", "bad.toml"), 2, "not valid TOML"),
        (("--suite", "bad.json"), 2, "expected a table"),
        (("--suite", "typo.toml"), 2, "unknown key 'promt'"),
        (("--suite", "none.toml"), 1, "no such file"),
        (("--suite", "suite.toml", "-o", "folder"), 1, "is a directory"),
        (("--suite", "suite.toml", "-o", "a.gguf/run.json"), 1, "cannot be made"),
        (("--suite", "suite.toml", "-o", "-"), 2, "name a file"),
        (("--suite", "suite.toml", "-o", "new.json", "--finish"), 1, "no interrupted recording"),
    ]
    for args, code, words in cases:
        assert advisor("bench", "--no-predict", *args) == code, args
        error = capsys.readouterr().err
        assert words in error, (args, error)
        assert "Traceback" not in error
