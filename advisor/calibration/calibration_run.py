"""Run a calibration of this machine's engine, or find the one already made.

A calibration belongs to a machine, an engine build and a thread count; it is made once, in well under a
minute, and kept.
"""

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from advisor import store
from advisor.clock import utc_now
from advisor.memory.cpu_repack import repacked_types
from advisor.types import Calibration
from probes.types import HardwareProfile

if TYPE_CHECKING:
    from advisor.calibration.experiments import Experiment
    from advisor.calibration.rehearse import OnProgress, Rehearsed

#: Raised whenever the twins or the cost model change, so that calibrations are made anew.
CALIBRATION_VERSION = 13
_MEMORY_SHARE = 0.25
_ASSUMED_FREE_BYTES = 4 * 1024**3
_THREAD_TRIAL_S = 6.0


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


def calibrate(
    profile: HardwareProfile, *, budget_s: float = 36.0, on_progress: "OnProgress | None" = None
) -> Calibration:
    """Time the calibration twins through llama.cpp on the CPU, fit the rates, and keep them.

    Raises:
        EngineError: if the engine is missing or cannot run.
    """
    # finding a calibration is part of every command; only making one needs the engine and the solver
    from advisor.calibration.calibrate import fit, observe
    from advisor.calibration.experiments import experiments
    from advisor.calibration.rehearse import rehearse
    from advisor.engines.llamacpp import open_worker
    from advisor.twins.scratch import scratch_folder

    key = engine_key() or "llama.cpp"
    with scratch_folder(store.cache_dir() / "twins") as directory, open_worker() as worker:
        build = worker.build()
        memory_bytes = int(_MEMORY_SHARE * (profile.host.memory_available_bytes or _ASSUMED_FREE_BYTES))
        planned = experiments()

        def run(chosen: Sequence["Experiment"], threads: int | None, limit_s: float, rounds: int) -> list["Rehearsed"]:
            return list(
                rehearse(
                    worker,
                    chosen,
                    directory,
                    threads_count=threads,
                    memory_bytes=memory_bytes,
                    rounds_count=rounds,
                    budget_s=limit_s,
                    on_progress=on_progress,
                )
            )

        counts = thread_counts(profile)
        trials = {count: run(planned[:1], count, _THREAD_TRIAL_S, 4) for count in counts if len(counts) > 1}
        threads_count = best_threads(trials) or counts[0]
        results = run(planned, threads_count, budget_s, 5)
    observations = [
        observe(item.experiment, timing, item.seconds(timing), threads_count=threads_count)
        for item in results
        for timing in item.windows
    ]
    read = profile.measured("cpu.read_bandwidth")
    rates = fit(
        observations,
        device_id="cpu",
        backend="cpu",
        threads_count=threads_count,
        memory_bytes_per_s=read.value if read else None,
        repacked_types=repacked_types(profile.host.instruction_sets),
    )
    calibration = Calibration(
        calibration_id=f"{profile.profile_id}-{key}",
        profile_id=profile.profile_id,
        engine=build,
        created_at=utc_now(),
        rates=(rates,),
        samples=_samples(results),
        polluted=any(item.polluted(timing) for item in results for timing in item.windows),
    )
    store.save_calibration(calibration, key)
    return calibration


def thread_counts(profile: HardwareProfile) -> tuple[int, ...]:
    """Thread counts worth trying: all usable ones, the physical cores, the fast cores, and half."""
    host = profile.host
    usable = host.usable_threads_count or host.threads_count or 1
    wanted = {usable, host.cores_count or usable, host.performance_cores_count or usable, usable // 2}
    counts = sorted((count for count in wanted if 1 <= count <= usable), reverse=True)
    return tuple(counts) if usable > 2 else (usable,)


def best_threads(trials: dict[int, list["Rehearsed"]]) -> int | None:
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


def _samples(results: Sequence["Rehearsed"]) -> dict[str, tuple[float, ...]]:
    return {
        f"{item.experiment.experiment_id}.{timing.phase}{timing.tokens_count}@{timing.depth_tokens}": tuple(
            item.seconds(timing)
        )
        for item in results
        for timing in item.windows
    }
