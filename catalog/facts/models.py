"""Raw model records as packaged `catalog.types.ModelSpec` records."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from catalog.facts.geometry import geometry_fields, geometry_note, mend_geometry
from catalog.facts.kinds import detect_capabilities, tasks_for, tidy
from catalog.facts.lineage import find_duplicates, find_parent, find_released
from catalog.facts.model_names import display_names

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
# Uploaders whose files are known to load and to be kept up, best first; the model's own owner comes before all.
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
# llama.cpp's names for architectures whose records lack it
_GGUF_ARCHITECTURES = {
    "internlm2": "internlm2",
    "phimoe": "phimoe",
    "minicpm": "minicpm",
    "baichuan": "baichuan",
    "openelm": "openelm",
    "arctic": "arctic",
    "starcoder": "starcoder",
}
# Benchmarks that only a model which calls tools can take.
_TOOL_BENCHMARKS = ("bfcl", "tau2", "tau_bench", "mcp_atlas", "terminal_bench", "swebench", "toolathlon")


def model_records(
    raws: Sequence[Mapping[str, Any]],
    corrections: Iterable[Mapping[str, str]],
    benchmarks: Iterable[Mapping[str, str]],
    date: str,
) -> list[dict[str, Any]]:
    """Every model as keyword arguments of `ModelSpec`, defaults left out, sorted by id."""
    correction = {row["hf_id"]: row for row in corrections}
    tool_users = {row["hf_id"] for row in benchmarks if row["benchmark"].startswith(_TOOL_BENCHMARKS)}
    mended = mend_geometry(raws)
    named = {key: row["duplicate_of"] for key, row in correction.items() if row["duplicate_of"]}
    duplicate_of = find_duplicates(mended, named)
    copies: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for raw in mended:
        copies[duplicate_of.get(raw["hf_id"], raw["hf_id"])].append(raw)
    originals = [raw for raw in mended if raw["hf_id"] not in duplicate_of]
    records = []
    for raw in mended:
        capabilities = _capabilities(raw, correction.get(raw["hf_id"]), tool_users)
        record = _record(raw, capabilities, copies.get(raw["hf_id"], [raw]), date)
        record["tasks"] = sorted(_tasks(raw, capabilities, correction.get(raw["hf_id"]), duplicate_of))
        record["duplicate_of"] = duplicate_of.get(raw["hf_id"])
        record["official"] = record["official"] and record["duplicate_of"] is None
        record["derived_from"] = None if record["duplicate_of"] else find_parent(raw, originals)
        records.append(record)
    _name_and_relate(records)
    kept = [{key: value for key, value in record.items() if value not in (None, [], {}, False)} for record in records]
    return sorted(kept, key=lambda record: str(record["model_id"]))


def _name_and_relate(records: Sequence[dict[str, Any]]) -> None:
    """Fill in what depends on the other records: names without a storage format, and a trial's release."""
    shorter = display_names(records)
    usable = [record for record in records if record["tasks"] and record["repos"].get("gguf")]
    for record in records:
        record["display_name"] = shorter.get(record["model_id"], record["display_name"])
        released = find_released(record, usable) if record["tasks"] else None
        if released is not None:
            record["released_as"] = released["model_id"]
            record["released_tasks"] = sorted(set(record["tasks"]) & set(released["tasks"]))


def _record(
    raw: Mapping[str, Any], capabilities: Set[str], copies: Sequence[Mapping[str, Any]], date: str
) -> dict[str, Any]:
    return {
        "model_id": raw["hf_id"],
        "display_name": raw["display_name"],
        "org": raw["org"],
        "official": raw["official"],
        "architecture": raw.get("gguf_arch") or _GGUF_ARCHITECTURES.get(raw.get("hf_arch") or ""),
        "family": raw.get("family"),
        "release_date": raw.get("release_date"),
        "license_id": _license(raw.get("license")),
        "params_total_count": round(raw["params_total"]),
        "params_active_count": _rounded(raw.get("params_active")),
        "extra_params_count": _rounded(raw.get("params_extra_stored")),
        "extra_params_kind": raw.get("params_extra_kind"),
        "geometry": geometry_fields(raw),
        "geometry_note": geometry_note(raw),
        "max_context_tokens": _rounded(raw.get("context_length") or raw.get("max_tokens")),
        "modalities": ["image", "text"] if "vision" in capabilities else ["text"],
        "capabilities": sorted(capabilities),
        "languages": raw.get("languages"),
        "repos": _repos(raw, copies),
        "official_quants": raw.get("official_quants"),
        "quants_seen": raw.get("gguf_quants_seen"),
        "downloads_count": raw.get("hf_downloads"),
        "tier": raw["tier"],
        "citation": {"source": raw["source"], "date": date},
    }


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _license(text: str | None) -> str | None:
    """A licence's short name; placeholders are unknown, a URL is kept as it is."""
    return None if text in (None, "unknown", "other") else text


def _capabilities(raw: Mapping[str, Any], correction: Mapping[str, str] | None, tool_users: Set[str]) -> set[str]:
    held = detect_capabilities(raw)
    if raw["hf_id"] in tool_users:
        held.add("tool_use")
    if correction:
        held = tidy((held | set(correction["add"].split())) - set(correction["remove"].split()))
    return held


def _tasks(
    raw: Mapping[str, Any],
    capabilities: Set[str],
    correction: Mapping[str, str] | None,
    duplicate_of: Mapping[str, str],
) -> Set[str]:
    """Tasks a model may be ranked for; a copy of another repository is ranked for none."""
    if raw["hf_id"] in duplicate_of:
        return set()
    if correction and correction["tasks"]:
        return set(correction["tasks"].split())
    return tasks_for(capabilities)


def _repos(raw: Mapping[str, Any], copies: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Repositories per storage format, those of copies included, the most trustworthy uploader first."""

    def trust(repo: str) -> tuple[int, str]:
        uploader = repo.partition("/")[0]
        if uploader == raw["org"]:
            return -1, repo
        return (_UPLOADERS.index(uploader) if uploader in _UPLOADERS else len(_UPLOADERS)), repo

    found: dict[str, list[str]] = {}
    for name, key in _REPO_KEYS.items():
        repos = {repo for record in [raw, *copies] for repo in record.get(key) or ()}
        if repos:
            found[name] = sorted(repos, key=trust)
    return found
