"""Time whole commands as a user waits for them: ``python benchmarks/command_speed.py [--runs N]``.

Each run is a fresh process in an empty folder, with a copy of what is saved here (profile, calibration, history);
`advisor scan` must have been run once, and a calibration is used where there is one. A first run of each is not
counted: it leaves compiled modules behind, as installing a package does. Below `recommend` stands where its time
goes, from processes that take its steps one by one. Run it on a quiet machine; it takes about 20 s.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from advisor import store

ROOT = Path(__file__).resolve().parent.parent
RECOMMEND = ("recommend", "--task", "coding", "--json", "--no-calibrate")
COMMANDS = (("--help",), ("estimate", "qwen3-8b", "--json", "--no-calibrate"), RECOMMEND)

#: The steps of `recommend`, timed; garbage is collected as seldom as the command does.
STEPS = """
import gc, sys
from time import perf_counter
gc.set_threshold(50_000)
marks = [perf_counter()]
import advisor.cli.main, advisor.cli.recommend, catalog.local, pydantic, reports.console
from advisor import codec, store
from advisor.cli._machine import resolve_machine
from advisor.recommendation.recommend import Request, recommend
from advisor.types import Task
from advisor.workloads import make_workload
from catalog.load import load_catalog
marks.append(perf_counter())
catalog_now = load_catalog()
machine = resolve_machine(catalog_now, no_calibrate=True, quiet=True)
catalog.local.find_local_models(catalog_now)
marks.append(perf_counter())
request = Request(workload=make_workload(Task.CODING))
found = recommend(catalog_now, machine, request, created_at="2026-01-01T00:00:00Z", tool_version="0")
marks.append(perf_counter())
sys.stdout.write(codec.dump(found))
store.save_recommendation(found)
marks.append(perf_counter())
print(*(end - start for start, end in zip(marks, marks[1:])), file=sys.stderr)
"""
STEP_NAMES = ("importing", "loading catalog, machine and local models", "searching and wording", "writing")


def run(arguments: list[str], environment: dict[str, str], folder: Path) -> tuple[float, str]:
    """Seconds that a fresh interpreter takes, and what it wrote to standard error."""
    start = perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    return perf_counter() - start, done.stderr


def time_commands(runs_count: int, environment: dict[str, str], folder: Path) -> None:
    """Best and median wall time of each command, on standard output."""
    for command in COMMANDS:
        times = [run(["-m", "advisor", *command], environment, folder)[0] for _ in range(runs_count + 1)][1:]
        print(f"advisor {' '.join(command):52} {min(times):6.3f} s best, {median(times):6.3f} s median of {runs_count}")


def time_steps(runs_count: int, environment: dict[str, str], folder: Path) -> None:
    """Where the time of `recommend` goes: the median of each step."""
    texts = [run(["-c", STEPS], environment, folder)[1] for _ in range(runs_count)]
    rows = [[float(value) for value in text.splitlines()[-1].split()] for text in texts]
    for name, column in zip(STEP_NAMES, zip(*rows, strict=True), strict=True):
        print(f"  {name:58} {median(column):6.3f} s")


def main() -> None:
    """Print every time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="counted runs of each command")
    runs_count = max(1, parser.parse_args().runs)
    if store.load_profile() is None:
        sys.exit("no profile of this machine is saved; run: advisor scan --quick")
    with tempfile.TemporaryDirectory() as scratch:
        home, folder = Path(scratch) / "home", Path(scratch) / "empty"
        shutil.copytree(store.data_dir(), home, ignore=shutil.ignore_patterns("cache"))
        folder.mkdir()
        environment = {**os.environ, "ADVISOR_HOME": str(home), "PYTHONPATH": str(ROOT)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        time_commands(runs_count, environment, folder)
        time_steps(runs_count, environment, folder)


if __name__ == "__main__":
    main()
