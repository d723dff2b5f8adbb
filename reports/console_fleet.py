"""Console output of a fleet: its nodes, and which box runs which case best."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor.types import Fleet, FleetNode, NodeStatus
from reports import boxes, phrases, terminal
from reports import format as fmt
from reports.text import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STYLES = {NodeStatus.OK: "green", NodeStatus.FAILED: "red", NodeStatus.LOST: "red", NodeStatus.WAITING: "dim"}


def nodes_table(nodes: Sequence[FleetNode]) -> "Table":
    """One row per node: state, time taken, hardware or what went wrong."""
    table = terminal.table("node", "state", "took", "machine", right=(2,), folds=(3,))
    for node in nodes:
        table.add_row(
            terminal.text(node.name),
            terminal.text(node.status.value, _STYLES[node.status]),
            fmt.duration(node.elapsed_s),
            terminal.text(boxes.machine(node)),
        )
    return table


def print_fleet(fleet: Fleet, console: "Console") -> None:
    """The nodes, then per case the fastest box and the others beside it."""
    answered = sum(node.status is NodeStatus.OK for node in fleet.nodes)
    terminal.heading(console, f"{answered} of {phrases.counted(len(fleet.nodes), 'node')} answered ({fleet.action})")
    console.print(nodes_table(fleet.nodes))
    speeds = boxes.speeds(fleet)
    if speeds:
        terminal.section(console, "Which box for which model")
        names = {node.node_id: node.name for node in fleet.nodes}
        table = terminal.table("case", "fastest", "speed", "others", right=(2,), folds=(0, 3))
        for subject, found in speeds.items():
            ranked = sorted(found, key=lambda node_id: -found[node_id])
            others = ", ".join(f"{plain(names[n])} {fmt.rate(found[n])}" for n in ranked[1:])
            table.add_row(terminal.text(subject), plain(names[ranked[0]]), fmt.rate(found[ranked[0]]), others)
        console.print(table)
