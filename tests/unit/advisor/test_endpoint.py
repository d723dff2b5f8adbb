"""The OpenAI-compatible endpoint, against a server in this process that behaves as it is told."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from advisor.engines import openai_http
from advisor.engines.base import EngineError, EngineTimeoutError, Stream
from advisor.engines.fake import ManualClock
from advisor.engines.openai_http import Answer, Endpoint, EndpointError, NoListError, ask, list_models
from advisor.types import (
    Basis,
    Deployment,
    Estimate,
    Interval,
    MemoryPlan,
    ValidationStatus,
    Workload,
)
from advisor.validation import endpoint as timing
from advisor.validation.endpoint import Setting, make_prompt, validate_endpoint

KEY = "sk-secret-1234"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.headers_seen = []
        self.models = ("tiny",)
        self.status = 200
        self.error_body = b'{"error": {"message": "bad things"}}'
        self.refused_fields = ()
        self.words = ["Once", " upon", " a", " time"]
        self.usage = True
        self.usage_unstreamed = None
        self.cached_frac = None
        self.raw = None
        self.delay_s = 0.0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.headers_seen.append(dict(self.headers))
        self._send(self.server.status, json.dumps({"data": [{"id": name} for name in self.server.models]}).encode())

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.requests.append((self.path, body))
        server.headers_seen.append(dict(self.headers))
        if server.status != 200:
            return self._send(server.status, server.error_body)
        refused = [name for name in server.refused_fields if name in body]
        if refused:
            return self._send(400, json.dumps({"error": f"unknown field {refused[0]}"}).encode())
        if not body.get("stream"):
            return self._send(200, json.dumps({"usage": server.usage_unstreamed}).encode())
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        time.sleep(server.delay_s)
        try:
            for chunk in [server.raw] if server.raw is not None else self._chunks(body):
                self.wfile.write(chunk)
                self.wfile.flush()
        except OSError:
            pass

    def _chunks(self, body):
        yield b": comment\n\n"
        yield _event({"choices": [{"delta": {"role": "assistant"}}]})
        words = self.server.words[: body["max_tokens"]]
        for word in words:
            yield _event({"choices": [{"delta": {"content": word}}]})
        yield _event({"choices": [{"delta": {}, "finish_reason": "length"}]})
        if self.server.usage and "stream_options" in body:
            prompt = len(body["messages"][0]["content"].split())
            usage = {"prompt_tokens": 2 * prompt, "completion_tokens": len(words)}
            if self.server.cached_frac is not None:
                usage["prompt_tokens_details"] = {"cached_tokens": round(2 * prompt * self.server.cached_frac)}
            yield _event({"choices": [], "usage": usage, "system_fingerprint": "engine-1.2"})
        yield b"data: [DONE]\n\n"

    def _send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _event(value):
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@contextmanager
def running():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(monkeypatch):
    for name in openai_http.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with running() as started:
        yield started


def at(server, **changes):
    return Endpoint(**{"url": server.url, "model": "tiny", "timeout_s": 5.0, **changes})


def interval(mid):
    return Interval(low=mid / 2, mid=mid, high=mid * 2)


def estimate(**changes):
    workload = Workload(**{"prompt_tokens": 64, "output_tokens": 4, "context_tokens": 128, **changes})
    return Estimate(
        model_id="tiny",
        quant_id="Q4_0",
        engine_id="openai-compatible",
        deployment=Deployment(model_id="tiny", quant_id="Q4_0"),
        workload=workload,
        prefill_tokens_per_s=interval(100.0),
        decode_tokens_per_s=interval(100.0),
        first_token_s=interval(1.0),
        load_s=interval(1.0),
        memory=MemoryPlan(total_bytes=1, fits=True, devices=()),
        basis=Basis.ASSUMED,
    )


# --- one answer --------------------------------------------------------------------------------


def test_an_answer_is_streamed_and_counted(server):
    answer = ask(at(server), "one two three", 4)
    assert answer.stream.text == "Once upon a time"
    assert (answer.prompt_tokens, answer.output_tokens, answer.counted_by_server) == (6, 4, True)
    assert len(answer.stream.token_s) == 4
    assert answer.stream.first_token_s > 0
    assert answer.decode_s_per_token > 0


def test_what_is_asked(server):
    ask(at(server), "hello", 7)
    path, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["max_tokens"], body["stream"], body["temperature"]) == ("tiny", 7, True, 0)
    assert body["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("suffix", "path"),
    [("", "/v1"), ("/", "/v1"), ("/v1", "/v1"), ("/v1/chat/completions", "/v1"), ("/api", "/api/v1")],
)
def test_an_address_may_be_written_in_several_ways(suffix, path):
    assert Endpoint(url=f"http://host{suffix}", model="m").base_path == path


def test_fields_a_server_does_not_know_are_left_out(server):
    server.refused_fields = ("ignore_eos", "stream_options")
    answer = ask(at(server), "one two", 4)
    assert not answer.counted_by_server
    assert answer.output_tokens == 4
    assert "ignore_eos" not in server.requests[-1][1]


def test_pieces_count_as_tokens_where_the_server_does_not_count(server):
    server.usage = False
    assert ask(at(server), "one two", 3).output_tokens == 3


def test_several_tokens_in_one_piece_are_all_counted(server):
    server.raw = (
        _event({"choices": [{"delta": {"content": "a b c"}}]})
        + _event({"choices": [{"delta": {"content": "d e f"}}]})
        + _event({"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 6}})
        + b"data: [DONE]\n\n"
    )
    answer = ask(at(server), "x", 6)
    assert answer.output_tokens == 6
    first, last = answer.stream.token_s
    assert answer.decode_s_per_token == pytest.approx((last - first) / 5)


def test_thinking_counts_as_output(server):
    server.raw = _event({"choices": [{"delta": {"reasoning_content": "hm"}}]}) + b"data: [DONE]\n\n"
    assert ask(at(server), "x", 1).stream.text == "hm"


@pytest.mark.parametrize("count", [-1, 0, True, "7", 1e9, None, 2**40])
def test_a_senseless_count_is_not_believed(server, count):
    server.raw = (
        _event({"choices": [{"delta": {"content": "a"}}]})
        + _event({"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": count}})
        + b"data: [DONE]\n\n"
    )
    answer = ask(at(server), "x", 1)
    assert (answer.output_tokens, answer.counted_by_server) == (1, False)


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"data: {not json\n\n", "streams nonsense"),
        (b"data: [1, 2]\n\n", "streams nonsense"),
        (b'data: {"choices": [3]}\n\n', "streams nonsense"),
        (b'data: {"error": {"message": "out of memory"}}\n\n', "broke off: out of memory"),
        (b'{"choices": [{"message": {"content": "hi"}}]}\n', "does not stream"),
        (b"<html>login</html>\n", "does not stream"),
        (b"data: [DONE]\n\n", "without a single token"),
        (b"", "without a single token"),
        (b"data: " + b"x" * (1 << 21) + b"\n\n", "more than any answer holds"),
    ],
)
def test_nonsense_is_one_line(server, raw, message):
    server.raw = raw
    with pytest.raises(EndpointError, match=message) as caught:
        ask(at(server), "x", 4)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "refuses the key"), (403, "refuses the key"), (404, "bad things; check"), (500, "status 500: bad things")],
)
def test_a_refusal_says_what_to_do(server, status, message):
    server.status = status
    with pytest.raises(EndpointError, match=message):
        ask(at(server), "x", 4)


def test_foreign_text_is_made_safe_to_print(server):
    server.status, server.error_body = 500, b"\x1b[31mred\x1b[0m\r\nsecond line " + b"y" * 5000
    with pytest.raises(EndpointError) as caught:
        ask(at(server), "x", 4)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_silence_times_out(server):
    server.delay_s = 2.0
    with pytest.raises(EngineTimeoutError, match="sent nothing"):
        ask(at(server, timeout_s=0.2), "x", 4)


def test_an_answer_that_never_ends_is_given_up(server):
    server.words = ["a"] * 50
    moments = iter(range(1000))
    with pytest.raises(EngineTimeoutError, match="not finished"):
        ask(at(server, answer_s=5.0), "x", 50, clock=lambda: float(next(moments)))


def test_a_server_that_heeds_no_length_is_left(server):
    server.raw = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n' * 200
    with pytest.raises(EndpointError, match="goes on beyond the 4 tokens"):
        ask(at(server), "x", 4)


def test_nothing_listening_is_one_line():
    with running() as server:
        url = server.url
    with pytest.raises(EndpointError, match=r"nothing listens at 127\.0\.0\.1"):
        list_models(Endpoint(url=url, model="m", timeout_s=2.0))


def test_a_plain_server_is_not_spoken_to_securely(server):
    with pytest.raises(EndpointError, match=r"no secure connection|connection to .* failed"):
        list_models(at(server, url=server.url.replace("http:", "https:")))


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://host", "file:///etc/passwd", "http://", "http://host:99999", "http://[::1"]
)
def test_an_address_must_be_http(url):
    with pytest.raises(EndpointError, match="no http or https address"):
        Endpoint(url=url, model="m")


# --- the key -----------------------------------------------------------------------------------


def test_the_key_comes_from_the_environment(server, monkeypatch):
    ask(at(server), "x", 1)
    assert "Authorization" not in server.headers_seen[-1]
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(at(server), "x", 1)
    assert server.headers_seen[-1]["Authorization"] == f"Bearer {KEY}"


def test_the_key_is_in_no_message(server, monkeypatch):
    monkeypatch.setenv("ADVISOR_API_KEY", KEY)
    server.status, server.error_body = 500, f'{{"error": "invalid key {KEY}"}}'.encode()
    with pytest.raises(EndpointError) as caught:
        ask(at(server), "x", 1)
    assert KEY not in str(caught.value)


def test_a_key_in_the_address_is_refused():
    with pytest.raises(EndpointError, match="leave the key out") as caught:
        Endpoint(url=f"http://user:{KEY}@host", model="m")
    assert KEY not in str(caught.value)


def test_a_key_that_would_break_the_header_is_refused(server, monkeypatch):
    monkeypatch.setenv("ADVISOR_API_KEY", "a\r\nX-Evil: 1")
    with pytest.raises(EndpointError, match="characters that no key has"):
        ask(at(server), "x", 1)


# --- a validation ------------------------------------------------------------------------------


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


def test_a_list_of_models_that_makes_no_sense(server, monkeypatch):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self._send(200, b'{"data": 3}'))
    with pytest.raises(EngineError, match="makes no sense"):
        list_models(at(server))


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


# --- within a budget -------------------------------------------------------------------------------


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
