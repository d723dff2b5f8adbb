"""Every exact name a model can be asked for by, strongest kind first."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from catalog.names import fold

TIERS = ("ids", "names", "repos")


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
