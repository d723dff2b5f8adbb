"""Fit an accelerator's rates again from recorded times, and predict the shapes that were timed beside them.

    python benchmarks/accelerator_refit.py [--file benchmarks/data/h100_llama_cpp.json]

The twins are those of one calibration; the shapes are full twins of catalog models, which calibration never saw,
from four runs on machines of the same kind. A twin that calibrations no longer time is left out.
"""

import argparse
import json
import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from advisor import roofline
from advisor.calibration.accelerator_experiments import accelerator_experiments
from advisor.calibration.accelerator_fit import fit_accelerator
from advisor.calibration.experiment import Timing, work_of
from advisor.calibration.least_squares import Observation, observe
from advisor.calibration.shapes import Shape, shape_experiment
from advisor.types import Rates
from catalog.load import Catalog, load_catalog
from catalog.units import Z_80

RECORDED = Path(__file__).parent / "data" / "h100_llama_cpp.json"


def observations(twins: dict[str, list[float]]) -> list[Observation]:
    """What the recorded calibration saw, of the twins that there still are."""
    return [
        observe(experiment, timing, twins[name])
        for experiment in accelerator_experiments()
        for timing in experiment.timings
        if (name := f"{experiment.experiment_id}.{timing.phase}{timing.tokens_count}@{timing.depth_tokens}") in twins
    ]


def predicted_s(row: dict[str, Any], rates: Rates, catalog: Catalog) -> float:
    """Seconds of a prompt, or of one decoded token."""
    shape = Shape(name=row["model_id"], model=catalog.models[row["model_id"]], quant_id=row["quant_id"])
    timing = Timing(phase=row["phase"], tokens_count=row["tokens"], depth_tokens=row["depth_tokens"])
    work = work_of(shape_experiment(shape), timing)
    price = roofline.price_decode if row["phase"] == "decode" else roofline.price_prefill
    return roofline.total_s(price(work, rates))


def main() -> None:
    """Print errors by model, and over all with the share inside the intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=RECORDED)
    recorded = json.loads(parser.parse_args().file.read_text())
    catalog = load_catalog()
    seen = observations(recorded["twins"])
    rates = fit_accelerator(seen, device_id="cuda:0", backend="cuda", memory_bytes_per_s=recorded["read_bytes_per_s"])
    print(f"{recorded['device']}; {recorded['engine']}; {len(seen)} of {len(recorded['twins'])} timings of twins")
    for phase, sigma in (("decode", rates.decode_sigma), ("prefill", rates.prefill_sigma)):
        rows = [row for row in recorded["shapes"] if row["phase"] == phase]
        logs = [math.log(predicted_s(row, rates, catalog) / row["time_s"]) for row in rows]
        by_model = defaultdict(list)
        for row, log in zip(rows, logs, strict=True):
            by_model[f"{row['model_id']} {row['quant_id']}"].append(log)
        print(f"\n{phase}: predicted over measured seconds")
        for name, values in sorted(by_model.items()):
            print(f"  {name:<52}{' '.join(f'{100.0 * (math.exp(value) - 1.0):+.0f}' for value in values)}")
        errors = sorted(abs(math.exp(value) - 1.0) for value in logs)
        inside = sum(abs(value) <= Z_80 * sigma for value in logs) / len(logs)
        tenth = errors[min(len(errors) - 1, math.ceil(0.9 * len(errors)) - 1)]
        print(f"  all {len(errors)}: median {statistics.median(errors):.1%}, 90 % {tenth:.1%}, in range {inside:.0%}")


if __name__ == "__main__":
    main()
