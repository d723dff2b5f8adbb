"""Validating a served model: rungs of users, prompts of the length asked for, what goes wrong, a budget kept."""

import threading

import pytest
from chat_server import at, running
from tiny_estimate import tiny_estimate

from advisor.engines import openai_http
from advisor.engines.base import Stream
from advisor.engines.fake import ManualClock
from advisor.engines.openai_http import Answer, Endpoint, NoListError, ask
from advisor.types import ValidationStatus, Workload
from advisor.validation import endpoint as timing
from advisor.validation.endpoint import Setting, make_prompt, validate_endpoint


@pytest.fixture
def server(monkeypatch):
    for name in openai_http.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with running() as started:
        yield started


def estimate(**changes):
    """A prediction of the server's speeds, wide enough for any."""
    workload = Workload(**{"prompt_tokens": 64, "output_tokens": 4, "context_tokens": 128, **changes})
    return tiny_estimate(spread=2.0, engine_id="openai-compatible", workload=workload)


def test_a_served_model_is_set_beside_its_prediction(server):
    record = validate_endpoint(estimate(), at(server), Setting(budget_s=0.1))
    assert record.status is ValidationStatus.OK
    assert record.observed.decode_tokens_per_s > 0
    assert record.observed.first_token_s > 0
    assert set(record.error_frac) == {"prefill_tokens_per_s", "decode_tokens_per_s", "first_token_s"}
    assert record.answer == "Once upon a time"
    assert len(record.samples["users_1.first_token_s"]) >= 3
    assert record.samples["token_timestamps_s"]
    assert record.notes == ()


def test_prompts_have_the_length_that_was_asked_for(server):
    record = validate_endpoint(estimate(prompt_tokens=400), at(server), Setting(budget_s=0.1))
    assert all(300 < count < 500 for count in record.samples["users_1.prompt_tokens"])


def test_no_prompt_begins_like_another(server):
    validate_endpoint(estimate(), at(server), Setting(budget_s=0.1))
    openings = [body["messages"][0]["content"][:8] for _, body in server.requests[1:]]
    assert len(set(openings)) == len(openings) >= 4
    assert make_prompt(100, 1) != make_prompt(100, 2)


def test_users_climb_a_ladder(server):
    record = validate_endpoint(estimate(concurrency_count=5), at(server), Setting(budget_s=0.1))
    users = sorted({int(key.split("_")[1].split(".")[0]) for key in record.samples if key.startswith("users_")})
    assert users == [1, 2, 4, 5]
    assert len(record.samples["users_5.first_token_s"]) % 5 == 0


def test_a_model_that_is_not_there_names_those_that_are(server):
    server.models = ("llama", "qwen")
    record = validate_endpoint(estimate(), at(server), Setting(budget_s=0.1))
    assert record.status is ValidationStatus.FAILED
    assert record.reason == "the server does not offer 'tiny'; it offers llama, qwen"


def test_garbage_from_a_server_is_a_failure(server):
    server.words = ["ha "] * 32
    record = validate_endpoint(estimate(), at(server), Setting(budget_s=0.1))
    assert record.status is ValidationStatus.FAILED
    assert "repeats one word" in record.reason


def test_a_server_that_dies_is_a_record(server):
    server.raw = b""
    record = validate_endpoint(estimate(), at(server), Setting(budget_s=0.1))
    assert record.status is ValidationStatus.FAILED
    assert "without a single token" in record.reason


def test_uncounted_tokens_are_noted(server):
    server.usage = False
    record = validate_endpoint(estimate(), at(server), Setting(budget_s=0.1))
    assert "counts no tokens" in record.notes[0]


def test_the_ladder_doubles():
    assert timing._steps(1) == [1]
    assert timing._steps(8) == [1, 2, 4, 8]
    assert timing._steps(6) == [1, 2, 4, 6]


def test_what_the_server_had_in_its_cache_is_not_counted_as_read(server):
    record = validate_endpoint(estimate(), Endpoint(url=server.url, model="tiny"), Setting(budget_s=0.5))
    assert record.notes == ()
    server.cached_frac = 0.5
    cached = validate_endpoint(estimate(), Endpoint(url=server.url, model="tiny"), Setting(budget_s=0.5))
    assert "in its cache already" in cached.notes[0]
    assert record.engine.build == "engine-1.2"


def test_a_server_that_counts_only_whole_answers_is_asked_for_one(server):
    server.usage, server.usage_unstreamed = False, {"prompt_tokens": 128}
    where = Endpoint(url=server.url, model="tiny")
    trial = ask(where, "apple", 1)
    assert timing._words_per_token(where, "apple", trial) == 0.5
    server.usage_unstreamed = {"prompt_tokens": "many"}
    assert timing._words_per_token(where, "apple", trial) == 1.0


def test_a_server_without_a_list_of_models_is_asked_all_the_same(server, monkeypatch):
    def no_list(_):
        raise NoListError("the server has no list of models (status 404)")

    monkeypatch.setattr(timing, "list_models", no_list)
    record = validate_endpoint(estimate(), Endpoint(url=server.url, model="tiny"), Setting(budget_s=0.5))
    assert record.status is ValidationStatus.OK


class SlowServer:
    """Answers that take their time on a clock wound by hand; users at once wait for each other."""

    def __init__(self, *, s_per_word, s_per_token, overhead_s=0.0):
        self.clock = ManualClock()
        self.s_per_word, self.s_per_token, self.overhead_s = s_per_word, s_per_token, overhead_s
        self.asked = []
        self.lock = threading.Lock()

    def ask(self, endpoint, prompt, max_tokens):
        words = len(prompt.split())
        with self.lock:
            self.asked.append((words, max_tokens))
            started_s = self.clock.now()
            first_s = started_s + self.overhead_s + words * self.s_per_word
            moments = tuple(first_s + index * self.s_per_token for index in range(max_tokens))
            self.clock.sleep(moments[-1] - started_s)
        stream = Stream(started_s=started_s, token_s=moments, prompt_tokens=words)
        return Answer(stream=stream, prompt_tokens=words, output_tokens=max_tokens, counted_by_server=True)


@pytest.mark.parametrize("users", [1, 4])
@pytest.mark.parametrize("budget_s", [30.0, 60.0, 120.0])
@pytest.mark.parametrize(("s_per_word", "s_per_token"), [(0.02, 0.3), (0.01, 0.5), (0.03, 0.05)])
def test_a_slow_server_is_asked_for_no_more_than_there_is_time_for(
    monkeypatch, users, budget_s, s_per_word, s_per_token
):
    slow = SlowServer(s_per_word=s_per_word, s_per_token=s_per_token)
    monkeypatch.setattr(timing, "ask", slow.ask)
    where = Endpoint(url="http://x/v1", model="m")
    rungs = timing.climb(where, 16384, users, Setting(budget_s=budget_s, clock=slow.clock))
    assert slow.clock.now() <= 1.15 * budget_s
    assert rungs[-1].users_count == users
    answers = rungs[-1].answers
    assert all(answer.decode_s_per_token == pytest.approx(s_per_token) for answer in answers)
    assert any("there was no time for 16384" in note for note in timing._notes(answers, 16384))


def test_overhead_is_not_taken_for_slow_reading(monkeypatch):
    quick = SlowServer(s_per_word=0.0001, s_per_token=0.01, overhead_s=0.2)
    monkeypatch.setattr(timing, "ask", quick.ask)
    (rung,) = timing.climb(Endpoint(url="http://x/v1", model="m"), 16384, 1, Setting(budget_s=60.0, clock=quick.clock))
    assert not list(timing._notes(rung.answers, 16384))
    assert quick.clock.now() <= 60.0
