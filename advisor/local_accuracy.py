"""How far predictions are off on this machine, on shapes that calibration never saw.

Calibration twins and the twins of the shapes are held open together and timed in turn, so that
prediction and measurement saw the same machine; the estimate then goes through the same
``advisor.estimate`` as everything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor import store
from advisor.calibrate import fit, observe
from advisor.errors import AdvisorError
from advisor.estimate import estimate
from advisor.experiments import Experiment, Timing, experiments
from advisor.machine import CPU_DEVICE_ID, Machine, MachineDevice
from advisor.rehearse import OnProgress, Rehearsed, rehearse, scratch_dir
from advisor.types import AccuracyRow, Deployment, Interval, Rates, Workload
from catalog.load import Catalog
from catalog.recipes import tensor_types
from catalog.tensors import list_tensors
from catalog.types import ModelSpec
from catalog.weights import weigh
from probes.types import HardwareProfile

#: Catalog models, small enough to hold together, of unlike shape, architecture and quantisation.
DEFAULT_SHAPES = (
    ("Qwen/Qwen2.5-0.5B-Instruct", "Q4_K_M"),
    ("Qwen/Qwen3-0.6B", "Q8_0"),
    ("meta-llama/Llama-3.2-1B-Instruct", "Q5_K_M"),
    ("google/gemma-3-1b-it", "Q4_0"),
    ("Qwen/Qwen3-1.7B", "Q4_K_M"),
    ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "IQ4_XS"),
    ("ibm-granite/granite-3.1-1b-a400m-instruct", "Q6_K"),
    ("LiquidAI/LFM2-700M", "Q4_K_M"),
    ("Qwen/Qwen3.5-0.8B", "Q6_K"),
    ("Qwen/Qwen2.5-1.5B-Instruct", "Q3_K_M"),
)
PROMPT_TOKENS = 256
OUTPUT_TOKENS = 16
_PREFILL = Timing(phase="prefill", tokens_count=PROMPT_TOKENS)
_DECODE = Timing(phase="decode", tokens_count=OUTPUT_TOKENS, depth_tokens=PROMPT_TOKENS)
_MEMORY_SHARE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model shape at a quantisation; weights are never needed."""

    name: str
    model: ModelSpec
    quant_id: str


def default_shapes(catalog: Catalog) -> tuple[Shape, ...]:
    """The shapes of `DEFAULT_SHAPES` that the catalog has."""
    return tuple(
        Shape(name=f"{model_id.rpartition('/')[2]}", model=catalog.models[model_id], quant_id=quant_id)
        for model_id, quant_id in DEFAULT_SHAPES
        if model_id in catalog.models
    )


def read_shapes(entries: object, catalog: Catalog, where: str) -> tuple[Shape, ...]:
    """Shapes from the JSON list ``[{"name", "config", "quant"}, ...]``.

    Raises:
        AdvisorError: naming the entry and field that is wrong.
    """
    if not isinstance(entries, list) or not entries:
        raise AdvisorError(f'{where}: expected a list of {{"name", "config", "quant"}} objects')
    return tuple(_read_shape(entry, catalog, f"{where}: entry {number}") for number, entry in enumerate(entries))


def _read_shape(entry: object, catalog: Catalog, where: str) -> Shape:
    from catalog.hf import read_config

    if not isinstance(entry, Mapping):
        raise AdvisorError(f"{where} is not an object")
    fields: Mapping[str, Any] = entry
    for field in ("name", "config", "quant"):
        if field not in fields:
            raise AdvisorError(f"{where}: field {field} is missing")
    name = str(fields["name"])[:80]
    model = read_config(fields["config"], model_id=f"shape/{name}")
    if model.geometry is None:
        raise AdvisorError(f"{where}: the geometry of {name!r} cannot be read from its config: {model.geometry_note}")
    return Shape(name=name, model=model, quant_id=catalog.quant(str(fields["quant"])).quant_id)


def shape_experiment(shape: Shape) -> Experiment:
    """The full twin of a shape, timed on a prompt and on decoding behind it."""
    types = tensor_types(shape.model, list_tensors(shape.model), shape.quant_id)
    return Experiment(
        experiment_id=f"{shape.name}.{shape.quant_id}".replace("/", "-"),
        model=shape.model,
        tensor_types=types,
        timings=(_PREFILL, _DECODE),
    )


def measure_accuracy(
    shapes: Sequence[Shape],
    profile: HardwareProfile,
    *,
    threads_count: int | None,
    budget_s: float = 120.0,
    on_progress: OnProgress | None = None,
) -> tuple[tuple[AccuracyRow, ...], tuple[str, ...]]:
    """Calibrate, predict and measure in one interleaved run; returns rows and notes."""
    from advisor.engines.llamacpp import open_worker

    wanted = [shape_experiment(shape) for shape in shapes]
    planned = [*experiments(), *wanted]
    memory_bytes = int(_MEMORY_SHARE * (profile.host.memory_available_bytes or 0))
    with scratch_dir(store.cache_dir() / "twins") as directory, open_worker() as worker:
        results = rehearse(
            worker,
            planned,
            directory,
            threads_count=threads_count,
            memory_bytes=memory_bytes,
            rounds_count=6,
            budget_s=budget_s,
            on_progress=on_progress,
        )
    known = {item.experiment.experiment_id: item for item in results}
    calibration = [item for item in results if item.experiment not in wanted]
    rates = fit(
        [
            observe(item.experiment, timing, item.seconds(timing), threads_count=threads_count)
            for item in calibration
            for timing in item.windows
        ],
        device_id=CPU_DEVICE_ID,
        backend="cpu",
        threads_count=threads_count,
    )
    machine = _machine(profile, rates)
    rows: list[AccuracyRow] = []
    notes: list[str] = []
    for shape, experiment in zip(shapes, wanted, strict=True):
        item = known.get(experiment.experiment_id)
        if item is None:
            notes.append(f"{shape.name} {shape.quant_id}: the engine did not load it, or time ran out")
            continue
        rows += _rows(shape, item, machine)
        if any(item.polluted(timing) for timing in item.windows):
            notes.append(f"{shape.name} {shape.quant_id}: other programs disturbed the measurement")
    return tuple(rows), tuple(notes)


def _machine(profile: HardwareProfile, rates: Rates) -> Machine:
    device = MachineDevice(
        device_id=CPU_DEVICE_ID,
        backend="cpu",
        name=profile.host.cpu_name or "CPU",
        memory_available_bytes=profile.host.memory_available_bytes or 0,
        rates=rates,
    )
    return Machine(name=device.name, profile_id=profile.profile_id, devices=(device,))


def _rows(shape: Shape, item: Rehearsed, machine: Machine) -> list[AccuracyRow]:
    workload = Workload(
        prompt_tokens=PROMPT_TOKENS, output_tokens=OUTPUT_TOKENS, context_tokens=PROMPT_TOKENS + OUTPUT_TOKENS
    )
    artifact = weigh(shape.model, shape.quant_id)
    layers_count = shape.model.geometry.layers_count if shape.model.geometry else 1
    deployment = Deployment(
        model_id=shape.model.model_id,
        quant_id=shape.quant_id,
        layers_by_device={CPU_DEVICE_ID: layers_count},
        threads_count=machine.devices[0].rates.threads_count,
    )
    made = estimate(shape.model, artifact, machine, workload, deployment)
    prefill_s, decode_s = min(item.seconds(_PREFILL)), min(item.seconds(_DECODE))
    return [
        _row(shape, machine, f"pp{PROMPT_TOKENS}", PROMPT_TOKENS / prefill_s, made.prefill_tokens_per_s),
        _row(shape, machine, f"tg{OUTPUT_TOKENS}@d{PROMPT_TOKENS}", 1.0 / decode_s, made.decode_tokens_per_s),
    ]


def _row(shape: Shape, machine: Machine, test: str, measured: float, predicted: Interval) -> AccuracyRow:
    return AccuracyRow(
        hardware=machine.name,
        backend="cpu",
        model_id=shape.name,
        quant=shape.quant_id,
        test=test,
        measured=measured,
        predicted=predicted,
        error_frac=predicted.mid / measured - 1.0,
    )
