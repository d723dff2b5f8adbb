"""Why no stack came about: what each model that was considered lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from advisor.machine import Machine
from advisor.predict import predict
from advisor.recommendation.eligibility import reject
from advisor.recommendation.limits import broken_by, memory_needed
from advisor.recommendation.shortage import together_bytes
from advisor.settings import LoadSettings
from advisor.stacks.jobs import Job
from advisor.types import Estimate, Limits, Rejection
from catalog.obtain import quant_ids
from catalog.types import ModelSpec
from catalog.units import GIB
from catalog.weights import weigh


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What every model of a stack is held to."""

    machine: Machine
    limits: Limits
    kv_quant_id: str | None
    settings: LoadSettings


def why_none(
    jobs: Sequence[Job], undone: Mapping[Job, Sequence[ModelSpec]], asked: Asked
) -> tuple[str, tuple[Rejection, ...]]:
    """Why there is no stack, in one line, and what the models that were considered lack.

    Args:
        jobs: all that was asked for.
        undone: the models considered for each job that none of them does with the machine to itself.
        asked: what they were held to.
    """
    if not undone:
        names = ", ".join(job.name for job in jobs)
        machine = asked.machine.name
        return f"{machine} cannot hold models for {names} together; leave one out, or ask for a shorter --context", ()
    by_job = {job: _refusals(job, models, asked) for job, models in undone.items()}
    first = next(iter(by_job))
    reason = _no_model(first, by_job[first], asked)
    return reason, tuple(rejection for found in by_job.values() for rejection in found)


def _no_model(job: Job, refused: Sequence[Rejection], asked: Asked) -> str:
    """One line with the nearest miss, which is the first."""
    nearest = ""
    if refused:
        lacks = refused[0].reason.removeprefix(f"{job.name}: ")
        nearest = f"; nearest: {refused[0].model_id} {refused[0].quant_id or ''} {lacks}"
    given = " or ".join(_given(asked.limits))
    advice = f"relax {given}" if given else "ask for a shorter --context"
    return f"no model for {job.name} fits {asked.machine.name} within the limits{nearest}; {advice}"


def _given(limits: Limits) -> list[str]:
    """The limits that were set, as on the command line."""
    flags = {
        "--min-tps": limits.min_tokens_per_s,
        "--max-ttft": limits.max_first_token_s,
        "--min-quality": limits.min_quality,
        "--max-memory": limits.max_memory_bytes,
        "--license": limits.licenses or None,
    }
    return [flag for flag, value in flags.items() if value is not None]


def _refusals(job: Job, models: Sequence[ModelSpec], asked: Asked) -> list[Rejection]:
    """What each model lacks, in its smallest published weights, the fastest first; those that lack nothing left out."""
    tried = [(made, _refusal(job, made, asked)) for model in models if (made := _smallest(job, model, asked))]
    tried.sort(key=lambda pair: (pair[0].memory.fits, pair[0].decode_tokens_per_s.mid), reverse=True)
    return [rejection for _, rejection in tried if rejection is not None]


def _smallest(job: Job, model: ModelSpec, asked: Asked) -> Estimate | None:
    """A model in its smallest weights, or None where it may not be ranked for the job at all."""
    quants = quant_ids(model)
    if not quants or (job.model_ids is None and reject(model, job.workload, asked.limits) is not None):
        return None
    weights = (weigh(model, quants[-1]),)
    return predict(model, weights, asked.machine, job.workload, kv_quant_id=asked.kv_quant_id, settings=asked.settings)


def _refusal(job: Job, made: Estimate, asked: Asked) -> Rejection | None:
    if not made.memory.fits:
        return _too_large(job, made, asked)
    broken = None if job.is_small else broken_by(made, asked.limits)
    if broken is None:
        return None
    return Rejection(model_id=made.model_id, quant_id=made.quant_id, reason=f"{job.name}: {broken}")


def _too_large(job: Job, made: Estimate, asked: Asked) -> Rejection:
    needed, free = made.memory.total_bytes, together_bytes(asked.machine.available_bytes(), asked.machine)
    return Rejection(
        model_id=made.model_id,
        quant_id=made.quant_id,
        reason=f"{job.name}: needs {needed / GIB:.1f} GiB, {free / GIB:.1f} GiB is free",
        fix=memory_needed(needed) if asked.limits.max_memory_bytes is not None else None,
    )
