"""How far scans of one machine differ: read bandwidth, copy and matmul over several of them.

    python benchmarks/repeatability.py --scans 8

Figures that the guard marked, or that were unsteady, are left out and counted. "neighbours" is the middle
difference between one scan and the next, "all" the largest between any two: on a shared host the second
grows with the minutes, because other machines on it come and go.
"""

import argparse
import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence

from probes.scan import scan
from probes.types import Measurement, ScanWarning

ONLY = ("cpu.read_bandwidth", "cpu.stream_copy", "cpu.matmul")
DISTURBANCES = {ScanWarning.CONTENDED, ScanWarning.STOLEN, ScanWarning.THROTTLED, ScanWarning.UNSTEADY}


def spread_frac(values: Sequence[float]) -> float:
    """Largest distance between two values, relative to their median."""
    return (max(values) - min(values)) / statistics.median(values)


def neighbours_frac(values: Sequence[float]) -> float:
    """Middle difference between one value and the next, relative to the larger."""
    return statistics.median(abs(a - b) / max(a, b) for a, b in itertools.pairwise(values))


def row(name: str, found: Sequence[Measurement]) -> str:
    """One line of the table."""
    quiet = [item for item in found if not DISTURBANCES & set(item.warnings)]
    if len(quiet) < 2:
        return f"{name:20} {'fewer than two quiet scans':>44}  {len(quiet)} of {len(found)}"
    columns = [
        f"{statistics.median(values) / 1e9:9.1f} {neighbours_frac(values):10.1%} {spread_frac(values):6.1%}"
        for values in ([item.value for item in quiet], [item.median_value for item in quiet])
    ]
    return f"{name:20} {'  '.join(columns)}  {len(quiet)} of {len(found)}"


def main() -> None:
    """Scan several times and print how far every figure moved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=8)
    parser.add_argument("--budget", type=float, default=9.0, help="seconds a scan may take")
    options = parser.parse_args()

    found: dict[str, list[Measurement]] = defaultdict(list)
    for _ in range(options.scans):
        for outcome in scan(only=ONLY, budget_s=options.budget).outcomes:
            if outcome.measurement is not None:
                found[" ".join(filter(None, (outcome.probe_id, outcome.dtype)))].append(outcome.measurement)
    side = f"{'':>9} {'neighbours':>10} {'all':>6}"
    print(f"{'':20} {'best, G/s':<27}  {'median, G/s':<27}\n{'probe':20} {side}  {side}  quiet")
    for name, measurements in found.items():
        print(row(name, measurements))
    print("\nbest of every scan in order, G/s; * marks a disturbed or unsteady one")
    for name, measurements in found.items():
        marked = [f"{item.value / 1e9:.1f}{'*' if DISTURBANCES & set(item.warnings) else ''}" for item in measurements]
        print(f"{name:20} {' '.join(marked)}")


if __name__ == "__main__":
    main()
