"""A server on loopback that speaks as much of the Hugging Face Hub's API as the catalog uses."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What the server holds, and what was asked of it. ``answer`` may replace any answer."""

    models: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)  # "owner/name/config.json"
    requests: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    answer: Callable[[str], tuple[int, bytes] | None] = lambda path: None
    url: str = ""

    def add(self, repo_id: str, *, files: dict[str, bytes] | None = None, **fields: Any) -> None:
        """A repository with its files."""
        files = files or {}
        self.files |= {f"{repo_id}/{name}": data for name, data in files.items()}
        listing = {
            "_id": hashlib.sha256(repo_id.encode()).hexdigest()[:24],
            "id": repo_id,
            "modelId": repo_id,
            "createdAt": "2026-11-01T00:00:00.000Z",
            "downloads": 10,
            "tags": [],
            "pipeline_tag": "text-generation",
            "siblings": [{"rfilename": name} for name in files],
        }
        self.models.append(listing | fields)

    def listed(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        """The models that a query asks for."""
        found = self.models
        if "author" in query:
            found = [model for model in found if model["id"].split("/")[0] == query["author"][0]]
        for wanted in query.get("filter", []):
            found = [model for model in found if wanted in [*model["tags"], model.get("pipeline_tag")]]
        if "pipeline_tag" in query:
            found = [model for model in found if model.get("pipeline_tag") == query["pipeline_tag"][0]]
        return found[: int(query.get("limit", ["1000"])[0])]


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Run the server; ``hub.url`` is its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._reply(body=False)

        def do_GET(self) -> None:
            self._reply(body=True)

        def _reply(self, *, body: bool) -> None:
            hub.requests.append(self.path)
            hub.tokens.append(self.headers.get("Authorization"))
            split = urlsplit(self.path)
            status, data = hub.answer(self.path) or self._find(split.path, parse_qs(split.query))
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            if status == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            if status == 403:
                self.send_header("X-Error-Code", "GatedRepo")
            self.end_headers()
            if body:
                self.wfile.write(data)

        def _find(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
            if path == "/api/models":
                return 200, json.dumps(hub.listed(query)).encode()
            name = path.lstrip("/").replace("/resolve/main/", "/").replace(f"/resolve/{COMMIT}/", "/")
            return (200, hub.files[name]) if name in hub.files else (404, b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
