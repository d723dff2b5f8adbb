"""Run a calibration of this machine's engine, or find the one already made.

A calibration belongs to a machine, an engine build and a thread count; it is made once, in well under a
minute, and kept.
"""

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor import store
from advisor.clock import utc_now
from advisor.memory.cpu_repack import repacked_types
from advisor.types import Calibration, Rates
from probes.types import HardwareProfile

if TYPE_CHECKING:
    from advisor.calibration.accelerators import Accelerator
    from advisor.calibration.experiment import Experiment
    from advisor.calibration.rehearse import OnProgress, Rehearsed
    from advisor.engines.llamacpp import Worker

#: Raised whenever the twins or the cost model change, so that calibrations are made anew.
CALIBRATION_VERSION = 20
_MEMORY_SHARE = 0.25
_ASSUMED_FREE_BYTES = 4 * 1024**3
_THREAD_TRIAL_S = 6.0
#: Of the time, where there are accelerators: a processor then mostly holds what they have no room for.
_PROCESSOR_SHARE = 0.3
_ACCELERATOR_ROUNDS_COUNT = 3


def engine_key() -> str | None:
    """What identifies the installed llama.cpp build, found without loading it; None if there is none."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        return None
    libraries = sorted((Path(spec.submodule_search_locations[0]) / "lib").glob("*llama*"))
    stamps = [f"{library.name} {library.stat().st_size} {library.stat().st_mtime_ns}" for library in libraries]
    digest = sha256("\n".join(stamps).encode()).hexdigest()[:12]
    return f"llama.cpp-{CALIBRATION_VERSION}-{importlib.metadata.version('llama_cpp_python')}-{digest}"


def engine_version() -> str | None:
    """How the installed llama.cpp names its version in records, found without loading it; None if there is none."""
    if importlib.util.find_spec("llama_cpp") is None:
        return None
    return f"llama-cpp-python {importlib.metadata.version('llama_cpp_python')}"


def find_calibration(profile_id: str) -> Calibration | None:
    """The calibration of this machine and the installed engine, if there are both."""
    key = engine_key()
    return store.load_calibration(profile_id, key) if key else None


@dataclass(frozen=True, slots=True)
class _Timed:
    """What timing the twins on one kind of device gave."""

    rates: tuple[Rates, ...]
    results: tuple["Rehearsed", ...]
    prefix: str = ""  # of its samples' names


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """Where twins are timed."""

    worker: "Worker"
    directory: Path
    profile: HardwareProfile

    def time(
        self, planned: Sequence["Experiment"], memory_bytes: int, budget_s: float, **options: Any
    ) -> tuple["Rehearsed", ...]:
        """The twins' times, as ``rehearse`` takes them."""
        from advisor.calibration.rehearse import rehearse

        return rehearse(self.worker, planned, self.directory, memory_bytes=memory_bytes, budget_s=budget_s, **options)


def calibrate(
    profile: HardwareProfile, *, budget_s: float = 38.0, on_progress: "OnProgress | None" = None
) -> Calibration:
    """Time the calibration twins through llama.cpp, fit the rates, and keep them.

    They are timed on the processor and on one of every kind of accelerator that the engine can use.

    Raises:
        EngineError: if the engine is missing or cannot run.
    """
    # finding a calibration is part of every command; only making one needs the engine and the solver
    from advisor.calibration.accelerators import usable_accelerators
    from advisor.calibration.rehearse import stage
    from advisor.engines.llamacpp import open_worker
    from advisor.twins.scratch import scratch_folder

    key = engine_key() or "llama.cpp"
    with scratch_folder(store.cache_dir() / "twins") as directory, open_worker() as worker:
        build = worker.build()
        bench = _Bench(worker=worker, directory=directory, profile=profile)
        found = usable_accelerators(profile, worker.info["devices"])
        kinds = [[one for one in found if one.name == name] for name in dict.fromkeys(one.name for one in found)]
        processor_share = _PROCESSOR_SHARE if kinds else 1.0
        share = (1.0 - processor_share) / max(1, len(kinds))
        timed = [
            _time_accelerator(bench, alike, share * budget_s, stage(on_progress, number * share, share))
            for number, alike in enumerate(kinds)
        ]
        on_rest = stage(on_progress, 1.0 - processor_share, processor_share)
        timed.append(_time_processor(bench, processor_share * budget_s, on_rest))
    calibration = Calibration(
        calibration_id=f"{profile.profile_id}-{key}",
        profile_id=profile.profile_id,
        engine=build,
        created_at=utc_now(),
        rates=tuple(rates for one in timed for rates in one.rates),
        samples={name: seconds for one in timed for name, seconds in _samples(one)},
        polluted=any(item.polluted(timing) for one in timed for item in one.results for timing in item.windows),
    )
    store.save_calibration(calibration, key)
    return calibration


def _time_accelerator(
    bench: _Bench, alike: Sequence["Accelerator"], budget_s: float, on_progress: "OnProgress"
) -> _Timed:
    """Time one of several accelerators of a kind; the others have its rates."""
    from advisor.calibration.accelerator_experiments import accelerator_experiments
    from advisor.calibration.accelerator_fit import fit_accelerator
    from advisor.calibration.accelerators import read_bytes_per_s
    from advisor.calibration.least_squares import observe_all

    one = alike[0]
    results = bench.time(
        accelerator_experiments(),
        one.usable_bytes,
        budget_s,
        device=one.engine_name,
        threads_count=bench.profile.host.usable_threads_count,
        rounds_count=_ACCELERATOR_ROUNDS_COUNT,
        on_progress=on_progress,
    )
    observations = observe_all(results)
    if not observations:  # nothing fitted in its memory
        return _Timed((), ())
    rates = fit_accelerator(
        observations,
        device_id=one.device_id,
        backend=one.backend,
        memory_bytes_per_s=read_bytes_per_s(bench.profile, one.device_id),
    )
    return _Timed(tuple(replace(rates, device_id=each.device_id) for each in alike), results, f"{one.device_id} ")


def _time_processor(bench: _Bench, budget_s: float, on_progress: "OnProgress") -> _Timed:
    from advisor.calibration.accelerators import read_bytes_per_s
    from advisor.calibration.least_squares import observe_all
    from advisor.calibration.processor_experiments import processor_experiments
    from advisor.calibration.processor_fit import at_another_time, fit_processor

    profile = bench.profile
    memory_bytes = int(_MEMORY_SHARE * (profile.host.memory_available_bytes or _ASSUMED_FREE_BYTES))
    planned = processor_experiments(cache_bytes=profile.host.l3_bytes or 0)
    counts = thread_counts(profile)
    trials = {
        count: bench.time(planned[:1], memory_bytes, _THREAD_TRIAL_S, threads_count=count, rounds_count=4)
        for count in counts
        if len(counts) > 1
    }
    threads_count = best_threads(trials) or counts[0]
    results = bench.time(planned, memory_bytes, budget_s, threads_count=threads_count, on_progress=on_progress)
    rates = fit_processor(
        observe_all(results, threads_count=threads_count),
        device_id="cpu",
        backend="cpu",
        threads_count=threads_count,
        memory_bytes_per_s=read_bytes_per_s(profile, "cpu"),
        repacked_types=repacked_types(profile.host.instruction_sets),
    )
    return _Timed((at_another_time(rates),), results)


def thread_counts(profile: HardwareProfile) -> tuple[int, ...]:
    """Thread counts worth trying: all usable ones, the physical cores, the fast cores, and half."""
    host = profile.host
    usable = host.usable_threads_count or host.threads_count or 1
    wanted = {usable, host.cores_count or usable, host.performance_cores_count or usable, usable // 2}
    counts = sorted((count for count in wanted if 1 <= count <= usable), reverse=True)
    return tuple(counts) if usable > 2 else (usable,)


def best_threads(trials: Mapping[int, Sequence["Rehearsed"]]) -> int | None:
    """The thread count that decodes fastest; the larger of two within 2 %, which helps prefill."""
    times: dict[int, float] = {}
    for count, results in trials.items():
        seconds = [
            s for item in results for timing in item.windows if timing.phase == "decode" for s in item.seconds(timing)
        ]
        if seconds:
            times[count] = sorted(seconds)[len(seconds) // 2]
    if not times:
        return None
    fastest_s = min(times.values())
    return max(count for count, time_s in times.items() if time_s <= 1.02 * fastest_s)


def _samples(timed: _Timed) -> Iterator[tuple[str, tuple[float, ...]]]:
    for item in timed.results:
        for timing in item.windows:
            what = f"{timing.phase}{timing.tokens_count}@{timing.depth_tokens}"
            yield f"{timed.prefix}{item.experiment.experiment_id}.{what}", tuple(item.seconds(timing))
