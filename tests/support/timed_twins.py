"""Twins that take exactly what some rates say, in no time: what calibrations are tested on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import timed_windows

from advisor import roofline
from advisor.calibration.experiment import Experiment, Timing, work_of
from advisor.calibration.least_squares import Observation, observe
from advisor.calibration.rehearse import Rehearsed
from advisor.engines.base import LoadOptions, Window
from advisor.types import EngineBuild, Rates


def window(timing: Timing, each_s: float, *, polluted: bool = False) -> Window:
    """A window in which every token was decoded, or the whole prompt worked through, in ``each_s`` seconds."""
    values = (each_s,) * (timing.tokens_count if timing.phase == "decode" else 1)
    return timed_windows.window(
        timing.phase, values, depth=timing.depth_tokens, polluted=polluted, tokens=timing.tokens_count
    )


def price_s(experiment: Experiment, timing: Timing, rates: Rates, threads_count: int | None = None) -> float:
    """Seconds that rates give a token or a prompt of a twin."""
    price = roofline.price_decode if timing.phase == "decode" else roofline.price_prefill
    return roofline.total_s(price(work_of(experiment, timing, threads_count=threads_count), rates))


def observed(
    experiments: Iterable[Experiment],
    rates: Rates,
    *,
    threads_count: int | None = None,
    repeats: Callable[[], Sequence[float]] = lambda: (1.0,),
) -> list[Observation]:
    """What calibrating on twins sees; ``repeats`` gives how much longer than it should each one of a timing took."""
    return [
        observe(
            experiment,
            timing,
            [price_s(experiment, timing, rates, threads_count) * factor for factor in repeats()],
            threads_count=threads_count,
        )
        for experiment in experiments
        for timing in experiment.timings
    ]


def rehearsed(experiment: Experiment, each_s: Callable[[Timing], float]) -> Rehearsed:
    """A twin timed once in every way it is to be timed."""
    return Rehearsed(experiment, {timing: [window(timing, each_s(timing))] for timing in experiment.timings})


def rehearsing(
    rates: Rates,
    asked: list[dict[str, Any]] | None = None,
    *,
    threads_count: int | None = None,
    faults: Mapping[str, str] | None = None,
) -> Callable[..., tuple[Rehearsed, ...]]:
    """Stands in for ``rehearse``: every twin takes what the rates say.

    Args:
        rates: of the device, or of the processor where none is named.
        asked: gets the options of every call.
        threads_count: threads of the processor.
        faults: why experiments are not loaded, by the beginning of their names.
    """

    def timed(experiment: Experiment, threads: int | None) -> Rehearsed:
        for start, fault in (faults or {}).items():
            if experiment.experiment_id.startswith(start):
                return Rehearsed(experiment, fault=fault)
        return rehearsed(experiment, lambda timing: price_s(experiment, timing, rates, threads))

    def stand_in(worker: object, planned: Sequence[Experiment], directory: Path, **options: Any) -> Any:
        if asked is not None:
            asked.append(options)
        if on_progress := options.get("on_progress"):
            on_progress(0.0, "loading")
            on_progress(1.0, "timing")
        return tuple(timed(one, None if options.get("device") else threads_count) for one in planned)

    return stand_in


class FakeSession:
    """A twin that is held: each token or prompt takes ``each_s``, and fifty times that while it is disturbed."""

    def __init__(self, each_s: float = 0.01, disturbed_count: int = 0) -> None:
        self.each_s = each_s
        self.disturbed_count = disturbed_count
        self.timed: list[Timing] = []
        self.closed = False

    def decode(self, tokens_count: int, *, depth_tokens: int = 0, limit_s: float | None = None) -> Window:
        return self._window(Timing(phase="decode", tokens_count=tokens_count, depth_tokens=depth_tokens))

    def prefill(self, tokens_count: int, *, depth_tokens: int = 0) -> Window:
        return self._window(Timing(phase="prefill", tokens_count=tokens_count, depth_tokens=depth_tokens))

    def _window(self, timing: Timing) -> Window:
        warm_up = not self.timed
        self.timed.append(timing)
        polluted = not warm_up and self.disturbed_count > 0
        self.disturbed_count -= polluted
        return window(timing, 50 * self.each_s if polluted else self.each_s, polluted=polluted)

    def close(self) -> None:
        self.closed = True


class FakeWorker:
    """An engine process with devices, by name and description, that holds any file but those of ``faults``, by stem."""

    pid = 0

    def __init__(
        self,
        *devices: tuple[str, str],
        disturbed_count: int = 0,
        faults: Mapping[str, Exception] | None = None,
    ) -> None:
        self.info = {"devices": listed(*devices, ("CPU", "a processor"))}
        self.disturbed_count = disturbed_count
        self.faults = faults or {}
        self.options: list[LoadOptions] = []
        self.sessions: list[FakeSession] = []

    def __enter__(self) -> "FakeWorker":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def build(self) -> EngineBuild:
        return EngineBuild(id="llama.cpp", version="1", build=None)

    def hold(self, path: str, options: LoadOptions) -> FakeSession:
        assert Path(path).is_file()
        if fault := self.faults.get(Path(path).stem):
            raise fault
        self.options.append(options)
        self.sessions.append(FakeSession(disturbed_count=self.disturbed_count))
        return self.sessions[-1]


def listed(*rows: tuple[str, str]) -> list[dict[str, object]]:
    """Devices as the engine lists them: its name for each, and what it is."""
    return [{"name": name, "description": text, "free_bytes": 8 << 30} for name, text in rows]
