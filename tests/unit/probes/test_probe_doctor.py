"""The doctor: every reason with its command, and clashes found before they bite."""

import sys

import pytest
from probe_recordings import recorded

from probes import doctor, engine
from probes.base import Waiver
from probes.doctor import host_checks, memory_checks, missing_features, outcome_checks, rival_checks, waiver_checks
from probes.errors import ProbeError
from probes.machine import Machine
from probes.plan import Task
from probes.types import Device, EngineReport, Host, Level, ProbeOutcome, ProbeStatus

CPU = Device(device_id="cpu", kind="cpu")
HOST = Host(os="Linux", cpu_name="EPYC", threads_count=16, instruction_sets=("AVX2", "AVX-512F", "AVX-512VNNI"))


class Stub:
    dtype = None

    def __init__(self, probe_id: str, answer) -> None:
        self.probe_id, self._answer = probe_id, answer

    def waiver(self, device: Device) -> Waiver | None:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def run(self, device, bench):
        raise AssertionError("the doctor measures nothing")


def test_every_probe_is_asked_and_none_is_run() -> None:
    tasks = [
        Task(probe=Stub("a.can", None), device=CPU),
        Task(probe=Stub("b.mendable", Waiver("needs PyTorch", "pip install torch")), device=CPU),
        Task(probe=Stub("c.absent", Waiver("no counter here")), device=CPU),
        Task(probe=Stub("d.broken", RuntimeError("driver\nfault")), device=CPU),
    ]
    checks = list(waiver_checks(tasks))
    assert [check.level for check in checks] == [Level.OK, Level.MENDABLE, Level.ABSENT, Level.PROBLEM]
    assert checks[1].fix == "pip install torch"
    assert checks[3].says == "driver fault"
    assert [check.probe_id for check in checks] == ["a.can", "b.mendable", "c.absent", "d.broken"]


@pytest.mark.parametrize(
    ("status", "fix", "level"),
    [
        (ProbeStatus.OK, None, Level.OK),
        (ProbeStatus.WAIVED, None, Level.ABSENT),
        (ProbeStatus.WAIVED, "sudo apt install rocm", Level.MENDABLE),
        (ProbeStatus.FAILED, "sudo reboot", Level.PROBLEM),
    ],
)
def test_listings_become_checks(status: ProbeStatus, fix: str | None, level: Level) -> None:
    outcome = ProbeOutcome(probe_id="cuda.devices", device_id="cuda", status=status, reason="why", fix=fix)
    (check,) = outcome_checks([outcome])
    assert (check.level, check.says, check.fix) == (level, "why", fix)


def test_two_distributions_of_one_module_are_a_clash_with_a_command() -> None:
    (check,) = rival_checks({"pynvml": ["nvidia-ml-py", "pynvml"], "torch": ["torch"]})
    assert check.level == Level.PROBLEM
    assert check.fix == "pip uninstall -y pynvml && pip install --force-reinstall --no-deps nvidia-ml-py"


def test_one_distribution_under_two_spellings_is_no_clash() -> None:
    assert list(rival_checks({"llama_cpp": ["llama_cpp_python", "llama-cpp-python"]})) == []
    assert list(rival_checks({})) == []


def test_an_engine_built_for_less_than_the_processor_has() -> None:
    report = EngineReport(engine_id="llama.cpp", version="1", features=("AVX2", "F16C"))
    assert missing_features(report, HOST) == ("AVX-512F", "AVX-512VNNI")
    (check,) = host_checks(HOST, [report])
    assert check.level == Level.MENDABLE
    assert "GGML_NATIVE=on" in (check.fix or "")
    full = EngineReport(engine_id="llama.cpp", features=("AVX2", "AVX512", "AVX512_VNNI"))
    assert list(host_checks(HOST, [full, EngineReport(engine_id="vllm")])) == []


def test_power_limits_and_translation_are_said() -> None:
    from dataclasses import replace

    subjects = {
        check.subject: check.level
        for check in host_checks(
            replace(
                HOST,
                on_battery=True,
                governor="powersave",
                cpu_quota_cores_frac=1.5,
                platform_note="this Python runs under Rosetta; install an arm64 Python",
            ),
            [],
        )
    }
    assert subjects == {
        "power": Level.PROBLEM,
        "governor": Level.MENDABLE,
        "CPU quota": Level.MENDABLE,
        "Rosetta": Level.PROBLEM,
    }
    (turbo,) = host_checks(replace(HOST, turbo_enabled=False, cpu_vendor="GenuineIntel"), [])
    assert "no_turbo" in (turbo.fix or "")


GIB = 1024**3
RADEON = {"kind": "rocm", "name": "Radeon 8060S", "unified": True, "properties": {"memory_pool": "gtt"}}
M4 = {"kind": "metal", "name": "Apple M4 Max", "unified": True}


@pytest.mark.parametrize(
    ("facts", "may_gib", "total_gib", "command"),
    [
        (RADEON, 64, 128, "ttm pages_limit=29360128'"),  # 112 GiB in pages of 4 KiB
        (RADEON, 16, 32, "ttm pages_limit=6291456'"),
        (M4, 96, 128, "iogpu.wired_limit_mb=114688"),
    ],
)
def test_a_gpu_kept_short_of_the_computers_memory_is_told_how_to_have_more(facts, may_gib, total_gib, command) -> None:
    device = Device(device_id="gpu:0", memory_total_bytes=may_gib * GIB, **facts)
    (check,) = memory_checks([CPU, device], Host(os="any", memory_total_bytes=total_gib * GIB))
    assert (check.level, check.device_id) == (Level.MENDABLE, "gpu:0")
    assert f"may take {may_gib} of {total_gib} GiB" in check.says
    assert command in (check.fix or "")


@pytest.mark.parametrize(
    ("facts", "may_gib", "total_gib"),
    [
        (RADEON, 112, 128),  # raised already
        (RADEON, 8, 16),  # the system needs the rest
        (RADEON | {"properties": {"memory_pool": "vram"}}, 48, 80),  # set aside by the firmware
        (M4 | {"properties": {"wired_limit": "set by iogpu.wired_limit_mb"}}, 64, 128),
        (M4, 5, 8),
        ({"kind": "cuda", "name": "RTX 4090"}, 24, 64),
        (RADEON, 64, 0),
    ],
)
def test_gpus_with_all_they_can_have_are_left_alone(facts, may_gib, total_gib) -> None:
    device = Device(device_id="gpu:0", memory_total_bytes=may_gib * GIB, **facts)
    assert list(memory_checks([device], Host(os="any", memory_total_bytes=total_gib * GIB or None))) == []


def test_packages_that_crash_together_are_found_in_a_process_of_their_own(monkeypatch) -> None:
    def crash(code: str) -> str:
        if "llama_cpp" in code:
            raise ProbeError("python failed with code -6: OMP: Error #15: Initializing libomp.so")
        return "2.13.0 CPU only\n"

    monkeypatch.setattr(engine, "has_llama_cpp", lambda: True)
    monkeypatch.setattr(doctor, "has_torch", lambda: True)
    monkeypatch.setattr(doctor, "_python", crash)
    alone, together = doctor.import_checks(with_llama_cpp=True)
    assert alone.level == Level.OK
    assert together.level == Level.PROBLEM
    assert "OMP: Error #15" in together.says
    assert together.fix == engine.build_command("GGML_OPENMP=off")


def test_a_torch_that_cannot_be_loaded_is_a_problem_and_a_missing_one_is_not(monkeypatch) -> None:
    def crash(code: str) -> str:
        raise ProbeError("python failed with code -4")

    monkeypatch.setattr(doctor, "_python", crash)
    monkeypatch.setattr(doctor, "has_torch", lambda: True)
    (broken,) = doctor.import_checks(with_llama_cpp=True)
    assert broken.level == Level.PROBLEM
    monkeypatch.setattr(doctor, "has_torch", lambda: False)
    (missing,) = doctor.import_checks(with_llama_cpp=False)
    assert missing.level == Level.MENDABLE


def test_two_packages_are_not_blamed_where_one_is_broken_by_itself(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "has_torch", lambda: True)
    monkeypatch.setattr(doctor, "_python", lambda code: "2.13.0 CPU only\n")
    assert [check.subject for check in doctor.import_checks(with_llama_cpp=False)] == ["PyTorch"]


def test_the_interpreter_is_named() -> None:
    (check,) = doctor.python_checks()
    assert check.level == Level.OK
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in check.says


def test_a_version_is_picked_out_of_a_programs_chatter() -> None:
    text = "Warning: could not connect to a running instance\nclient version is 0.12.3\n"
    assert doctor._version_line(text) == "client version is 0.12.3"
    assert doctor._version_line("hello\n") == "installed"


def test_a_whole_visit(monkeypatch) -> None:
    steps = []
    monkeypatch.setattr(engine, "_read_listing", lambda: recorded("engine/llama_cpp_cpu.json"))
    monkeypatch.setattr(engine, "has_llama_cpp", lambda: True)
    monkeypatch.setattr(doctor, "has_torch", lambda: True)
    monkeypatch.setattr(doctor, "_python", lambda code: "2.13.0+cpu CPU only")
    rtx = Device(device_id="cuda:0", kind="cuda", name="RTX 4090")
    found = doctor.examine(
        Machine(host=HOST, devices=(CPU, rtx)),
        created_at="2026-01-01T00:00:00Z",
        tool_version="1",
        on_step=steps.append,
    )
    assert steps == ["engines", "probes", "programs", "Python packages"]
    assert not found.healthy
    worst = next(check for check in found.checks if check.level == Level.PROBLEM and check.subject == "engine.devices")
    assert "built without CUDA" in worst.says
    assert all(check.fix for check in found.checks if check.level == Level.MENDABLE)
