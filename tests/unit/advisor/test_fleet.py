"""Fleets: every node is accounted for, whatever becomes of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from advisor import codec
from advisor.fleet.collect import Answer, FleetError, Node, collect
from advisor.types import Fleet, FleetNode, NodeStatus
from probes.types import HardwareProfile, Host

PROFILE = codec.dump(
    HardwareProfile(
        profile_id="p", created_at="2026-01-01T00:00:00Z", tool_version="0", host=Host(os="Linux"), devices=()
    )
)


class FakeCluster:
    """Answers what it is told to, one node per poll; time passes by one second a poll."""

    def __init__(self, answers: Mapping[str, Answer | None]) -> None:
        self._answers = answers
        self._queue: list[Answer] = []
        self.submitted: list[str] = []
        self.abandoned: list[str] = []
        self.now_s = 0.0

    def nodes(self) -> Sequence[Node]:
        return [Node(node_id=name, name=f"box-{name}", cpus_count=4) for name in self._answers]

    def submit(self, node: Node, action: str, payload: Mapping[str, Any]) -> None:
        self.submitted.append(node.node_id)
        answer = self._answers[node.node_id]
        if answer is not None:
            self._queue.append(answer)

    def poll(self, wait_s: float) -> Sequence[Answer]:
        self.now_s += 1.0
        return [self._queue.pop(0)] if self._queue else []

    def abandon(self, node_id: str) -> None:
        self.abandoned.append(node_id)


def gather(cluster: FakeCluster, seen: list[Sequence[FleetNode]] | None = None) -> Fleet:
    return collect(
        cluster,
        "scan",
        {},
        clock=lambda: cluster.now_s,
        created_at="2026-01-01T00:00:00Z",
        tool_version="0",
        limit_s=10.0,
        on_change=seen.append if seen is not None else None,
    )


def test_every_node_is_asked_once_and_its_document_kept() -> None:
    cluster = FakeCluster({n: Answer(node_id=n, text=PROFILE) for n in "ab"})
    seen: list[Sequence[FleetNode]] = []
    fleet = gather(cluster, seen)
    assert cluster.submitted == ["a", "b"]
    assert [node.profile and node.profile.profile_id for node in fleet.nodes] == ["p", "p"]
    assert [node.elapsed_s for node in fleet.nodes] == [1.0, 2.0]
    assert [node.status for node in seen[0]] == [NodeStatus.OK, NodeStatus.WAITING]
    assert codec.loads(codec.dump(fleet)) == fleet


def test_failed_lost_silent_and_lying_nodes_do_not_hold_up_the_others() -> None:
    cluster = FakeCluster(
        {
            "fine": Answer(node_id="fine", text=PROFILE),
            "failed": Answer(node_id="failed", failure="no engine"),
            "lost": Answer(node_id="lost", failure="node died", lost=True),
            "silent": None,
            "cut": Answer(node_id="cut", text=PROFILE[:50]),
            "odd": Answer(node_id="odd", text='{"kind": "weather"}'),
        }
    )
    nodes = {node.node_id: node for node in gather(cluster).nodes}
    assert {name: node.status.value for name, node in nodes.items()} == {
        "fine": "ok",
        "failed": "failed",
        "lost": "lost",
        "silent": "lost",
        "cut": "failed",
        "odd": "failed",
    }
    assert nodes["silent"].reason == "no answer within 10 s"
    assert "truncated" in (nodes["cut"].reason or "")
    assert cluster.abandoned == ["silent"]


def test_another_kind_of_document_is_no_answer() -> None:
    fleet = gather(FakeCluster({"a": Answer(node_id="a", text=codec.dump(gather(FakeCluster({"b": None}))))}))
    assert fleet.nodes[0].reason == "answered with a fleet document"


def test_an_empty_cluster_is_named() -> None:
    with pytest.raises(FleetError, match="ray start --address"):
        gather(FakeCluster({}))
