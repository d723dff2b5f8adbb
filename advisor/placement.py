"""Where a model's layers go: candidates that fit, best first."""

from collections.abc import Mapping, Sequence

from advisor.memory import CPU, plan_memory
from advisor.types import Deployment, MemoryPlan, Workload
from catalog.types import ArtifactSpec, ModelSpec


def place(
    model: ModelSpec,
    artifact: ArtifactSpec,
    workload: Workload,
    devices: Mapping[str, int | None],
    *,
    base: Deployment | None = None,
) -> Sequence[tuple[Deployment, MemoryPlan]]:
    """Deployments whose memory fits, best first; empty if none does."""
    from dataclasses import replace

    layers_count = len(artifact.layer_bytes) or (model.geometry.layers_count if model.geometry else 1)
    base = base or Deployment(model_id=model.model_id, quant_id=artifact.quant_id)
    found = []
    for device_id in sorted(devices, key=lambda name: name == CPU):
        deployment = replace(base, layers_by_device={device_id: layers_count})
        plan = plan_memory(model, artifact, deployment, workload, devices)
        if plan.fits:
            found.append((deployment, plan))
    return found
