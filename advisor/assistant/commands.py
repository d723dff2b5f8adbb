"""Run one of the advisor's own commands and read the document it prints.

Each request runs in a child process: it can be cancelled at any time, a model that is too large ends it and
not the server, and nothing that a library prints can get between the protocol's messages. The arguments are
the command line's, joined to their options, so that no value is taken for an option.
"""

import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc

from advisor.errors import AdvisorError
from advisor.export.text import inert

_MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
_MAX_LINES_BYTES = 64 * 1024
_STOP_S = 10.0
_BEAT_S = 1.0
_MAX_VALUE_CHARS = 200
EXIT_NO = 3
Beat = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command said: its document, or its one line of error; ``no`` is a well-founded no."""

    document: Mapping[str, Any] | None
    message: str
    no: bool = False


def arguments(command: str, values: Sequence[str], options: Mapping[str, str], flags: Sequence[str] = ()) -> list[str]:
    """A command line: empty options are left out, and values stand after ``--``.

    Raises:
        AdvisorError: for a value too long to be a name or a number.
    """
    for value in (*values, *options.values()):
        if len(value) > _MAX_VALUE_CHARS:
            raise AdvisorError(f"{inert(value, max_chars=40)!r}... is too long; give a name or a number")
    given = [f"--{name}={value.strip()}" for name, value in options.items() if value.strip()]
    return [command, "--json", *(f"--{flag}" for flag in flags), *given, "--", *values]


async def run_command(args: Sequence[str], *, time_limit_s: float, beat: Beat | None = None) -> Outcome:
    """Run ``advisor ARGS`` and read its document.

    Args:
        args: as made by `arguments`.
        time_limit_s: it is stopped after this long.
        beat: called about once a second with the seconds that have passed.

    Raises:
        AdvisorError: if it takes too long, or prints what is no document.
    """
    command = [sys.executable, "-m", "advisor", *args]
    async with await anyio.open_process(command, stdin=-3) as process:
        try:
            with anyio.fail_after(time_limit_s):
                out, error = await _collected(process, beat)
                code = await process.wait()
        except TimeoutError:
            raise AdvisorError(f"advisor {args[0]} took longer than {time_limit_s:g} s and was stopped") from None
        finally:
            if process.returncode is None:
                with anyio.CancelScope(shield=True):
                    await _stop(process)
    return _outcome(args[0], code, out, error)


def heed_interrupts() -> None:
    """Make the commands this process starts heed an interrupt, even where it was itself started to ignore them.

    What a parent ignores, its children ignore: a client that runs in the background would leave `run_command` no
    way to stop a command but to kill it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


async def _collected(process: anyio.abc.Process, beat: Beat | None) -> tuple[bytes, bytes]:
    out, error = bytearray(), bytearray()

    async def read() -> None:
        async with anyio.create_task_group() as streams:
            streams.start_soon(_drain, process.stdout, out, _MAX_DOCUMENT_BYTES)
            streams.start_soon(_drain, process.stderr, error, _MAX_LINES_BYTES)

    await (read() if beat is None else beating(read, beat, since_s=anyio.current_time()))
    return bytes(out), bytes(error)


async def _drain(stream: anyio.abc.ByteReceiveStream | None, into: bytearray, max_bytes: int) -> None:
    """Read a stream to its end, keeping its last ``max_bytes``."""
    if stream is None:
        return
    async for chunk in stream:
        into += chunk
        del into[:-max_bytes]


async def beating(work: Callable[[], Awaitable[object]], beat: Beat, *, since_s: float) -> None:
    """Do some work, and until it is done call ``beat`` about once a second with the seconds since a moment."""

    async def beats() -> None:
        while True:
            await beat(anyio.current_time() - since_s)
            await anyio.sleep(_BEAT_S)

    async with anyio.create_task_group() as group:
        group.start_soon(beats)
        await work()
        group.cancel_scope.cancel()


async def _stop(process: anyio.abc.Process) -> None:
    """Interrupt a command as Ctrl-C does, so that it cleans up; kill it if it does not end."""
    if sys.platform == "win32":
        process.terminate()
    else:
        process.send_signal(signal.SIGINT)
    with anyio.move_on_after(_STOP_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _outcome(command: str, code: int, out: bytes, error: bytes) -> Outcome:
    lines = error.decode(errors="replace").strip().splitlines()
    message = inert(lines[-1].removeprefix("advisor: "), max_chars=500) if lines else ""
    if not out.strip():
        return Outcome(
            document=None, message=message or f"advisor {command} ended with code {code}", no=code == EXIT_NO
        )
    try:
        document = json.loads(out)
    except ValueError:
        raise AdvisorError(f"advisor {command} printed no document; run it in a terminal to see why") from None
    return Outcome(document=document, message=message, no=code == EXIT_NO)
