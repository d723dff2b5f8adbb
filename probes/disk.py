"""Sequential read of a file that is not in memory: what loading a model costs.

The file is written, flushed and read back around the page cache: with direct I/O where the system has
it, else after asking the kernel to forget it.
"""

import mmap
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from probes.base import Bench, Waiver
from probes.errors import ProbeError
from probes.sampling import rate_measurement, sample
from probes.types import Device, Measurement, ScanWarning

_FILE_BYTES = 256 << 20
_SMALLEST_FILE_BYTES = 32 << 20
_CHUNK_BYTES = 4 << 20
_FREE_SPACE_SHARE = 0.1
_WRITE_SHARE_OF_BUDGET = 0.5
DISK = Device(device_id="disk", kind="disk")  # the one that holds the models' folder
_NO_CACHE = 48  # F_NOCACHE in macOS's <fcntl.h>; Python has no name for it


def models_folder() -> Path:
    """Where model files usually live: the first of the customary folders that exists, else home."""
    home = Path.home()
    named = os.environ.get("HF_HOME")
    candidates = [Path(named)] if named else []
    candidates += [home / ".cache" / "huggingface", home / ".cache", home]
    return next((folder for folder in candidates if folder.is_dir() and os.access(folder, os.W_OK)), Path.cwd())


def memory_filesystem(folder: Path, mounts: str) -> bool:
    """Whether a folder lies in memory, by the kernel's list of mounts."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1]
        if (str(folder) + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind in ("tmpfs", "ramfs", "rootfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskReadProbe:
    """Bytes per second of a cold sequential read from where models are kept; its device is `DISK`."""

    probe_id: str = "disk.read"
    dtype: str | None = None
    folder: Path | None = None

    def waiver(self, device: Device) -> Waiver | None:
        """Needs a writable folder on a real disk."""
        if device.kind != "disk":
            return Waiver("reads disks only")
        folder = self.folder or models_folder()
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            mounts = ""
        if memory_filesystem(folder.resolve(), mounts):
            return Waiver(
                f"{folder} lies in memory, not on a disk", "HF_HOME=/path/on/a/disk advisor scan --only disk.read"
            )
        if shutil.disk_usage(folder).free * _FREE_SPACE_SHARE < _SMALLEST_FILE_BYTES:
            return Waiver(f"less than {_SMALLEST_FILE_BYTES * 10 >> 20} MiB free in {folder}")
        return None

    def run(self, device: Device, bench: Bench) -> Measurement:  # noqa: ARG002 - the disk is the computer's
        """Best and median bytes per second.

        Raises:
            ProbeError: if the file cannot be written or read back.
        """
        folder = self.folder or models_folder()
        wanted = min(_FILE_BYTES, int(shutil.disk_usage(folder).free * _FREE_SPACE_SHARE))
        start_s = bench.clock.now()
        try:
            with _cold_file(folder, wanted, bench) as (path, size_bytes):
                spent_s = bench.clock.now() - start_s
                cold: list[bool] = []
                samples = sample(
                    lambda: cold.append(_read_cold(path, size_bytes)),
                    bench,
                    budget_s=bench.budget_s - spent_s,
                    warmups=0,
                )
        except OSError as error:
            raise ProbeError(
                f"{folder}: {error.strerror or type(error).__name__}; set HF_HOME to a writable folder"
            ) from None
        return rate_measurement(
            samples,
            quantity="read",
            unit="bytes_per_s",
            work_bytes=size_bytes,
            shape=(size_bytes,),
            warnings=() if all(cold) else (ScanWarning.SMALL_BUFFER,),
        )


@contextmanager
def _cold_file(folder: Path, wanted_bytes: int, bench: Bench) -> Iterator[tuple[Path, int]]:
    """A flushed temporary file of up to the wanted size, as much as half the time budget can write."""
    block = os.urandom(_CHUNK_BYTES)  # a compressing or deduplicating disk must not shine on zeros
    deadline_s = bench.clock.now() + bench.budget_s * _WRITE_SHARE_OF_BUDGET
    handle, name = tempfile.mkstemp(prefix=".advisor-probe-", dir=folder)
    path = Path(name)
    try:
        size = 0
        with os.fdopen(handle, "wb", buffering=0) as file:
            while size < wanted_bytes and (size < _SMALLEST_FILE_BYTES or bench.clock.now() < deadline_s):
                size += file.write(block)
                if size % (16 * _CHUNK_BYTES) == 0:
                    os.fsync(file.fileno())
            os.fsync(file.fileno())
        yield path, size
    finally:
        with suppress(OSError):
            path.unlink()


def _read_cold(path: Path, size_bytes: int) -> bool:
    """Read a file past the page cache; True if the cache was surely bypassed."""
    descriptor, direct = _open_uncached(path)
    seen = 0
    try:
        with mmap.mmap(-1, _CHUNK_BYTES) as buffer, os.fdopen(descriptor, "rb", buffering=0) as file:
            while count := file.readinto(buffer):  # pages are aligned as direct I/O wants
                seen += count
    finally:
        if seen != size_bytes:
            raise ProbeError(f"{path.parent}: a file read back has {seen} bytes, not {size_bytes}; check the disk")
    return direct


def _open_uncached(path: Path) -> tuple[int, bool]:
    system = platform.system()
    if hasattr(os, "O_DIRECT"):
        with suppress(OSError):  # some network and overlay file systems refuse it
            return os.open(path, os.O_RDONLY | os.O_DIRECT), True
    if system == "Windows":
        return _open_windows(path), True
    descriptor = os.open(path, os.O_RDONLY)
    if system == "Darwin":
        import fcntl

        fcntl.fcntl(descriptor, _NO_CACHE, 1)
        return descriptor, True
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return descriptor, True
    return descriptor, False


def _open_windows(path: Path) -> int:
    """CreateFileW without buffering; Python's own open cannot ask for it."""
    import ctypes
    import msvcrt

    generic_read, share_read, open_existing, no_buffering = 0x80000000, 1, 3, 0x20000000
    create = ctypes.windll.kernel32.CreateFileW  # type: ignore[attr-defined]
    create.restype = ctypes.c_void_p
    handle = create(str(path), generic_read, share_read, None, open_existing, no_buffering, None)
    if handle in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.GetLastError(), "cannot be opened without buffering")  # type: ignore[attr-defined]
    return int(msvcrt.open_osfhandle(handle, os.O_RDONLY | os.O_BINARY))  # type: ignore[attr-defined]
