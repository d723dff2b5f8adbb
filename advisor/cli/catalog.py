"""``advisor catalog``: search the shelf, show one thing, add to it, check it, refresh it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from advisor.cli import _catalog_view, _shared
from advisor.cli._catalog_view import plain
from catalog.search import SORT_KEYS

if TYPE_CHECKING:
    from catalog.load import Catalog
    from catalog.types import ModelSpec

_TASKS = ("coding", "chat", "reasoning", "agentic", "rag", "embedding", "vision", "multilingual", "general")
_PARAMS = re.compile(r"^(\d+(?:\.\d+)?)\s*([KMBT])$", re.IGNORECASE)
_PARAMS_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
EXIT_NO = 3


class _ParamsCount(click.ParamType[float]):
    name = "parameters"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = _PARAMS.match(str(value).strip())
        if match is None:
            self.fail(f"{str(value)[:40]!r} is no parameter count; write it like 8B or 350M", param, ctx)
        return float(match[1]) * _PARAMS_UNITS[match[2].upper()]


PARAMS = _ParamsCount()


@click.group("catalog")
def command() -> None:
    """Search, show, extend, check and refresh the catalog of models, quantisations and chips."""


def _emit(kind: str, catalog_version: str, body: Mapping[str, Any]) -> None:
    """Print one JSON document."""
    document = {"schema_version": 1, "kind": kind, "catalog_version": catalog_version, **body}
    from advisor.codec import write_json

    write_json(json.dumps(plain(document), ensure_ascii=False, indent=2, allow_nan=False))


@command.command("list")
@click.argument("words", nargs=-1)
@click.option("--task", type=click.Choice(_TASKS), help="Only models for this task, ranked for it.")
@click.option("--min-params", type=PARAMS, help="At least so many parameters, e.g. 3B.")
@click.option("--max-params", type=PARAMS, help="At most so many parameters, e.g. 14B.")
@click.option("--context", "context_tokens", type=_shared.TOKENS, help="At least this context, e.g. 128k.")
@click.option("--license", "license_id", help="Licence, e.g. apache-2.0 or mit.")
@click.option("--modality", type=click.Choice(("text", "image")), help="What it takes.")
@click.option("--capability", help="E.g. instruct, base, reasoning, tool_use, coding, reranker, guard.")
@click.option("--family", help="E.g. Qwen3.5.")
@click.option("--owner", help="E.g. mistralai.")
@click.option("--format", "file_format", help="Has files as gguf, awq, gptq, fp8, nvfp4 or mlx.")
@click.option("--since", help="Released on or after a date, e.g. 2026-01.")
@click.option("--local", "only_local", is_flag=True, help="Only models with files on this machine.")
@click.option("--everything", is_flag=True, help="Base models, copies, guards and the like, too.")
@click.option("--sort", type=click.Choice(SORT_KEYS), help="Default: quality with --task, else date.")
@click.option("--limit", type=click.IntRange(1), default=40, show_default=True, help="Rows to print.")
@_shared.json_option
def list_models(
    words: tuple[str, ...],
    task: str | None,
    min_params: float | None,
    max_params: float | None,
    context_tokens: int | None,
    license_id: str | None,
    modality: str | None,
    capability: str | None,
    family: str | None,
    owner: str | None,
    file_format: str | None,
    since: str | None,
    only_local: bool,
    everything: bool,
    sort: str | None,
    limit: int,
    as_json: bool,
) -> int:
    """List models whose name holds all WORDS and that meet every filter. Exits 3 if there are none."""
    from catalog.load import load_catalog
    from catalog.search import Query, search, sort_models

    catalog = load_catalog()
    query = Query(
        words=words,
        task=task,
        family=family,
        owner=owner,
        license_id=license_id,
        modality=modality,
        capability=capability,
        file_format=file_format,
        params_min_count=min_params,
        params_max_count=max_params,
        context_min_tokens=context_tokens,
        since=since,
        everything=everything or capability is not None,
    )
    found = search(catalog, query)
    if only_local:
        held = _local_ids(catalog)
        found = [model for model in found if model.model_id in held]
    ordered = sort_models(catalog, found, sort or ("quality" if task else "date"), task or "general")
    shown = ordered[:limit]
    if as_json:
        rows = [_catalog_view.model_row(catalog, model, task) for model in shown]
        _emit("catalog_list", catalog.version, {"query": query, "total_count": len(ordered), "models": rows})
    else:
        _catalog_view.print_models(_shared.stdout_console(), catalog, shown, len(ordered), task)
    return 0 if ordered else EXIT_NO


def _local_ids(catalog: "Catalog") -> set[str]:
    """Catalog models that have a file on this machine."""
    from advisor.store import header_cache
    from catalog.local import find_local_models

    found = find_local_models(catalog, headers=header_cache())
    return {model.model_id for model in found if model.model_id is not None}


@command.command("show")
@click.argument("name")
@_shared.json_option
def show(name: str, as_json: bool) -> int:
    """Show everything known about one model, quantisation or chip, or of MODEL:QUANT what its file holds."""
    from catalog.errors import UnknownNameError
    from catalog.load import load_catalog

    catalog = load_catalog()
    try:
        model = catalog.model(name)
    except UnknownNameError as error:
        if error.candidates:
            raise
        if ":" in name:
            return _show_file(catalog, name, as_json=as_json)
        return _show_other(catalog, name, error, as_json=as_json)
    body = _model_body(catalog, model)
    if as_json:
        _emit("catalog_model", catalog.version, body)
    else:
        _catalog_view.print_model(_shared.stdout_console(), model, body)
    return 0


def _show_file(catalog: "Catalog", name: str, *, as_json: bool) -> int:
    """A model's weights at a quantisation: bytes on disk, by role and by type."""
    from catalog.weights import weigh

    model_name, _, quant_name = name.rpartition(":")
    model, quant = catalog.model(model_name), catalog.quant(quant_name)
    artifact = weigh(model, quant.quant_id)
    if as_json:
        loss = catalog.weight_loss_frac(quant.quant_id, model, "general")
        _emit("catalog_file", catalog.version, {"file": artifact, "quality_loss_frac": round(loss, 5)})
    else:
        _catalog_view.print_file(_shared.stdout_console(), artifact)
    return 0


def _show_other(catalog: "Catalog", name: str, unknown: Exception, *, as_json: bool) -> int:
    """A chip or a quantisation of that name; else the message for models, which names the nearest."""
    from catalog.errors import UnknownNameError

    for kind, look_up in (("quant", catalog.quant), ("chip", catalog.chip)):
        try:
            found = look_up(name)
        except UnknownNameError as error:
            if error.candidates:
                raise
            continue
        if as_json:
            _emit(f"catalog_{kind}", catalog.version, {kind: found})
        else:
            _catalog_view.print_fields(_shared.stdout_console(), _catalog_view.readable(plain(found)))
        return 0
    raise unknown


def _model_body(catalog: "Catalog", model: "ModelSpec") -> dict[str, Any]:
    qualities = {task: catalog.quality(model.model_id, task) for task in _TASKS if task in model.tasks}
    return {"model": model, "quality": qualities, "files": _catalog_view.usual_files(catalog, model)}


@command.command("add")
@click.argument("path", type=click.Path(path_type=Path))
@_shared.json_option
def add(path: Path, as_json: bool) -> int:
    """Add the model of a config.json (or its folder) or a .gguf file; it is kept in your own overlay."""
    from catalog.joining import add_file
    from catalog.load import load_catalog
    from catalog.overlay import overlay_dir, write_overlay
    from catalog.records import record_from_model

    model = add_file(path)
    overlay = write_overlay(overlay_dir(), [record_from_model(model)])
    if as_json:
        _emit("catalog_added", load_catalog().version, {"model": model, "overlay_path": str(overlay)})
    else:
        _shared.say(f"added {model.model_id}, {model.params_total_count:,} parameters, to {overlay}")
    return 0


@command.command("check")
@click.option("--refit", is_flag=True, help="Fit the quality scores anew (half a minute) to test them.")
@_shared.json_option
def check(refit: bool, as_json: bool) -> int:
    """Check every record and print how far the catalog is from what was published. Exits 3 on a miss."""
    from catalog.audit import audit
    from catalog.load import load_catalog

    catalog = load_catalog()
    result = audit(catalog, refit=refit)
    if as_json:
        _emit("catalog_check", catalog.version, {**plain(result), "ok": not result.failures})
    else:
        _catalog_view.print_audit(_shared.stdout_console(), plain(result))
    return EXIT_NO if result.failures else 0


@command.command("update")
@click.option("--limit", type=click.IntRange(1), help="At most so many new models.")
@click.option("--owner", "owners", multiple=True, help="Only this owner's models (repeatable).")
@_shared.json_option
def update(limit: int | None, owners: tuple[str, ...], as_json: bool) -> int:
    """Fetch models newer than the catalog from the Hugging Face Hub into your own overlay.

    HF_ENDPOINT, tokens and offline mode are the client's own. An interrupted update goes on next time.
    """
    from catalog.hub import Hub
    from catalog.load import load_catalog
    from catalog.overlay import overlay_dir
    from catalog.update import update as run_update

    catalog = load_catalog()
    hub = Hub()
    with _shared.Progress("updating the catalog", quiet=as_json) as progress:
        result = run_update(catalog, hub, overlay_dir(), limit=limit, owners=owners, report=progress.update)
    if as_json:
        _emit("catalog_update", catalog.version, plain(result))
        return 0
    for repo_id, reason in result.skipped:
        _shared.say(f"skipped {repo_id}: {reason}")
    _shared.say(f"{len(result.added)} new models from {result.endpoint}, kept in {result.overlay_path}")
    for model_id in result.added:
        click.echo(model_id)
    return 0


@command.command("local")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@_shared.json_option
def local(folders: tuple[Path, ...], as_json: bool) -> int:
    """List the models that lie on this machine, by what their headers say they are.

    Looks through the stores of Ollama, LM Studio, Hugging Face, llama.cpp and GPT4All, or through FOLDERS.
    Exits 3 if there is none.
    """
    from advisor.store import header_cache
    from catalog.load import load_catalog
    from catalog.local import scan_local_models

    catalog = load_catalog()
    found = scan_local_models(catalog, folders or None, header_cache())
    if as_json:
        rows = [_catalog_view.local_row(model) for model in found.models]
        _emit("catalog_local", catalog.version, {"models": rows, "problems": found.problems})
    else:
        _catalog_view.print_local(_shared.stdout_console(), found.models)
        for problem in found.problems:
            _shared.say(f"advisor: {problem}")
    return 0 if found.models else EXIT_NO
