"""``advisor history``: what was measured here over time."""

import contextlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.history import History
    from advisor.types import HistoryDocument

_SHOWN_COUNT = 20
_MAX_BUNDLE_BYTES = 256 * 1024 * 1024


@click.command("history")
@click.option("--kind", type=click.Choice(["run", "validation", "calibration"]), help="Only documents of this kind.")
@click.option("--machine", "machine_id", metavar="ID", help="Only this machine (profile id) instead of all.")
@click.option("--subject", metavar="TEXT", help="Only trends whose subject holds this text.")
@click.option("--show", "digest", metavar="DIGEST", help="Print one remembered document as JSON.")
@click.option("--add", "added", multiple=True, metavar="FILE", help="Remember a saved document (repeatable).")
@click.option("--forget", "forgotten", multiple=True, metavar="DIGEST", help="Delete a document (repeatable).")
@click.option("--export", "export_file", metavar="FILE", help="Write everything, without personal data, to share.")
@click.option("--import", "import_file", metavar="FILE", help="Take in a bundle written by --export.")
@_shared.output_option
@_shared.json_option
def command(
    kind: str | None,
    machine_id: str | None,
    subject: str | None,
    digest: str | None,
    added: tuple[str, ...],
    forgotten: tuple[str, ...],
    export_file: str | None,
    import_file: str | None,
    output_path: str | None,
    as_json: bool,
) -> None:
    """Show validations, calibrations and suite runs over time, and the trend of every metric.

    Lasting steps in a trend are marked with their date. A saved history (-o FILE) can be drawn with
    advisor report.
    """
    from advisor.history import open_history
    from reports.console_runs import print_history

    with open_history() as past:
        if digest is not None:
            from advisor import codec

            codec.write_json(codec.dump(past.document(digest)))
            return
        _add(past, added)
        _forget(past, forgotten)
        if import_file is not None:
            _import(past, import_file)
        if export_file is not None:
            _export(past, export_file, kind, machine_id)
        if added or forgotten or import_file or export_file:
            return
        document = _document(past, kind, machine_id, subject)
    show = partial(print_history, document, entries_count=_SHOWN_COUNT)
    _shared.deliver(document, as_json=as_json, output_path=output_path, show=show)


def _document(past: "History", kind: str | None, machine_id: str | None, subject: str | None) -> "HistoryDocument":
    from advisor import __version__
    from advisor.clock import utc_now
    from advisor.regression.changepoints import with_change_points
    from advisor.types import HistoryDocument

    return HistoryDocument(
        entries=past.entries(kind, machine_id),
        trends=tuple(with_change_points(trend) for trend in past.trends(machine_id, subject)),
        created_at=utc_now(),
        tool_version=__version__,
    )


def _add(past: "History", sources: tuple[str, ...]) -> None:
    from advisor import codec

    for source in sources:
        new = past.record(codec.load(source))
        _shared.say(f"remembered {source}" if new else f"{source} was known already")


def _forget(past: "History", digests: tuple[str, ...]) -> None:
    for digest in digests:
        past.forget([past.find(digest)])
        _shared.say(f"forgot {digest}")


def _own_names() -> list[str]:
    """This user's and host's names, which an export must not hold."""
    import getpass
    import socket

    host = socket.gethostname()
    names = {host, host.partition(".")[0], Path.home().name}
    with contextlib.suppress(OSError, KeyError):  # without a known user name there is none to remove
        names.add(getpass.getuser())
    return sorted(names - {""}, key=len, reverse=True)


def _export(past: "History", target: str, kind: str | None, machine_id: str | None) -> None:
    from advisor import codec
    from advisor.bundle import make_bundle
    from advisor.clock import utc_now

    documents = [codec.to_mapping(found) for found in _readable(past, kind, machine_id)]
    bundle = make_bundle(documents, created_at=utc_now(), names=_own_names())
    text = json.dumps(bundle, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if target == "-":
        codec.write_json(text)
        return
    codec.write_atomically(target, text.encode())
    _shared.say(f"wrote {len(documents)} documents to {target}")


def _readable(past: "History", kind: str | None, machine_id: str | None) -> Iterator[Any]:
    """The documents that this version reads; those of another are named and left out."""
    from advisor.history import HistoryError

    for entry in past.entries(kind, machine_id):
        try:
            yield past.document(entry.digest)
        except HistoryError as error:
            digest = entry.digest[:12]
            _shared.say(f"advisor: {digest} is left out ({error}); delete it with: advisor history --forget {digest}")


def _import(past: "History", source: str) -> None:
    from advisor import codec
    from advisor.bundle import documents_of

    found = documents_of(_read_json(source), source)
    # every document is checked before the first is taken in: a bad bundle changes nothing
    documents = [codec.from_mapping(mapping, where=f"{source}: document {i + 1}") for i, mapping in enumerate(found)]
    new = sum(past.record(document, origin="imported") for document in documents)
    known = "" if new == len(documents) else "; the others were known already"
    _shared.say(f"took in {new} documents of {len(documents)}{known}")


def _read_json(source: str) -> object:
    data = _shared.read_bytes(source, _MAX_BUNDLE_BYTES)
    if len(data) > _MAX_BUNDLE_BYTES:
        raise AdvisorError(f"{source}: larger than {_MAX_BUNDLE_BYTES >> 20} MiB; not a bundle of advisor")
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise AdvisorError(f"{source}: not valid JSON; the file may be truncated, export it again") from None
