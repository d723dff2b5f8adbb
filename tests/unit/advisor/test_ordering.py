"""Picks in the best of their load-time settings, and where that puts them."""

from dataclasses import replace

from advisor.machines import from_hardware
from advisor.recommendation.ordering import TUNED_COUNT, in_best_order
from advisor.recommendation.recommend import rank, recommend
from advisor.recommendation.request import Request, preference
from advisor.recommendation.search import score, search_all
from advisor.recommendation.why import explain
from advisor.types import Task
from advisor.workloads import make_workload

SERVER = "rtx 4090+epyc 9654+768GiB"
REQUEST = Request(workload=make_workload(Task.CODING), top_count=10)


def found(catalog, hardware=SERVER, request=REQUEST):
    machine = from_hardware(catalog.hardware(hardware), catalog)
    return machine, rank(search_all(catalog, machine, request).candidates, request, catalog.models)[0]


def test_experts_in_many_channels_rank_by_the_settings_they_are_advised_with(catalog):
    """With the engine's usual settings their prompts take five times as long, which is not how anybody runs them."""
    machine, usual = found(catalog)
    ordered = in_best_order(usual, catalog, machine, REQUEST)
    places = {each.model.model_id: index for index, each in enumerate(usual)}
    large = ordered[1]
    assert large.model.params_total_count > 200e9
    assert places[large.model.model_id] > 5
    assert large.best.turn_wait_s < 0.4 * usual[places[large.model.model_id]].best.turn_wait_s


def test_scores_follow_from_the_speeds_beside_them(catalog):
    machine, usual = found(catalog)
    for each in in_best_order(usual, catalog, machine, REQUEST):
        assert each.best.score == score(catalog, each.model, each.best.estimate).score


def test_the_order_is_by_preference_and_nothing_is_lost(catalog):
    machine, usual = found(catalog)
    ordered = in_best_order(usual, catalog, machine, REQUEST)
    assert sorted(each.model.model_id for each in ordered) == sorted(each.model.model_id for each in usual)
    preferences = [preference(each.best) for each in ordered]
    assert preferences == sorted(preferences, reverse=True)


def test_those_far_below_a_long_list_keep_the_usual_settings(catalog):
    request = replace(REQUEST, top_count=1)
    machine, usual = found(catalog, "rtx 4090+64GiB", request)
    same = [each for each in usual if each in in_best_order(usual, catalog, machine, request)]
    assert len(same) >= len(usual) - TUNED_COUNT
    assert in_best_order([], catalog, machine, request) == []


def test_why_gives_the_rank_that_the_list_shows(catalog):
    machine = from_hardware(catalog.hardware(SERVER), catalog)
    made = recommend(catalog, machine, REQUEST, created_at="", tool_version="")
    for pick in made.ranked[:4]:
        why = explain(catalog, machine, REQUEST, catalog.models[pick.estimate.model_id])
        assert why.rank == pick.rank
        assert why.estimate.deployment == pick.estimate.deployment
