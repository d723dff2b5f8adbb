"""``advisor catalog``: search the shelf, show one thing, add to it, check it, refresh it."""

import dataclasses
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from advisor.cli import _shared

if TYPE_CHECKING:
    from rich.console import Console

    from catalog.load import Catalog
    from catalog.types import ModelSpec

_TASKS = ("coding", "chat", "reasoning", "agentic", "rag", "embedding", "vision", "multilingual", "general")
_SORTS = ("quality", "date", "size", "downloads", "name")
_PARAMS = re.compile(r"^(\d+(?:\.\d+)?)\s*([KMBT])$", re.IGNORECASE)
_PARAMS_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
EXIT_NO = 3
# column: alignment and width
_LIST_COLUMNS: dict[str, tuple[Literal["left", "right"], int]] = {
    "params": ("right", 6),
    "active": ("right", 6),
    "context": ("right", 7),
    "quality": ("right", 12),
    "released": ("left", 8),
    "licence": ("left", 12),
}


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
    sys.stdout.write(json.dumps(_plain(document), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Dataclasses, sets and tuples as JSON's own types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


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
@click.option("--sort", type=click.Choice(_SORTS), help="Default: quality with --task, else date.")
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
        rows = [_row(catalog, model, task) for model in shown]
        _emit("catalog_list", catalog.version, {"query": query, "total_count": len(ordered), "models": rows})
    else:
        _print_models(_shared.stdout_console(), catalog, shown, len(ordered), task)
    return 0 if ordered else EXIT_NO


def _local_ids(catalog: "Catalog") -> set[str]:
    """Catalog models that have a file on this machine."""
    from catalog.local import find_local_models

    return {found.model_id for found in find_local_models(catalog) if found.model_id is not None}


def _row(catalog: "Catalog", model: "ModelSpec", task: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model_id": model.model_id,
        "display_name": model.display_name,
        "family": model.family,
        "release_date": model.release_date,
        "license_id": model.license_id,
        "params_total_count": model.params_total_count,
        "params_active_count": model.params_active_count,
        "max_context_tokens": model.max_context_tokens,
        "modalities": model.modalities,
        "capabilities": model.capabilities,
        "tasks": model.tasks,
        "official": model.official,
        "exact_shape": model.geometry is not None,
        "formats": sorted(model.repos),
    }
    score_task = task or ("embedding" if "embedding" in model.tasks else "general")
    if score_task in model.tasks:
        row["quality"] = {"task": score_task, **_plain(catalog.quality(model.model_id, score_task))}
    return row


def _print_models(
    console: "Console", catalog: "Catalog", models: Sequence["ModelSpec"], total: int, task: str | None
) -> None:
    from rich.table import Table
    from rich.text import Text

    from reports import format as shown

    if not models:
        _shared.say("advisor: no model matches; drop a filter, or add --everything for base models and copies")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True, overflow="ellipsis", max_width=42)
    for name, (justify, width) in _LIST_COLUMNS.items():
        table.add_column(name, no_wrap=True, justify=justify, min_width=width)
    for model in models:
        row = _row(catalog, model, task)
        active = model.params_active_count
        sparse = active is not None and active < 0.8 * model.params_total_count
        table.add_row(
            Text(model.model_id),
            shown.params(model.params_total_count),
            shown.params(active) if sparse else "",
            shown.tokens(model.max_context_tokens),
            _quality_text(row.get("quality")),
            (model.release_date or "")[:7],
            Text((model.license_id or "")[:12]),
        )
    console.print(table)
    if total > len(models):
        console.print(f"{len(models)} of {total} models; --limit shows more", style="dim")


def _quality_text(quality: Mapping[str, Any] | None) -> str:
    if quality is None:
        return ""
    mark = "~" if quality["imputed"] else ""
    return f"{mark}{quality['mid']:.0f} ({quality['low']:.0f}–{quality['high']:.0f})"


@command.command("show")
@click.argument("name")
@_shared.json_option
def show(name: str, as_json: bool) -> int:
    """Show everything known about one model, quantisation or chip."""
    from catalog.errors import UnknownNameError
    from catalog.load import load_catalog

    catalog = load_catalog()
    try:
        model = catalog.model(name)
    except UnknownNameError as error:
        if error.candidates:
            raise
        return _show_other(catalog, name, error, as_json=as_json)
    body = _model_body(catalog, model)
    if as_json:
        _emit("catalog_model", catalog.version, body)
    else:
        _print_model(_shared.stdout_console(), model, body)
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
            _print_fields(_shared.stdout_console(), _readable(_plain(found)))
        return 0
    raise unknown


def _readable(fields: dict[str, Any]) -> dict[str, Any]:
    """A chip's or quantisation's fields with amounts as people read them."""
    from reports import format as shown

    citation = fields.pop("citation", None) or {}
    fields.pop("bare_name", None)
    shown_by_suffix = (
        ("memory_choices_bytes", lambda sizes: [shown.gib(size) for size in sizes]),
        ("_bytes_per_s", shown.bandwidth),
        ("_flop_per_s", shown.compute),
        ("_op_per_s", lambda rate: shown.compute(rate).replace("FLOP", "OP")),
        ("memory_bytes", shown.gib),
        ("_frac", shown.percent),
    )
    for name, value in fields.items():
        write = next((write for suffix, write in shown_by_suffix if name.endswith(suffix)), None)
        if write is not None and value is not None:
            fields[name] = write(value)
    source = " ".join(str(part) for part in (citation.get("source"), citation.get("date")) if part)
    return {**{name.replace("_", " "): value for name, value in fields.items()}, "source": source}


def _model_body(catalog: "Catalog", model: "ModelSpec") -> dict[str, Any]:
    qualities = {task: catalog.quality(model.model_id, task) for task in _TASKS if task in model.tasks}
    return {"model": model, "quality": qualities, "files": _files(catalog, model)}


def _files(catalog: "Catalog", model: "ModelSpec") -> list[dict[str, Any]]:
    """Sizes at usual quantisations, with what each costs in quality."""
    from catalog.errors import CatalogError
    from catalog.weights import weigh

    sizes = []
    for quant_id in ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16", "AWQ-4bit", "FP8", "MLX-4bit"):
        try:
            artifact = weigh(model, quant_id)
        except CatalogError:
            continue
        loss = catalog.quant_loss_frac(quant_id, model.params_total_count, "general")
        sizes.append(
            {
                "quant_id": quant_id,
                "file_format": artifact.file_format,
                "file_bytes": artifact.file_bytes,
                "exact": artifact.exact,
                "quality_loss_frac": round(loss, 5),
            }
        )
    return sizes


def _print_model(console: "Console", model: "ModelSpec", body: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from reports import format as shown

    console.print(Text(model.model_id, style="bold"))
    facts = {
        "made by": model.org if model.official else f"{model.org} (not the maker of the original)",
        "family": model.family,
        "released": model.release_date,
        "licence": model.license_id or "unknown",
        "parameters": f"{model.params_total_count:,}",
        "active": f"{model.params_active_count:,}" if model.params_active_count else None,
        "context": shown.tokens(model.max_context_tokens),
        "takes": ", ".join(sorted(model.modalities)),
        "can": ", ".join(sorted(model.capabilities)),
        "layers": _layers_text(model),
        "shape": model.geometry_note or ("exact" if model.geometry else None),
        "copy of": model.duplicate_of,
        "tuned from": model.derived_from,
        "source": f"{model.citation.source} ({model.citation.date})" if model.citation else None,
    }
    _print_fields(console, facts)
    if body["quality"]:
        table = Table(box=None, pad_edge=False, title_justify="left")
        for name in ("task", "quality", "evidence"):
            table.add_column(name)
        for task, score in body["quality"].items():
            table.add_row(task, _quality_text(_plain(score)), Text("; ".join(score.evidence)))
        console.print(table)
    table = Table(box=None, pad_edge=False)
    for name in ("quant", "size", "quality lost"):
        table.add_column(name)
    for file in body["files"]:
        approximate = "" if file["exact"] else "about "
        size = f"{approximate}{shown.gib(file['file_bytes'])}"
        table.add_row(file["quant_id"], size, shown.percent(file["quality_loss_frac"]))
    console.print(table)
    for file_format, repos in model.repos.items():
        console.print(Text(f"{file_format:6} {'  '.join(repos[:4])}"))


def _layers_text(model: "ModelSpec") -> str | None:
    if model.geometry is None:
        return None
    from catalog.types import Mixer

    letters = model.geometry.mixers
    kinds = [f"{letters.count(kind)} {kind.name.lower().replace('_', ' ')}" for kind in Mixer if kind in letters]
    return f"{len(letters)}: {', '.join(kinds)}"


def _print_fields(console: "Console", fields: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            table.add_row(name, Text(text))
    console.print(table)


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
        _emit("catalog_check", catalog.version, {**_plain(result), "ok": not result.failures})
    else:
        _print_audit(_shared.stdout_console(), _plain(result))
    return EXIT_NO if result.failures else 0


def _print_audit(console: "Console", audit: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    models, chips = audit["models"], audit["chips"]
    load_s = audit["load_s"]
    _print_fields(
        console,
        {
            "catalog": audit["version"],
            "models": f"{models['count']} ({models['core']} core, {models['copies']} copies, "
            f"{models['with_geometry']} of exact shape, {models['with_gguf']} with GGUF files, "
            f"{models['added_by_user']} added here) of {models['owners']} owners, newest {models['newest']}",
            "parameters": _agreement_text(audit["parameters"], "computed from the shape, against the stated count"),
            "GGUF sizes": _agreement_text(audit["sizes"], "against published files"),
            "quantisations": audit["quants_count"],
            "chips": f"{chips['count']} ({chips['aliases']} exact aliases, {chips['pci_ids']} PCI ids)",
            "load": None if load_s is None else f"{load_s * 1e3:.0f} ms, import and read",
        },
    )
    table = Table(box=None, pad_edge=False)
    for name in ("quality at", "knowing its", "models", "spread", "error", "in 80 % interval"):
        table.add_column(name, justify="left" if name in {"quality at", "knowing its"} else "right")
    for row in audit["quality"]:
        table.add_row(
            row["task"],
            row["kept"],
            str(row["models_count"]),
            f"{row['spread']:.2f}",
            f"{row['error']:.2f}",
            f"{row['coverage']:.0%}",
        )
    console.print(table)
    for failure in audit["failures"]:
        console.print(Text(f"MISS {failure}"))
    if not audit["failures"]:
        console.print("every check holds")


def _agreement_text(summary: Mapping[str, Any], what: str) -> str:
    share = summary["within_frac"]
    text = "none compared" if share is None else f"{share:.1%} of {summary['compared_count']}"
    text += f" within {summary['tolerance_frac']:.1%} {what}"
    if summary["vendor_count"] and summary["vendor_within_frac"] is not None:
        text += f"; {summary['vendor_within_frac']:.0%} of {summary['vendor_count']} uploaders' own mixes"
    return f"{text}; {summary['skipped_count']} skipped"


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
        _emit("catalog_update", catalog.version, _plain(result))
        return 0
    for repo_id, reason in result.skipped:
        _shared.say(f"skipped {repo_id}: {reason}")
    _shared.say(f"{len(result.added)} new models from {result.endpoint}, kept in {result.overlay_path}")
    for model_id in result.added:
        click.echo(model_id)
    return 0
