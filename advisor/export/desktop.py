"""LM Studio: a preset under its own keys (those of its SDK's configuration schema, 2025)."""

from collections.abc import Iterator, Mapping
from typing import Any

from advisor.export.pick import Endpoint, Job, Pick, Stack
from advisor.export.settings import Setting
from advisor.export.target import Exported, File
from advisor.export.text import json_text
from catalog.sampling import sampling_for
from catalog.types import FileFormat

#: What it stores a KV cache in.
_KV_TYPES = frozenset({"f32", "f16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"})
_SAMPLING_KEYS = {
    "top_p": "llm.prediction.topPSampling",
    "min_p": "llm.prediction.minPSampling",
    "repeat_penalty": "llm.prediction.repeatPenalty",
    "presence_penalty": "llm.prediction.llama.presencePenalty",
}
_PLAIN_SAMPLING_KEYS = {"temperature": "llm.prediction.temperature", "top_k": "llm.prediction.topKSampling"}
TAKES = frozenset(
    {
        Setting.CONTEXT,
        Setting.KV_TYPE,
        Setting.DEVICE_LAYERS,
        Setting.CPU_EXPERTS,
        Setting.THREADS,
        Setting.FLASH_ATTENTION,
        Setting.MMAP,
    }
)


def lm_studio(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """A preset with the load-time settings."""
    del endpoint  # it has its own port
    pick = stack.first
    fields = _mlx_fields(pick) if pick.deployment.file_format == FileFormat.MLX else _llama_fields(pick)
    preset = {
        "identifier": f"@local:{pick.name}",
        "name": pick.label,
        "changed": False,
        "operation": {"fields": _fields(_sampling_fields(pick))},
        "load": {"fields": _fields(fields)},
    }
    where = f"save as ~/.lmstudio/config-presets/{pick.name}.preset.json and choose it under Presets"
    gpu = _offload_ratio(pick)
    load = f"or load it once: lms load MODEL --context-length {pick.workload.context_tokens} --gpu {gpu}"
    notes = (*caveats, *_notes(pick), where, load)
    return Exported(files=(File(name=f"{pick.name}.preset.json", text=json_text(preset)),), notes=notes)


def _fields(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _sampling_fields(pick: Pick) -> dict[str, Any]:
    """The sampling defaults that the model's makers publish."""
    sampling = sampling_for(pick.model)
    known = sampling.known() if sampling else {}
    fields: dict[str, Any] = {
        key: {"checked": True, "value": known[name]} for name, key in _SAMPLING_KEYS.items() if name in known
    }
    for name, key in _PLAIN_SAMPLING_KEYS.items():
        if name in known:
            fields[key] = known[name]
    return fields


def _mlx_fields(pick: Pick) -> dict[str, Any]:
    return {"llm.load.contextLength": pick.workload.context_tokens}


def _llama_fields(pick: Pick) -> dict[str, Any]:
    root = "embedding.load" if Job.EMBEDDING in pick.jobs else "llm.load"
    fields: dict[str, Any] = {
        f"{root}.contextLength": pick.workload.context_tokens,
        f"{root}.llama.acceleration.offloadRatio": _offload_ratio(pick),
        f"{root}.llama.evalBatchSize": pick.deployment.batch_tokens,
        f"{root}.llama.tryMmap": pick.deployment.mmap,
    }
    return fields if root == "embedding.load" else fields | _language_fields(pick)


def _language_fields(pick: Pick) -> dict[str, Any]:
    deployment = pick.deployment
    fields: dict[str, Any] = {"llm.load.llama.flashAttention": deployment.flash_attention}
    for side, kv_type in zip("kv", _kv_types(pick), strict=True):
        if kv_type != "f16" and kv_type in _KV_TYPES:
            fields[f"llm.load.llama.{side}CacheQuantizationType"] = {"checked": True, "value": kv_type}
    if deployment.threads_count is not None:
        fields["llm.load.llama.cpuThreadPoolSize"] = deployment.threads_count
    if deployment.experts_on_cpu_layers_count:
        layers_count = max(1, sum(deployment.layers_by_device.values()))
        fields["llm.load.numCpuExpertLayersRatio"] = round(deployment.experts_on_cpu_layers_count / layers_count, 4)
    return fields


def _kv_types(pick: Pick) -> tuple[str, str]:
    """Types of keys and values: one for both, or ``keys/values``."""
    key_type, _, value_type = pick.deployment.kv_quant_id.partition("/")
    return key_type, value_type or key_type


def _offload_ratio(pick: Pick) -> float | str:
    layers = pick.deployment.layers_by_device
    if pick.deployment.gpu_layers_count == 0:
        return "off"
    on_cpu = layers.get("cpu", 0)
    return round(1.0 - on_cpu / max(1, sum(layers.values())), 4) if on_cpu else "max"


def _notes(pick: Pick) -> Iterator[str]:
    if pick.deployment.file_format == FileFormat.MLX:
        if pick.deployment.kv_quant_id != "f16":
            yield f"lm-studio's MLX engine has a cache type of its own; choose one beside {pick.deployment.kv_quant_id}"
        return
    for kv_type in dict.fromkeys(_kv_types(pick)):
        if kv_type not in _KV_TYPES:
            yield f"lm-studio cannot store the KV cache as {kv_type}; plan with --kv-type q8_0"
