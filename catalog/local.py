"""The models that are on this machine already: what they truly are, by their headers."""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.gguf import read_gguf
from catalog.header_cache import HeaderCache
from catalog.hf import read_config
from catalog.load import Catalog, load_catalog
from catalog.names import squash
from catalog.safetensors import Checkpoint, read_safetensors
from catalog.stores import Found, Store, default_stores, models_in, package_stores
from catalog.types import ArtifactSpec, FileFormat, Geometry, ModelSpec
from catalog.weights import weigh

_MAX_CONFIG_BYTES = 8 * 1024**2
_NOT_OF_THE_NAME = re.compile(
    r"(?i)([-_. ](gguf|mlx|hf|it-gguf))*([-_.: ](ud-)?(i1-)?((i?q|tq|mxfp)\d\w*|bf16|f16|f32|fp16|latest|\dbit))?"
    r"(-\d{5}-of-\d{5})?(\.gguf)?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model that can be run now.

    Attributes:
        store: the program whose store it is in: "ollama", "lm-studio", "huggingface", "llama.cpp",
            "gpt4all", "package", or "folder".
        name: what the store calls it.
        path: its file, or its folder for a safetensors checkpoint.
        model: what its header says it is; the catalog's record of it where that agrees.
        artifact: its weights as stored.
        catalog_model_id: the catalog's name for it, or None if name and shape fit no record.
    """

    store: str
    name: str
    path: str
    model: ModelSpec
    artifact: ArtifactSpec
    catalog_model_id: str | None = None

    @property
    def model_id(self) -> str | None:
        """The catalog's name for it, or None."""
        return self.catalog_model_id

    @property
    def quant_id(self) -> str:
        """Its quantisation."""
        return self.artifact.quant_id


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalScan:
    """All that was found: models, and one line for each file that could not be read."""

    models: tuple[LocalModel, ...]
    problems: tuple[str, ...]


def find_local_models(
    catalog: Catalog | None = None,
    roots: Sequence[str | os.PathLike[str]] | None = None,
    headers: HeaderCache | None = None,
) -> tuple[LocalModel, ...]:
    """The models on this machine that can be run now.

    Args:
        catalog: whose records they are matched to; the packaged one by default.
        roots: folders to look in instead of the known stores.
        headers: where headers that were read are kept.
    """
    return scan_local_models(catalog, roots, headers).models


def scan_local_models(
    catalog: Catalog | None = None,
    roots: Sequence[str | os.PathLike[str]] | None = None,
    headers: HeaderCache | None = None,
) -> LocalScan:
    """Look through the stores of Ollama, LM Studio, Hugging Face, llama.cpp and GPT4All.

    Folders named in the environment variable ADVISOR_MODELS_PATH and model files that installed Python
    packages bring along are looked through too.
    """
    if roots is None:
        stores = default_stores(os.environ, sys.platform, Path.home()) + package_stores(sys.path)
    else:
        stores = [_store_at(Path(root)) for root in roots]
    return _scan(stores, catalog or load_catalog(), headers)


def _store_at(folder: Path) -> Store:
    return Store(kind="ollama" if (folder / "manifests").is_dir() else "folder", folder=folder)


def _scan(stores: Iterable[Store], catalog: Catalog, headers: HeaderCache | None) -> LocalScan:
    models: list[LocalModel] = []
    problems: list[str] = []
    seen: set[str] = set()
    for found in (found for store in stores for found in models_in(store)):
        real = os.path.realpath(found.path)
        if real in seen:
            continue
        seen.add(real)
        if not _is_text(str(found.path)):
            problems.append(f"{found.path.name!a}: its path is no text, which no engine takes; rename it")
            continue
        try:
            model, artifact = _read(found, headers)
        except CatalogError as error:
            problems.append(str(error))
            continue
        if model.geometry is not None:  # vision projectors and the like are no models of their own
            models.append(_matched(found, model, artifact, catalog))
    return LocalScan(models=tuple(models), problems=tuple(problems))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(found: Found, headers: HeaderCache | None) -> tuple[ModelSpec, ArtifactSpec]:
    return _read_checkpoint(found) if found.path.is_dir() else read_gguf(found.path, headers)


def _read_checkpoint(found: Found) -> tuple[ModelSpec, ArtifactSpec]:
    """A folder of safetensors: its shape from its configuration, its size from its headers."""
    model = read_config(found.path, model_id=found.name)
    stored = read_safetensors(found.path)
    quant_id, file_format = _scheme(_configuration(found.path), stored)
    artifact = weigh(model, quant_id)
    kept = replace(artifact, file_format=file_format, file_bytes=stored.file_bytes, local_path=str(found.path))
    return model, replace(kept, quant_id="BF16") if quant_id == "BF16-safetensors" else kept


def _configuration(folder: Path) -> Mapping[str, Any]:
    with (folder / "config.json").open("rb") as file:
        raw = json.loads(file.read(_MAX_CONFIG_BYTES))
    return raw if isinstance(raw, dict) else {}


def _scheme(config: Mapping[str, Any], stored: Checkpoint) -> tuple[str, FileFormat]:
    """The quantisation a checkpoint's configuration states, and its format."""
    mlx = config.get("quantization")
    if isinstance(mlx, dict) and mlx.get("bits") in (2, 3, 4, 5, 6, 8):
        return f"MLX-{mlx['bits']}bit", FileFormat.MLX
    stated = config.get("quantization_config")
    name = _packed(stated) if isinstance(stated, dict) else "BF16-safetensors"
    return name, FileFormat.MLX if stored.metadata.get("format") == "mlx" else FileFormat.SAFETENSORS


def _packed(stated: Mapping[str, Any]) -> str:
    """The scheme of a ``quantization_config``."""
    method, text = str(stated.get("quant_method", "")), json.dumps(stated).lower()
    if method == "awq":
        return "AWQ-4bit"
    if method == "gptq":
        return "GPTQ-8bit" if stated.get("bits") == 8 else "GPTQ-4bit"
    if method == "bitsandbytes":
        return "BNB-nf4" if stated.get("load_in_4bit") else "INT8"
    if method == "mxfp4":
        return "MXFP4"
    if "nvfp4" in text:
        return "NVFP4"
    if method == "fp8" or '"type": "float"' in text:
        return "FP8-block" if stated.get("weight_block_size") else "FP8"
    if method == "compressed-tensors":
        return "W4A16" if '"num_bits": 4' in text else "INT8"
    return "BF16-safetensors"


def _matched(found: Found, model: ModelSpec, artifact: ArtifactSpec, catalog: Catalog) -> LocalModel:
    """The local model, as the catalog's record of it where name and shape agree."""
    record = _record_of(found, model, catalog)
    if record is None:
        return LocalModel(store=found.kind, name=found.name, path=str(found.path), model=model, artifact=artifact)
    return LocalModel(
        store=found.kind,
        name=found.name,
        path=str(found.path),
        model=record,
        artifact=replace(artifact, model_id=record.model_id),
        catalog_model_id=record.model_id,
    )


def _record_of(found: Found, model: ModelSpec, catalog: Catalog) -> ModelSpec | None:
    for name in _names(found, model):
        record = catalog.known_model(name)
        if record is None:
            continue
        if record.geometry is not None and model.geometry is not None and _alike(record.geometry, model.geometry):
            return record
    return None


def _names(found: Found, model: ModelSpec) -> list[str]:
    """Names to look the model up by, surest first: stated origins, the file's, the header's."""
    parts = [part for part in re.split(r"[/\\]", found.name) if part]
    stated = list(model.repos.get("stated", ()))
    names = [*stated[:1], *reversed(parts), model.model_id]
    bare = [_NOT_OF_THE_NAME.sub("", name, count=1) for name in names]
    return list(dict.fromkeys(name for name in (*bare, *names) if name and squash(name)))


def _alike(one: Geometry, other: Geometry) -> bool:
    """Whether two geometries are of the same model; vocabularies may be padded differently."""
    return _signature(one) == _signature(other)


def _signature(geometry: Geometry) -> tuple[object, ...]:
    return (
        geometry.mixers.replace("S", "A"),
        geometry.hidden_dim,
        geometry.head_count,
        geometry.kv_head_count,
        geometry.ffn_dim if "d" in geometry.ffns else None,
        geometry.expert_count,
        geometry.expert_ffn_dim,
    )
