"""History to share: the documents of a machine without what tells who owns it.

Kept: what was measured, on which kind of hardware and software. Left out: file paths, host, user and
address names wherever they occur, answers of models, free text, and hardware serial numbers. Model
names stay, since without them the figures mean nothing: rename private models before sharing. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from advisor.errors import AdvisorError

SCHEMA_VERSION = 1
KIND = "bundle"
REMOVED = "[removed]"
MAX_DOCUMENTS_COUNT = 100_000

#: Fields that hold a person's own text or place, whatever is in them.
_PRIVATE_KEYS = frozenset({"answer", "local_path", "url", "endpoint"})
#: Those of them that are text in every document.
_REQUIRED_KEYS = frozenset({"command", "text_name"})
_PRIVATE_PROPERTY = re.compile(r"serial|uuid|guid|\bmac\b|mac_address|hostname|asset", re.IGNORECASE)
_PRIVATE_TEXT = re.compile(
    r"[A-Za-z]:\\[^\s\"']*"  # Windows path
    r"|\\\\[^\s\"']+"  # network share
    r"|(?<![\w.:/-])~?/[^\s\"':;,)]+"  # POSIX path
    r"|\b[a-z][a-z0-9+.-]*://[^\s\"']+"  # URL
    r"|[\w.+-]+@[\w-]+\.[\w.-]+"  # e-mail address
    r"|\b(?:\d{1,3}\.){3}\d{1,3}\b(?!\.)"  # IPv4
    r"|\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b"  # MAC
)
_SHORTEST_NAME = 3


class BundleError(AdvisorError):
    """A bundle cannot be read; the message says why."""


def scrub_text(text: str, names: Sequence[str] = ()) -> str:
    """Text without paths, addresses and the given names."""
    cleaned = _PRIVATE_TEXT.sub(REMOVED, text)
    for name in names:
        if len(name) >= _SHORTEST_NAME:
            cleaned = re.sub(
                rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", REMOVED, cleaned, flags=re.IGNORECASE
            )
    return cleaned


def scrub(value: Any, names: Sequence[str] = ()) -> Any:
    """A JSON value without personal data; keys that hold it become None or are dropped from mappings of text."""
    if isinstance(value, str):
        return scrub_text(value, names)
    if isinstance(value, list):
        return [scrub(item, names) for item in value]
    if isinstance(value, dict):
        return {
            key: _scrubbed_field(key, item, names) for key, item in value.items() if not _is_private_property(key, item)
        }
    return value


def _is_private_property(key: str, value: Any) -> bool:
    return isinstance(value, str) and bool(_PRIVATE_PROPERTY.search(key))


def _scrubbed_field(key: str, value: Any, names: Sequence[str]) -> Any:
    if key in _REQUIRED_KEYS and isinstance(value, str):
        return REMOVED
    if key in _PRIVATE_KEYS and isinstance(value, str):
        return None
    return scrub(value, names)


def make_bundle(documents: Sequence[Mapping[str, Any]], *, created_at: str, names: Sequence[str]) -> dict[str, Any]:
    """A bundle of documents given as plain JSON values.

    Args:
        documents: the documents.
        created_at: when it is made.
        names: this user's and host's names, removed wherever they stand.
    """
    cleaned = [scrub(dict(document), names) for document in documents]
    return {"kind": KIND, "schema_version": SCHEMA_VERSION, "created_at": created_at, "documents": cleaned}


def documents_of(bundle: Any, where: str) -> list[dict[str, Any]]:
    """The documents of a parsed bundle, not yet checked themselves.

    Raises:
        BundleError: if it is no bundle, is from a newer version, or holds too many.
    """
    if not isinstance(bundle, dict) or bundle.get("kind") != KIND:
        raise BundleError(f"{where}: not a bundle; make one with: advisor history --export FILE")
    version = bundle.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{where}: bundle version {str(version)[:20]}, this advisor reads {SCHEMA_VERSION}; upgrade it"
        )
    documents = bundle.get("documents")
    if not isinstance(documents, list) or len(documents) > MAX_DOCUMENTS_COUNT:
        raise BundleError(f"{where}: field documents must be a list of at most {MAX_DOCUMENTS_COUNT}")
    return documents
