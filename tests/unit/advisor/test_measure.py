"""Holding the stopwatch: turns, windows, budgets, depths."""

from dataclasses import replace

import pytest
import timed_windows

from advisor.engines.base import LoadOptions
from advisor.engines.fake import FakeEngine, Speeds
from advisor.types import Workload
from advisor.validation import figures
from advisor.validation.measure import Runs, Subject, take_turns
from catalog.types import ArtifactSpec, FileFormat

OPTIONS = LoadOptions(context_tokens=65536, batch_tokens=512, ubatch_tokens=512)
WORKLOAD = Workload(prompt_tokens=2048, output_tokens=128, context_tokens=4096)
ARTIFACT = ArtifactSpec(
    model_id="m", quant_id="Q4_0", file_format=FileFormat.GGUF, file_bytes=0, groups=(), exact=False
)


def turns(engine: FakeEngine, workload: Workload = WORKLOAD, *, paths=("a",), budget_s: float = 100.0):
    sessions = [engine.open(path, OPTIONS).__enter__() for path in paths]
    subjects = [Subject(session=session, decodes=engine.decodes) for session in sessions]
    return take_turns(subjects, workload, budget_s=budget_s, chunk_tokens=512, clock=engine.clock)


def test_it_stops_once_steady():
    (runs,) = turns(FakeEngine())
    assert len(runs.prefill) == len(runs.deep) == len(runs.shallow) == 3
    assert runs.prefill[0].tokens_count == 2048
    assert runs.late == ()
    assert not runs.polluted


def test_polluted_windows_are_taken_again():
    engine = FakeEngine(polluted=lambda number: 2 <= number < 5)
    (runs,) = turns(engine)
    for windows in (runs.prefill, runs.shallow, runs.deep):
        assert sum(not window.polluted for window in windows) >= 3
    assert any(window.polluted for window in runs.windows)
    assert not runs.polluted
    assert figures.median_s_per_token(runs.prefill) == pytest.approx(0.001)


def test_what_stays_polluted_is_said_so():
    engine = FakeEngine(polluted=lambda number: number > 1)
    (runs,) = turns(engine, budget_s=30.0)
    assert runs.polluted


LONG = replace(WORKLOAD, prompt_tokens=32768, context_tokens=65536)


def test_a_long_prompt_is_run_at_its_beginning_and_its_end():
    engine = FakeEngine(speeds=lambda _: Speeds(prefill_s_per_token=0.01))
    (runs,) = turns(engine, LONG, budget_s=60.0)
    assert 512 <= runs.prefill[0].tokens_count < 32768
    assert runs.prefill[0].tokens_count % 512 == 0
    assert {(window.tokens_count, window.depth_tokens) for window in runs.late} == {(512, 32768 - 512)}
    assert engine.clock.now() < 3 * 60.0


def test_decoding_is_timed_halfway_through_the_answer():
    (runs,) = turns(FakeEngine(), LONG)
    for window in runs.deep:
        middle = window.depth_tokens + window.tokens_count / 2
        assert middle == pytest.approx(LONG.prompt_tokens + LONG.output_tokens / 2, abs=1)
    assert {window.depth_tokens for window in runs.shallow} == {0}


def test_a_context_that_cannot_jump_goes_no_deeper_than_was_run():
    engine = FakeEngine(speeds=lambda _: Speeds(prefill_s_per_token=0.01), jumps=False)
    (runs,) = turns(engine, LONG, budget_s=60.0)
    assert runs.late == ()
    assert {window.depth_tokens for window in runs.deep} == {runs.prefill[0].tokens_count}


@pytest.mark.parametrize("prompt_tokens", [1, 100, 512, 513, 1000, 4096])
@pytest.mark.parametrize("output_tokens", [1, 7, 512])
def test_no_window_leaves_the_context(prompt_tokens, output_tokens):
    workload = Workload(
        prompt_tokens=prompt_tokens, output_tokens=output_tokens, context_tokens=prompt_tokens + output_tokens
    )
    (runs,) = turns(FakeEngine(speeds=lambda _: Speeds(prefill_s_per_token=0.005)), workload, budget_s=10.0)
    assert all(window.depth_tokens + window.tokens_count <= workload.context_tokens for window in runs.windows)
    assert all(window.tokens_count > 0 for window in runs.windows)


def test_something_of_each_is_run_however_short_the_budget():
    engine = FakeEngine(speeds=lambda _: Speeds(prefill_s_per_token=10.0))
    (runs,) = turns(engine, budget_s=0.001)
    assert len(runs.prefill) == len(runs.deep) == len(runs.shallow) == 1
    assert runs.prefill[0].tokens_count == 16
    assert runs.late == ()
    assert figures.prompt_s(figures.figures(runs, 512), WORKLOAD, ARTIFACT, None) is None


SLOW = Speeds(
    prefill_s_per_token=0.025,
    prefill_s_per_token_per_depth=1.5e-5,
    decode_s_per_token=0.2,
    decode_s_per_token_per_depth=1.5e-5,
)


@pytest.mark.parametrize("budget_s", [15.0, 30.0, 60.0, 120.0])
@pytest.mark.parametrize("speeds", [SLOW, replace(SLOW, decode_s_per_token_per_depth=0.0)], ids=["even", "no clue"])
@pytest.mark.parametrize("jumps", [True, False])
@pytest.mark.parametrize("users", [1, 4])
def test_a_long_context_keeps_to_the_budget(budget_s, speeds, jumps, users):
    workload = replace(LONG, concurrency_count=users)
    engine = FakeEngine(speeds=lambda _: speeds, jumps=jumps)
    (runs,) = turns(engine, workload, budget_s=budget_s)
    assert engine.clock.now() - 1.0 <= 1.15 * budget_s  # which is without loading
    assert runs.prefill
    assert runs.deep


@pytest.mark.parametrize("budget_s", [10.0, 30.0, 60.0])
def test_stand_ins_share_the_budget(budget_s):
    engine = FakeEngine(speeds=lambda _: SLOW)
    runs = turns(engine, LONG, paths=("a", "b", "c"), budget_s=budget_s)
    assert engine.clock.now() - 3.0 <= 1.15 * budget_s
    assert (
        len({tuple((len(kind), *(w.tokens_count for w in kind[:1])) for kind in (r.prefill, r.late)) for r in runs})
        == 1
    )


def test_more_of_the_end_is_run_once_it_proves_cheaper_than_it_was_taken_for():
    dear = replace(SLOW, prefill_s_per_token_per_depth=1e-8, decode_s_per_token_per_depth=2e-5)
    (runs,) = turns(FakeEngine(speeds=lambda _: dear), LONG, budget_s=90.0)
    assert runs.late[0].tokens_count > 256
    assert len({window.tokens_count for window in runs.late}) == 1


def test_where_memory_does_not_allow_the_depth_it_goes_as_deep_as_it_can(catalog):
    geometry = catalog.model("Llama-3.1-8B-Instruct").geometry
    engine = FakeEngine(speeds=lambda _: SLOW, reach_tokens=8192)
    (runs,) = turns(engine, LONG, budget_s=120.0)
    assert {window.depth_tokens for window in runs.late} == {8192}
    assert {window.depth_tokens for window in runs.deep} == {8192}
    timed = figures.figures(runs, 512)
    truth = 0.2 + 1.5e-5 * (LONG.prompt_tokens + LONG.output_tokens / 2)
    assert figures.decode_s(timed, LONG, geometry) == pytest.approx(truth, rel=0.01)


def test_pieces_shorter_than_a_chunk_are_enough_to_go_by(catalog):
    geometry = catalog.model("Llama-3.1-8B-Instruct").geometry
    hurried = replace(SLOW, prefill_s_per_token=0.06)
    (runs,) = turns(FakeEngine(speeds=lambda _: hurried), LONG, budget_s=100.0)
    assert 64 <= runs.prefill[0].tokens_count < 512
    assert 64 <= runs.late[0].tokens_count < 512
    starts = range(0, LONG.prompt_tokens, 512)
    truth = sum(512 * (0.06 + 1.5e-5 * start) for start in starts)
    found = figures.prompt_s(figures.figures(runs, 512), LONG, ARTIFACT, geometry)
    assert found == pytest.approx(truth, rel=0.02)


def test_a_whole_micro_batch_is_run_once_before_parts_of_it_are_run_often():
    quick = replace(SLOW, prefill_s_per_token=0.007, prefill_s_per_token_per_depth=6e-7)
    (runs,) = turns(FakeEngine(speeds=lambda _: quick), LONG, budget_s=40.0)
    assert runs.prefill[0].tokens_count == runs.late[0].tokens_count == 512


def test_models_are_timed_in_turn():
    one, two = turns(FakeEngine(), paths=("a", "b"))
    starts = [[window.started_s for window in runs.prefill] for runs in (one, two)]
    merged = sorted((start, name) for name, times in zip("ab", starts, strict=True) for start in times)
    assert "".join(name for _, name in merged) == "ab" * len(one.prefill)


def test_an_encoder_is_not_asked_to_decode():
    (runs,) = turns(FakeEngine(decodes=False))
    assert runs.prefill
    assert runs.deep == runs.shallow == ()


def test_several_users_decode_at_once():
    (runs,) = turns(FakeEngine(), replace(WORKLOAD, concurrency_count=4))
    assert {window.streams_count for window in runs.deep} == {4}


def test_windows_are_long_enough_to_watch():
    (fast,) = turns(FakeEngine(speeds=lambda _: Speeds(decode_s_per_token=0.01)))
    (slow,) = turns(FakeEngine(speeds=lambda _: Speeds(decode_s_per_token=2.0)))
    assert fast.deep[0].tokens_count == 40
    assert slow.deep[0].tokens_count == 4  # as many as there is time for


@pytest.mark.parametrize("jumps", [True, False])
@pytest.mark.parametrize("prompt_tokens", [512, 1000, 2048, 4096, 16384])
def test_a_prompt_run_in_part_is_filled_in_by_its_attention(catalog, prompt_tokens, jumps):
    geometry = catalog.model("Llama-3.1-8B-Instruct").geometry
    per_token, per_depth = 0.002, 1e-7
    speeds = Speeds(prefill_s_per_token=per_token, prefill_s_per_token_per_depth=per_depth)
    workload = replace(WORKLOAD, prompt_tokens=prompt_tokens, context_tokens=65536)
    (runs,) = turns(FakeEngine(speeds=lambda _: speeds, jumps=jumps), workload, budget_s=12.0)
    timed = figures.figures(runs, 512)
    starts = range(0, prompt_tokens, 512)
    truth = sum(min(512, prompt_tokens - start) * (per_token + per_depth * start) for start in starts)
    assert figures.prompt_s(timed, workload, ARTIFACT, geometry) == pytest.approx(truth, rel=0.01)


def test_runs_know_their_windows():
    runs = Runs(prefill=(timed_windows.window("prefill", [1.0], tokens=4),))
    assert runs.windows == runs.prefill
