"""What a probe is, the clock it is timed by, and the one place where its errors are caught."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from probes.counters import Counters, read_counters
from probes.errors import NotSupportedError, ProbeError
from probes.types import Device, Measurement, ProbeOutcome, ProbeStatus

if TYPE_CHECKING:
    from probes.team import Team  # imports NumPy, which detection does not need

_MAX_REASON_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Waiver:
    """Why a probe cannot run here, and the command that would change that."""

    reason: str
    fix: str | None = None


class Clock(Protocol):
    """A stopwatch that tests can wind by hand."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        ...


class SystemClock:
    """The machine's monotonic clock at its finest resolution."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        return time.perf_counter()

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        time.sleep(duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a probe may use: a clock, the machine's counters, and how much time, memory and cores."""

    budget_s: float
    memory_bytes: int
    team: "Team"
    quick: bool = False
    accelerator: bool = False  # what is timed runs on one
    clock: Clock = field(default_factory=SystemClock)
    read: Callable[[], Counters] = read_counters

    @property
    def threads_count(self) -> int:
        """One thread per core we may use."""
        return self.team.threads_count


class Probe(Protocol):
    """One thing to measure on one kind of device."""

    @property
    def probe_id(self) -> str:
        """The key in a profile, such as ``cpu.read_bandwidth``; it never changes."""
        ...

    @property
    def dtype(self) -> str | None:
        """Number format, for probes that come once per format."""
        ...

    def waiver(self, device: Device) -> Waiver | None:
        """None if the probe can run on this device, else why not."""
        ...

    def run(self, device: Device, bench: Bench) -> Measurement:
        """Measure within the bench's budget.

        Raises:
            ProbeError: with a reason and, where there is one, a fix.
        """
        ...


def one_line(error: BaseException | str) -> str:
    """An error as one printable line of bounded length, whatever a driver put into it."""
    text = str(error) or type(error).__name__
    line = " ".join(text.split())
    printable = "".join(char if char.isprintable() else "?" for char in line)
    return printable[:_MAX_REASON_LENGTH]


def run_probe(probe: Probe, device: Device, bench: Bench) -> ProbeOutcome:
    """Run one probe and turn whatever happens into an outcome; only Ctrl-C passes through."""
    start_s = bench.clock.now()

    def outcome(status: ProbeStatus, **fields: object) -> ProbeOutcome:
        return ProbeOutcome(
            probe_id=probe.probe_id,
            device_id=device.device_id,
            status=status,
            dtype=probe.dtype,
            elapsed_s=bench.clock.now() - start_s,
            **fields,  # type: ignore[arg-type]
        )

    try:
        waiver = probe.waiver(device)
        if waiver is not None:
            return outcome(ProbeStatus.WAIVED, reason=waiver.reason, fix=waiver.fix)
        return outcome(ProbeStatus.OK, measurement=probe.run(device, bench))
    except NotSupportedError as error:
        return outcome(ProbeStatus.WAIVED, reason=one_line(error), fix=error.fix)
    except ProbeError as error:
        return outcome(ProbeStatus.FAILED, reason=one_line(error), fix=error.fix)
    except MemoryError:
        return outcome(ProbeStatus.FAILED, reason="not enough free memory for the probe's buffers")
    except Exception as error:  # noqa: BLE001 - a driver may raise anything; the rest of the scan goes on
        return outcome(ProbeStatus.FAILED, reason=one_line(f"{type(error).__name__}: {error}"))
