"""Compare stand-ins of a few layers, extrapolated, with the whole twin, interleaved in one worker.

    python benchmarks/stand_in_agreement.py [--quant Q4_K_M] [--budget 60] [MODEL ...]

Prints, for each model, prompt and decode speed of the whole, of the extrapolation, and their ratio.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from advisor.engines.base import LoadOptions
from advisor.engines.llamacpp import open_worker
from advisor.twins.truncate import layer_kinds, plan_stand_ins
from advisor.twins.twin import write_twin
from advisor.types import Workload
from advisor.validation import figures
from advisor.validation.measure import Subject, take_turns
from catalog.load import load_catalog
from catalog.types import ModelSpec
from catalog.weights import weigh
from probes.base import SystemClock

MODELS = ("Qwen2.5-1.5B-Instruct", "gemma-3-1b-it", "granite-3.0-1b-a400m-base", "Qwen3.5-0.8B", "LFM2-1.2B")
WORKLOAD = Workload(prompt_tokens=512, output_tokens=128, context_tokens=1024)
ROOM_BYTES = 2 * 1024**3


def compare(model: ModelSpec, quant_id: str, folder: Path, budget_s: float, extra: int) -> str:
    """One line for one model."""
    artifact = weigh(model, quant_id)
    plan = plan_stand_ins(layer_kinds(model), artifact.layer_bytes, room_bytes=ROOM_BYTES, extra_layers_count=extra)
    assert plan is not None
    options = LoadOptions(context_tokens=WORKLOAD.context_tokens, batch_tokens=512, ubatch_tokens=512)
    with open_worker() as worker, ExitStack() as stack:
        subjects = []
        for index, layers in enumerate((None, *plan.layers)):
            path = folder / f"{index}.gguf"
            write_twin(model, quant_id, path, layers=layers)
            subjects.append(Subject(session=stack.enter_context(worker.open(str(path), options))))
            path.unlink()
        runs = take_turns(subjects, WORKLOAD, budget_s=budget_s, chunk_tokens=512, clock=SystemClock())
    whole, *parts = (figures.figures(run, 512) for run in runs)
    guess = figures.combine(plan, parts)
    real = [_speeds(made, model, artifact) for made in (whole, guess)]
    polluted = sum(window.polluted for run in runs for window in run.windows)
    windows = sum(len(run.windows) for run in runs)
    return (
        f"{model.model_id:36} {[len(layers) for layers in plan.layers]!s:16}"
        f" prefill {real[0][0]:7.1f} {real[1][0]:7.1f} ratio {real[1][0] / real[0][0]:.3f}"
        f"  decode {real[0][1]:6.2f} {real[1][1]:6.2f} ratio {real[1][1] / real[0][1]:.3f}"
        f"  polluted windows {polluted}/{windows}"
    )


def _speeds(made: figures.Figures, model: ModelSpec, artifact: object) -> tuple[float, float]:
    prompt_s = figures.prompt_s(made, WORKLOAD, artifact, model.geometry)  # type: ignore[arg-type]
    token_s = figures.decode_s(made, WORKLOAD, model.geometry)
    return WORKLOAD.prompt_tokens / (prompt_s or float("nan")), 1.0 / (token_s or float("nan"))


def main() -> None:
    """Compare each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--quant", default="Q4_K_M")
    parser.add_argument("--budget", type=float, default=60.0)
    parser.add_argument("--extra", type=int, default=6)
    arguments = parser.parse_args()
    catalog = load_catalog()
    for name in arguments.models:
        with TemporaryDirectory() as folder:
            line = compare(catalog.model(name), arguments.quant, Path(folder), arguments.budget, arguments.extra)
        print(line, flush=True)


if __name__ == "__main__":
    main()
