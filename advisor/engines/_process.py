"""The parent's side of the worker: start it, talk to it, keep it within bounds, end it."""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from advisor.engines import base

MAX_REPLY_BYTES = 64 * 1024**2
_POLL_S = 0.2
_GRACE_S = 5.0
_LAST_WORDS_S = 1.0
_KILLED = -9
_STDERR_TAIL_BYTES = 4096
_BOOTSTRAP = "import sys; sys.path.append(sys.argv[1]); from advisor.engines._worker import main; main()"

_ERRORS: Mapping[str, type[base.EngineError]] = {
    kind.__name__: kind
    for kind in (
        base.EngineError,
        base.EngineMissingError,
        base.ModelRefusedError,
        base.OutOfMemoryError,
        base.EngineCrashedError,
        base.EngineTimeoutError,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on a worker. ``None`` leaves a bound out.

    ``memory_bytes`` bounds the memory that is the worker's own (file-backed pages can be dropped and do
    not count); ``available_floor_bytes`` is what must stay free on the machine.
    """

    request_s: float | None = 600.0
    memory_bytes: int | None = None
    available_floor_bytes: int | None = 256 * 1024**2


def _own_memory_bytes(pid: int) -> int | None:
    """Memory of a process that is not backed by files; resident memory where only that is known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return _resident_bytes(pid)


def _resident_bytes(pid: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _available_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


class WorkerProcess:
    """A running worker. Not thread-safe: one request at a time.

    Args:
        limits: what it may take.
        python: the interpreter whose engine it loads, if not this one's.

    Raises:
        base.EngineMissingError: if there is no such interpreter.
    """

    def __init__(self, limits: Limits | None = None, python: str | None = None) -> None:
        self.limits = limits or Limits()
        if python is not None and shutil.which(python) is None:
            raise base.EngineMissingError(f"{python}: no such Python; give the one of the environment with the engine")
        root = str(Path(__file__).resolve().parents[2])
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [python or sys.executable, "-P", "-c", _BOOTSTRAP, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            # out of the reach of Ctrl-C and of signals to our group: it ends when we do, after cleaning up
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            # an assertion in the engine would otherwise start a debugger on its own process
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        reader = threading.Thread(target=_read_replies, args=(self._process.stdout, self._replies), daemon=True)
        reader.start()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the worker still runs."""
        return self._process.poll() is None

    def request(self, op: str, *, timeout_s: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its reply.

        Raises:
            EngineError: the subclass says how it failed; after a crash, a time-out or a memory stop the
                worker is gone.
        """
        self._send(json.dumps({"op": op, **arguments}).encode() + b"\n", op)
        line = self._receive(op, timeout_s or self.limits.request_s)
        reply: dict[str, Any] = json.loads(line)
        if reply.pop("ok"):
            return reply
        raise _ERRORS.get(reply["kind"], base.EngineError)(reply["message"])

    def _send(self, line: bytes, op: str) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise self._ended(op)
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended(op) from error

    def _receive(self, op: str, limit_s: float | None) -> bytes:
        deadline = None if limit_s is None else time.monotonic() + limit_s
        while True:
            with contextlib.suppress(queue.Empty):
                line = self._replies.get(timeout=_POLL_S)
                if line:
                    return line
                raise self._ended(op)
            if deadline is not None and time.monotonic() > deadline:
                self.kill()
                raise base.EngineTimeoutError(
                    f"the engine did not finish {op!r} within {limit_s:.0f} s and was stopped; allow it more time"
                )
            self._check_memory(op)

    def _check_memory(self, op: str) -> None:
        used, limit = _own_memory_bytes(self.pid), self.limits.memory_bytes
        if limit is not None and used is not None and used > limit:
            self.kill()
            raise base.OutOfMemoryError(
                f"stopped during {op!r}: the engine holds {used} bytes, above its limit of {limit}"
            )
        floor = self.limits.available_floor_bytes
        available = None if floor is None else _available_bytes()
        if floor is not None and available is not None and available < floor:
            self.kill()
            raise base.OutOfMemoryError(
                f"stopped during {op!r}: only {available} bytes of memory are left on this machine"
                f" while the engine holds {used or 0}"
            )

    def _ended(self, op: str) -> base.EngineError:
        """Why the worker is gone: killed for memory, crashed with what it last said, or no longer making sense."""
        if not self._wait(_LAST_WORDS_S):
            self.kill()
            return base.EngineCrashedError(f"the engine's worker answered {op!r} with nonsense and was stopped")
        code = self._process.returncode
        if code == _KILLED:
            return base.OutOfMemoryError(f"the engine was killed during {op!r}, most likely for lack of memory")
        tail = self._stderr_tail()
        said = f": {tail}" if tail else ""
        return base.EngineCrashedError(f"the engine ended during {op!r} (exit {code}){said}")

    def _wait(self, limit_s: float) -> bool:
        """Whether the worker ended within the limit."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)
        return self._process.poll() is not None

    def _stderr_tail(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            size = self._stderr.seek(0, 2)
            self._stderr.seek(max(0, size - _STDERR_TAIL_BYTES))
            lines = self._stderr.read().decode("utf-8", "replace").split("\n")
            told = [line.strip() for line in lines if line.strip()]
            asserted = [line for line in told if "ASSERT" in line or "Error" in line or "error" in line]
            return (asserted or told or [""])[-1][:300]
        return ""

    def kill(self) -> None:
        """End the worker now."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let the worker end by closing its input; kill it if it lingers."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if not self._wait(_GRACE_S):
            self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_replies(source: BinaryIO, replies: "queue.SimpleQueue[bytes]") -> None:
    """Queue reply lines; an empty one marks the end. A line beyond the bound ends the conversation."""
    try:
        while (line := source.readline(MAX_REPLY_BYTES)).endswith(b"\n"):
            replies.put(line)
    except (OSError, ValueError):
        pass
    replies.put(b"")


@contextmanager
def removed_if_killed(folder: Path) -> Iterator[None]:
    """Have a process of ours remove ``folder`` at once should this one be killed, however abruptly."""
    with WorkerProcess() as process:
        process.request("adopt", folder=str(folder))
        yield
        process.request("adopt", folder=None)
