"""A folder for large temporary files that does not outlive its owner, however the owner ends.

Each running process has its own folder, named after its process id and start time. Folders whose owner
is gone, killed or not, are swept whenever a new one is made; an engine's worker removes its parent's
folder at once (see ``engines.llamacpp.Worker.adopt``).
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from advisor.errors import AdvisorError

_NAME = re.compile(r"^(\d+)-(\d+)-(\d+)$")
_START_TOLERANCE_S = 2.0
_made_count = 0


def _started_s(pid: int) -> float | None:
    """When a process started, in seconds since the epoch; None if there is no such process."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return float("nan")  # it runs, but is not ours to look at


def _is_stale(name: str) -> bool:
    match = _NAME.match(name)
    if match is None:
        return False
    started_s = _started_s(int(match[1]))
    return started_s is None or abs(started_s - int(match[2])) > _START_TOLERANCE_S


def sweep(root: Path) -> int:
    """Remove the folders of owners that are gone; returns how many."""
    removed = 0
    with contextlib.suppress(OSError):
        for folder in root.iterdir():
            if _is_stale(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """A new folder below ``root`` for as long as the context lasts; stale neighbours are swept first.

    Raises:
        AdvisorError: if the folder cannot be made.
    """
    global _made_count  # noqa: PLW0603 - numbers the folders of this process
    sweep(root)
    _made_count += 1
    folder = root / f"{os.getpid()}-{int(_started_s(os.getpid()) or 0)}-{_made_count}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise AdvisorError(
            f"cannot make {folder} for temporary files: {error.strerror or error}; set ADVISOR_HOME to a writable place"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
