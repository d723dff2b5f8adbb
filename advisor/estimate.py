"""One prediction: memory, prefill, decode, time to first token and load time, with its working.

Everything that predicts (``estimate``, ``recommend``, ``plan``, ``validate``, ``accuracy``) calls
`estimate`, so the same question has the same answer everywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from advisor import links, roofline
from advisor.attention import AttentionKernel
from advisor.errors import BadRequestError
from advisor.estimate_warnings import has_unknown_types, rethreads, unmeasured, warnings_of
from advisor.experience import Subject, corrected, rethreaded, subject_of
from advisor.machine import ASSUMED_DISK_BYTES_PER_S, CPU_DEVICE_ID, Machine
from advisor.memory import plan as memory
from advisor.memory.kv_cache import LLAMA_CPP_ENGINES, bytes_per_element
from advisor.shares import Shares, split
from advisor.types import Basis, Deployment, Estimate, Interval, MemoryPlan, Term, Workload, weakest
from advisor.work import Work, decode_work, prefill_work
from catalog.types import ArtifactSpec, ModelSpec
from catalog.units import Z_80

#: Extra log standard deviation where a weight type, a shape or a disk was never measured here.
_UNKNOWN_TYPE_SIGMA = 0.15
_UNKNOWN_SHAPE_SIGMA = 0.15
_DISK_SIGMA = 0.35
#: Extra log standard deviation of a step that does not fit in memory.
_SPILL_SIGMA = 0.5
#: Log standard deviation of a link nobody measured: cards sit in slots of 4 to 16 lanes.
_LINK_SIGMA = 0.35


@dataclass(frozen=True, slots=True)
class _Phase:
    """Priced terms of one phase and the log standard deviation of their sum."""

    terms: tuple[Term, ...]
    sigma: float

    @property
    def time_s(self) -> float:
        return roofline.total_s(self.terms)


@dataclass(frozen=True, slots=True)
class _Case:
    """What is asked of one model on one machine, and which device holds how much of it."""

    model: ModelSpec
    artifact: ArtifactSpec
    machine: Machine
    workload: Workload
    deployment: Deployment
    shares: Shares

    @property
    def attention_kernel(self) -> AttentionKernel:
        return AttentionKernel(self.deployment.flash_attention, self.deployment.kv_quant_id)

    @property
    def passes_count(self) -> int:
        """Micro-batches of the prompt."""
        return math.ceil(self.workload.prompt_tokens / self.deployment.ubatch_tokens)

    @property
    def launches_s(self) -> float:
        """Seconds of launching operations one by one in each pass."""
        return links.launches_s(self.model, self.machine, self.deployment, self.shares)


def interval(mid: float, sigma: float) -> Interval:
    """The 80 % interval of a positive quantity whose logarithm has standard deviation ``sigma``."""
    factor = math.exp(Z_80 * sigma)
    return Interval(low=mid / factor, mid=mid, high=mid * factor)


def estimate(
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    workload: Workload,
    deployment: Deployment,
    *,
    plan: MemoryPlan | None = None,
) -> Estimate:
    """Predict one deployment of one model on one machine.

    Args:
        model: the model.
        artifact: its weights.
        machine: the machine.
        workload: what is asked of it.
        deployment: how it is loaded.
        plan: the deployment's memory in what is free on the machine, where placing it has worked that out.

    Raises:
        BadRequestError: if the workload's context is beyond what the model was trained for.
    """
    _check_context(model, workload)
    plan = plan or memory.plan_memory(
        model,
        artifact,
        deployment,
        workload,
        machine.available_bytes(),
        shared=machine.shared_device_ids,
        repacked_types=machine.repacked_types,
    )
    shares = split(model, deployment, machine.devices[0].device_id)
    case = _Case(model, artifact, machine, workload, deployment, shares)
    decode = _spilled(_decode(case), "decode", plan, machine, 1)
    prefill = _spilled(_prefill(case), "prefill", plan, machine, case.passes_count)
    if machine.experience is not None:
        subject = subject_of(workload, prefill.terms + decode.terms, deployment)
        decode, prefill = (
            _seen_here(phase, name, subject.in_phase(name), machine, deployment)
            for phase, name in ((decode, "decode"), (prefill, "prefill"))
        )
    decode_s, prefill_s = decode.time_s, prefill.time_s
    terms = prefill.terms + decode.terms
    return Estimate(
        model_id=model.model_id,
        quant_id=artifact.quant_id,
        engine_id=deployment.engine_id,
        deployment=deployment,
        workload=workload,
        prefill_tokens_per_s=interval(workload.prompt_tokens / prefill_s, prefill.sigma),
        decode_tokens_per_s=interval(1.0 / decode_s, decode.sigma),
        first_token_s=interval(prefill_s, prefill.sigma),
        load_s=_load(artifact, machine),
        memory=plan,
        basis=weakest(tuple({term.basis for term in terms})),
        terms=terms,
        warnings=warnings_of(model, artifact, machine, shares, plan) + unmeasured(machine, deployment, terms),
        provenance=_provenance(machine, shares),
    )


def _seen_here(phase: _Phase, name: str, subject: Subject, machine: Machine, deployment: Deployment) -> _Phase:
    """A phase corrected by what validations on this machine measured, as far as the roofs allow."""
    rates = {device.device_id: device.rates for device in machine.devices}
    floor_s = sum(roofline.least_s(rates[term.device_id], term) for term in phase.terms)
    terms, sigma = corrected(machine.experience, name, subject, phase.terms, phase.sigma, floor_s)
    usual, asked = machine.usual_threads_count, deployment.threads_count
    if usual is None or asked is None or not rethreads(usual, deployment, terms):
        return _Phase(terms, sigma)
    counts = {"usual_count": usual, "count": asked}
    return _Phase(*rethreaded(machine.experience, name, subject, terms, sigma, floor_s, **counts))


def _check_context(model: ModelSpec, workload: Workload) -> None:
    limit = model.max_context_tokens
    if limit is not None and workload.context_tokens > limit:
        raise BadRequestError(
            f"{model.model_id} takes at most {limit} tokens of context, {workload.context_tokens} were asked for; "
            f"use --context {limit} or less"
        )


def _decode(case: _Case) -> _Phase:
    """One token for every user, half-way through the answer."""
    workload, deployment = case.workload, case.deployment
    # over several GPUs launches are priced with the links; other engines record the graphs of batches too
    launched_apart = deployment.engine_id not in LLAMA_CPP_ENGINES or case.launches_s > 0.0
    parts = []
    for device_id, share in case.shares:
        rates = case.machine.device(device_id).rates
        if launched_apart:
            rates = replace(rates, batch_s_per_operation=0.0)
        work = decode_work(
            case.artifact,
            case.model.geometry,
            depth_tokens=workload.prompt_tokens + workload.output_tokens / 2.0,
            kv_bytes_per_element=bytes_per_element(deployment.kv_quant_id),
            batch_count=workload.concurrency_count,
            share=share,
            threads_count=rates.threads_count if device_id == CPU_DEVICE_ID else None,
            attention_kernel=case.attention_kernel,
        )
        parts.append(_Phase(roofline.price_decode(work, rates), rates.decode_sigma))
    crossing = links.crossing_terms(
        "decode", case.model, case.machine, deployment, case.shares, tokens=workload.concurrency_count
    )
    return _joined(case, parts, crossing)


def _prefill(case: _Case) -> _Phase:
    """The whole prompt."""
    workload, deployment = case.workload, case.deployment
    parts = []
    working = []  # where the arithmetic is done: nothing is handed to a CPU whose weights are copied away
    for device_id, share in case.shares:
        work = prefill_work(
            case.artifact,
            case.model.geometry,
            prompt_tokens=workload.prompt_tokens,
            ubatch_tokens=deployment.ubatch_tokens,
            share=share,
            attention_kernel=case.attention_kernel,
            architecture=case.model.architecture,
        )
        streamed = _streamed_prefill(case, work, device_id)
        if streamed is None:
            rates = case.machine.device(device_id).rates
            working.append((device_id, share))
        parts.append(streamed or _Phase(roofline.price_prefill(work, rates), rates.prefill_sigma))
    crossing = links.crossing_terms(
        "prefill",
        case.model,
        case.machine,
        deployment,
        tuple(working),
        tokens=workload.prompt_tokens,
        passes_count=case.passes_count,
    )
    return _joined(case, parts, crossing)


def _streamed_prefill(case: _Case, work: Work, device_id: str) -> _Phase | None:
    """Weights held by the CPU, worked with on the accelerator they are copied to; None: they are not.

    It holds for whole layers and for experts alike, whether it pays or not: llama.cpp looks at the tokens of a
    micro-batch only, and copies the experts that those wake. An accelerator in the computer's own memory leaves them.
    """
    if device_id != CPU_DEVICE_ID or not case.deployment.op_offload:
        return None
    accelerator = links.streams_to(case.machine, (name for name, _ in case.shares), work.tokens_per_pass)
    if accelerator is None:
        return None
    rates = accelerator.rates
    lent = links.lending_term(work, case.machine, accelerator, case.deployment)
    sigma = math.hypot(rates.prefill_sigma, _LINK_SIGMA) if lent.basis is Basis.ASSUMED else rates.prefill_sigma
    return _Phase((*roofline.price_prefill(work, rates), lent), sigma)


def _joined(case: _Case, parts: Sequence[_Phase], crossing: tuple[Term, ...]) -> _Phase:
    """The parts on all devices with what crosses between them, and the doubt that what was never timed adds."""
    joined = _join(parts, parallel=case.deployment.split_mode == "row")
    variance = joined.sigma**2
    if has_unknown_types(case.artifact, case.machine, case.shares):
        variance += _UNKNOWN_TYPE_SIGMA**2
    if case.model.geometry is None or not case.artifact.exact:
        variance += _UNKNOWN_SHAPE_SIGMA**2
    return _Phase(joined.terms + crossing, math.sqrt(variance))


def _join(parts: Sequence[_Phase], *, parallel: bool) -> _Phase:
    """Devices in turn add their times; devices side by side (tensor parallel) wait for the slowest."""
    if parallel and len(parts) > 1:
        return max(parts, key=lambda part: part.time_s)
    total_s = sum(part.time_s for part in parts)
    sigma = sum(part.sigma * part.time_s for part in parts) / total_s
    return _Phase(tuple(term for part in parts for term in part.terms), sigma)


def _spilled(phase: _Phase, name: str, plan: MemoryPlan, machine: Machine, passes_count: int) -> _Phase:
    """A phase with what does not fit in memory."""
    terms = links.spill_terms(name, plan, machine, passes_count)
    return _Phase(phase.terms + terms, math.hypot(phase.sigma, _SPILL_SIGMA)) if terms else phase


def _load(artifact: ArtifactSpec, machine: Machine) -> Interval:
    rate = machine.disk_bytes_per_s
    sigma = _DISK_SIGMA if rate else 2 * _DISK_SIGMA
    return interval(artifact.file_bytes / (rate or ASSUMED_DISK_BYTES_PER_S), sigma)


def _provenance(machine: Machine, shares: Shares) -> dict[str, str]:
    sources = {f"rates.{device_id}": machine.device(device_id).rates.source for device_id, _ in shares}
    sources["machine"] = machine.name
    if machine.calibration_id:
        sources["calibration"] = machine.calibration_id
    return {key: text for key, text in sources.items() if text}
