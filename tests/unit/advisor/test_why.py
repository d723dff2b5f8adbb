from dataclasses import replace

import pytest

from advisor.machine import MachineDevice
from advisor.recommendation.recommend import recommend
from advisor.recommendation.request import Request
from advisor.recommendation.search import search_model
from advisor.recommendation.why import explain, spilled_bytes
from advisor.types import Limits, Task
from advisor.workloads import make_workload
from catalog.units import GIB

STAMP = {"created_at": "2026-01-01T00:00:00Z", "tool_version": "0"}


def ask(catalog, machine, name, task=Task.CHAT, quant_id=None, **wishes):
    return explain(catalog, machine, Request(workload=make_workload(task), **wishes), catalog.model(name), quant_id)


def with_gpu_gib(machine, gib):
    first, *others = machine.devices
    return replace(machine, devices=(replace(first, memory_available_bytes=int(gib * GIB)), *others))


def test_ranks_agree_with_the_recommendation(catalog, gpu_machine):
    request = Request(workload=make_workload(Task.CHAT), top_count=6)
    ranked = recommend(catalog, gpu_machine, request, **STAMP).ranked
    for choice in ranked:
        found = explain(catalog, gpu_machine, request, catalog.models[choice.estimate.model_id])
        assert found.rank == choice.rank
        assert found.estimate == choice.estimate


def test_a_model_that_spills_says_how_much_and_the_memory_that_would_hold_it(catalog, gpu_machine):
    small = with_gpu_gib(gpu_machine, 12)
    found = ask(catalog, small, "qwen3.8-27b", quant_id="Q6_K")
    assert any("runs on the CPU" in reason for reason in found.lost_on)
    memory = next(change for change in found.changes if change.kind == "memory")
    extra_gib = int(memory.option.split()[0].removeprefix("+"))
    request = Request(workload=make_workload(Task.CHAT))
    model = catalog.model("qwen3.8-27b")
    enough = search_model(catalog, with_gpu_gib(small, 12 + extra_gib), model, request, quants=("Q6_K",))
    short = search_model(catalog, with_gpu_gib(small, 11 + extra_gib), model, request, quants=("Q6_K",))
    assert not spilled_bytes(enough.best)
    assert spilled_bytes(short.best)


def test_a_smaller_cache_type_is_offered_only_if_it_helps(catalog, gpu_machine):
    model = catalog.model("qwen3-8b")
    request = Request(workload=make_workload(Task.CHAT, context_tokens=40960), kv_quant_id="f16")
    alone = search_model(catalog, gpu_machine, model, request, quants=("Q8_0",))
    full_gib = alone.best.estimate.memory.devices[0].total_bytes / GIB
    tight = with_gpu_gib(gpu_machine, full_gib - 1.0)
    found = explain(catalog, tight, request, model, "Q8_0")
    change = next(change for change in found.changes if change.kind == "kv_type")
    assert change.option == "--kv-type q8_0"
    assert 0.0 < change.quality_loss_frac < 0.01
    assert change.estimate.deployment.kv_quant_id == "q8_0"
    assert not any(change.kind == "kv_type" for change in explain(catalog, gpu_machine, request, model, "Q8_0").changes)


def test_a_model_that_does_not_fit_says_what_would_hold_it(catalog, gpu_machine):
    found = ask(catalog, gpu_machine, "glm-5.3-flash")
    assert found.rank is None
    assert found.verdict.startswith("not ranked: needs ")
    kinds = [change.kind for change in found.changes]
    assert kinds == ["ram", "memory"]
    assert all(change.estimate is not None and change.estimate.memory.fits for change in found.changes)


@pytest.mark.parametrize(
    ("name", "task", "says"),
    [
        ("qwen3-8b", Task.EMBEDDING, "--task"),
        ("lfm2.5-350m", Task.CODING, "--min-quality"),
        ("qwen3.6-27b", Task.CHAT, "run Qwen/Qwen3.8-27B"),
    ],
)
def test_what_a_rule_excludes_names_the_change(catalog, gpu_machine, name, task, says):
    found = ask(catalog, gpu_machine, name, task)
    assert found.rank is None
    assert any(says in change.option for change in found.changes)


def test_a_broken_limit_is_relaxed_to_what_would_pass(catalog, gpu_machine):
    limits = Limits(min_tokens_per_s=1000.0)
    found = ask(catalog, gpu_machine, "qwen3-8b", limits=limits)
    relaxed = next(change for change in found.changes if change.kind == "limit")
    value = float(relaxed.option.removeprefix("--min-tps "))
    passing = ask(catalog, gpu_machine, "qwen3-8b", limits=Limits(min_tokens_per_s=value))
    assert "below --min-tps" in found.verdict
    assert not passing.verdict.startswith("not ranked")


def test_a_shorter_context_is_found_for_a_model_that_takes_no_more(catalog, gpu_machine):
    found = explain(
        catalog,
        gpu_machine,
        Request(workload=make_workload(Task.CHAT, context_tokens=65536)),
        catalog.model("qwen3-8b"),
    )
    change = next(change for change in found.changes if change.kind == "context")
    assert change.option == "--context 40960"


def test_a_machine_without_accelerators_never_speaks_of_spilling(catalog, machine):
    assert isinstance(machine.devices[0], MachineDevice)
    found = ask(catalog, machine, "qwen3.8-27b")
    assert not any("runs on the CPU" in reason for reason in found.lost_on)
