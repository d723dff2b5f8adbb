"""The one place where types meet JSON.

A document is any dataclass with ``kind`` and ``schema_version``. `load` accepts untrusted text:
it is size-bounded, its schema is checked, and every error is one line naming file and field.
"""

import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import advisor.types
import probes.types
from catalog.files import read_file

_NO_TEXT = re.compile("[\ud800-\udfff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
MAX_DOCUMENT_BYTES = 256 * 1024 * 1024

#: kind -> (type, newest schema version). A new document type is added here and nowhere else.
DOCUMENTS: dict[str, tuple[type, int]] = {
    "profile": (probes.types.HardwareProfile, probes.types.SCHEMA_VERSION),
    "doctor": (probes.types.Diagnosis, probes.types.SCHEMA_VERSION),
    "plan": (advisor.types.Plan, advisor.types.SCHEMA_VERSION),
    "machine_comparison": (advisor.types.MachineComparison, advisor.types.SCHEMA_VERSION),
    "estimate": (advisor.types.Estimate, advisor.types.SCHEMA_VERSION),
    "recommendation": (advisor.types.Recommendation, advisor.types.SCHEMA_VERSION),
    "stack": (advisor.types.StackPlan, advisor.types.SCHEMA_VERSION),
    "validation": (advisor.types.Validation, advisor.types.SCHEMA_VERSION),
    "accuracy": (advisor.types.Accuracy, advisor.types.SCHEMA_VERSION),
    "calibration": (advisor.types.Calibration, advisor.types.SCHEMA_VERSION),
    "run": (advisor.types.Run, advisor.types.SCHEMA_VERSION),
    "regression": (advisor.types.Regression, advisor.types.SCHEMA_VERSION),
    "selftest": (advisor.types.SelfTest, advisor.types.SCHEMA_VERSION),
    "fleet": (advisor.types.Fleet, advisor.types.SCHEMA_VERSION),
    "history": (advisor.types.HistoryDocument, advisor.types.SCHEMA_VERSION),
}

#: (kind, version) -> function that turns that version's mapping into the next version's.
MIGRATIONS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}


class DocumentError(Exception):
    """A document could not be read or written; the message names the file and the field."""


_adapters: dict[type, Any] = {}


def _adapter(document_type: type) -> Any:
    if document_type not in _adapters:
        from pydantic import TypeAdapter

        _adapters[document_type] = TypeAdapter(document_type)
    return _adapters[document_type]


def to_mapping(document: object) -> dict[str, Any]:
    """A document as plain JSON-ready values (dicts, lists, strings, numbers, None)."""
    mapping = _adapter(type(document)).dump_python(document, mode="json")
    return cast("dict[str, Any]", mapping)


def dump(document: object, *, indent: int | None = 2) -> str:
    """A document as JSON text. Infinite and undefined numbers are refused: they are not JSON.

    A file's name may hold bytes that are no text; Python's stand-ins for them, which UTF-8 cannot carry, are escaped.
    """
    text = json.dumps(to_mapping(document), indent=indent, ensure_ascii=False, allow_nan=False)
    return _NO_TEXT.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def write_json(text: str) -> None:
    """Print JSON text to stdout without losing a character: what its encoding lacks is written as an escape."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        text = _NOT_ASCII.sub(_escaped, text)
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _first_problem(error: Exception) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error).splitlines()[0]
    problem = errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in problem["loc"]) or "document"
    return f"field {field}: {problem['msg']}"


def _migrated(mapping: dict[str, Any], kind: str, newest: int, where: str) -> dict[str, Any]:
    version = mapping.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise DocumentError(f"{where}: field schema_version is missing; it was not written by advisor, or is damaged")
    if version > newest:
        raise DocumentError(
            f"{where}: field schema_version is {version}, this advisor reads up to {newest}; upgrade model-fit-advisor"
        )
    while version < newest:
        migrate = MIGRATIONS.get((kind, version))
        if migrate is None:
            raise DocumentError(f"{where}: field schema_version {version} is too old to read; record it again")
        mapping = migrate(mapping)
        version += 1
        mapping["schema_version"] = version
    return mapping


def from_mapping(mapping: object, *, where: str = "document", kind: str | None = None) -> Any:
    """Check a mapping's schema and build its document.

    Raises:
        DocumentError: if it is not a document of a known (or the wanted) kind, or a field is wrong.
    """
    if not isinstance(mapping, Mapping):
        raise DocumentError(f"{where}: not a JSON object; expected a document written by advisor")
    found = mapping.get("kind")
    if not isinstance(found, str) or found not in DOCUMENTS:
        known = ", ".join(sorted(DOCUMENTS))
        raise DocumentError(f"{where}: field kind is {str(found)[:40]!r}; expected one of {known}")
    if kind is not None and found != kind:
        raise DocumentError(f"{where}: this is a {found} document; a {kind} document is needed here")
    document_type, newest = DOCUMENTS[found]
    current = _migrated(dict(mapping), found, newest, where)
    from pydantic import ValidationError

    try:
        return _adapter(document_type).validate_python(current, strict=False, extra="forbid")
    except ValidationError as error:
        raise DocumentError(f"{where}: {_first_problem(error)}") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def loads(text: str, *, where: str = "document", kind: str | None = None) -> Any:
    """Read a document from JSON text; see `from_mapping` for errors.

    NaN and infinities, which Python's reader would accept, are no JSON and are refused. A byte order mark,
    which some shells write before what they redirect, is no part of the text.
    """
    try:
        mapping = json.loads(text.removeprefix("\ufeff"), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise DocumentError(f"{where}: not valid JSON ({reason}); the file may be truncated, record it again") from None
    return from_mapping(mapping, where=where, kind=kind)


def _read_text(source: str | os.PathLike[str]) -> tuple[str, str]:
    from_stdin = str(source) == "-"
    where = "stdin" if from_stdin else str(source)
    try:
        data = _read_stdin() if from_stdin else read_file(source, MAX_DOCUMENT_BYTES)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise DocumentError(f"{where}: larger than {MAX_DOCUMENT_BYTES >> 20} MiB; not a document of advisor")
        return data.decode("utf-8"), where
    except UnicodeDecodeError:
        raise DocumentError(f"{where}: not UTF-8 text; expected a JSON document written by advisor") from None
    except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise DocumentError(f"{where}: cannot be read ({reason}); give a file, or - for stdin") from None


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)


def load(source: str | os.PathLike[str], *, kind: str | None = None) -> Any:
    """Read a document from a file, or from stdin for ``-``.

    Raises:
        DocumentError: one line naming the file and the field.
    """
    text, where = _read_text(source)
    return loads(text, where=where, kind=kind)


_ELSEWHERE = "choose another place with -o"


def write_atomically(path: str | os.PathLike[str], data: bytes, *, advice: str = _ELSEWHERE) -> None:
    """Write a file so that a reader, a crash or Ctrl-C never sees half of it; ``advice`` is for where that fails.

    Raises:
        DocumentError: if the file cannot be written; an existing file is then unchanged.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DocumentError(f"{target}: cannot be written ({reason}); {advice}") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def save(document: object, path: str | os.PathLike[str], *, advice: str = _ELSEWHERE) -> None:
    """Write a document atomically, or to stdout for ``-``."""
    text = dump(document)
    if str(path) == "-":
        write_json(text)
        return
    write_atomically(path, f"{text}\n".encode(), advice=advice)


def slug(text: str) -> str:
    """A name that is safe as a part of a file name on every system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80] or "unnamed"
