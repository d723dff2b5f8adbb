"""What ``export`` and ``serve`` are about: a rank of the last recommendation, a document, or a model."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from advisor import codec, store
from advisor.cli._options import Demand, Where, check_settings
from advisor.cli._subject import Subject, resolve_subject
from advisor.errors import BadRequestError
from advisor.export.pick import Pick, Stack, pick_of, pick_of_choice, stack_of_plan
from advisor.predict import predict
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import Choice, Estimate, Recommendation, StackPlan
from catalog.load import Catalog
from catalog.types import ArtifactSpec

_LISTED_COUNT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Options that shape a prediction; a saved pick has its settings already."""

    task: str | None = None
    demand: Demand = field(default_factory=Demand)
    settings: LoadSettings = NOTHING_FIXED
    where: Where = field(default_factory=Where)

    def given(self) -> bool:
        """Whether any was."""
        return self != Wishes()


def resolve_stack(
    catalog: Catalog, text: str, *, rank: int | None, wishes: Wishes, loaded_by: str | None = None
) -> Stack:
    """Read PICK: a rank, a document, or ``MODEL[:QUANT]``.

    Raises:
        BadRequestError: for a rank that there is not, or options that a saved pick cannot follow.
        CatalogError: for an unknown model.
    """
    if rank is not None and not _is_document(text):
        raise BadRequestError("--rank picks from a document; give one, e.g. recommendation.json --rank 2")
    if text.isascii() and text.isdigit():
        _require_no_wishes(wishes)
        return Stack(picks=(_here(pick_of_choice(catalog, _ranked(_last(), int(text), "the last recommendation"))),))
    if _is_document(text):
        _require_no_wishes(wishes)
        return _from_document(catalog, codec.load(text), text, rank)
    return Stack(picks=(_predicted(catalog, text, wishes, loaded_by),))


def _is_document(text: str) -> bool:
    return text == "-" or text.lower().endswith(".json")


def _require_no_wishes(wishes: Wishes) -> None:
    if wishes.given():
        raise BadRequestError(
            "the pick has its machine and settings; give --hardware, --context and the like to recommend, "
            "or name MODEL:QUANT"
        )


def _last() -> Recommendation:
    recommendation = store.load_recommendation()
    if recommendation is None:
        raise BadRequestError("nothing was recommended here yet; run advisor recommend first, or name MODEL:QUANT")
    return recommendation


def _ranked(recommendation: Recommendation, rank: int, where: str) -> Choice:
    found = next((choice for choice in recommendation.ranked if choice.rank == rank), None)
    if found is not None:
        return found
    if not recommendation.ranked:
        raise BadRequestError(f"{where} ranks nothing; run advisor recommend with looser limits")
    shown = ", ".join(
        f"{choice.rank} {choice.estimate.model_id}:{choice.estimate.quant_id}"
        for choice in recommendation.ranked[:_LISTED_COUNT]
    )
    more = len(recommendation.ranked) - _LISTED_COUNT
    raise BadRequestError(f"{where} has no pick {rank}; it has {shown}{f' and {more} more' if more > 0 else ''}")


def _from_document(catalog: Catalog, document: Any, where: str, rank: int | None) -> Stack:
    if isinstance(document, Recommendation):
        return Stack(picks=(_here(pick_of_choice(catalog, _ranked(document, rank or 1, where))),))
    if isinstance(document, StackPlan):
        stack = stack_of_plan(catalog, document)
        return replace(stack, picks=tuple(_here(pick) for pick in stack.picks))
    if isinstance(document, Estimate):
        return Stack(picks=(pick_of(catalog.model(document.model_id), document),))
    kind = getattr(document, "kind", "other")
    raise BadRequestError(f"{where} is a {kind} document; give a recommendation, a stack or an estimate")


def _here(pick: Pick) -> Pick:
    """A pick whose file may have gone since it was recommended."""
    return pick if pick.local_path and Path(pick.local_path).exists() else replace(pick, local_path=None)


def _predicted(catalog: Catalog, text: str, wishes: Wishes, loaded_by: str | None) -> Pick:
    subject = resolve_subject(catalog, text, wishes.where.engine_id or loaded_by)
    check_settings(wishes.settings, wishes.where.engine_id or loaded_by)
    machine = wishes.where.machine(catalog)
    workload = wishes.demand.workload(wishes.task or "general")
    here = () if wishes.where.elsewhere else _artifacts_here(catalog, subject)
    wanted = subject.artifact.quant_id if subject.artifact is not None else None
    choices = tuple(artifact for artifact in here if wanted in (None, artifact.quant_id))
    estimate = predict(
        subject.model,
        choices or subject.artifact_choices(),
        machine,
        workload,
        kv_quant_id=wishes.demand.kv_quant_id,
        settings=wishes.settings,
    )
    path = next((item.local_path for item in choices if item.quant_id == estimate.quant_id), None)
    return pick_of(subject.model, estimate, local_path=path)


def _artifacts_here(catalog: Catalog, subject: Subject) -> tuple[ArtifactSpec, ...]:
    """The model's weights that are on this machine, the largest first; the named file alone if one was named."""
    if subject.path is not None and subject.artifact is not None:
        return (replace(subject.artifact, local_path=str(Path(subject.path).resolve())),)
    from catalog.local import find_local_models

    found = [
        replace(model.artifact, local_path=str(Path(model.path).resolve()))
        for model in find_local_models(catalog, headers=store.header_cache())
        if model.model_id == subject.model.model_id
    ]
    return tuple(sorted(found, key=lambda artifact: artifact.file_bytes, reverse=True))


def require_one(stack: Stack) -> Pick:
    """The only pick of a stack.

    Raises:
        BadRequestError: for several models.
    """
    if len(stack.picks) > 1:
        raise BadRequestError("this is a stack of several models; serve it with: advisor export STACK --for llama-swap")
    return stack.first
