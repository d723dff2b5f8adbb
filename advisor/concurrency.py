"""Several users at once: how many sessions fit, and what each of them gets.

Both go through what answers for one user. Speeds are `advisor.estimate.estimate` with more users: weights move
once per step, arithmetic grows with the users, tokens wake more experts the more there are, everyone reads their
own cache, and what validations here taught applies. Room is `advisor.memory.plan.plan_memory` with more users,
by the allocation rules of each engine.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from advisor.estimate import estimate
from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.memory.kv_cache import LLAMA_CPP, LLAMA_CPP_ENGINES, SERVING_ENGINES, VLLM
from advisor.memory.plan import plan_memory
from advisor.types import (
    CacheLayout,
    Concurrency,
    Deployment,
    Estimate,
    MemoryPlan,
    SessionRoom,
    UsersSpeed,
    Workload,
)
from advisor.workloads import MAX_CONCURRENCY
from catalog.types import ArtifactSpec, ModelSpec

#: Numbers of users that are looked at, as far as they fit.
_USERS_LADDER_COUNT = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: Backends that vLLM does not have.
_UNPAGED_BACKENDS = frozenset({"metal", "vulkan"})
_PAGED = (CacheLayout.PAGED, CacheLayout.PAGED_SHARED)
#: vLLM's cache types for those of llama.cpp; others have no like.
_PAGED_CACHE_TYPES = {"f16": "f16", "bf16": "bf16", "auto": "auto", "q8_0": "fp8"}


@dataclass(frozen=True, slots=True)
class _Case:
    """A deployment that was estimated, with what it takes to ask about it again."""

    made: Estimate
    model: ModelSpec
    artifact: ArtifactSpec
    machine: Machine
    available_bytes: Mapping[str, int]

    def planned(self, deployment: Deployment, workload: Workload) -> MemoryPlan:
        return plan_memory(
            self.model,
            self.artifact,
            deployment,
            workload,
            self.available_bytes,
            shared=self.machine.shared_device_ids,
            repacked_types=self.machine.repacked_types,
        )

    def estimated(self, workload: Workload) -> Estimate:
        """At the speed of a machine where so many sessions fit."""
        return estimate(self.model, self.artifact, self.machine.with_room(), workload, self.made.deployment)


def with_concurrency(
    made: Estimate,
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    available_bytes: Mapping[str, int] | None = None,
) -> Estimate:
    """An estimate with what several users get, where several or a prefix they share were asked about.

    Args:
        made: the estimate; its deployment is kept, whatever the number of users.
        model: the model.
        artifact: the weights it was made for.
        machine: the machine.
        available_bytes: memory by device where it is limited to less than is free.
    """
    load = made.workload
    if load.concurrency_count == 1 and not load.shared_prefix_tokens:
        return made
    case = _Case(made, model, artifact, machine, available_bytes or machine.available_bytes())
    rooms = tuple(_room(case, layout) for layout in _layouts(made))
    return replace(
        made,
        concurrency=Concurrency(
            session_tokens=_held_tokens(load),
            shared_prefix_tokens=load.shared_prefix_tokens,
            rooms=rooms,
            speeds=tuple(_speed(case, count, rooms) for count in _counts(load, rooms)),
        ),
    )


# Room -----------------------------------------------------------------------------------------


def _layouts(made: Estimate) -> Iterator[CacheLayout]:
    """The layouts worth telling apart, the estimate's own engine's first."""
    contiguous = (CacheLayout.SLOTS, CacheLayout.UNIFIED)
    paged = _PAGED if made.workload.shared_prefix_tokens else _PAGED[:1]
    if made.engine_id in SERVING_ENGINES:
        yield from (*paged, *contiguous)
        return
    if made.engine_id not in LLAMA_CPP_ENGINES:
        yield CacheLayout.GROWING
    yield from (*contiguous, *paged)


def _held_tokens(load: Workload) -> int:
    """What a session holds when its answer ends."""
    return min(load.prompt_tokens + load.output_tokens, load.context_tokens)


def _room(case: _Case, layout: CacheLayout) -> SessionRoom:
    """The most sessions whose plan still fits, and what the last of them added."""
    deployment, load, reason = _as_kept(case.made, layout)
    if reason is not None:
        return SessionRoom(layout=layout, sessions_count=0, session_bytes=0, reason=reason)
    fitting, beyond = 0, MAX_CONCURRENCY + 1
    while beyond - fitting > 1:
        count = (fitting + beyond) // 2
        if case.planned(deployment, replace(load, concurrency_count=count)).fits:
            fitting = count
        else:
            beyond = count
    first, second = (_cache_bytes(case.planned(deployment, replace(load, concurrency_count=n))) for n in (1, 2))
    each = second - first
    return SessionRoom(
        layout=layout,
        sessions_count=fitting,
        session_bytes=each,
        shared_bytes=first - each if layout is CacheLayout.PAGED_SHARED else 0,
        reason=None if fitting else "not even one fits",
    )


def _cache_bytes(plan: MemoryPlan) -> int:
    return sum(row.kv_bytes for row in plan.devices)


def _as_kept(made: Estimate, layout: CacheLayout) -> tuple[Deployment, Workload, str | None]:
    """A deployment and what each of its sessions takes with a layout; or why there is no such thing."""
    deployment, load = made.deployment, made.workload
    if layout is CacheLayout.SLOTS:
        engine_id = deployment.engine_id if deployment.engine_id in LLAMA_CPP_ENGINES else LLAMA_CPP
        return replace(deployment, engine_id=engine_id), replace(load, shared_prefix_tokens=0), None
    prefix = load.shared_prefix_tokens if layout is CacheLayout.PAGED_SHARED else 0
    held = replace(load, context_tokens=_held_tokens(load), shared_prefix_tokens=prefix)
    if layout is CacheLayout.UNIFIED:
        return replace(deployment, engine_id=LLAMA_CPP, kv_unified=True), held, None
    if layout is CacheLayout.GROWING:
        return deployment, held, None
    kv_quant_id = _PAGED_CACHE_TYPES.get(deployment.kv_quant_id, deployment.kv_quant_id)
    engine_id = deployment.engine_id if deployment.engine_id in SERVING_ENGINES else VLLM
    paged = replace(deployment, engine_id=engine_id, kv_quant_id=kv_quant_id)
    return paged, held, _unpageable_reason(deployment, kv_quant_id)


def _unpageable_reason(deployment: Deployment, kv_quant_id: str) -> str | None:
    if deployment.backend in _UNPAGED_BACKENDS:
        return f"vLLM does not run on {deployment.backend}"
    if len(deployment.layers_by_device) > 1 and deployment.layers_by_device.get(CPU_DEVICE_ID):
        return "vLLM keeps every layer on the accelerators"
    if deployment.experts_on_cpu_layers_count:
        return "vLLM keeps every expert on the accelerators"
    if deployment.engine_id in LLAMA_CPP_ENGINES and kv_quant_id not in _PAGED_CACHE_TYPES.values():
        return f"vLLM has no {kv_quant_id} cache"
    return None


# Speed ----------------------------------------------------------------------------------------


def _counts(load: Workload, rooms: tuple[SessionRoom, ...]) -> list[int]:
    """Users to look at: what was asked, and doubling numbers of them as far as any layout holds."""
    most = max(load.concurrency_count, *(room.sessions_count for room in rooms))
    return sorted({load.concurrency_count, *(count for count in _USERS_LADDER_COUNT if count <= most)})


def _speed(case: _Case, users_count: int, rooms: tuple[SessionRoom, ...]) -> UsersSpeed:
    load = replace(case.made.workload, concurrency_count=users_count)
    made = case.estimated(load)
    alone_s = made.first_token_s.mid
    shared_s = None
    if load.shared_prefix_tokens:
        prefix_s = case.estimated(replace(load, prompt_tokens=load.shared_prefix_tokens)).first_token_s.mid
        shared_s = prefix_s + users_count * max(0.0, alone_s - prefix_s)
    return UsersSpeed(
        users_count=users_count,
        decode_tokens_per_s=made.decode_tokens_per_s,
        total_tokens_per_s=users_count * made.decode_tokens_per_s.mid,
        first_token_s=made.first_token_s,
        last_first_token_s=users_count * alone_s,
        last_first_token_shared_s=shared_s,
        layouts=tuple(room.layout for room in rooms if room.sessions_count >= users_count),
    )
