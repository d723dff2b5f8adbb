"""Any server that speaks the OpenAI chat interface: llama-server, Ollama, LM Studio, vLLM, mlx_lm, SGLang, TGI.

Only the standard library is used. Everything a server sends is bounded before it is kept, and every way it
can fail becomes one line. The key comes from the environment and appears in no message.
"""

import http.client
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from advisor.engines.base import EngineError, EngineTimeoutError, Stream

KEY_VARIABLES = ("ADVISOR_API_KEY", "OPENAI_API_KEY")
_MAX_LINE_BYTES = 1 << 20
_MAX_BODY_BYTES = 8 << 20
_MAX_STREAM_BYTES = 64 << 20
_SHOWN_CHARACTERS = 160
#: A list of models needs no model to be loaded: a server that keeps it back is not going to answer.
_LIST_TIMEOUT_S = 20.0
#: Pieces of an answer for every token that was asked for: some servers send a token in a few pieces.
_MAX_PIECES_PER_TOKEN = 4
_MORE_PIECES_COUNT = 64
_WITHOUT_LIST = (404, 405, 500, 501)
_TEXT_KEYS = ("content", "reasoning_content", "reasoning")


class EndpointError(EngineError):
    """A server could not be reached or did not answer as the interface asks."""


class AddressError(EndpointError):
    """What was given as a server's address is none, or holds what does not belong there."""

    exit_code = 2


class NoListError(EndpointError):
    """The server answers, but not with a list of its models."""


class _RefusedFieldError(EndpointError):
    """The server does not know one of the optional fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a server listens and which of its models is meant."""

    url: str
    model: str
    timeout_s: float = 120.0  # without a byte from the server
    answer_s: float = 900.0  # for one whole answer, however steadily it drips

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # brackets that do not pair, a port beyond 65535
            sound = False
        if not sound:
            raise AddressError(f"{_shown(self.url)} is no http or https address; write http://localhost:8080/v1")
        if parts.username or parts.password:
            raise AddressError(f"leave the key out of the address; put it in {KEY_VARIABLES[0]}")

    @property
    def base_path(self) -> str:
        """The path all requests start with; ``/v1`` unless the address has one of its own."""
        path = urlsplit(self.url).path.rstrip("/").removesuffix("/chat/completions")
        return path if path.endswith("/v1") else f"{path}/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A streamed answer and the server's own token counts.

    ``cached_tokens`` of the prompt it had in its cache, as far as it says; ``build`` is what it says it is.
    """

    stream: Stream
    prompt_tokens: int
    output_tokens: int
    counted_by_server: bool
    cached_tokens: int | None = None
    build: str | None = None

    @property
    def decode_s_per_token(self) -> float | None:
        """Seconds per token after the first; a server may send several tokens at once."""
        moments = self.stream.token_s
        if self.output_tokens < 2 or len(moments) < 2:
            return None
        return (moments[-1] - moments[0]) / (self.output_tokens - 1)


def _shown(text: object) -> str:
    """Foreign text made safe to print: one line, no control characters, bounded."""
    flat = " ".join(str(text)[: 4 * _SHOWN_CHARACTERS].split())
    return "".join(character if character.isprintable() else "?" for character in flat)[:_SHOWN_CHARACTERS]


def _key() -> str | None:
    return next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), None)


def _headers() -> dict[str, str]:
    key = _key()
    if key is not None and not (key.isascii() and key.isprintable()):
        raise EndpointError(f"the key in {' or '.join(KEY_VARIABLES)} holds characters that no key has")
    return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


@contextmanager
def _connected(endpoint: Endpoint) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(endpoint.url)
    where = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=endpoint.timeout_s)
    try:
        yield connection
    except TimeoutError as error:
        raise EngineTimeoutError(
            f"{where} sent nothing for {endpoint.timeout_s:.0f} s; check that the model is loaded"
        ) from error
    except ConnectionRefusedError as error:
        raise EndpointError(f"nothing listens at {where}; start the server or correct --endpoint") from error
    except ssl.SSLError as error:
        raise EndpointError(f"no secure connection to {where}: {_shown(error.reason or error)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise EndpointError(f"the connection to {where} failed: {_shown(error) or type(error).__name__}") from error
    finally:
        connection.close()


def _require_ok(response: http.client.HTTPResponse, endpoint: Endpoint) -> None:
    if response.status == http.client.OK:
        return
    said = _shown(_error_text(response.read(_MAX_LINE_BYTES)))
    key = _key()
    said = said.replace(key, "***") if key else said
    if response.status in (401, 403):
        raise EndpointError(f"the server refuses the key (status {response.status}); set {KEY_VARIABLES[0]}")
    if response.status == 404:
        raise EndpointError(f"the server knows no such model or address (404): {said}; check --endpoint and --model")
    refused = response.status in (400, 422)
    kind = _RefusedFieldError if refused else EndpointError
    raise kind(f"{_shown(endpoint.model)}: the server answers with status {response.status}: {said}")


def _error_text(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def list_models(endpoint: Endpoint) -> tuple[str, ...]:
    """Names of the models a server offers.

    Raises:
        EndpointError: if the server cannot be reached or refuses the key.
        NoListError: if it answers something else.
    """
    with _connected(replace(endpoint, timeout_s=min(endpoint.timeout_s, _LIST_TIMEOUT_S))) as connection:
        connection.request("GET", f"{endpoint.base_path}/models", headers=_headers())
        with connection.getresponse() as response:
            if response.status in _WITHOUT_LIST:
                raise NoListError(f"the server has no list of models (status {response.status})")
            _require_ok(response, endpoint)
            body = response.read(_MAX_BODY_BYTES + 1)
    try:
        rows = json.loads(body)["data"]
        return tuple(str(row["id"]) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise NoListError(f"the server's list of models makes no sense: {_shown(body[:200])}") from error


def ask(endpoint: Endpoint, prompt: str, max_tokens: int, *, clock: Callable[[], float] = time.perf_counter) -> Answer:
    """Stream one greedy answer, every piece stamped as it arrives.

    The full length is asked for where the server can ignore the model's end token; servers that do not know
    that field are asked again without it.

    Raises:
        EndpointError: if the server fails, streams nonsense, or produces no token.
        EngineTimeoutError: if it falls silent.
    """
    request: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    optional = ("ignore_eos", "stream_options", None)
    for field in optional:
        try:
            return _ask_once(endpoint, request, clock)
        except _RefusedFieldError:
            if field is None:
                raise
            request.pop(field)
    raise EndpointError("the server refused every form of the request")


def count_prompt_tokens(endpoint: Endpoint, prompt: str) -> int | None:
    """The server's own count of a prompt's tokens, from an answer in one piece; None where it counts none.

    Raises:
        EndpointError: if the server fails.
    """
    request = {"model": endpoint.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 1}
    with _connected(endpoint) as connection:
        connection.request(
            "POST", f"{endpoint.base_path}/chat/completions", body=json.dumps(request), headers=_headers()
        )
        with connection.getresponse() as response:
            _require_ok(response, endpoint)
            body = response.read(_MAX_BODY_BYTES + 1)
    try:
        return _count(json.loads(body)["usage"]["prompt_tokens"])
    except (ValueError, KeyError, TypeError):
        return None


def _ask_once(endpoint: Endpoint, request: Mapping[str, Any], clock: Callable[[], float]) -> Answer:
    with _connected(endpoint) as connection:
        started_s = clock()
        connection.request(
            "POST", f"{endpoint.base_path}/chat/completions", body=json.dumps(request), headers=_headers()
        )
        with connection.getresponse() as response:
            _require_ok(response, endpoint)
            received = _Received(
                clock=clock, max_tokens=int(request["max_tokens"]), server=response.getheader("Server")
            )
            received.read(response, deadline_s=started_s + endpoint.answer_s)
    return received.answer(started_s)


class _Received:
    """What has come in of one answer."""

    def __init__(self, *, clock: Callable[[], float], max_tokens: int, server: str | None = None) -> None:
        self._clock = clock
        self._max_tokens = max_tokens
        self._build = server
        self._moments: list[float] = []
        self._texts: list[str] = []
        self._usage: Mapping[str, Any] = {}
        self._finish: str | None = None

    def read(self, response: http.client.HTTPResponse, *, deadline_s: float) -> None:
        """Take in the event stream up to its end mark or the end of the connection."""
        total = 0
        while line := response.readline(_MAX_LINE_BYTES + 1):
            moment = self._clock()
            total += len(line)
            if moment > deadline_s:
                raise EngineTimeoutError("the server had not finished its answer in time; ask for a shorter one")
            if len(line) > _MAX_LINE_BYTES or total > _MAX_STREAM_BYTES:
                raise EndpointError("the server sends more than any answer holds; stopped reading")
            field, _, value = line.partition(b":")
            if field.strip() != b"data":
                if field.strip()[:1] in (b"{", b"<"):
                    raise EndpointError(
                        f"the server does not stream its answers: {_shown(line.decode('utf-8', 'replace'))}"
                    )
                continue
            if value.strip() == b"[DONE]":
                return
            self._take(value, moment)
            if len(self._moments) > _MAX_PIECES_PER_TOKEN * self._max_tokens + _MORE_PIECES_COUNT:
                raise EndpointError(
                    f"the server goes on beyond the {self._max_tokens} tokens asked for; stopped reading"
                )

    def _take(self, raw: bytes, moment: float) -> None:
        try:
            event = json.loads(raw)
            if event.get("error"):
                raise EndpointError(f"the server broke off: {_shown(_error_text(raw))}")
            self._usage = event.get("usage") or self._usage
            self._build = event.get("system_fingerprint") or self._build
            for choice in event.get("choices") or ():
                delta = choice.get("delta") or {}
                text = next((delta[key] for key in _TEXT_KEYS if delta.get(key)), "")
                self._finish = choice.get("finish_reason") or self._finish
                if text:
                    self._moments.append(moment)
                    self._texts.append(str(text))
        except (ValueError, AttributeError, TypeError) as error:
            raise EndpointError(f"the server streams nonsense: {_shown(raw.decode('utf-8', 'replace'))}") from error

    def answer(self, started_s: float) -> Answer:
        """The whole answer."""
        if not self._moments:
            raise EndpointError("the server ended its answer without a single token; try the prompt in its own client")
        prompt_tokens = _count(self._usage.get("prompt_tokens"))
        output_tokens = _count(self._usage.get("completion_tokens"))
        return Answer(
            stream=Stream(
                started_s=started_s,
                token_s=tuple(self._moments),
                prompt_tokens=prompt_tokens or 0,
                text="".join(self._texts),
                finish_reason=self._finish,
            ),
            prompt_tokens=prompt_tokens or 0,
            output_tokens=output_tokens or len(self._moments),
            counted_by_server=bool(prompt_tokens and output_tokens),
            cached_tokens=self._cached_tokens(),
            build=_shown(self._build) if isinstance(self._build, str) else None,
        )

    def _cached_tokens(self) -> int | None:
        details = self._usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        return cached if isinstance(cached, int) and 0 <= cached < 1 << 31 else None


def _count(value: object) -> int | None:
    """A server's token count, if it is one."""
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31
    return value if sound and isinstance(value, int) else None
