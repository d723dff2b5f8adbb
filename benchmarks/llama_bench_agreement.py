"""Compare this project's stopwatch with llama.cpp's own llama-bench, interleaved on the same file.

    python benchmarks/llama_bench_agreement.py --llama-bench PATH/llama-bench FILE.gguf [--rounds 6]

Each round runs llama-bench once and our windows once, in alternating order, so both see the same machine.
Prints one line per phase: best and median of both, and our figure relative to theirs: of the bests, and the middle
of the rounds' own ratios of bests.
Exit code 3 if in a phase neither of the two is within the tolerance.
"""

import argparse
import json
import statistics
import subprocess
import sys

from advisor.engines.base import LoadOptions, Session
from advisor.engines.llamacpp import open_worker

PREFILL_TOKENS, DECODE_TOKENS = 256, 32


def theirs(binary: str, path: str, threads: int, repeats: int) -> dict[str, list[float]]:
    """Tokens per second of each repetition llama-bench made."""
    command = [binary, "-m", path, "-p", str(PREFILL_TOKENS), "-n", str(DECODE_TOKENS)]
    command += ["-t", str(threads), "-r", str(repeats), "-ngl", "0", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    rows = json.loads(done.stdout)
    return {("prefill" if row["n_prompt"] else "decode"): row["samples_ts"] for row in rows}


def ours(session: Session, repeats: int) -> dict[str, list[float]]:
    """Tokens per second of each of our windows."""
    return {
        "prefill": [session.prefill(PREFILL_TOKENS).tokens_per_s for _ in range(repeats)],
        "decode": [session.decode(DECODE_TOKENS).tokens_per_s for _ in range(repeats)],
    }


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=0.03)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    rounds: list[dict[str, dict[str, list[float]]]] = []
    options = LoadOptions(context_tokens=PREFILL_TOKENS, threads_count=arguments.threads)
    with open_worker() as worker, worker.open(arguments.file, options) as session:
        for index in range(arguments.rounds):
            runs = {
                "ours": lambda: ours(session, arguments.repeats),
                "llama-bench": lambda: theirs(
                    arguments.llama_bench, arguments.file, arguments.threads, arguments.repeats
                ),
            }
            rounds.append({name: runs[name]() for name in sorted(runs, reverse=bool(index % 2))})
    agree = [report(phase, rounds, arguments.tolerance) for phase in ("prefill", "decode")]
    sys.exit(0 if all(agree) else 3)


def report(phase: str, rounds: list[dict[str, dict[str, list[float]]]], tolerance: float) -> bool:
    """Print one phase; whether the bests, or the middle round, agree."""
    values = {name: [rate for each in rounds for rate in each[name][phase]] for name in ("ours", "llama-bench")}
    best = {name: max(rates) for name, rates in values.items()}
    median = {name: statistics.median(rates) for name, rates in values.items()}
    by_round = statistics.median(max(each["ours"][phase]) / max(each["llama-bench"][phase]) for each in rounds)
    of_bests = best["ours"] / best["llama-bench"]
    print(
        f"{phase:8} tok/s  ours best {best['ours']:.1f} median {median['ours']:.1f}"
        f"  llama-bench best {best['llama-bench']:.1f} median {median['llama-bench']:.1f}"
        f"  ratio of bests {of_bests:.3f}  of the middle round {by_round:.3f}"
    )
    return min(abs(of_bests - 1.0), abs(by_round - 1.0)) <= tolerance


if __name__ == "__main__":
    main()
