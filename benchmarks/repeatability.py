"""How far scans of one machine differ: the spread of read bandwidth and matmul over several of them.

    python benchmarks/repeatability.py --scans 5

Needs a quiet machine: scans that other programs disturbed are marked, and counted apart.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence

from probes.scan import scan

ONLY = ("cpu.read_bandwidth", "cpu.stream_copy", "cpu.matmul")


def spread_frac(values: Sequence[float]) -> float:
    """Largest distance between two values, relative to their median."""
    return (max(values) - min(values)) / statistics.median(values)


def main() -> None:
    """Scan several times and print the spread of every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=5)
    parser.add_argument("--budget", type=float, default=8.0, help="seconds a scan may take")
    options = parser.parse_args()

    best: dict[str, list[float]] = defaultdict(list)
    median: dict[str, list[float]] = defaultdict(list)
    polluted: dict[str, int] = defaultdict(int)
    for _ in range(options.scans):
        for outcome in scan(only=ONLY, budget_s=options.budget).outcomes:
            measured = outcome.measurement
            if measured is None:
                continue
            name = " ".join(filter(None, (outcome.probe_id, outcome.dtype)))
            best[name].append(measured.value)
            median[name].append(measured.median_value)
            polluted[name] += bool(measured.conditions and measured.conditions.polluted)
    print(f"{'probe':24} {'best':>10} {'spread':>8} {'median':>10} {'spread':>8}  polluted")
    for name, values in best.items():
        middle = median[name]
        print(
            f"{name:24} {statistics.median(values) / 1e9:10.1f} {spread_frac(values):8.1%}"
            f" {statistics.median(middle) / 1e9:10.1f} {spread_frac(middle):8.1%}  {polluted[name]} of {len(values)}"
        )


if __name__ == "__main__":
    main()
