"""Spending a budget on runs, and ranking again by what they found."""

from dataclasses import replace

import pytest
from tiny_estimate import band, tiny_estimate

from advisor.engines.fake import ManualClock
from advisor.types import (
    Basis,
    Choice,
    EngineBuild,
    Limits,
    MemoryPlan,
    Observed,
    Quality,
    Recommendation,
    Task,
    ValidationRecord,
    ValidationStatus,
    Workload,
)
from advisor.validation import rerank

WORKLOAD = Workload(task=Task.CHAT, prompt_tokens=1024, output_tokens=512, context_tokens=4096)


def pick(name: str, rank: int, *, quality: float, decode: float, spread: float = 2.0) -> Choice:
    made = tiny_estimate(
        decode,
        spread=spread,
        model_id=name,
        workload=WORKLOAD,
        prefill_tokens_per_s=band(300.0, spread),
        first_token_s=band(3.0, spread),
        memory=MemoryPlan(total_bytes=10**9, fits=True, devices=()),
    )
    return Choice(
        rank=rank,
        score=0.0,
        quality=Quality(low=quality, mid=quality, high=quality, imputed=False),
        estimate=made,
        reasons=(),
        command="llama-server",
        file_bytes=10**9,
    )


def ranking(*picks: Choice, limits: Limits | None = None) -> Recommendation:
    return Recommendation(
        task=Task.CHAT,
        workload=WORKLOAD,
        limits=limits or Limits(),
        ranked=picks,
        rejected=(),
        profile_id="p",
        catalog_version="1",
        created_at="2026-01-01T00:00:00Z",
        tool_version="0",
        hardware="here",
    )


CLOSE = (pick("a", 1, quality=60, decode=10), pick("b", 2, quality=59, decode=10), pick("c", 3, quality=20, decode=10))


class Engine:
    """Runs that take their time and find given speeds; a word stands for a failure."""

    kind = "OutOfMemoryError"

    def __init__(self, clock: ManualClock, found: dict[str, float | str], cost_s: float = 10.0) -> None:
        self.clock, self.found, self.cost_s = clock, found, cost_s
        self.ran: list[str] = []
        self.allowed_s: list[float] = []

    def __call__(self, choice: Choice, run_s: float) -> ValidationRecord:
        assert run_s > 0
        self.allowed_s.append(run_s)
        self.ran.append(choice.estimate.model_id)
        wanted = self.found.get(choice.estimate.model_id)
        if wanted == "never room" or (wanted == "no room" and self.ran.count(choice.estimate.model_id) == 1):
            return ValidationRecord(
                estimate=choice.estimate,
                engine=EngineBuild(id="llama.cpp"),
                weights="twin",
                status=ValidationStatus.WAIVED,
                observed=Observed(),
                reason="a twin takes more time than is allowed",
                failure_kind="NoRoomError",
            )
        self.clock.sleep(self.cost_s)
        speed = self.found.get(choice.estimate.model_id, choice.estimate.decode_tokens_per_s.mid)
        speed = 9.0 if speed == "no room" else speed
        failed = speed == "fails"
        observed = Observed() if failed else Observed(
            decode_tokens_per_s=30.0 if speed == "polluted" else speed, prefill_tokens_per_s=300.0, first_token_s=3.0
        )  # fmt: skip
        return ValidationRecord(
            estimate=choice.estimate,
            engine=EngineBuild(id="llama.cpp"),
            weights="twin",
            status=ValidationStatus.FAILED if failed else ValidationStatus.OK,
            observed=observed,
            polluted=speed == "polluted",
            reason="it needs 9 bytes" if failed else None,
            failure_kind=self.kind if failed else None,
        )


def settle(found, *, budget_s=200.0, picks=CLOSE, limits=None, cost_s=10.0):
    clock = ManualClock()
    engine = Engine(clock, found, cost_s)
    result, records = rerank.settle(ranking(*picks, limits=limits), engine, clock, budget_s)
    assert {record.estimate.model_id for record in records} == set(engine.ran)
    assert len(records) == len(set(engine.ran))
    return result, engine


def test_a_slow_first_pick_gives_way_and_the_change_is_told():
    result, engine = settle({"a": 5.0, "b": 15.0})
    assert set(engine.ran) >= {"a", "b"}
    assert [choice.estimate.model_id for choice in result.ranked] == ["b", "a", "c"]
    assert [choice.rank for choice in result.ranked] == [1, 2, 3]
    changes = {change.model_id: change for change in result.reranking.changes}
    assert (changes["a"].rank_before, changes["a"].rank_after) == (1, 2)
    assert changes["a"].reason == "measured 5 tok/s where 10 was predicted"
    assert result.ranked[0].estimate.basis is Basis.MEASURED
    assert result.reranking.doubt_after < result.reranking.doubt_before


def test_a_ranking_that_holds_changes_nothing():
    result, _ = settle({})
    assert [choice.estimate.model_id for choice in result.ranked] == ["a", "b", "c"]
    assert result.reranking.changes == ()
    assert result.reranking.stopped == "no further run could change the order"


def test_nothing_is_run_where_nothing_is_in_doubt():
    result, engine = settle({}, picks=(pick("a", 1, quality=90, decode=30), pick("z", 2, quality=20, decode=30)))
    assert engine.ran == []
    assert result.reranking.trials == ()


def test_the_budget_ends_the_runs():
    result, engine = settle({}, budget_s=40.0, cost_s=35.0)
    assert len(engine.ran) == 1
    assert result.reranking.spent_s == pytest.approx(35.0)
    assert "no further run fits" in result.reranking.stopped
    assert settle({}, budget_s=1.0)[1].ran == []


def test_a_run_that_had_time_for_decoding_only_settles_that():
    record = Engine(ManualClock(), {"a": 20.0})(CLOSE[0], 9.0)
    found = rerank.with_measurement(CLOSE[0], replace(record, observed=Observed(decode_tokens_per_s=20.0)))
    assert found.estimate.decode_tokens_per_s.mid == 20.0
    assert found.estimate.first_token_s == CLOSE[0].estimate.first_token_s
    assert rerank.with_measurement(CLOSE[0], replace(record, observed=Observed())) is None


def test_no_run_is_allowed_more_than_is_left():
    _, engine = settle({}, budget_s=40.0, cost_s=16.0)
    assert engine.allowed_s == [10.0, 10.0]
    _, engine = settle({}, budget_s=100.0, cost_s=79.0)
    assert engine.allowed_s[0] == 25.0
    assert all(allowed <= 21.0 for allowed in engine.allowed_s[1:])


def test_one_whose_weights_take_longer_to_write_gets_more_time():
    result, engine = settle({"a": "no room", "b": 15.0}, budget_s=200.0)
    first, second = (allowed for name, allowed in zip(engine.ran, engine.allowed_s, strict=True) if name == "a")
    assert second == 2 * first
    assert [trial.model_id for trial in result.reranking.trials].count("a") == 1
    assert {choice.estimate.model_id: choice.estimate.basis for choice in result.ranked}["a"] is Basis.MEASURED


def test_one_that_never_has_room_is_said_once_and_keeps_its_place():
    result, engine = settle({"a": "never room"}, budget_s=200.0)
    assert engine.ran.count("a") > 1
    (trial,) = [trial for trial in result.reranking.trials if trial.model_id == "a"]
    assert trial.status is ValidationStatus.WAIVED
    assert result.ranked[0].estimate.model_id == "a"
    assert "no further run fits" in result.reranking.stopped


def test_one_that_cannot_be_run_drops_out_and_the_next_goes_on():
    result, engine = settle({"a": "fails"})
    assert set(engine.ran) >= {"a", "b"}
    assert [choice.estimate.model_id for choice in result.ranked] == ["b", "c"]
    assert result.rejected[0].model_id == "a"
    assert "could not be run here: it needs 9 bytes" in result.rejected[0].reason
    (change,) = [change for change in result.reranking.changes if change.model_id == "a"]
    assert change.rank_after is None


def test_a_failure_that_is_not_the_models_keeps_its_place(monkeypatch):
    monkeypatch.setattr(Engine, "kind", "EngineTimeoutError")
    result, engine = settle({"a": "fails"})
    assert "a" in engine.ran
    assert result.ranked[0].estimate.model_id == "a"
    assert result.rejected == ()


def test_a_disturbed_run_moves_nothing_and_is_not_tried_again():
    result, engine = settle({"a": "polluted", "b": "polluted", "c": "polluted"})
    assert len(engine.ran) == len(set(engine.ran))
    assert [choice.estimate.model_id for choice in result.ranked] == ["a", "b", "c"]
    assert all(choice.estimate.basis is Basis.CALIBRATED for choice in result.ranked)
    assert result.reranking.doubt_after == result.reranking.doubt_before


def test_one_that_misses_a_limit_when_measured_drops_out():
    result, _ = settle({"a": 6.0}, limits=Limits(min_tokens_per_s=8.0))
    assert "a" not in [choice.estimate.model_id for choice in result.ranked]
    assert "measured, it decodes 6 tok/s, below --min-tps 8" in result.rejected[0].reason


def test_a_run_costs_its_weights_and_its_timing():
    here = replace(CLOSE[0], local_path="a.gguf")
    assert rerank.run_cost_s(here, 20.0) < rerank.run_cost_s(replace(CLOSE[0], file_bytes=40 * 10**9), 20.0)
    assert rerank.run_cost_s(here, 5.0) <= rerank.run_cost_s(here, 20.0)
    assert 5.0 <= rerank.run_budget_s(1.0) <= rerank.run_budget_s(1e6) <= 30.0


def test_a_sure_speed_leaves_nothing_to_settle():
    assert rerank.contender_of(pick("a", 1, quality=60, decode=10, spread=1.0), 10.0).sigma == 0.0
    assert rerank.contender_of(CLOSE[0], 10.0).sigma > 1.0
