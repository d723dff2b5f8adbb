"""What every probe promises, checked for each one on every kind of device it may meet."""

import re
from dataclasses import fields, is_dataclass

import pytest
from probe_fakes import real_bench

from probes.base import run_probe
from probes.plan import Task, known_probe_ids, tasks_for
from probes.types import Device, ProbeStatus

CPU = Device(device_id="cpu", kind="cpu", properties={"last_level_cache_bytes": str(1 << 20)})
PEER = Device(device_id="cuda:1", kind="cuda")
KINDS = ("cuda", "rocm", "xpu", "metal")
DEVICES = [CPU, *(Device(device_id=f"{kind}:0", kind=kind) for kind in KINDS), PEER]
TASKS = [task for task in tasks_for(DEVICES) if task.device != PEER]


def name_of(task: Task) -> str:
    return f"{task.label} on {task.device.device_id}"


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_its_id_is_a_group_and_a_name_that_never_change(task: Task) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z0-9_]+", task.probe.probe_id)
    assert task.probe.probe_id in known_probe_ids()
    assert task.probe.dtype is None or re.fullmatch(r"[a-z0-9_]+", task.probe.dtype)


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_it_is_a_frozen_value(task: Task) -> None:
    assert is_dataclass(task.probe)
    with pytest.raises(AttributeError):
        setattr(task.probe, fields(task.probe)[0].name, "changed")


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_it_answers_whether_it_can_run_without_running(task: Task) -> None:
    waiver = task.probe.waiver(task.device)
    assert waiver is None or (waiver.reason and waiver.reason.isprintable())


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_it_refuses_a_kind_of_device_it_is_not_for(task: Task) -> None:
    stranger = Device(device_id="npu:0", kind="npu")
    waiver = task.probe.waiver(stranger)
    assert waiver is not None
    assert waiver.reason


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_it_ends_in_one_outcome_with_a_measurement_or_a_reason(task: Task) -> None:
    """On this machine most GPU probes are waived; whichever way it goes, the outcome is complete."""
    with real_bench(budget_s=0.02, memory_bytes=6 << 20) as bench:
        outcome = run_probe(task.probe, task.device, bench)
    assert outcome.probe_id == task.probe.probe_id
    assert outcome.device_id == task.device.device_id
    assert outcome.elapsed_s is not None
    if outcome.status == ProbeStatus.OK:
        measured = outcome.measurement
        assert measured is not None
        assert measured.value > 0
        assert measured.elapsed_s
        assert min(measured.elapsed_s) > 0
        assert measured.unit in ("bytes_per_s", "flop_per_s", "w")
        assert measured.unit == "w" or measured.conditions is not None
    else:
        assert outcome.measurement is None
        assert outcome.reason
        assert "\n" not in outcome.reason


def test_an_id_and_a_format_name_one_probe_per_device() -> None:
    keys = [(task.device.device_id, task.probe.probe_id, task.probe.dtype, _peer_id(task)) for task in TASKS]
    assert len(keys) == len(set(keys))


def _peer_id(task: Task) -> str | None:
    peer = getattr(task.probe, "peer", None)
    return peer.device_id if peer else None
