"""Compare batched decoding on published runs (batches of 1 to 32 users) with the cost model.

    python benchmarks/batched_decode.py

The two chips are among those the data-sheet coefficients were fitted on, at batch 1 only; everything about
larger batches comes from the batch terms of ``advisor.roofline``.
"""

import statistics
from collections import defaultdict

from fit_datasheet import BATCHED_BACKENDS, BATCHED_MODELS, read_rows

from advisor.datasheets.datasheet import rates_for_chip
from advisor.datasheets.published import artifact_of
from advisor.estimate import estimate
from advisor.machine import Machine, MachineDevice
from advisor.types import Deployment, Rates, Workload
from catalog.load import load_catalog


def errors() -> dict[tuple[str, str, int, int], float]:
    """Predicted over measured total speed minus one, by chip, model, prompt and batch."""
    catalog = load_catalog()
    found = {}
    for row in read_rows("batched_bench.csv.gz"):
        model_id, quant = BATCHED_MODELS[row["model"].rpartition("/")[2]]
        model = catalog.model(model_id)
        if model.geometry is None:
            continue
        rates = rates_for_chip(catalog.chip(row["hardware"]), BATCHED_BACKENDS[row["hardware"]].lower())
        users, prompt, output = int(row["batch"]), int(row["pp"]), int(row["tg"])
        made = estimate(
            model,
            artifact_of(model, quant, None),
            machine_of(rates),
            Workload(
                prompt_tokens=prompt, output_tokens=output, context_tokens=prompt + output, concurrency_count=users
            ),
            Deployment(model_id=model_id, quant_id=quant, backend=rates.backend),
        )
        total_tokens_per_s = users * made.decode_tokens_per_s.mid
        found[row["hardware"], model_id, prompt, users] = total_tokens_per_s / float(row["s_tg_tps"]) - 1.0
    return found


def machine_of(rates: Rates) -> Machine:
    """A machine with one device and room for anything."""
    device = MachineDevice(
        device_id=rates.device_id, backend=rates.backend, name="chip", memory_available_bytes=1, rates=rates
    )
    return Machine(name="chip", profile_id="chip", devices=(device,)).with_room()


def table() -> list[str]:
    """Errors by batch and by chip as Markdown."""
    by_batch: dict[int, list[float]] = defaultdict(list)
    by_chip: dict[str, list[float]] = defaultdict(list)
    for (hardware, _, _, users), error in errors().items():
        by_batch[users].append(abs(error))
        if users > 1:
            by_chip[hardware].append(abs(error))
    lines = ["| users | rows | median | p90 |", "|---|---|---|---|"]
    lines += [line(str(users), misses) for users, misses in sorted(by_batch.items())]
    return lines + [line(f"2 to 32, {hardware}", misses) for hardware, misses in sorted(by_chip.items())]


def line(name: str, misses: list[float]) -> str:
    """One row of the table."""
    p90 = sorted(misses)[int(0.9 * len(misses))]
    return f"| {name} | {len(misses)} | {statistics.median(misses):.1%} | {p90:.1%} |"


if __name__ == "__main__":
    print("\n".join(table()))
