"""Compare this project's stopwatch with llama.cpp's own llama-bench, interleaved on the same file.

    python benchmarks/llama_bench_agreement.py --llama-bench PATH/llama-bench FILE.gguf [--rounds 6]

Each round runs llama-bench once and our windows once, in alternating order, so both see the same machine.
Prints one line per phase: best and median of both, and our figure relative to theirs.
"""

import argparse
import json
import statistics
import subprocess

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
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    samples: dict[str, dict[str, list[float]]] = {
        phase: {"ours": [], "llama-bench": []} for phase in ("prefill", "decode")
    }
    options = LoadOptions(context_tokens=PREFILL_TOKENS, threads_count=arguments.threads)
    with open_worker() as worker, worker.open(arguments.file, options) as session:
        for index in range(arguments.rounds):
            runs = {
                "ours": lambda: ours(session, arguments.repeats),
                "llama-bench": lambda: theirs(
                    arguments.llama_bench, arguments.file, arguments.threads, arguments.repeats
                ),
            }
            for name in sorted(runs, reverse=bool(index % 2)):
                for phase, values in runs[name]().items():
                    samples[phase][name] += values
    for phase, pair in samples.items():
        best = {name: max(values) for name, values in pair.items()}
        median = {name: statistics.median(values) for name, values in pair.items()}
        print(
            f"{phase:8} tok/s  ours best {best['ours']:.1f} median {median['ours']:.1f}"
            f"  llama-bench best {best['llama-bench']:.1f} median {median['llama-bench']:.1f}"
            f"  ratio best {best['ours'] / best['llama-bench']:.3f}"
            f" median {median['ours'] / median['llama-bench']:.3f}"
        )


if __name__ == "__main__":
    main()
