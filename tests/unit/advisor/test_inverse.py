from dataclasses import replace

import pytest

from advisor.candidates import candidates
from advisor.estimate import estimate
from advisor.recommendation.inverse import Subject, longest_context, most_users
from advisor.types import Limits, Task
from advisor.workloads import TASKS, make_workload
from catalog.weights import weigh


@pytest.fixture
def subject(catalog, gpu_machine):
    model = catalog.model("qwen3.8-27b")
    return Subject(model=model, artifact=weigh(model, "Q4_K_M"), machine=gpu_machine, workload=make_workload(Task.CHAT))


def whole(subject, workload):
    found = candidates(subject.model, subject.artifact, subject.machine, workload, kv_quant_id=subject.kv_quant_id)
    return [made for made in found if set(made.deployment.layers_by_device) == {"cuda:0"}]


def test_the_longest_context_fits_and_one_step_more_does_not(subject):
    found = longest_context(subject)
    assert found.limited_by == "memory"
    assert "cache takes" in found.reason
    assert whole(subject, replace(subject.workload, context_tokens=found.value))
    assert not whole(subject, replace(subject.workload, context_tokens=found.value + 1024))


def test_a_smaller_cache_type_never_holds_less(subject):
    assert longest_context(replace(subject, kv_quant_id="q8_0")).value > longest_context(subject).value


def test_the_models_own_limit_ends_the_search(subject, catalog):
    model = catalog.model("qwen3-8b")
    found = longest_context(replace(subject, model=model, artifact=weigh(model, "Q4_K_M")))
    assert (found.value, found.limited_by) == (model.max_context_tokens, "model")


def test_the_asked_speed_holds_with_the_context_full_and_not_beyond(subject, machine):
    slow = replace(subject, machine=machine, limits=Limits(min_tokens_per_s=2.0))
    found = longest_context(slow)
    assert found.limited_by == "speed"
    for tokens, holds in ((found.value, True), (found.value + 1024, False)):
        workload = replace(slow.workload, context_tokens=tokens)
        made = candidates(slow.model, slow.artifact, machine, workload, kv_quant_id="f16")[0]
        full = replace(workload, prompt_tokens=tokens - workload.output_tokens)
        deep = estimate(slow.model, slow.artifact, machine, full, made.deployment)
        assert (deep.decode_tokens_per_s.mid >= 2.0) is holds


def test_an_impossible_speed_answers_none_with_the_reason(subject):
    found = longest_context(replace(subject, limits=Limits(min_tokens_per_s=1e6)))
    assert (found.value, found.limited_by) == (0, "speed")
    assert found.decode_tokens_per_s is None


def test_most_users_hold_the_asked_speed_each(subject):
    limits = Limits(min_tokens_per_s=15.0)
    found = most_users(replace(subject, limits=limits))
    assert found.value >= 1
    assert found.decode_tokens_per_s.mid >= 15.0
    assert found.limited_by in {"memory", "speed"}


def test_more_speed_for_each_never_serves_more_users(subject):
    counts = [most_users(replace(subject, limits=Limits(min_tokens_per_s=speed))).value for speed in (5, 15, 30, 60)]
    assert counts == sorted(counts, reverse=True)


def test_without_a_speed_the_tasks_usable_one_is_meant(subject, machine):
    usable = TASKS[Task.CHAT].usable_tokens_per_s
    named = most_users(replace(subject, machine=machine, limits=Limits(min_tokens_per_s=usable)))
    assert most_users(replace(subject, machine=machine)) == named


def test_a_wait_limits_by_the_prompt(subject):
    found = longest_context(replace(subject, limits=Limits(max_first_token_s=1e-6)))
    assert (found.value, found.limited_by) == (0, "wait")
