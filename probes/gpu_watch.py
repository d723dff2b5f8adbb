"""Whether a GPU slowed itself down, or worked for other programs, while something was timed on it.

NVIDIA's management library tells; elsewhere both stay unknown. Each look costs about a millisecond, outside
what is timed, and an answer the library does not have is no failure.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from probes.counters import Counters, read_counters
from probes.errors import ProbeError
from probes.nvidia import asked
from probes.tools import LIMIT_S, within
from probes.types import Device

# nvml.h, nvmlClocksEventReasons: slowed by heat (software, hardware), by the hardware at large, by its power supply.
# Not among them is the power limit (0x04): at full load a GPU is meant to run at it.
_SLOWDOWNS = 0x20 | 0x40 | 0x08 | 0x80
_BUSY_PERCENT = 10  # of the multiprocessors' time; a desktop's windows take a few


@dataclass(slots=True)
class NvmlLook:
    """Successive looks at one GPU; each tells of the time since the last."""

    nvml: Any
    handle: Any
    own_pids: frozenset[int]
    seen_us: int  # the driver's clock, which is the system's, at the latest sample read

    def throttled(self) -> bool | None:
        """Whether heat or the power supply slows the GPU down now."""
        names = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")  # new, old
        calls = (getattr(self.nvml, name, None) for name in names)
        answers = (asked(call, self.handle) for call in calls if call is not None)
        reasons = next((answer for answer in answers if isinstance(answer, int)), None)
        return None if reasons is None else bool(reasons & _SLOWDOWNS)

    def busy_by_others(self) -> bool | None:
        """Whether programs other than ours have used the GPU since the last look.

        None where the driver does not tell, or numbers processes otherwise than we do, as it does in a container.
        """
        samples = asked(self.nvml.nvmlDeviceGetProcessUtilization, self.handle, self.seen_us) or ()
        self.seen_us = max((sample.timeStamp for sample in samples), default=self.seen_us)
        running = asked(self.nvml.nvmlDeviceGetComputeRunningProcesses, self.handle) or ()
        if not samples or self.own_pids.isdisjoint(process.pid for process in running):
            return None
        return any(sample.smUtil > _BUSY_PERCENT and sample.pid not in self.own_pids for sample in samples)


def open_look(device: Device, pids: Sequence[int] = ()) -> NvmlLook | None:
    """Ready to look at a GPU; None where it is not NVIDIA's or its library does not answer.

    Args:
        device: the GPU.
        pids: processes that belong to us, beside this one.
    """
    if device.kind != "cuda" or "uuid" not in device.properties:
        return None
    try:
        import pynvml
    except ImportError:
        return None

    def open_handle() -> Any:
        pynvml.nvmlInit()  # stays open as long as windows are watched; the process's end closes it
        return pynvml.nvmlDeviceGetHandleByUUID(device.properties["uuid"])

    try:
        handle = within(LIMIT_S, open_handle, "NVIDIA's management library")
    except (pynvml.NVMLError, ProbeError):
        return None
    return NvmlLook(pynvml, handle, frozenset((os.getpid(), *pids)), int(time.time() * 1e6))


def counters_with(look: NvmlLook | None, read: Callable[[], Counters] = read_counters) -> Callable[[], Counters]:
    """A reader of the machine's counters and, where there is a look, of the GPU's state."""
    if look is None:
        return read
    return lambda: replace(read(), gpu_throttled=look.throttled(), gpu_busy_by_others=look.busy_by_others())
