"""Quantisations as packaged `catalog.types.QuantSpec` records, with their measured or fitted divergence."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from catalog.formats import SCHEMES
from catalog.ggml_types import TYPES
from catalog.mixes import DEFAULT_TYPES
from catalog.publishers import DYNAMIC_LEVELS
from catalog.quantloss import SIZE_EXPONENT, divergence_of_bits, loss_frac
from catalog.recipes import recipe_of
from catalog.weights import typical_bits

_LARGE_EDGES = ("Q2_K_L", "Q3_K_XL", "Q4_K_L", "Q5_K_L", "Q6_K_L")
_LOWEST_DYNAMIC = ("IQ1_S", "IQ1_M")  # no rule is known for these, so they weigh as llama.cpp's own
_UPLOADERS_MIXES = (*_LARGE_EDGES, *(f"UD-{level}" for level in sorted({*_LOWEST_DYNAMIC, *DYNAMIC_LEVELS})))
_UPLOADER_MARK = re.compile(r"\s*\(.*\)$")
_BILLIONS = re.compile(r"(\d+(?:\.\d+)?)B\b")
_ROUNDED_SCHEMES = re.compile(r"^(?:MLX|BNB|MXFP4|NVFP4)")  # round to nearest, no calibration data
_REFERENCE_BILLIONS = 8.0
# Divergences that explain the mean accuracy lost in runtime_format_quality (FP8 0.05, INT8 0.2, GPTQ 1.2, AWQ 0.9
# MMLU points); MXFP4 checkpoints were trained in it, a GGUF of that type may be converted from others.
_RUNTIME_DIVERGENCE = {
    "FP8": 0.003,
    "FP8-block": 0.003,
    "GPTQ-8bit": 0.003,
    "INT8": 0.009,
    "AWQ-4bit": 0.05,
    "GPTQ-4bit": 0.06,
    "W4A16": 0.06,
    "MXFP4": 0.0,
    "MXFP4_MOE": 0.02,
}
_FULL_PRECISION = {"F32", "F16", "BF16", "BF16-safetensors"}


def quant_records(rows: Iterable[Mapping[str, str]], date: str) -> list[dict[str, Any]]:
    """Every GGUF file type and runtime format as keyword arguments of `QuantSpec`, sorted by id."""
    rows = list(rows)
    measured = measured_divergences(rows)
    kv_types = {row["name"] for row in rows if row["kind"] == "kv_cache_type"}
    names = [*DEFAULT_TYPES, *_UPLOADERS_MIXES, *SCHEMES]
    return sorted(
        (_record(name, measured, kv_types, date) for name in names), key=lambda record: str(record["quant_id"])
    )


def measured_divergences(rows: Iterable[Mapping[str, str]]) -> dict[str, float]:
    """Published mean KL divergence per type, in nats, brought to 8 billion parameters.

    Geometric mean over models and uploaders.
    """
    logs: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["kind"] != "gguf_ftype" or row["metric"] != "kl_divergence_mean":
            continue
        size = _BILLIONS.search(row["model"])
        billions = float(size[1]) if size else _REFERENCE_BILLIONS
        at_reference = math.log(float(row["value"])) + SIZE_EXPONENT * math.log(billions / _REFERENCE_BILLIONS)
        logs[_UPLOADER_MARK.sub("", row["name"])].append(at_reference)
    return {name: math.exp(sum(values) / len(values)) for name, values in logs.items()}


def _record(name: str, measured: Mapping[str, float], kv_types: set[str], date: str) -> dict[str, Any]:
    scheme = SCHEMES.get(name)
    bits = round(typical_bits(name), 4)
    if name in _FULL_PRECISION:
        divergence = 0.0
    else:
        rounded = bool(_ROUNDED_SCHEMES.match(name)) or name in {"Q4_0", "Q4_1", "Q5_0", "Q5_1"}
        fitted = _RUNTIME_DIVERGENCE.get(name, divergence_of_bits(bits, rounded=rounded))
        base = name if scheme else recipe_of(name).file_type  # an uploader's variation loses what its base loses
        divergence = measured.get(name, measured.get(base, fitted))
    record: dict[str, Any] = {
        "quant_id": name,
        "file_format": scheme.file_format if scheme else "gguf",
        "bits_per_weight": bits,
        "kl_divergence": float(f"{divergence:.3g}"),
        "quality_loss_frac": float(f"{loss_frac(divergence, 8_000_000_000, 'general'):.3g}"),
        "citation": {"source": _source(name, name in measured, scheme is not None), "date": date},
    }
    if name in TYPES and not scheme:
        record["block_weights_count"] = TYPES[name].block_weights_count
        record["block_bytes"] = TYPES[name].block_bytes
    if name in kv_types and not scheme:
        record["kv_capable"] = True
    return record


def _source(name: str, has_divergence: bool, runtime: bool) -> str:
    bytes_from = "format's reference implementation" if runtime else "llama.cpp src/llama-quant.cpp"
    loss_from = "published KL divergence (quants.csv)" if has_divergence else "divergence fitted on bits"
    return f"bits: {bytes_from}; loss: {'none' if name in _FULL_PRECISION else loss_from}"
