"""Recording a suite: turns, failures, interruption at any point, and what the document then says."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from advisor.engines.base import Loaded, OutOfMemoryError, Stream, Window
from advisor.regression import bench, journal, recording
from advisor.regression.recording import Visit
from advisor.regression.suite import Suite, SuiteCase
from advisor.types import Deployment, EngineBuild, RunEnvironment, ValidationStatus
from probes.types import Conditions, ScanWarning

ENVIRONMENT = RunEnvironment(machine_id="m", hardware="box", os="linux", engine=EngineBuild(id="llama.cpp"))
CALM = Conditions()
BUSY = Conditions(polluted=True, causes=(ScanWarning.CONTENDED,))


class FakeSession:
    """Answers like an engine that decodes 100 tokens a second."""

    def __init__(self, conditions: list[Conditions]) -> None:
        self.loaded = Loaded(
            load_s=0.5, weights_bytes=1, params_count=1, layers_count=1, vocab_count=1, context_tokens=64,
            threads_count=1,
        )  # fmt: skip
        self._conditions = conditions

    def _window(self, phase: str, tokens: int, depth_tokens: int) -> Window:
        conditions = self._conditions.pop(0) if self._conditions else CALM
        return Window(
            phase=phase, tokens_count=tokens, depth_tokens=depth_tokens, started_s=0.0, elapsed_s=(tokens / 100,),
            conditions=conditions,
        )  # type: ignore[arg-type] # fmt: skip

    def prefill(self, tokens_count: int, *, depth_tokens: int = 0) -> Window:
        return self._window("prefill", tokens_count, depth_tokens)

    def decode(self, tokens_count: int, *, depth_tokens: int = 0) -> Window:
        return self._window("decode", tokens_count, depth_tokens)

    def generate(self, prompt: list[int], max_tokens: int) -> Stream:
        return Stream(started_s=0.0, token_s=(0.25,), prompt_tokens=len(prompt))

    def memory_bytes(self) -> dict[str, int]:
        return {"process.peak": 1000}


class FakeEngine:
    """Opens fake sessions and remembers who was opened; fails for the models it is told to."""

    def __init__(self, failing: str = "", stop_after: int | None = None, conditions: list[Conditions] | None = None):
        self.opened: list[str] = []
        self._failing, self._stop_after, self._conditions = failing, stop_after, conditions or []

    @contextmanager
    def __call__(self, weights: bench.Weights, deployment: Deployment, context_tokens: int) -> Iterator[bench.Held]:
        if self._stop_after is not None and len(self.opened) >= self._stop_after:
            raise KeyboardInterrupt
        self.opened.append(weights.model_id)
        if weights.model_id == self._failing:
            raise OutOfMemoryError("it does not fit; choose a smaller quantisation")
        yield bench.Held(session=FakeSession(list(self._conditions)), pid=1)  # type: ignore[arg-type]


def _plan(
    folder: Path, engine: FakeEngine, *, rounds: int = 3, environment: RunEnvironment = ENVIRONMENT
) -> bench.Plan:
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(name.encode())
    suite = Suite(
        name="s", cases=(SuiteCase(file="a.gguf"), SuiteCase(file="b.gguf")), rounds_count=rounds, windows_count=2,
        probes=False,
    )  # fmt: skip
    return bench.plan_suite(
        suite, folder / "run.json.partial", environment=environment, tool_version="0", directory=folder,
        base_dir=folder, opener=engine,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _no_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_described", lambda path: (None, None))


def test_cases_take_turns_and_the_first_moves_on(tmp_path: Path) -> None:
    engine = FakeEngine()
    run = bench.record(_plan(tmp_path, engine))
    assert engine.opened == ["a", "b", "b", "a", "a", "b"]
    assert (run.complete, run.rounds_count, run.resumed_count) == (True, 3, 0)
    metrics = {series.metric: series for series in run.cases[0].series}
    assert metrics["decode_tokens_per_s"].values == (100.0,) * 6
    assert metrics["decode_tokens_per_s"].rounds == (0, 0, 1, 1, 2, 2)
    assert metrics["load_s"].values == (0.5,) * 3
    assert metrics["first_token_s"].values == (0.25,) * 3
    assert metrics["peak_memory_bytes"].values == (1000.0,) * 3
    assert run.cases[0].weights_id != run.cases[1].weights_id


@pytest.mark.parametrize("stop_after", range(6))
def test_an_interruption_anywhere_is_finished_by_the_same_command(tmp_path: Path, stop_after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.record(_plan(tmp_path, FakeEngine(stop_after=stop_after)))
    again = FakeEngine()
    run = bench.record(_plan(tmp_path, again))
    assert len(again.opened) == 6 - stop_after
    assert run.complete
    assert run.resumed_count == 1
    assert all(len(case.series[0].values) == 3 for case in run.cases)


def _arms(tmp_path: Path, engine: FakeEngine) -> list[bench.Plan]:
    plans = []
    for name in ("new", "base"):
        (tmp_path / name).mkdir(exist_ok=True)
        plans.append(_plan(tmp_path / name, engine, rounds=2))
    return plans


def test_two_engines_take_turns_case_by_case_and_who_begins_alternates(tmp_path: Path) -> None:
    begun: list[str] = []

    class Noting(bench.Plan):
        def turn(self, subject: str, number: int) -> Visit:
            begun.append(f"{self.journal_path.parent.name} {subject[0]}{number}")
            return bench.Plan.turn(self, subject, number)

    arms = _arms(tmp_path, FakeEngine())
    plans = [Noting(**{f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}) for plan in arms]
    new, base = bench.record_in_turn(plans)
    assert begun == ["new a0", "base a0", "base b0", "new b0", "base b1", "new b1", "new a1", "base a1"]
    assert new.paired_id
    assert new.paired_id == base.paired_id
    assert new.complete
    assert base.complete


@pytest.mark.parametrize("stop_after", range(8))
def test_turns_that_were_interrupted_anywhere_go_on(tmp_path: Path, stop_after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.record_in_turn(_arms(tmp_path, FakeEngine(stop_after=stop_after)))
    again = FakeEngine()
    runs = bench.record_in_turn(_arms(tmp_path, again))
    assert len(again.opened) == 8 - stop_after
    assert all(run.complete and len(run.cases[0].series[0].values) == 2 for run in runs)


def test_what_an_interrupted_recording_holds_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.record(_plan(tmp_path, FakeEngine(stop_after=3)))
    run = bench.kept(_plan(tmp_path, FakeEngine()))
    assert (run.complete, run.rounds_count) == (False, 1)
    assert [len(case.series[0].values) for case in run.cases] == [1, 2]


def test_a_journal_cut_off_anywhere_loses_one_visit_at_most(tmp_path: Path) -> None:
    plan = _plan(tmp_path, FakeEngine(stop_after=4))
    with pytest.raises(KeyboardInterrupt):
        bench.record(plan)
    whole = plan.journal_path.read_bytes()
    last_line = len(whole.rstrip(b"\n").rsplit(b"\n", 1)[-1])
    for cut in (1, 2, last_line // 2, last_line):
        plan.journal_path.write_bytes(whole[:-cut])
        again = FakeEngine()
        run = bench.record(_plan(tmp_path, again))
        assert len(again.opened) in (2, 3)
        assert run.complete


def test_another_environment_or_suite_does_not_continue_a_journal(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.record(_plan(tmp_path, FakeEngine(stop_after=1)))
    updated = dataclasses.replace(ENVIRONMENT, kernel="6.2")
    with pytest.raises(recording.ResumeError, match=r"another machine, kernel, driver or engine.*--restart"):
        bench.record(_plan(tmp_path, FakeEngine(), environment=updated))
    run = bench.record(_plan(tmp_path, FakeEngine(), environment=updated), restart=True)
    assert run.resumed_count == 0


def test_a_case_that_fails_twice_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    engine = FakeEngine(failing="a")
    run = bench.record(_plan(tmp_path, engine, rounds=5))
    assert engine.opened.count("a") == 2
    failed, fine = run.cases
    assert failed.status is ValidationStatus.FAILED
    assert failed.reason == "it does not fit; choose a smaller quantisation"
    assert fine.status is ValidationStatus.OK
    assert run.complete


def test_a_missing_file_is_named_and_the_others_are_timed(tmp_path: Path) -> None:
    suite = Suite(name="s", cases=(SuiteCase(file="none.gguf"), SuiteCase(file="a.gguf")), rounds_count=1, probes=False)
    (tmp_path / "a.gguf").write_bytes(b"a")
    plan = bench.plan_suite(
        suite, tmp_path / "j", environment=ENVIRONMENT, tool_version="0", directory=tmp_path, base_dir=tmp_path,
        opener=FakeEngine(),
    )  # fmt: skip
    missing, fine = bench.record(plan).cases
    assert "no such file" in (missing.reason or "")
    assert fine.status is ValidationStatus.OK


def test_disturbed_windows_are_kept_marked_and_taken_again(tmp_path: Path) -> None:
    # the first decode is the warm-up; then two prefill windows are disturbed and two retried
    engine = FakeEngine(conditions=[CALM, BUSY, BUSY])
    run = bench.record(_plan(tmp_path, engine, rounds=1))
    prefill = next(s for s in run.cases[0].series if s.metric == "prefill_tokens_per_s")
    assert prefill.polluted == (True, True, False, False)


def test_a_quota_is_the_machines_own_and_not_excused() -> None:
    assert bench.disturbed(BUSY)
    assert not bench.disturbed(Conditions(polluted=True, causes=(ScanWarning.THROTTLED,)))
    assert bench.disturbed(Conditions(polluted=True))
    assert not bench.disturbed(None)


def _visit(wall_s: float, monotonic_s: float, sitting: str = "1") -> Visit:
    return Visit(subject="a", round_number=0, samples=(), wall_s=wall_s, monotonic_s=monotonic_s, sitting=sitting)


def test_a_clock_that_jumps_is_noticed_and_a_reboot_is_not_a_jump() -> None:
    assert recording.clock_jump_s([_visit(0, 0), _visit(10, 10.5)]) is None
    assert recording.clock_jump_s([_visit(0, 0), _visit(3610, 10), _visit(3620, 20)]) == 3600
    assert recording.clock_jump_s([_visit(3600, 0), _visit(10, 10)]) == -3600
    assert recording.clock_jump_s([_visit(0, 5000), _visit(100, 3, sitting="2")]) is None


def test_journals_keep_whole_lines_and_skip_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "j"
    assert journal.read(path) == []
    journal.append(path, {"a": 1})
    with path.open("ab") as file:
        file.write(b'{"b": 2, "cut')
    journal.append(path, {"c": 3})
    assert journal.read(path) == [{"a": 1}, {"c": 3}]
    path.write_bytes(path.read_bytes() + b"[1]\n\xff\xfe\nnull\n")
    assert journal.read(path) == [{"a": 1}, {"c": 3}]


def test_lines_of_other_shapes_are_no_visits() -> None:
    for entry in ({}, {"visit": "a"}, {"visit": "a", "round": "x", "samples": [], "wall_s": 0, "monotonic_s": 0}):
        assert recording.entry_to_visit(entry) is None
    visit = _visit(1.0, 2.0)
    assert recording.entry_to_visit(json.loads(json.dumps(recording.visit_to_entry(visit)))) == visit
