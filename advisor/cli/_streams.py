"""What a command reads from and prints to: a locale of few characters, a pipe that nobody reads, nothing at all."""

import codecs
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: What stands for a character that a locale does not know, one for one, so that tables stay in line.
_PLAIN = dict(zip("–—−…•·×≈±°³◆─│µ≤≥→’“”✓✗✅❌▁▂▃▄▅▆▇█", '---.*-x~~o3^-|u<>>\'""+x+x_.,-=+*#', strict=True))
_MODES = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


class ReaderGoneError(Exception):
    """Nobody reads what is printed any more: ``head`` and the like had enough, which is no error."""


@contextmanager
def told_apart_from_failures() -> Iterator[None]:
    """A pipe that nobody reads as an error of its own, which click does not take for a failure of the command.

    Raises:
        ReaderGoneError: if what we print is not read any more.
        OSError: if it was another connection that was closed; click would end without a word.
    """
    try:
        yield
    except BrokenPipeError as error:
        if any(map(_is_unread, (sys.stdout, sys.stderr))):
            raise ReaderGoneError from error
        raise OSError(f"a connection was closed ({error.strerror})") from error


def _is_unread(stream: TextIO) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return True
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # not a file at all
        return False
    return bool(poll.poll(0))  # an error or a hang-up: nothing else was asked about


def prepare() -> None:
    """Have every stream, and print what the locale can.

    A stream that was closed (``>&-``, a program without a console) is put in place as one that holds nothing and
    keeps nothing, lest a file opened next be taken for it. Under a locale that knows few characters, a dash or a bar
    is printed plainly instead of ending the command.
    """
    for name, mode in _MODES:
        if getattr(sys, name) is None:
            # the lowest descriptor that is free, so that of the stream
            stream = open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8")  # noqa: SIM115, PTH123 - stays open
            setattr(sys, name, stream)
    codecs.register_error("advisor.plainly", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="advisor.plainly")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """The plain characters for those that cannot be printed; ``?`` where there is none."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(char, "?") for char in error.object[error.start : error.end]), error.end


@contextmanager
def printing() -> Iterator[None]:
    """Print a result to its end, or as far as somebody reads it: what was found, and the exit code, stand.

    Raises:
        OSError: if it cannot be written, as to a full disk.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        drop_what_is_left_to_print()


def drop_what_is_left_to_print() -> None:
    """Keep Python from complaining at shutdown about output that nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
