"""The scan: which probes run, in what share of the time, and what becomes of those that cannot."""

import time
from dataclasses import replace

import pytest
from probe_fakes import FakeClock, FakeCounters

from probes import plan, scan
from probes.base import Bench, Waiver, run_probe
from probes.errors import NotSupportedError, ProbeError, StuckError
from probes.identity import profile_id
from probes.machine import Machine
from probes.plan import Task, known_probe_ids, matches, select, tasks_for
from probes.team import Team
from probes.types import Conditions, Device, HardwareProfile, Host, Measurement, ProbeOutcome, ProbeStatus, ScanWarning

CPU = Device(device_id="cpu", kind="cpu")
GPU = Device(device_id="cuda:0", kind="cuda", name="RTX", memory_total_bytes=24 << 30)
HOST = Host(os="Linux", cpu_name="EPYC", cores_count=2, usable_threads_count=1, memory_available_bytes=64 << 20)


class Stub:
    """A probe that does as it is told."""

    def __init__(self, probe_id="stub.probe", *, takes_s=0.1, raises=None, waived=None, clock=None) -> None:
        self.probe_id = probe_id
        self.dtype = None
        self.budgets_s: list[float] = []
        self._takes_s, self._raises, self._waived, self._clock = takes_s, raises, waived, clock

    def waiver(self, device: Device) -> Waiver | None:
        return self._waived

    def run(self, device: Device, bench: Bench) -> Measurement:
        self.budgets_s.append(bench.budget_s)
        bench.clock.sleep(self._takes_s)
        if self._raises is not None:
            raise self._raises
        return Measurement(quantity="x", unit="bytes_per_s", value=1.0, median_value=1.0, conditions=Conditions())


def measured(*probes: Stub, budget_s: float = 10.0, devices=None) -> tuple[ProbeOutcome, ...]:
    tasks = [Task(probe=probe, device=(devices or {}).get(probe.probe_id, CPU)) for probe in probes]
    clock = FakeClock()
    return scan.measure(tasks, HOST, deadline_s=clock.now() + budget_s, clock=clock)


def test_one_probe_failing_leaves_the_others_alone() -> None:
    outcomes = measured(
        Stub("a.ok"),
        Stub("b.waived", waived=Waiver("no such hardware", "buy some")),
        Stub("c.lacking", raises=NotSupportedError("fp8 is not supported here")),
        Stub("d.failing", raises=ProbeError("memory may be faulty", "memtest")),
        Stub("e.crashing", raises=RuntimeError("driver\x1b[31m said\nno")),
        Stub("f.starving", raises=MemoryError()),
        Stub("g.ok"),
    )
    assert [outcome.status.value for outcome in outcomes] == [
        "ok",
        "waived",
        "waived",
        "failed",
        "failed",
        "failed",
        "ok",
    ]
    assert [outcome.fix for outcome in outcomes] == [None, "buy some", None, "memtest", None, None, None]
    assert all(outcome.reason for outcome in outcomes if outcome.status != ProbeStatus.OK)
    assert all((outcome.reason or "").isprintable() for outcome in outcomes)
    assert outcomes[0].elapsed_s == pytest.approx(0.1)


def test_ctrl_c_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        measured(Stub(raises=KeyboardInterrupt()))


def test_time_is_shared_by_weight_and_what_is_left_over_is_shared_again() -> None:
    first, second, third = Stub("a", takes_s=0.1), Stub("b", takes_s=0.1), Stub("c", takes_s=0.1)
    measured(first, second, third, budget_s=3.0)
    assert first.budgets_s == [pytest.approx(0.5)]  # a sixth of the whole at most
    assert scan.share_s([Task(probe=first, device=CPU, weight=3.0), Task(probe=second, device=CPU)], 2.0, 100.0) == 1.5
    assert scan.share_s([Task(probe=first, device=CPU)], 0.2, 100.0) == 0.2


def test_loading_torch_has_a_share_between_the_probes_without_it_and_those_with(monkeypatch) -> None:
    clock = FakeClock()
    first, second, product = Stub("a", takes_s=0.1), Stub("b", takes_s=0.1), Stub("m", takes_s=0.1)
    monkeypatch.setattr(scan, "_load_torch", lambda: clock.sleep(1.0))
    tasks = [Task(probe=stub, device=CPU, needs_torch=stub is product) for stub in (first, second, product)]
    roomy = replace(HOST, memory_available_bytes=16 << 30)
    found = scan.measure(tasks, roomy, deadline_s=clock.now() + 1.5, clock=clock)
    assert first.budgets_s == [pytest.approx(1.5 / 6)]  # of three tasks and a share of three for loading
    assert product.budgets_s == [pytest.approx(0.25)]  # a sixth of the whole, of the 0.3 s that loading left
    assert [outcome.status.value for outcome in found] == ["ok"] * 3


def test_torch_is_not_loaded_when_the_time_is_nearly_up(monkeypatch) -> None:
    clock = FakeClock()
    slow, product = Stub("a", takes_s=4.8), Stub("m", takes_s=0.1)
    monkeypatch.setattr(scan, "_load_torch", lambda: pytest.fail("importing cannot be cut short"))
    tasks = [Task(probe=slow, device=CPU), Task(probe=product, device=CPU, needs_torch=True)]
    roomy = replace(HOST, memory_available_bytes=16 << 30)
    found = scan.measure(tasks, roomy, deadline_s=clock.now() + 5.0, clock=clock)
    assert found[1].status == ProbeStatus.WAIVED
    assert found[1].fix == "advisor scan --only m"


def gpu_scan(monkeypatch, starting_s: float, budget_s: float = 2.0, **options):
    """Tasks on a processor and a GPU whose start takes a while, what they were given, and what was started."""
    clock = FakeClock()
    started = []

    def warm_up(device: Device, dtypes) -> None:
        started.append((device.device_id, list(dtypes)))
        clock.sleep(starting_s)

    monkeypatch.setattr(scan, "_load_torch", lambda: None)
    monkeypatch.setattr(scan, "_warm_up", warm_up)
    stubs = [Stub("cpu.copy"), Stub("cuda.read"), Stub("cuda.matmul")]
    stubs[2].dtype = "fp16"
    tasks = [
        Task(
            probe=stub, device=GPU if stub.probe_id.startswith("cuda") else CPU, needs_torch=stub.probe_id != "cpu.copy"
        )
        for stub in stubs
    ]
    roomy = replace(HOST, memory_available_bytes=16 << 30)
    found = scan.measure(tasks, roomy, deadline_s=clock.now() + budget_s, clock=clock, **options)
    return found, stubs, started


def test_a_gpu_is_started_once_and_no_probes_time_is_spent_on_it(monkeypatch) -> None:
    found, stubs, started = gpu_scan(monkeypatch, starting_s=0.5)
    assert started == [("cuda:0", ["fp16"])]
    assert [outcome.elapsed_s for outcome in found] == [pytest.approx(0.1)] * 3
    assert stubs[1].budgets_s == [pytest.approx(1 / 3)]  # a sixth of the whole, though the start took a quarter of it


@pytest.mark.parametrize(("quick", "least_s"), [(False, 0.35), (True, 0.22)])
def test_a_gpu_that_starts_slowly_still_leaves_time_to_measure_it(monkeypatch, quick: bool, least_s: float) -> None:
    found, stubs, _ = gpu_scan(monkeypatch, starting_s=9.0, extend=True, quick=quick)
    assert [outcome.status.value for outcome in found] == ["ok"] * 3
    assert stubs[1].budgets_s[0] == pytest.approx(min(2.0 / 6, least_s))


def test_a_slow_probe_on_a_gpu_takes_nothing_from_those_after_it(monkeypatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(scan, "_load_torch", lambda: None)
    monkeypatch.setattr(scan, "_warm_up", lambda device, dtypes: None)
    slow, late = Stub("cuda.read", takes_s=5.0), Stub("cpu.matmul")
    tasks = [Task(probe=slow, device=GPU, needs_torch=True), Task(probe=late, device=CPU, needs_torch=True, weight=1.5)]
    roomy = replace(HOST, memory_available_bytes=16 << 30)
    scan.measure(tasks, roomy, deadline_s=clock.now() + 4.0, clock=clock, extend=True)
    assert late.budgets_s == [pytest.approx(1.5 * 0.35)]


def test_a_budget_that_was_asked_for_is_kept_however_long_a_gpu_takes_to_start(monkeypatch) -> None:
    found, _, _ = gpu_scan(monkeypatch, starting_s=9.0)
    assert [outcome.status.value for outcome in found] == ["ok", "waived", "waived"]


def test_a_gpu_whose_driver_hangs_at_its_start_is_not_asked_again(monkeypatch) -> None:
    def hang(device: Device, dtypes) -> None:
        raise StuckError("starting cuda:0 did not answer")

    monkeypatch.setattr(scan, "_load_torch", lambda: None)
    monkeypatch.setattr(scan, "_warm_up", hang)
    read = Stub("cuda.read")
    clock = FakeClock()
    roomy = replace(HOST, memory_available_bytes=16 << 30)
    tasks = [Task(probe=read, device=GPU, needs_torch=True)]
    (found,) = scan.measure(tasks, roomy, deadline_s=clock.now() + 5.0, clock=clock)
    assert found.status == ProbeStatus.WAIVED
    assert "stopped answering" in (found.reason or "")
    assert read.budgets_s == []


def test_what_predictions_rest_on_runs_first_and_is_listed_where_it_was() -> None:
    ran = []

    class Logged(Stub):
        def run(self, device: Device, bench: Bench) -> Measurement:
            ran.append(self.probe_id)
            return super().run(device, bench)

    tasks = [Task(probe=Logged(name), device=CPU, turn=int(name in "ac")) for name in "abcd"]
    clock = FakeClock()
    found = scan.measure(tasks, HOST, deadline_s=clock.now() + 5.0, clock=clock)
    assert ran == ["b", "d", "a", "c"]
    assert [outcome.probe_id for outcome in found] == ["a", "b", "c", "d"]


def test_what_predictions_rest_on_runs_before_what_only_informs() -> None:
    tasks = sorted(tasks_for([CPU, GPU]), key=lambda task: task.turn)
    labels = [task.label for task in tasks]
    assert labels[:3] == ["cpu.read_bandwidth", "cpu.stream_copy", "cpu.stream_triad"]
    assert labels[3:10] == [
        "cuda.read_bandwidth",
        "cuda.matmul fp32",
        "cuda.matmul fp16",
        "cuda.matmul bf16",
        "cuda.matmul int8",
        "link.host_to_device",
        "link.device_to_host",
    ]
    assert all(label.startswith("cpu.matmul") for label in labels[10:14])
    assert set(labels[14:16]) == {"disk.read", "cpu.thread_sweep"}


def test_every_further_gpu_adds_its_time() -> None:
    other = replace(GPU, device_id="cuda:1")
    one, two = (scan.default_budget_s(devices, quick=False) for devices in ([CPU, GPU], [CPU, GPU, other]))
    assert one == scan.default_budget_s([CPU], quick=False) == scan.DEFAULT_BUDGET_S
    assert one < two < 1.5 * one
    assert scan.default_budget_s([CPU, GPU], quick=True) == scan.QUICK_BUDGET_S


def test_a_probe_whose_turn_comes_too_late_says_how_to_run_it_alone() -> None:
    slow, late = Stub("a.slow", takes_s=9.95), Stub("b.late")
    outcomes = measured(slow, late)
    assert outcomes[1].status == ProbeStatus.WAIVED
    assert outcomes[1].fix == "advisor scan --only b.late"
    assert late.budgets_s == []


def test_a_device_that_stops_answering_is_not_asked_again(monkeypatch) -> None:
    monkeypatch.setattr(scan, "_STUCK_AFTER_S", -0.4)
    tasks = [
        Task(probe=Stub("cuda.read", takes_s=3.0), device=GPU),
        Task(probe=Stub("cuda.copy"), device=GPU),
        Task(probe=Stub("cpu.read", takes_s=0.0), device=CPU),
    ]
    clock = _RealClock()
    outcomes = scan.measure(tasks, HOST, deadline_s=clock.now() + 3.0, clock=clock)
    assert [outcome.status.value for outcome in outcomes] == ["failed", "waived", "ok"]
    assert "did not answer" in (outcomes[0].reason or "")
    assert "stopped answering" in (outcomes[1].reason or "")


class _RealClock:
    def now(self) -> float:
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)


def test_memory_for_buffers_is_a_quarter_of_what_is_available() -> None:
    seen = []

    class Greedy(Stub):
        def run(self, device: Device, bench: Bench) -> Measurement:
            seen.append(bench.memory_bytes)
            return super().run(device, bench)

    measured(Greedy())
    assert seen == [16 << 20]


def test_progress_is_told_what_runs_and_how_much_is_left(monkeypatch) -> None:
    told = []
    tasks = [Task(probe=Stub("a"), device=CPU), Task(probe=Stub("b"), device=CPU)]
    clock = FakeClock()
    scan.measure(tasks, HOST, deadline_s=clock.now() + 5, clock=clock, on_progress=lambda *args: told.append(args))
    assert told == [("a", 0, 2), ("b", 1, 2), ("done", 2, 2)]


def test_waiting_for_quiet_ends_with_calm_or_with_the_limit() -> None:
    clock = FakeClock()
    counters = FakeCounters(clock)
    calm_at_s = clock.now() + 2.0
    counters.others_cores = lambda at_s: 1.0 if at_s < calm_at_s else 0.0
    assert scan.wait_for_quiet(60.0, clock, counters) == pytest.approx(2.0, abs=0.6)
    counters.others_cores = lambda _: 1.0
    assert scan.wait_for_quiet(4.0, clock, counters) == pytest.approx(4.0, abs=0.6)


def test_every_cpu_gets_the_probes_the_contract_names() -> None:
    ids = {(task.probe.probe_id, task.probe.dtype) for task in select(tasks_for([CPU]), quick=True, only=())}
    assert {("cpu.read_bandwidth", None), ("cpu.stream_copy", None), ("cpu.stream_triad", None)} <= ids
    assert {dtype for probe_id, dtype in ids if probe_id == "cpu.matmul"} == {"fp32", "bf16", "fp16", "int8"}


def test_a_quick_scan_is_a_part_of_the_whole_and_only_outranks_it() -> None:
    whole = [task.label for task in select(tasks_for([CPU, GPU]), quick=False, only=())]
    quick = [task.label for task in select(tasks_for([CPU, GPU]), quick=True, only=())]
    assert set(quick) < set(whole)
    assert "disk.read" not in quick
    assert [task.label for task in select(tasks_for([CPU]), quick=True, only=["disk.read"])] == ["disk.read"]


def test_a_second_gpu_brings_a_link_between_the_two() -> None:
    other = replace(GPU, device_id="cuda:1")
    one = [task.probe.probe_id for task in tasks_for([CPU, GPU])]
    two = [task.probe.probe_id for task in tasks_for([CPU, GPU, other])]
    assert "link.device_to_device" not in one
    assert two.count("link.device_to_device") == 2


@pytest.mark.parametrize(
    ("pattern", "probe_id", "meant"),
    [
        ("cpu.matmul", "cpu.matmul", True),
        ("cpu", "cpu.matmul", True),
        ("cpu.*", "cpu.matmul", True),
        ("cp", "cpu.matmul", False),
        ("*", "disk.read", True),
        ("cuda", "cpu.matmul", False),
        ("[", "cpu.matmul", False),
    ],
)
def test_patterns(pattern: str, probe_id: str, meant: bool) -> None:
    assert matches(pattern, probe_id) is meant


def test_every_known_id_is_a_group_and_a_name() -> None:
    ids = known_probe_ids()
    assert len(ids) == len(set(ids))
    assert all(probe_id.count(".") == 1 for probe_id in ids)
    assert {"cpu.read_bandwidth", "cuda.matmul", "metal.read_bandwidth", "link.device_to_device", "disk.read"} <= set(
        ids
    )


# A scan as a whole --------------------------------------------------------------------------------


@pytest.fixture
def small_machine(monkeypatch) -> None:
    """A machine with too little memory to measure for long, and no engine."""
    outcome = ProbeOutcome(probe_id="cuda.devices", device_id="cuda", status=ProbeStatus.WAIVED, reason="no NVIDIA GPU")
    machine = Machine(host=HOST, devices=(CPU,), outcomes=(outcome,))
    monkeypatch.setattr(scan, "read_machine", lambda: machine)
    monkeypatch.setattr("probes.engine.survey", lambda devices: ((), ()))


def test_a_scan_of_a_512_mib_machine_finishes_and_warns(small_machine: None) -> None:
    start_s = time.monotonic()
    profile = scan.scan(only=["cpu.read_bandwidth", "cpu.stream_copy", "cuda"], budget_s=1.5)
    assert time.monotonic() - start_s < 6
    assert [outcome.probe_id for outcome in profile.outcomes] == [
        "cpu.read_bandwidth",
        "cpu.stream_copy",
        "cuda.devices",
    ]
    read = profile.measured("cpu.read_bandwidth")
    assert read is not None
    assert read.threads_count == 1
    assert ScanWarning.SMALL_BUFFER in read.warnings
    assert read.work_bytes % (16 << 20) == 0  # the buffer is the quarter of 64 MiB
    assert profile.profile_id == profile_id(HOST, (CPU,))
    assert profile.created_at.endswith("Z")


def test_a_partial_scan_is_laid_over_an_earlier_one_of_the_same_machine() -> None:
    def outcome(probe_id: str, value: float) -> ProbeOutcome:
        found = Measurement(quantity="read", unit="bytes_per_s", value=value, median_value=value)
        return ProbeOutcome(probe_id=probe_id, device_id="cpu", status=ProbeStatus.OK, measurement=found)

    def profile(machine: str, *outcomes: ProbeOutcome) -> HardwareProfile:
        return HardwareProfile(
            profile_id=machine,
            created_at="2026-01-01T00:00:00Z",
            tool_version="0",
            host=HOST,
            devices=(CPU,),
            outcomes=outcomes,
        )

    older = profile("a", outcome("cpu.read_bandwidth", 1.0), outcome("disk.read", 2.0))
    newer = profile("a", outcome("disk.read", 3.0))
    found = scan.merged(older, newer)
    assert found.measured("cpu.read_bandwidth") is not None
    assert found.measured("disk.read").value == 3.0
    assert len(found.outcomes) == 2
    assert [link.bytes_per_s for link in found.links] == [3.0]
    assert scan.merged(None, newer) is newer
    assert scan.merged(profile("another machine", outcome("disk.read", 9.0)), newer) is newer


def test_bandwidth_that_moved_during_a_scan_is_marked() -> None:
    def outcomes(first: float, later: float) -> tuple[ProbeOutcome, ...]:
        return tuple(
            ProbeOutcome(
                probe_id=probe_id,
                device_id="cpu",
                status=ProbeStatus.OK,
                measurement=Measurement(quantity="read", unit="bytes_per_s", value=value, median_value=value),
            )
            for probe_id, value in (
                ("cpu.read_bandwidth", first),
                ("cpu.thread_sweep", later),
                ("cpu.stream_copy", 1.0),
            )
        )

    moved = scan.mark_drift(outcomes(50e9, 95e9))
    assert [item.measurement.warnings for item in moved] == [(ScanWarning.UNSTEADY,), (ScanWarning.UNSTEADY,), ()]
    assert scan.mark_drift(moved) == moved
    steady = outcomes(50e9, 54e9)
    assert scan.mark_drift(steady) is steady
    assert scan.mark_drift(moved[:1]) == moved[:1]


def test_the_profile_id_is_stable_and_tells_machines_apart() -> None:
    host = replace(HOST, memory_total_bytes=24 << 30)
    same = replace(host, memory_total_bytes=(24 << 30) - (90 << 20), memory_available_bytes=5, governor="powersave")
    assert profile_id(host, (CPU,)) == profile_id(same, (replace(CPU, memory_free_bytes=7),))
    assert profile_id(host, (CPU,)) != profile_id(replace(host, memory_total_bytes=32 << 30), (CPU,))
    assert profile_id(host, (CPU,)) != profile_id(replace(host, cores_count=4), (CPU,))
    assert profile_id(host, (CPU, GPU)) == profile_id(host, (replace(GPU, memory_free_bytes=1, driver="new"), CPU))
    assert profile_id(host, (CPU, GPU)) != profile_id(host, (CPU,))
    assert len(profile_id(host, (CPU,))) == 12


def test_detecting_measures_nothing_and_agrees_with_itself() -> None:
    first, second = scan.detect(), scan.detect()
    assert first.profile_id == second.profile_id
    assert all(outcome.measurement is None for outcome in first.outcomes)
    assert first.devices[0].kind == "cpu"


def test_a_team_of_one_thread_runs_everything_a_single_core_needs() -> None:
    with Team(1) as team:
        bench = Bench(budget_s=0.05, memory_bytes=8 << 20, team=team)
        for task in plan._processor_tasks(CPU):
            if not task.needs_torch:
                assert run_probe(task.probe, CPU, bench).status == ProbeStatus.OK
