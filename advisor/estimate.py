"""One prediction: memory, prefill, decode, time to first token and load time, with its working.

Everything that predicts (``estimate``, ``recommend``, ``plan``, ``validate``, ``accuracy``) calls
`estimate`, so the same question has the same answer everywhere.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from advisor import roofline
from advisor.attention import AttentionKernel
from advisor.errors import BadRequestError
from advisor.estimate_warnings import has_unknown_types, rethreads, unmeasured, warnings_of
from advisor.experience import Subject, corrected, rethreaded, subject_of
from advisor.machine import (
    ASSUMED_DISK_BYTES_PER_S,
    ASSUMED_LINK_BYTES_PER_S,
    CPU_DEVICE_ID,
    Machine,
    MachineDevice,
)
from advisor.memory import plan as memory
from advisor.memory.kv_cache import LLAMA_CPP_ENGINES, bytes_per_element
from advisor.operations import moe_layers_count, operations_count
from advisor.shares import Share
from advisor.types import (
    Basis,
    Bound,
    Deployment,
    Estimate,
    Interval,
    MemoryPlan,
    Term,
    Workload,
    weakest,
)
from advisor.work import Work, decode_work, prefill_work
from catalog.types import ArtifactSpec, Ffn, ModelSpec

#: Half-width of an 80 % interval in standard deviations of a normal distribution.
Z_80 = 1.2816
#: Extra log standard deviation where a weight type, a shape or a disk was never measured here.
_UNKNOWN_TYPE_SIGMA = 0.15
_UNKNOWN_SHAPE_SIGMA = 0.15
_DISK_SIGMA = 0.35
#: Assumed latency of handing activations from one accelerator to another, and between one and the CPU: the
#: graph is cut there, threads wake, results are waited for (fitted on ``benchmarks/offload.py``).
_LINK_LATENCY_S = 20e-6
_HOST_LATENCY_S = 300e-6
_ACTIVATION_BYTES = 4
#: Extra log standard deviation of a step that does not fit in memory.
_SPILL_SIGMA = 0.5
_NEGLIGIBLE_FRAC = 1e-9
#: Tokens of a micro-batch from which llama.cpp works on the accelerator with weights that the CPU holds
#: (``GGML_OP_OFFLOAD_MIN_BATCH``); a product with routed experts counts the tokens, not the experts' rows.
_STREAMED_FROM_TOKENS = 32
#: Rate of copies out of a mapped file relative to page-locked memory, which a link's rate is measured with: locking
#: those pages was worth 21 % of a prompt's speed (llama.cpp issue 25859). Without a mapped file they are locked.
_MAPPED_COPY_FRAC = 0.8
#: Backends that work so, and the most they copy a second out of a mapped file. AMD's driver locks its pages copy by
#: copy: 10.1 GB/s on one RX 7900 (ROCm issue 6523), 8.2 on an RX 6800 XT (llama.cpp pull request 2059), 5.9 on an
#: RX 9070 XT (``benchmarks/offload.py``), of which this is the geometric mean. Vulkan copies through a staging buffer,
#: at 5.9 and more (llama.cpp issue 8164); SYCL is taken to do likewise.
_MAPPED_COPY_BYTES_PER_S = {"cuda": math.inf, "rocm": 7.9e9, "vulkan": 7.9e9, "sycl": 7.9e9}
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
    passes_count = math.ceil(workload.prompt_tokens / deployment.ubatch_tokens)
    decode = _spilled(_decode(model, artifact, machine, workload, deployment, shares), "decode", plan, machine, 1)
    prefill = _prefill(model, artifact, machine, workload, deployment, shares)
    prefill = _spilled(prefill, "prefill", plan, machine, passes_count)
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


def split(
    model: ModelSpec, deployment: Deployment, first_device_id: str = CPU_DEVICE_ID
) -> tuple[tuple[str, Share], ...]:
    """The part of the model each device holds: whole layers, and routed experts moved to the CPU.

    ``--n-cpu-moe N`` moves the experts of the first N layers, dense ones counted, so a model that begins
    with dense layers moves fewer. Without ``layers_by_device`` the first device holds everything.
    """
    placed = deployment.layers_by_device or {first_device_id: 1}
    geometry = model.geometry
    blocks_count = geometry.layers_count if geometry else sum(placed.values())
    has_experts = [ffn in (Ffn.MOE, Ffn.DENSE_AND_MOE) for ffn in geometry.ffns] if geometry else [True] * blocks_count
    experts_count = sum(has_experts)
    moved_count = deployment.experts_on_cpu_layers_count
    spans = memory.layer_spans(placed, blocks_count)
    output_device = spans[-1][0]
    shares: dict[str, Share] = {}
    for device_id, first, last in spans:
        layers_frac = (last - first) / blocks_count
        kept_from = first if device_id == CPU_DEVICE_ID else min(last, max(first, moved_count))
        shares[device_id] = Share(
            layers_frac=layers_frac,
            experts_frac=sum(has_experts[kept_from:last]) / experts_count if experts_count else layers_frac,
            output=device_id == output_device,
            side_by_side=deployment.split_mode == "row" and len(spans) > 1,
        )
    moved_frac = 1.0 - sum(share.experts_frac for share in shares.values())
    if moved_frac > _NEGLIGIBLE_FRAC:
        held = shares.pop(CPU_DEVICE_ID, Share(layers_frac=0.0, experts_frac=0.0, output=False))
        shares[CPU_DEVICE_ID] = replace(held, experts_frac=held.experts_frac + moved_frac)
    return tuple(shares.items())


def _attention_kernel(deployment: Deployment) -> AttentionKernel:
    return AttentionKernel(deployment.flash_attention, deployment.kv_quant_id)


def _decode(
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    workload: Workload,
    deployment: Deployment,
    shares: tuple[tuple[str, Share], ...],
) -> _Phase:
    depth_tokens = workload.prompt_tokens + workload.output_tokens / 2.0
    kv_bytes = bytes_per_element(deployment.kv_quant_id)
    # over several GPUs launches are priced with the links; other engines record the graphs of batches too
    priced = deployment.engine_id not in LLAMA_CPP_ENGINES or _launches_s(model, machine, deployment, shares) > 0.0
    parts = []
    for device_id, share in shares:
        rates = machine.device(device_id).rates
        if priced:
            rates = replace(rates, batch_s_per_operation=0.0)
        work = decode_work(
            artifact,
            model.geometry,
            depth_tokens=depth_tokens,
            kv_bytes_per_element=kv_bytes,
            batch_count=workload.concurrency_count,
            share=share,
            threads_count=rates.threads_count if device_id == CPU_DEVICE_ID else None,
            attention_kernel=_attention_kernel(deployment),
        )
        parts.append(_Phase(roofline.price_decode(work, rates), rates.decode_sigma))
    joined = _join(parts, parallel=deployment.split_mode == "row")
    links = _link_terms("decode", model, machine, deployment, shares, tokens=workload.concurrency_count)
    return _with_doubt(replace(joined, terms=joined.terms + links), model, artifact, machine, shares)


def _prefill(
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    workload: Workload,
    deployment: Deployment,
    shares: tuple[tuple[str, Share], ...],
) -> _Phase:
    parts = []
    working = []  # where the arithmetic is done: nothing is handed to a CPU whose weights are copied away
    for device_id, share in shares:
        work = prefill_work(
            artifact,
            model.geometry,
            prompt_tokens=workload.prompt_tokens,
            ubatch_tokens=deployment.ubatch_tokens,
            share=share,
            attention_kernel=_attention_kernel(deployment),
            architecture=model.architecture,
        )
        device = machine.device(device_id)
        streamed = _streamed_prefill(work, machine, device, deployment, shares)
        own = streamed or _Phase(roofline.price_prefill(work, device.rates), device.rates.prefill_sigma)
        parts.append(own)
        if streamed is None:
            working.append((device_id, share))
    joined = _join(parts, parallel=deployment.split_mode == "row")
    passes_count = math.ceil(workload.prompt_tokens / deployment.ubatch_tokens)
    links = _link_terms(
        "prefill",
        model,
        machine,
        deployment,
        tuple(working),
        tokens=workload.prompt_tokens,
        passes_count=passes_count,
    )
    return _with_doubt(replace(joined, terms=joined.terms + links), model, artifact, machine, shares)


def _streamed_prefill(
    work: Work, machine: Machine, device: MachineDevice, deployment: Deployment, shares: tuple[tuple[str, Share], ...]
) -> _Phase | None:
    """Weights held by the CPU, copied to the accelerator for each micro-batch of a long prompt; None: they are not.

    It holds for whole layers and for experts alike, whether it pays or not: llama.cpp looks at the tokens of a
    micro-batch only, and copies the experts that those wake. An accelerator in the computer's own memory leaves them.
    """
    if device.device_id != CPU_DEVICE_ID or not deployment.op_offload:
        return None
    accelerator = streams_to(machine, (device_id for device_id, _ in shares), work.tokens_per_pass)
    if accelerator is None:
        return None
    accelerator_id, rates = accelerator.device_id, accelerator.rates
    moved = work.weight_bytes * work.passes_count
    link = machine.link_bytes_per_s.get(accelerator_id)
    rate = link or ASSUMED_LINK_BYTES_PER_S
    if deployment.mmap:
        rate = min(rate * _MAPPED_COPY_FRAC, _MAPPED_COPY_BYTES_PER_S[accelerator.backend])
    term = Term(
        name="prefill.link",
        device_id=accelerator_id,
        bytes=moved,
        time_s=moved / rate,
        bound=Bound.LINK,
        basis=Basis.MEASURED if link else Basis.ASSUMED,
    )
    sigma = rates.prefill_sigma if link else math.hypot(rates.prefill_sigma, _LINK_SIGMA)
    return _Phase((*roofline.price_prefill(work, rates), term), sigma)


def streams_to(machine: Machine, device_ids: Iterable[str], tokens_per_pass: float) -> MachineDevice | None:
    """The accelerator that works through prompts with weights the CPU holds, unless told not to; None: there is none.

    Args:
        machine: the machine.
        device_ids: what holds a part of the model.
        tokens_per_pass: tokens of a micro-batch.
    """
    held = next((device_id for device_id in device_ids if device_id != CPU_DEVICE_ID), machine.devices[0].device_id)
    accelerator = machine.device(held)
    streams = accelerator.backend in _MAPPED_COPY_BYTES_PER_S and held not in machine.shared_device_ids
    return accelerator if streams and tokens_per_pass >= _STREAMED_FROM_TOKENS else None


def _join(parts: list[_Phase], *, parallel: bool) -> _Phase:
    """Devices in turn add their times; devices side by side (tensor parallel) wait for the slowest."""
    if parallel and len(parts) > 1:
        return max(parts, key=lambda part: part.time_s)
    total_s = sum(part.time_s for part in parts)
    sigma = sum(part.sigma * part.time_s for part in parts) / total_s
    return _Phase(tuple(term for part in parts for term in part.terms), sigma)


def _crossings_count(model: ModelSpec, deployment: Deployment, shares: tuple[tuple[str, Share], ...]) -> float:
    """How often activations go from one device to another in one pass."""
    geometry = model.geometry
    if deployment.split_mode == "row" and geometry is not None:
        return 2.0 * geometry.layers_count  # one all-reduce after attention, one after the feed-forward
    there_and_back = 0.0
    on_cpu = next((share for device_id, share in shares if device_id == CPU_DEVICE_ID), None)
    if deployment.experts_on_cpu_layers_count and on_cpu is not None and geometry is not None:
        own_frac = min(on_cpu.layers_frac, on_cpu.experts_frac)
        there_and_back = 2.0 * moe_layers_count(geometry) * (on_cpu.experts_frac - own_frac)
    whole = [share for _, share in shares if share.layers_frac]
    return len(whole) - 1 + there_and_back


def _link_terms(
    phase: str,
    model: ModelSpec,
    machine: Machine,
    deployment: Deployment,
    shares: tuple[tuple[str, Share], ...],
    *,
    tokens: int,
    passes_count: int = 1,
) -> tuple[Term, ...]:
    """Activations handed from device to device, and what cutting a graph costs."""
    if len(shares) < 2:
        return ()
    crossings = _crossings_count(model, deployment, shares)
    hidden_dim = model.geometry.hidden_dim if model.geometry else 4096
    moved = crossings * hidden_dim * _ACTIVATION_BYTES * tokens
    first_id = next((device_id for device_id, _ in shares if device_id != CPU_DEVICE_ID), shares[0][0])
    rate = machine.link_bytes_per_s.get(first_id) or ASSUMED_LINK_BYTES_PER_S
    on_host = any(device_id == CPU_DEVICE_ID for device_id, _ in shares)
    time_s = crossings * passes_count * (_HOST_LATENCY_S if on_host else _LINK_LATENCY_S) + moved / rate
    time_s += _launches_s(model, machine, deployment, shares) * passes_count
    return (
        Term(
            name=f"{phase}.link",
            device_id=first_id,
            bytes=moved,
            time_s=time_s,
            bound=Bound.LINK,
            basis=Basis.ASSUMED,
        ),
    )


def _launches_s(
    model: ModelSpec, machine: Machine, deployment: Deployment, shares: tuple[tuple[str, Share], ...]
) -> float:
    """Launching every operation by itself: over several GPUs llama.cpp cannot replay a recorded CUDA graph."""
    on_cuda = [share for device_id, share in shares if machine.device(device_id).backend == "cuda"]
    if len(on_cuda) < 2 or deployment.engine_id not in LLAMA_CPP_ENGINES or model.geometry is None:
        return 0.0
    launched_frac = sum(share.launched_frac for share in on_cuda)
    return operations_count(model.geometry) * launched_frac * roofline.UNRECORDED_LAUNCH_S


def _with_doubt(
    phase: _Phase,
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    shares: tuple[tuple[str, Share], ...],
) -> _Phase:
    variance = phase.sigma**2
    if has_unknown_types(artifact, machine, shares):
        variance += _UNKNOWN_TYPE_SIGMA**2
    if model.geometry is None or not artifact.exact:
        variance += _UNKNOWN_SHAPE_SIGMA**2
    return replace(phase, sigma=math.sqrt(variance))


def _spilled(phase: _Phase, name: str, plan: MemoryPlan, machine: Machine, passes_count: int) -> _Phase:
    """What does not fit, fetched anew in every pass: over the link from the computer's memory, or from the disk.

    A cliff, not a slope: published runs fell from 22 to 8.5 tokens/s with one more expert layer, and to 11 with
    2 GiB too much on a 12 GB card. Whole buffers move, however little of them a token needs.
    """
    terms = []
    for row in plan.devices:
        if row.available_bytes is None or row.total_bytes <= row.available_bytes:
            continue
        moved = float(row.total_bytes - row.available_bytes) * passes_count
        if row.device_id == CPU_DEVICE_ID:
            rate = machine.disk_bytes_per_s or ASSUMED_DISK_BYTES_PER_S
        else:
            rate = machine.link_bytes_per_s.get(row.device_id) or ASSUMED_LINK_BYTES_PER_S
        terms.append(
            Term(
                name=f"{name}.spill",
                device_id=row.device_id,
                bytes=moved,
                time_s=moved / rate,
                bound=Bound.LINK,
                basis=Basis.ASSUMED,
            )
        )
    if not terms:
        return phase
    return _Phase((*phase.terms, *terms), math.hypot(phase.sigma, _SPILL_SIGMA))


def _load(artifact: ArtifactSpec, machine: Machine) -> Interval:
    rate = machine.disk_bytes_per_s
    sigma = _DISK_SIGMA if rate else 2 * _DISK_SIGMA
    return interval(artifact.file_bytes / (rate or ASSUMED_DISK_BYTES_PER_S), sigma)


def _provenance(machine: Machine, shares: tuple[tuple[str, Share], ...]) -> dict[str, str]:
    sources = {f"rates.{device_id}": machine.device(device_id).rates.source for device_id, _ in shares}
    sources["machine"] = machine.name
    if machine.calibration_id:
        sources["calibration"] = machine.calibration_id
    return {key: text for key, text in sources.items() if text}
