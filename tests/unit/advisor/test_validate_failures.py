"""Validations that fail or cannot be made: each is a record with its reason, and the next goes on."""

from dataclasses import replace
from pathlib import Path

import pytest
from validation_cases import ROOM, candidate_of, setting_of, toy_model

from advisor.engines.base import EngineCrashedError, ModelRefusedError, OutOfMemoryError
from advisor.engines.fake import FakeEngine, Speeds
from advisor.errors import AdvisorError
from advisor.types import Observed, ValidationStatus
from advisor.validation import page_cache, validate
from advisor.validation.validate import validate_one
from advisor.validation.verdict import Roof


@pytest.fixture(scope="module")
def model():
    return toy_model()


@pytest.mark.parametrize(
    "fault",
    [OutOfMemoryError("stopped: the engine holds 9 bytes"), EngineCrashedError("the engine ended (exit -6)")],
)
def test_a_failure_is_a_record_with_what_it_needed(model, tmp_path: Path, local_file, fault):
    record = validate_one(
        candidate_of(model, local_path=local_file, total_bytes=3 << 30), setting_of(tmp_path, FakeEngine(fault=fault))
    )
    assert record.status is ValidationStatus.FAILED
    assert str(fault) in record.reason
    assert "need 3.0 GiB" in record.reason
    assert record.observed == Observed()
    assert record.engine.version == "0"
    assert record.failure_kind == type(fault).__name__


def test_no_room_is_a_waiver_not_the_models_failure(model, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(validate, "measure_room", lambda *_: replace(ROOM, disk_bytes=1000))
    record = validate_one(candidate_of(model), setting_of(tmp_path, FakeEngine()))
    assert (record.status, record.failure_kind) == (ValidationStatus.WAIVED, "NoRoomError")
    assert "Free some disk or memory" in record.reason


def test_a_waiver_is_a_record(model, tmp_path: Path):
    engine = FakeEngine(missing="not installed; pip install it")
    record = validate_one(candidate_of(model), setting_of(tmp_path, engine))
    assert record.status is ValidationStatus.WAIVED
    assert record.reason == "not installed; pip install it"


def test_one_failure_does_not_stop_the_next(model, tmp_path: Path, local_file):
    unknown = replace(model, geometry=None)
    progress = []
    records = list(
        validate.validations(
            [replace(candidate_of(model), model=unknown), candidate_of(model, local_path=local_file)],
            setting_of(tmp_path, FakeEngine(), on_progress=lambda done, what: progress.append((done, what))),
        )
    )
    assert [record.status for record in records] == [ValidationStatus.FAILED, ValidationStatus.OK]
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert "timing" in progress[-1][1]


def test_loading_is_stopped_when_the_time_asked_for_is_over(model, tmp_path: Path, local_file):
    engine = FakeEngine(speeds=lambda _: Speeds(load_s=900.0))
    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, engine, budget_s=20.0))
    assert engine.clock.now() == pytest.approx(20.0)
    assert (record.status, record.failure_kind) == (ValidationStatus.FAILED, "LoadingStoppedError")
    assert "not loaded when the 20 s of the budget were over" in (record.reason or "")
    assert "--budget 60s" in (record.reason or "")


def test_loading_is_given_a_few_seconds_however_short_the_budget(model, tmp_path: Path, local_file):
    engine = FakeEngine(speeds=lambda _: Speeds(load_s=4.0))
    setting = setting_of(tmp_path, engine, budget_s=1.0)
    assert validate_one(candidate_of(model, local_path=local_file), setting).status is ValidationStatus.OK


def test_loading_takes_its_time_where_none_was_asked_for(model, tmp_path: Path, local_file):
    engine = FakeEngine(speeds=lambda _: Speeds(load_s=900.0))
    setting = setting_of(tmp_path, engine, budget_s=20.0, stops_loading=False)
    assert validate_one(candidate_of(model, local_path=local_file), setting).status is ValidationStatus.OK


def test_loading_again_keeps_to_the_time_left_and_costs_nothing_that_was_timed(
    model, tmp_path: Path, local_file, monkeypatch
):
    monkeypatch.setattr(page_cache, "evict", lambda _: True)
    loads = iter((1.0, 900.0))
    engine = FakeEngine(speeds=lambda _: Speeds(load_s=next(loads)))
    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, engine, budget_s=60.0))
    assert record.status is ValidationStatus.OK
    assert engine.clock.now() <= 66.0
    assert any("could not be loaded again" in note for note in record.notes)


def test_garbage_from_real_weights_is_a_failure(model, tmp_path: Path, local_file):
    engine = FakeEngine(answer="\N{REPLACEMENT CHARACTER}" * 20)
    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, engine))
    assert record.status is ValidationStatus.FAILED
    assert record.reason == "the answer is not valid text"
    assert record.failure_kind == "GarbageError"
    assert record.observed.decode_tokens_per_s == pytest.approx(100.0)
    assert record.error_frac == {}


def test_a_speed_above_physics_is_a_failure(model, tmp_path: Path, local_file):
    candidate = candidate_of(model, local_path=local_file)
    moved = sum(group.weight_bytes for group in candidate.artifact.groups if group.used_frac)
    slow_memory = Roof(memory_bytes_per_s=moved * 50.0)  # the fake decodes 100 tokens/s
    record = validate_one(candidate, setting_of(tmp_path, FakeEngine(), roof=slow_memory))
    assert record.status is ValidationStatus.FAILED
    assert "cannot be right" in record.reason
    cached = replace(slow_memory, cache_bytes=moved)
    assert validate_one(candidate, setting_of(tmp_path, FakeEngine(), roof=cached)).status is ValidationStatus.OK
    slow_compute = Roof(flop_per_s=1.0)
    record = validate_one(candidate, setting_of(tmp_path, FakeEngine(), roof=slow_compute))
    assert "a prompt at" in record.reason
    assert record.status is ValidationStatus.FAILED


def test_a_speed_a_little_above_an_unsure_roof_is_a_note(model, tmp_path: Path, local_file):
    candidate = candidate_of(model, local_path=local_file)
    moved = sum(group.weight_bytes for group in candidate.artifact.groups if group.used_frac)
    roof = Roof(memory_bytes_per_s=moved * 80.0, tolerance_frac=0.5)
    record = validate_one(candidate, setting_of(tmp_path, FakeEngine(), roof=roof))
    assert record.status is ValidationStatus.OK
    assert any("scan again" in note for note in record.notes)


def test_weights_that_could_not_be_fetched_are_a_record_and_the_next_goes_on(model, tmp_path: Path, local_file):
    def fetch(candidate, _):
        if candidate.local_path is None:
            raise AdvisorError("the connection broke")
        return candidate

    records = list(
        validate.validations(
            [candidate_of(model), candidate_of(model, local_path=local_file)],
            setting_of(tmp_path, FakeEngine(), fetch=fetch),
        )
    )
    assert [record.status for record in records] == [ValidationStatus.FAILED, ValidationStatus.OK]
    assert "the connection broke" in records[0].reason


def test_a_file_deleted_after_it_was_timed_costs_nothing_but_further_loads(model, tmp_path: Path, local_file):
    opened = []

    def speeds(path: str) -> Speeds:
        opened.append(path)
        if len(opened) > 1:
            raise ModelRefusedError("llama.cpp cannot load it: no such file")
        return Speeds()

    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, FakeEngine(speeds=speeds)))
    assert record.status is ValidationStatus.OK
    assert record.observed.decode_tokens_per_s == pytest.approx(100.0)
    assert any("could not be loaded again" in note and "no such file" in note for note in record.notes)


def test_stand_ins_whose_times_do_not_add_up_give_no_figures(model, tmp_path: Path, monkeypatch):
    """Noise can make more layers look faster than fewer; extrapolated, that would be a speed below zero."""
    from catalog.gguf import read_gguf

    def speeds(path: str) -> Speeds:
        layers = read_gguf(path)[0].geometry.layers_count
        return Speeds(decode_s_per_token=0.1 / layers)

    monkeypatch.setattr(validate, "measure_room", lambda *_: replace(ROOM, memory_bytes=10**6))
    record = validate_one(candidate_of(model, total_bytes=10**8), setting_of(tmp_path, FakeEngine(speeds=speeds)))
    assert record.status is ValidationStatus.FAILED
    assert record.observed == Observed()
    assert record.polluted
    assert "do not add up" in record.reason
    assert record.samples["decode_s"]
