"""One question about one model, and the same with one thing changed: what may be tried to make it run, or better."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.recommendation.eligibility import reject
from advisor.recommendation.limits import passes
from advisor.recommendation.request import Candidate, Request, settled
from advisor.recommendation.score import ScoredEstimate
from advisor.recommendation.search import search_model
from advisor.types import EstimateWarning, Limits, Rejection, Task
from catalog.load import Catalog
from catalog.obtain import quant_ids
from catalog.types import ModelSpec
from catalog.units import GIB

_KV_QUANT_IDS = ("q8_0", "q4_0")
_STEP_TOKENS = 1024
_LARGEST_EXTRA_GIB = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The question with one thing changed."""

    kind: str
    option: str
    request: Request
    machine: Machine
    quants: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Case:
    """The model that is asked about, as it was asked."""

    catalog: Catalog
    machine: Machine
    model: ModelSpec
    request: Request
    quants: tuple[str, ...] | None

    def asked(self) -> Candidate | Rejection:
        """The answer to the question itself."""
        return self.tried(Variant(kind="", option="", request=self.request, machine=self.machine, quants=self.quants))

    def tried(self, variant: Variant) -> Candidate | Rejection:
        """The answer with one thing changed."""
        refusal = reject(self.model, variant.request.workload, variant.request.limits)
        if refusal is not None:
            return refusal
        return search_model(self.catalog, variant.machine, self.model, variant.request, quants=variant.quants)


def preferred(candidate: Candidate, limits: Limits) -> ScoredEstimate:
    """Its best setting within the limits; if there is none, its best."""
    options = (candidate.best, *candidate.others)
    allowed = [option for option in options if passes(option, limits)]
    return settled(allowed or options)


def spilled_bytes(option: ScoredEstimate) -> int:
    """What an estimate holds on the CPU although there is an accelerator; 0 where nothing spills."""
    if EstimateWarning.SPILLS_TO_CPU not in option.estimate.warnings:
        return 0
    rows = [row for row in option.estimate.memory.devices if row.device_id == CPU_DEVICE_ID]
    return sum(row.weights_bytes + row.kv_bytes for row in rows)


def variants(case: Case, option: ScoredEstimate | None) -> Iterator[Variant]:
    """The question with one thing changed, the smallest change first."""
    yield from _kv_variants(case, option)
    yield from _quant_variants(case, option)
    yield from _limit_variants(case)
    yield from _shorter_variants(case)
    yield from _memory_variants(case, option)


def _variant(
    case: Case,
    kind: str,
    option: str,
    *,
    request: Request | None = None,
    machine: Machine | None = None,
    quants: tuple[str, ...] | None = None,
) -> Variant:
    return Variant(
        kind=kind,
        option=option,
        request=request or case.request,
        machine=machine or case.machine,
        quants=quants or case.quants,
    )


def _kv_variants(case: Case, option: ScoredEstimate | None) -> Iterator[Variant]:
    used = option.estimate.deployment.kv_quant_id if option else case.request.kv_quant_id
    quants = case.quants or ((option.estimate.quant_id,) if option else None)
    for kv in _KV_QUANT_IDS:
        if kv != used:
            request = replace(case.request, kv_quant_id=kv)
            yield _variant(case, "kv_type", f"--kv-type {kv}", request=request, quants=quants)


def _quant_variants(case: Case, option: ScoredEstimate | None) -> Iterator[Variant]:
    """Each other published quantisation, the finest first."""
    used = option.estimate.quant_id if option else (case.quants or ("",))[0]
    for quant_id in quant_ids(case.model):
        if quant_id != used and (case.quants or option is not None):
            name = case.model.model_id.rpartition("/")[2]
            yield _variant(case, "quant", f"{name}:{quant_id}", quants=(quant_id,))


def _limit_variants(case: Case) -> Iterator[Variant]:
    limits = case.request.limits
    if limits.max_memory_bytes is not None:
        request = replace(case.request, limits=replace(limits, max_memory_bytes=None))
        yield _variant(case, "limit", "without --max-memory", request=request)
    if limits.licenses and case.model.license_id:
        request = replace(case.request, limits=replace(limits, licenses=(*limits.licenses, case.model.license_id)))
        yield _variant(case, "limit", f"--license {case.model.license_id}", request=request)
    if case.request.workload.task not in case.model.tasks:
        for task in sorted(map(Task, case.model.tasks), key=list(Task).index):
            workload = replace(case.request.workload, task=task)
            yield _variant(case, "task", f"--task {task}", request=replace(case.request, workload=workload))


def _shorter_variants(case: Case) -> Iterator[Variant]:
    """Shorter contexts down to what prompt and answer need, then shorter prompts."""
    workload = case.request.workload
    needed = workload.prompt_tokens + workload.output_tokens
    context = workload.context_tokens
    longest = case.model.max_context_tokens
    if longest is not None and needed <= longest < context:
        yield _with_context(case, longest)
    while context // 2 >= needed:
        context //= 2
        yield _with_context(case, context)
    prompt = workload.prompt_tokens
    while prompt >= 2 * _STEP_TOKENS:
        prompt //= 2
        shorter = replace(workload, prompt_tokens=prompt)
        yield _variant(case, "prompt", f"--prompt {prompt}", request=replace(case.request, workload=shorter))


def _with_context(case: Case, tokens: int) -> Variant:
    workload = replace(case.request.workload, context_tokens=tokens)
    return _variant(case, "context", f"--context {tokens}", request=replace(case.request, workload=workload))


def _memory_variants(case: Case, option: ScoredEstimate | None) -> Iterator[Variant]:
    """The least memory more, in whole GiB on one device, with which it fits, and on the first without spilling."""
    if option is not None and not spilled_bytes(option):
        return
    first, last = case.machine.devices[0].device_id, case.machine.devices[-1].device_id
    if option is None and last != first:
        yield from _least_memory(case, last, lambda _best: True)
    yield from _least_memory(case, first, lambda best: not spilled_bytes(best))


def _least_memory(case: Case, device_id: str, mended: Callable[[ScoredEstimate], bool]) -> Iterator[Variant]:
    def is_enough(extra_gib: int) -> bool:
        outcome = case.tried(_memory_variant(case, device_id, extra_gib))
        return isinstance(outcome, Candidate) and mended(outcome.best)

    low, high = 1, _LARGEST_EXTRA_GIB
    if not is_enough(high):
        return
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    yield _memory_variant(case, device_id, low)


def _memory_variant(case: Case, device_id: str, extra_gib: int) -> Variant:
    devices = tuple(
        replace(device, memory_available_bytes=device.memory_available_bytes + extra_gib * GIB)
        if device.device_id == device_id
        else device
        for device in case.machine.devices
    )
    limits = replace(case.request.limits, max_memory_bytes=None)
    is_host = device_id == CPU_DEVICE_ID and len(devices) > 1
    return _variant(
        case,
        "ram" if is_host else "memory",
        f"+{extra_gib} GiB of RAM" if device_id == CPU_DEVICE_ID else f"+{extra_gib} GiB of memory on {device_id}",
        machine=replace(case.machine, devices=devices),
        request=replace(case.request, limits=limits),
    )
