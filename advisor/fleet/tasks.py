"""What a node of a fleet does: measure itself and answer with a document's text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run_here(action: str, payload: Mapping[str, Any]) -> str:
    """Carry out an action on the machine this runs on; returns a document as JSON."""
    from advisor import codec

    return codec.dump(_ACTIONS[action](payload), indent=None)


def _scan(payload: Mapping[str, Any]) -> object:
    from probes.scan import scan

    return scan(quick=bool(payload.get("quick")), budget_s=payload.get("budget_s"))


def _bench(payload: Mapping[str, Any]) -> object:
    import tempfile

    from advisor import __version__, store
    from advisor.history import open_history
    from advisor.regression import bench
    from advisor.regression.run_environment import read_environment
    from advisor.regression.suite import parse_suite
    from advisor.twins.scratch import scratch_folder
    from probes.scan import detect

    suite = parse_suite(payload["suite"], where="suite")
    environment = read_environment(detect(), bench.read_engine_build())
    with scratch_folder(store.cache_dir() / "twins") as directory, tempfile.TemporaryDirectory() as journal_dir:
        plan = bench.plan_suite(
            suite,
            Path(journal_dir) / "fleet.partial",
            environment=environment,
            tool_version=__version__,
            directory=directory,
            base_dir=Path.home(),
        )
        run = bench.record(plan)
    with open_history() as past:
        past.record(run)
    return run


_ACTIONS = {"scan": _scan, "bench": _bench}
