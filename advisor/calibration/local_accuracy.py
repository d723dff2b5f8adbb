"""How far predictions are off on this machine, on shapes that calibration never saw.

Calibration twins and the twins of the shapes are held open together and timed in turn, so that
prediction and measurement saw the same machine; the estimate then goes through the same
``advisor.estimate`` as everything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from advisor import store
from advisor.calibration.accelerator_experiments import accelerator_experiments
from advisor.calibration.accelerator_fit import fit_accelerator
from advisor.calibration.accelerators import Accelerator, read_bytes_per_s
from advisor.calibration.least_squares import observe_all
from advisor.calibration.processor_experiments import processor_experiments
from advisor.calibration.processor_fit import fit_processor
from advisor.calibration.rehearse import OnProgress, Rehearsed, rehearse
from advisor.calibration.shapes import OUTPUT_TOKENS, PROMPT_TOKENS, Shape, shape_experiment, shape_timings
from advisor.datasheets.accuracy import summarise_errors
from advisor.estimate import estimate
from advisor.machine import CPU_DEVICE_ID, Machine, MachineDevice
from advisor.memory.cpu_repack import repacked_types
from advisor.operations import RECURRENT_MIXERS, moe_layers_count
from advisor.twins.scratch import scratch_folder
from advisor.types import (
    AccuracyRow,
    AccuracySummary,
    Deployment,
    Estimate,
    Interval,
    Rates,
    SkippedRow,
    Workload,
)
from catalog.types import Mixer
from catalog.units import GIB
from catalog.weights import weigh
from probes.types import HardwareProfile

_ACCELERATOR_PROMPT_TOKENS = 2048
_MEMORY_SHARE = 0.75  # what does not fit with the rest is timed after it, when the machine may have changed
_ROUNDS_COUNT = 5
_SIZES = (
    (GIB // 2, "under 0.5 GiB"),
    (GIB, "0.5-1 GiB"),
    (2 * GIB, "1-2 GiB"),
    (8 * GIB, "2-8 GiB"),
    (1 << 62, "over 8 GiB"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The device that shapes are measured on, and the prompt they are measured with.

    ``engine_name`` is what the engine calls an accelerator, None for the processor.
    """

    device_id: str = CPU_DEVICE_ID
    backend: str = "cpu"
    name: str
    engine_name: str | None = None
    memory_bytes: int
    read_bytes_per_s: float | None = None
    prompt_tokens: int = PROMPT_TOKENS
    threads_count: int | None = None


def processor_bench(profile: HardwareProfile, *, threads_count: int | None) -> Bench:
    """The processor of a machine."""
    return Bench(
        name=profile.host.cpu_name or "CPU",
        memory_bytes=int(_MEMORY_SHARE * (profile.host.memory_available_bytes or 0)),
        read_bytes_per_s=read_bytes_per_s(profile, CPU_DEVICE_ID),
        threads_count=threads_count,
    )


def accelerator_bench(profile: HardwareProfile, accelerator: Accelerator, *, threads_count: int | None) -> Bench:
    """An accelerator of a machine."""
    return Bench(
        device_id=accelerator.device_id,
        backend=accelerator.backend,
        name=accelerator.name,
        engine_name=accelerator.engine_name,
        memory_bytes=accelerator.usable_bytes,
        read_bytes_per_s=read_bytes_per_s(profile, accelerator.device_id),
        prompt_tokens=_ACCELERATOR_PROMPT_TOKENS,
        threads_count=threads_count,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRow:
    """A row with what groups it is summed up in, and what simpler formulas say of it."""

    row: AccuracyRow
    phase: str
    groups: tuple[str, ...]
    rivals: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run on this machine gave: rows, shapes that were not measured and why, and remarks."""

    rows: tuple[LocalRow, ...]
    skipped: tuple[SkippedRow, ...]
    notes: tuple[str, ...]


def measure_accuracy(
    shapes: Sequence[Shape],
    profile: HardwareProfile,
    bench: Bench,
    *,
    budget_s: float = 200.0,
    on_progress: OnProgress | None = None,
) -> Measured:
    """Calibrate, predict and measure in one interleaved run.

    Raises:
        EngineError: if the engine is missing or cannot run.
    """
    from advisor.engines.llamacpp import open_worker

    planned, skipped = _that_fit(shapes, bench)
    cache_bytes = profile.host.l3_bytes or 0
    twins = accelerator_experiments() if bench.engine_name else processor_experiments(cache_bytes=cache_bytes)
    with scratch_folder(store.cache_dir() / "twins") as directory, open_worker() as worker:
        results = rehearse(
            worker,
            [*twins, *(shape_experiment(shape, bench.prompt_tokens) for shape in planned.values())],
            directory,
            threads_count=bench.threads_count,
            memory_bytes=bench.memory_bytes,
            device=bench.engine_name,
            rounds_count=_ROUNDS_COUNT,
            budget_s=budget_s,
            required=True,
            on_progress=on_progress,
        )
    machine = _machine(
        bench, _fit([item for item in results if item.experiment.experiment_id not in planned], profile, bench)
    )
    rows: list[LocalRow] = []
    notes: list[str] = []
    for item in results:
        shape = planned.get(item.experiment.experiment_id)
        if shape is None:
            continue
        if item.fault is not None:
            skipped.append(_skipped_shape(shape, item.fault))
            continue
        rows += _rows(shape, item, machine, bench)
        if any(item.polluted(timing) for timing in item.windows):
            notes.append(f"{shape.name} {shape.quant_id}: other programs disturbed the measurement")
    return Measured(rows=tuple(rows), skipped=tuple(skipped), notes=tuple(notes))


def _fit(twins: Sequence[Rehearsed], profile: HardwareProfile, bench: Bench) -> Rates:
    threads_count = None if bench.engine_name else bench.threads_count
    observations = observe_all(twins, threads_count=threads_count)
    if bench.engine_name:
        return fit_accelerator(
            observations,
            device_id=bench.device_id,
            backend=bench.backend,
            memory_bytes_per_s=bench.read_bytes_per_s,
        )
    return fit_processor(
        observations,
        device_id=CPU_DEVICE_ID,
        backend="cpu",
        threads_count=threads_count,
        memory_bytes_per_s=bench.read_bytes_per_s,
        repacked_types=repacked_types(profile.host.instruction_sets),
    )


def _that_fit(shapes: Sequence[Shape], bench: Bench) -> tuple[dict[str, Shape], list[SkippedRow]]:
    """Shapes that the device's memory holds, by the name of their twin, and those it does not."""
    planned: dict[str, Shape] = {}
    skipped = []
    for shape in shapes:
        experiment = shape_experiment(shape, bench.prompt_tokens)
        if experiment.weights_bytes > bench.memory_bytes:
            sizes = (
                f"{experiment.weights_bytes / GIB:.1f} GiB of weights, {bench.memory_bytes / GIB:.1f} GiB may be used"
            )
            skipped.append(_skipped_shape(shape, f"too large to measure here whole: {sizes}"))
        else:
            planned[experiment.experiment_id] = shape
    return planned, skipped


def _skipped_shape(shape: Shape, reason: str) -> SkippedRow:
    return SkippedRow(row={"name": shape.name, "quant": shape.quant_id}, reason=reason)


def _machine(bench: Bench, rates: Rates) -> Machine:
    device = MachineDevice(
        device_id=bench.device_id,
        backend=bench.backend,
        name=bench.name,
        memory_available_bytes=bench.memory_bytes,
        rates=rates,
    )
    return Machine(name=device.name, profile_id=bench.name, devices=(device,))


def _rows(shape: Shape, item: Rehearsed, machine: Machine, bench: Bench) -> list[LocalRow]:
    prompt_tokens = bench.prompt_tokens
    workload = Workload(
        prompt_tokens=prompt_tokens, output_tokens=OUTPUT_TOKENS, context_tokens=prompt_tokens + OUTPUT_TOKENS
    )
    artifact = weigh(shape.model, shape.quant_id)
    layers_count = shape.model.geometry.layers_count if shape.model.geometry else 1
    deployment = Deployment(
        model_id=shape.model.model_id,
        quant_id=shape.quant_id,
        backend=bench.backend,
        layers_by_device={bench.device_id: layers_count},
        threads_count=machine.devices[0].rates.threads_count,
    )
    made = estimate(shape.model, artifact, machine, workload, deployment)
    prefill, decode = shape_timings(prompt_tokens)
    prefill_s, decode_s = median(item.seconds(prefill)), median(item.seconds(decode))
    groups = ("all", f"quant: {shape.quant_id}", f"kind: {_kind(shape)}", f"size: {_size(artifact.file_bytes)}")
    tests = (
        ("prefill", f"pp{prompt_tokens}", prompt_tokens / prefill_s, made.prefill_tokens_per_s),
        ("decode", f"tg{OUTPUT_TOKENS}@d{prompt_tokens}", 1.0 / decode_s, made.decode_tokens_per_s),
    )
    return [
        LocalRow(
            row=_row(shape, machine, test, measured, predicted),
            phase=phase,
            groups=groups,
            rivals=_rivals(made, phase, bench.read_bytes_per_s),
        )
        for phase, test, measured, predicted in tests
    ]


def _kind(shape: Shape) -> str:
    """What sets a model's kernels apart, in a word."""
    geometry = shape.model.geometry
    mixers = set(geometry.mixers) if geometry else set()
    if geometry is not None and moe_layers_count(geometry):
        return "mixture of experts"
    if mixers & {str(mixer) for mixer in RECURRENT_MIXERS}:
        return "recurrent"
    if Mixer.MLA in mixers:
        return "latent attention"
    return "sliding window" if Mixer.SLIDING in mixers else "dense"


def _size(file_bytes: int) -> str:
    return next(label for limit, label in _SIZES if file_bytes < limit)


def _rivals(made: Estimate, phase: str, bandwidth: float | None) -> dict[str, float]:
    """What bandwidth and size alone would say, given the bandwidth measured here and the bytes a token reads."""
    read = sum(term.bytes for term in made.terms if term.name.startswith("decode."))
    if phase != "decode" or bandwidth is None:
        return {}
    return {"rival: bandwidth/size x 0.55": 0.55 * bandwidth / read, "rival: plain roofline": bandwidth / read}


def _row(shape: Shape, machine: Machine, test: str, measured: float, predicted: Interval) -> AccuracyRow:
    return AccuracyRow(
        hardware=machine.name,
        backend=machine.devices[0].backend,
        model_id=shape.name,
        quant=shape.quant_id,
        test=test,
        measured=measured,
        predicted=predicted,
        error_frac=predicted.mid / measured - 1.0,
    )


def summarise(rows: Sequence[LocalRow]) -> tuple[AccuracySummary, ...]:
    """Errors over all shapes, by quantisation, kind and size, and those of the simpler formulas."""
    order = ("all", "quant", "kind", "size")
    groups = sorted({group for row in rows for group in row.groups}, key=lambda g: (order.index(g.split(":")[0]), g))
    lines = [line for group in groups for line in _by_phase(group, [row for row in rows if group in row.groups])]
    for formula in sorted({name for row in rows for name in row.rivals}):
        told = [row for row in rows if formula in row.rivals]
        points = [(Interval(low=x, mid=x, high=x), row.row.measured) for row in told if (x := row.rivals[formula])]
        lines.append(summarise_errors(formula, "decode", points))
    return tuple(lines)


def _by_phase(group: str, rows: Sequence[LocalRow]) -> list[AccuracySummary]:
    lines = []
    for phase in ("decode", "prefill"):
        pairs = [(row.row.predicted, row.row.measured) for row in rows if row.phase == phase]
        if pairs:
            lines.append(summarise_errors(group, phase, pairs))
    return lines
