"""A validation: prediction and measurement side by side, with every reading kept."""

from dataclasses import replace
from pathlib import Path

import pytest
from validation_cases import ROOM, TEXT, candidate_of, setting_of, toy_model

from advisor.engines.fake import FakeEngine, Speeds
from advisor.types import ValidationStatus, Workload
from advisor.validation import validate
from advisor.validation.thread_sweep import threads_to_try
from advisor.validation.validate import validate_one
from advisor.validation.weights_source import REAL, TRUNCATED, TWIN


@pytest.fixture(scope="module")
def model():
    return toy_model()


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
