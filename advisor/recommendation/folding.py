"""Near copies folded into one pick, so that a list offers choices and not five versions of one model.

A lower-ranked model is folded into a higher-ranked one when it is

* a fine-tune or re-upload of the same shape that is not official,
* tuned from the same model (`ModelSpec.derived_from`, followed to its root), or
* the same maker's older release of about the same size, and no faster.

Embedding models are compared for the last two only where one maker made both: a tuned embedder is a
product of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from advisor.recommendation.request import Candidate
from advisor.types import Rejection
from catalog.types import Geometry, ModelSpec

#: Two releases are of one size class within this factor of total and of active parameters.
_SAME_SIZE_FACTOR = 1.25
#: A model this much faster than its successor is still a choice of its own.
_FASTER_FACTOR = 1.05


def fold(ranked: Sequence[Candidate], models: Mapping[str, ModelSpec]) -> tuple[list[Candidate], list[Rejection]]:
    """Candidates, best first, less near copies of higher ones; and what was left out for which.

    Args:
        ranked: candidates, best first.
        models: every model by identity, to follow derivations in.
    """
    kept: list[Candidate] = []
    left_out: list[Rejection] = []
    relatives: dict[str, list[str]] = {}
    for candidate, found in _compared(ranked, models):
        if found is None:
            kept.append(candidate)
            continue
        higher_id, reason, fix = found
        relatives.setdefault(higher_id, []).append(candidate.model.display_name)
        left_out.append(Rejection(model_id=candidate.model.model_id, reason=reason, fix=fix))
    return [
        replace(candidate, relatives=tuple(relatives.get(candidate.model.model_id, ()))) for candidate in kept
    ], left_out


def leader(ranked: Sequence[Candidate], models: Mapping[str, ModelSpec], rank_count: int) -> Candidate | None:
    """The candidate of a rank after folding, without a look at those below it; None if fewer are left."""
    leaders = (candidate for candidate, found in _compared(ranked, models) if found is None)
    return next(islice(leaders, rank_count - 1, None), None)


def _compared(
    ranked: Sequence[Candidate], models: Mapping[str, ModelSpec]
) -> Iterator[tuple[Candidate, tuple[str, str, str] | None]]:
    """Each candidate with the higher one that it is folded into (see `_higher`), or None."""
    originals: dict[Geometry, str] = {}
    roots: dict[str, list[Candidate]] = {}
    orgs: dict[str, list[Candidate]] = {}
    for candidate in ranked:
        model = candidate.model
        root = _root(model, models)
        found = _higher(candidate, originals, roots.get(root, ()), orgs.get(model.org, ()))
        yield candidate, found
        if found is not None:
            continue
        if model.official and model.geometry is not None:
            originals.setdefault(model.geometry, model.model_id)
        roots.setdefault(root, []).append(candidate)
        orgs.setdefault(model.org, []).append(candidate)


def _higher(
    candidate: Candidate,
    originals: Mapping[Geometry, str],
    same_root: Sequence[Candidate],
    same_org: Sequence[Candidate],
) -> tuple[str, str, str] | None:
    """The higher-ranked model that a candidate is folded into, why, and what to run instead."""
    model = candidate.model
    original = originals.get(model.geometry) if model.geometry is not None else None
    if original is not None and not model.official:
        return original, f"same shape as {original}, which is official and scores higher", f"run {original}"
    for above in same_root:
        if _may_stand_for(above.model, model) and (above.model.org == model.org or not _embeds(model)):
            other = above.model.model_id
            return other, f"tuned from the same model as {other}, which scores higher", f"run {other}"
    for above in same_org:
        if _may_stand_for(above.model, model) and _is_succeeded(candidate, above):
            other = above.model.model_id
            return other, f"an older release than {other}, which scores higher and is no slower", f"run {other}"
    return None


def _may_stand_for(above: ModelSpec, model: ModelSpec) -> bool:
    """An unofficial model never hides an official one."""
    return above.official or not model.official


def _embeds(model: ModelSpec) -> bool:
    return "embedding" in model.capabilities


def _root(model: ModelSpec, models: Mapping[str, ModelSpec]) -> str:
    """The model that a line of derivations starts from; a circle in the data ends where it closes."""
    seen = {model.model_id}
    while model.derived_from is not None and model.derived_from not in seen:
        seen.add(model.derived_from)
        parent = models.get(model.derived_from)
        if parent is None:
            return model.derived_from
        model = parent
    return model.model_id


def _is_succeeded(candidate: Candidate, above: Candidate) -> bool:
    older, newer = candidate.model, above.model
    if (older.release_date or "") > (newer.release_date or "") or not _same_size(older, newer):
        return False
    speed, other = (each.best.estimate.decode_tokens_per_s.mid for each in (candidate, above))
    return speed <= _FASTER_FACTOR * other


def _same_size(first: ModelSpec, second: ModelSpec) -> bool:
    return _close(first.params_total_count, second.params_total_count) and _close(
        first.params_active_count or first.params_total_count, second.params_active_count or second.params_total_count
    )


def _close(first: int, second: int) -> bool:
    return max(first, second) <= _SAME_SIZE_FACTOR * max(1, min(first, second))
