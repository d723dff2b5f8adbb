"""Timing twins in turn: what is disturbed is timed again, what cannot be loaded is named."""

from pathlib import Path

import pytest
from timed_twins import FakeWorker, window

from advisor.attention import AttentionKernel
from advisor.calibration import rehearse as module
from advisor.calibration.experiment import Timing
from advisor.calibration.processor_experiments import processor_experiments
from advisor.calibration.rehearse import Rehearsed, rehearse
from advisor.engines.base import EngineMissingError, ModelRefusedError, Window

FEW = processor_experiments()[:3]


@pytest.fixture(autouse=True)
def _no_writing_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "write_experiment", lambda experiment, path: path.write_bytes(b""))
    monkeypatch.setattr(module, "wait_for_quiet", lambda deadline_s: True)
    monkeypatch.setattr(module, "prefer", lambda pid: None)


def run(worker: FakeWorker, folder: Path, **changes: object) -> tuple[Rehearsed, ...]:
    arguments = {"threads_count": 2, "memory_bytes": 1 << 40, "rounds_count": 4, "budget_s": 60.0} | changes
    return rehearse(worker, FEW, folder, **arguments)


def test_every_timing_is_had_as_often_as_wanted(tmp_path):
    for item in run(FakeWorker(), tmp_path):
        had = {timing.phase: len(windows) for timing, windows in item.windows.items()}
        assert had.get("prefill", 4) == 4
        assert had["decode"] == 8
        assert set(item.windows) == set(item.experiment.timings)


def test_a_round_decodes_on_every_model_before_and_after_its_prompts(tmp_path, monkeypatch):
    order = []
    time = module._time

    def noted(session, timing):
        order.append(timing.phase)
        return time(session, timing)

    monkeypatch.setattr(module, "_time", noted)
    run(FakeWorker(), tmp_path, rounds_count=1)
    decodes = sum(timing.phase == "decode" for item in FEW for timing in item.timings)
    prompts = sum(timing.phase == "prefill" for item in FEW for timing in item.timings)
    touched = sum(any(timing.phase == "prefill" for timing in item.timings) for item in FEW)
    assert order == ["prefill"] * touched + ["decode"] * decodes + ["prefill"] * prompts + ["decode"] * decodes


def test_disturbed_windows_are_taken_again_and_do_not_count(tmp_path):
    for item in run(FakeWorker(disturbed_count=5), tmp_path):
        for timing, windows in item.windows.items():
            # the second decode of a round may be one more than was wanted
            assert sum(not window.polluted for window in windows) in ((8, 9) if timing.phase == "decode" else (4,))
            assert not item.polluted(timing)
            assert max(item.seconds(timing)) < 0.5


def test_a_machine_that_never_goes_quiet_ends_anyway_and_is_marked(tmp_path):
    worker = FakeWorker(disturbed_count=1000)
    for item in run(worker, tmp_path):
        for timing in item.experiment.timings:
            assert item.polluted(timing)
            assert len(item.windows[timing]) == (32 if timing.phase == "decode" else 16)
    assert all(session.closed for session in worker.sessions)


def test_a_refused_model_has_its_fault_and_the_others_go_on(tmp_path):
    refused = FEW[1].experiment_id
    items = run(FakeWorker(faults={refused: ModelRefusedError("llama.cpp does not know it")}), tmp_path)
    faults = {item.experiment.experiment_id: item.fault for item in items if item.fault}
    assert faults == {refused: "llama.cpp does not know it"}
    assert sum(bool(item.windows) for item in items) == len(FEW) - 1


def test_without_an_engine_nothing_is_timed(tmp_path):
    missing = EngineMissingError("llama-cpp-python is not installed")
    with pytest.raises(EngineMissingError):
        run(FakeWorker(faults={item.experiment_id: missing for item in FEW}), tmp_path)


def test_no_time_leaves_twins_out_unless_they_are_required(tmp_path):
    assert len(run(FakeWorker(), tmp_path, budget_s=1e-9)) == 1
    required = run(FakeWorker(), tmp_path, budget_s=1e-9, required=True)
    assert len(required) == len(FEW)
    assert all(len(windows) >= 2 for item in required for windows in item.windows.values())


def test_twins_that_do_not_fit_together_are_timed_in_batches(tmp_path):
    worker = FakeWorker()
    largest = max(item.weights_bytes for item in FEW)
    items = run(worker, tmp_path, memory_bytes=round(1.2 * largest))
    assert [item.experiment for item in items] == list(FEW)
    assert all(session.closed for session in worker.sessions)


def test_every_token_of_a_decode_window_counts_and_a_prompt_as_a_whole():
    decode = Window(phase="decode", tokens_count=3, depth_tokens=0, started_s=0.0, elapsed_s=(0.9, 0.1, 0.2))
    prompt = Window(phase="prefill", tokens_count=3, depth_tokens=0, started_s=0.0, elapsed_s=(0.9, 0.1))
    timings = Timing(phase="decode", tokens_count=3), Timing(phase="prefill", tokens_count=3)
    item = Rehearsed(FEW[0], {timings[0]: [decode], timings[1]: [prompt]})
    assert item.seconds(timings[0]) == [0.9, 0.1, 0.2]
    assert item.seconds(timings[1]) == [1.0]


def test_a_slow_machine_does_not_keep_a_calibration_waiting(tmp_path, monkeypatch):
    clock = iter(range(0, 100_000, 30))  # every look at it is half a minute later
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    hurried = sum(len(windows) for item in run(FakeWorker(), tmp_path) for windows in item.windows.values())
    asked = sum(
        len(windows) for item in run(FakeWorker(), tmp_path, required=True) for windows in item.windows.values()
    )
    assert hurried < asked


def test_a_prompt_touches_new_buffers_before_any_counts(tmp_path):
    worker = FakeWorker()
    items = run(worker, tmp_path)
    for session, item in zip(worker.sessions, items, strict=True):
        counted = sum(len(windows) for timing, windows in item.windows.items() if timing.phase == "prefill")
        prompts = sum(timing.phase == "prefill" for timing in session.timed)
        assert prompts - counted == any(timing.phase == "prefill" for timing in item.experiment.timings)


def test_new_buffers_are_touched_by_the_shortest_prompt_or_without_the_flash_kernel_by_the_deepest():
    near, long = Timing(phase="prefill", tokens_count=128), Timing(phase="prefill", tokens_count=320)
    deep = Timing(phase="prefill", tokens_count=64, depth_tokens=4096)
    assert module._first_prompt((long, deep, near), AttentionKernel()) == near
    assert module._first_prompt((long, deep, near), AttentionKernel(flash=False)) == deep


def test_a_first_prompt_counts_only_where_it_is_the_only_one():
    (experiment,) = FEW[:1]
    prompt = next(timing for timing in experiment.timings if timing.phase == "prefill")

    def taken(*seconds: float) -> Rehearsed:
        return Rehearsed(experiment, {prompt: [window(prompt, time_s) for time_s in seconds]})

    assert taken(3.0).seconds(prompt) == [3.0]
    assert taken(3.0, 2.0, 2.1).seconds(prompt) == [2.0, 2.1]


@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_one_undisturbed_window_says_more_than_several_disturbed_ones(phase):
    (experiment,) = FEW[:1]
    timing = next(timing for timing in experiment.timings if timing.phase == phase)

    def seconds(*windows: Window) -> set[float]:
        return set(Rehearsed(experiment, {timing: list(windows)}).seconds(timing))

    first, later = window(timing, 3.0), window(timing, 2.0)
    disturbed = window(timing, 9.0, polluted=True)
    assert seconds(first, disturbed, disturbed) == {3.0}
    assert seconds(disturbed, later, disturbed) == {2.0}
    assert seconds(disturbed, disturbed) == {9.0}
