"""Many reference machines at once: one task per node, results as they come, lost nodes tolerated.

The cluster is a seam: `advisor.fleet.ray_cluster` is the real one. A node's answer is untrusted text and goes
through the codec like any file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from advisor import codec
from advisor.errors import AdvisorError
from advisor.types import Fleet, FleetNode, NodeStatus, Run
from probes.types import HardwareProfile

SCAN = "scan"
BENCH = "bench"
_POLL_S = 1.0


class FleetError(AdvisorError):
    """A cluster cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine of a cluster."""

    node_id: str
    name: str
    cpus_count: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a task left behind: a document's text, or why there is none."""

    node_id: str
    text: str | None = None
    failure: str | None = None
    lost: bool = False


class Cluster(Protocol):
    """Machines that can each run a task."""

    def nodes(self) -> Sequence[Node]:
        """Machines that are alive."""
        ...

    def submit(self, node: Node, action: str, payload: Mapping[str, Any]) -> None:
        """Start a task on one machine, which then has it to itself."""
        ...

    def poll(self, wait_s: float) -> Sequence[Answer]:
        """Answers that came within the time."""
        ...

    def abandon(self, node_id: str) -> None:
        """Stop waiting for a machine, and stop its task if it still runs."""
        ...


OnChange = Callable[[Sequence[FleetNode]], None]


def _answered(node: FleetNode, answer: Answer, action: str, elapsed_s: float) -> FleetNode:
    """The node with its document, or with the reason for having none."""
    node = replace(node, elapsed_s=elapsed_s)
    if answer.text is None:
        status = NodeStatus.LOST if answer.lost else NodeStatus.FAILED
        return replace(node, status=status, reason=answer.failure or "no reason given")
    try:
        document = codec.loads(answer.text, where=f"node {node.name}")
    except codec.DocumentError as error:
        return replace(node, status=NodeStatus.FAILED, reason=str(error))
    if action == SCAN and isinstance(document, HardwareProfile):
        return replace(node, status=NodeStatus.OK, profile=document)
    if action == BENCH and isinstance(document, Run):
        return replace(node, status=NodeStatus.OK, run=document)
    return replace(node, status=NodeStatus.FAILED, reason=f"answered with a {document.kind} document")


def _rounds(cluster: Cluster, clock: Callable[[], float], limit_s: float) -> Iterator[Sequence[Answer]]:
    started = clock()
    while clock() - started < limit_s:
        yield cluster.poll(min(_POLL_S, limit_s))


def collect(
    cluster: Cluster,
    action: str,
    payload: Mapping[str, Any],
    *,
    clock: Callable[[], float],
    created_at: str,
    tool_version: str,
    limit_s: float = 1800.0,
    address: str | None = None,
    on_change: OnChange | None = None,
) -> Fleet:
    """Run one action on every node and gather the documents.

    A node that fails, disappears or exceeds the limit is kept with its reason; the others go on.

    Raises:
        FleetError: if the cluster has no node.
    """
    machines = cluster.nodes()
    if not machines:
        raise FleetError("the cluster has no live node; join machines to it with: ray start --address=HEAD:6379")
    state = {n.node_id: FleetNode(node_id=n.node_id, name=n.name, status=NodeStatus.WAITING) for n in machines}
    started = clock()
    for machine in machines:
        cluster.submit(machine, action, payload)
    for answers in _rounds(cluster, clock, limit_s):
        for answer in answers:
            state[answer.node_id] = _answered(state[answer.node_id], answer, action, clock() - started)
        if on_change is not None:
            on_change(tuple(state.values()))
        if all(node.status is not NodeStatus.WAITING for node in state.values()):
            break
    for node_id, node in state.items():
        if node.status is NodeStatus.WAITING:
            cluster.abandon(node_id)
            reason = f"no answer within {limit_s:.0f} s"
            state[node_id] = replace(node, status=NodeStatus.LOST, reason=reason, elapsed_s=clock() - started)
    return Fleet(
        action=action,
        nodes=tuple(state.values()),
        created_at=created_at,
        tool_version=tool_version,
        address=address,
    )
