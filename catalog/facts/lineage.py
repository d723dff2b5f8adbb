"""Which repositories hold the same weights, and which model another was made from."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Owners that republish others' weights: their copy is never the canonical one.
_MIRRORS = frozenset(
    {
        "nousresearch", "primeintellect", "efficient-large-model", "cohereforai", "codellama", "deepreinforce-ai",
        "mistral-experimental", "hamishivi", "xenova", "huggyllama", "infomaniak-ai", "parasail-ai", "thudm",
        "hmellor", "liuhaotian",
    }
)  # fmt: skip
_COPY_MARKS = re.compile(r"^(?:meta-|vllm-)|[-_](?:hf|bf16|fp16|fp32|vllm)$")
_PRECISION_MARK = re.compile(
    r"[-_.](?:fp8|bf16|fp16|awq|gptq|int[48]|w[48]a(?:8|16)|nvfp4|mxfp4|gguf|mlx|[48]bit)(?:[-_].*)?$"
)
_SAME_PARAMS_FRAC = 0.03


def name_key(model_id: str) -> str:
    """A repository's name without owner and without the marks of a mere copy."""
    name = model_id.rpartition("/")[2].lower().replace("_", "-")
    while True:
        shorter = _COPY_MARKS.sub("", name)
        if shorter == name:
            return name
        name = shorter


def precision_base_key(model_id: str) -> str:
    """The name key of the model that a precision variant (``…-FP8``) was made from."""
    return name_key(_PRECISION_MARK.sub("", model_id.rpartition("/")[2].lower()))


def is_conversion(model_id: str) -> bool:
    """Whether a name says that a repository holds another one's weights, converted or quantised."""
    name = _COPY_MARKS.sub("", model_id.rpartition("/")[2].lower())
    return bool(_PRECISION_MARK.search(name)) or model_id.partition("/")[0].lower() in _MIRRORS


def find_duplicates(records: Sequence[Mapping[str, Any]], corrections: Mapping[str, str]) -> dict[str, str]:
    """Copies of the same weights: repository id to the canonical repository id."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        groups[name_key(record["hf_id"])].append(record)
    canonical = dict(corrections)
    for group in groups.values():
        first, *others = sorted(group, key=_canonical_order)
        for other in others:
            if _alike(first["params_total"], other["params_total"]):
                canonical.setdefault(other["hf_id"], first["hf_id"])
    return canonical


def _canonical_order(record: Mapping[str, Any]) -> tuple[bool, bool, bool, int, str]:
    marked = name_key(record["hf_id"]) != record["hf_id"].rpartition("/")[2].lower().replace("_", "-")
    return (
        record["org"].lower() in _MIRRORS,
        not record["official"],
        marked,
        -(record.get("hf_downloads") or 0),
        record["hf_id"],
    )


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_PARAMS_FRAC * max(one, other)


def find_parent(record: Mapping[str, Any], originals: Iterable[Mapping[str, Any]]) -> str | None:
    """The model a derived one was tuned from: named by its card, or by its own name.

    A name counts if it holds the original's whole name between separators and the sizes agree; the
    longest such name wins.
    """
    by_id = {original["hf_id"]: original for original in originals}
    for named in record.get("base_model") or ():
        if named in by_id and named != record["hf_id"]:
            return str(named)
    if record["official"]:
        return None
    own = f"-{name_key(record['hf_id'])}-"
    held = [
        original
        for original in by_id.values()
        if original["hf_id"] != record["hf_id"]
        and f"-{name_key(original['hf_id'])}-" in own
        and _alike(original["params_total"], record["params_total"])
    ]
    return max(held, key=lambda original: len(original["hf_id"]))["hf_id"] if held else None
