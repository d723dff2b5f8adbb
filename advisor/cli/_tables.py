"""Small files written by hand: TOML, or the same tables as JSON."""

import json
import tomllib
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError, BadRequestError

_MAX_BYTES = 1 << 20


def read_table(path: str) -> dict[str, Any]:
    """The top-level table of a TOML or JSON file.

    Raises:
        AdvisorError: if the file cannot be read.
        BadRequestError: if it is not TOML or JSON.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise AdvisorError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > _MAX_BYTES:
        raise BadRequestError(f"{path}: larger than 1 MiB; expected a short TOML or JSON file")
    try:
        text = data.decode("utf-8")
        table = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.endswith(".json") else "TOML"
        raise BadRequestError(f"{path}: not valid {kind} ({str(error).splitlines()[0][:120]})") from None
    if not isinstance(table, dict):
        raise BadRequestError(f"{path}: expected a table at the top")
    return table
