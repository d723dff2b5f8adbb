"""What a machine has for a model, and by how much one is too large for it."""

from dataclasses import replace

from advisor.candidates import base_deployment, kv_quant_ids
from advisor.engines.requirements import GGUF_ENGINES
from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.memory.plan import plan_memory
from advisor.recommendation.request import Request
from advisor.types import DeviceMemory, Limits, Rejection
from catalog.types import ArtifactSpec, ModelSpec
from catalog.units import GIB


def limited_memory(machine: Machine, limits: Limits) -> dict[str, int]:
    """What a model may take on each device: what is free there, or the user's own limit."""
    cap = limits.max_memory_bytes
    available = machine.available_bytes()
    return {device: min(size, cap) if cap is not None else size for device, size in available.items()}


def together_bytes(free: dict[str, int], machine: Machine) -> int:
    """What is free on all devices together: those in the computer's own memory add none to it."""
    own = [size for device_id, size in free.items() if device_id not in machine.shared_device_ids]
    return sum(own or free.values())


def too_large(model: ModelSpec, smallest: ArtifactSpec | None, machine: Machine, request: Request) -> Rejection:
    """Why no quantisation of a model fits."""
    if smallest is None:
        return Rejection(model_id=model.model_id, reason="no quantisation of it is known")
    needed_gib = smallest.file_bytes / GIB
    free, where = limited_memory(machine, request.limits), ""
    if machine.engine_id not in GGUF_ENGINES and len(free) > 1:  # other engines keep a model off the CPU
        free, where = {device: size for device, size in free.items() if device != CPU_DEVICE_ID}, " on accelerators"
    free_bytes = together_bytes(free, machine)
    reason = (
        f"needs {_gib(needed_gib)} GiB for weights alone at {smallest.quant_id}, "
        f"{_gib(free_bytes / GIB)} GiB is free{where}"
    )
    if smallest.file_bytes < free_bytes:
        row = _overfull(model, smallest, machine, request, free)
        needed_gib = row.total_bytes / GIB
        reason = (
            f"needs {_gib(needed_gib)} GiB on {row.device_id} at {smallest.quant_id} with "
            f"{request.workload.context_tokens} tokens of context, {_gib(free[row.device_id] / GIB)} GiB is free there"
        )
    fix = f"a machine with {needed_gib * 1.1 + 1:.0f} GiB free{where}"
    return Rejection(model_id=model.model_id, quant_id=smallest.quant_id, reason=reason, fix=fix)


def _gib(size: float) -> str:
    return f"{size:.1f}" if size >= 1.0 else f"{size:.2f}"


def _overfull(
    model: ModelSpec, artifact: ArtifactSpec, machine: Machine, request: Request, free: dict[str, int]
) -> DeviceMemory:
    """What overflows of a model whose weights alone would fit, put where there is most room."""
    kv_quant_id = request.kv_quant_id or kv_quant_ids(machine.engine_id)[-1]
    base = base_deployment(model, artifact, machine, kv_quant_id, request.settings)
    roomiest = max(free, key=lambda device_id: free[device_id])
    plan = plan_memory(
        model,
        artifact,
        replace(base, layers_by_device={roomiest: len(artifact.layer_bytes) or 1}),
        request.workload,
        free,
        shared=machine.shared_device_ids,
        repacked_types=machine.repacked_types,
    )
    overfull = (row for row in plan.devices if row.total_bytes > free.get(row.device_id, 0))
    return next(overfull, next(row for row in plan.devices if row.device_id == roomiest))
