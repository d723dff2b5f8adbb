"""What each device must hold to run a deployment: weights, caches, compute buffers, overheads.

The sum is meant to be what the engine then takes: llama.cpp's own log lines are the yardstick, and nothing
it logs is left out. Blocks go to devices as llama.cpp places them: the first to the CPU, the last and the
output layer to the accelerators; embeddings that are looked up always stay on the CPU.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from advisor.memory import kv_cache
from advisor.memory.activations import activation_bytes
from advisor.memory.compute_buffer import Part, compute_bytes
from advisor.memory.cpu_repack import COMMON
from advisor.memory.kv_cache import LLAMA_CPP_ENGINES, SERVING_ENGINES, CacheSetup, kv_cache_bytes
from advisor.types import Deployment, DeviceMemory, MemoryPlan, Workload
from catalog.tensors import gguf_architecture, layout_key
from catalog.types import ArtifactSpec, Geometry, ModelSpec, Role
from catalog.units import MIB

__all__ = [
    "CPU",
    "Footprint",
    "arrange",
    "footprint_of",
    "kv_cache_bytes",
    "layer_spans",
    "plan_memory",
    "shares_memory",
]

CPU = "cpu"
_LOGIT_BYTES = 4
# What a driver and its libraries keep for a process. CUDA: the 451 to 456 MiB that llama.cpp reports as
# unaccounted on three RTX 4090 (pull request 15860); the others are assumed.
_DRIVER_BYTES = {"cuda": 456 * MIB, "rocm": 456 * MIB, "xpu": 384 * MIB, "vulkan": 256 * MIB, "metal": 64 * MIB}
# Kept free beside a plan on the CPU: the process, its vocabulary, the threads' work buffers.
_CPU_RESERVE_BYTES = 128 * MIB
# The share of a device that vLLM is told to take (``--gpu-memory-utilization``); on a CPU it is told the cache's size.
_VLLM_USABLE_FRAC = 0.9
# Its CUDA graphs, for batches of up to twice the sequences, 512 at most: logged 0.36 GiB up to 16 (gpustack/runner pull
# request 251) and 0.73 GiB up to 512 (vllm pull request 39559).
_FEWEST_GRAPHED, _MOST_GRAPHED = 16, 512
_FEWEST_GRAPHS_BYTES, _MOST_GRAPHS_BYTES = round(0.36 * 1024 * MIB), round(0.73 * 1024 * MIB)
_MATRIX_ROLES = frozenset({Role.ATTENTION, Role.FFN, Role.EXPERT, Role.OUTPUT})
# Their loaders read the multi-token-prediction blocks whether or not they are used.
_LOADING_PREDICTIONS = frozenset({"hy_v3", "step35"})
# Their loaders create the output matrix before the embedding that it is, so without a mapped file both exist.
_READING_TIED_TWICE = frozenset({"gemma3n", "gemma4"})
# The largest of a layer's three expert tensors, with mixed types: what is copied to a device at a time.
_COPIED_EXPERTS_FRAC = 0.42
# Assumed for a model whose geometry is unknown: grouped-query attention with 8 heads of 128, layers by size.
_ASSUMED_KV_DIM = 1024
_ASSUMED_VOCAB_COUNT = 160_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """A model's bytes at one quantisation and workload, before anything is placed.

    The tuples have one entry per block. ``tied_bytes`` is the embedding where it is the output matrix too,
    of which an accelerator needs a copy. ``repack_bytes`` is what a CPU-only engine holds rearranged.
    """

    block_bytes: tuple[int, ...]
    expert_bytes: tuple[int, ...]
    kv_bytes: tuple[int, ...]
    embedding_bytes: int
    output_bytes: int
    tied_bytes: int
    repack_bytes: int
    result_bytes: int
    setup: CacheSetup
    geometry: Geometry | None
    architecture: str | None

    def compute_bytes(self, part: Part) -> int:
        """Compute buffer of a device that runs one part of the graph."""
        if self.geometry is None:
            vocab_count = 0 if part in (Part.INPUT, Part.MIDDLE) else _ASSUMED_VOCAB_COUNT
            return _LOGIT_BYTES * self.setup.ubatch_tokens * vocab_count
        if self.setup.engine_id not in LLAMA_CPP_ENGINES:
            return activation_bytes(self.geometry, self.setup.ubatch_tokens, self.setup.sequences_count)
        return compute_bytes(self.geometry, self.architecture, kv_cache.pooled(self.setup), part)


def footprint_of(
    model: ModelSpec,
    artifact: ArtifactSpec,
    deployment: Deployment,
    workload: Workload,
    repacked_types: Collection[str] = COMMON,
) -> Footprint:
    """Everything about a deployment's memory that does not depend on where its layers go.

    Raises:
        BadRequestError: if the KV type is unknown.
    """
    setup = kv_cache.cache_setup(
        workload.context_tokens,
        deployment.kv_quant_id,
        ubatch_tokens=_step_tokens(deployment),
        sequences_count=workload.concurrency_count,
        engine_id=deployment.engine_id,
        flash_attention=deployment.flash_attention,
        shared_prefix_tokens=workload.shared_prefix_tokens,
        unified=deployment.kv_unified,
        on_cpu=deployment.backend == CPU,
    )
    architecture = gguf_architecture(model)
    with_predictions = architecture in _LOADING_PREDICTIONS
    sums = dict.fromkeys(Role, 0)
    repack = 0
    for group in artifact.groups:
        sums[group.role] += group.weight_bytes
        multiplied = group.role in _MATRIX_ROLES or (with_predictions and group.role is Role.TOWER)
        if multiplied and group.tensor_type in repacked_types:
            repack += group.weight_bytes
    loaded = sum(sums.values()) - (0 if with_predictions else sums[Role.TOWER])
    blocks = artifact.layer_bytes or (loaded - sums[Role.EMBEDDING] - sums[Role.OUTPUT],)
    outside = loaded - sum(blocks) - sums[Role.EMBEDDING]
    vocab_count = model.geometry.vocab_count if model.geometry else _ASSUMED_VOCAB_COUNT
    return Footprint(
        block_bytes=blocks,
        expert_bytes=artifact.expert_bytes or (0,) * len(blocks),
        kv_bytes=_kv_bytes(model, setup, len(blocks)),
        embedding_bytes=sums[Role.EMBEDDING],
        output_bytes=outside,
        tied_bytes=sums[Role.OUTPUT] if _is_tied(model, artifact) else 0,
        repack_bytes=repack,
        result_bytes=_LOGIT_BYTES * vocab_count * workload.concurrency_count,
        setup=setup,
        geometry=model.geometry,
        architecture=architecture,
    )


def _step_tokens(deployment: Deployment) -> int:
    """Prompt tokens that go through the layers together; other engines know batches, not micro-batches."""
    if deployment.engine_id in LLAMA_CPP_ENGINES:
        return min(deployment.ubatch_tokens, deployment.batch_tokens)
    return deployment.batch_tokens


def _kv_bytes(model: ModelSpec, setup: CacheSetup, blocks_count: int) -> tuple[int, ...]:
    if model.geometry is not None:
        geometry, architecture = model.geometry, gguf_architecture(model)
        if geometry.mtp_layers_count:
            geometry = layout_key(model).geometry  # with the prediction blocks that the file really has
        return kv_cache.kv_bytes_by_layer(geometry, architecture, setup, model.max_context_tokens)
    layers = min(128.0, max(16.0, 32.0 * (model.params_total_count / 8e9) ** 0.4))
    per_token = layers * _ASSUMED_KV_DIM * (setup.key_bytes_per_32 + setup.value_bytes_per_32) / 32
    total = round(per_token * setup.context_tokens * setup.sequences_count)
    return (total, *(0,) * (blocks_count - 1))


def _is_tied(model: ModelSpec, artifact: ArtifactSpec) -> bool:
    geometry = model.geometry
    if geometry is None:
        return False
    looked_up = sum(group.params_count for group in artifact.groups if group.role is Role.EMBEDDING)
    return looked_up - geometry.ple_embedding_params_count < geometry.vocab_count * geometry.hidden_dim


@dataclass(slots=True)
class _Parts:
    weights: int = 0
    kv: int = 0
    compute: int = 0
    overhead: int = 0
    repack: int = 0
    mapped: int = 0


def plan_memory(
    model: ModelSpec,
    artifact: ArtifactSpec,
    deployment: Deployment,
    workload: Workload,
    devices: Mapping[str, int | None],
    *,
    shared: Collection[str] = (),
    repacked_types: Collection[str] = COMMON,
) -> MemoryPlan:
    """Memory of a deployment on each device it uses.

    Args:
        model: the model.
        artifact: its weights.
        deployment: how it is loaded; without ``layers_by_device`` it is whole on the first device.
        workload: context per user, and users.
        devices: available bytes by device (None: unknown).
        shared: accelerators whose memory is the computer's own; Metal devices always are.
        repacked_types: what this machine's engine rearranges (see ``advisor.memory.cpu_repack``).

    Raises:
        BadRequestError: if the KV type is unknown.
    """
    footprint = footprint_of(model, artifact, deployment, workload, repacked_types)
    return arrange(footprint, deployment, devices, shared=shared)


def arrange(
    footprint: Footprint,
    deployment: Deployment,
    devices: Mapping[str, int | None],
    *,
    shared: Collection[str] = (),
) -> MemoryPlan:
    """The plan of one placement of a footprint."""
    blocks_count = len(footprint.block_bytes)
    placed = deployment.layers_by_device or {next(iter(devices), CPU): blocks_count}
    spans = layer_spans(placed, blocks_count)
    parts = {device_id: _Parts() for device_id in (*placed, CPU)}
    accelerated = any(device_id != CPU for device_id, _, _ in spans)
    _add_blocks(parts, spans, footprint, deployment)
    _add_ends(parts, spans[-1][0], footprint, deployment, accelerated=accelerated)
    _add_compute(parts, spans, footprint, deployment)
    rows = tuple(
        _row(device_id, part, devices.get(device_id))
        for device_id, part in parts.items()
        if part.weights or part.kv or part.compute
    )
    return MemoryPlan(
        total_bytes=sum(row.total_bytes for row in rows),
        fits=_fits(rows, devices.get(CPU), shared, deployment.engine_id),
        devices=rows,
    )


def layer_spans(placed: Mapping[str, int], blocks_count: int) -> list[tuple[str, int, int]]:
    """Block ranges (device, first, one past the last) as llama.cpp places them: the first blocks on the CPU.

    Counts of a model with unknown layers are shares of one block.
    """
    order = sorted(placed, key=lambda device_id: device_id != CPU)
    spans, first = [], 0
    for device_id in order:
        last = min(blocks_count, first + placed[device_id])
        if last > first:
            spans.append((device_id, first, last))
        first = last
    if not spans:
        return [(order[-1], 0, blocks_count)]
    device_id, first, last = spans[-1]
    spans[-1] = (device_id, first, blocks_count)
    return spans


def _add_blocks(
    parts: dict[str, _Parts], spans: list[tuple[str, int, int]], footprint: Footprint, deployment: Deployment
) -> None:
    kept_count = deployment.experts_on_cpu_layers_count
    for device_id, first, last in spans:
        moved = 0 if device_id == CPU else sum(footprint.expert_bytes[first : max(first, min(last, kept_count))])
        parts[device_id].weights += sum(footprint.block_bytes[first:last]) - moved
        parts[device_id].kv += sum(footprint.kv_bytes[first:last])
        parts[CPU].weights += moved


def _add_ends(
    parts: dict[str, _Parts], last_device: str, footprint: Footprint, deployment: Deployment, *, accelerated: bool
) -> None:
    """Embedding, output layer and result buffer; and what a CPU holds twice."""
    cpu = parts[CPU]
    if deployment.engine_id not in LLAMA_CPP_ENGINES:
        parts[last_device].weights += footprint.embedding_bytes + footprint.output_bytes
        return
    cpu.weights += footprint.embedding_bytes
    parts[last_device].weights += footprint.output_bytes
    if accelerated:
        cpu.weights += footprint.tied_bytes
    cpu.overhead += footprint.result_bytes
    if deployment.mmap:
        cpu.mapped = cpu.weights
    elif footprint.architecture in _READING_TIED_TWICE:
        cpu.weights += footprint.tied_bytes
    if not accelerated:
        # Beside a mapped file every rearranged weight is a second copy; else only a tied embedding's is.
        cpu.repack = footprint.repack_bytes
        cpu.weights += footprint.repack_bytes if deployment.mmap else 0


def _add_compute(
    parts: dict[str, _Parts], spans: list[tuple[str, int, int]], footprint: Footprint, deployment: Deployment
) -> None:
    accelerators = [device_id for device_id, _, _ in spans if device_id != CPU]
    for device_id in accelerators:
        parts[device_id].overhead += _driver_bytes(device_id)
    if deployment.engine_id in SERVING_ENGINES:
        for device_id, _, _ in spans:
            graphs_bytes = 0 if device_id == CPU else _graphs_bytes(footprint.setup.sequences_count)
            parts[device_id].compute += graphs_bytes + footprint.compute_bytes(Part.TAIL)
        return
    if not accelerators:
        parts[CPU].compute += footprint.compute_bytes(Part.WHOLE)
        return
    works = spans[0][0] == CPU or deployment.experts_on_cpu_layers_count > 0
    if deployment.engine_id in LLAMA_CPP_ENGINES:
        parts[CPU].compute += footprint.compute_bytes(Part.HEAD if works else Part.INPUT)
    copied = 0
    if deployment.experts_on_cpu_layers_count:
        copied = round(_COPIED_EXPERTS_FRAC * max(footprint.expert_bytes))
    for device_id in accelerators[:-1]:
        parts[device_id].compute += footprint.compute_bytes(Part.MIDDLE) + copied
    parts[accelerators[-1]].compute += footprint.compute_bytes(Part.TAIL) + copied


def _graphs_bytes(sequences_count: int) -> int:
    largest = max(_FEWEST_GRAPHED, min(2 * sequences_count, _MOST_GRAPHED))
    share = (largest - _FEWEST_GRAPHED) / (_MOST_GRAPHED - _FEWEST_GRAPHED)
    return round(_FEWEST_GRAPHS_BYTES + share * (_MOST_GRAPHS_BYTES - _FEWEST_GRAPHS_BYTES))


def _driver_bytes(device_id: str) -> int:
    return _DRIVER_BYTES.get(device_id.partition(":")[0], _DRIVER_BYTES["vulkan"])


def _row(device_id: str, part: _Parts, available_bytes: int | None) -> DeviceMemory:
    return DeviceMemory(
        device_id=device_id,
        weights_bytes=part.weights,
        kv_bytes=part.kv,
        compute_bytes=part.compute,
        overhead_bytes=part.overhead,
        total_bytes=part.weights + part.kv + part.compute + part.overhead,
        available_bytes=available_bytes,
        repack_bytes=part.repack,
        mapped_bytes=part.mapped,
    )


def shares_memory(device_id: str, shared: Collection[str]) -> bool:
    """Whether an accelerator's memory is the computer's own."""
    return device_id in shared or device_id.startswith("metal")


def _fits(rows: tuple[DeviceMemory, ...], host_bytes: int | None, shared: Collection[str], engine_id: str) -> bool:
    """Every device has room, and the computer has room for all that live in its memory."""
    usable_frac = _VLLM_USABLE_FRAC if engine_id in SERVING_ENGINES else 1.0
    needed_on_host = _CPU_RESERVE_BYTES
    for row in rows:
        if row.device_id == CPU or shares_memory(row.device_id, shared):
            needed_on_host += row.total_bytes
        if row.device_id == CPU or row.available_bytes is None:
            continue
        if row.total_bytes > row.available_bytes * usable_frac:
            return False
    return host_bytes is None or needed_on_host <= host_bytes
