"""Where programs keep models on this machine, on Linux, macOS and Windows."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAX_DEPTH = 6
_MAX_FILES_COUNT = 10_000
_MAX_MANIFEST_BYTES = 1 << 20
_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_LATER_SHARD = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.(gguf|safetensors)$")
ENVIRONMENT_VARIABLE = "ADVISOR_MODELS_PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A folder in which a program keeps models. ``kind`` names the program."""

    kind: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model file or folder in a store, under the name the store gives it."""

    kind: str
    name: str
    path: Path


def default_stores(environ: Mapping[str, str], platform: str, home: Path) -> list[Store]:
    """The folders in which models are looked for, whether they exist or not.

    Args:
        environ: environment variables; those of the programs themselves override their folders.
        platform: as ``sys.platform`` names it.
        home: the user's home folder.
    """
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    local = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    hub = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    hub_home = Path(environ.get("HF_HOME") or cache / "huggingface")
    stores = [
        Store(kind="ollama", folder=Path(environ.get("OLLAMA_MODELS") or home / ".ollama" / "models")),
        Store(kind="ollama", folder=Path("/usr/share/ollama/.ollama/models")),
        Store(kind="lm-studio", folder=home / ".lmstudio" / "models"),
        Store(kind="lm-studio", folder=cache / "lm-studio" / "models"),
        Store(kind="huggingface", folder=Path(hub) if hub else hub_home / "hub"),
        Store(kind="llama.cpp", folder=_by_platform(environ.get("LLAMA_CACHE"), platform, cache, home, local)),
        Store(kind="gpt4all", folder=_gpt4all(environ, platform, home, local)),
    ]
    listed = environ.get(ENVIRONMENT_VARIABLE, "").split(";" if platform == "win32" else ":")
    return stores + [Store(kind="folder", folder=Path(folder)) for folder in listed if folder]


def _by_platform(stated: str | None, platform: str, cache: Path, home: Path, local: Path) -> Path:
    if stated:
        return Path(stated)
    if platform == "darwin":
        return home / "Library" / "Caches" / "llama.cpp"
    return (local if platform == "win32" else cache) / "llama.cpp"


def _gpt4all(environ: Mapping[str, str], platform: str, home: Path, local: Path) -> Path:
    if platform == "darwin":
        return home / "Library" / "Application Support" / "nomic.ai" / "GPT4All"
    data = local if platform == "win32" else Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "nomic.ai" / "GPT4All"


def package_stores(search_path: Sequence[str]) -> list[Store]:
    """Installed Python packages that bring model files with them."""
    folders = dict.fromkeys(Path(entry) for entry in search_path if entry)
    found = (model.parent for folder in folders if folder.is_dir() for model in folder.glob("*/*.gguf"))
    return [Store(kind="package", folder=folder) for folder in dict.fromkeys(found)]


def models_in(store: Store) -> Iterator[Found]:
    """The models of a store; nothing if the folder does not exist or may not be read."""
    if not store.folder.is_dir():
        return
    if store.kind == "ollama" and (store.folder / "manifests").is_dir():
        yield from _ollama_models(store.folder)
    else:
        yield from _files_below(store)


def _files_below(store: Store) -> Iterator[Found]:
    """GGUF files and checkpoint folders below a folder; of a split model, its first file."""
    for count, path in enumerate(_walk(store.folder)):
        if count >= _MAX_FILES_COUNT:
            return
        if path.suffix == ".gguf" and not _LATER_SHARD.search(path.name):
            yield Found(kind=store.kind, name=_name_in_store(store, path), path=path)
        elif path.name == "config.json" and any(path.parent.glob("*.safetensors")):
            yield Found(kind=store.kind, name=_name_in_store(store, path), path=path.parent)


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, to a bounded depth, links to folders not followed."""
    base = len(folder.parts)
    for parent, folders, names in os.walk(folder, onerror=None, followlinks=False):
        here = Path(parent)
        if len(here.parts) - base >= _MAX_DEPTH:
            folders.clear()
        folders.sort()
        for name in sorted(names):
            yield here / name


def _name_in_store(store: Store, path: Path) -> str:
    """What a file is called: its repository in a hub's cache, else its place below the store."""
    for part in path.relative_to(store.folder).parts:
        if part.startswith("models--"):
            repository = part.removeprefix("models--").replace("--", "/")
            return repository if path.suffix != ".gguf" else f"{repository}/{path.name}"
    place = path.relative_to(store.folder)
    return (place if path.suffix == ".gguf" else place.parent).as_posix()


def _ollama_models(folder: Path) -> Iterator[Found]:
    """Models by their manifests: registry / namespace / model / tag, weights in a blob."""
    manifests = folder / "manifests"
    for count, path in enumerate(_walk(manifests)):
        if count >= _MAX_FILES_COUNT:
            return
        digest = _model_digest(path)
        blob = folder / "blobs" / f"sha256-{digest}"
        if digest and blob.is_file():
            yield Found(kind="ollama", name=_ollama_name(path.relative_to(manifests).parts), path=blob)


def _ollama_name(parts: Sequence[str]) -> str:
    """``model:tag`` as Ollama prints it, with namespace or registry where they are not its own."""
    *origin, model, tag = ("", *parts) if len(parts) > 1 else ("", *parts, "latest")
    origin = [part for part in origin if part not in ("", "registry.ollama.ai", "library")]
    return "/".join((*origin, f"{model}:{tag}"))


def _model_digest(path: Path) -> str | None:
    """Digest of a manifest's weights, or None if it is no readable manifest."""
    try:
        with path.open("rb") as file:
            raw = json.loads(file.read(_MAX_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    layers = raw.get("layers") if isinstance(raw, dict) else None
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and layer.get("mediaType") == _OLLAMA_MODEL:
            match = _DIGEST.fullmatch(str(layer.get("digest")))
            return match.group(1) if match else None
    return None
