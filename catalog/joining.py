"""Models that join the catalog: from the Hub, from a ``config.json``, from a GGUF file."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.facts.kinds import detect_capabilities, tasks_for, tidy
from catalog.hub import HubModel
from catalog.types import Citation, ModelSpec

_FORMAT_MARKS = {
    "gguf": re.compile(r"gguf", re.IGNORECASE),
    "mlx": re.compile(r"(?:^|[-_/])mlx", re.IGNORECASE),
    "awq": re.compile(r"awq", re.IGNORECASE),
    "nvfp4": re.compile(r"nvfp4", re.IGNORECASE),
    "fp8": re.compile(r"fp8", re.IGNORECASE),
    "gptq": re.compile(r"gptq|w4a16", re.IGNORECASE),
    "int8": re.compile(r"w8a8|int8", re.IGNORECASE),
    "bnb": re.compile(r"bnb|bitsandbytes", re.IGNORECASE),
}
_EMBEDDING_PIPELINES = {"feature-extraction", "sentence-similarity"}
_REPOS_PER_FORMAT_MAX = 5


def add_file(path: Path) -> ModelSpec:
    """The model of a local ``config.json`` (or its folder) or GGUF file, ready for the overlay.

    Raises:
        CatalogError: if the file cannot be read or describes no language model.
    """
    if path.suffix.lower() == ".gguf":
        from catalog.gguf import read_gguf

        model, artifact = read_gguf(path)
        model = replace(model, quants_seen=(artifact.quant_id,), citation=Citation(source=f"header of {path.name}"))
    elif path.is_dir() or path.suffix.lower() == ".json":
        from catalog.hf import read_config

        model = read_config(path)
        if "/" not in model.model_id:
            folder = (path if path.is_dir() else path.resolve().parent).name
            model = replace(model, model_id=f"local/{folder or model.model_id}", org="local", display_name=folder)
    else:
        raise CatalogError(f"{path}: neither a config.json nor a .gguf file; give one, or a folder with a config.json")
    return classified(model, instruct=None)


def from_hub(
    listed: HubModel, config: Mapping[str, Any] | None, template: str | None, quantised: Iterable[HubModel], date: str
) -> ModelSpec:
    """A model of the Hub, from its listing, its configuration and its chat template.

    Raises:
        CatalogError: if neither its parameter count nor its shape is known.
    """
    model = _shaped(listed, config)
    repos = _repos(listed, quantised)
    model = replace(
        model,
        official=True,
        release_date=listed.created_date,
        license_id=listed.license_id,
        downloads_count=listed.downloads_count,
        languages=listed.languages,
        repos=repos,
        derived_from=next((base for base in listed.base_model_ids if base != listed.repo_id), None),
        tier="extended",
        citation=Citation(source="Hugging Face Hub", date=date),
    )
    embedding = listed.pipeline in _EMBEDDING_PIPELINES
    instruct = not embedding and (template is not None or "conversational" in listed.tags)
    extra = {"embedding"} if embedding else set()
    if template and "tools" in template:
        extra.add("tool_use")
    if template and ("<think" in template or "enable_thinking" in template):
        extra.add("reasoning")
    if listed.pipeline == "image-text-to-text":
        extra.add("vision")
    return classified(model, instruct=instruct, extra=extra)


def classified(model: ModelSpec, *, instruct: bool | None, extra: Iterable[str] = ()) -> ModelSpec:
    """The model with its capabilities and tasks, from its name and what else is known.

    ``instruct`` None means unknown: a model is then taken for an assistant unless its name says otherwise.
    """
    raw = {
        "hf_id": model.model_id,
        "capabilities": {"instruct": instruct is not False, "base": instruct is False},
        "modalities": sorted(model.modalities | ({"image"} if "vision" in model.modalities else set())),
        "gguf_arch": model.architecture,
    }
    held = detect_capabilities(raw) | set(extra)
    if "vision" in held or "image" in model.modalities:
        held.add("vision")
    held = tidy(held)
    modalities = frozenset({"text", "image"} if "vision" in held else {"text"})
    return replace(model, capabilities=frozenset(held), tasks=tasks_for(held), modalities=modalities)


def _shaped(listed: HubModel, config: Mapping[str, Any] | None) -> ModelSpec:
    """The model with its geometry where its configuration can be read, else with its stored parameter count."""
    note = "its configuration could not be fetched"
    if config is not None:
        from catalog.hf import read_config

        try:
            model = read_config(config, listed.repo_id)
        except CatalogError as error:
            note = str(error)
        else:
            return replace(model, model_id=listed.repo_id, display_name=listed.repo_id.rpartition("/")[2])
    if not listed.params_count:
        raise CatalogError(f"{listed.repo_id}: neither shape nor parameter count is known")
    return ModelSpec(
        model_id=listed.repo_id,
        display_name=listed.repo_id.rpartition("/")[2],
        org=listed.repo_id.partition("/")[0],
        official=True,
        architecture=None,
        params_total_count=listed.params_count,
        geometry_note=note,
    )


def _repos(listed: HubModel, quantised: Iterable[HubModel]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for one in (listed, *quantised):
        evidence = " ".join((one.repo_id, *sorted(one.tags)))
        name = next((name for name, mark in _FORMAT_MARKS.items() if mark.search(evidence)), None)
        if name and len(found.setdefault(name, [])) < _REPOS_PER_FORMAT_MAX:
            found[name].append(one.repo_id)
    return {name: tuple(repos) for name, repos in sorted(found.items())}
