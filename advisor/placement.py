"""Where a model's layers go: the placements that fit, best first.

Nothing over-full is ever offered: past a device's memory, speed falls off a cliff. A placement is better the
more of the model's work runs on accelerators: whole on one, then spread over several, then (for mixtures of
experts) with routed experts of the first layers on the CPU, then with whole layers there, then on the CPU alone.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from advisor.memory.cpu_repack import COMMON
from advisor.memory.kv_cache import LLAMA_CPP_ENGINES, SERVING_ENGINES, unusable_reason
from advisor.memory.plan import CPU, Footprint, arrange, footprint_of, shares_memory
from advisor.types import Deployment, MemoryPlan, Workload
from catalog.types import ArtifactSpec, ModelSpec

Placement = tuple[Deployment, MemoryPlan]
#: Engines of llama.cpp's kind that move whole layers only.
_WITHOUT_EXPERT_PLACEMENT = frozenset({"ollama"})
_ROW_SPLIT_KINDS = frozenset({"cuda", "rocm"})


def place(
    model: ModelSpec,
    artifact: ArtifactSpec,
    workload: Workload,
    devices: Mapping[str, int | None],
    *,
    base: Deployment | None = None,
    shared: Collection[str] = (),
    repacked_types: Collection[str] = COMMON,
) -> Sequence[Placement]:
    """Deployments that fit, best first, with their memory; none if nothing fits.

    Args:
        model: the model.
        artifact: its weights.
        workload: context per user, and users.
        devices: available bytes by device (None: unknown), accelerators in order of preference.
        base: everything about the deployment that is not placement.
        shared: accelerators whose memory is the computer's own; Metal devices always are.
        repacked_types: what this machine's engine rearranges (see ``advisor.memory.cpu_repack``).

    Raises:
        BadRequestError: if the KV type is unknown.
    """
    base = base or Deployment(model_id=model.model_id, quant_id=artifact.quant_id)
    geometry = model.geometry if base.engine_id in LLAMA_CPP_ENGINES else None
    if geometry is not None and unusable_reason(geometry, base.kv_quant_id, base.flash_attention):
        return []
    footprint = footprint_of(model, artifact, base, workload, repacked_types)
    search = _Search(footprint, base, devices, shared)
    return list(search.found())


class _Search:
    """Tries the placements of one footprint in order."""

    def __init__(
        self,
        footprint: Footprint,
        base: Deployment,
        devices: Mapping[str, int | None],
        shared: Collection[str],
    ) -> None:
        self._footprint = footprint
        self._base = base
        self._devices = devices
        self._shared = shared
        self._blocks_count = len(footprint.block_bytes)
        self._accelerators = [device_id for device_id in devices if device_id != CPU]
        self._splits = base.engine_id in LLAMA_CPP_ENGINES  # the others keep a model on accelerators
        self._room = self._rooms() if len(self._accelerators) > 1 else dict.fromkeys(self._accelerators, 1)

    def _rooms(self) -> dict[str, int]:
        """What each accelerator has beside its fixed costs."""
        layers = dict.fromkeys(self._accelerators, 1)
        plan = arrange(self._footprint, replace(self._base, layers_by_device=layers), {})
        fixed = {row.device_id: row.compute_bytes + row.overhead_bytes for row in plan.devices}
        return {device: max(1, (self._devices[device] or 0) - fixed.get(device, 0)) for device in layers}

    def found(self) -> Iterator[Placement]:
        """Every placement that fits, best first."""
        whole = list(self._whole())
        yield from whole
        own_memory = [device for device in self._accelerators if not shares_memory(device, self._shared)]
        if not whole and own_memory and CPU in self._devices and self._splits:
            yield from self._with_cpu(own_memory)
        if CPU in self._devices and self._runs_on_cpu(whole, own_memory):
            yield from self._on_cpu()

    def _runs_on_cpu(self, whole: Sequence[Placement], own_memory: Sequence[str]) -> bool:
        """Whether the CPU alone is worth offering: nothing is faster, or the accelerator shares its memory."""
        if not self._accelerators:
            return True
        return self._splits and (not whole or len(own_memory) < len(self._accelerators))

    def _try(self, deployment: Deployment) -> Placement | None:
        plan = arrange(self._footprint, deployment, self._devices, shared=self._shared)
        return (deployment, plan) if plan.fits else None

    def _whole(self) -> Iterator[Placement]:
        """All layers on accelerators: on one, or spread over all of them."""
        alone = [replace(self._base, layers_by_device={device: self._blocks_count}) for device in self._accelerators]
        for deployment in (*alone, *self._spread()):
            placement = self._try(deployment)
            if placement:
                yield placement

    def _spread(self) -> Iterator[Deployment]:
        if len(self._accelerators) < 2:
            return
        spread = self._on(self._accelerators)
        kinds = {device_id.partition(":")[0] for device_id in self._accelerators}
        in_rows = replace(spread, split_mode="row")
        if self._base.engine_id in SERVING_ENGINES:
            yield in_rows
        yield spread
        if self._splits and len(kinds) == 1 and kinds <= _ROW_SPLIT_KINDS:
            yield in_rows

    def _with_cpu(self, accelerators: Sequence[str]) -> Iterator[Placement]:
        """The fewest layers' experts on the CPU; else the most whole layers on the accelerators."""
        placement = None
        if any(self._footprint.expert_bytes) and self._base.engine_id not in _WITHOUT_EXPERT_PLACEMENT:
            placement = self._first_that_fits(
                lambda moved: self._on(accelerators, moved_count=moved), 1, self._blocks_count
            )
        if placement is None:
            placement = self._first_that_fits(
                lambda left: self._on(accelerators, left_count=left), 1, self._blocks_count - 1
            )
        if placement:
            yield placement

    def _on(self, accelerators: Sequence[str], *, left_count: int = 0, moved_count: int = 0) -> Deployment:
        """The blocks after the first ``left_count`` on accelerators, in proportion to their room.

        ``moved_count`` is the number of layers whose routed experts stay on the CPU.
        """
        footprint = self._footprint
        sizes = [
            weights + kv - (experts if index < moved_count else 0)
            for index, (weights, kv, experts) in enumerate(
                zip(footprint.block_bytes, footprint.kv_bytes, footprint.expert_bytes, strict=True)
            )
        ][left_count:]
        counts = _share_out(sizes, [self._room[device] for device in accelerators])
        layers = dict(zip(accelerators, counts, strict=True))
        if left_count:
            layers = {CPU: left_count, **layers}
        return replace(
            self._base,
            layers_by_device={device: count for device, count in layers.items() if count},
            experts_on_cpu_layers_count=moved_count,
            split_mode="layer" if len(accelerators) > 1 else self._base.split_mode,
        )

    def _first_that_fits(self, deploy: Callable[[int], Deployment], low: int, high: int) -> Placement | None:
        """Bisect for the smallest number that fits: each further step takes memory off the accelerators."""
        best = None
        while low <= high:
            middle = (low + high) // 2
            deployment = deploy(middle)
            plan = arrange(self._footprint, deployment, self._devices, shared=self._shared)
            if plan.fits:
                best, high = (deployment, plan), middle - 1
            elif _is_full(plan):
                low = middle + 1
            else:
                high = middle - 1  # only the CPU overflows: moving less may still fit
        return best

    def _on_cpu(self) -> Iterator[Placement]:
        """The CPU alone; without a mapped file where the second copy of its weights would not fit."""
        deployment = replace(self._base, layers_by_device={CPU: self._blocks_count})
        placement = self._try(deployment)
        if placement is None and deployment.mmap:
            placement = self._try(replace(deployment, mmap=False))
        if placement:
            yield placement


def _share_out(sizes: Sequence[int], rooms: Sequence[int]) -> list[int]:
    """How many consecutive blocks each device takes, for its share of the bytes to match its share of room."""
    total, room = sum(sizes), sum(rooms)
    counts = []
    start, done, seen = 0, 0, 0
    for size in rooms[:-1]:
        seen += size
        end = start
        while end < len(sizes) and done + sizes[end] / 2 <= total * seen / room:
            done += sizes[end]
            end += 1
        counts.append(end - start)
        start = end
    return [*counts, len(sizes) - start]


def _is_full(plan: MemoryPlan) -> bool:
    """Whether an accelerator, rather than the CPU, lacks room."""
    return any(
        row.device_id != CPU and row.available_bytes is not None and row.total_bytes > row.available_bytes
        for row in plan.devices
    )
