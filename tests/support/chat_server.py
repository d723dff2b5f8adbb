"""An OpenAI-compatible server in this process that behaves as it is told."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from advisor.engines.openai_http import Endpoint


class Server(ThreadingHTTPServer):
    """Answers by its fields, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, Any]]] = []  # path and body
        self.headers_seen: list[dict[str, str]] = []
        self.models = ("tiny",)
        self.list_body: bytes | None = None  # instead of the list of models
        self.status = 200
        self.error_body = b'{"error": {"message": "bad things"}}'
        self.refused_fields: tuple[str, ...] = ()
        self.words = ["Once", " upon", " a", " time"]
        self.usage = True  # tokens are counted at the end of a streamed answer
        self.usage_unstreamed: dict[str, object] | None = None
        self.cached_frac: float | None = None
        self.raw: bytes | None = None  # instead of the streamed answer
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.headers_seen.append(dict(self.headers))
        listed = {"data": [{"id": name} for name in self.server.models]}
        self._send(self.server.status, self.server.list_body or json.dumps(listed).encode())

    def do_POST(self) -> None:
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

    def _chunks(self, body: dict[str, Any]) -> Iterator[bytes]:
        yield b": comment\n\n"
        yield event({"choices": [{"delta": {"role": "assistant"}}]})
        words = self.server.words[: body["max_tokens"]]
        for word in words:
            yield event({"choices": [{"delta": {"content": word}}]})
        yield event({"choices": [{"delta": {}, "finish_reason": "length"}]})
        if self.server.usage and "stream_options" in body:
            prompt = len(body["messages"][0]["content"].split())
            usage = {"prompt_tokens": 2 * prompt, "completion_tokens": len(words)}
            if self.server.cached_frac is not None:
                usage["prompt_tokens_details"] = {"cached_tokens": round(2 * prompt * self.server.cached_frac)}
            yield event({"choices": [], "usage": usage, "system_fingerprint": "engine-1.2"})
        yield b"data: [DONE]\n\n"

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def event(value: object) -> bytes:
    """A piece of a streamed answer."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@contextmanager
def running() -> Iterator[Server]:
    """A server for as long as the context lasts."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def at(server: Server, **changes: Any) -> Endpoint:
    """Where it is asked."""
    return Endpoint(**{"url": server.url, "model": "tiny", "timeout_s": 5.0, **changes})
