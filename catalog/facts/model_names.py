"""Every exact name a model can be asked for by, strongest kind first."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from catalog.names import fold

TIERS = ("ids", "names", "repos")
# The storage format or framework at the end of a name.
_FORMAT_SUFFIX = re.compile(
    r"[-_.](?:hf|vllm|bf16|fp16|fp32|fp8|int[48]|awq|gptq|nvfp4|mxfp4)$|(?<=^ernie)(?P<own>-.*)-(?:pt|paddle)$",
    re.IGNORECASE,
)


def display_names(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What to call each model: its own name without the storage format, which a quantisation replaces anyway.

    A copy keeps its whole name, and so does a model whose shorter name is another's.

    Returns:
        names by model id, of the models that may bear the shorter one.
    """
    shorter = {
        record["model_id"]: _FORMAT_SUFFIX.sub(lambda found: found["own"] or "", record["display_name"])
        for record in records
        if not record.get("duplicate_of")
    }
    bearers = Counter(fold(name) for name in shorter.values())
    return {model_id: name for model_id, name in shorter.items() if bearers[fold(name)] == 1}


def name_tiers(records: Sequence[Mapping[str, Any]]) -> list[dict[str, list[int]]]:
    """Folded names to positions in ``records``, one map per tier.

    The tiers: repository ids; their last parts and display names; repositories of files.
    A name of a copy leads to the original. Several originals of one name are narrowed to the official
    one, or the core one, if there is exactly one; else all stay, and the name is ambiguous.
    """
    by_id = {record["model_id"]: record for record in records}
    tiers: list[dict[str, set[str]]] = [defaultdict(set) for _ in TIERS]
    for record in records:
        model_id = record["model_id"]
        original = record.get("duplicate_of", model_id)
        tiers[0][fold(model_id)].add(model_id)
        for name in (model_id.rpartition("/")[2], record["display_name"]):
            tiers[1][fold(name)].add(original)
        for repo in (repo for repos in record.get("repos", {}).values() for repo in repos):
            for name in (repo, repo.rpartition("/")[2]):
                tiers[2][fold(name)].add(original)
    position = {model_id: number for number, model_id in enumerate(by_id)}
    return [
        {name: [position[model_id] for model_id in _narrowed(found, by_id)] for name, found in sorted(tier.items())}
        for tier in tiers
    ]


def _narrowed(found: Iterable[str], by_id: Mapping[str, Mapping[str, Any]]) -> list[str]:
    left = sorted(found)
    official = [model_id for model_id in left if by_id[model_id].get("official")]
    core = [model_id for model_id in left if by_id[model_id].get("tier") == "core"]
    return next((kept for kept in (official, core) if len(kept) == 1), left)
