"""Which box of a fleet runs what, and how fast: shared by the terminal, the page and its chart."""

from advisor.regression.series import typical
from advisor.types import Fleet, FleetNode
from reports import phrases
from reports.text import plain

_METRIC = "decode_tokens_per_s"


def speeds(fleet: Fleet) -> dict[str, dict[str, float]]:
    """Typical decode speed by case and node."""
    found: dict[str, dict[str, float]] = {}
    for node in fleet.nodes:
        for case in node.run.cases if node.run else ():
            for series in case.series:
                value = typical(series) if series.metric == _METRIC else None
                if value is not None:
                    found.setdefault(case.subject, {})[node.node_id] = value
    return found


def machine(node: FleetNode) -> str:
    """What a node is, or what went wrong with it."""
    if node.profile is not None:
        return phrases.hardware(node.profile)
    if node.run is not None:
        return plain(node.run.environment.hardware)
    return plain(node.reason or "")
