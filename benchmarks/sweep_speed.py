"""Time the estimator: one estimate, and a search over the whole catalog, its quantisations and placements.

    python benchmarks/sweep_speed.py [--hardware CHIP]

The search is the one behind ``advisor recommend``: every model of the catalog is bounded, and its
quantisations and placements are estimated until no model left could enter the top. It is timed in a process
that has done nothing else (cold: weights are laid out as it goes) and again with what that left cached. Takes
about ten seconds.
"""

import argparse
import statistics
import subprocess
import sys
from time import perf_counter

from advisor.candidates import base_deployment, candidates
from advisor.estimate import estimate
from advisor.machines import from_hardware
from advisor.recommendation.request import Request
from advisor.recommendation.search import search_all
from advisor.types import Task
from advisor.workloads import make_workload
from catalog.load import load_catalog
from catalog.weights import weigh

_MODELS = ("Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B-Instruct-2507", "google/gemma-3-12b-it", "Qwen/Qwen3.5-4B")
_REPEATS_COUNT = 200


def time_search(hardware: str, task: Task) -> None:
    """One search, in milliseconds, on standard output."""
    catalog = load_catalog()
    machine = from_hardware(catalog.hardware(hardware), catalog)
    request = Request(workload=make_workload(task))
    for model in catalog.models.values():  # records are read from the package before the clock starts
        catalog.quality(model.model_id, task)
    for _ in range(2):
        start = perf_counter()
        found = search_all(catalog, machine, request)
        print(f"{(perf_counter() - start) * 1e3:.0f} {len(found.candidates)} {len(catalog.models)}")


def time_estimates(hardware: str) -> None:
    """The median of one estimate, and of placing a model and estimating each placement."""
    catalog = load_catalog()
    machine = from_hardware(catalog.hardware(hardware), catalog)
    workload = make_workload(Task.CODING)
    print(f"{hardware}: {'model':36} estimate, ms  placed, ms  weighed, ms")
    for model_id in _MODELS:
        model = catalog.model(model_id)
        artifact = weigh(model, "Q4_K_M")
        placed = candidates(model, artifact, machine, workload)
        deployment = placed[0].deployment if placed else base_deployment(model, artifact, machine, "f16")
        timed = (
            _median_ms(lambda: estimate(model, artifact, machine, workload, deployment)),  # noqa: B023
            _median_ms(lambda: candidates(model, artifact, machine, workload)),  # noqa: B023
            _median_ms(lambda: weigh(model, "Q5_K_M")),  # noqa: B023
        )
        print(f"{hardware}: {model_id:36} {timed[0]:12.2f} {timed[1]:11.2f} {timed[2]:12.2f}")


def _median_ms(action: object) -> float:
    times = []
    for _ in range(_REPEATS_COUNT):
        start = perf_counter()
        action()  # type: ignore[operator]
        times.append(perf_counter() - start)
    return statistics.median(times) * 1e3


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hardware", action="append")
    parser.add_argument("--search", metavar="TASK", help=argparse.SUPPRESS)
    options = parser.parse_args()
    machines = options.hardware or ["DDR5-5600 dual channel desktop 24GiB", "RTX 4090"]
    if options.search:
        time_search(machines[0], Task(options.search))
        return
    for hardware in machines:
        time_estimates(hardware)
    for hardware in machines:
        for task in (Task.CODING, Task.CHAT):
            command = [sys.executable, __file__, "--hardware", hardware, "--search", task.value]
            cold, warm = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
            (cold_ms, found_count, models_count), warm_ms = cold.split(), warm.split()[0]
            print(
                f"{hardware}: {task.value}: {cold_ms} ms cold, {warm_ms} ms warm"
                f" ({models_count} models bounded, {found_count} searched to the end)"
            )


if __name__ == "__main__":
    main()
