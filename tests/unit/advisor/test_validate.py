"""Validation: which weights are run, what is compared, and what becomes of failures."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.engines.base import EngineCrashedError, ModelRefusedError, OutOfMemoryError
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
from advisor.validation import page_cache, sanity, text_quality, validate, verdict, weights_source
from advisor.validation.thread_sweep import threads_to_try
from advisor.validation.validate import Setting, validate_one
from advisor.validation.verdict import Roof
from advisor.validation.weights_source import REAL, TRUNCATED, TWIN, Candidate, Room, choose_source
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


TEXT = validate.Text(name="mine", content="one two three four " * 20)


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
    record = validate_one(candidate, setting_of(tmp_path, engine, budget_s=60.0))
    assert record.observed.prefill_tokens_per_s == pytest.approx(20.0)
    assert any("of 8192 prompt tokens were run" in note for note in record.notes)
    hurried = validate_one(candidate, setting_of(tmp_path, engine, budget_s=5.0))
    assert hurried.observed.prefill_tokens_per_s is hurried.observed.first_token_s is None
    assert hurried.observed.decode_tokens_per_s == pytest.approx(100.0)
    assert set(hurried.error_frac) & {"prefill_tokens_per_s", "first_token_s"} == set()
    assert any("allow more time" in note for note in hurried.notes)


def test_a_shallower_depth_is_noted(model, tmp_path: Path, local_file):
    workload = Workload(prompt_tokens=8192, output_tokens=64, context_tokens=16384)
    engine = FakeEngine(speeds=lambda _: Speeds(decode_s_per_token_per_depth=1e-6), reach_tokens=2048)
    record = validate_one(
        candidate_of(model, local_path=local_file, workload=workload), setting_of(tmp_path, engine, budget_s=10.0)
    )
    assert any(note.startswith("decoding was timed behind 20") for note in record.notes)


LONG_CONTEXT = Workload(prompt_tokens=16384, output_tokens=2048, context_tokens=32768)
SLOW_AND_DEEP = Speeds(
    load_s=4.0,
    prefill_s_per_token=0.025,
    prefill_s_per_token_per_depth=1.5e-5,
    decode_s_per_token=0.2,
    decode_s_per_token_per_depth=1.5e-5,
)
WRONG = {"prefill": 400.0, "decode": 50.0}  # predicted ten times too fast


@pytest.mark.parametrize("budget_s", [20.0, 120.0])
@pytest.mark.parametrize("predicted", [{"prefill": 40.0, "decode": 5.0, "load": 4.0}, WRONG], ids=["right", "wrong"])
@pytest.mark.parametrize(("real", "text"), [(True, None), (True, TEXT), (False, None)], ids=["real", "text", "twin"])
@pytest.mark.parametrize("jumps", [True, False], ids=["jumps", "computes"])
def test_the_whole_of_a_long_context_keeps_to_the_budget(
    model, tmp_path: Path, local_file, budget_s, predicted, real, text, jumps
):
    engine = FakeEngine(speeds=lambda _: SLOW_AND_DEEP, jumps=jumps)
    path = local_file if real else None
    candidate = candidate_of(model, local_path=path, workload=LONG_CONTEXT, **predicted)
    setting = setting_of(tmp_path, engine, budget_s=budget_s, usable_cores_count=2, usable_threads_count=2, text=text)
    record = validate_one(candidate, setting)
    assert record.status is ValidationStatus.OK
    assert record.observed.decode_tokens_per_s
    assert engine.clock.now() <= 1.15 * budget_s


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


@pytest.mark.parametrize(
    ("placed", "experts_on_cpu", "limit"),
    [
        ({"cpu": 4}, 0, 10.0),
        ({"cuda:0": 4}, 0, 3000.0),
        ({"cuda:0": 2, "cpu": 2}, 0, 3010.0),
        ({"cuda:0": 4}, 3, 3010.0),
    ],
)
def test_the_roof_is_that_of_the_devices_that_hold_the_model(placed, experts_on_cpu, limit):
    roof = Roof(memory_bytes_per_s=10.0, accelerators={"cuda:0": Roof(memory_bytes_per_s=3000.0)})
    deployment = Deployment(
        model_id="m", quant_id="q", layers_by_device=placed, experts_on_cpu_layers_count=experts_on_cpu
    )
    assert roof.over(deployment).memory_bytes_per_s == limit


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


# --- stages, depths, threads, energy, quality ------------------------------------------------------


def test_every_stage_is_timed_apart(model, tmp_path: Path, local_file):
    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, FakeEngine()))
    stages = record.stages
    assert stages.load_cold_s == stages.load_warm_s == pytest.approx(1.0)
    assert stages.tokenize_s == pytest.approx(512e-6)
    assert stages.prefill_s == pytest.approx(0.512)
    assert stages.decode_s == pytest.approx(64 * 0.01)
    assert stages.detokenize_s == pytest.approx(64e-6)
    twin = validate_one(candidate_of(model), setting_of(tmp_path, FakeEngine())).stages
    assert (twin.load_cold_s, twin.tokenize_s) == (None, None)
    assert twin.load_warm_s == pytest.approx(1.0)


def test_speed_is_known_at_two_depths(model, tmp_path: Path, local_file):
    engine = FakeEngine(speeds=lambda _: Speeds(decode_s_per_token_per_depth=1e-5))
    record = validate_one(candidate_of(model, local_path=local_file), setting_of(tmp_path, engine))
    decoding = [point for point in record.depths if point.decode_tokens_per_s]
    assert len(decoding) == 2
    assert decoding[0].depth_tokens < decoding[1].depth_tokens
    assert decoding[0].decode_tokens_per_s > decoding[1].decode_tokens_per_s
    assert [point.depth_tokens for point in record.depths] == sorted(point.depth_tokens for point in record.depths)


def test_numbers_of_threads_are_tried_and_the_default_is_left_set(model, tmp_path: Path, local_file):
    best = {1: 2.0, 2: 0.5, 4: 1.0}
    engine = FakeEngine(speeds=lambda _: Speeds(threads_factor=lambda count: best[count]))
    candidate = candidate_of(model, local_path=local_file)
    deployment = replace(candidate.estimate.deployment, threads_count=4)
    candidate = replace(candidate, estimate=replace(candidate.estimate, deployment=deployment))
    record = validate_one(
        candidate, setting_of(tmp_path, engine, usable_cores_count=4, usable_threads_count=4, budget_s=100.0)
    )
    assert [speed.threads_count for speed in record.threads] == [1, 2, 4]
    assert record.fastest_threads.threads_count == 2
    assert record.threads[1].decode_tokens_per_s == pytest.approx(200.0)
    assert record.observed.decode_tokens_per_s == pytest.approx(100.0), "the figures are the default's"
    gpu = replace(candidate, estimate=replace(candidate.estimate, deployment=replace(deployment, backend="cuda")))
    setting = setting_of(tmp_path, engine, usable_cores_count=4, usable_threads_count=4)
    assert validate_one(gpu, setting).threads == ()


def test_a_sweep_that_takes_too_long_is_left_out(model, tmp_path: Path, local_file):
    engine = FakeEngine(speeds=lambda _: Speeds(decode_s_per_token=1.0))
    record = validate_one(
        candidate_of(model, local_path=local_file),
        setting_of(tmp_path, engine, usable_cores_count=2, usable_threads_count=2, budget_s=20.0),
    )
    assert record.threads == ()
    assert record.status is ValidationStatus.OK


@pytest.mark.parametrize(
    ("default", "cores", "threads", "tried"),
    [(2, 2, 2, (1, 2)), (8, 8, 16, (1, 2, 4, 8, 16)), (1, 1, 1, (1,)), (6, 4, 4, (1, 2, 4, 6))],
)
def test_which_numbers_of_threads_are_tried(default, cores, threads, tried):
    assert threads_to_try(default, cores, threads) == tried


def test_energy_is_per_token_where_it_is_metered(model, tmp_path: Path, local_file):
    engine = FakeEngine(speeds=lambda _: Speeds(watts=50.0))
    record = validate_one(
        candidate_of(model, local_path=local_file), setting_of(tmp_path, engine, meter_ids=("cpu", "cuda:0"))
    )
    assert record.energy.decode_j_per_token == pytest.approx(50.0 * 0.01)
    assert record.energy.prefill_j_per_token == pytest.approx(50.0 * 0.001)
    assert record.energy.device_ids == ("cpu", "cuda:0")
    assert record.energy.reason is None
    assert sum(record.samples["decode_windows_energy_j"]) > 0


def test_unmetered_energy_has_a_reason(model, tmp_path: Path, local_file):
    setting = setting_of(tmp_path, FakeEngine(), no_energy_reason="the counter is readable by root only")
    energy = validate_one(candidate_of(model, local_path=local_file), setting).energy
    assert energy.reason == "the counter is readable by root only"
    assert energy.decode_j_per_token is None


def scored(model, tmp_path: Path, local_file: str, loss: float, quant_bytes: int = 100):
    engine = FakeEngine(speeds=lambda _: Speeds(loss_per_word=loss))
    candidate = candidate_of(model, local_path=local_file, total_bytes=quant_bytes)
    return validate_one(candidate, setting_of(tmp_path, engine, text=TEXT))


def test_a_text_is_scored_on_real_weights(model, tmp_path: Path, local_file):
    quality = scored(model, tmp_path, local_file, 2.0).quality
    assert quality.text_name == "mine"
    assert quality.tokens_count == 80
    assert quality.perplexity == pytest.approx(math.exp(2.0))
    assert quality.bits_per_byte == pytest.approx(2.0 * 80 / math.log(2) / len(TEXT.content))
    assert validate_one(candidate_of(model), setting_of(tmp_path, FakeEngine(), text=TEXT)).quality is None


def test_a_text_that_cannot_be_scored_costs_only_the_score(model, tmp_path: Path, local_file):
    engine = FakeEngine(decodes=False)
    candidate = candidate_of(replace(model, capabilities=frozenset({"embedding"})), local_path=local_file)
    record = validate_one(candidate, setting_of(tmp_path, engine, text=TEXT))
    assert record.status is ValidationStatus.OK
    assert "an embedding model foretells no text" in record.notes


def test_the_coarser_quantisation_is_compared_with_the_finer_token_by_token(model, tmp_path: Path, local_file):
    fine, coarse = scored(model, tmp_path, local_file, 2.0, 200), scored(model, tmp_path, local_file, 2.1, 100)
    (delta,) = text_quality.deltas([coarse, fine])
    assert delta.change_frac == pytest.approx(math.expm1(0.1))
    assert delta.interval_frac.low == pytest.approx(delta.change_frac)
    assert delta.tokens_count == 80
    other = replace(coarse, quality=replace(coarse.quality, text_id="another"))
    assert text_quality.deltas([other, fine]) == ()


def test_the_bundled_text_is_long_enough_and_the_users_is_bounded(tmp_path: Path):
    assert len(text_quality.bundled_text().split()) > 800
    own = tmp_path / "own.txt"
    own.write_bytes("ä".encode() * 3_000_000)
    assert len(text_quality.read_text(str(own))) == 2 * 1024**2
    for bad, said in ((b"", "holds no text"), (b"\xff\xfe\x00", "not UTF-8")):
        own.write_bytes(bad)
        with pytest.raises(AdvisorError, match=said):
            text_quality.read_text(str(own))
    with pytest.raises(AdvisorError, match="cannot be read"):
        text_quality.read_text(str(tmp_path / "none.txt"))


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
