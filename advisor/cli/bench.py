"""``advisor bench``: record a suite for ``regress``."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError, BadRequestError

if TYPE_CHECKING:
    from advisor.regression.bench import Plan, Predict, Weights
    from advisor.regression.suite import Suite, SuiteCase
    from advisor.types import EngineBuild, Estimate, Run

DEFAULT_OUTPUT_DIR = "advisor-out"
JOURNAL_SUFFIX = ".partial"


@click.command("bench")
@click.option("--suite", "suite_file", required=True, metavar="FILE", help="Suite to record: TOML or JSON.")
@click.option(
    "-o", "--save", "output_path", metavar="FILE", help="Where the run goes [default: advisor-out/SUITE.json]."
)
@click.option(
    "--against",
    "against",
    metavar="PYTHON",
    help="Take turns with the llama.cpp of another environment (its python); its run goes to FILE.base.json.",
)
@click.option("--rounds", "rounds_count", type=click.IntRange(1, 1000), help="Rounds instead of the suite's.")
@click.option("--restart", is_flag=True, help="Discard an interrupted recording instead of finishing it.")
@click.option("--finish", is_flag=True, help="Measure nothing more: write what an interrupted recording holds.")
@click.option("--no-predict", is_flag=True, help="Record no predictions (skips calibration; drift is then not gated).")
@click.option("--no-history", is_flag=True, help="Do not add the run to this machine's history.")
@_shared.json_option
def command(
    suite_file: str,
    output_path: str | None,
    against: str | None,
    rounds_count: int | None,
    restart: bool,
    finish: bool,
    no_predict: bool,
    no_history: bool,
    as_json: bool,
) -> None:
    """Record a suite: every case takes a turn per round, loaded afresh, raw samples kept.

    An interrupted recording is kept beside the output and finished by the same command. With
    --against the old and the new engine take turns, so that `advisor regress` compares them round by
    round: the way to tell small changes on a machine that is never quiet. The exit code is 1 if no
    case could be timed.
    """
    from reports.console_runs import print_run

    suite = _read_suite(suite_file, rounds_count)
    output = _output(output_path, suite.name)
    arms = (_Arm(output), *((_Arm(_base_output(output), against),) if against else ()))
    runs = _record(suite, Path(suite_file).parent, arms, restart=restart, finish=finish, predict=not no_predict)
    run = runs[0]
    _keep(run, output, remember=not no_history)
    for arm, other in zip(arms[1:], runs[1:], strict=True):
        _keep(other, arm.output, remember=False)  # a like run beside this one would look less noisy than it is
        _shared.say(f"compare them with: advisor regress {arm.output} {output}")
    _shared.deliver(run, as_json=as_json, output_path=None, show=partial(print_run, run))
    _require_something(run)


def _read_suite(path: str, rounds_count: int | None) -> "Suite":
    from dataclasses import replace

    from advisor.cli._tables import read_table
    from advisor.regression.suite import parse_suite

    suite = parse_suite(read_table(path), where=path)
    return suite if rounds_count is None else replace(suite, rounds_count=rounds_count)


def _output(output_path: str | None, suite_name: str) -> Path:
    """The file to write, made sure of before anything is measured."""
    from advisor.codec import slug

    if output_path == "-":
        raise BadRequestError("-o - cannot keep an interrupted recording; name a file, and use --json for stdout")
    path = Path(output_path or f"{DEFAULT_OUTPUT_DIR}/{slug(suite_name)}.json")
    if path.is_dir():
        raise AdvisorError(f"{path}: is a directory; give a file name, e.g. -o {path / 'run.json'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AdvisorError(f"{path.parent}: cannot be made ({error.strerror or error}); choose another -o") from None
    return path


@dataclass(frozen=True, slots=True)
class _Arm:
    """One of the recordings that take turns: where it goes, and whose llama.cpp it times."""

    output: Path
    python: str | None = None

    @property
    def journal_path(self) -> Path:
        """What is kept while it is being made."""
        return self.output.with_name(self.output.name + JOURNAL_SUFFIX)


def _base_output(output: Path) -> Path:
    return output.with_name(f"{output.stem}.base.json")


def _engine_build(python: str | None) -> "EngineBuild":
    from advisor.engines.base import EngineError
    from advisor.regression import bench

    if python is None:
        return bench.read_engine_build()
    try:
        return bench.read_engine_build(python)
    except EngineError as error:
        raise AdvisorError(f"--against {python}: {' '.join(str(error).split())[:300]}") from None


def _record(
    suite: "Suite", base_dir: Path, arms: Sequence[_Arm], *, restart: bool, finish: bool, predict: bool
) -> tuple["Run", ...]:
    from advisor import __version__, store
    from advisor.cli._machine import this_profile
    from advisor.regression import bench
    from advisor.regression.run_environment import read_environment
    from advisor.twins.scratch import scratch_folder
    from probes.scan import detect

    builds = [_engine_build(arm.python) for arm in arms]
    for arm in arms:
        if finish and not arm.journal_path.exists():
            raise AdvisorError(f"{arm.journal_path}: there is no interrupted recording to finish")
    predictor = _predictor() if predict else None
    if predict:
        this_profile()
    with scratch_folder(store.cache_dir() / "twins") as directory:
        plans = [
            bench.plan_suite(
                suite,
                arm.journal_path,
                environment=read_environment(detect(), build),
                tool_version=__version__,
                directory=directory,
                base_dir=base_dir,
                opener=partial(bench.open_llamacpp, python=arm.python),
                predict=predictor,
            )
            for arm, build in zip(arms, builds, strict=True)
        ]
        return bench.paired([bench.kept(plan) for plan in plans]) if finish else _fill(plans, restart=restart)


def _fill(plans: "Sequence[Plan]", *, restart: bool) -> tuple["Run", ...]:
    from advisor.regression import bench

    kept = ", ".join(str(plan.journal_path) for plan in plans)
    if not restart and any(plan.journal_path.exists() for plan in plans):
        _shared.say(f"finishing the interrupted recording in {kept}")
    try:
        with _shared.Progress(f"recording {plans[0].recording.suite.name}") as progress:
            return bench.record_in_turn(plans, restart=restart, on_turn=progress.update)
    except KeyboardInterrupt:
        _shared.say(f"what was timed is kept in {kept}; the same command goes on from there")
        raise


def _predictor() -> "Predict":
    from advisor.cli._machine import resolve_machine
    from advisor.estimate import estimate
    from catalog.load import load_catalog

    machine = resolve_machine(load_catalog())

    def predict(case: "SuiteCase", weights: "Weights") -> "Estimate | None":
        if weights.model is None or weights.artifact is None:
            return None
        deployment = weights.deployed(case)
        return estimate(weights.model, weights.artifact, machine, case.workload, deployment)

    return predict


def _keep(run: "Run", output: Path, *, remember: bool) -> None:
    from advisor import codec
    from advisor.history import HistoryError, open_history

    codec.save(run, output)
    _shared.say(f"wrote {output}")
    if remember:
        try:
            with open_history() as past:
                past.record(run)
        except HistoryError as error:
            _shared.say(f"advisor: not added to the history: {error}")
    output.with_name(output.name + JOURNAL_SUFFIX).unlink(missing_ok=True)


def _require_something(run: "Run") -> None:
    from advisor.types import ValidationStatus

    failed = [case for case in run.cases if case.status is not ValidationStatus.OK and case.deployment is not None]
    timed = [case for case in run.cases if case.status is ValidationStatus.OK and case.deployment is not None]
    if not timed:
        reason = failed[0].reason if failed else next((c.reason for c in run.cases if c.reason), "no case ran")
        raise AdvisorError(f"no case of the suite could be timed; the first: {reason}")
