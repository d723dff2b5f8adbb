"""Fetch models that appeared since the catalog was built, into the user's overlay.

What has been fetched is journalled line by line beside the overlay, so an interrupted run goes on
where it stopped; the overlay itself changes only at the end, in one atomic step.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from catalog.errors import CatalogError
from catalog.facts.lineage import is_conversion
from catalog.hub import Hub, HubError, HubModel, parse_config
from catalog.joining import from_hub
from catalog.load import Catalog
from catalog.overlay import write_overlay
from catalog.records import record_from_model
from catalog.types import ModelSpec

JOURNAL_FILE = "update.jsonl"
_OWNERS_MAX = 60
_NEW_PER_OWNER = 20
_TRENDING = 60
_QUANTISED = 40
_JOURNAL_BYTES_MAX = 64 * 1024**2

Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What an update did."""

    added: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]  # repository, reason
    resumed_count: int
    endpoint: str
    overlay_path: str


def update(
    catalog: Catalog,
    hub: Hub,
    directory: Path,
    *,
    limit: int | None = None,
    owners: Iterable[str] = (),
    report: Report | None = None,
) -> Update:
    """Fetch new models and merge them into the overlay.

    Args:
        catalog: what is known already.
        hub: where to look.
        directory: the overlay's directory.
        limit: at most so many new models.
        owners: only these owners' models; by default those of the catalog's official models.
        report: told the share done and the repository at hand.

    Raises:
        HubError: if the Hub cannot be reached or answers nonsense; the overlay is as it was, and what
            was fetched so far waits in the journal.
        CatalogError: if the overlay cannot be written.
    """
    say = report or _silent
    hub.reach()
    journal = _Journal(directory)
    candidates = _candidates(catalog, hub, tuple(owners), say)[:limit]
    skipped = []
    for number, listed in enumerate(candidates):
        say(0.2 + 0.8 * number / len(candidates), listed.repo_id)
        if listed.repo_id in journal.records:
            continue
        try:
            journal.append(_fetch(hub, listed))
        except HubError:
            raise
        except CatalogError as error:
            skipped.append((listed.repo_id, str(error)))
    wanted = [record for model_id, record in journal.records.items() if model_id not in catalog.models]
    path = write_overlay(directory, wanted)
    journal.delete()
    return Update(
        added=tuple(sorted(str(record["model_id"]) for record in wanted)),
        skipped=tuple(skipped),
        resumed_count=journal.resumed_count,
        endpoint=hub.endpoint,
        overlay_path=str(path),
    )


def _silent(done_frac: float, note: str) -> None:
    del done_frac, note


def _candidates(catalog: Catalog, hub: Hub, owners: tuple[str, ...], report: Report) -> list[HubModel]:
    """New repositories of known owners and new trending ones, copies and conversions left out, newest first."""
    makers = owners or _makers(catalog)
    found: dict[str, HubModel] = {}
    for number, owner in enumerate(makers):
        report(0.2 * number / len(makers), owner)
        for listed in hub.newest_of(owner, _NEW_PER_OWNER):
            found[listed.repo_id] = listed
    if not owners:
        for listed in hub.trending(_TRENDING):
            found.setdefault(listed.repo_id, listed)
    known = {model_id.casefold() for model_id in catalog.models}
    new = [
        listed
        for repo_id, listed in found.items()
        if repo_id.casefold() not in known and not is_conversion(repo_id) and "gguf" not in listed.tags
    ]
    return sorted(new, key=lambda listed: (listed.created_date or "", listed.repo_id), reverse=True)


def _makers(catalog: Catalog) -> tuple[str, ...]:
    """Owners of the catalog's core models, those with most models first."""
    counts: dict[str, int] = {}
    for model in catalog.models.values():
        if model.official and model.tier == "core":
            counts[model.org] = counts.get(model.org, 0) + 1
    return tuple(sorted(counts, key=lambda org: (-counts[org], org))[:_OWNERS_MAX])


def _fetch(hub: Hub, listed: HubModel) -> ModelSpec:
    config = template = None
    if "config.json" in listed.file_names:
        text = hub.text_file(listed.repo_id, "config.json")
        config = None if text is None else parse_config(text, listed.repo_id)
    if "chat_template.jinja" in listed.file_names:
        template = hub.text_file(listed.repo_id, "chat_template.jinja")
    quantised = hub.quantised(listed.repo_id, _QUANTISED)
    today = datetime.now(UTC).date().isoformat()
    return from_hub(listed, config, template, quantised, today)


class _Journal:
    """Records fetched so far, one JSON line each; a torn last line is dropped."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / JOURNAL_FILE
        self.records: dict[str, dict[str, object]] = {}
        try:
            if self._path.stat().st_size > _JOURNAL_BYTES_MAX:
                raise CatalogError(f"{self._path} is too large; delete it and update again")
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            try:
                record = json.loads(line)
                self.records[record["model_id"]] = record
            except (ValueError, KeyError, TypeError):
                self._rewrite()
                break
        self.resumed_count = len(self.records)

    def append(self, model: ModelSpec) -> None:
        record = record_from_model(model)
        self._write([record], "a")
        self.records[model.model_id] = record

    def _rewrite(self) -> None:
        """Drop a torn tail: what is appended next must start on a line of its own."""
        self._write(self.records.values(), "w")

    def _write(self, records: Iterable[Mapping[str, object]], mode: str) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(record, sort_keys=True) + "\n" for record in records)
        except OSError as error:
            raise CatalogError(f"{self._path} cannot be written: {error.strerror}") from error

    def delete(self) -> None:
        self._path.unlink(missing_ok=True)
