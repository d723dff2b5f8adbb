"""What installed engines can use, compared with what the machine has."""

import json

import pytest
from probe_recordings import recorded

from probes import engine
from probes.engine import judge, parse_features, parse_listing
from probes.errors import ProbeError
from probes.tools import ToolError
from probes.types import Device, EngineDevice, EngineReport, ProbeStatus

CPU = Device(device_id="cpu", kind="cpu")
RTX = Device(device_id="cuda:0", kind="cuda", name="NVIDIA GeForce RTX 4090")


def listing(*backends: str) -> EngineReport:
    devices = [EngineDevice(name="CPU", description="EPYC", backend="CPU", kind="cpu")]
    devices += [EngineDevice(name=f"{name}0", description=name, backend=name, kind="gpu") for name in backends]
    return EngineReport(engine_id="llama.cpp", version="0.3.36", backends=("CPU", *backends), devices=tuple(devices))


def test_a_recorded_cpu_build() -> None:
    report = parse_listing(recorded("engine/llama_cpp_cpu.json"))
    assert report.version == "0.3.36"
    assert report.backends == ("CPU",)
    assert report.devices[0].memory_total_bytes == 25276510208
    assert {"AVX512", "AVX512_BF16", "OPENMP"} <= set(report.features)


def test_only_features_that_are_on_are_listed() -> None:
    assert parse_features("CPU : AVX = 1 | AVX2 = 0 | NEON = 1 | CUDA : ARCHS = 890 |") == ("AVX", "NEON")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"devices": 1}', '{"version": 1, "devices": [{}], "features": ""}', "Illegal instruction"]
)
def test_a_listing_that_cannot_be_read_is_one_error(text: str) -> None:
    with pytest.raises(ProbeError, match="cannot be read"):
        parse_listing(text)


def test_names_that_would_steer_a_terminal_are_made_inert() -> None:
    row = {
        "name": "x\x1b[2J",
        "description": "y\ny",
        "backend": "CPU",
        "kind": "cpu",
        "memory_total_bytes": 0,
        "memory_free_bytes": 0,
    }
    report = parse_listing(json.dumps({"version": "1", "devices": [row], "features": ""}))
    assert report.devices[0].name == "x?[2J"
    assert report.devices[0].description == "y y"
    assert report.devices[0].memory_total_bytes is None


def test_a_gpu_the_engine_was_built_without_is_the_finding_that_matters() -> None:
    outcome = judge(listing(), [CPU, RTX])
    assert outcome.status == ProbeStatus.FAILED
    assert outcome.reason == (
        "you have NVIDIA GeForce RTX 4090, but the installed llama.cpp 0.3.36 was built without CUDA"
    )
    assert outcome.fix == (
        'CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-cache-dir '
        "--no-binary llama-cpp-python llama-cpp-python"
    )


@pytest.mark.parametrize(
    ("kind", "backend", "option"),
    [
        ("cuda", "CUDA", "GGML_CUDA"),
        ("rocm", "ROCm", "GGML_HIP"),
        ("metal", "Metal", "GGML_METAL"),
        ("xpu", "SYCL", "GGML_SYCL"),
        ("vulkan", "Vulkan", "GGML_VULKAN"),
    ],
)
def test_every_kind_has_its_back_end_and_its_build_option(kind: str, backend: str, option: str) -> None:
    device = Device(device_id=f"{kind}:0", kind=kind, name="card")
    assert judge(listing(backend), [CPU, device]).status == ProbeStatus.OK
    assert f"-D{option}=on" in (judge(listing(), [CPU, device]).fix or "")


def test_vulkan_serves_any_vendor() -> None:
    assert judge(listing("Vulkan"), [CPU, RTX]).status == ProbeStatus.OK


def test_integrated_graphics_beside_a_working_gpu_are_not_missed() -> None:
    inside = Device(device_id="rocm:0", kind="rocm", name="Radeon 610M", unified=True)
    assert judge(listing("CUDA"), [CPU, RTX, inside]).status == ProbeStatus.OK
    assert judge(listing(), [CPU, inside]).status == ProbeStatus.FAILED
    assert judge(listing(), [CPU, Device(device_id="xpu:0", kind="xpu", unified=True)]).status == ProbeStatus.OK


def test_a_machine_without_a_gpu_needs_none() -> None:
    outcome = judge(listing(), [CPU, Device(device_id="npu:0", kind="npu")])
    assert outcome.status == ProbeStatus.OK
    assert "CPU (EPYC)" in (outcome.reason or "")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("python failed with code -4", "another processor"),
        ("python failed with code 3221225501", "another processor"),
        ("python failed with code -11", "crashes"),
        ("python did not answer within 20 s", "did not answer"),
    ],
)
def test_why_the_listing_died_is_said_in_the_users_terms(message: str, words: str) -> None:
    reason, fix = engine.explain_failure(message)
    assert words in reason
    assert "pip install" in fix


def test_an_engine_that_crashes_when_loaded_is_an_outcome_not_a_dead_scan(monkeypatch) -> None:
    def crash() -> str:
        raise ToolError("python failed with code -4")

    monkeypatch.setattr(engine, "has_llama_cpp", lambda: True)
    monkeypatch.setattr(engine, "_read_listing", crash)
    _, (outcome,) = engine.survey([CPU])
    assert outcome.status == ProbeStatus.FAILED
    assert "illegal instruction" in (outcome.reason or "")


def test_no_engine_is_waived_with_the_install_command(monkeypatch) -> None:
    monkeypatch.setattr(engine, "has_llama_cpp", lambda: False)
    reports, (outcome,) = engine.survey([CPU])
    assert outcome.status == ProbeStatus.WAIVED
    assert outcome.fix == engine.INSTALL_LLAMA_CPP
    assert all(report.engine_id != "llama.cpp" for report in reports)


@pytest.mark.skipif(not engine.has_llama_cpp(), reason="llama.cpp is an extra")
def test_the_installed_llama_cpp_lists_this_processor() -> None:
    (report, *_), (outcome,) = engine.survey([CPU])
    assert report.engine_id == "llama.cpp"
    assert report.devices[0].kind == "cpu"
    assert report.version
    assert outcome.status == ProbeStatus.OK
