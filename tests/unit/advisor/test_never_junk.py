"""What an expert would laugh at must never come first: near copies, junk sizes, files nobody has."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from advisor.errors import BadRequestError, NothingFitsError
from advisor.machines import default_backend, from_hardware
from advisor.recommendation.eligibility import reject
from advisor.recommendation.folding import fold, leader
from advisor.recommendation.limits import check_limits, relaxed
from advisor.recommendation.recommend import rank, recommend
from advisor.recommendation.request import Request, settled
from advisor.recommendation.score import (
    LOSS_DOUBT,
    WORTH_STAYING_WHOLE_FRAC,
    conservative,
    is_usable,
    parts,
    quality_after_loss,
    score_estimate,
    usability,
)
from advisor.recommendation.search import score, search_all, search_model
from advisor.recommendation.why import explain
from advisor.types import EstimateWarning, Limits, Task
from advisor.workloads import TASKS, make_workload
from catalog.obtain import QUANT_IDS, quant_ids, repo_for

STAMP = {"created_at": "2026-01-01T00:00:00Z", "tool_version": "0"}
MACHINES = ("rtx 4060", "rtx 4090", "m4 max 128GiB", "ryzen 9 7950x+64GiB", "raspberry pi 5")


@pytest.fixture(scope="module", params=MACHINES)
def owned(request, catalog):
    spec = catalog.hardware(request.param)
    return from_hardware(spec, catalog, backend=default_backend(spec.chip))


@pytest.mark.parametrize("task", [Task.CODING, Task.CHAT, Task.AGENTIC, Task.EMBEDDING])
def test_first_picks_are_official_competent_and_obtainable(catalog, owned, task):
    ranked = recommend(catalog, owned, Request(workload=make_workload(task), top_count=3), **STAMP).ranked
    for choice in ranked:
        model = catalog.models[choice.estimate.model_id]
        quant_id = choice.estimate.quant_id
        assert model.official
        assert model.duplicate_of is None
        assert choice.quality.mid >= 0.9 * TASKS[task].least_quality
        assert choice.estimate.memory.fits
        assert quant_id in quant_ids(model)
        assert choice.repo in model.repos["gguf"]
        assert f"{choice.repo}:{quant_id}" in choice.command


def test_nothing_below_the_usable_speed_comes_before_what_is_usable(catalog, owned):
    found = search_all(catalog, owned, Request(workload=make_workload(Task.CODING), top_count=5)).candidates
    assert found
    ranked = recommend(catalog, owned, Request(workload=make_workload(Task.CODING), top_count=5), **STAMP).ranked
    usable = [score(catalog, catalog.models[pick.estimate.model_id], pick.estimate).usable for pick in ranked]
    assert usable == sorted(usable, reverse=True)
    assert usable[0] == any(each.best.usable for each in found)


def test_an_older_release_is_folded_into_the_newer_one_of_its_size(catalog, gpu_machine):
    request = Request(workload=make_workload(Task.CHAT))
    names = ("Qwen/Qwen3.8-27B", "Qwen/Qwen3.6-27B", "Qwen/Qwen3.6-35B-A3B", "google/gemma-4-31B-it")
    ranked = [search_model(catalog, gpu_machine, catalog.models[name], request) for name in names]
    kept, left_out = fold(ranked, catalog.models)
    assert [each.model.model_id for each in kept] == [names[0], names[2], names[3]]
    assert kept[0].relatives == (catalog.models[names[1]].display_name,)
    assert left_out[0].model_id == names[1]
    assert names[0] in left_out[0].fix
    leaders = [leader(ranked, catalog.models, rank_count) for rank_count in (1, 2, 3)]
    assert [each.model.model_id for each in leaders] == [names[0], names[2], names[3]]
    assert leader(ranked, catalog.models, 4) is None


def test_a_finetune_never_hides_its_official_parent(catalog, gpu_machine):
    request = Request(workload=make_workload(Task.CHAT))
    parent = search_model(catalog, gpu_machine, catalog.models["Qwen/Qwen3.8-27B"], request)
    tuned = replace(
        parent,
        model=replace(parent.model, model_id="x/tuned", official=False, derived_from="Qwen/Qwen3.8-27B", geometry=None),
    )
    assert [each.model.model_id for each in fold([tuned, parent], catalog.models)[0]] == ["x/tuned", "Qwen/Qwen3.8-27B"]
    assert [each.model.model_id for each in fold([parent, tuned], catalog.models)[0]] == ["Qwen/Qwen3.8-27B"]


def test_a_circle_of_derivations_ends(catalog, gpu_machine):
    request = Request(workload=make_workload(Task.CHAT))
    one = search_model(catalog, gpu_machine, catalog.models["Qwen/Qwen3-8B"], request)
    first = replace(one.model, model_id="a/a", derived_from="a/b")
    second = replace(one.model, model_id="a/b", derived_from="a/a")
    models = {model.model_id: model for model in (first, second)}
    kept, _ = fold([replace(one, model=first), replace(one, model=second)], models)
    assert len(kept) >= 1


def test_a_trial_is_not_ranked_where_its_release_does_the_task(catalog):
    trial = catalog.model("DeepSeek-V4-Flash-Vision-Exp")
    refusal = reject(trial, make_workload(Task.CHAT), Limits())
    assert "a trial" in refusal.reason
    assert refusal.fix == "run deepseek-ai/DeepSeek-V4-Flash-0731"
    assert reject(trial, make_workload(Task.VISION), Limits()) is None  # the release sees nothing
    spec = catalog.hardware("ryzen ai max+ 395+128GiB")
    here = from_hardware(spec, catalog, backend=default_backend(spec.chip))
    why = explain(catalog, here, Request(workload=make_workload(Task.CHAT)), trial)
    assert "a trial; deepseek-ai/DeepSeek-V4-Flash-0731 is the release" in why.verdict
    assert [change.effect for change in why.changes] == ["it is ranked in its place"]


def test_a_trial_comes_first_nowhere(catalog, owned):
    for task in Task:
        found = search_all(catalog, owned, Request(workload=make_workload(task), top_count=3)).candidates
        assert not [each.model.model_id for each in found if task in each.model.released_tasks]


def _option(score, speed, *, spilled=False, usable=True):
    warnings = (EstimateWarning.SPILLS_TO_CPU,) if spilled else ()
    made = SimpleNamespace(warnings=warnings, decode_tokens_per_s=SimpleNamespace(mid=speed))
    return SimpleNamespace(score=score, usable=usable, estimate=made)


def test_staying_off_the_cpu_is_worth_a_little_quality(catalog):
    here = from_hardware(catalog.hardware("rtx 4090+64GiB"), catalog)
    request = Request(workload=make_workload(Task.CHAT))
    whole = search_model(catalog, here, catalog.model("qwen3-8b"), request).best
    beside = replace(whole.estimate, warnings=(*whole.estimate.warnings, EstimateWarning.SPILLS_TO_CPU))
    shared = score_estimate(beside, whole.quality)
    assert shared.score == pytest.approx((1.0 - WORTH_STAYING_WHOLE_FRAC) * whole.score)
    assert shared.score == pytest.approx(math.prod(parts(shared).values()))


@pytest.mark.parametrize("hardware", ["NVIDIA H100 SXM", "NVIDIA H100 PCIe", "NVIDIA A100 SXM 80GB"])
@pytest.mark.parametrize("task", [Task.MULTILINGUAL, Task.CHAT, Task.GENERAL])
def test_an_80_gb_card_is_not_asked_to_share_a_two_bit_model_with_the_cpu(catalog, hardware, task):
    here = from_hardware(catalog.hardware(hardware), catalog)
    request = Request(workload=make_workload(task), top_count=1)
    ranked, _ = rank(search_all(catalog, here, request).candidates, request, catalog.models)
    assert EstimateWarning.SPILLS_TO_CPU not in ranked[0].best.estimate.warnings


def test_of_weights_that_are_shared_with_the_cpu_the_quicker_of_equals_runs():
    finest, smaller, small = (_option(score, speed, spilled=True) for score, speed in ((70, 20), (69.5, 27), (68, 40)))
    assert settled([finest, smaller, small]) is smaller


def test_a_mixture_that_fits_a_card_a_size_smaller_is_not_split(catalog):
    here = from_hardware(catalog.hardware("rtx 4090+64GiB"), catalog)
    found = search_model(catalog, here, catalog.model("qwen3.6-35b-a3b"), Request(workload=make_workload(Task.CODING)))
    assert EstimateWarning.SPILLS_TO_CPU not in found.best.estimate.warnings
    assert found.best.score > 0.97 * max(option.score for option in found.others)


def test_only_published_quantisations_are_offered(catalog):
    model = catalog.models["LiquidAI/LFM2.5-8B-A1B"]
    maker_only = replace(model, repos={"gguf": ("LiquidAI/LFM2.5-8B-A1B-GGUF",)})
    assert set(quant_ids(maker_only)) <= set(maker_only.quants_seen)
    assert quant_ids(replace(model, repos={"gguf": ("unsloth/x-GGUF",)})) == QUANT_IDS


def test_the_repository_is_one_that_should_hold_the_quantisation(catalog):
    model = catalog.models["Qwen/Qwen3.8-27B"]
    assert repo_for(model, "Q8_0") == "ggml-org/Qwen3.8-27B-GGUF"
    assert repo_for(model, "Q6_K") == "bartowski/Qwen3.8-27B-GGUF"
    special = replace(model, repos={"gguf": ("unsloth/x-qat-GGUF", "unsloth/x-GGUF")})
    assert repo_for(special, "Q4_K_M") == "unsloth/x-GGUF"
    assert repo_for(replace(model, repos={}), "Q8_0") is None


def test_a_coarser_quantisation_counts_for_less_than_its_middle_loses(catalog):
    score = catalog.quality("Qwen/Qwen3.8-27B", Task.CHAT)
    fine, coarse = (quality_after_loss(score, loss, 0.0) for loss in (0.0, 0.02))
    assert conservative(coarse) < 0.98 * conservative(fine)
    assert coarse.low == pytest.approx((1 - LOSS_DOUBT * 0.02) * score.low)
    assert quality_after_loss(score, 0.9, 0.0).low == 0.0


def test_usability_keeps_falling_beyond_what_is_usable():
    profile = TASKS[Task.CODING]
    speeds = [usability(speed, 30.0, profile) for speed in (40.0, 6.0, 3.0, 0.3)]
    waits = [usability(10.0, wait, profile) for wait in (3.0, 60.0, 600.0, 6000.0)]
    assert speeds == sorted(speeds, reverse=True)
    assert waits == sorted(waits, reverse=True)
    assert len(set(speeds)) == len(speeds)


def test_a_wait_somewhat_beyond_patience_is_a_matter_of_the_score_a_slow_answer_is_not():
    profile = TASKS[Task.CODING]
    assert is_usable(6.0, 66.0, profile)
    assert not is_usable(6.0, 181.0, profile)
    assert not is_usable(5.9, 3.0, profile)
    assert usability(6.0, 66.0, profile) < usability(6.0, 60.0, profile)


@pytest.mark.parametrize("task", [Task.CODING, Task.AGENTIC])
def test_a_small_board_is_not_given_a_weak_model_for_a_few_seconds(catalog, task):
    board = from_hardware(catalog.hardware("raspberry pi 5"), catalog)
    first, *others = recommend(catalog, board, Request(workload=make_workload(task)), **STAMP).ranked
    assert first.quality.mid >= max(pick.quality.mid for pick in others)


def test_no_task_but_vision_is_offered_a_model_below_25(catalog):
    board = from_hardware(catalog.hardware("raspberry pi 5"), catalog)
    for task in (Task.CHAT, Task.RAG, Task.MULTILINGUAL, Task.GENERAL):
        ranked = recommend(catalog, board, Request(workload=make_workload(task)), **STAMP).ranked
        assert ranked
        assert all(catalog.quality(pick.estimate.model_id, task).mid >= 25.0 for pick in ranked)


def test_the_context_has_room_for_the_turns_to_come():
    for task in Task:
        workload = make_workload(task)
        assert workload.context_tokens >= workload.prompt_tokens + workload.output_tokens
    assert make_workload(Task.CODING).context_tokens >= 32768
    assert make_workload(Task.CHAT, context_tokens=2048).context_tokens == 2048


def test_the_message_names_the_one_limit_to_relax_and_that_value_passes(catalog, gpu_machine):
    limits = Limits(min_tokens_per_s=100.0, min_quality=78.0)
    workload = make_workload(Task.CHAT)
    with pytest.raises(NothingFitsError, match="relax one limit: --min-tps") as caught:
        recommend(catalog, gpu_machine, Request(workload=workload, limits=limits), **STAMP)
    value = float(str(caught.value).partition("relax one limit: --min-tps ")[2].split()[0])
    eased = replace(limits, min_tokens_per_s=value)
    assert recommend(catalog, gpu_machine, Request(workload=workload, limits=eased), **STAMP).ranked


def test_weak_models_are_ranked_only_where_nothing_better_fits(catalog, machine):
    device = replace(machine.devices[0], memory_available_bytes=900_000_000)
    tiny = replace(machine, devices=(device,))
    workload = make_workload(Task.CODING)
    weak = recommend(catalog, tiny, Request(workload=workload), **STAMP).ranked
    assert weak
    assert max(choice.quality.mid for choice in weak) < TASKS[Task.CODING].least_quality
    strong = recommend(catalog, machine, Request(workload=workload), **STAMP).ranked
    assert min(catalog.quality(choice.estimate.model_id, Task.CODING).mid for choice in strong) >= 25


@pytest.mark.parametrize(
    "limits",
    [
        Limits(min_tokens_per_s=-1.0),
        Limits(min_tokens_per_s=float("nan")),
        Limits(max_first_token_s=0.0),
        Limits(min_quality=101.0),
        Limits(max_memory_bytes=0),
    ],
)
def test_absurd_limits_are_refused(limits):
    with pytest.raises(BadRequestError, match="out of range"):
        check_limits(limits)


@pytest.mark.parametrize(
    ("value", "down", "text"), [(8.13, True, "8.1"), (0.0567, False, "0.057"), (1234.0, True, "1200"), (0.0, True, "0")]
)
def test_relaxed_values_stay_on_the_passing_side(value, down, text):
    assert relaxed(value, down=down) == text
