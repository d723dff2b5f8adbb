import re
from dataclasses import replace

import pytest

from advisor.engines.requirements import loadable_quant_ids
from advisor.errors import NothingFitsError
from advisor.machines import from_hardware
from advisor.recommendation.eligibility import reject
from advisor.recommendation.recommend import LocalFile, Request, recommend
from advisor.recommendation.search import _LEAST_BYTES_PER_WEIGHT, search_model
from advisor.recommendation.shortage import too_large
from advisor.types import Limits, Rejection, Task
from advisor.workloads import TASKS, make_workload
from catalog.obtain import quant_ids
from catalog.units import GIB
from catalog.weights import weigh

STAMP = {"created_at": "2026-01-01T00:00:00Z", "tool_version": "0"}


def ask(catalog, machine, task=Task.CHAT, **wishes):
    workload = wishes.pop("workload", None) or make_workload(task)
    return recommend(catalog, machine, Request(workload=workload, **wishes), **STAMP)


def with_memory(machine, gib):
    devices = tuple(replace(device, memory_available_bytes=int(gib * GIB)) for device in machine.devices)
    return replace(machine, devices=devices)


@pytest.mark.parametrize("task", list(Task))
def test_every_pick_fits_and_is_made_for_the_task(catalog, gpu_machine, task):
    result = ask(catalog, gpu_machine, task, top_count=15)
    for choice in result.ranked:
        model = catalog.models[choice.estimate.model_id]
        memory = choice.estimate.memory
        assert memory.fits
        assert memory.total_bytes >= 0.9 * choice.file_bytes
        assert TASKS[task].needs <= model.capabilities
        assert ("embedding" in model.capabilities) == (task == Task.EMBEDDING)
        assert "base" not in model.capabilities or task == Task.EMBEDDING
        assert model.repos.get("gguf")
        assert model.max_context_tokens is None or model.max_context_tokens >= result.workload.context_tokens
        assert choice.reasons
        assert choice.command.startswith("llama-server ")


def test_usable_picks_come_before_slow_ones_and_scores_fall(catalog, machine):
    result = ask(catalog, machine, Task.CODING, top_count=30)
    floor = TASKS[Task.CODING].usable_tokens_per_s
    usable = [choice.estimate.decode_tokens_per_s.mid >= floor for choice in result.ranked]
    assert usable == sorted(usable, reverse=True)
    best = [choice.score for choice, fast in zip(result.ranked, usable, strict=True) if fast]
    assert best == sorted(best, reverse=True)


def test_each_model_is_ranked_once(catalog, machine):
    ids = [choice.estimate.model_id for choice in ask(catalog, machine, top_count=40).ranked]
    assert len(ids) == len(set(ids))


def test_stopping_early_changes_nothing_at_the_top(catalog, machine):
    few = ask(catalog, machine, Task.CHAT, top_count=5)
    many = ask(catalog, machine, Task.CHAT, top_count=2000)
    top = [(choice.estimate.model_id, choice.estimate.quant_id) for choice in few.ranked]
    assert top == [(choice.estimate.model_id, choice.estimate.quant_id) for choice in many.ranked[:5]]


def test_more_memory_never_lowers_the_best_score(catalog, machine):
    scores = [ask(catalog, with_memory(machine, gib), top_count=1).ranked[0].score for gib in (2, 4, 8, 16, 32, 64)]
    assert scores == sorted(scores)


def test_too_little_memory_names_the_smallest_thing_that_would_fit(catalog, machine):
    with pytest.raises(NothingFitsError, match=r"smallest is .* needs 0\.\d\d GiB"):
        ask(catalog, with_memory(machine, 0.01))


@pytest.mark.parametrize("engine_id", ["llama.cpp", "vllm", "mlx", "tensorrt-llm"])
def test_nothing_offered_is_smaller_than_the_bound_by_which_models_are_too_large(catalog, engine_id):
    for model in catalog.models.values():
        for quant_id in quant_ids(model) if engine_id == "llama.cpp" else loadable_quant_ids(model, engine_id):
            least_bytes = model.params_total_count * _LEAST_BYTES_PER_WEIGHT
            assert weigh(model, quant_id).file_bytes > least_bytes, (model.model_id, quant_id)


def test_a_model_far_too_large_says_how_large_its_smallest_file_is(catalog, machine):
    model = max(catalog.models.values(), key=lambda model: model.params_total_count)
    request = Request(workload=make_workload(Task.CHAT))
    found = search_model(catalog, machine, model, request)
    tried_all = search_model(catalog, machine, model, request, quants=quant_ids(model))
    assert isinstance(found, Rejection)
    assert found == tried_all
    assert found.quant_id == quant_ids(model)[-1]


def test_an_impossible_speed_names_the_nearest_miss(catalog, machine):
    with pytest.raises(NothingFitsError, match=r"--min-tps") as caught:
        ask(catalog, machine, limits=Limits(min_tokens_per_s=1e6))
    refused = caught.value.document
    assert refused.ranked == ()
    assert any("below --min-tps" in each.reason for each in refused.rejected)


def test_limits_hold_for_every_pick(catalog, machine):
    limits = Limits(min_tokens_per_s=12, max_first_token_s=20, max_memory_bytes=6 * GIB, licenses=("apache-2.0",))
    for choice in ask(catalog, machine, limits=limits).ranked:
        assert choice.estimate.decode_tokens_per_s.mid >= 12
        assert choice.estimate.first_token_s.mid <= 20
        assert choice.estimate.memory.total_bytes <= 6 * GIB
        assert choice.license_id.startswith("apache-2.0")


def test_a_file_on_this_machine_is_run_from_where_it_is(catalog, machine):
    first = ask(catalog, machine, top_count=1).ranked[0].estimate
    here = LocalFile(model_id=first.model_id, quant_id=first.quant_id, path="/models/my model.gguf")
    choice = ask(catalog, machine, top_count=1, local_files=(here,)).ranked[0]
    assert choice.local_path == here.path
    assert "-m '/models/my model.gguf'" in choice.command


def test_rejections_say_what_would_mend_them(catalog, machine):
    small = ask(catalog, with_memory(machine, 8), Task.CHAT)
    too_large = [item for item in small.rejected if item.reason.startswith("needs ")]
    assert too_large
    assert all(item.fix for item in too_large)


def test_rules_give_their_reason(catalog):
    workload = make_workload(Task.CHAT)
    embedder = catalog.models["Qwen/Qwen3-Embedding-0.6B"]
    assert "embedding" in reject(embedder, workload, Limits()).reason
    chat = catalog.models["Qwen/Qwen3-8B"]
    assert reject(chat, workload, Limits()) is None
    assert "not among" in reject(chat, workload, Limits(licenses=("mit",))).reason
    long = make_workload(Task.CHAT, context_tokens=1_000_000)
    assert "--context" in reject(chat, long, Limits()).fix
    assert "made for vision" in reject(chat, make_workload(Task.VISION), Limits()).reason
    assert "shape" in reject(replace(chat, geometry=None), workload, Limits()).reason
    assert "GGUF" in reject(replace(chat, repos={}), workload, Limits()).reason


@pytest.mark.parametrize(
    ("gib", "engine_id", "lacks"),
    [({"cpu": 0.4}, "llama.cpp", "cpu"), ({"cpu": 0.0}, "llama.cpp", "cpu"), ({"cuda:0": 0.3}, "vllm", "cuda:0")],
)
def test_a_model_whose_weights_alone_would_fit_is_told_what_it_lacks_where(catalog, gpu_machine, gib, engine_id, lacks):
    devices = [
        replace(device, memory_available_bytes=int(gib.get(device.device_id, 24) * GIB))
        for device in gpu_machine.devices
        if engine_id == "vllm" or gib["cpu"] == 0.0 or device.device_id == "cpu"
    ]
    small = replace(gpu_machine, devices=tuple(devices), engine_id=engine_id)
    model = catalog.model("LiquidAI/LFM2.5-230M")
    refusal = too_large(model, weigh(model, "Q4_K_M"), small, Request(workload=make_workload(Task.CODING)))
    told = rf"needs (\S+) GiB on {lacks} at Q4_K_M with 32768 tokens of context, (\S+) GiB is free there"
    found = re.fullmatch(told, refusal.reason)
    assert found
    assert float(found[1]) > float(found[2])


def test_engines_that_keep_off_the_cpu_count_no_ram_as_free(catalog):
    here = replace(from_hardware(catalog.hardware("rtx 4090"), catalog), engine_id="vllm")
    request = Request(workload=make_workload(Task.CHAT))
    model = catalog.model("Qwen/Qwen3-32B")
    refusal = too_large(model, weigh(model, "BF16"), here, request)
    assert refusal.reason.endswith("23.5 GiB is free on accelerators")
    both = too_large(model, weigh(model, "BF16"), replace(here, engine_id="llama.cpp"), request)
    assert both.reason.endswith("53.5 GiB is free")
