"""Raw model records as packaged `catalog.types.ModelSpec` records."""

from collections.abc import Iterable, Mapping
from typing import Any

from catalog.facts.geometry import geometry_fields, geometry_note

_REPO_KEYS = {
    "gguf": "gguf_repos",
    "awq": "awq_repos",
    "gptq": "gptq_repos",
    "fp8": "fp8_repos",
    "nvfp4": "nvfp4_repos",
    "int8": "int8_repos",
    "mlx": "mlx_repos",
    "bnb": "bnb_repos",
}
# Uploaders whose files are known to load and to be kept up, best first; the model's own org comes before all.
_UPLOADERS = (
    "ggml-org",
    "bartowski",
    "unsloth",
    "lmstudio-community",
    "mlx-community",
    "RedHatAI",
    "nvidia",
    "hugging-quants",
    "mradermacher",
    "MaziyarPanahi",
    "TheBloke",
)


def model_record(raw: Mapping[str, Any], date: str | None) -> dict[str, Any]:
    """One model as keyword arguments of `ModelSpec`; defaults left out."""
    record: dict[str, Any] = {
        "model_id": raw["hf_id"],
        "display_name": raw["display_name"],
        "org": raw["org"],
        "official": raw["official"],
        "architecture": raw.get("gguf_arch"),
        "family": raw.get("family"),
        "release_date": raw.get("release_date"),
        "license_id": raw.get("license"),
        "params_total_count": round(raw["params_total"]),
        "params_active_count": _rounded(raw.get("params_active")),
        "geometry": geometry_fields(raw),
        "geometry_note": geometry_note(raw),
        "max_context_tokens": _rounded(raw.get("context_length")),
        "modalities": sorted(raw["modalities"]),
        "capabilities": sorted(_capabilities(raw)),
        "repos": _repos(raw),
        "official_quants": raw.get("official_quants"),
        "quants_seen": raw.get("gguf_quants_seen"),
        "downloads_count": raw.get("hf_downloads"),
        "tier": raw["tier"],
        "citation": {"source": raw["source"], "date": date},
    }
    return {key: value for key, value in record.items() if value not in (None, [], {}, ())}


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _capabilities(raw: Mapping[str, Any]) -> Iterable[str]:
    return [name for name, held in raw["capabilities"].items() if held]


def _repos(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """Repositories per storage format, the most trustworthy uploader first."""

    def trust(repo: str) -> tuple[int, str]:
        uploader = repo.partition("/")[0]
        if uploader == raw["org"]:
            return -1, repo
        return (_UPLOADERS.index(uploader) if uploader in _UPLOADERS else len(_UPLOADERS)), repo

    return {name: sorted(raw[key], key=trust) for name, key in _REPO_KEYS.items() if raw.get(key)}
