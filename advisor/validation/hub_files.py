"""Which files of a Hugging Face repository hold a model at a quantisation.

Looking up costs one request per repository. The client's own settings apply: ``HF_ENDPOINT``, ``HF_TOKEN``,
proxies, offline mode. What the Hub says is untrusted: names are checked before they become paths.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from advisor.errors import AdvisorError
from catalog.types import ModelSpec

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_NOT_WEIGHTS = re.compile(r"(?i)(^|[-_./])(mmproj|imatrix|mtp|draft)")
_DYNAMIC_MIX = re.compile(r"(?i)(^|[-_.])ud[-_]")  # another recipe under the same name
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN_CHARACTERS = 160
_TRUE = {"1", "true", "yes", "on"}
_TIMEOUT_S = 15.0


class DownloadError(AdvisorError):
    """Weights could not be found or fetched; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file of a repository, with the checksum its owner uploaded it under."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWeights:
    """The files that together hold one model at one quantisation, in order of their shards."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def size_bytes(self) -> int:
        """What is to be fetched in all."""
        return sum(file.size_bytes for file in self.files)


def choose_names(names: Iterable[str], quant_id: str) -> tuple[str, ...]:
    """The GGUF files that hold a quantisation: one, or all shards of one; empty if there is none.

    Projectors, drafts and importance matrices are no weights; a publisher's own mix of types ("UD") is taken
    only where the plain one is missing.
    """
    stated = re.compile(rf"(?i)(?<![a-z0-9_]){re.escape(quant_id.removesuffix('_MOE'))}(?:_moe)?(?![a-z0-9_])")
    fitting = [
        name
        for name in names
        if name.lower().endswith(".gguf") and stated.search(name) and not _NOT_WEIGHTS.search(name)
    ]
    sets: dict[str, list[str]] = {}
    for name in sorted(fitting):
        sets.setdefault(_SHARD.sub("", name), []).append(name)
    whole = [group for group in sets.values() if _is_whole(group)]
    whole.sort(key=lambda group: (bool(_DYNAMIC_MIX.search(group[0])), len(group), len(group[0]), group[0]))
    return tuple(whole[0]) if whole else ()


def _is_whole(group: Sequence[str]) -> bool:
    shards = [_SHARD.search(name) for name in group]
    if shards == [None]:
        return True
    return all(shards) and [int(s[1]) for s in shards if s] == list(range(1, int((shards[0] or [0] * 3)[2]) + 1))


def endpoint() -> str:
    """The Hub's address."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def find_weights(model: ModelSpec, quant_id: str) -> RemoteWeights:
    """Look a model's files up in the repositories the catalog knows, first come first served.

    Raises:
        DownloadError: if there is no such file, or the Hub cannot be asked.
    """
    repos = model.repos.get("gguf", ())
    if not repos:
        raise DownloadError(f"the catalog knows no GGUF repository of {model.model_id}; give the path of a .gguf file")
    api = _client()
    problems: list[str] = []
    for repo in repos:
        try:
            info = api.model_info(repo, files_metadata=True, timeout=_TIMEOUT_S)
        except Exception as error:  # the client raises its transport's own types too
            problems.append(lookup_problem(repo, error))
            if getattr(error, "response", None) is None:  # nobody answers: the next repository lies there, too
                raise DownloadError(problems[-1]) from error
            continue
        found = _weights(repo, info, quant_id)
        if found is not None:
            return found
        problems.append(f"{repo} holds no {quant_id}")
    raise DownloadError(f"no real weights for {model.model_id}: {'; '.join(problems[:3])}")


def _client() -> Any:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
        raise DownloadError("HF_HUB_OFFLINE is set; unset it to download, or use --twin")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import logging
    except ImportError as error:
        raise DownloadError('downloading needs huggingface_hub: pip install "model-fit-advisor[hub]"') from error
    logging.set_verbosity_error()
    return HfApi(endpoint=endpoint())


def lookup_problem(repo: str, error: Exception) -> str:
    """Why the Hub did not answer for a repository, in one line and with the way out."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: accept its terms on its page and set HF_TOKEN"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"{repo} does not exist or the key is refused (401): check HF_TOKEN, or log in with: hf auth login"
    if isinstance(error, RepositoryNotFoundError):
        return f"{repo} does not exist (404)"
    if status is not None:
        return f"{urlsplit(endpoint()).netloc} answers with status {status} for {repo}"
    said = " ".join(str(error).split())[:_SHOWN_CHARACTERS] or type(error).__name__
    return f"{urlsplit(endpoint()).netloc} cannot be reached ({said})"


def _weights(repo: str, info: Any, quant_id: str) -> RemoteWeights | None:
    siblings = {str(sibling.rfilename): sibling for sibling in info.siblings or ()}
    names = choose_names(siblings, quant_id)
    if not names:
        return None
    return RemoteWeights(
        repo=repo, commit=_commit(repo, info.sha), files=tuple(_file(repo, siblings[name]) for name in names)
    )


def _commit(repo: str, stated: object) -> str:
    if isinstance(stated, str) and re.fullmatch(r"[0-9a-f]{40}", stated):
        return stated
    raise DownloadError(f"{endpoint()} states no revision of {repo}; try again later")


def _file(repo: str, sibling: Any) -> RemoteFile:
    name, size, large = str(sibling.rfilename), sibling.size, sibling.lfs
    sha256 = getattr(large, "sha256", None) or (large.get("sha256") if isinstance(large, dict) else None)
    if not isinstance(size, int) or size <= 0 or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise DownloadError(f"{endpoint()} states no size and checksum of {repo}/{name[:80]}; download it by hand")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise DownloadError(f"{repo} holds a file with an unsafe name; download it by hand")
    return RemoteFile(name=name, size_bytes=size, sha256=sha256)
