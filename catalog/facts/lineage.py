"""Which repositories hold the same weights, and which model another was made from."""

import itertools
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
# Baidu publishes each model once for PyTorch and once for its own framework; elsewhere "pt" means pretrained.
_FRAMEWORK_MARK = re.compile(r"(?<=^ernie)(-.*)-(?:pt|paddle)$")
# Words for what is tried out before, or beside, a release.
_TRIAL = re.compile(r"[-_.](?:exp|experimental|preview|alpha|beta|rc\d*|nightly)(?=$|[-_.])")
_SAME_PARAMS_FRAC = 0.03
# A release is of a trial's size class within this factor of total and of active parameters.
_SAME_SIZE_FACTOR = 1.25


def name_key(model_id: str) -> str:
    """A repository's name without owner and without the marks of a mere copy."""
    name = _FRAMEWORK_MARK.sub(r"\1", model_id.rpartition("/")[2].lower().replace("_", "-"))
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
        groups[precision_base_key(record["hf_id"])].append(record)
    canonical = dict(corrections)
    for group in groups.values():
        first, *others = sorted(group, key=_canonical_order)
        for other in others:
            if _alike(first["params_total"], other["params_total"]):
                canonical.setdefault(other["hf_id"], first["hf_id"])
    return canonical


def _canonical_order(record: Mapping[str, Any]) -> tuple[bool, bool, bool, int, str]:
    marked = precision_base_key(record["hf_id"]) != record["hf_id"].rpartition("/")[2].lower().replace("_", "-")
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


def find_released(record: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The released model that a trial (``…-Exp``, ``…-Preview``) stands beside: of its maker, architecture and size.

    Among several the one whose name has most in common with it, then the newest.

    Args:
        record: a packaged record.
        records: packaged records that may be ranked and that somebody publishes files of.
    """
    if not _TRIAL.search(record["model_id"].lower()):
        return None
    found = [
        other
        for other in records
        if other["org"] == record["org"]
        and other.get("architecture") == record.get("architecture") is not None
        and other["official"]
        and not _TRIAL.search(other["model_id"].lower())
        and _same_size(other, record)
    ]
    own = record["model_id"].lower()

    def kinship(other: Mapping[str, Any]) -> tuple[int, str, str]:
        pairs = zip(own, other["model_id"].lower(), strict=False)
        shared_count = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        return shared_count, other.get("release_date") or "", other["model_id"]

    return max(found, key=kinship, default=None)


def _same_size(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    counts = [
        (record["params_total_count"], record.get("params_active_count") or record["params_total_count"])
        for record in (one, other)
    ]
    return all(max(pair) <= _SAME_SIZE_FACTOR * min(pair) for pair in zip(*counts, strict=True))
