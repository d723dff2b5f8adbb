"""What each device must hold to run a deployment: weights, caches, compute buffers, overheads.

The sum is meant to be what the engine then takes: llama.cpp's own log lines are the yardstick.
Layers go to devices as llama.cpp places them: the first blocks stay on the CPU, the last blocks and
the output layer on the accelerators, the token embedding always on the CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.kv_cache import cache_setup, kv_bytes_by_layer, kv_cache_bytes
from advisor.types import Deployment, DeviceMemory, MemoryPlan, Workload
from catalog.types import ArtifactSpec, ModelSpec, Role

__all__ = ["kv_cache_bytes", "plan_memory"]

CPU = "cpu"
_LOGIT_BYTES = 4
_DRIVER_BYTES = {"cuda": 400 << 20, "rocm": 400 << 20, "metal": 64 << 20, "vulkan": 200 << 20, "sycl": 300 << 20}


@dataclass(slots=True)
class _Parts:
    weights: int = 0
    kv: int = 0
    compute: int = 0
    overhead: int = 0
    repack: int = 0
    mapped: int = 0


def plan_memory(
    model: ModelSpec,
    artifact: ArtifactSpec,
    deployment: Deployment,
    workload: Workload,
    devices: Mapping[str, int | None],
) -> MemoryPlan:
    """Memory of a deployment on each device it uses; ``devices`` holds available bytes (None: unknown)."""
    placed = deployment.layers_by_device or {next(iter(devices), CPU): len(artifact.layer_bytes) or 1}
    parts = {device_id: _Parts() for device_id in placed}
    parts.setdefault(CPU, _Parts())
    _add_weights(parts, placed, artifact, deployment)
    if model.geometry is not None:
        setup = cache_setup(
            workload.context_tokens,
            deployment.kv_quant_id,
            ubatch_tokens=deployment.ubatch_tokens,
            sequences_count=workload.concurrency_count,
            engine_id=deployment.engine_id,
        )
        kv_by_layer = kv_bytes_by_layer(model.geometry, model.architecture, setup)
        for device_id, first, last in spans(placed, len(kv_by_layer)):
            parts[device_id].kv += sum(kv_by_layer[first:last])
            parts[device_id].compute += _compute_bytes(model, deployment, workload)
        parts[CPU].overhead += _LOGIT_BYTES * model.geometry.vocab_count * workload.concurrency_count
    for device_id in placed:
        parts[device_id].overhead += _DRIVER_BYTES.get(device_id.partition(":")[0], 0)
    rows = tuple(_device_memory(device_id, part, devices.get(device_id)) for device_id, part in parts.items())
    rows = tuple(row for row in rows if row.total_bytes)
    return MemoryPlan(
        total_bytes=sum(row.total_bytes for row in rows),
        fits=all(row.available_bytes is None or row.total_bytes <= row.available_bytes for row in rows),
        devices=rows,
    )


def spans(placed: Mapping[str, int], layers_count: int) -> list[tuple[str, int, int]]:
    """Contiguous block ranges per device: the CPU first, then the accelerators in order."""
    order = sorted(placed, key=lambda device_id: device_id != CPU)
    spans, first = [], 0
    for device_id in order:
        last = min(layers_count, first + placed[device_id])
        if last > first:
            spans.append((device_id, first, last))
        first = last
    return spans


def _add_weights(
    parts: dict[str, _Parts], placed: Mapping[str, int], artifact: ArtifactSpec, deployment: Deployment
) -> None:
    blocks = artifact.layer_bytes
    outside = {Role.EMBEDDING: 0, Role.OUTPUT: 0}
    for group in artifact.groups:
        if group.role in outside:
            outside[group.role] += group.weight_bytes
    if not blocks:
        blocks = (sum(group.weight_bytes for group in artifact.groups) - sum(outside.values()),)
    ranges = spans(placed, len(blocks)) or [(next(iter(placed), CPU), 0, len(blocks))]
    experts_left = deployment.experts_on_cpu_layers_count
    for device_id, first, last in ranges:
        part = sum(blocks[first:last])
        moved = 0 if device_id == CPU else sum(artifact.expert_bytes[first : min(last, experts_left)])
        parts[device_id].weights += part - moved
        parts[CPU].weights += moved
    parts[CPU].weights += outside[Role.EMBEDDING]
    parts[ranges[-1][0]].weights += outside[Role.OUTPUT]


def _compute_bytes(model: ModelSpec, deployment: Deployment, workload: Workload) -> int:
    geometry = model.geometry
    if geometry is None:
        return 0
    tokens = min(deployment.ubatch_tokens, deployment.batch_tokens, workload.context_tokens)
    per_token = _LOGIT_BYTES * (geometry.vocab_count + 4 * geometry.hidden_dim)
    if not deployment.flash_attention:
        per_token += _LOGIT_BYTES * geometry.head_count * workload.context_tokens
    return tokens * per_token


def _device_memory(device_id: str, part: _Parts, available_bytes: int | None) -> DeviceMemory:
    return DeviceMemory(
        device_id=device_id,
        weights_bytes=part.weights,
        kv_bytes=part.kv,
        compute_bytes=part.compute,
        overhead_bytes=part.overhead,
        total_bytes=part.weights + part.kv + part.compute + part.overhead,
        available_bytes=available_bytes,
        repack_bytes=part.repack,
        mapped_bytes=part.mapped,
    )
