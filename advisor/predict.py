"""A prediction for one model where the settings are still open: the best placement that fits."""

from collections.abc import Sequence
from dataclasses import replace

from advisor.candidates import KV_QUANT_IDS, base_deployment, candidates
from advisor.errors import BadRequestError
from advisor.estimate import estimate
from advisor.machine import Machine
from advisor.memory.kv_cache import unusable_reason
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.tuning import tuned
from advisor.types import Estimate, Workload
from catalog.types import ArtifactSpec, ModelSpec


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

    Settings that are not fixed are compared (see ``advisor.tuning``).

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
