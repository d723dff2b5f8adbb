"""Find models in the catalog by words and by what they must have."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from catalog.load import Catalog
from catalog.types import ModelSpec

SORT_KEYS = ("quality", "date", "size", "downloads", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for; None and empty match everything.

    Models that serve no task (base models, copies, guards ...) are found only with ``everything``.
    """

    words: tuple[str, ...] = ()
    task: str | None = None
    family: str | None = None
    owner: str | None = None
    license_id: str | None = None
    modality: str | None = None
    capability: str | None = None
    file_format: str | None = None
    params_min_count: float | None = None
    params_max_count: float | None = None
    context_min_tokens: int | None = None
    since: str | None = None
    everything: bool = False


def search(catalog: Catalog, query: Query) -> list[ModelSpec]:
    """The models that match, in the catalog's order."""
    return [model for model in catalog.models.values() if matches(model, query)]


def matches(model: ModelSpec, query: Query) -> bool:
    """Whether one model matches; words may occur anywhere in its names."""
    if not query.everything and not model.tasks:
        return False
    return all(test(model, query) for test in _TESTS)


def sort_models(catalog: Catalog, models: Iterable[ModelSpec], key: str, task: str = "general") -> list[ModelSpec]:
    """Models best first: by quality at a task, date, parameters (smallest first), downloads or name."""
    orders: dict[str, Callable[[ModelSpec], tuple[float | str, ...]]] = {
        "quality": lambda model: (-catalog.quality(model.model_id, task).low,),
        "date": lambda model: tuple(-ord(sign) for sign in model.release_date or "0"),
        "size": lambda model: (model.params_total_count,),
        "downloads": lambda model: (-(model.downloads_count or 0),),
        "name": lambda model: (model.model_id.casefold(),),
    }
    return sorted(models, key=lambda model: (orders[key](model), model.model_id))


def _has_words(model: ModelSpec, query: Query) -> bool:
    names = f"{model.model_id} {model.display_name} {model.family or ''}".casefold()
    return all(word.casefold() in names for word in query.words)


def _has_kind(model: ModelSpec, query: Query) -> bool:
    return (
        (query.task is None or query.task in model.tasks)
        and (query.capability is None or query.capability in model.capabilities)
        and (query.modality is None or query.modality in model.modalities)
        and (query.file_format is None or query.file_format in model.repos)
    )


def _has_origin(model: ModelSpec, query: Query) -> bool:
    def same(wanted: str | None, own: str | None) -> bool:
        return wanted is None or (own or "").casefold() == wanted.casefold()

    own = (model.license_id or "unknown").casefold()
    wanted = (query.license_id or own).casefold()
    licensed = own == wanted or own.startswith(f"{wanted}-")
    newer = query.since is None or (model.release_date or "") >= query.since
    return licensed and newer and same(query.family, model.family) and same(query.owner, model.org)


def _has_size(model: ModelSpec, query: Query) -> bool:
    total = model.params_total_count
    if query.params_min_count is not None and total < query.params_min_count:
        return False
    if query.params_max_count is not None and total > query.params_max_count:
        return False
    return query.context_min_tokens is None or (model.max_context_tokens or 0) >= query.context_min_tokens


_TESTS = (_has_words, _has_kind, _has_origin, _has_size)
