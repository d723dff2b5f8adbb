"""The user's own models: one packaged record per line in a file of the user's data directory."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError

MODELS_FILE = "models.jsonl"
_MAX_OVERLAY_BYTES = 64 * 1024**2


def overlay_dir() -> Path:
    """Where added and fetched models are kept; ``ADVISOR_HOME`` overrides the user's data directory."""
    home = os.environ.get("ADVISOR_HOME")
    if home:
        return Path(home) / "catalog"
    import platformdirs

    return Path(platformdirs.user_data_dir("model-fit-advisor", appauthor=False)) / "catalog"


def read_overlay(directory: Path) -> dict[str, bytes]:
    """Packed records by model id; empty if there is no overlay.

    Raises:
        CatalogError: if the file is too large or a line is not a record.
    """
    path = directory / MODELS_FILE
    try:
        if path.stat().st_size > _MAX_OVERLAY_BYTES:
            raise CatalogError(f"{path} is larger than {_MAX_OVERLAY_BYTES} bytes; delete it and update again")
        lines = path.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror}); mend that or set ADVISOR_HOME") from error
    packed = {}
    for number, line in enumerate(lines, 1):
        try:
            packed[str(json.loads(line)["model_id"])] = line
        except (ValueError, KeyError, TypeError) as error:
            raise CatalogError(f"{path}, line {number}: not a model record; delete the line or the file") from error
    return packed


def write_overlay(directory: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Merge records into the overlay, atomically: an interrupted write leaves the old file as it was.

    Raises:
        CatalogError: if the directory cannot be written.
    """
    import tempfile

    packed = read_overlay(directory)
    for record in records:
        packed[record["model_id"]] = json.dumps(record, ensure_ascii=False, sort_keys=True).encode()
    path = directory / MODELS_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=".models-")
        with os.fdopen(handle, "wb") as file:
            file.write(b"".join(packed[model_id] + b"\n" for model_id in sorted(packed)))
        Path(temporary).replace(path)
    except OSError as error:
        raise CatalogError(f"{directory} cannot be written: {error.strerror}") from error
    return path
