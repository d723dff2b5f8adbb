"""Every placement of one model's weights that fits, estimated."""

from advisor import placement
from advisor.estimate import estimate
from advisor.machine import Machine
from advisor.memory.kv_cache import SERVING_ENGINES
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import Deployment, Estimate, Workload
from catalog.types import ArtifactSpec, ModelSpec

#: Cache types of llama.cpp worth trying, finest first.
KV_QUANT_IDS = ("f16", "q8_0")


def base_deployment(
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    kv_quant_id: str,
    settings: LoadSettings = NOTHING_FIXED,
) -> Deployment:
    """Load-time parameters before anything is placed."""
    first = machine.devices[0]
    base = Deployment(
        model_id=model.model_id,
        quant_id=artifact.quant_id,
        engine_id=machine.engine_id,
        backend=first.backend,
        file_format=artifact.file_format,
        kv_quant_id=kv_quant_id,
        threads_count=machine.devices[-1].rates.threads_count,
    )
    return settings.applied(base)


def kv_quant_ids(engine_id: str) -> tuple[str, ...]:
    """Cache types worth trying with an engine, finest first."""
    return ("f16", "fp8") if engine_id in SERVING_ENGINES else KV_QUANT_IDS


def candidates(
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    workload: Workload,
    *,
    kv_quant_id: str | None = None,
    available_bytes: dict[str, int] | None = None,
    settings: LoadSettings = NOTHING_FIXED,
) -> list[Estimate]:
    """Estimates of the placements that fit, with the finest KV type that lets one fit; empty if none does."""
    free = machine.available_bytes()
    devices: dict[str, int | None] = dict(available_bytes or free)
    for kv_id in (kv_quant_id,) if kv_quant_id else kv_quant_ids(machine.engine_id):
        base = base_deployment(model, artifact, machine, kv_id, settings)
        placed = placement.place(
            model,
            artifact,
            workload,
            devices,
            base=base,
            shared=machine.shared_device_ids,
            repacked_types=machine.repacked_types,
        )
        if placed:
            return [
                estimate(model, artifact, machine, workload, deployment, plan=plan if devices == free else None)
                for deployment, plan in placed
            ]
    return []
