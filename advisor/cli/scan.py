"""``advisor scan``: detect and measure this machine."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError, BadRequestError

if TYPE_CHECKING:
    from probes.types import HardwareProfile


@click.command("scan")
@click.option("--quick", is_flag=True, help="Only what predictions need, in under 5 s.")
@click.option("--only", multiple=True, metavar="PROBE", help="Probe or group: cpu.matmul, cpu, 'cuda.*' (repeatable).")
@click.option("--budget", "budget_s", type=_shared.DURATION, help="Time for everything, e.g. 60s [default: 18s].")
@click.option("--wait-quiet", "wait_quiet_s", type=_shared.DURATION, help="Wait this long for a calm machine.")
@_shared.output_option
@_shared.json_option
def command(
    quick: bool,
    only: tuple[str, ...],
    budget_s: float | None,
    wait_quiet_s: float | None,
    output_path: str | None,
    as_json: bool,
) -> None:
    """Detect and measure this machine.

    The result is kept as this machine's newest profile. With --only, measurements that were not
    repeated stay as they were.
    """
    _check_only(only)
    _check_output(output_path)
    profile = _scan(quick=quick, only=only, budget_s=budget_s, wait_quiet_s=wait_quiet_s, quiet=as_json)
    _keep(profile, partial_scan=bool(only))

    from reports.console import print_profile

    _shared.deliver(profile, as_json=as_json, output_path=output_path, show=partial(print_profile, profile))


def _check_only(only: Sequence[str]) -> None:
    from probes.plan import known_probe_ids, matches

    known = known_probe_ids()
    for pattern in only:
        if any(matches(pattern, probe_id) for probe_id in known):
            continue
        import difflib

        nearest = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4) or known
        raise BadRequestError(f"no probe {pattern[:60]!r}; nearest: {', '.join(nearest)}")


def _check_output(output_path: str | None) -> None:
    """A wrong path should cost nothing: say so before measuring."""
    if output_path not in (None, "-") and Path(str(output_path)).is_dir():
        raise AdvisorError(f"{output_path}: is a directory; give a file name, e.g. -o {output_path}/profile.json")


def _scan(
    *, quick: bool, only: tuple[str, ...], budget_s: float | None, wait_quiet_s: float | None, quiet: bool
) -> "HardwareProfile":
    from probes.scan import scan

    with _shared.Progress("measuring this machine", quiet=quiet) as progress:
        return scan(
            quick=quick,
            only=only,
            budget_s=budget_s,
            wait_quiet_s=wait_quiet_s,
            on_progress=lambda label, done, count: progress.update(done / max(count, 1), label),
        )


def _keep(profile: "HardwareProfile", *, partial_scan: bool) -> None:
    from advisor import codec, store
    from probes.scan import merged

    older = None
    if partial_scan:
        try:
            older = store.load_profile()
        except codec.DocumentError:
            older = None  # a damaged profile is replaced by what was just measured
    _shared.keep("the profile", lambda: store.save_profile(merged(older, profile)))
