"""Many machines at once."""

from dataclasses import dataclass
from enum import StrEnum

from advisor.types.prediction import SCHEMA_VERSION
from advisor.types.regression import Run
from probes.types import HardwareProfile


class NodeStatus(StrEnum):
    """What became of one node of a fleet."""

    WAITING = "waiting"
    OK = "ok"
    FAILED = "failed"  # the task ran and failed
    LOST = "lost"  # the node or its worker went away, or answered too late


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetNode:
    """One node of a fleet, and what it measured."""

    node_id: str
    name: str
    status: NodeStatus
    reason: str | None = None
    elapsed_s: float | None = None
    profile: HardwareProfile | None = None
    run: Run | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Many machines scanned or benched at once."""

    action: str  # "scan" | "bench"
    nodes: tuple[FleetNode, ...]
    created_at: str
    tool_version: str
    address: str | None = None
    schema_version: int = SCHEMA_VERSION
    kind: str = "fleet"
