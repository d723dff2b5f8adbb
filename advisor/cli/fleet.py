"""``advisor fleet``: scan or bench every node of a Ray cluster."""

import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.types import Fleet, FleetNode

_DEFAULT_LIMIT = "30m"


@click.group("fleet")
def command() -> None:
    """Scan or bench every node of a running Ray cluster, each machine by itself and all at once."""


def _common(function: Any) -> Any:
    for option in (
        _shared.json_option,
        _shared.output_option,
        click.option(
            "--limit", "limit_s", type=_shared.DURATION, default=_DEFAULT_LIMIT, show_default=True, help="Longest wait."
        ),
        click.option(
            "--address", default="auto", show_default=True, help="The cluster: auto, HOST:6379 or ray://HOST."
        ),
    ):
        function = option(function)
    return function


@command.command("scan")
@_common
@click.option("--quick", is_flag=True, help="Only what predictions need.")
def scan(address: str, limit_s: float, quick: bool, output_path: str | None, as_json: bool) -> None:
    """Detect and measure every node."""
    _run("scan", {"quick": quick}, address, limit_s, output_path=output_path, as_json=as_json)


@command.command("bench")
@_common
@click.option("--suite", "suite_file", required=True, metavar="FILE", help="Suite to record: TOML or JSON.")
def bench(address: str, limit_s: float, suite_file: str, output_path: str | None, as_json: bool) -> None:
    """Record a suite on every node."""
    from advisor.cli._tables import read_table
    from advisor.regression.suite import parse_suite

    table = read_table(suite_file)
    parse_suite(table, where=suite_file)  # a mistake in the suite costs no node any time
    _run("bench", {"suite": table}, address, limit_s, output_path=output_path, as_json=as_json)


def _run(
    action: str, payload: Mapping[str, Any], address: str, limit_s: float, *, output_path: str | None, as_json: bool
) -> None:
    from reports.console_fleet import print_fleet

    fleet = _collect(action, payload, address, limit_s)
    _shared.deliver(fleet, as_json=as_json, output_path=output_path, show=partial(print_fleet, fleet))
    _require_an_answer(fleet)


def _collect(action: str, payload: Mapping[str, Any], address: str, limit_s: float) -> "Fleet":
    from advisor import __version__
    from advisor.clock import utc_now
    from advisor.fleet.collect import collect
    from advisor.fleet.ray_cluster import RayCluster

    with RayCluster(address) as cluster, _Board() as board:
        return collect(
            cluster,
            action,
            payload,
            clock=time.monotonic,
            created_at=utc_now(),
            tool_version=__version__,
            limit_s=limit_s,
            address=address,
            on_change=board.show,
        )


class _Board:
    """The nodes as they stand: a live table on a terminal, a line per news elsewhere."""

    def __init__(self) -> None:
        self._live: Any = None
        self._told: dict[str, str] = {}

    def __enter__(self) -> "_Board":
        if sys.stderr.isatty():
            from rich.live import Live

            from reports.terminal import make_console

            self._live = Live(console=make_console(stderr=True), transient=True)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, nodes: "Sequence[FleetNode]") -> None:
        """Show the nodes' state."""
        from reports.console_fleet import nodes_table

        if self._live is not None:
            self._live.update(nodes_table(nodes))
            return
        for node in nodes:
            if self._told.get(node.node_id) != node.status:
                self._told[node.node_id] = node.status
                _shared.say(f"{node.name}: {node.status}" + (f", {node.reason}" if node.reason else ""))


def _require_an_answer(fleet: "Fleet") -> None:
    from advisor.types import NodeStatus

    if not any(node.status is NodeStatus.OK for node in fleet.nodes):
        first = fleet.nodes[0]
        raise AdvisorError(f"no node answered; the first, {first.name}: {first.reason}")
