"""Compare this project's stopwatch with llama.cpp's own llama-bench, interleaved on the same file.

    python benchmarks/llama_bench_agreement.py --llama-bench PATH/llama-bench FILE.gguf [--rounds 24]

llama-bench is built from the source distribution of the llama-cpp-python that is installed, so that both are of one
version, and is made to load the same shared libraries, so that both run the same kernels:

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36 && tar xf llama_cpp_python-0.3.36.tar.gz
    cmake -S llama_cpp_python-0.3.36/vendor/llama.cpp -B build -DCMAKE_BUILD_TYPE=Release
    cmake --build build --target llama-bench

Both get the same threads, cores and priority (the highest the system grants). Each round runs llama-bench once and
our windows once, and the order changes from round to round. Rounds in which others took the processor are left out,
unless few remain. Printed per phase: best and median of both; our figure
relative to theirs, of the bests, of the medians and of neighbours, which is the middle of the rounds' own ratios of
medians with the range that holds it with 95 % confidence. Exit code 3 if in a phase the neighbours' middle ratio is
beyond the tolerance.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from advisor.engines.base import LoadOptions, Session
from advisor.engines.llamacpp import open_worker, usable_threads_count
from probes.guard import watch

PREFILL_TOKENS, DECODE_TOKENS = 256, 32
HIGHEST_PRIORITY = -20
LEAST_CLEAN_COUNT = 6
PHASES = ("prefill", "decode")
Rates = dict[str, list[float]]


def raise_priority() -> None:
    """Give this process and those it starts the highest priority there is, where the system grants it."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().nice(getattr(psutil, "HIGH_PRIORITY_CLASS", HIGHEST_PRIORITY))


def library_path() -> dict[str, str]:
    """The environment in which llama-bench finds the binding's own libraries first."""
    import importlib.util

    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "lib"
    name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    return {**os.environ, name: str(folder)}


def theirs(binary: str, path: str, threads: int, repeats: int) -> Rates:
    """Tokens per second of each repetition llama-bench made."""
    command = [binary, "-m", path, "-p", str(PREFILL_TOKENS), "-n", str(DECODE_TOKENS)]
    command += ["-t", str(threads), "-r", str(repeats), "-ngl", "0", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=library_path())
    rows = json.loads(done.stdout)
    return {("prefill" if row["n_prompt"] else "decode"): row["samples_ts"] for row in rows}


def ours(session: Session, repeats: int) -> Rates:
    """Tokens per second of each of our windows."""
    return {
        "prefill": [session.prefill(PREFILL_TOKENS).tokens_per_s for _ in range(repeats)],
        "decode": [session.decode(DECODE_TOKENS).tokens_per_s for _ in range(repeats)],
    }


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=0.03)
    parser.add_argument("--threads", type=int, default=usable_threads_count())
    arguments = parser.parse_args()
    raise_priority()
    options = LoadOptions(context_tokens=PREFILL_TOKENS, threads_count=arguments.threads)
    with open_worker() as worker, worker.open(arguments.file, options) as session:
        runs: dict[str, Callable[[], Rates]] = {
            "ours": lambda: ours(session, arguments.repeats),
            "llama-bench": lambda: theirs(arguments.llama_bench, arguments.file, arguments.threads, arguments.repeats),
        }
        rounds = [take_round(runs, worker.pid, swapped=bool(index % 2)) for index in range(arguments.rounds)]
    clean = [rates for rates, polluted in rounds if not polluted]
    enough = len(clean) >= min(LEAST_CLEAN_COUNT, arguments.rounds)
    print(f"{len(clean)} of {len(rounds)} rounds undisturbed{'' if enough else ': too few, all are counted'}")
    compared = clean if enough else [rates for rates, _ in rounds]
    agree = [report(phase, compared, arguments.tolerance) for phase in PHASES]
    sys.exit(0 if all(agree) else 3)


def take_round(
    runs: Mapping[str, Callable[[], Rates]], worker_pid: int, *, swapped: bool
) -> tuple[dict[str, Rates], bool]:
    """Both, one after the other, and whether others disturbed them."""
    with watch(pids=(worker_pid,)) as watched:
        rates = {name: runs[name]() for name in sorted(runs, reverse=swapped)}
    conditions = watched.conditions
    return rates, conditions is None or conditions.polluted


def report(phase: str, rounds: Sequence[dict[str, Rates]], tolerance: float) -> bool:
    """Print one phase; whether neighbours agree."""
    values = {name: [rate for each in rounds for rate in each[name][phase]] for name in ("ours", "llama-bench")}
    neighbours = sorted(
        statistics.median(each["ours"][phase]) / statistics.median(each["llama-bench"][phase]) for each in rounds
    )
    middle = statistics.median(neighbours)
    low, high = median_range(neighbours)
    told = "  ".join(
        f"{name} best {max(rates):.1f} median {statistics.median(rates):.1f}" for name, rates in values.items()
    )
    of_bests = max(values["ours"]) / max(values["llama-bench"])
    of_medians = statistics.median(values["ours"]) / statistics.median(values["llama-bench"])
    print(f"{phase:8} tok/s  {told}")
    print(
        f"         ours / llama-bench  bests {of_bests:.3f}  medians {of_medians:.3f}"
        f"  neighbours {middle:.3f} [{low:.3f}, {high:.3f}], each {neighbours[0]:.3f} to {neighbours[-1]:.3f}"
    )
    return abs(middle - 1.0) <= tolerance


def median_range(ordered: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The narrowest pair of order statistics that holds the median with that confidence (the sign test's)."""
    count = len(ordered)
    outside = 0.0
    for index in range(count // 2):
        outside += 2.0 * math.comb(count, index) / 2.0**count
        if outside > 1.0 - confidence:
            return ordered[max(0, index - 1)], ordered[min(count - 1, count - index)]
    return ordered[0], ordered[-1]


if __name__ == "__main__":
    main()
