"""Where a deployment's weights come from, in the words of the catalog's repositories; and safe names for them."""

import re
from collections.abc import Mapping

from advisor.errors import AdvisorError
from catalog.obtain import repo_for as gguf_repo_for
from catalog.types import FileFormat, ModelSpec

#: Weights as published by the model's makers, in 16 bits.
PLAIN = "safetensors"
#: What the catalog calls the repositories of a quantisation, where its first word is not that name.
_KINDS: Mapping[str, str] = {"w4a16": "gptq", "bf16": PLAIN, "f16": PLAIN, "f32": PLAIN, "mxfp4": PLAIN}
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME_CHARS = 80


def format_kind(quant_id: str, file_format: str) -> str:
    """What weights are, as engines tell them apart: gguf, mlx, safetensors, awq, gptq, fp8, int8, nvfp4 or bnb."""
    if file_format in (FileFormat.GGUF, FileFormat.MLX):
        return str(file_format)
    word = quant_id.lower().partition("-")[0]
    return _KINDS.get(word, word)


def published_repo(model: ModelSpec, quant_id: str, file_format: str) -> str | None:
    """The repository that holds a quantisation of a model, best first; None where none is known."""
    kind = format_kind(quant_id, file_format)
    if kind == "gguf":
        return gguf_repo_for(model, quant_id)
    if kind == PLAIN:
        return model.model_id if _REPO.fullmatch(model.model_id) else None
    repos = model.repos.get(kind, ())
    if kind == "mlx":
        size = quant_id.lower().removeprefix("mlx-")
        return next((repo for repo in repos if repo.lower().endswith(size)), next(iter(repos), None))
    return next(iter(repos), None)


def checked_repo(repo: str) -> str:
    """A repository as ``org/name``, which no program takes for an option or a path.

    Raises:
        AdvisorError: for anything else.
    """
    if not _REPO.fullmatch(repo):
        raise AdvisorError(f"{_shown(repo)} is no repository name (org/name); name the weights by a path instead")
    return repo


def checked_path(path: str) -> str:
    """A path that every program takes for one.

    Raises:
        AdvisorError: for control characters.
    """
    if not path or not path.isprintable():
        raise AdvisorError(f"the path {_shown(path)} has control characters; rename the file")
    return f"./{path}" if path.startswith("-") else path


def served_name(model: ModelSpec, quant_id: str) -> str:
    """What requests call a model: letters, digits, dot, dash and underscore only."""
    words = (model.model_id.rpartition("/")[2], quant_id)
    plain = "-".join(_NOT_IN_A_NAME.sub("-", word).strip("-._") for word in words)
    return plain.lower()[:_MAX_NAME_CHARS].strip("-._") or "model"


def _shown(text: str) -> str:
    return repr(text[:_MAX_NAME_CHARS])
