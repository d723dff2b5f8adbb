"""Predicted memory against what llama.cpp lays out, over random shapes and settings.

    python benchmarks/memory_vs_engine.py [--models 200] [--seed 1] [--real 12]

Writes hollow twins (real metadata, shapes and types; no weights) of catalog models and has the engine lay out
every buffer in a dry run, which works for any size. The smallest model of each architecture was looked at while
the rules were written and is left out. ``--real`` also loads some small twins in earnest, which shows mapped
and rearranged weights.
"""

import argparse
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from advisor.engines.base import EngineError, LoadOptions
from advisor.engines.llamacpp import Worker, open_worker
from advisor.memory.kv_cache import unusable_reason
from advisor.memory.plan import plan_memory
from advisor.twins.twin import TwinError, write_twin
from advisor.types import Deployment, DeviceMemory, Workload
from catalog.errors import CatalogError
from catalog.load import Catalog, load_catalog
from catalog.types import ModelSpec
from catalog.weights import weigh

MIB = 1024**2
LOG_ROUNDING_BYTES = 0.02 * MIB  # two lines, each rounded to 0.01 MiB
QUANT_IDS = ("Q2_K", "Q3_K_M", "IQ3_XXS", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16")
SETTINGS_PER_MODEL = 3
PURPOSES = ("weights", "kv", "state", "compute", "output")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Load-time parameters that size buffers; ``context_tokens`` is per sequence."""

    context_tokens: int
    sequences_count: int
    ubatch_tokens: int
    kv_quant_id: str
    flash_attention: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One load: predicted over logged, minus one, and the cache's difference in bytes."""

    model: ModelSpec
    quant_id: str
    setting: Setting
    kv_difference_bytes: int
    weights_error: float
    compute_error: float
    total_error: float
    logged_bytes: int


def draw_setting(rng: random.Random, model: ModelSpec) -> Setting:
    """A random setting the model and the engine accept."""
    longest = min(model.max_context_tokens or 8192, 131072)
    flash = rng.random() < 0.8
    kv_quant_id = rng.choice(("f16", "f16", "q8_0", "q4_0")) if flash else "f16"
    if model.geometry and unusable_reason(model.geometry, kv_quant_id, flash):
        kv_quant_id = "f16"
    return Setting(
        context_tokens=rng.choice([c for c in (512, 1000, 4096, 6000, 16384, 32768, 131072) if c <= max(longest, 512)]),
        sequences_count=rng.choice((1, 1, 1, 2, 4)),
        ubatch_tokens=rng.choice((64, 256, 512, 512, 512, 1024, 2048)),
        kv_quant_id=kv_quant_id,
        flash_attention=flash,
    )


def predict(model: ModelSpec, quant_id: str, setting: Setting, *, mmap: bool = False) -> DeviceMemory:
    """The plan for the CPU alone."""
    deployment = Deployment(
        model_id=model.model_id,
        quant_id=quant_id,
        kv_quant_id=setting.kv_quant_id,
        ubatch_tokens=setting.ubatch_tokens,
        flash_attention=setting.flash_attention,
        mmap=mmap,
    )
    workload = Workload(context_tokens=setting.context_tokens, concurrency_count=setting.sequences_count)
    return plan_memory(model, weigh(model, quant_id), deployment, workload, {"cpu": None}).devices[0]


def logged(worker: Worker, path: Path, setting: Setting, *, dry_run: bool, mmap: bool = False) -> dict[str, int]:
    """What the engine says it allocates, by ``device.purpose``."""
    options = LoadOptions(
        context_tokens=setting.context_tokens,
        streams_count=setting.sequences_count,
        ubatch_tokens=setting.ubatch_tokens,
        k_type=setting.kv_quant_id,
        v_type=setting.kv_quant_id,
        flash_attention=setting.flash_attention,
        mmap=mmap,
        dry_run=dry_run,
    )
    with worker.open(str(path), options) as session:
        return dict(session.memory_bytes())


def _logged(buffers: dict[str, int], purpose: str) -> int:
    """Bytes of a purpose: the stated total of a dry run, or the sum over devices."""
    total = buffers.get(f"all.{purpose}")
    if total is not None:
        return total
    return sum(size for key, size in buffers.items() if key.rpartition(".")[2] == purpose and "." in key)


def compare(model: ModelSpec, quant_id: str, setting: Setting, buffers: dict[str, int]) -> Comparison:
    """Predicted beside logged.

    A dry run states every weight of the file once: second copies are left out of the plan, and prediction
    blocks that the engine skips are put in.
    """
    planned = predict(model, quant_id, setting, mmap=True)
    in_file = sum(group.weight_bytes for group in weigh(model, quant_id).groups)
    skipped = in_file - planned.mapped_bytes
    kv, compute = _logged(buffers, "kv") + _logged(buffers, "state"), _logged(buffers, "compute")
    weights, output = _logged(buffers, "weights"), _logged(buffers, "output")
    total = kv + compute + weights + output
    return Comparison(
        model=model,
        quant_id=quant_id,
        setting=setting,
        kv_difference_bytes=planned.kv_bytes - kv,
        weights_error=(planned.mapped_bytes + skipped) / weights - 1,
        compute_error=planned.compute_bytes / compute - 1,
        total_error=(planned.total_bytes - planned.repack_bytes + skipped) / total - 1,
        logged_bytes=total,
    )


def held_out(catalog: Catalog) -> list[ModelSpec]:
    """Models of distinct shape, without the smallest of each architecture."""
    by_architecture: dict[str, list[ModelSpec]] = {}
    for model in catalog.models.values():
        if model.geometry is not None and model.architecture:
            by_architecture.setdefault(model.architecture, []).append(model)
    seen, kept = set(), []
    for models in by_architecture.values():
        smallest = min(models, key=lambda model: model.params_total_count)
        seen.add(smallest.geometry)
        for model in models:
            if model.geometry not in seen:
                seen.add(model.geometry)
                kept.append(model)
    return kept


def dry_runs(models: Sequence[ModelSpec], rng: random.Random, refused: list[str]) -> Iterator[Comparison]:
    """Compare every model in a few random settings; ``refused`` collects what the engine would not load."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        worker = stack.enter_context(open_worker())
        for model in models:
            quant_id, path = rng.choice(QUANT_IDS), Path(folder) / "twin.gguf"
            settings = [draw_setting(rng, model) for _ in range(SETTINGS_PER_MODEL)]
            try:
                write_twin(model, quant_id, path, hollow=True)
                for setting in settings:
                    yield compare(model, quant_id, setting, logged(worker, path, setting, dry_run=True))
            except (EngineError, TwinError, CatalogError) as error:
                refused.append(f"{model.model_id} {quant_id}: {error}")
                stack.close()
                worker = stack.enter_context(open_worker())
            path.unlink(missing_ok=True)


def quantile(values: Sequence[float], fraction: float) -> float:
    """The value below which a fraction of the others lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def print_table(rows: Sequence[Comparison], refused: Sequence[str]) -> None:
    """Agreement by part."""
    print(f"{len(rows)} loads of {len({row.model.model_id for row in rows})} models, {len(refused)} refused")
    exact = sum(abs(row.kv_difference_bytes) <= LOG_ROUNDING_BYTES for row in rows)
    print(f"KV cache and states: {exact} of {len(rows)} exact to the rounding of the log")
    print(f"{'error':10} {'median':>9} {'p90':>9} {'p99':>9} {'largest':>9} {'lowest':>9}  within 3 %  under by > 1 %")
    for name in ("weights", "compute", "total"):
        errors = [getattr(row, f"{name}_error") for row in rows]
        sizes = [abs(error) for error in errors]
        within = sum(size <= 0.03 for size in sizes)
        under = sum(error < -0.01 for error in errors)
        print(
            f"{name:10} {statistics.median(sizes):9.5f} {quantile(sizes, 0.9):9.5f} {quantile(sizes, 0.99):9.5f}"
            f" {max(sizes):9.5f} {min(errors):+9.5f}  {within:4} of {len(rows)}  {under}"
        )
    print("\nlargest errors of the total:")
    for row in sorted(rows, key=lambda row: -abs(row.total_error))[:8]:
        size = f"{row.logged_bytes / MIB:.0f} MiB"
        print(f"  {row.total_error:+.4f} {row.model.model_id} {row.quant_id} {size} {row.setting}")
    for row in rows:
        if abs(row.kv_difference_bytes) > LOG_ROUNDING_BYTES:
            print(f"  cache off by {row.kv_difference_bytes} bytes: {row.model.model_id} {row.setting}")
    for text in refused:
        print("  refused:", text[:160])


def real_loads(catalog: Catalog, rng: random.Random, count: int) -> None:
    """Load small twins in earnest, mapped: both copies of the weights against the plan."""
    small = [model for model in held_out(catalog) if 1e8 < model.params_total_count < 1.5e9]
    rng.shuffle(small)
    print(f"\n{'mapped loads':44} quant    mapped MiB    plan  rearranged MiB    plan  total MiB    plan  error")
    with tempfile.TemporaryDirectory() as folder, open_worker() as worker:
        for model in small[:count]:
            quant_id = rng.choice(("Q4_0", "Q4_K_M", "IQ4_NL", "Q8_0"))
            setting = Setting(
                context_tokens=2048, sequences_count=1, ubatch_tokens=512, kv_quant_id="f16", flash_attention=True
            )
            path = Path(folder) / "twin.gguf"
            try:
                write_twin(model, quant_id, path)
                buffers = logged(worker, path, setting, dry_run=False, mmap=True)
            except (EngineError, TwinError, CatalogError) as error:
                print(f"{model.model_id:44} {error}"[:120])
                continue
            planned = predict(model, quant_id, setting, mmap=True)
            pairs = (
                (buffers.get("cpu_mapped.weights", 0), planned.mapped_bytes),
                (buffers.get("cpu_repack.weights", 0), planned.repack_bytes),
                (sum(_logged(buffers, purpose) for purpose in PURPOSES), planned.total_bytes),
            )
            figures = "  ".join(f"{real / MIB:9.1f} {plan / MIB:9.1f}" for real, plan in pairs)
            print(f"{model.model_id:44} {quant_id:7} {figures}  {pairs[2][1] / pairs[2][0] - 1:+.4f}")


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    catalog = load_catalog()
    models = held_out(catalog)
    rng.shuffle(models)
    refused: list[str] = []
    rows = list(dry_runs(models[: arguments.models], rng, refused))
    print_table(rows, refused)
    if arguments.real:
        real_loads(catalog, rng, arguments.real)


if __name__ == "__main__":
    main()
