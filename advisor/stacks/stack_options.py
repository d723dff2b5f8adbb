"""What one job, or several jobs together, could run in a given memory: the options a stack is put together from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from advisor.candidates import candidates
from advisor.estimate import estimate
from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.recommendation.eligibility import reject
from advisor.recommendation.limits import passes
from advisor.recommendation.request import Request
from advisor.recommendation.score import ScoredEstimate, quality_after_loss, score_estimate
from advisor.recommendation.search import search_all
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.stacks.jobs import Job
from advisor.types import DeviceMemory, Estimate, EstimateWarning, Limits
from catalog.load import Catalog
from catalog.obtain import quant_ids
from catalog.types import ArtifactSpec, ModelSpec
from catalog.weights import weigh

#: Models looked at per job on the whole machine, and again on a small part of it.
_SHORTLIST_COUNT = 7
_SMALL_PART_FRAC = 0.3
_TINY_PART_FRAC = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One model in one setting, and how well it does each of the jobs it is given."""

    jobs: tuple[Job, ...]
    model: ModelSpec
    artifact: ArtifactSpec
    scored: tuple[ScoredEstimate, ...]  # one per job, all of one deployment

    @property
    def estimate(self) -> Estimate:
        """Its prediction at the first of its jobs."""
        return self.scored[0].estimate

    @property
    def usable(self) -> bool:
        """Whether it is fast enough for every job it is given."""
        return all(each.usable for each in self.scored)

    @property
    def memory(self) -> tuple[DeviceMemory, ...]:
        """What it holds on each device."""
        return self.estimate.memory.devices

    def scores(self) -> dict[str, float]:
        """Its score by job."""
        return {job.name: each.score for job, each in zip(self.jobs, self.scored, strict=True)}


def part_of(machine: Machine, frac: float) -> Machine:
    """The machine with a part of every device's memory."""
    return replace(
        machine,
        devices=tuple(
            replace(device, memory_available_bytes=int(device.memory_available_bytes * frac))
            for device in machine.devices
        ),
    )


def capped(machine: Machine, limits: Limits) -> Machine:
    """The machine with no more memory per device than ``--max-memory``."""
    cap = limits.max_memory_bytes
    if cap is None:
        return machine
    devices = (replace(each, memory_available_bytes=min(each.memory_available_bytes, cap)) for each in machine.devices)
    return replace(machine, devices=tuple(devices))


def without(machine: Machine, rows: Iterable[DeviceMemory]) -> Machine:
    """The machine less what is taken; devices that share the computer's memory all lose it."""
    taken = dict.fromkeys((device.device_id for device in machine.devices), 0)
    unified = {device.device_id for device in machine.devices if device.unified and not device.set_aside}
    for row in rows:
        shares = row.device_id in unified or row.device_id not in taken
        for device_id in unified if shares else {row.device_id}:
            taken[device_id] += row.total_bytes
    devices = (
        replace(device, memory_available_bytes=max(0, device.memory_available_bytes - taken[device.device_id]))
        for device in machine.devices
    )
    return replace(machine, devices=tuple(devices))


def shortlist(catalog: Catalog, machine: Machine, job: Job, limits: Limits) -> tuple[ModelSpec, ...]:
    """The models worth considering for a job: its own few, or the best on the whole and on parts of the machine."""
    if job.model_ids is not None:
        found = (catalog.models[model_id] for model_id in job.model_ids(catalog))
        return tuple(model for model in found if _is_licensed(model, limits))
    parts = (1.0, _TINY_PART_FRAC) if job.is_small else (1.0, _SMALL_PART_FRAC, _TINY_PART_FRAC)
    own_limits = replace(limits, max_memory_bytes=None, min_tokens_per_s=None, max_first_token_s=None)
    models: dict[str, ModelSpec] = {}
    for frac in parts:
        request = Request(workload=job.workload, limits=own_limits, top_count=_SHORTLIST_COUNT)
        found_here = search_all(catalog, part_of(machine, frac), request).candidates
        found_here.sort(key=lambda each: (each.best.usable, each.best.score), reverse=True)
        official = [each.model for each in found_here if each.model.official]
        models |= {model.model_id: model for model in official[:_SHORTLIST_COUNT]}
    return tuple(models.values())


def _is_licensed(model: ModelSpec, limits: Limits) -> bool:
    own = (model.license_id or "unknown").lower()
    return not limits.licenses or any(own.startswith(wanted.lower()) for wanted in limits.licenses)


def options(
    catalog: Catalog,
    machine: Machine,
    jobs: Sequence[Job],
    models: Iterable[ModelSpec],
    limits: Limits,
    kv_quant_id: str | None = None,
    settings: LoadSettings = NOTHING_FIXED,
) -> Iterator[Option]:
    """Every setting of every model that does all of some jobs in a machine's memory."""
    longest = max(jobs, key=lambda job: job.workload.context_tokens).workload.context_tokens
    capacity_bytes = sum(machine.available_bytes().values())
    for model in models:
        if any(not _may_do(model, job, limits, longest) for job in jobs):
            continue
        whole_count = 0
        for quant_id in quant_ids(model):
            artifact = weigh(model, quant_id)
            if artifact.file_bytes > capacity_bytes:
                continue
            made = list(_placed(catalog, machine, jobs, model, artifact, longest, limits, kv_quant_id, settings))
            yield from made
            whole_count += any(not _spills(option.estimate) for option in made)
            if whole_count == 2 and not jobs[0].is_small:  # finer types were tried; coarser ones only lose
                break


def _may_do(model: ModelSpec, job: Job, limits: Limits, context_tokens: int) -> bool:
    if job.model_ids is not None:
        return True
    workload = replace(job.workload, context_tokens=context_tokens)
    return reject(model, workload, limits) is None


def _placed(
    catalog: Catalog,
    machine: Machine,
    jobs: Sequence[Job],
    model: ModelSpec,
    artifact: ArtifactSpec,
    context_tokens: int,
    limits: Limits,
    kv_quant_id: str | None,
    settings: LoadSettings,
) -> Iterator[Option]:
    workloads = [replace(job.workload, context_tokens=context_tokens) for job in jobs]
    for made in candidates(model, artifact, machine, workloads[0], kv_quant_id=kv_quant_id, settings=settings):
        estimates = [
            made if index == 0 else estimate(model, artifact, machine, workload, made.deployment)
            for index, workload in enumerate(workloads)
        ]
        scored = tuple(_scored(catalog, model, job, each) for job, each in zip(jobs, estimates, strict=True))
        large = [each for job, each in zip(jobs, scored, strict=True) if not job.is_small]
        if all(passes(each, limits) for each in large):
            yield Option(jobs=tuple(jobs), model=model, artifact=artifact, scored=scored)


def _scored(catalog: Catalog, model: ModelSpec, job: Job, made: Estimate) -> ScoredEstimate:
    weight_loss = catalog.weight_loss_frac(made.quant_id, model, job.workload.task)
    kv_loss = catalog.kv_quant_loss_frac(made.deployment.kv_quant_id, model)
    return score_estimate(made, quality_after_loss(job.quality(catalog, model), weight_loss, kv_loss), job.profile)


def _spills(made: Estimate) -> bool:
    return EstimateWarning.SPILLS_TO_CPU in made.warnings


def on_cpu(machine: Machine) -> Machine | None:
    """The machine's CPU alone, where it has accelerators with memory of their own."""
    host = machine.devices[-1]
    if len(machine.devices) < 2 or host.device_id != CPU_DEVICE_ID or machine.devices[0].unified:
        return None
    return replace(machine, devices=(host,))
