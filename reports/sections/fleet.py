"""A fleet: what each node said, and which box runs which model best."""

from advisor.types import Fleet, NodeStatus
from reports import boxes, phrases
from reports import format as fmt
from reports.blocks import Block, Grid, Headline, Notice, Section
from reports.text import plain


def headline(fleet: Fleet) -> Headline:
    """A page about a fleet alone."""
    title = f"{phrases.counted(len(fleet.nodes), 'machine')} of a fleet"
    return Headline(kicker="Fleet", title=title, lead=f"{_answered(fleet)}, {fmt.clock(fleet.created_at)}.")


def _answered(fleet: Fleet) -> str:
    count = sum(node.status is NodeStatus.OK for node in fleet.nodes)
    return f"{count} of {phrases.counted(len(fleet.nodes), 'node')} answered"


def section(fleet: Fleet, document_index: int) -> Section:
    """Nodes, lost ones included, and per case the fastest box with the others beside it."""
    blocks: list[Block] = []
    if any(node.status is not NodeStatus.OK for node in fleet.nodes):
        blocks.append(Notice(f"{_answered(fleet)}; the table says what became of the others."))
    blocks.append(
        Grid(
            caption="Nodes",
            headers=("Node", "State", "Took", "Machine"),
            rows=tuple(
                (plain(node.name), node.status.value, fmt.duration(node.elapsed_s), boxes.machine(node))
                for node in fleet.nodes
            ),
            numeric=frozenset({2}),
        )
    )
    speeds = boxes.speeds(fleet)
    if speeds:
        blocks.append(_best_boxes(fleet, speeds))
    return Section(section_id=f"fleet-{document_index}", title="The fleet", nav="Fleet", blocks=tuple(blocks))


def _best_boxes(fleet: Fleet, speeds: dict[str, dict[str, float]]) -> Grid:
    names = {node.node_id: plain(node.name) for node in fleet.nodes}
    rows = []
    for subject, found in speeds.items():
        first, *others = sorted(found, key=lambda node_id: -found[node_id])
        rest = ", ".join(f"{names[node_id]} {fmt.rate(found[node_id])}" for node_id in others)
        rows.append((plain(subject), names[first], fmt.rate(found[first]), rest or fmt.UNKNOWN))
    return Grid(
        caption="Which box for which model",
        headers=("Case", "Fastest", "Generation", "Others"),
        rows=tuple(rows),
        numeric=frozenset({2}),
    )
