"""One answer of an OpenAI-compatible server: what is asked, counted, refused, and kept secret."""

import pytest
from chat_server import at, event, running

from advisor.engines import openai_http
from advisor.engines.base import EngineTimeoutError
from advisor.engines.openai_http import Endpoint, EndpointError, ask, list_models

KEY = "sk-secret-1234"


@pytest.fixture
def server(monkeypatch):
    for name in openai_http.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with running() as started:
        yield started


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
        event({"choices": [{"delta": {"content": "a b c"}}]})
        + event({"choices": [{"delta": {"content": "d e f"}}]})
        + event({"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 6}})
        + b"data: [DONE]\n\n"
    )
    answer = ask(at(server), "x", 6)
    assert answer.output_tokens == 6
    first, last = answer.stream.token_s
    assert answer.decode_s_per_token == pytest.approx((last - first) / 5)


def test_thinking_counts_as_output(server):
    server.raw = event({"choices": [{"delta": {"reasoning_content": "hm"}}]}) + b"data: [DONE]\n\n"
    assert ask(at(server), "x", 1).stream.text == "hm"


@pytest.mark.parametrize("count", [-1, 0, True, "7", 1e9, None, 2**40])
def test_a_senseless_count_is_not_believed(server, count):
    server.raw = (
        event({"choices": [{"delta": {"content": "a"}}]})
        + event({"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": count}})
        + b"data: [DONE]\n\n"
    )
    answer = ask(at(server), "x", 1)
    assert (answer.output_tokens, answer.counted_by_server) == (1, False)


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


@pytest.mark.parametrize("listed", [b'{"data": 3}', b"[]", b"3", b"not json"])
def test_a_list_of_models_that_makes_no_sense(server, listed):
    server.list_body = listed
    with pytest.raises(EndpointError, match="makes no sense"):
        list_models(at(server))


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
