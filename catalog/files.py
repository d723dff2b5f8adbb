"""Opening files that users name: regular ones, never what would keep a program waiting."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

#: Names of descriptors that are open already, as a shell's ``<(command)`` gives them.
_DESCRIPTOR_FOLDERS = ("/dev/fd/", "/proc/self/fd/")
_STDIN = "/dev/stdin"


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading its bytes.

    A folder, a named pipe, a socket or a device is refused before it is opened: opening a pipe waits for a writer,
    and a device may never end. A pipe that the shell has opened already (``<(command)``, ``/dev/stdin``) is read.

    Raises:
        OSError: if there is no such file, it may not be read, or it is none; ``strerror`` says which.
    """
    if not os.fspath(path):  # which would be the folder we are in
        raise OSError(errno.EINVAL, "no file is named", "")
    problem = _not_a_file(Path(path).stat().st_mode, os.fspath(path))
    if problem is not None:
        raise OSError(errno.EINVAL, problem, os.fspath(path))
    return Path(path).open("rb")


def read_file(path: str | os.PathLike[str], limit_bytes: int) -> bytes:
    """The first bytes of a regular file: one more than the limit where it is longer.

    Raises:
        OSError: as `open_file`.
    """
    with open_file(path) as file:
        return file.read(limit_bytes + 1)


def _not_a_file(mode: int, name: str) -> str | None:
    """What stands there instead of a regular file, or None."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "a folder, not a file"
    if stat.S_ISFIFO(mode):
        is_open = name == _STDIN or name.startswith(_DESCRIPTOR_FOLDERS)
        return None if is_open else "a named pipe, not a file"
    return "a socket, not a file" if stat.S_ISSOCK(mode) else "a device, not a file"
