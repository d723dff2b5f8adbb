"""How ``advisor catalog`` shows models, chips and checks: JSON rows and console tables."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from advisor.cli import _shared
from reports import format as shown

if TYPE_CHECKING:
    from rich.console import Console

    from catalog.load import Catalog
    from catalog.local import LocalModel
    from catalog.types import ArtifactSpec, ModelSpec


def plain(value: Any) -> Any:
    """Dataclasses, sets and tuples as JSON's own types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


# column: alignment and width
_LIST_COLUMNS: dict[str, tuple[Literal["left", "right"], int]] = {
    "params": ("right", 6),
    "active": ("right", 6),
    "context": ("right", 7),
    "quality": ("right", 12),
    "released": ("left", 8),
    "licence": ("left", 12),
}


def model_row(catalog: "Catalog", model: "ModelSpec", task: str | None) -> dict[str, Any]:
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
        row["quality"] = {"task": score_task, **plain(catalog.quality(model.model_id, score_task))}
    return row


def print_models(
    console: "Console", catalog: "Catalog", models: Sequence["ModelSpec"], total: int, task: str | None
) -> None:
    from rich.table import Table
    from rich.text import Text

    if not models:
        _shared.say("advisor: no model matches; drop a filter, or add --everything for base models and copies")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True, overflow="ellipsis", max_width=42)
    for name, (justify, width) in _LIST_COLUMNS.items():
        table.add_column(name, no_wrap=True, justify=justify, min_width=width)
    for model in models:
        row = model_row(catalog, model, task)
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


def readable(fields: dict[str, Any]) -> dict[str, Any]:
    """A chip's or quantisation's fields with amounts as people read them."""
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


_USUAL_QUANTS = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16", "AWQ-4bit", "FP8", "MLX-4bit")


def usual_files(catalog: "Catalog", model: "ModelSpec") -> list[dict[str, Any]]:
    """Sizes at usual quantisations, or those it was trained in, with what each costs in quality."""
    from catalog.errors import CatalogError
    from catalog.obtain import NATIVE_GGUF_QUANT_ID, NATIVE_QUANT_ID, is_native
    from catalog.weights import weigh

    sizes = []
    for quant_id in (NATIVE_GGUF_QUANT_ID, NATIVE_QUANT_ID) if is_native(model) else _USUAL_QUANTS:
        try:
            artifact = weigh(model, quant_id)
        except CatalogError:
            continue
        loss = catalog.weight_loss_frac(quant_id, model, "general")
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


def print_model(console: "Console", model: "ModelSpec", body: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

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
    print_fields(console, facts)
    if body["quality"]:
        table = Table(box=None, pad_edge=False, title_justify="left")
        for name in ("task", "quality", "evidence"):
            table.add_column(name)
        for task, score in body["quality"].items():
            table.add_row(task, _quality_text(plain(score)), Text("; ".join(score.evidence)))
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


def print_file(console: "Console", artifact: "ArtifactSpec") -> None:
    """What a file holds: its size, and the weights of each role and type."""
    from rich.table import Table

    about = "" if artifact.exact else "about "
    print_fields(
        console,
        {
            "model": artifact.model_id,
            "quant": artifact.quant_id,
            "file": f"{about}{artifact.file_bytes:,} bytes, {shown.gib(artifact.file_bytes)}",
            "why about": None if artifact.exact else "its uploader chooses types by hand, or its shape is not known",
        },
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("role")
    table.add_column("type")
    for name in ("weights", "size", "read per token"):
        table.add_column(name, justify="right")
    for group in sorted(artifact.groups, key=lambda group: -group.weight_bytes):
        table.add_row(
            group.role.value,
            group.tensor_type,
            shown.params(group.params_count),
            shown.gib(group.weight_bytes),
            shown.percent(group.used_frac),
        )
    console.print(table)


def _layers_text(model: "ModelSpec") -> str | None:
    if model.geometry is None:
        return None
    from catalog.types import Mixer

    letters = model.geometry.mixers
    kinds = [f"{letters.count(kind)} {kind.name.lower().replace('_', ' ')}" for kind in Mixer if kind in letters]
    return f"{len(letters)}: {', '.join(kinds)}"


def print_fields(console: "Console", fields: Mapping[str, Any]) -> None:
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


def print_audit(console: "Console", audit: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    models, chips = audit["models"], audit["chips"]
    load_s = audit["load_s"]
    print_fields(
        console,
        {
            "catalog": audit["version"],
            "models": f"{models['count']} ({models['core']} core, {models['copies']} copies, "
            f"{models['with_geometry']} of exact shape, {models['with_gguf']} with GGUF files, "
            f"{models['added_by_user']} added here) of {models['owners']} owners, newest {models['newest']}",
            "parameters": _agreement_text(audit["parameters"], "computed from the shape, against the stated count"),
            "without": _reasons_text(audit["parameters"]),
            "GGUF sizes": _agreement_text(audit["sizes"], "against published files"),
            "left out": _reasons_text(audit["sizes"]),
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


_BITS = re.compile(r"^[\d.]+ bits per weight contradict the label .*$")
_FORK_TYPE = re.compile(r"^\S+ is a type")
_KINDS_OF_FILES = {"vendor": "of Unsloth's dynamic mixes", "unnamed": "of an unnamed uploader, the nearest known mix"}


def _agreement_text(summary: Mapping[str, Any], what: str) -> str:
    share = summary["within_frac"]
    text = "none compared" if share is None else f"{share:.1%} of {summary['compared_count']}"
    text += f" within {summary['tolerance_frac']:.1%} {what}"
    others = [
        f"{summary[f'{kind}_within_frac']:.0%} of {summary[f'{kind}_count']} {words}"
        for kind, words in _KINDS_OF_FILES.items()
        if summary[f"{kind}_count"]
    ]
    if others:
        text = "; ".join([text, *others, f"{summary['all_within_frac']:.0%} of all {summary['all_count']}"])
    return f"{text}; {summary['skipped_count']} skipped"


def _reasons_text(summary: Mapping[str, Any]) -> str:
    """Why rows are skipped, the commonest reasons first."""
    reasons: dict[str, int] = {}
    for reason, count in summary["skipped"].items():
        kind = _BITS.sub("its bits per weight contradict its label", _FORK_TYPE.sub("a type", reason))
        reasons[kind] = reasons.get(kind, 0) + count
    return "; ".join(f"{count}: {reason}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1]))


def local_row(found: "LocalModel") -> dict[str, Any]:
    from catalog.runners import runs_with

    programs = runs_with(found.artifact.file_format)
    return {
        "model_id": found.model_id,
        "name": found.name,
        "store": found.store,
        "quant_id": found.quant_id,
        "file_format": found.artifact.file_format,
        "file_bytes": found.artifact.file_bytes,
        "params_total_count": found.model.params_total_count,
        "architecture": found.model.architecture,
        "path": found.path,
        "runnable_now": bool(programs),
        "runs_with": programs,
    }


def print_local(console: "Console", models: Sequence["LocalModel"]) -> None:
    from rich.table import Table
    from rich.text import Text

    from catalog.runners import runs_with

    if not models:
        _shared.say("advisor: no model files found; name folders to look in, or set ADVISOR_MODELS_PATH")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("model", overflow="fold")
    for name in ("quant", "size", "params", "store"):
        table.add_column(name, no_wrap=True, justify="right" if name in {"size", "params"} else "left")
    table.add_column("runs", no_wrap=True)
    table.add_column("path", overflow="fold")
    used: dict[str, None] = {}
    for found in models:
        programs = runs_with(found.artifact.file_format)
        used |= dict.fromkeys(programs)
        table.add_row(
            Text(found.model_id or found.name),
            found.quant_id,
            shown.gib(found.artifact.file_bytes),
            shown.params(found.model.params_total_count),
            found.store,
            "now" if programs else "no",
            Text(found.path),
        )
    console.print(table)
    if used:
        console.print(f"programs found for them: {', '.join(used)}", style="dim")
