"""Timing many models on one engine in turn, so that a busy moment hurts all of them alike.

Twins are written to the cache directory, opened in one worker, and removed as soon as they are loaded;
each round times every model once. What the guard marks as disturbed is timed again while time is left.
"""

import contextlib
import math
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from advisor.attention import AttentionKernel
from advisor.calibration.experiment import Experiment, Timing
from advisor.engines.base import EngineError, LoadOptions, ModelRefusedError, OutOfMemoryError, Window
from advisor.engines.llamacpp import LlamaCppSession, Worker
from advisor.twins.twin import TwinTensor, write_gguf
from catalog.tensors import gguf_metadata, list_tensors
from probes.guard import watch

OnProgress = Callable[[float, str], None]

#: A twin is read, not mapped, so it is in memory once; caches and buffers come on top.
_RESIDENT_COPIES = 1.15
#: Share of the time budget that writing and loading twins may use.
_WRITING_SHARE = 0.5
_ACCELERATOR_WRITING_SHARE = 0.65  # timing them there takes little
#: Undisturbed repeats that make a timing trustworthy: what the least number of rounds gives.
_ENOUGH_COUNT = 2
#: Rounds are repeated up to this many times over to replace windows that others disturbed.
_ROUNDS_LIMIT = 4
_LEAST_ROUNDS = 2
_LATE_SHARE = 0.05
#: Decode windows to one prompt: they are short, and short ones are the more easily disturbed.
_DECODE_SHARE = 2
#: How long a disturbance is waited out before the next window, and how long each look at the machine takes.
_PATIENCE_S = 2.0
_LOOK_S = 0.1
_DECODE_LIMIT_S = 0.5  # of a window; beside another busy program a token can take a hundred times as long
_HIGHEST_PRIORITY = -20
_ALL_LAYERS_COUNT = 999
_CONTEXT_BYTES = 128 << 20


@dataclass(slots=True)
class Rehearsed:
    """What was timed for one experiment: windows per timing, in the order they were taken; none if there is a fault."""

    experiment: Experiment
    windows: dict[Timing, list[Window]] = field(default_factory=dict)
    fault: str | None = None

    def seconds(self, timing: Timing) -> list[float]:
        """Seconds of every undisturbed repeat if there are any, else of all: per decoded token, or per prompt.

        A first prompt touches buffers that later ones find in memory: it counts only where no other was undisturbed.
        """
        windows = self.windows.get(timing, [])
        clean = [window for window in windows if not window.polluted]
        later = [window for window in windows[1:] if not window.polluted]
        counted = (later if timing.phase == "prefill" else clean) or clean or windows
        return [time_s for window in counted for time_s in _repeats(window)]

    def wanting(self, count: int) -> list[Timing]:
        """Timings that have not been had ``count`` times undisturbed, decoding twice as often."""
        return [
            timing
            for timing in self.experiment.timings
            if sum(not window.polluted for window in self.windows.get(timing, [])) < _wanted_count(timing, count)
        ]

    def polluted(self, timing: Timing) -> bool:
        """Whether others disturbed it so often that fewer than two undisturbed repeats were had."""
        windows = self.windows.get(timing, [])
        clean_count = sum(not window.polluted for window in windows)
        return clean_count < min(_ENOUGH_COUNT, len(windows))


def _wanted_count(timing: Timing, count: int) -> int:
    wanted = count * (_DECODE_SHARE if timing.phase == "decode" else 1)
    return wanted if timing.most_count is None else min(wanted, timing.most_count)


_Held = tuple[LlamaCppSession, Rehearsed]


def _repeats(window: Window) -> tuple[float, ...]:
    """Each token of a decode window, or a prompt's total."""
    return (window.total_s,) if window.phase == "prefill" else window.elapsed_s


def write_experiment(experiment: Experiment, path: Path) -> None:
    """The twin of an experiment as a GGUF file."""
    model = experiment.model
    geometry = model.geometry
    vocab_count = geometry.vocab_count if geometry else 0
    metadata = {
        **gguf_metadata(model),
        f"{model.architecture}.vocab_size": vocab_count,
        "tokenizer.ggml.model": "no_vocab",
    }
    tensors = [
        TwinTensor(name=tensor.name, shape=tensor.shape, type_name=type_name)
        for tensor, type_name in zip(list_tensors(model), experiment.tensor_types, strict=True)
    ]
    write_gguf(path, metadata, tensors, durable=False)


def rehearse(
    worker: Worker,
    experiments: Sequence[Experiment],
    directory: Path,
    *,
    threads_count: int | None,
    memory_bytes: int,
    device: str | None = None,
    rounds_count: int = 5,
    budget_s: float = 40.0,
    required: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[Rehearsed, ...]:
    """Time every experiment's twin, round by round, within a budget of time and memory.

    Twins that do not fit in memory together are timed in batches. One that the engine will not load has its
    fault instead of windows; one that time no longer allows is left out, and its rates are then guessed.
    Timings that others disturbed are taken again while time is left, once the machine has gone quiet.

    Args:
        worker: the engine.
        experiments: what to time, most informative first.
        directory: where twins are written until they are loaded.
        threads_count: threads of the engine; None is its own choice.
        memory_bytes: what the twins held at once may take.
        device: the accelerator that holds them, as ggml names it; None is the CPU alone.
        rounds_count: undisturbed repeats wanted of every timing.
        budget_s: seconds for all of it; every twin that is held is timed at least twice.
        required: nothing is left out for lack of time: the budget is for the timing alone.
        on_progress: told the share done, 0 to 1, and what is being done.

    Raises:
        EngineError: if the engine cannot run at all.
    """
    prefer(worker.pid)
    started_s = time.monotonic()
    results: list[Rehearsed] = []
    for batch in batches(experiments, memory_bytes, on_accelerator=device is not None):
        share = len(batch) / len(experiments)
        left_s = budget_s - (time.monotonic() - started_s)
        if results and not required and left_s < 0.2 * budget_s * share:
            break
        if results:  # giving back what the last batch held keeps the system busy for a moment
            wait_for_quiet(time.monotonic() + _PATIENCE_S)
        plan = _Plan(
            threads_count=threads_count,
            device=device,
            rounds_count=rounds_count,
            budget_s=budget_s * share if required or share == 1.0 else min(left_s, budget_s * share),
            required=required,
            on_progress=stage(on_progress, len(results) / len(experiments), share),
        )
        results += _rehearse_batch(worker, batch, directory, plan)
    return tuple(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How one batch of twins is timed."""

    threads_count: int | None
    device: str | None
    rounds_count: int
    budget_s: float
    required: bool
    on_progress: OnProgress

    @property
    def patience_s(self) -> float:
        """Seconds beyond its time that a disturbed machine is given for its second round; the first is always had."""
        return math.inf if self.required else _LATE_SHARE * self.budget_s

    @property
    def writing_s(self) -> float:
        """Seconds that writing and loading twins may take."""
        return (_ACCELERATOR_WRITING_SHARE if self.device else _WRITING_SHARE) * self.budget_s


def batches(
    experiments: Sequence[Experiment], memory_bytes: int, *, on_accelerator: bool = False
) -> list[list[Experiment]]:
    """Consecutive experiments whose twins fit in memory together, at least one each."""
    groups: list[list[Experiment]] = []
    held_bytes = 0
    for experiment in experiments:
        size = round(_RESIDENT_COPIES * experiment.weights_bytes)
        if on_accelerator:  # which takes a context's buffers whole, touched or not
            size += _buffers_bytes(experiment)
        if not groups or held_bytes + size > memory_bytes:
            groups.append([])
            held_bytes = 0
        groups[-1].append(experiment)
        held_bytes += size
    return groups


def _buffers_bytes(experiment: Experiment) -> int:
    """About what a context takes on an accelerator beside the weights: caches, logits of a micro-batch, the rest."""
    geometry = experiment.model.geometry
    if geometry is None:
        return _CONTEXT_BYTES
    caches = 2 * geometry.kv_full_elements_count * experiment.context_tokens
    return _CONTEXT_BYTES + caches + 4 * LoadOptions().ubatch_tokens * geometry.vocab_count


def stage(on_progress: OnProgress | None, offset: float, share: float) -> OnProgress:
    """Progress of a part, told as that share of the whole which begins at ``offset``."""

    def report(done_frac: float, note: str) -> None:
        if on_progress is not None:
            on_progress(offset + share * done_frac, note)

    return report


def _rehearse_batch(worker: Worker, experiments: Sequence[Experiment], directory: Path, plan: _Plan) -> list[Rehearsed]:
    started_s = time.monotonic()
    with ExitStack() as stack:
        held: list[_Held] = []
        refused: list[Rehearsed] = []
        written = stack.enter_context(contextlib.closing(_written(experiments, directory)))
        for index, (experiment, path) in enumerate(written):
            if held and not plan.required and time.monotonic() - started_s > plan.writing_s:
                break
            plan.on_progress(0.3 * index / len(experiments), f"loading {experiment.experiment_id}")
            try:
                session = _open(worker, experiment, path, plan)
            except (ModelRefusedError, OutOfMemoryError) as error:
                refused.append(Rehearsed(experiment, fault=str(error)))
                continue
            stack.callback(session.close)
            held.append((session, Rehearsed(experiment)))
        written.close()
        if plan.required:
            started_s = time.monotonic()
        _rounds(held, plan, started_s + plan.budget_s)
        return [*(result for _, result in held), *refused]


def _written(experiments: Sequence[Experiment], directory: Path) -> Generator[tuple[Experiment, Path], None, None]:
    """The file of each experiment, written while the one before is loaded."""
    paths = [directory / f"{experiment.experiment_id}.gguf" for experiment in experiments]
    with ThreadPoolExecutor(max_workers=1) as writer:
        coming = writer.submit(write_experiment, experiments[0], paths[0])
        try:
            for index, experiment in enumerate(experiments):
                coming.result()
                if index + 1 < len(experiments):
                    coming = writer.submit(write_experiment, experiments[index + 1], paths[index + 1])
                yield experiment, paths[index]
        finally:
            coming.exception()  # a file that nobody waits for any longer goes too
            for path in paths:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def _open(worker: Worker, experiment: Experiment, path: Path, plan: _Plan) -> LlamaCppSession:
    kernel = experiment.attention_kernel
    options = LoadOptions(
        context_tokens=experiment.context_tokens,
        threads_count=plan.threads_count,
        devices=(plan.device,) if plan.device else (),
        gpu_layers_count=_ALL_LAYERS_COUNT if plan.device else 0,
        mmap=False,
        flash_attention=kernel.flash,
        k_type=kernel.kv_quant_id,
        v_type=kernel.kv_quant_id,
    )
    try:
        session = worker.hold(str(path), options)
    finally:
        # the weights are in memory now; where the file cannot go yet, its directory takes it later
        with contextlib.suppress(OSError):
            path.unlink()
    try:
        session.decode(2)
        if plan.device:  # kernels are loaded when they are first needed, some for tens of milliseconds
            for timing in experiment.timings:
                _time(session, timing)
        elif prompts := [timing for timing in experiment.timings if timing.phase == "prefill"]:
            _time(session, _first_prompt(prompts, kernel))
    except EngineError:
        session.close()
        raise
    return session


def _first_prompt(prompts: Sequence[Timing], kernel: AttentionKernel) -> Timing:
    """One that touches new buffers, which page by page takes 4 to 80 % of a prompt's later time: a short one will do.

    Without the flash kernel the matrix of scores counts most, and takes twice the deepest prompt's own time.
    """
    shortest = min(prompts, key=lambda timing: (timing.depth_tokens, timing.tokens_count))
    return shortest if kernel.flash else max(prompts, key=lambda timing: timing.depth_tokens)


def _rounds(held: Sequence[_Held], plan: _Plan, deadline_s: float) -> None:
    """Every timing in turn, until each was had often enough undisturbed or time is up."""
    for number in range(_ROUNDS_LIMIT * plan.rounds_count):
        wanted = _round(held, plan.rounds_count)
        if not wanted:
            return
        for index, (session, result, timing) in enumerate(wanted):
            now_s = time.monotonic()
            late_s = now_s - deadline_s
            if number and late_s > 0.0 and (number >= _LEAST_ROUNDS or late_s > plan.patience_s):
                return
            spent = min(1.0, max(0.0, 1.0 - (deadline_s - now_s) / plan.budget_s))
            plan.on_progress(0.3 + 0.7 * spent, f"round {number + 1}, {index + 1} of {len(wanted)}")
            window = _time(session, timing)
            result.windows.setdefault(timing, []).append(window)
            if window.polluted:
                wait_for_quiet(min(deadline_s, time.monotonic() + _PATIENCE_S))


def _round(held: Sequence[_Held], count: int) -> list[tuple[LlamaCppSession, Rehearsed, Timing]]:
    """What a round times: decoding on every model, then prompts, then decoding again.

    Each pass over the models is short, so that what the machine does meanwhile hurts all of them alike.
    """
    wanted = [(session, result, timing) for session, result in held for timing in result.wanting(count)]
    decode = [visit for visit in wanted if visit[2].phase == "decode"]
    return [*decode, *(visit for visit in wanted if visit[2].phase != "decode"), *decode * (_DECODE_SHARE - 1)]


def prefer(pid: int) -> None:
    """Have the system run a process before others while it is timed, where it lets us (on Unix, to root).

    A timing is of the machine left alone. Threads that wait for each other in a loop, as llama.cpp's do,
    lose far more than their share when one of them is put aside.
    """
    import psutil

    first = getattr(psutil, "HIGH_PRIORITY_CLASS", _HIGHEST_PRIORITY)
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process(pid).nice(first)


def wait_for_quiet(deadline_s: float) -> bool:
    """Wait until nothing else uses the machine; False if that did not happen in time."""
    while time.monotonic() < deadline_s:
        with watch() as watched:
            time.sleep(_LOOK_S)
        if not watched.conditions.polluted:
            return True
    return False


def _time(session: LlamaCppSession, timing: Timing) -> Window:
    if timing.phase == "decode":
        return session.decode(timing.tokens_count, depth_tokens=timing.depth_tokens, limit_s=_DECODE_LIMIT_S)
    return session.prefill(timing.tokens_count, depth_tokens=timing.depth_tokens)
