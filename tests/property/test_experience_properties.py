"""What earlier validations may and may not do to a prediction."""

import importlib.util
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor import roofline
from advisor.candidates import base_deployment
from advisor.estimate import estimate
from advisor.experience import correlation, is_experience, learn, subject_of
from advisor.types import (
    EngineBuild,
    EstimateWarning,
    Observed,
    ThreadsSpeed,
    ValidationRecord,
    ValidationStatus,
    Workload,
)
from catalog.load import load_catalog
from catalog.weights import weigh

_spec = importlib.util.spec_from_file_location(
    "machines_for_experience", Path(__file__).parents[1] / "unit" / "advisor" / "conftest.py"
)
_machines = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_machines)

QWEN = ("Qwen/Qwen3-8B", "Q4_K_M")
LIKE = ("meta-llama/Llama-3.1-8B-Instruct", "Q4_K_M")
UNLIKE = ("openai/gpt-oss-20b", "MXFP4_MOE")
SUBJECTS = (QWEN, LIKE, UNLIKE, ("Qwen/Qwen3-0.6B", "Q8_0"), ("Qwen/Qwen3.5-4B", "Q6_K"), (QWEN[0], "Q6_K"))
WORKLOAD = Workload(prompt_tokens=512, output_tokens=128, context_tokens=1024)
PROFILE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

subjects = st.sampled_from(SUBJECTS)
slowdowns = st.floats(0.8, 1.3)


@cache
def machine():
    return _machines.make_machine(64)


def predict(subject, on=None):
    model_id, quant_id = subject
    model, on = load_catalog().models[model_id], on or machine()
    artifact = weigh(model, quant_id)
    placed = {"cpu": model.geometry.layers_count}
    deployment = replace(base_deployment(model, artifact, on, "f16"), layers_by_device=placed)
    return estimate(model, artifact, on, WORKLOAD, deployment)


def validated(subject, slowdown, on=None, **changes):
    made = predict(subject, on)
    base_decode_s = sum(t.time_s for t in made.terms if t.name.startswith("decode.") and not is_experience(t))
    base_prefill_s = sum(t.time_s for t in made.terms if t.name.startswith("prefill.") and not is_experience(t))
    record = ValidationRecord(
        estimate=made,
        engine=EngineBuild(id="llama.cpp", version="1"),
        weights="twin",
        status=ValidationStatus.OK,
        observed=Observed(
            prefill_tokens_per_s=WORKLOAD.prompt_tokens / (base_prefill_s * slowdown),
            decode_tokens_per_s=1.0 / (base_decode_s * slowdown),
        ),
    )
    return replace(record, **changes)


def experienced(*records):
    return replace(machine(), experience=learn(records, machine().provenance, machine().sigmas))


def moved(subject, on):
    """Log of how much slower decoding is predicted with what was seen than without."""
    return math.log(predict(subject).decode_tokens_per_s.mid / predict(subject, on).decode_tokens_per_s.mid)


def width(interval):
    return math.log(interval.high / interval.low)


def test_no_validations_change_nothing():
    assert predict(QWEN, experienced()) == predict(QWEN)


@PROFILE
@given(subjects, slowdowns)
def test_a_validation_moves_its_own_model_toward_it_and_not_beyond(subject, slowdown):
    change, told = moved(subject, experienced(validated(subject, slowdown))), math.log(slowdown)
    assert change == pytest.approx(0.0, abs=1e-9) or math.copysign(1.0, change) == math.copysign(1.0, told)
    assert abs(change) <= abs(told) + 1e-9


def test_a_like_model_moves_much_and_an_unlike_one_little():
    seen = experienced(validated(QWEN, 1.15))
    assert moved(LIKE, seen) > 0.4 * moved(QWEN, seen) > 0.0
    assert abs(moved(UNLIKE, seen)) < 0.2 * moved(LIKE, seen)


def test_more_validations_move_further_and_narrow_the_interval():
    once, thrice = experienced(validated(QWEN, 1.05)), experienced(*[validated(QWEN, 1.05)] * 3)
    assert moved(QWEN, thrice) > moved(QWEN, once) > 0.0
    widths = [width(predict(QWEN, on).decode_tokens_per_s) for on in (machine(), once, thrice)]
    assert widths[0] > widths[1] > widths[2]


def test_surprising_validations_widen_the_intervals_of_unlike_models():
    surprised = experienced(validated(QWEN, 1.3), validated(("Qwen/Qwen3-0.6B", "Q8_0"), 0.75))
    assert width(predict(UNLIKE, surprised).decode_tokens_per_s) > width(predict(UNLIKE).decode_tokens_per_s)


def test_noisy_validations_count_for_less():
    steady = {"decode_windows_s": (1.0, 1.01, 0.99), "prefill_windows_s": (1.0, 1.0, 1.0)}
    shaky = {"decode_windows_s": (1.0, 1.6, 0.7), "prefill_windows_s": (1.0, 1.6, 0.7)}
    assert moved(QWEN, experienced(validated(QWEN, 1.1, samples=shaky))) < moved(
        QWEN, experienced(validated(QWEN, 1.1, samples=steady))
    )


@pytest.mark.parametrize(
    "change",
    [
        {"polluted": True},
        {"status": ValidationStatus.FAILED},
        {"status": ValidationStatus.WAIVED},
        {"observed": Observed()},
        {"observed": Observed(decode_tokens_per_s=0.0, prefill_tokens_per_s=float("nan"))},
    ],
)
def test_what_was_disturbed_failed_or_not_seen_does_not_count(change):
    assert learn([validated(QWEN, 1.2, **change)], machine().provenance, machine().sigmas) is None


def test_validations_predicted_from_other_rates_do_not_count():
    elsewhere = {**machine().provenance, "calibration": "another"}
    made = replace(validated(QWEN, 1.2).estimate, provenance=elsewhere)
    record = replace(validated(QWEN, 1.2), estimate=made)
    assert learn([record], machine().provenance, machine().sigmas) is None


@PROFILE
@given(st.lists(st.tuples(subjects, st.floats(0.05, 5.0)), min_size=1, max_size=5), subjects)
def test_no_estimate_passes_the_roof_whatever_was_seen(seen, subject):
    on = experienced(*(validated(*item) for item in seen))
    rates = on.devices[0].rates
    made = predict(subject, on)
    for phase, time_s in (
        ("decode", 1.0 / made.decode_tokens_per_s.mid),
        ("prefill", WORKLOAD.prompt_tokens / made.prefill_tokens_per_s.mid),
    ):
        own = [term for term in made.terms if term.name.startswith(phase) and not is_experience(term)]
        assert time_s >= 0.999 * sum(roofline.least_s(rates, term) for term in own)


def test_a_correction_is_not_learnt_twice():
    on = experienced(validated(QWEN, 1.2))
    again = experienced(validated(QWEN, 1.2, on=on))
    assert moved(QWEN, again) == pytest.approx(moved(QWEN, on))


def test_the_working_names_the_correction_and_what_it_rests_on():
    made = predict(LIKE, experienced(validated(QWEN, 1.1), validated(QWEN, 1.1), validated(UNLIKE, 1.0)))
    (term,) = [term for term in made.terms if term.name == "decode.experience"]
    assert "from 3 validations here, 2 of much the same" in term.note
    total_s = sum(term.time_s for term in made.terms if term.name.startswith("decode."))
    assert 1.0 / made.decode_tokens_per_s.mid == pytest.approx(total_s)


@PROFILE
@given(subjects, subjects)
def test_likeness_is_symmetric_and_greatest_with_oneself(one, other):
    a, b = (subject_of(WORKLOAD, made.terms, made.deployment) for made in map(predict, (one, other)))
    assert correlation(a, b) == pytest.approx(correlation(b, a))
    assert correlation(a, b) <= correlation(a, a) == pytest.approx(1.0)


def test_prompts_worked_through_elsewhere_speak_half_for_each_other_and_tokens_wholly():
    made = predict(QWEN)
    usual, told = (
        subject_of(WORKLOAD, made.terms, replace(made.deployment, op_offload=lent)) for lent in (True, False)
    )
    likeness = {phase: correlation(usual.in_phase(phase), told.in_phase(phase)) for phase in ("decode", "prefill")}
    assert likeness == {"decode": pytest.approx(1.0), "prefill": pytest.approx(0.5)}


# Threads and attention ------------------------------------------------------------------------


def usual_count():
    return machine().usual_threads_count


def swept(subject, slowdown, count, **changes):
    """A validation whose model took so much longer with another number of threads."""
    rates = ((usual_count(), 1.0), (count, 1.0 / slowdown))
    sweep = tuple(
        ThreadsSpeed(threads_count=n, prefill_tokens_per_s=100.0 * rate, decode_tokens_per_s=10.0 * rate)
        for n, rate in sorted(rates)
    )
    return validated(subject, 1.0, threads=sweep, **changes)


def learnt(*records):
    taught = learn(records, machine().provenance, machine().sigmas, usual_count())
    return replace(machine(), experience=taught)


def with_settings(subject, on, **changes):
    model = load_catalog().models[subject[0]]
    deployment = replace(predict(subject).deployment, **changes)
    return estimate(model, weigh(model, subject[1]), on, WORKLOAD, deployment)


@PROFILE
@given(subjects, st.floats(1.05, 4.0))
def test_a_sweep_gives_its_ratio_to_its_own_model_and_leaves_the_usual_number_alone(subject, slowdown):
    on = learnt(swept(subject, slowdown, 1))
    assert with_settings(subject, on, threads_count=usual_count()) == predict(subject, on)
    slower = with_settings(subject, on, threads_count=1)
    ratio = predict(subject, on).decode_tokens_per_s.mid / slower.decode_tokens_per_s.mid
    assert ratio == pytest.approx(slowdown)
    assert EstimateWarning.THREADS_NOT_MEASURED not in slower.warnings
    assert any("from 1 sweep here" in (term.note or "") for term in slower.terms)
    assert width(slower.decode_tokens_per_s) > width(predict(subject, on).decode_tokens_per_s)


def test_a_like_models_sweep_counts_for_more_than_an_unlike_ones():
    on = learnt(swept(QWEN, 3.0, 1), swept(UNLIKE, 1.5, 1))
    ratio = predict(LIKE, on).decode_tokens_per_s.mid / with_settings(LIKE, on, threads_count=1).decode_tokens_per_s.mid
    assert 2.5 < ratio < 3.0


def test_between_swept_numbers_is_interpolated_and_beyond_them_nothing_is_said():
    usual = usual_count()
    on = learnt(swept(QWEN, 3.0, 1))
    between = with_settings(QWEN, on, threads_count=max(2, usual // 2))
    usual_speed = predict(QWEN, on).decode_tokens_per_s.mid
    assert usual_speed / 3.0 < between.decode_tokens_per_s.mid < usual_speed
    beyond = with_settings(QWEN, on, threads_count=4 * usual)
    assert beyond.decode_tokens_per_s == predict(QWEN, on).decode_tokens_per_s
    assert EstimateWarning.THREADS_NOT_MEASURED in beyond.warnings


def test_another_number_of_threads_that_was_never_timed_says_so():
    made = with_settings(QWEN, machine(), threads_count=1)
    assert made.decode_tokens_per_s == predict(QWEN).decode_tokens_per_s
    assert EstimateWarning.THREADS_NOT_MEASURED in made.warnings
    assert EstimateWarning.THREADS_NOT_MEASURED not in predict(QWEN).warnings


def test_a_validation_with_other_threads_does_not_slow_predictions_with_the_usual_number():
    record = validated(QWEN, 2.0)
    made = replace(record.estimate, deployment=replace(record.estimate.deployment, threads_count=1))
    assert learnt(replace(record, estimate=made)).experience is None


def test_a_validation_without_flash_attention_is_told_apart():
    record = validated(QWEN, 1.25)
    plain = replace(record.estimate, deployment=replace(record.estimate.deployment, flash_attention=False))
    on = learnt(*[replace(record, estimate=plain)] * 3, *[validated(QWEN, 1.0)] * 3)
    without, with_it = with_settings(QWEN, on, flash_attention=False), predict(QWEN, on)
    assert without.decode_tokens_per_s.mid < 0.93 * with_it.decode_tokens_per_s.mid
    assert EstimateWarning.PLAIN_ATTENTION_NOT_MEASURED not in without.warnings
    unknown = with_settings(QWEN, machine(), flash_attention=False)
    assert EstimateWarning.PLAIN_ATTENTION_NOT_MEASURED in unknown.warnings
