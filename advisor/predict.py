"""A prediction for one model where the settings are still open: the best placement that fits."""

from collections.abc import Sequence
from dataclasses import replace

from advisor import placement
from advisor.errors import BadRequestError
from advisor.estimate import estimate
from advisor.machine import Machine
from advisor.memory.kv_cache import SERVING_ENGINES, unusable_reason
from advisor.settings import NOTHING_FIXED, LoadSettings, tuned
from advisor.types import Deployment, Estimate, Workload
from catalog.types import ArtifactSpec, ModelSpec

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


def predict(
    model: ModelSpec,
    artifacts: Sequence[ArtifactSpec],
    machine: Machine,
    workload: Workload,
    *,
    kv_quant_id: str | None = None,
    settings: LoadSettings = NOTHING_FIXED,
) -> Estimate:
    """The fastest placement of the first weights that fit; over-full (and marked so) if none does.

    Settings that are not fixed are compared (see ``advisor.settings``).

    Raises:
        BadRequestError: if the KV type that is asked for needs flash attention, which is switched off.
    """
    _check_cache_type(model, kv_quant_id, settings)
    for artifact in artifacts:
        found = candidates(model, artifact, machine, workload, kv_quant_id=kv_quant_id, settings=settings)
        if found:
            fastest = max(found, key=lambda made: made.decode_tokens_per_s.mid)
            return tuned(fastest, model, artifact, machine, workload, fixed=settings)
    smallest = artifacts[-1]
    layers_count = len(smallest.layer_bytes) or (model.geometry.layers_count if model.geometry else 1)
    base = base_deployment(model, smallest, machine, kv_quant_id or KV_QUANT_IDS[0], settings)
    everything_on = machine.devices[0].device_id
    deployment = replace(base, layers_by_device={everything_on: layers_count})
    return estimate(model, smallest, machine, workload, deployment)


def _check_cache_type(model: ModelSpec, kv_quant_id: str | None, settings: LoadSettings) -> None:
    if kv_quant_id is None or settings.flash_attention is not False or model.geometry is None:
        return
    reason = unusable_reason(model.geometry, kv_quant_id, flash_attention=False)
    if reason is not None:
        raise BadRequestError(f"--kv-type {kv_quant_id}: {reason}; use --flash-attention on or --kv-type f16")
