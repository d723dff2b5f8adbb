"""Raw quantisation rows as packaged `catalog.types.QuantSpec` records."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

# Runtime formats by the name a user would give them: id -> (raw name, file format)
_RUNTIME_FORMATS = {
    "AWQ-4bit": ("AWQ-int4 g128", "safetensors"),
    "GPTQ-4bit": ("GPTQ-int4 g128", "safetensors"),
    "GPTQ-8bit": ("GPTQ-int8 g128", "safetensors"),
    "W4A16": ("compressed-tensors W4A16 g128 (sym)", "safetensors"),
    "FP8": ("FP8 dynamic per-channel (W8A8)", "safetensors"),
    "FP8-block": ("FP8 block 128x128 (DeepSeek/Qwen style)", "safetensors"),
    "INT8": ("INT8 W8A8 per-channel", "safetensors"),
    "NVFP4": ("NVFP4 (modelopt/compressed-tensors)", "safetensors"),
    "MXFP4": ("MXFP4 (OCP, gpt-oss)", "safetensors"),
    "MLX-2bit": ("MLX affine 2bit g64", "mlx"),
    "MLX-3bit": ("MLX affine 3bit g64", "mlx"),
    "MLX-4bit": ("MLX affine 4bit g64", "mlx"),
    "MLX-5bit": ("MLX affine 5bit g64", "mlx"),
    "MLX-6bit": ("MLX affine 6bit g64", "mlx"),
    "MLX-8bit": ("MLX affine 8bit g64", "mlx"),
    "MLX-mxfp4": ("MLX mxfp4", "mlx"),
    "BNB-nf4": ("bitsandbytes nf4", "safetensors"),
}
_UNQUANTISED = {"F32", "F16", "BF16"}


def quant_records(rows: Iterable[Mapping[str, str]], summary: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Every ggml type, GGUF file type and runtime format as keyword arguments of `QuantSpec`."""
    by_kind: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        by_kind[row["kind"]].append(row)
    divergence = {row["ftype"]: float(row["kld_median"]) for row in summary}
    kv_types = {row["name"] for row in by_kind["kv_cache_type"]}
    records = {row["name"]: _tensor_type(row, kv_types) for row in by_kind["gguf_tensor_type"]}
    for name, bits, row in _file_types(by_kind["gguf_ftype"]):
        records.setdefault(name, {**_common(name, "gguf", bits, row)})
    raw_formats = {row["name"]: row for row in by_kind["runtime_format"]}
    for name, (raw_name, file_format) in _RUNTIME_FORMATS.items():
        row = raw_formats[raw_name]
        records[name] = _common(name, file_format, float(row["value"]), row)
    for name, value in divergence.items():
        if name in records:
            records[name]["kl_divergence"] = value
    return sorted(records.values(), key=lambda record: str(record["quant_id"]))


def _common(name: str, file_format: str, bits: float, row: Mapping[str, str]) -> dict[str, Any]:
    citation = {"source": row["source"], "date": row["date"] or None}
    return {"quant_id": name, "file_format": file_format, "bits_per_weight": bits, "citation": citation}


def _tensor_type(row: Mapping[str, str], kv_types: set[str]) -> dict[str, Any]:
    record = _common(row["name"], "gguf", float(row["value"]), row)
    record["block_weights_count"] = int(row["block_size"])
    record["block_bytes"] = round(float(row["bytes_per_block"]))
    if row["name"] in kv_types:
        record["kv_capable"] = True
    return record


def _file_types(rows: Iterable[Mapping[str, str]]) -> list[tuple[str, float, Mapping[str, str]]]:
    """Measured bits per weight of each file type: the geometric mean over the models that publish it."""
    measured: dict[str, list[tuple[float, Mapping[str, str]]]] = defaultdict(list)
    for row in rows:
        if row["metric"] == "measured_bpw":
            measured[row["name"]].append((float(row["value"]), row))
    return [
        (name, round(math.exp(sum(math.log(bits) for bits, _ in cells) / len(cells)), 4), cells[0][1])
        for name, cells in measured.items()
    ]
