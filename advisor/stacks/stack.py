"""Models that live together under one memory budget: a chat model, a completer, an embedder, a reranker, ...

The small models (embedding, reranker, completion) stay loaded. The others are arranged in every way that
people run them, and the arrangement with the best total wins:

* one model for all of them;
* several side by side, the memory shared out between them;
* several that take turns, each with all the memory the small ones leave, at the price of a wait per switch.

The total adds, for each job, the score of the model that does it, as a share of the best score that any
model reaches at that job with the machine to itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor import launch
from advisor.errors import NothingFitsError
from advisor.launch import Shell, shell_text
from advisor.machine import Machine
from advisor.recommendation.limits import check_limits
from advisor.recommendation.reasons import reasons
from advisor.recommendation.recommend import choice
from advisor.recommendation.request import Candidate
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.stacks.jobs import Job
from advisor.stacks.refusals import Asked, why_none
from advisor.stacks.stack_options import Option, capped, on_cpu, options, shortlist, without
from advisor.types import Choice, DeviceMemory, Limits, StackMember, StackMode, StackPlan
from catalog.load import Catalog
from catalog.types import ModelSpec
from catalog.units import GIB

#: Scores of a GiB that a small model takes from the large ones: from generous to stingy.
_PRICES_PER_GIB = (0.0, 0.01, 0.05)
#: Parts of the memory that the first of two models side by side gets.
_PARTS_FRAC = (0.35, 0.5, 0.65)
#: What a switch between models that take turns costs: something always, more the longer it loads.
_SWITCH_COST_FRAC = 0.05
_SWITCH_COST_PER_S = 0.01
_SWITCH_COST_MOST = 0.4
#: What every further large model costs the total: one more thing to keep running, and no cache in common.
_FURTHER_MODEL_COST = 0.03
#: Unusable models count this much.
_UNUSABLE_FACTOR = 0.3
_FIRST_PORT = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrangement:
    """One way to run all the jobs."""

    mode: StackMode
    small: tuple[Option, ...]
    large: tuple[Option, ...]
    total: float


@dataclass(frozen=True, slots=True)
class _Question:
    catalog: Catalog
    machine: Machine
    limits: Limits
    kv_quant_id: str | None
    settings: LoadSettings
    models: Mapping[str, tuple[ModelSpec, ...]]  # by job
    best: Mapping[str, float]  # score by job with the machine to itself; 0 where no model does it

    def value(self, option: Option) -> float:
        """What an option is worth: its scores as shares of the best."""
        shares = sum(min(1.0, score / self.best[name]) for name, score in option.scores().items())
        return shares if option.usable else _UNUSABLE_FACTOR * shares

    def options(self, machine: Machine, jobs: Sequence[Job]) -> Iterator[Option]:
        """Every option for some jobs in a machine's memory."""
        pool = {model.model_id: model for job in jobs for model in self.models[job.name]}
        return options(self.catalog, machine, jobs, pool.values(), self.limits, self.kv_quant_id, self.settings)


def plan_stack(
    catalog: Catalog,
    machine: Machine,
    jobs: Sequence[Job],
    limits: Limits,
    *,
    created_at: str,
    tool_version: str,
    kv_quant_id: str | None = None,
    settings: LoadSettings = NOTHING_FIXED,
) -> StackPlan:
    """The models that do all jobs on one machine with the best total.

    Raises:
        NothingFitsError: if a job has no model that fits, alone or beside the others.
        BadRequestError: if a limit is out of its range.
    """
    check_limits(limits)
    own = capped(machine, limits)
    question = _question(catalog, own, jobs, limits, kv_quant_id, settings)
    found = list(_arrangements(question, jobs)) if all(question.best.values()) else []
    if not found:
        asked = Asked(machine=own, limits=limits, kv_quant_id=kv_quant_id, settings=settings)
        undone = {job: question.models[job.name] for job in jobs if not question.best[job.name]}
        reason, rejected = why_none(jobs, undone, asked)
        raise NothingFitsError(
            reason,
            document=StackPlan(
                jobs=tuple(job.name for job in jobs),
                mode=StackMode.CO_RESIDENT,
                members=(),
                devices=(),
                score=0.0,
                reasons=(reason,),
                rejected=rejected,
                limits=limits,
                hardware=machine.name,
                profile_id=machine.profile_id,
                catalog_version=catalog.version,
                created_at=created_at,
                tool_version=tool_version,
            ),
        )
    best = max(found, key=lambda each: each.total)
    others = [each for each in found if each.mode is not best.mode]
    other = max(others, key=lambda each: each.total) if others else None
    return StackPlan(
        jobs=tuple(job.name for job in jobs),
        mode=best.mode,
        members=_members(best),
        devices=_held(best, machine),
        score=best.total / len(jobs),
        reasons=_reasons(best, other, len(jobs)),
        limits=limits,
        hardware=machine.name,
        profile_id=machine.profile_id,
        catalog_version=catalog.version,
        created_at=created_at,
        tool_version=tool_version,
        other=None if other is None else _in_words(other, len(jobs)),
    )


def _question(
    catalog: Catalog,
    machine: Machine,
    jobs: Sequence[Job],
    limits: Limits,
    kv_quant_id: str | None,
    settings: LoadSettings,
) -> _Question:
    models = {job.name: shortlist(catalog, machine, job, limits) for job in jobs}
    alone = _Question(catalog, machine, limits, kv_quant_id, settings, models, dict.fromkeys(models, 1.0))
    best = {
        job.name: max((option.scores()[job.name] for option in alone.options(machine, (job,))), default=0.0)
        for job in jobs
    }
    return replace(alone, best=best)


# Arrangements ---------------------------------------------------------------------------------


def _arrangements(question: _Question, jobs: Sequence[Job]) -> Iterator[_Arrangement]:
    small_jobs = [job for job in jobs if job.is_small]
    large_jobs = tuple(job for job in jobs if not job.is_small)
    sets = list(_small_sets(question, small_jobs))
    if not large_jobs:
        yield from (_arranged(question, StackMode.CO_RESIDENT, small, ()) for small in sets)
        return
    shared = [found for small in sets for found in _one_for_all(question, small, large_jobs)]
    yield from shared
    for small in (max(shared, key=lambda each: each.total).small,) if shared else sets[-1:]:
        for groups in _partitions(large_jobs):
            yield from _side_by_side(question, small, groups)
            yield from _in_turns(question, small, groups)


def _partitions(jobs: tuple[Job, ...]) -> Iterator[tuple[tuple[Job, ...], ...]]:
    """One job by itself and the rest together, for each of them; and every job by itself."""
    if len(jobs) < 2:
        return
    for job in jobs if len(jobs) > 2 else jobs[:1]:
        yield (job,), tuple(each for each in jobs if each is not job)
    if len(jobs) > 2:
        yield tuple((job,) for job in jobs)


def _small_sets(question: _Question, jobs: Sequence[Job]) -> Iterator[tuple[Option, ...]]:
    """One option per small job, at several prices of memory; each set once."""
    if not jobs:
        yield ()
        return
    host = on_cpu(question.machine)
    pools = []
    for job in jobs:
        pool = list(question.options(question.machine, (job,)))
        pools.append(pool + (list(question.options(host, (job,))) if host else []))
    seen = set()
    for price in _PRICES_PER_GIB:
        chosen: list[Option] = []
        left = question.machine
        for pool in pools:
            fitting = [option for option in pool if _fits(option, left)]
            if not fitting:
                break
            chosen.append(max(fitting, key=lambda option: question.value(option) - price * _weighted_gib(option)))
            left = without(left, chosen[-1].memory)
        key = tuple((option.model.model_id, str(option.estimate.deployment)) for option in chosen)
        if len(chosen) == len(jobs) and key not in seen:
            seen.add(key)
            yield tuple(chosen)


def _weighted_gib(option: Option) -> float:
    """GiB taken; the memory beside an accelerator is worth a tenth."""
    whole = max(option.memory, key=lambda row: row.device_id != "cpu").device_id == "cpu"
    return sum(row.total_bytes * (1.0 if row.device_id != "cpu" or whole else 0.1) for row in option.memory) / GIB


def _fits(option: Option, machine: Machine) -> bool:
    left = without(machine, option.memory)
    taken = {row.device_id: row.total_bytes for row in option.memory}
    return all(
        device.memory_available_bytes > 0 or device.device_id not in taken or taken[device.device_id] == 0
        for device in left.devices
    )


def _best_of(question: _Question, machine: Machine, jobs: Sequence[Job]) -> Option | None:
    return max(question.options(machine, jobs), key=question.value, default=None)


def _one_for_all(question: _Question, small: tuple[Option, ...], jobs: tuple[Job, ...]) -> Iterator[_Arrangement]:
    best = _best_of(question, without(question.machine, _rows(small)), jobs)
    if best is not None:
        yield _arranged(question, StackMode.CO_RESIDENT, small, (best,))


def _side_by_side(
    question: _Question, small: tuple[Option, ...], groups: tuple[tuple[Job, ...], ...]
) -> Iterator[_Arrangement]:
    """Each group's model gets a part of what is left, the last one all the rest."""
    left = without(question.machine, _rows(small))
    for frac in _PARTS_FRAC if len(groups) == 2 else (1.0 / len(groups),):
        chosen: list[Option] = []
        room = left
        for index, group in enumerate(groups):
            last = index == len(groups) - 1
            share = room if last else _share(room, left, frac)
            best = _best_of(question, share, group)
            if best is None:
                break
            chosen.append(best)
            room = without(room, best.memory)
        if len(chosen) == len(groups) == len({option.model.model_id for option in chosen}):
            yield _arranged(question, StackMode.CO_RESIDENT, small, tuple(chosen))


def _share(room: Machine, whole: Machine, frac: float) -> Machine:
    """A part of the whole, as far as there is room."""
    sizes = whole.available_bytes()
    devices = (
        replace(
            device,
            memory_available_bytes=min(device.memory_available_bytes, int(frac * sizes[device.device_id])),
        )
        for device in room.devices
    )
    return replace(room, devices=tuple(devices))


def _in_turns(
    question: _Question, small: tuple[Option, ...], groups: tuple[tuple[Job, ...], ...]
) -> Iterator[_Arrangement]:
    left = without(question.machine, _rows(small))
    chosen = [_best_of(question, left, group) for group in groups]
    found = tuple(option for option in chosen if option is not None)
    if len(found) == len(groups) and len({option.model.model_id for option in found}) > 1:
        yield _arranged(question, StackMode.SWAPPED, small, found)


def _arranged(
    question: _Question, mode: StackMode, small: tuple[Option, ...], large: tuple[Option, ...]
) -> _Arrangement:
    total = sum(question.value(option) for option in small) - _FURTHER_MODEL_COST * max(0, len(large) - 1)
    for option in large:
        worth = question.value(option)
        total += worth * (1.0 - switch_cost_frac(option.estimate.load_s.mid)) if mode is StackMode.SWAPPED else worth
    return _Arrangement(mode=mode, small=small, large=large, total=total)


def switch_cost_frac(load_s: float) -> float:
    """Share of its worth that a model loses by having to be loaded first."""
    return min(_SWITCH_COST_MOST, _SWITCH_COST_FRAC + _SWITCH_COST_PER_S * load_s)


def _rows(chosen: Iterable[Option]) -> list[DeviceMemory]:
    return [row for option in chosen for row in option.memory]


# The document ---------------------------------------------------------------------------------


def _held(found: _Arrangement, machine: Machine) -> tuple[DeviceMemory, ...]:
    """What is loaded at the fullest moment, by device: everything, or the small ones and the largest of the others."""
    if found.mode is StackMode.SWAPPED:
        sizes = [(sum(row.total_bytes for row in option.memory), index) for index, option in enumerate(found.large)]
        rows = _rows((*found.small, found.large[max(sizes)[1]]))
    else:
        rows = _rows((*found.small, *found.large))
    free = machine.available_bytes()
    return tuple(
        _added([row for row in rows if row.device_id == device_id], free.get(device_id))
        for device_id in dict.fromkeys(row.device_id for row in rows)
    )


def _added(rows: Sequence[DeviceMemory], available_bytes: int | None) -> DeviceMemory:
    return DeviceMemory(
        device_id=rows[0].device_id,
        weights_bytes=sum(row.weights_bytes for row in rows),
        kv_bytes=sum(row.kv_bytes for row in rows),
        compute_bytes=sum(row.compute_bytes for row in rows),
        overhead_bytes=sum(row.overhead_bytes for row in rows),
        total_bytes=sum(row.total_bytes for row in rows),
        available_bytes=available_bytes,
        repack_bytes=sum(row.repack_bytes for row in rows),
        mapped_bytes=sum(row.mapped_bytes for row in rows),
    )


def _members(found: _Arrangement) -> tuple[StackMember, ...]:
    swapped = found.mode is StackMode.SWAPPED
    members = []
    for index, option in enumerate((*found.large, *found.small)):
        resident = not swapped or index >= len(found.large)
        members.append(
            StackMember(
                jobs=tuple(job.name for job in option.jobs),
                choice=_choice(option, _FIRST_PORT + index),
                resident=resident,
                swap_s=None if resident else option.estimate.load_s.mid,
            )
        )
    return tuple(members)


def _choice(option: Option, port: int) -> Choice:
    """The option as a pick, with a command on a port of its own."""
    model, first = option.model, option.scored[0]
    made = choice(Candidate(model=model, artifact=option.artifact, best=first), 1)
    command = launch.command(model, first.estimate, port=port)
    texts = reasons(model, first)
    if option.jobs[0].model_ids is not None:
        texts = (f"made for {option.jobs[0].name}", *texts[1:])
    return replace(made, command=shell_text(command, Shell.POSIX), reasons=texts)


def _reasons(best: _Arrangement, other: _Arrangement | None, jobs_count: int) -> tuple[str, ...]:
    found = [_in_words(best, jobs_count)]
    if len(best.large) == 1 and len(best.large[0].jobs) > 1:
        names = " and ".join(job.name for job in best.large[0].jobs)
        found.append(f"one {best.large[0].model.display_name} does {names} with all the memory that is left")
    if best.mode is StackMode.SWAPPED:
        waits = ", ".join(f"{each.estimate.load_s.mid:.0f} s" for each in best.large)
        found.append(f"they take turns, because side by side each would be weaker; a switch takes {waits}")
    if other is not None:
        found.append(f"instead: {_in_words(other, jobs_count)}")
    return tuple(found)


def _in_words(found: _Arrangement, jobs_count: int) -> str:
    names = " + ".join(f"{option.model.display_name} {option.estimate.quant_id}" for option in found.large)
    small = ", ".join(option.model.display_name for option in found.small)
    how = "taking turns" if found.mode is StackMode.SWAPPED else "all loaded"
    beside = f" beside {small}" if small and names else small
    share = found.total / jobs_count
    return f"{how}: {names}{beside}; each job gets {share:.0%} of what it could have with the machine to itself"
