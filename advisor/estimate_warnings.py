"""What a reader of an estimate must know: where it is approximate, does not fit, or rests on what nobody measured."""

from advisor import roofline
from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.memory.kv_cache import LLAMA_CPP_ENGINES
from advisor.shares import Shares
from advisor.types import Basis, Deployment, EstimateWarning, MemoryPlan, Term
from catalog.types import ArtifactSpec, ModelSpec

#: A weight type with a smaller share of the file than this does not make its speed unsure.
_NOTABLE_FRAC = 0.02


def warnings_of(
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    shares: Shares,
    plan: MemoryPlan,
) -> tuple[EstimateWarning, ...]:
    """Warnings about the model, where it lies and what is known of the machine.

    Args:
        model: the model.
        artifact: its weights.
        machine: the machine.
        shares: the part of the model on each device.
        plan: the memory it takes.
    """
    accelerated = any(device.device_id != CPU_DEVICE_ID for device in machine.devices)
    on_cpu = any(device_id == CPU_DEVICE_ID for device_id, _ in shares)
    checks = (
        (EstimateWarning.GEOMETRY_APPROXIMATE, model.geometry is None or not artifact.exact),
        (EstimateWarning.UNCALIBRATED_TYPE, has_unknown_types(artifact, machine, shares)),
        (EstimateWarning.SPILLS_TO_CPU, accelerated and on_cpu),
        (EstimateWarning.OVERFULL, not plan.fits),
        (EstimateWarning.CALIBRATION_POLLUTED, machine.polluted),
        (EstimateWarning.NO_ENGINE, not machine.engine_available),
        (EstimateWarning.UNKNOWN_CHIP_RATES, _has_assumed_rates(machine, shares)),
        (EstimateWarning.MEMORY_LIMIT_TO_RAISE, plan.fits and _is_beyond_default(machine, plan)),
    )
    return tuple(warning for warning, holds in checks if holds)


def unmeasured(machine: Machine, deployment: Deployment, terms: tuple[Term, ...]) -> tuple[EstimateWarning, ...]:
    """Settings whose effect on speed nobody measured here: the speed that is shown is that of the usual ones."""
    swept = any(term.name == "decode.threads" for term in terms)
    other = rethreads(machine.usual_threads_count, deployment, terms)
    plain = deployment.engine_id in LLAMA_CPP_ENGINES and not deployment.flash_attention
    checks = (
        (EstimateWarning.THREADS_NOT_MEASURED, other and not swept),
        (EstimateWarning.PLAIN_ATTENTION_NOT_MEASURED, plain and not knows_plain_attention(machine)),
    )
    return tuple(warning for warning, holds in checks if holds)


def knows_plain_attention(machine: Machine) -> bool:
    """Whether attention without the flash kernel was timed here."""
    timed = any(not attention.flash for device in machine.devices for attention in device.rates.attention)
    return timed or (machine.experience is not None and machine.experience.knows_plain_attention)


def rethreads(usual_count: int | None, deployment: Deployment, terms: tuple[Term, ...]) -> bool:
    """Whether a processor works with another number of threads than its rates hold for."""
    if None in (usual_count, deployment.threads_count) or usual_count == deployment.threads_count:
        return False
    return any(term.device_id == CPU_DEVICE_ID for term in terms)


def has_unknown_types(artifact: ArtifactSpec, machine: Machine, shares: Shares) -> bool:
    """Whether a notable part of the weights is of a type that one of its devices was never timed with."""
    rates = [machine.device(device_id).rates for device_id, _ in shares]
    least_bytes = _NOTABLE_FRAC * artifact.file_bytes
    groups = [group for group in artifact.groups if group.weight_bytes * group.used_frac > least_bytes]
    return any(not roofline.knows_type(rate, group.tensor_type) for rate in rates for group in groups)


def _is_beyond_default(machine: Machine, plan: MemoryPlan) -> bool:
    granted = {device.device_id: device.memory_by_default_bytes for device in machine.devices}
    limits = ((row, granted.get(row.device_id)) for row in plan.devices)
    return any(limit is not None and row.total_bytes > limit for row, limit in limits)


def _has_assumed_rates(machine: Machine, shares: Shares) -> bool:
    return any(machine.device(device_id).rates.basis is Basis.ASSUMED for device_id, _ in shares)
