"""A server on loopback that speaks as much of the Hugging Face Hub's API as the catalog uses."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    ranges: list[str | None] = field(default_factory=list)  # what was asked for of each file
    stated_sha256: dict[str, str] = field(default_factory=dict)  # checksums that are not the files' own
    break_after_bytes: int | None = None  # every answer's body is cut off there
    ignores_ranges: bool = False
    pause_after_bytes: int | None = None  # every answer's body halts there until `pause` is set
    pause: threading.Event = field(default_factory=threading.Event)
    redirect: Callable[[str], str | None] = lambda path: None

    @staticmethod
    def name_of(path: str) -> str:
        """The file an address means."""
        return path.lstrip("/").replace("/resolve/main/", "/").replace(f"/resolve/{COMMIT}/", "/")

    def linked_etag(self, path: str) -> str:
        """The checksum of a file that lies elsewhere."""
        return hashlib.sha256(self.files[self.name_of(path)]).hexdigest()

    def described(self, repo_id: str) -> dict[str, Any] | None:
        """One repository with sizes and checksums of its files."""
        found = next((model for model in self.models if model["id"] == repo_id), None)
        if found is None:
            return None
        siblings = []
        for name in (sibling["rfilename"] for sibling in found["siblings"]):
            data = self.files[f"{repo_id}/{name}"]
            sha256 = self.stated_sha256.get(name) or hashlib.sha256(data).hexdigest()
            large = {"sha256": sha256, "size": len(data), "pointerSize": 134}
            siblings.append({"rfilename": name, "size": len(data), "blobId": "0" * 40, "lfs": large})
        return found | {"sha": COMMIT, "siblings": siblings}

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


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *args: object) -> None:
        pass

    def finish(self) -> None:
        with suppress(OSError):  # the other side was killed
            super().finish()

    def do_HEAD(self) -> None:
        self._reply(body=False)

    def do_GET(self) -> None:
        self._reply(body=True)

    def _reply(self, *, body: bool) -> None:
        self.hub.requests.append(self.path)
        self.hub.tokens.append(self.headers.get("Authorization"))
        split = urlsplit(self.path)
        if elsewhere := self.hub.redirect(self.path):
            self._send_elsewhere(elsewhere, split.path)
            return
        status, data = self.hub.answer(self.path) or self._find(split.path, parse_qs(split.query))
        etag = self.hub.stated_sha256.get(split.path.rpartition("/")[2]) or hashlib.sha256(data).hexdigest()
        if body and "/resolve/" in self.path:
            self.hub.ranges.append(self.headers.get("Range"))
            status, data = self._part(status, data)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if status == 404:
            missing = "RepoNotFound" if split.path.startswith("/api/") else "EntryNotFound"
            self.send_header("X-Error-Code", missing)
        if status == 403:
            self.send_header("X-Error-Code", "GatedRepo")
        self.end_headers()
        if body:
            self._write(data[: self.hub.break_after_bytes] if "/resolve/" in self.path else data)
            self.close_connection = True

    def _write(self, data: bytes) -> None:
        if self.hub.pause_after_bytes is None or "/resolve/" not in self.path:
            self.wfile.write(data)
            return
        with suppress(OSError):
            self.wfile.write(data[: self.hub.pause_after_bytes])
            self.wfile.flush()
        self.hub.pause.wait(60.0)

    def _send_elsewhere(self, address: str, path: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-ETag", f'"{self.hub.linked_etag(path)}"')
        self.send_header("X-Linked-Size", str(len(self.hub.files[self.hub.name_of(path)])))
        self.end_headers()

    def _part(self, status: int, data: bytes) -> tuple[int, bytes]:
        wanted = self.headers.get("Range")
        if status != 200 or wanted is None or self.hub.ignores_ranges:
            return status, data
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        return (206, data[start:]) if start < len(data) else (416, b"")

    def _find(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        if path == "/api/models":
            return 200, json.dumps(self.hub.listed(query)).encode()
        if path.startswith("/api/models/"):
            info = self.hub.described(path.removeprefix("/api/models/").partition("/revision/")[0])
            return (200, json.dumps(info).encode()) if info is not None else (404, b"")
        name = self.hub.name_of(path)
        return (200, self.hub.files[name]) if name in self.hub.files else (404, b"")


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Run the server; ``hub.url`` is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
