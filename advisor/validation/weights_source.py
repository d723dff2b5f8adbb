"""Which weights to time a model with: its own, a twin's, or those of stand-ins with a few of its layers."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from advisor.errors import AdvisorError
from advisor.twins.truncate import StandIns, layer_kinds, plan_stand_ins
from advisor.types import Estimate
from catalog.types import ArtifactSpec, ModelSpec
from catalog.units import GIB

REAL, TWIN, TRUNCATED = "real", "twin", "truncated_twin"
_DISK_SHARE = 0.5  # of the free space that temporary files may take
_MEMORY_SHARE = 0.9
_WRITE_BYTES_PER_S = 0.4e9  # slow enough for any solid-state disk
_WRITE_SHARE = 0.5  # of the time budget


class NoRoomError(AdvisorError):
    """Neither the weights nor stand-ins for them have room here, or can be written in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is to be validated: a prediction and the model it is about."""

    estimate: Estimate
    model: ModelSpec
    artifact: ArtifactSpec
    local_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What this machine can spare, and for how long."""

    disk_bytes: int
    memory_bytes: int
    budget_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The weights to load: one file, or stand-ins. ``notes`` say why not the real ones."""

    weights: str
    stand_ins: StandIns | None = None
    notes: tuple[str, ...] = ()


def measure_room(scratch_root: Path, budget_s: float) -> Room:
    """Free disk where temporary files go, and memory that is available now."""
    import psutil

    existing = next(folder for folder in (scratch_root, *scratch_root.parents) if folder.exists())
    return Room(
        disk_bytes=shutil.disk_usage(existing).free,
        memory_bytes=int(psutil.virtual_memory().available),
        budget_s=budget_s,
    )


def choose_source(candidate: Candidate, room: Room, *, force_twin: bool = False) -> Source:
    """Real weights if they are here and fit, else a full twin if there is room and time, else stand-ins.

    Raises:
        NoRoomError: if not even stand-ins have room.
        CatalogError: if the model's geometry is unknown.
    """
    needed, file_bytes = candidate.estimate.memory.total_bytes, candidate.artifact.file_bytes
    fits = needed <= room.memory_bytes * _MEMORY_SHARE
    if candidate.local_path is not None and fits and not force_twin:
        return Source(weights=REAL)
    notes = (
        [] if fits else [f"it needs {needed / GIB:.1f} GiB of memory, {room.memory_bytes / GIB:.1f} GiB are available"]
    )
    writable = min(room.disk_bytes * _DISK_SHARE, room.budget_s * _WRITE_SHARE * _WRITE_BYTES_PER_S)
    if fits and file_bytes <= writable:
        return Source(weights=TWIN)
    if file_bytes > writable:
        notes.append(f"a twin of {file_bytes / GIB:.1f} GiB takes more disk or time than is allowed")
    spare = min(writable, room.memory_bytes * _MEMORY_SHARE / 2)  # layers may be held twice, repacked
    stand_ins = _plan(candidate, spare)
    if stand_ins is None:
        raise NoRoomError(
            f"{candidate.model.model_id} cannot be timed here: {'; '.join(notes)};"
            " not even a few of its layers have room. Free some disk or memory, or allow more time"
        )
    return Source(weights=TRUNCATED, stand_ins=stand_ins, notes=tuple(notes))


def _plan(candidate: Candidate, spare_bytes: float) -> StandIns | None:
    artifact = candidate.artifact
    kinds = layer_kinds(candidate.model)
    outside = artifact.file_bytes - sum(artifact.layer_bytes)
    room = spare_bytes - outside * (len(kinds) + 1)
    return plan_stand_ins(kinds, artifact.layer_bytes, room_bytes=int(room)) if room > 0 else None
