"""How often ``regress`` errs on real llama.cpp timings of this machine, and how often it catches a real slowdown.

``record`` times a twin in turn as it is and held back: the engine's process is stopped for a share of every
10 ms, as a CPU quota does. ``analyse`` compares every pair of recordings: like with like gives false
alarms, held back against free gives catches. ``turns`` records three engines in turn, two free and one under a
real CPU quota (a control group one may write to is needed), and ``analyse-turns`` compares them round by round.

    python benchmarks/regress_real.py record real.json --runs 5
    python benchmarks/regress_real.py analyse real.json
    python benchmarks/regress_real.py record two.json --threads 2 && \
        python benchmarks/regress_real.py fewer two.json real.json
    python benchmarks/regress_real.py turns turns.json --threads 2 --runs 4
    python benchmarks/regress_real.py analyse-turns turns.json
"""

import argparse
import contextlib
import itertools
import json
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from advisor import codec
from advisor.engines.base import options_for
from advisor.engines.llamacpp import open_worker
from advisor.regression import bench
from advisor.regression.comparison import between_runs
from advisor.regression.regress import regress
from advisor.regression.run_environment import read_environment
from advisor.regression.suite import Suite, parse_suite
from advisor.types import Deployment, Finding, Run, Verdict
from probes.scan import detect

PERIOD_S = 0.010
#: One load serves a whole recording here, so these have one value only.
ONCE = ("load_s", "peak_memory_bytes")


def make_suite(threads: list[int]) -> Suite:
    """A 135-million-parameter twin at one or more thread counts."""
    matrix = {"model": "SmolLM2-135M-Instruct", "quant": "Q4_K_M", "threads": threads}
    return parse_suite({"name": "real", "probes": False, "defaults": {"prompt": 64, "output": 16}, "matrix": [matrix]})


@contextmanager
def held_back(pid: int, share: float) -> Iterator[None]:
    """Stop a process for a share of every period."""
    done = threading.Event()

    def beat() -> None:
        while not done.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(share * PERIOD_S)
            os.kill(pid, signal.SIGCONT)
            time.sleep((1 - share) * PERIOD_S)

    thread = threading.Thread(target=beat)
    if share > 0:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if share > 0:
            thread.join()
            os.kill(pid, signal.SIGCONT)


@contextmanager
def under_quota(pid: int, share: float, threads: int) -> Iterator[None]:
    """Put a process under a CPU quota that takes a share of what its threads would use."""
    root = Path("/sys/fs/cgroup/cpu") if Path("/sys/fs/cgroup/cpu").is_dir() else Path("/sys/fs/cgroup")
    group = root / f"advisor-regress-{pid}"
    group.mkdir()
    period_us, quota_us = round(PERIOD_S * 1e6), round(PERIOD_S * 1e6 * threads * (1 - share))
    try:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota_us} {period_us}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        (root / "cgroup.procs").write_text(str(pid))
        group.rmdir()


class Keeper:
    """Opens each case once and hands it out again, so that a recording takes seconds."""

    def __init__(self, stack: contextlib.ExitStack, share: float, *, quota: bool = False) -> None:
        self._stack = stack
        self._share = share
        self._quota = quota
        self._held: dict[int | None, bench.Held] = {}

    @contextmanager
    def __call__(self, weights: bench.Weights, deployment: Deployment, context_tokens: int) -> Iterator[bench.Held]:
        """The session of a case, held back while it is in use."""
        key = deployment.threads_count
        if key not in self._held:
            worker = self._stack.enter_context(open_worker())
            session = self._stack.enter_context(worker.open(str(weights.path), options_for(deployment, context_tokens)))
            self._held[key] = bench.Held(session=session, pid=worker.pid)
        held = self._held[key]
        by_quota = self._quota and self._share > 0
        slowed = under_quota(held.pid, self._share, key or 1) if by_quota else held_back(held.pid, self._share)
        with slowed:
            yield held


def record_one(suite: Suite, directory: Path, share: float) -> Run:
    """One recording with a fresh engine process."""
    environment = read_environment(detect(), bench.read_engine_build())
    with contextlib.ExitStack() as stack:
        plan = bench.plan_suite(
            suite, directory / f"{time.time_ns()}.partial", environment=environment, tool_version="0",
            directory=directory, base_dir=directory, opener=Keeper(stack, share),
        )  # fmt: skip
        run = bench.record(plan)
    return without_once(run)


def without_once(run: Run) -> Run:
    """The run without the metrics of which it has one value only."""
    cases = tuple(replace(c, series=tuple(s for s in c.series if s.metric not in ONCE)) for c in run.cases)
    return replace(run, cases=cases)


def record_turns(path: Path, runs: int, share: float, threads: list[int]) -> None:
    """Append recordings of three engines in turn, the last under a quota, to a file."""
    suite = make_suite(threads)
    taken = json.loads(path.read_text()) if path.exists() else []
    environment = read_environment(detect(), bench.read_engine_build())
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
            plans = [
                bench.plan_suite(
                    suite, Path(name) / f"{index}.partial", environment=environment, tool_version="0",
                    directory=Path(name), base_dir=Path(name), opener=Keeper(stack, held, quota=True),
                )
                for index, held in enumerate((0.0, 0.0, share))
            ]  # fmt: skip
            arms = [codec.to_mapping(without_once(run)) for run in bench.record_in_turn(plans)]
        taken.append({"share": share, "arms": arms})
        path.write_text(json.dumps(taken))


def analyse_turns(paths: list[Path]) -> None:
    """Print false alarms and catches of engines that took turns, and of recordings made one after the other."""
    read = [one for path in paths for one in json.loads(path.read_text())]
    taken = [[codec.from_mapping(arm) for arm in one["arms"]] for one in read]
    free, twin, held = ([arms[index] for arms in taken] for index in range(3))
    lost = [loss for a, b in zip(free, held, strict=True) for loss in losses(a, b)]
    print(f"{len(taken)} recordings of three engines in turn, {free[0].rounds_count} rounds")
    print(f"median loss under the quota: {statistics.median(lost):.1%}" if lost else "nothing was comparable")
    same = [(index, index) for index in range(len(taken))]
    report("false alarms, in turn", same, free, twin)
    report("caught, in turn", same, free, held)
    report("caught, in turn, second free engine", same, twin, held)
    apart = [(i, j) for i in range(len(taken)) for j in range(len(taken)) if i != j]
    report("false alarms, one after the other", apart, free, free)
    report("caught, one after the other", apart, free, held)


def record(path: Path, runs: int, share: float, threads: list[int]) -> None:
    """Append pairs of recordings, free and held back, to a file."""
    suite = make_suite(threads)
    pairs = json.loads(path.read_text()) if path.exists() else []
    with tempfile.TemporaryDirectory() as name:
        for number in range(runs):
            # which comes first alternates, so that a drifting machine favours neither
            shares = (0.0, share) if number % 2 == 0 else (share, 0.0)
            taken = {s: codec.to_mapping(record_one(suite, Path(name), s)) for s in shares}
            pairs.append({"share": share, "free": taken[0.0], "held": taken[share]})
            path.write_text(json.dumps(pairs))


def judge(base: Run, new: Run, past: list[Run]) -> tuple[bool, list[Finding]]:
    """Whether a pair fails, and its findings."""
    found = regress(base, new, created_at="", tool_version="0", between=between_runs(past))
    return found.regressed, list(found.findings)


def analyse(paths: list[Path]) -> None:
    """Print false alarms and catches over all pairs, with and without the other recordings as history."""
    pairs = [pair for path in paths for pair in json.loads(path.read_text())]
    free = [replace(codec.from_mapping(p["free"]), created_at=f"{i:04d}") for i, p in enumerate(pairs)]
    held = [replace(codec.from_mapping(p["held"]), created_at=f"{i:04d}b") for i, p in enumerate(pairs)]
    speeds = [loss for a, b in zip(free, held, strict=True) for loss in losses(a, b)]
    print(f"{len(free)} free and {len(held)} held-back recordings of {free[0].rounds_count} rounds")
    print(f"median loss when held back for {pairs[0]['share']:.0%} of the time: {statistics.median(speeds):.1%}")
    report("false alarms, like with like", list(itertools.permutations(range(len(free)), 2)), free, free)
    neighbours = [(i, i + 1) for i in range(len(free) - 1)] + [(i + 1, i) for i in range(len(free) - 1)]
    report("false alarms, neighbours", neighbours, free, free)
    report("caught, every pair", list(itertools.product(range(len(free)), range(len(held)))), free, held)
    report("caught, recorded together", [(i, i) for i in range(len(free))], free, held)


def fewer_threads(paths: list[Path]) -> None:
    """Print how often one thread fewer is caught: recordings of the first file against those of the second."""
    more, fewer = ([codec.from_mapping(pair["free"]) for pair in json.loads(path.read_text())] for path in paths)
    suite_id, (case,) = more[0].suite_id, more[0].cases
    renamed = [
        replace(run, suite_id=suite_id, cases=tuple(replace(c, subject=case.subject) for c in run.cases))
        for run in fewer
    ]
    report("caught, one thread fewer", list(itertools.product(range(len(more)), range(len(fewer)))), more, renamed)


def losses(free: Run, held: Run) -> list[float]:
    """Loss of decode speed of every case that can be compared."""
    found = judge(free, held, [])[1]
    return [-f.change_frac for f in found if f.metric == "decode_tokens_per_s" and f.change_frac is not None]


def report(title: str, which: list[tuple[int, int]], bases: list[Run], news: list[Run]) -> None:
    """One line: failing comparisons, and failing decode metrics, without and with history."""
    cells = []
    for learn in (False, True):
        failed = metrics = tested = compared = 0
        for i, j in which:
            past = [run for n, run in enumerate(bases) if n not in (i, j)] if learn else []
            fails, found = judge(bases[i], news[j], past)
            compared += any(finding.verdict is not Verdict.NOT_COMPARABLE for finding in found)
            failed += fails
            for finding in found:
                tested += finding.verdict is not Verdict.NOT_COMPARABLE
                metrics += finding.verdict is Verdict.SLOWER
        cells.append(f"{failed / max(compared, 1):6.1%} of comparisons, {metrics / max(tested, 1):6.1%} of metrics")
    print(f"{title}: {compared} pairs of {len(which)} comparable")
    print(f"    no history {cells[0]}; with history {cells[1]}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["record", "analyse", "fewer", "turns", "analyse-turns"])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.10)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    asked = parser.parse_args()
    if asked.action == "record":
        record(asked.files[0], asked.runs, asked.share, asked.threads)
    elif asked.action == "turns":
        record_turns(asked.files[0], asked.runs, asked.share, asked.threads)
    elif asked.action == "analyse-turns":
        analyse_turns(asked.files)
    elif asked.action == "fewer":
        fewer_threads(asked.files)
    else:
        analyse(asked.files)


if __name__ == "__main__":
    main()
