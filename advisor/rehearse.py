"""Timing many models on one engine in turn, so that a busy moment hurts all of them alike.

Twins are written to the cache directory, opened in one worker, and removed as soon as they are loaded;
each round times every model once. What the guard marks as disturbed is timed again while time is left.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from advisor.engines.base import EngineError, LoadOptions, Window
from advisor.engines.llamacpp import LlamaCppSession, Worker
from advisor.experiments import Experiment, Timing
from advisor.twin import TwinTensor, write_gguf
from catalog.tensors import gguf_metadata, list_tensors

OnProgress = Callable[[float, str], None]

#: A twin is read, not mapped, so it is in memory once; caches and buffers come on top.
_RESIDENT_COPIES = 1.15
#: Share of the time budget that writing and loading twins may use.
_WRITING_SHARE = 0.4
#: Undisturbed repeats that make a timing trustworthy.
_ENOUGH_COUNT = 3
_STALE_S = 3600.0


@dataclass(slots=True)
class Rehearsed:
    """What was timed for one experiment: windows per timing, in the order they were taken."""

    experiment: Experiment
    windows: dict[Timing, list[Window]] = field(default_factory=dict)

    def seconds(self, timing: Timing) -> list[float]:
        """Undisturbed repeats if there are at least three, else all: per token, or per prompt."""
        windows = self.windows.get(timing, [])
        clean = [window for window in windows if not window.polluted]
        return [_window_s(window) for window in (clean if len(clean) >= _ENOUGH_COUNT else windows)]

    def polluted(self, timing: Timing) -> bool:
        """Whether fewer than three undisturbed repeats were had."""
        return sum(not window.polluted for window in self.windows.get(timing, [])) < _ENOUGH_COUNT


def _window_s(window: Window) -> float:
    """A prompt's time, or the middle token's time of a decode window."""
    if window.phase == "prefill":
        return window.total_s
    ordered = sorted(window.elapsed_s)
    return ordered[len(ordered) // 2]


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
    write_gguf(path, metadata, tensors)


@contextmanager
def scratch_dir(parent: Path) -> Iterator[Path]:
    """A directory for twins that is gone afterwards; leftovers of a killed run are swept first."""
    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob("rehearse-*"):
        _sweep(stale)
    with tempfile.TemporaryDirectory(prefix="rehearse-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _sweep(directory: Path) -> None:
    with contextlib.suppress(OSError):
        if time.time() - directory.stat().st_mtime > _STALE_S:
            for file in directory.iterdir():
                file.unlink()
            directory.rmdir()


def rehearse(
    worker: Worker,
    experiments: Sequence[Experiment],
    directory: Path,
    *,
    threads_count: int | None,
    memory_bytes: int,
    rounds_count: int = 5,
    budget_s: float = 40.0,
    on_progress: OnProgress | None = None,
) -> tuple[Rehearsed, ...]:
    """Time every experiment's twin, round by round, within a budget of time and memory.

    Twins that do not fit in memory together are timed in batches. One that the engine will not load, or
    that time no longer allows, is left out: its rates then fall back to a slower known type.

    Raises:
        EngineError: if the engine cannot run at all.
    """
    started_s = time.monotonic()
    results: list[Rehearsed] = []
    for batch in batches(experiments, memory_bytes):
        share = len(batch) / len(experiments)
        offset = len(results) / len(experiments)
        stage = _stage(on_progress, offset, share)
        left_s = budget_s - (time.monotonic() - started_s)
        if results and left_s < 0.2 * budget_s * share:
            break
        batch_s = min(left_s, budget_s * share) if share < 1.0 else budget_s
        results += _rehearse_batch(worker, batch, directory, threads_count, rounds_count, batch_s, stage)
    return tuple(results)


def batches(experiments: Sequence[Experiment], memory_bytes: int) -> list[list[Experiment]]:
    """Consecutive experiments whose twins fit in memory together, at least one each."""
    groups: list[list[Experiment]] = []
    held_bytes = 0
    for experiment in experiments:
        size = round(_RESIDENT_COPIES * experiment.weights_bytes)
        if not groups or held_bytes + size > memory_bytes:
            groups.append([])
            held_bytes = 0
        groups[-1].append(experiment)
        held_bytes += size
    return groups


def _stage(on_progress: OnProgress | None, offset: float, share: float) -> OnProgress:
    def report(done_frac: float, note: str) -> None:
        if on_progress is not None:
            on_progress(offset + share * done_frac, note)

    return report


def _rehearse_batch(
    worker: Worker,
    experiments: Sequence[Experiment],
    directory: Path,
    threads_count: int | None,
    rounds_count: int,
    budget_s: float,
    on_progress: OnProgress,
) -> list[Rehearsed]:
    deadline_s = time.monotonic() + budget_s
    with ExitStack() as stack:
        held: list[tuple[LlamaCppSession, Rehearsed]] = []
        for index, experiment in enumerate(experiments):
            if held and time.monotonic() > deadline_s - (1.0 - _WRITING_SHARE) * budget_s:
                break
            on_progress(0.3 * index / len(experiments), f"writing {experiment.experiment_id}")
            session = _open(worker, experiment, directory, threads_count)
            if session is not None:
                stack.callback(session.close)
                held.append((session, Rehearsed(experiment)))
        _rounds(held, rounds_count, deadline_s, on_progress)
        return [result for _, result in held if result.windows]


def _open(worker: Worker, experiment: Experiment, directory: Path, threads_count: int | None) -> LlamaCppSession | None:
    path = directory / f"{experiment.experiment_id}.gguf"
    write_experiment(experiment, path)
    options = LoadOptions(context_tokens=experiment.context_tokens, threads_count=threads_count, mmap=False)
    try:
        session = worker.hold(str(path), options)
    except EngineError:
        return None
    finally:
        # the weights are in memory now; where the file cannot go yet, its directory takes it later
        with contextlib.suppress(OSError):
            path.unlink()
    session.decode(2)
    return session


def _rounds(
    held: Sequence[tuple[LlamaCppSession, Rehearsed]],
    rounds_count: int,
    deadline_s: float,
    on_progress: OnProgress,
) -> None:
    for number in range(rounds_count):
        for index, (session, result) in enumerate(held):
            if number >= 2 and time.monotonic() > deadline_s:
                return
            done = (number + index / len(held)) / rounds_count
            on_progress(0.3 + 0.7 * done, f"round {number + 1} of {rounds_count}")
            for timing in result.experiment.timings:
                result.windows.setdefault(timing, []).append(_time(session, timing))


def _time(session: LlamaCppSession, timing: Timing) -> Window:
    if timing.phase == "decode":
        return session.decode(timing.tokens_count, depth_tokens=timing.depth_tokens)
    return session.prefill(timing.tokens_count, depth_tokens=timing.depth_tokens)
