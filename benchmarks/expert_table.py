"""The first three picks of every task on machines that people own, for an expert to read: advisor/docs/picks.md.

    python benchmarks/expert_table.py > advisor/docs/picks.md

Speeds are from data sheets; every limit and workload is the task's default.
"""

from collections.abc import Iterator

from advisor.machine import Machine
from advisor.machines import default_backend, from_hardware
from advisor.recommendation.ordering import in_best_order
from advisor.recommendation.recommend import rank
from advisor.recommendation.request import Candidate, Request
from advisor.recommendation.score import ABOUT_EQUAL_CHANCE, chance_better
from advisor.recommendation.search import search_all
from advisor.recommendation.why import shortfalls
from advisor.types import EstimateWarning, Task
from advisor.workloads import make_workload
from catalog.load import Catalog, load_catalog
from catalog.units import GIB
from reports import format as fmt
from reports import pace

MACHINES = (
    ("8 GB gaming GPU, 32 GiB RAM", "rtx 4060+32GiB"),
    ("12 GB gaming GPU, 32 GiB RAM", "rtx 3060 12gb+32GiB"),
    ("16 GB gaming GPU, 64 GiB RAM", "rtx 4080+64GiB"),
    ("24 GB gaming GPU, 64 GiB RAM", "rtx 4090+64GiB"),
    ("Two 24 GB GPUs, 64 GiB RAM", "rtx 3090*2+64GiB"),
    ("Mac, 8 GiB", "Apple M1 (8-core GPU) 8GiB"),
    ("Mac, 24 GiB", "Apple M4 Pro (16-core GPU) 24GiB"),
    ("Mac, 48 GiB", "Apple M4 Pro (20-core GPU) 48GiB"),
    ("Mac, 64 GiB", "m4 max 64GiB"),
    ("Mac, 128 GiB", "m4 max 128GiB"),
    ("DGX Spark", "dgx spark"),
    ("Strix Halo, 128 GiB", "ryzen ai max+ 395+128GiB"),
    ("Laptop, CPU only, 16 GiB", "ryzen 7 7840hs+16GiB"),
    ("CPU only, 64 GiB", "ryzen 9 7950x+64GiB"),
    ("Data-centre GPU, 80 GB", "NVIDIA H100 SXM"),
    ("Raspberry Pi 5, 8 GiB", "raspberry pi 5"),
)
PICKS_COUNT = 3
_REASONS_COUNT = 2


def main() -> None:
    """Print the whole document."""
    catalog = load_catalog()
    print("# What it picks\n")
    print(
        "The first three picks per task and machine, as `python benchmarks/expert_table.py` prints them from catalog "
        f"{catalog.version}: quality of 100, tokens (of embedders: documents) per second, "
        "seconds to the first token of a new prompt, memory. "
        "≈ means about equal to the pick before it. The last column says where the second falls behind the first.\n"
    )
    for title, hardware in MACHINES:
        spec = catalog.hardware(hardware)
        machine = from_hardware(spec, catalog, backend=default_backend(spec.chip))
        print(f'## {title}\n\n`--hardware "{hardware}"`\n')
        print("| task | first | second | third | the second has |")
        print("|---|---|---|---|---|")
        for task in Task:
            print(f"| {' | '.join(_row(catalog, machine, task))} |")
        print()


def _row(catalog: Catalog, machine: Machine, task: Task) -> Iterator[str]:
    request = Request(workload=make_workload(task), top_count=PICKS_COUNT)
    ranked, _ = rank(search_all(catalog, machine, request).candidates, request, catalog.models)
    shown = in_best_order(ranked, catalog, machine, request)[:PICKS_COUNT]
    yield task
    for index in range(PICKS_COUNT):
        above = shown[index - 1] if 0 < index < len(shown) else None
        yield _pick(shown[index], above) if index < len(shown) else "–"
    yield _why(shown)


def _pick(candidate: Candidate, above: Candidate | None) -> str:
    made = candidate.best.estimate
    equal = above is not None and chance_better(above.best, candidate.best) < ABOUT_EQUAL_CHANCE
    slow = "" if candidate.best.usable else ", slow"
    shared = ", partly on the CPU" if EstimateWarning.SPILLS_TO_CPU in made.warnings else ""
    return (
        f"{'≈ ' if equal else ''}{candidate.model.display_name} {made.quant_id} ({candidate.best.quality.mid:.0f}, "
        f"{fmt.number(pace.speed(made).mid)} {pace.unit(made.workload.task)}, {fmt.duration(made.first_token_s.mid)}, "
        f"{made.memory.total_bytes / GIB:.1f} GiB{shared}{slow})"
    )


def _why(shown: list[Candidate]) -> str:
    if len(shown) < 2:
        return "nothing else fits" if shown else "nothing fits"
    if shown[0].best.usable and not shown[1].best.usable:
        return "the only one that is fast enough"
    found = [text.partition(" (")[0] for text in shortfalls(shown[1].best, shown[0])][:_REASONS_COUNT]
    return "; ".join(f"{text.partition(' of ')[0]}" for text in found) or "about equal in everything"


if __name__ == "__main__":
    main()
