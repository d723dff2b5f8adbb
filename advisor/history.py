"""What was measured on this machine over time: validations, calibrations and suite runs in SQLite.

Many processes may record at once and any of them may be killed at any instant: the database is in
write-ahead-log mode, every change is one transaction, and a document is stored once however often
it is recorded.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from advisor import codec
from advisor.errors import AdvisorError
from advisor.regression import series
from advisor.types import (
    Calibration,
    HistoryEntry,
    Run,
    Trend,
    TrendPoint,
    Validation,
    ValidationRecord,
)

REMEMBERED = (Validation, Calibration, Run)
_BUSY_S = 30.0


class HistoryError(AdvisorError):
    """The history cannot be opened, read or written; the message says where and what to do."""


def canonical(mapping: Mapping[str, Any]) -> str:
    """The one JSON text of a mapping, for storing and for telling duplicates."""
    return json.dumps(mapping, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(mapping: Mapping[str, Any]) -> str:
    """A document's identity: SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical(mapping).encode()).hexdigest()


def summarize(document: object) -> str:
    """One line saying what a document measured."""
    if isinstance(document, Run):
        engine = series.engine_label(document.environment.engine) or "no engine"
        state = "" if document.complete else ", incomplete"
        return f"{document.suite_name}: {len(document.cases)} cases, {document.rounds_count} rounds, {engine}{state}"
    if isinstance(document, Validation):
        models = sorted({f"{r.estimate.model_id}:{r.estimate.quant_id}" for r in document.records})
        shown = ", ".join(models[:3]) + (", …" if len(models) > 3 else "")
        count = len(document.records)
        return f"{count} {'validation' if count == 1 else 'validations'}: {shown}"
    if isinstance(document, Calibration):
        return f"calibration of {series.engine_label(document.engine)}"
    raise HistoryError(f"a {type(document).__name__} is not remembered; record a validation, calibration or run")


def _machine_of(document: object) -> str | None:
    if isinstance(document, Run):
        return document.environment.machine_id
    return getattr(document, "profile_id", None)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE documents (document_id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE,"
        " kind TEXT NOT NULL, created_at TEXT NOT NULL, machine_id TEXT, summary TEXT NOT NULL,"
        " origin TEXT NOT NULL, body TEXT NOT NULL)"
    )
    connection.execute("CREATE INDEX documents_kind ON documents (kind, machine_id, created_at)")
    connection.execute(
        "CREATE TABLE records (document_id INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,"
        " position INTEGER NOT NULL, digest TEXT NOT NULL, profile_id TEXT, engine_id TEXT NOT NULL,"
        " PRIMARY KEY (document_id, position)) WITHOUT ROWID"
    )


def _add_points(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE points (document_id INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,"
        " subject TEXT NOT NULL, metric TEXT NOT NULL, value REAL NOT NULL, low REAL NOT NULL,"
        " high REAL NOT NULL, engine TEXT, PRIMARY KEY (document_id, subject, metric)) WITHOUT ROWID"
    )
    for document_id, body in connection.execute("SELECT document_id, body FROM documents").fetchall():
        document = _readable(body)
        if document is not None:
            _insert_points(connection, document_id, document)


def _add_calibration_points(connection: sqlite3.Connection) -> None:
    """Calibrations that were remembered before their rates were points."""
    rows = connection.execute("SELECT document_id, body FROM documents WHERE kind = 'calibration'").fetchall()
    for document_id, body in rows:
        document = _readable(body)
        if document is not None:
            _insert_points(connection, document_id, document)


#: Step n brings version n to n + 1. Steps are never edited once released, only appended.
_MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create, _add_points, _add_calibration_points)


def _readable(body: str) -> Any | None:
    """A stored document, or None where this version cannot read it (the row itself is kept)."""
    try:
        return codec.loads(body, where="history")
    except codec.DocumentError:
        return None


def _insert_points(connection: sqlite3.Connection, document_id: int, document: object) -> None:
    engine = _engine_of(document)
    rows = [(document_id, *point, engine) for point in series.points(document)]
    connection.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _engine_of(document: object) -> str | None:
    if isinstance(document, Run):
        return series.engine_label(document.environment.engine)
    if isinstance(document, Validation) and document.records:
        return series.engine_label(document.records[0].engine)
    return series.engine_label(document.engine) if isinstance(document, Calibration) else None


class History:
    """An open history. Use it as a context manager, or call `close`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise HistoryError(f"{self.path}: cannot be written ({error}); close other advisors and retry") from None
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def record(self, document: object, *, origin: str = "here") -> bool:
        """Remember a validation, calibration or run; returns False if it was known already.

        Raises:
            HistoryError: if the document is of another kind, or the database cannot be written.
        """
        if not isinstance(document, REMEMBERED):
            raise HistoryError(
                f"a {type(document).__name__} is not remembered; record a validation, calibration or run"
            )
        if isinstance(document, Run):
            series.require_sound(document, "run")
        mapping = codec.to_mapping(document)
        row = (
            digest(mapping),
            document.kind,
            document.created_at,
            _machine_of(document),
            summarize(document),
            origin,
            canonical(mapping),
        )
        with self._writing() as connection:
            cursor = connection.execute(
                "INSERT OR IGNORE INTO documents (digest, kind, created_at, machine_id, summary, origin, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            if cursor.rowcount == 0:
                return False
            self._index(connection, cursor.lastrowid or 0, document)
        return True

    @staticmethod
    def _index(connection: sqlite3.Connection, document_id: int, document: object) -> None:
        _insert_points(connection, document_id, document)
        if not isinstance(document, Validation):
            return
        rows = [
            (document_id, position, digest(codec.to_mapping(r)), r.profile_id or document.profile_id, r.engine.id)
            for position, r in enumerate(document.records)
        ]
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)

    def entries(self, kind: str | None = None, machine_id: str | None = None) -> tuple[HistoryEntry, ...]:
        """Every remembered document without its body, oldest first."""
        rows = self._connection.execute(
            "SELECT digest, kind, created_at, machine_id, summary, origin FROM documents"
            " WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR machine_id = ?2)"
            " ORDER BY created_at, document_id",
            (kind, machine_id),
        ).fetchall()
        return tuple(
            HistoryEntry(digest=d, kind=k, created_at=at, machine_id=m, summary=s, origin=o)
            for d, k, at, m, s, o in rows
        )

    def find(self, digest_prefix: str) -> str:
        """The whole digest that starts like this.

        Raises:
            HistoryError: if none or several do.
        """
        wanted = digest_prefix.lower() if set(digest_prefix.lower()) <= set("0123456789abcdef") else ""
        rows = self._connection.execute(
            "SELECT digest FROM documents WHERE substr(digest, 1, ?) = ? LIMIT 2", (len(wanted), wanted)
        ).fetchall()
        if not wanted or len(rows) != 1:
            found = "several documents" if wanted and rows else "no document"
            raise HistoryError(f"{self.path}: {found} with digest {digest_prefix[:64]!r}; see advisor history")
        return str(rows[0][0])

    def document(self, digest_prefix: str) -> Any:
        """The document whose digest starts like this.

        Raises:
            HistoryError: if none or several do, or this version cannot read it.
        """
        found = self.find(digest_prefix)
        (body,) = self._connection.execute("SELECT body FROM documents WHERE digest = ?", (found,)).fetchone()
        try:
            return codec.loads(body, where=str(self.path))
        except codec.DocumentError as error:
            raise HistoryError(str(error)) from None

    def validations(self, profile_id: str | None = None, engine: str | None = None) -> tuple[ValidationRecord, ...]:
        """Every distinct validation record, oldest first, of one machine and engine if given.

        Records that this version cannot read are left out; they stay in the database.
        """
        rows = self._connection.execute(
            "SELECT min(document_id), position FROM records JOIN documents USING (document_id)"
            " WHERE (?1 IS NULL OR records.profile_id = ?1) AND (?2 IS NULL OR records.engine_id = ?2)"
            " GROUP BY records.digest ORDER BY created_at, document_id, position",
            (profile_id, engine),
        ).fetchall()
        positions: dict[int, list[int]] = {}
        for document_id, position in rows:
            positions.setdefault(document_id, []).append(position)
        found: list[ValidationRecord] = []
        for document_id, wanted in positions.items():
            document = self._body(document_id)
            found += [document.records[i] for i in wanted] if isinstance(document, Validation) else []
        return tuple(found)

    def _body(self, document_id: int) -> Any | None:
        row = self._connection.execute("SELECT body FROM documents WHERE document_id = ?", (document_id,)).fetchone()
        return None if row is None else _readable(row[0])

    def runs(self, suite_id: str | None = None, machine_id: str | None = None) -> tuple[Run, ...]:
        """Remembered runs, oldest first, of one suite and machine if given."""
        documents = (self.document(entry.digest) for entry in self.entries("run", machine_id))
        return tuple(run for run in documents if suite_id is None or run.suite_id == suite_id)

    def calibrations(self, profile_id: str | None = None) -> tuple[Calibration, ...]:
        """Remembered calibrations, oldest first."""
        return tuple(self.document(entry.digest) for entry in self.entries("calibration", profile_id))

    def trends(self, machine_id: str | None = None, subject: str | None = None) -> tuple[Trend, ...]:
        """Per machine, subject and metric: one point per document, in order of time."""
        rows = self._connection.execute(
            "SELECT coalesce(machine_id, ''), subject, metric, created_at, value, engine, low, high"
            " FROM points JOIN documents USING (document_id)"
            " WHERE (?1 IS NULL OR machine_id = ?1) AND (?2 IS NULL OR instr(subject, ?2) > 0)"
            " ORDER BY 1, subject, metric, created_at, document_id",
            (machine_id, subject),
        ).fetchall()
        grouped: dict[tuple[str, str, str], list[TrendPoint]] = {}
        for machine, name, metric, at, value, engine, low, high in rows:
            point = TrendPoint(created_at=at, value=value, engine=engine, low=low, high=high)
            grouped.setdefault((machine, name, metric), []).append(point)
        return tuple(
            Trend(machine_id=machine, subject=name, metric=metric, points=tuple(points))
            for (machine, name, metric), points in grouped.items()
        )

    def forget(self, digests: Iterable[str]) -> int:
        """Delete documents; returns how many there were."""
        with self._writing() as connection:
            counts = [connection.execute("DELETE FROM documents WHERE digest = ?", (d,)).rowcount for d in digests]
        return sum(counts)


def default_path() -> Path:
    """The user's history."""
    from advisor import store

    return store.data_dir() / "history.sqlite3"


def open_history(path: str | os.PathLike[str] | None = None) -> History:
    """Open (or begin) the history at a path, by default the user's own.

    Raises:
        HistoryError: if the file is no history, is damaged, or was written by a newer version.
    """
    target = Path(path) if path is not None else default_path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(target, timeout=_BUSY_S, isolation_level=None)
    except (sqlite3.Error, OSError) as error:
        raise HistoryError(f"{target}: cannot be opened ({error}); set ADVISOR_HOME to a folder of yours") from None
    try:
        _prepare(connection, target)
    except sqlite3.Error as error:
        connection.close()
        raise HistoryError(f"{target}: not a usable history ({error}); move it away to begin anew") from None
    except HistoryError:
        connection.close()
        raise
    return History(connection, target)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = FULL")
    _migrate(connection, path)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Switching the mode needs a moment without readers, and the busy timeout does not cover it.
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    newest = len(_MIGRATIONS)
    version = _version(connection)
    if version == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have migrated while this one waited
        if version > newest:
            raise HistoryError(
                f"{path}: history version {version}, this advisor reads up to {newest}; upgrade model-fit-advisor"
            )
        for step in _MIGRATIONS[version:]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {newest}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
