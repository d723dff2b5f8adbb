"""Run a vendor's command-line tool without trusting it: no shell, a time limit, a bound on its output."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

from probes.errors import ProbeError, StuckError

LIMIT_S = 5.0
_MAX_OUTPUT_BYTES = 4 << 20
_MAX_ERROR_LENGTH = 160
_TRACEBACK = "Traceback (most recent call last)"

Result = TypeVar("Result")


class ToolError(ProbeError):
    """A tool is missing, hangs, fails or prints what cannot be read."""


class ToolMissingError(ToolError):
    """The tool is not installed."""


def run_tool(argv: Sequence[str], *, limit_s: float = LIMIT_S, fix: str | None = None) -> str:
    """The standard output of a tool, as text.

    Args:
        argv: the program, looked up on the path, and its arguments.
        limit_s: it is killed, with its children, after this long.
        fix: the command that installs or mends the tool; travels with the errors.

    Raises:
        ToolMissingError: if the program is not installed.
        ToolError: if it hangs, fails, or prints more than 4 MiB.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise ToolMissingError(f"{argv[0]} is not installed", fix)
    try:
        process = subprocess.Popen(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=os.name == "posix",
        )
    except OSError as error:
        raise ToolError(f"{argv[0]} cannot be run ({error.strerror or error})", fix) from None
    outputs, errors = _Drain(process.stdout), _Drain(process.stderr)
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise ToolError(f"{argv[0]} did not answer within {limit_s:g} s", fix) from None
    except BaseException:
        _kill(process)
        raise
    output = outputs.finish()
    if process.returncode != 0:
        raise ToolError(
            f"{Path(argv[0]).name} failed with code {process.returncode}{_said(errors.finish() or output)}", fix
        )
    if outputs.overflowed:
        raise ToolError(f"{argv[0]} printed more than {_MAX_OUTPUT_BYTES >> 20} MiB", fix)
    return output.decode("utf-8", errors="replace")


class _Drain:
    """Reads a pipe to its end in the background, keeping a bounded part."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self._kept = bytearray()
        self.overflowed = False
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[bytes] | None) -> None:
        if pipe is None:
            return
        with pipe:
            while chunk := pipe.read(1 << 16):
                room = _MAX_OUTPUT_BYTES - len(self._kept)
                self.overflowed |= len(chunk) > room
                self._kept += chunk[:room]

    def finish(self) -> bytes:
        self._thread.join(1.0)
        return bytes(self._kept)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)  # its whole session: a wrapper script leaves the hanging child behind
    else:
        process.kill()
    process.wait()


def _said(output: bytes) -> str:
    """What a tool said went wrong: its first line, or the last of a Python traceback, which is the error."""
    lines = [line.strip() for line in output.decode("utf-8", errors="replace").splitlines() if line.strip()]
    if not lines:
        return ""
    told = lines[-1] if any(line.startswith(_TRACEBACK) for line in lines) else lines[0]
    return f": {told[:_MAX_ERROR_LENGTH]}"


def within(limit_s: float, call: Callable[[], Result], what: str) -> Result:
    """The result of a driver call that may hang.

    The call runs in a background thread, which is abandoned if it does not return: a driver stuck
    in the kernel cannot be interrupted.

    Raises:
        StuckError: if the call takes longer than ``limit_s``.
        Exception: whatever the call raised.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    if not results:
        raise StuckError(f"{what} did not answer within {limit_s:g} s; the driver may be stuck, reboot and scan again")
    return results[0]
