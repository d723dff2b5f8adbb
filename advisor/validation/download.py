"""Fetch files from the Hub into its own cache: resumed after a break, checked, and never beyond the disk.

The Hub's client no longer resumes what an earlier process began, so bytes are fetched here, into a partial file
beside their final place; the client is asked for addresses and keys, and to register the finished file. A partial
file that nobody came back for in a week is removed.
"""

import errno
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from advisor.validation.hub_files import DownloadError, RemoteFile, RemoteWeights, endpoint, lookup_problem
from catalog.units import GIB

PARTIAL_SUFFIX = ".advisor-partial"
_CHUNK_BYTES = 1 << 20
_SPARE_BYTES = 512 * 1024**2  # of the disk stays free
_SILENCE_S = 30.0
_FRUITLESS_TRIES = 5
_STALE_S = 7 * 24 * 3600.0
_SHOWN_CHARACTERS = 160
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}

#: Told the bytes that are here, and those of all files.
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How to fetch: where to, and how to wait between tries."""

    cache_root: Path
    on_bytes: OnBytes = lambda _, __: None
    sleep: Callable[[float], None] = time.sleep


def hub_cache() -> Path:
    """Where the Hub's client keeps files."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def fetch(weights: RemoteWeights, transfer: Transfer) -> str:
    """Fetch all files of a model that are not here yet; returns the path of the first.

    Raises:
        DownloadError: if the disk is too small, the connection fails for good, or a checksum is wrong.
    """
    folder = _blobs_folder(weights.repo, transfer.cache_root)
    sweep_partials(transfer.cache_root)
    _require_room(weights, folder)
    done_bytes, paths = 0, []
    for file in weights.files:
        before = done_bytes
        _fetch_blob(weights, file, folder / file.sha256, transfer, before)
        paths.append(_register(weights, file, transfer.cache_root))
        done_bytes += file.size_bytes
    return paths[0]


def _blobs_folder(repo: str, cache_root: Path) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    folder: Path = cache_root / repo_folder_name(repo_id=repo, repo_type="model") / "blobs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{folder} cannot be made ({error.strerror}); set HF_HOME to a folder of yours") from error
    return folder


def sweep_partials(cache_root: Path, now_s: float | None = None) -> int:
    """Remove partial files that were left alone for a week; returns how many."""
    limit_s = (time.time() if now_s is None else now_s) - _STALE_S
    removed = 0
    for partial in cache_root.glob(f"models--*/blobs/*{PARTIAL_SUFFIX}"):
        try:
            if partial.stat().st_mtime < limit_s:
                partial.unlink()
                removed += 1
        except OSError:  # another process was quicker
            continue
    return removed


def _partial(blob: Path) -> Path:
    return blob.with_name(blob.name + PARTIAL_SUFFIX)


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def missing_bytes(weights: RemoteWeights, folder: Path) -> int:
    """Bytes that are still to come, finished and partial files taken off."""
    return sum(
        max(0, file.size_bytes - _size_bytes(_partial(folder / file.sha256)))
        for file in weights.files
        if not (folder / file.sha256).exists()
    )


def _require_room(weights: RemoteWeights, folder: Path) -> None:
    needed, free = missing_bytes(weights, folder), shutil.disk_usage(folder).free
    if needed and needed + _SPARE_BYTES > free:
        raise DownloadError(
            f"{weights.repo} needs {needed / GIB:.1f} GiB of disk and {free / GIB:.1f} GiB are free in"
            f" {folder.parents[1]}; free some, or set HF_HOME to a larger disk"
        )


def _fetch_blob(weights: RemoteWeights, file: RemoteFile, blob: Path, transfer: Transfer, before_bytes: int) -> None:
    """One file, however often the connection breaks, as long as each try brings something."""
    if blob.exists():
        return
    partial, fruitless = _partial(blob), 0
    while _size_bytes(partial) < file.size_bytes:
        had_bytes = _size_bytes(partial)
        try:
            with _writing(partial):
                _receive(
                    weights, file, partial, lambda size: transfer.on_bytes(before_bytes + size, weights.size_bytes)
                )
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            gained = _size_bytes(partial) > had_bytes
            fruitless = 0 if gained else fruitless + 1
            _give_up_if_final(weights, file, partial, error, fruitless)
            transfer.sleep(min(30.0, 2.0**fruitless))
    _verify(weights, file, partial)
    partial.replace(blob)


@contextmanager
def _writing(partial: Path) -> Iterator[None]:
    """A disk that fills up is no broken connection: give the space back and say so."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        partial.unlink(missing_ok=True)
        raise DownloadError(
            f"the disk is full ({partial.parents[2]}); free some space, or set HF_HOME to a larger disk"
        ) from error


def _give_up_if_final(
    weights: RemoteWeights, file: RemoteFile, partial: Path, error: Exception, fruitless: int
) -> None:
    status = None
    if isinstance(error, urllib.error.HTTPError):
        status = error.code
        error.close()
    if status in (401, 403):
        raise DownloadError(
            f"{weights.repo} refuses the key ({status}): accept its terms on its page and set HF_TOKEN"
        ) from None
    if status == 404:
        raise DownloadError(f"{weights.repo} no longer holds {file.name} (404); run advisor catalog update") from None
    if fruitless >= _FRUITLESS_TRIES:
        said = " ".join(str(getattr(error, "reason", error)).split())[:_SHOWN_CHARACTERS] or type(error).__name__
        raise DownloadError(
            f"the download of {file.name} broke off at {_size_bytes(partial) / GIB:.2f} of"
            f" {file.size_bytes / GIB:.2f} GiB ({said}); the same command goes on from there"
        ) from None


def _receive(weights: RemoteWeights, file: RemoteFile, partial: Path, on_bytes: Callable[[int], None]) -> None:
    """Append what is missing; a server that cannot begin in the middle starts over."""
    start = _size_bytes(partial)
    with _opened(weights, file, start) as response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        size = start if resumed else 0
        with partial.open("ab" if resumed else "wb") as out:
            while chunk := response.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > file.size_bytes:
                    raise DownloadError(f"{weights.repo}/{file.name} is longer than the Hub states; not kept")
                out.write(chunk)
                on_bytes(size)
    if size < file.size_bytes:
        raise http.client.IncompleteRead(b"", file.size_bytes - size)


def _opened(weights: RemoteWeights, file: RemoteFile, start: int) -> Any:
    """The answer to a request for the file from byte ``start`` on.

    The key goes to the Hub's own address only, never to the storage it redirects to.
    """
    url, headers = _address(weights, file)
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http or https: `_address` checks it
    opener = urllib.request.build_opener(_KeylessRedirect)
    try:
        return opener.open(request, timeout=_SILENCE_S)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        del headers["Range"]
        return opener.open(urllib.request.Request(url, headers=headers), timeout=_SILENCE_S)  # noqa: S310 - as above


def _address(weights: RemoteWeights, file: RemoteFile) -> tuple[str, dict[str, str]]:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(weights.repo, file.name, revision=weights.commit, endpoint=endpoint())
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"HF_ENDPOINT is no http or https address: {endpoint()[:80]}")
    return url, {key: value for key, value in build_hf_headers().items() if isinstance(value, str)}


class _KeylessRedirect(urllib.request.HTTPRedirectHandler):
    """Follows a redirect, leaving the key behind when it leads to another host."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            new.remove_header("Authorization")
        return new


def _verify(weights: RemoteWeights, file: RemoteFile, partial: Path) -> None:
    with partial.open("rb") as stored:
        found = hashlib.file_digest(stored, "sha256").hexdigest()
    if found != file.sha256:
        partial.unlink(missing_ok=True)
        raise DownloadError(
            f"{weights.repo}/{file.name} arrived damaged (checksum {found[:12]}…, not {file.sha256[:12]}…)"
            " and was removed; try again"
        )


def _register(weights: RemoteWeights, file: RemoteFile, cache_root: Path) -> str:
    """Have the Hub's client enter the finished file in its cache, where other programs find it, too."""
    from huggingface_hub import hf_hub_download

    try:
        return str(
            hf_hub_download(weights.repo, file.name, revision=weights.commit, cache_dir=cache_root, endpoint=endpoint())
        )
    except Exception as error:  # the client raises its transport's own types too
        raise DownloadError(lookup_problem(weights.repo, error)) from error
