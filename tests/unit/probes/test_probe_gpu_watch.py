"""What NVIDIA's library says of a GPU around a timed window; whatever it cannot answer stays unknown."""

import os
import sys
from types import SimpleNamespace

import pytest
from probe_gpu import GPU

from probes.counters import Counters, read_counters
from probes.gpu_watch import NvmlLook, counters_with, open_look
from probes.types import Device

OURS = os.getpid()
POWER_CAP, HEAT, BRAKE = 0x04, 0x20, 0x80


class NvmlError(Exception):
    """What the bindings raise."""


def refuse(*_: object) -> None:
    raise NvmlError("Not Supported")


def sample(pid: int, busy_percent: int, at_us: int = 2_000) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, smUtil=busy_percent, timeStamp=at_us)


def look(reasons=0, samples=(), running=(OURS,), **calls) -> NvmlLook:
    """A look at a library that answers as told."""
    asked_since = []

    def utilization(handle: object, since_us: int) -> list[SimpleNamespace]:
        asked_since.append(since_us)
        found = [item for item in samples if item.timeStamp > since_us]
        return found or refuse()

    nvml = SimpleNamespace(
        NVMLError=NvmlError,
        nvmlDeviceGetCurrentClocksEventReasons=lambda handle: reasons,
        nvmlDeviceGetProcessUtilization=utilization,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [SimpleNamespace(pid=pid) for pid in running],
    )
    vars(nvml).update(calls)
    return NvmlLook(nvml, object(), frozenset({OURS}), 1_000)


@pytest.mark.parametrize(
    ("reasons", "throttled"), [(0, False), (1, False), (POWER_CAP, False), (HEAT, True), (POWER_CAP | BRAKE, True)]
)
def test_heat_and_the_supply_throttle_and_the_power_limit_does_not(reasons: int, throttled: bool) -> None:
    assert look(reasons).throttled() is throttled


def test_an_older_driver_answers_the_older_question_and_a_still_older_one_none() -> None:
    old = look(nvmlDeviceGetCurrentClocksEventReasons=refuse)
    assert old.throttled() is None
    old.nvml.nvmlDeviceGetCurrentClocksThrottleReasons = lambda handle: HEAT
    assert old.throttled() is True


@pytest.mark.parametrize(
    ("samples", "busy"),
    [
        ([sample(OURS, 97)], False),
        ([sample(OURS, 60), sample(4242, 38)], True),
        ([sample(OURS, 95), sample(4242, 3)], False),  # a desktop's windows
        ([], None),
    ],
)
def test_other_programs_are_told_from_ours_by_their_process(samples, busy: bool | None) -> None:
    assert look(samples=samples).busy_by_others() is busy


def test_each_look_tells_of_the_time_since_the_last() -> None:
    one = look(samples=[sample(4242, 80)])
    assert one.busy_by_others() is True
    assert one.busy_by_others() is None


def test_in_a_container_whose_processes_are_numbered_otherwise_nothing_is_known() -> None:
    """Else our own process, under the number the host has for it, would count as another."""
    assert look(samples=[sample(99_001, 97)], running=(99_001,)).busy_by_others() is None


def test_a_driver_that_answers_nothing_leaves_the_counters_alone() -> None:
    mute = look(
        nvmlDeviceGetCurrentClocksEventReasons=refuse,
        nvmlDeviceGetProcessUtilization=refuse,
        nvmlDeviceGetComputeRunningProcesses=refuse,
    )
    counters = counters_with(mute, lambda: Counters(at_s=1.0, cores_count=2, busy_s=3.0))()
    assert counters == Counters(at_s=1.0, cores_count=2, busy_s=3.0)


def test_what_the_gpu_says_lies_beside_the_machines_counters() -> None:
    shared = look(HEAT, [sample(4242, 80)])
    counters = counters_with(shared, lambda: Counters(at_s=1.0, cores_count=2))()
    assert (counters.at_s, counters.gpu_throttled, counters.gpu_busy_by_others) == (1.0, True, True)


def test_there_is_nothing_to_look_at_but_nvidia_gpus() -> None:
    assert open_look(Device(device_id="rocm:0", kind="rocm", properties={"uuid": "x"})) is None
    assert open_look(Device(device_id="cuda:0", kind="cuda")) is None
    assert counters_with(None) is read_counters


def test_a_look_is_opened_by_the_cards_identity_and_a_missing_library_is_none(monkeypatch) -> None:
    opened = []
    nvml = SimpleNamespace(
        NVMLError=NvmlError, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=lambda uuid: opened.append(uuid) or uuid
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    found = open_look(GPU, pids=(7,))
    assert found is not None
    assert opened == [found.handle] == ["GPU-ABC"]
    assert found.own_pids == {OURS, 7}
    nvml.nvmlInit = refuse
    assert open_look(GPU) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_look(GPU) is None
