"""Tools that outlast a call: waited for by the next one, stopped with the server."""

import pytest

pytest.importorskip("mcp")

import anyio
from assistant_calls import call, validated
from mcp.client.client import Client

from advisor.assistant import jobs
from advisor.assistant.server import build_server
from advisor.errors import AdvisorError


@pytest.fixture(autouse=True)
def _nothing_measured_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))


@pytest.fixture
def slow(monkeypatch):
    """A command that ends when it is told to; calls wait for it a moment."""

    class Slow:
        ran = 0
        stopped = 0

        def __init__(self):
            self.finish = anyio.Event()

        async def __call__(self, args, *, time_limit_s, beat=None):
            self.ran += 1
            try:
                await self.finish.wait()
            except anyio.get_cancelled_exc_class():
                self.stopped += 1
                raise
            return validated()

    made = Slow()
    monkeypatch.setattr(jobs, "run_command", made)
    monkeypatch.setattr(jobs, "PATIENCE_S", 0.2)
    return made


YES = {"model": "qwen3-8b", "confirm": "yes"}


def test_a_long_run_answers_in_time_and_is_waited_for_by_the_next_call(slow):
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    async def talk():
        async with Client(build_server(), read_timeout_seconds=5) as client:
            first = await client.call_tool("validate_pick", YES, progress_callback=progress)
            other = await client.call_tool("validate_pick", YES | {"model": "qwen3-4b"})
            slow.finish.set()
            last = await client.call_tool("validate_pick", {"model": "qwen3-8b"})  # it was agreed to already
            return first, other, last

    first, other, last = anyio.run(talk)
    assert first.structured_content["status"] == "running"
    assert first.structured_content["seconds_expected"] == 120
    assert "exactly the same arguments" in first.structured_content["next_step"]
    assert seen
    assert other.is_error
    assert "qwen3-8b has been running" in other.content[0].text
    assert last.structured_content["records"][0]["status"] == "ok"
    assert slow.ran == 1


def test_an_outcome_is_given_once_and_then_asked_for_anew(slow):
    slow.finish.set()
    answers_seen = []

    async def talk():
        async with Client(build_server()) as client:
            for given in (YES, {"model": "qwen3-8b"}):
                answers_seen.append(await client.call_tool("validate_pick", given))

    anyio.run(talk)
    assert not answers_seen[0].is_error
    assert "Not started" in answers_seen[1].content[0].text


def test_a_first_recommendation_that_measures_this_computer_is_waited_for_too(slow):
    result = call("recommend_model", {"task": "chat", "keep": "yes"})
    assert result.structured_content["status"] == "running"
    assert slow.stopped == 1, "the server's end is the command's"


def test_cancelling_a_call_stops_its_command(slow):
    async def beat(_passed_s):
        pass

    async def go():
        async with jobs.working(None) as held:
            with anyio.move_on_after(0.1):
                await held.outcome(["validate", "a"], time_limit_s=9.0, beat=beat)
            await anyio.sleep(0.05)
            assert slow.stopped == 1
            assert not held.knows(["validate", "a"])
            slow.finish.set()
            return await held.outcome(["validate", "b"], time_limit_s=9.0, beat=beat)

    assert anyio.run(go).document


def test_an_error_of_a_long_command_is_its_one_line(monkeypatch):
    async def fails(args, *, time_limit_s, beat=None):
        raise AdvisorError("advisor validate took longer than 9 s and was stopped")

    monkeypatch.setattr(jobs, "run_command", fails)
    result = call("validate_pick", YES)
    assert result.is_error
    assert "took longer" in result.content[0].text


def test_outcomes_nobody_fetched_do_not_pile_up(slow):
    slow.finish.set()

    async def go():
        async with jobs.working(None) as held:
            for number in range(20):
                held._start(("validate", str(number)), 9.0)
                await anyio.sleep(0.01)
            return sum(held.knows(["validate", str(number)]) for number in range(20))

    assert anyio.run(go) <= 8
