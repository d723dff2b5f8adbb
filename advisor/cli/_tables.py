"""Small files written by hand: TOML, or the same tables as JSON."""

import json
import tomllib
from typing import Any

from advisor.cli import _shared
from advisor.errors import BadRequestError

_MAX_BYTES = 1 << 20


def read_table(path: str) -> dict[str, Any]:
    """The top-level table of a TOML or JSON file; ``-`` is stdin.

    Raises:
        AdvisorError: if the file cannot be read.
        BadRequestError: if it is not TOML or JSON.
    """
    data = _shared.read_bytes(path, _MAX_BYTES)
    if len(data) > _MAX_BYTES:
        raise BadRequestError(f"{path}: larger than 1 MiB; expected a short TOML or JSON file")
    try:
        text = data.decode("utf-8")
        is_json = path.endswith(".json") or (path == "-" and text.lstrip().startswith("{"))
        table = json.loads(text) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.endswith(".json") else "TOML"
        raise BadRequestError(f"{path}: not valid {kind} ({str(error).splitlines()[0][:120]})") from None
    if not isinstance(table, dict):
        raise BadRequestError(f"{path}: expected a table at the top")
    return table
