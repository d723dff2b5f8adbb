"""What crosses the links between devices, in seconds: activations, weights lent for prompts, what does not fit.

Each link is taken at its measured rate, else at a usual one; devices work in turn, so these times add to theirs.
"""

import math
from collections.abc import Iterable

from advisor import roofline
from advisor.machine import (
    ASSUMED_DISK_BYTES_PER_S,
    ASSUMED_LINK_BYTES_PER_S,
    CPU_DEVICE_ID,
    Machine,
    MachineDevice,
)
from advisor.memory.kv_cache import LLAMA_CPP_ENGINES
from advisor.operations import moe_layers_count, operations_count
from advisor.shares import Shares
from advisor.types import Basis, Bound, Deployment, MemoryPlan, Term
from advisor.work import Work
from catalog.types import ModelSpec

#: Assumed latency of handing activations from one accelerator to another, and between one and the CPU: the
#: graph is cut there, threads wake, results are waited for (fitted on ``benchmarks/offload.py``).
_LINK_LATENCY_S = 20e-6
_HOST_LATENCY_S = 300e-6
_ACTIVATION_BYTES = 4
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


def streams_to(machine: Machine, device_ids: Iterable[str], tokens_per_pass: float) -> MachineDevice | None:
    """The accelerator that works through prompts with weights the CPU holds, unless told not to; None: there is none.

    Args:
        machine: the machine.
        device_ids: what holds a part of the model.
        tokens_per_pass: tokens of a micro-batch.
    """
    held = next((device_id for device_id in device_ids if device_id != CPU_DEVICE_ID), machine.devices[0].device_id)
    accelerator = machine.device(held)
    streams = accelerator.backend in _MAPPED_COPY_BYTES_PER_S and not accelerator.unified
    return accelerator if streams and tokens_per_pass >= _STREAMED_FROM_TOKENS else None


def lending_term(work: Work, machine: Machine, accelerator: MachineDevice, deployment: Deployment) -> Term:
    """Weights held by the CPU, copied to the accelerator for each micro-batch of a prompt."""
    accelerator_id = accelerator.device_id
    moved = work.weight_bytes * work.passes_count
    link = machine.link_bytes_per_s.get(accelerator_id)
    rate = link or ASSUMED_LINK_BYTES_PER_S
    if deployment.mmap:
        rate = min(rate * _MAPPED_COPY_FRAC, _MAPPED_COPY_BYTES_PER_S[accelerator.backend])
    return Term(
        name="prefill.link",
        device_id=accelerator_id,
        bytes=moved,
        time_s=moved / rate,
        bound=Bound.LINK,
        basis=Basis.MEASURED if link else Basis.ASSUMED,
    )


def crossing_terms(
    phase: str,
    model: ModelSpec,
    machine: Machine,
    deployment: Deployment,
    shares: Shares,
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
    time_s += launches_s(model, machine, deployment, shares) * passes_count
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


def _crossings_count(model: ModelSpec, deployment: Deployment, shares: Shares) -> float:
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


def launches_s(model: ModelSpec, machine: Machine, deployment: Deployment, shares: Shares) -> float:
    """Seconds of launching operations one by one: over several GPUs llama.cpp cannot replay a recorded CUDA graph."""
    on_cuda = [share for device_id, share in shares if machine.device(device_id).backend == "cuda"]
    if len(on_cuda) < 2 or deployment.engine_id not in LLAMA_CPP_ENGINES or model.geometry is None:
        return 0.0
    launched_frac = sum(share.launched_frac for share in on_cuda)
    return operations_count(model.geometry) * launched_frac * roofline.UNRECORDED_LAUNCH_S


def spill_terms(phase: str, plan: MemoryPlan, machine: Machine, passes_count: int) -> tuple[Term, ...]:
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
                name=f"{phase}.spill",
                device_id=row.device_id,
                bytes=moved,
                time_s=moved / rate,
                bound=Bound.LINK,
                basis=Basis.ASSUMED,
            )
        )
    return tuple(terms)
