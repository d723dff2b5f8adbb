"""Validation: which weights are run, what is compared, and what becomes of failures."""

from dataclasses import replace
from pathlib import Path

import pytest

from advisor import sanity, validate, verdict, weights_source
from advisor.engines.base import EngineCrashedError, OutOfMemoryError
from advisor.engines.fake import FakeEngine, Speeds
from advisor.errors import AdvisorError
from advisor.types import (
    Basis,
    Deployment,
    DeviceMemory,
    Estimate,
    Interval,
    MemoryPlan,
    Observed,
    ValidationStatus,
    Workload,
)
from advisor.validate import Setting, validate_one
from advisor.verdict import Roof
from advisor.weights_source import REAL, TRUNCATED, TWIN, Candidate, Room, choose_source
from catalog.load import load_catalog
from catalog.weights import weigh

GIB = 1024**3
WORKLOAD = Workload(prompt_tokens=512, output_tokens=64, context_tokens=1024)


@pytest.fixture(scope="module")
def model():
    """A real architecture at toy size, so that twins are written at once."""
    real = load_catalog().model("SmolLM2-135M-Instruct")
    geometry = replace(
        real.geometry,
        mixers="A" * 8,
        ffns="d" * 8,
        hidden_dim=64,
        head_count=1,
        kv_head_count=1,
        head_dim=64,
        ffn_dim=64,
        vocab_count=64,
    )
    return replace(real, geometry=geometry)


def interval(mid: float) -> Interval:
    return Interval(low=mid / 1.1, mid=mid, high=mid * 1.1)


def candidate_of(model, *, local_path=None, total_bytes=10**6, workload=WORKLOAD, **speeds) -> Candidate:
    artifact = weigh(model, "Q8_0")
    device = DeviceMemory(
        device_id="cpu",
        weights_bytes=total_bytes,
        kv_bytes=0,
        compute_bytes=0,
        overhead_bytes=0,
        total_bytes=total_bytes,
        available_bytes=None,
    )
    predicted = {"prefill": 1000.0, "decode": 100.0, "first": 0.512, "load": 1.0, **speeds}
    estimate = Estimate(
        model_id=model.model_id,
        quant_id="Q8_0",
        engine_id="fake",
        deployment=Deployment(model_id=model.model_id, quant_id="Q8_0", engine_id="fake"),
        workload=workload,
        prefill_tokens_per_s=interval(predicted["prefill"]),
        decode_tokens_per_s=interval(predicted["decode"]),
        first_token_s=interval(predicted["first"]),
        load_s=interval(predicted["load"]),
        memory=MemoryPlan(total_bytes=total_bytes, fits=True, devices=(device,)),
        basis=Basis.CALIBRATED,
    )
    return Candidate(estimate=estimate, model=model, artifact=artifact, local_path=local_path)


@pytest.fixture
def local_file(tmp_path: Path) -> str:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    return str(path)


def setting_of(tmp_path: Path, engine: FakeEngine, **changes) -> Setting:
    return Setting(engine=engine, scratch_root=tmp_path / "scratch", clock=engine.clock, **changes)


# --- choosing weights --------------------------------------------------------------------------

ROOM = Room(disk_bytes=100 * GIB, memory_bytes=16 * GIB, budget_s=60.0)


def test_the_file_that_is_here_is_run(model):
    assert choose_source(candidate_of(model, local_path="x.gguf"), ROOM).weights == REAL


def test_a_twin_stands_in_for_a_file_that_is_not(model):
    source = choose_source(candidate_of(model), ROOM)
    assert (source.weights, source.stand_ins) == (TWIN, None)
    assert choose_source(candidate_of(model, local_path="x.gguf"), ROOM, force_twin=True).weights == TWIN


@pytest.mark.parametrize(
    ("room", "total_bytes", "why"),
    [
        (replace(ROOM, memory_bytes=10**6), 10**8, "available"),
        (replace(ROOM, budget_s=0.001), 10**6, "more disk or time"),
        (replace(ROOM, disk_bytes=None), 10**6, "more disk or time"),
    ],
)
def test_a_model_beyond_the_machine_is_run_in_part(model, room, total_bytes, why):
    if room.disk_bytes is None:  # half of it is not enough for the whole file
        room = replace(room, disk_bytes=int(1.9 * weigh(model, "Q8_0").file_bytes))
    source = choose_source(candidate_of(model, total_bytes=total_bytes), room)
    assert source.weights == TRUNCATED
    assert len(source.stand_ins.layers) == 2
    assert any(why in note for note in source.notes)


def test_a_real_file_too_large_for_memory_is_not_loaded(model):
    room = replace(ROOM, memory_bytes=10**6)
    assert choose_source(candidate_of(model, local_path="x", total_bytes=10**8), room).weights == TRUNCATED


def test_no_room_at_all_says_what_to_free(model):
    with pytest.raises(AdvisorError, match="Free some disk or memory") as caught:
        choose_source(candidate_of(model), replace(ROOM, disk_bytes=1000))
    assert "\n" not in str(caught.value)


def test_room_is_measured_where_the_folder_will_be(tmp_path: Path):
    room = weights_source.measure_room(tmp_path / "not" / "yet", 5.0)
    assert room.disk_bytes > 0
    assert room.memory_bytes > 0
    assert room.budget_s == 5.0


# --- a whole validation ------------------------------------------------------------------------


def test_prediction_and_measurement_side_by_side(model, tmp_path: Path, local_file):
    engine = FakeEngine()
    record = validate_one(candidate_of(model, local_path=local_file, decode=108.0), setting_of(tmp_path, engine))
    assert record.status is ValidationStatus.OK
    assert record.weights == REAL
    assert record.observed.decode_tokens_per_s == pytest.approx(100.0)
    assert record.observed.prefill_tokens_per_s == pytest.approx(1000.0)
    assert record.observed.first_token_s == pytest.approx(0.512)
    assert record.error_frac["decode_tokens_per_s"] == pytest.approx(0.08)
    assert record.within_interval == {
        "prefill_tokens_per_s": True,
        "decode_tokens_per_s": True,
        "first_token_s": True,
        "load_s": True,
        "peak_memory_bytes": False,
    }
    assert record.answer == engine.answer
    assert not record.polluted
    assert record.created_at.endswith("Z")


def test_every_raw_reading_is_kept(model, tmp_path: Path, local_file):
    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, FakeEngine()))
    samples = record.samples
    assert len(samples["prefill_windows_s"]) == len(samples["prefill_windows_polluted"]) == 4
    assert sum(samples["decode_s"]) == pytest.approx(sum(samples["decode_windows_s"]))
    assert len(samples["token_timestamps_s"]) == 16
    assert samples["decode_depth_tokens"] == (524.0,)
    assert {"load_cold_s", "load_warm_s"} & set(samples)


def test_outside_the_interval_is_said_so(model, tmp_path: Path, local_file):
    record = validate_one(candidate_of(model, local_path=local_file, decode=200.0), setting_of(tmp_path, FakeEngine()))
    assert record.within_interval["decode_tokens_per_s"] is False
    assert record.error_frac["decode_tokens_per_s"] == pytest.approx(1.0)


def test_a_twin_is_labelled_and_removed(model, tmp_path: Path):
    seen = []

    def speeds(path: str) -> Speeds:
        seen.append(path)
        assert Path(path).read_bytes()[:4] == b"GGUF"
        return Speeds()

    record = validate_one(candidate_of(model), setting_of(tmp_path, FakeEngine(speeds=speeds)))
    assert (record.weights, record.status) == (TWIN, ValidationStatus.OK)
    assert record.answer is None
    assert "load_s" not in record.error_frac  # it was in the page cache
    assert len(seen) == 1
    assert not Path(seen[0]).exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_stand_ins_add_up_to_the_whole(model, tmp_path: Path, monkeypatch):
    from catalog.gguf import read_gguf

    def speeds(path: str) -> Speeds:
        layers = read_gguf(path)[0].geometry.layers_count
        return Speeds(prefill_s_per_token=0.001 * (1 + layers), decode_s_per_token=0.01 * (1 + layers))

    monkeypatch.setattr(validate, "measure_room", lambda *_: replace(ROOM, memory_bytes=10**6))
    record = validate_one(candidate_of(model, total_bytes=10**8), setting_of(tmp_path, FakeEngine(speeds=speeds)))
    assert record.weights == TRUNCATED
    assert record.observed.decode_tokens_per_s == pytest.approx(1 / (0.01 * 9))
    assert record.observed.prefill_tokens_per_s == pytest.approx(1 / (0.001 * 9))
    assert record.observed.peak_memory_bytes is None
    assert "stand_in_1.decode_s" in record.samples
    assert any("are available" in note for note in record.notes)


def test_a_prompt_run_in_part_is_noted(model, tmp_path: Path, local_file):
    workload = Workload(prompt_tokens=8192, output_tokens=64, context_tokens=16384)
    engine = FakeEngine(speeds=lambda _: Speeds(prefill_s_per_token=0.05))
    candidate = candidate_of(model, local_path=local_file, workload=workload)
    record = validate_one(candidate, setting_of(tmp_path, engine, budget_s=10.0))
    assert record.observed.prefill_tokens_per_s == pytest.approx(20.0)
    assert any("of 8192 prompt tokens were run" in note for note in record.notes)


def test_an_embedding_model_has_no_decode_speed(model, tmp_path: Path, local_file):
    engine = FakeEngine(decodes=False)
    candidate = candidate_of(
        replace(model, capabilities=frozenset({"embedding"})), local_path=local_file, total_bytes=10**6
    )
    record = validate_one(candidate, setting_of(tmp_path, engine))
    assert record.status is ValidationStatus.OK
    assert record.observed.decode_tokens_per_s is None
    assert "decode_tokens_per_s" not in record.error_frac


def test_pollution_is_labelled(model, tmp_path: Path, local_file):
    engine = FakeEngine(polluted=lambda _: True)
    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, engine, budget_s=5.0))
    assert record.polluted
    assert record.status is ValidationStatus.OK


@pytest.mark.parametrize(
    "fault",
    [OutOfMemoryError("stopped: the engine holds 9 bytes"), EngineCrashedError("the engine ended (exit -6)")],
)
def test_a_failure_is_a_record_with_what_it_needed(model, tmp_path: Path, local_file, fault):
    record = validate_one(
        candidate_of(model, local_path=local_file, total_bytes=1234), setting_of(tmp_path, FakeEngine(fault=fault))
    )
    assert record.status is ValidationStatus.FAILED
    assert str(fault) in record.reason
    assert "1234 bytes" in record.reason
    assert record.observed == Observed()
    assert record.engine.version == "0"


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


def test_garbage_from_real_weights_is_a_failure(model, tmp_path: Path, local_file):
    engine = FakeEngine(answer="\N{REPLACEMENT CHARACTER}" * 20)
    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, engine))
    assert record.status is ValidationStatus.FAILED
    assert record.reason == "the answer is not valid text"
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


# --- verdicts ----------------------------------------------------------------------------------


def test_the_peak_is_the_buffers_or_the_process_whichever_is_more():
    buffers = {"cpu.weights": 100, "cpu.kv": 50}
    assert verdict.peak_bytes({}) is None
    assert verdict.peak_bytes(buffers) == 150
    assert verdict.peak_bytes({**buffers, "process.peak": 1200, "process.before": 1000}) == 200
    assert verdict.peak_bytes({**buffers, "process.peak": 1100, "process.before": 1000}) == 150


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("The capital of France is Paris.", "stop", None),
        ("Paris", "stop", None),
        ("巴黎是法国的首都。", "length", None),
        ("I do not know.", "stop", None),
        ("", "stop", "the model said nothing"),
        (None, "stop", "the model said nothing"),
        ("ok " * 12, "length", "the answer repeats one word"),
        ("ab" * 40, "length", "the answer repeats one character"),
        ("\x00\x01\x02a\x03\x04", "length", "the answer is full of control characters"),
        ("!!! ??? ... ,,,", "length", "the answer holds no words"),
        ("\N{REPLACEMENT CHARACTER}" * 9 + "a", "length", "the answer is not valid text"),
        ("fine", "nonfinite", "the model computed values that are not numbers"),
    ],
)
def test_garbage_is_told_from_an_answer(text, finish, reason):
    assert sanity.garbage_reason(text, finish) == reason
