"""``advisor regress``: compare two runs on reference hardware."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError, BadRequestError

if TYPE_CHECKING:
    from advisor.regression.thresholds import Gate
    from advisor.types import Regression, Run

EXIT_REGRESSED = 3
LAST = "last"
FROM_HISTORY = "history:"
_RECORD = "record one with: advisor bench --suite FILE -o FILE.json"


@click.command("regress")
@click.argument("documents", metavar="BASE NEW", nargs=-1)
@click.option(
    "--aa", "self_test", is_flag=True, help="Compare like runs (BASE NEW ... or the history's): all alarms are false."
)
@click.option("--thresholds", "thresholds_file", metavar="FILE", help="TOML with thresholds per metric.")
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(["machine", "suite", "engine"]),
    help="Compare although this differs (repeatable).",
)
@click.option("--no-history", is_flag=True, help="Do not learn the spread between runs from this machine's history.")
@click.option("--junit", "junit_file", metavar="FILE", help="Write JUnit XML.")
@click.option("--markdown", "markdown_file", metavar="FILE", help="Write a comment for a pull request or job summary.")
@click.option("--badge", "badge_file", metavar="FILE", help="Write a badge as SVG.")
@click.option("--annotations", is_flag=True, help="Print GitHub workflow annotations (to stderr with --json).")
@_shared.output_option
@_shared.json_option
def command(
    documents: tuple[str, ...],
    self_test: bool,
    thresholds_file: str | None,
    allow: tuple[str, ...],
    no_history: bool,
    junit_file: str | None,
    markdown_file: str | None,
    badge_file: str | None,
    annotations: bool,
    output_path: str | None,
    as_json: bool,
) -> int:
    """Compare two runs of a suite, or two validation documents; exit 3 on a regression.

    BASE may also be `last`, the newest earlier like run of the history, or `history:DIGEST`.

    \b
    advisor regress baseline.json run.json --junit junit.xml --markdown comment.md
    advisor regress --aa run.json
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    gate = _read_gate(thresholds_file)
    if self_test:
        return _self_test(documents, gate, output_path=output_path, as_json=as_json)
    if len(documents) != 2:
        raise BadRequestError("give two documents, BASE and NEW; or --aa to test the machine against itself")
    current = _load_run(documents[1], None)
    baseline = _load_run(documents[0], current)
    regression = _compare(baseline, current, gate, allow, learn=not no_history)
    _write_outputs(regression, junit_file=junit_file, markdown_file=markdown_file, badge_file=badge_file)
    if annotations:
        from reports import annotations as workflow

        click.echo(workflow.render(regression), nl=False, err=as_json)
    from reports.console_runs import print_regression

    _shared.deliver(regression, as_json=as_json, output_path=output_path, show=partial(print_regression, regression))
    _require_something(regression)
    return EXIT_REGRESSED if regression.regressed else 0


def _read_gate(path: str | None) -> "Gate":
    from advisor.cli._tables import read_table
    from advisor.regression.thresholds import Gate, parse_gate

    return Gate() if path is None else parse_gate(read_table(path), where=path)


def _as_run(document: Any, where: str) -> "Run":
    from advisor.regression.series import require_sound, run_from_validation
    from advisor.types import Run, Validation

    if isinstance(document, Validation):
        return run_from_validation(document)
    if isinstance(document, Run):
        require_sound(document, where)
        return document
    raise BadRequestError(f"{where}: a {document.kind} document; regress compares run or validation documents")


def _load_run(source: str, current: "Run | None") -> "Run":
    from advisor import codec
    from advisor.history import open_history

    if source == LAST and not Path(LAST).exists():
        return _last_like(current)
    if source.startswith(FROM_HISTORY):
        with open_history() as past:
            return _as_run(past.document(source.removeprefix(FROM_HISTORY)), source)
    if source != "-" and not Path(source).exists():
        raise AdvisorError(f"{source}: no such file; {_RECORD}")
    return _as_run(codec.load(source), source)


def _last_like(current: "Run | None") -> "Run":
    if current is None:
        raise BadRequestError("only BASE can be `last`; NEW is a file")
    earlier = [run for run in _past_runs(current) if run.created_at < current.created_at and run.complete]
    if not earlier:
        name = current.suite_name
        raise AdvisorError(f"the history has no earlier run of suite {name!r} on this machine; {_RECORD}")
    return earlier[-1]


def _past_runs(run: "Run") -> tuple["Run", ...]:
    from advisor.history import open_history

    with open_history() as past:
        return past.runs(suite_id=run.suite_id, machine_id=run.environment.machine_id)


def _compare(baseline: "Run", current: "Run", gate: "Gate", allow: tuple[str, ...], *, learn: bool) -> "Regression":
    from advisor import __version__
    from advisor.clock import utc_now
    from advisor.regression.comparison import between_runs
    from advisor.regression.regress import regress

    times = (baseline.created_at, current.created_at)
    past = [run for run in _past_runs(current) if run.created_at not in times] if learn else []
    return regress(
        baseline,
        current,
        created_at=utc_now(),
        tool_version=__version__,
        gate=gate,
        between=between_runs(past),
        allow=allow,
    )


def _write_outputs(
    regression: "Regression", *, junit_file: str | None, markdown_file: str | None, badge_file: str | None
) -> None:
    from advisor.codec import write_atomically
    from reports import badge, comment, junit

    for path, render in ((junit_file, junit.render), (markdown_file, comment.render), (badge_file, badge.render)):
        if path is not None:
            write_atomically(path, render(regression))
            _shared.say(f"wrote {path}")


def _require_something(regression: "Regression") -> None:
    from advisor.types import Verdict

    compared = any(f.verdict is not Verdict.NOT_COMPARABLE for f in regression.findings)
    if not compared and not regression.regressed:
        reason = next((f.reason for f in regression.findings if f.reason), "the runs hold no cases")
        raise AdvisorError(f"nothing could be compared: {reason}")


def _self_test(documents: tuple[str, ...], gate: "Gate", *, output_path: str | None, as_json: bool) -> int:
    from advisor import __version__
    from advisor.clock import utc_now
    from advisor.regression.selftest import selftest
    from reports.console_runs import print_selftest

    runs = [_load_run(source, None) for source in documents] or list(_newest_suite())
    if not runs:
        raise AdvisorError(f"the history has no run yet; {_RECORD}")
    result = selftest(runs, created_at=utc_now(), tool_version=__version__, gate=gate)
    _shared.deliver(result, as_json=as_json, output_path=output_path, show=partial(print_selftest, result))
    return 0


def _newest_suite() -> tuple["Run", ...]:
    """Every remembered run that is like the newest one recorded here."""
    from advisor.history import open_history
    from advisor.regression.environment import like

    with open_history() as past:
        entries = [entry for entry in past.entries("run") if entry.origin == "here"]
        if not entries:
            return ()
        newest = past.document(entries[-1].digest)
    return tuple(run for run in _past_runs(newest) if like(run, newest))
