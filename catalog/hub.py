"""The Hugging Face Hub as a source of new models, through ``huggingface_hub``.

The client's own settings apply: ``HF_ENDPOINT``, tokens, proxies, offline mode. Answers are untrusted:
text is bounded, and anything malformed ends in one `HubError`.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError

_REACH_TIMEOUT_S = 10.0
_TEXT_FILE_BYTES_MAX = 2 * 1024**2
_NAME_LENGTH_MAX = 200
_EXPAND = ("createdAt", "downloads", "tags", "pipeline_tag", "safetensors", "cardData", "siblings")
_PIPELINES = ("text-generation", "image-text-to-text", "feature-extraction", "sentence-similarity")
_TRUE = {"1", "true", "yes", "on"}


class HubError(CatalogError):
    """The Hub could not be reached, refused, or answered something that is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """One repository as the Hub lists it."""

    repo_id: str
    created_date: str | None = None
    downloads_count: int | None = None
    pipeline: str | None = None
    tags: frozenset[str] = frozenset()
    params_count: int | None = None
    license_id: str | None = None
    base_model_ids: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    file_names: frozenset[str] = field(default_factory=frozenset)


class Hub:
    """A connection to one endpoint.

    Raises:
        HubError: if ``huggingface_hub`` is missing or told to stay offline.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
            raise HubError("HF_HUB_OFFLINE is set: unset it to update the catalog")
        try:
            from huggingface_hub import HfApi
            from huggingface_hub.utils import logging
        except ImportError as error:
            raise HubError('catalog update needs huggingface_hub: pip install "model-fit-advisor[hub]"') from error
        logging.set_verbosity_error()  # its retries are ours to report, in one line
        self.endpoint = endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        self._api = HfApi(endpoint=self.endpoint)

    def reach(self) -> None:
        """Ask once, without the client's half minute of retries, whether anybody answers.

        Raises:
            HubError: if not.
        """
        from huggingface_hub import get_session

        with self._checked("any answer"):
            get_session().get(f"{self.endpoint}/api/models?limit=1", timeout=_REACH_TIMEOUT_S)

    def newest_of(self, owner: str, limit: int) -> list[HubModel]:
        """An owner's language and embedding models, newest first."""
        found = self._list(author=owner, sort="created_at", limit=limit)
        return [model for model in found if model.pipeline in _PIPELINES]

    def trending(self, limit: int) -> list[HubModel]:
        """What is most looked at now."""
        return self._list(pipeline_tag="text-generation", sort="trending_score", limit=limit)

    def quantised(self, repo_id: str, limit: int) -> list[HubModel]:
        """Repositories that declare themselves quantisations of a model, most downloaded first."""
        return self._list(filter=f"base_model:quantized:{repo_id}", sort="downloads", limit=limit)

    def text_file(self, repo_id: str, name: str) -> str | None:
        """A small text file of a repository, or None where it is missing, gated or too large for one.

        Nothing is left in the Hub's own cache.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

        with self._checked(f"{repo_id}/{name}"), tempfile.TemporaryDirectory(prefix="advisor-hub-") as cache:
            try:
                url = hf_hub_url(repo_id, name, endpoint=self.endpoint)
                size = get_hf_file_metadata(url, endpoint=self.endpoint).size
                if size is None or size > _TEXT_FILE_BYTES_MAX:
                    return None
                path = hf_hub_download(repo_id, name, endpoint=self.endpoint, cache_dir=cache)
            except (EntryNotFoundError, GatedRepoError, RepositoryNotFoundError):
                return None
            return Path(path).read_text(encoding="utf-8", errors="replace")

    def _list(self, **query: Any) -> list[HubModel]:
        limit = query["limit"]
        with self._checked("the list of models"):
            listed = self._api.list_models(**query, expand=list(_EXPAND))
            return [_model(info) for _, info in zip(range(limit), listed, strict=False)]

    @contextmanager
    def _checked(self, what: str) -> Iterator[None]:
        """Any failure of client, network or answer, as one line that names the endpoint."""
        try:
            yield
        except CatalogError:
            raise
        except Exception as error:  # the client raises its transport's and its parser's own types too
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise HubError(f"{self.endpoint} did not give {what} ({reason}); the catalog is unchanged") from error


def parse_config(text: str, repo_id: str) -> dict[str, Any]:
    """A ``config.json`` as a mapping.

    Raises:
        CatalogError: if it is none.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{repo_id}/config.json is not JSON: {str(error)[:100]}") from error
    if not isinstance(config, dict):
        raise CatalogError(f"{repo_id}/config.json is not an object")
    return config


def _model(info: Any) -> HubModel:
    card = info.card_data.to_dict() if info.card_data is not None else {}
    safetensors = info.safetensors
    repo_id = _text(info.id)
    if repo_id is None:
        raise ValueError("a model without an id")
    return HubModel(
        repo_id=repo_id,
        created_date=info.created_at.date().isoformat() if info.created_at else None,
        downloads_count=info.downloads if isinstance(info.downloads, int) else None,
        pipeline=_text(info.pipeline_tag),
        tags=frozenset(_texts(info.tags)),
        params_count=int(safetensors.total) if safetensors and safetensors.total else None,
        license_id=_text(card.get("license")),
        base_model_ids=tuple(_texts(card.get("base_model"))),
        languages=tuple(_texts(card.get("language"))),
        file_names=frozenset(_texts(sibling.rfilename for sibling in info.siblings or ())),
    )


def _text(value: object) -> str | None:
    return value[:_NAME_LENGTH_MAX] if isinstance(value, str) and value else None


def _texts(values: object) -> list[str]:
    listed = [values] if isinstance(values, str) else values
    if not isinstance(listed, Iterable):
        return []
    return [text for text in map(_text, listed) if text]
