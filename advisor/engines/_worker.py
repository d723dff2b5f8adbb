"""The child process that runs llama.cpp: one JSON request per line in, one JSON reply per line out.

It exists so that an out-of-memory kill or a crash inside the engine is a record in the parent, not the
parent's end. It ends when its input closes, which is also what happens when the parent is killed.
"""

import contextlib
import json
import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from advisor.engines.base import LoadOptions, ModelRefusedError
from advisor.errors import AdvisorError

MAX_LINE_BYTES = 8 * 1024**2
Reply = dict[str, Any]


def process_memory_bytes() -> dict[str, int]:
    """Resident memory of this process: its peak, now, and what of it is its own rather than a file's."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - hot path
            rows = dict(line.split(":", 1) for line in file if ":" in line)
        kib = {key: int(rows[key].split()[0]) for key in ("VmHWM", "VmRSS", "RssAnon") if key in rows}
        return {
            "process.peak": kib.get("VmHWM", 0) * 1024,
            "process.resident": kib.get("VmRSS", 0) * 1024,
            "process.anonymous": kib.get("RssAnon", 0) * 1024,
        }
    except OSError:
        import psutil

        info = psutil.Process().memory_info()
        return {"process.peak": getattr(info, "peak_wset", info.rss), "process.resident": info.rss}


class Service:
    """Holds the open models and answers requests."""

    def __init__(self) -> None:
        self._lib: Any = None
        self._log: Any = None
        self._models: dict[int, Any] = {}
        self._next_handle = 1
        self._adopted: str | None = None

    def answer(self, request: Mapping[str, Any]) -> Reply:
        """Run one request; the reply's ``ok`` says whether it worked."""
        operations: dict[str, Callable[..., Reply]] = {
            "info": self.info,
            "open": self.open,
            "close": self.close,
            "reach": self.reach,
            "seek": self.seek,
            "set_threads": self.set_threads,
            "adopt": self.adopt,
            "prefill": self.prefill,
            "decode": self.decode,
            "generate": self.generate,
            "time_text": self.time_text,
            "score": self.score,
            "memory": self.memory,
            "limit": self.limit,
        }
        arguments = dict(request)
        name = arguments.pop("op", None)
        if name not in operations:
            raise ModelRefusedError(f"unknown request {name!r}")
        return operations[name](**arguments)

    def _engine(self) -> Any:
        if self._lib is None:
            from advisor.engines import _native

            self._lib = _native.import_engine()
            self._log = _native.EngineLog(self._lib)
            self._lib.llama_backend_init()
        return self._lib

    def info(self) -> Reply:
        """Build and devices."""
        from advisor.engines import _build_info

        lib = self._engine()
        return {"build": _build_info.build_info(lib), "devices": _build_info.devices()}

    def adopt(self, folder: str | None) -> Reply:
        """Remove ``folder`` should the parent vanish; None lets go of it."""
        self._adopted = folder
        return {}

    def orphaned(self) -> None:
        """Clean up after a parent that is gone."""
        if self._adopted is not None:
            shutil.rmtree(self._adopted, ignore_errors=True)

    def limit(self, data_bytes: int) -> Reply:
        """Make allocations beyond ``data_bytes`` of private memory fail, where the system can."""
        try:
            import resource

            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, hard))
        except (ImportError, ValueError, OSError):
            return {"limited": False}
        return {"limited": True}

    def open(self, path: str, options: Mapping[str, Any]) -> Reply:
        """Load a model; the handle names it in later requests."""
        from advisor.engines._native import NativeModel

        lib = self._engine()
        chosen, before = LoadOptions(**options), process_memory_bytes()
        model = NativeModel(lib, self._log, path, chosen)
        if not chosen.dry_run:
            model.warm_up()
        model.memory_bytes["process.before"] = before["process.resident"]
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._models[handle] = model
        return {"handle": handle, **model.describe()}

    def close(self, handle: int) -> Reply:
        """Free a model."""
        self._models.pop(handle).close()
        return {}

    def reach(self, handle: int, depth_tokens: int) -> Reply:
        """How much of a depth can be had at the price of a short one."""
        return {"depth_tokens": self._models[handle].depths.reach(depth_tokens)}

    def seek(self, handle: int, depth_tokens: int, streams_count: int) -> Reply:
        """Leave exactly ``depth_tokens`` in the context; not part of what is timed."""
        self._models[handle].depths.seek(depth_tokens, streams_count)
        return {}

    def set_threads(self, handle: int, threads_count: int) -> Reply:
        """Use another number of threads from now on."""
        self._models[handle].set_threads(threads_count)
        return {}

    def prefill(self, handle: int, tokens_count: int) -> Reply:
        """Time a synthetic prompt behind what the context holds."""
        reply: Reply = self._models[handle].prefill(tokens_count)
        return reply

    def decode(self, handle: int, tokens_count: int, streams_count: int, limit_s: float | None = None) -> Reply:
        """Time synthetic decoding behind what the context holds."""
        reply: Reply = self._models[handle].decode(tokens_count, streams_count, limit_s)
        return reply

    def generate(self, handle: int, prompt: str | list[int], max_tokens: int, chat: bool) -> Reply:
        """Answer a prompt."""
        from advisor.engines import _text

        return _text.generate(self._models[handle], prompt, max_tokens, chat)

    def time_text(self, handle: int, text: str, tokens_count: int) -> Reply:
        """Time the tokenizer both ways."""
        from advisor.engines import _text

        return _text.time_text(self._models[handle], text, tokens_count)

    def score(self, handle: int, text: str, budget_s: float) -> Reply:
        """Log losses of a text's tokens."""
        from advisor.engines import _score

        return _score.score(self._models[handle], text, budget_s)

    def memory(self, handle: int) -> Reply:
        """Buffers of one model and the process's peak."""
        return {"memory_bytes": {**self._models[handle].memory_bytes, **process_memory_bytes()}}


def _reply_to(service: Service, line: bytes) -> Reply:
    try:
        return {"ok": True, **service.answer(json.loads(line))}
    except AdvisorError as error:
        return {"ok": False, "kind": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"ok": False, "kind": "OutOfMemoryError", "message": "the worker ran out of memory"}
    except Exception as error:  # noqa: BLE001 - the process boundary: everything becomes a reply
        return {"ok": False, "kind": "EngineError", "message": f"{type(error).__name__}: {error}"}


def _read_requests(source: BinaryIO, requests: "queue.SimpleQueue[bytes]", orphaned: Callable[[], None]) -> None:
    """Queue request lines; end the process at once when the parent is gone, even in mid-computation."""
    while True:
        line = source.readline(MAX_LINE_BYTES)
        if not line:
            orphaned()
            os._exit(0)
        requests.put(line)


def _prefer_as_victim() -> None:
    """Ask the kernel to end this process first, not the user's, should memory run out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")


def main() -> None:
    """Serve requests until the input closes."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the engine may print: keep that off the channel
    _prefer_as_victim()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    service = Service()
    reader = threading.Thread(target=_read_requests, args=(sys.stdin.buffer, requests, service.orphaned), daemon=True)
    reader.start()
    while True:
        reply = _reply_to(service, requests.get())
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()
