"""A fleet's page: every node is on it, and which box runs which model best."""

from pathlib import Path

import report_examples as examples

import reports
from advisor import codec
from advisor.types import Fleet, FleetNode, MetricSeries, NodeStatus, Run, RunCase, RunEnvironment, ValidationStatus
from reports import charts
from reports.blocks import Grid, Notice
from reports.view import build_page


def run_of(hardware: str, **speeds: float) -> Run:
    cases = [
        RunCase(
            subject=subject,
            status=ValidationStatus.OK,
            series=(MetricSeries(metric="decode_tokens_per_s", values=(speed,) * 3, rounds=(0, 1, 2)),),
        )
        for subject, speed in speeds.items()
    ]
    return Run(
        suite_name="s", suite_id="s", environment=RunEnvironment(machine_id=hardware, hardware=hardware, os="linux"),
        cases=tuple(cases), created_at="2026-11-22T00:00:00Z", tool_version="0", rounds_count=3,
    )  # fmt: skip


def fleet(*nodes: FleetNode, action: str = "bench") -> Fleet:
    return Fleet(action=action, nodes=nodes, created_at="2026-11-22T00:00:00Z", tool_version="0", address="head:6379")


def node(name: str, status: NodeStatus = NodeStatus.OK, **fields: object) -> FleetNode:
    return FleetNode(node_id=name, name=name, status=status, elapsed_s=3.0, **fields)


BENCHED = fleet(
    node("desk", run=run_of("RTX 4090", small=100.0, large=20.0)),
    node("attic", run=run_of("EPYC", small=30.0)),
    node("gone<b>\x1b[31m", NodeStatus.LOST, reason="the node left the cluster"),
)


def grids(document: Fleet) -> dict[str, Grid]:
    section = build_page((document,)).sections[0]
    return {block.caption: block for block in section.blocks if isinstance(block, Grid)}


def test_every_node_is_listed_and_the_fastest_box_is_named_per_case() -> None:
    found = grids(BENCHED)
    assert [row[1] for row in found["Nodes"].rows] == ["ok", "ok", "lost"]
    assert "the node left the cluster" in found["Nodes"].rows[2][3]
    best = {row[0]: row[1:] for row in found["Which box for which model"].rows}
    assert best["small"][0] == "desk"
    assert "attic" in best["small"][2]
    assert "attic" not in best["large"][2]
    page = build_page((BENCHED,))
    assert "2 of 3 nodes answered" in page.headline.lead
    assert any(isinstance(block, Notice) for block in page.sections[0].blocks)


def test_the_boxes_are_drawn_side_by_side() -> None:
    benched = charts.of_fleets((BENCHED,)).charts
    assert [chart.chart_id for chart in benched] == ["machines-speeds"]
    assert benched[0].table.headers == ("Model", "desk", "attic")
    scanned = fleet(
        node("a", profile=examples.profile()), node("b", profile=examples.gpu_profile()), action="scan"
    )  # fmt: skip
    assert [chart.chart_id for chart in charts.of_fleets((scanned,)).charts] == ["machines-measured"]
    alone = fleet(node("a", run=run_of("EPYC", small=30.0)))
    assert charts.of_fleets((alone,)).charts == ()


def test_a_saved_fleet_becomes_a_page_a_text_and_a_picture(tmp_path: Path) -> None:
    codec.save(BENCHED, tmp_path / "fleet.json")
    document = codec.load(tmp_path / "fleet.json", kind="fleet")
    for ending in ("html", "md", "png"):
        written = reports.render((document,), tmp_path / f"fleet.{ending}")
        assert written.stat().st_size > 1000 or ending == "md"
    text = (tmp_path / "fleet.html").read_text() + (tmp_path / "fleet.md").read_text()
    assert "gone<b>" not in text
    assert "\x1b" not in text


def test_a_fleet_of_lost_nodes_still_has_a_page() -> None:
    assert "Which box for which model" not in grids(fleet(node("a", NodeStatus.FAILED, reason="no engine")))
