"""What the installed engines were built for, and whether that is what this machine has."""

import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probes.base import one_line
from probes.errors import ProbeError
from probes.tools import ToolError, run_tool
from probes.types import Device, EngineDevice, EngineReport, ProbeOutcome, ProbeStatus

PROBE_ID = "engine.devices"
_LISTING_LIMIT_S = 20.0  # a GPU back end may compile its kernels the first time
_MAX_DEVICES = 64
INSTALL_LLAMA_CPP = "pip install 'model-fit-advisor[llama-cpp]'"
REBUILD_LLAMA_CPP = "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"

#: engine -> its distribution on the package index
_DISTRIBUTIONS = {
    "vllm": "vllm",
    "mlx": "mlx-lm",
    "tensorrt-llm": "tensorrt-llm",
}
#: kind of device -> ggml back ends that can use it, best first, with the definition that builds the first
_BACKENDS = {
    "cuda": (("CUDA", "Vulkan"), "GGML_CUDA=on"),
    "rocm": (("ROCm", "HIP", "CUDA", "Vulkan"), "GGML_HIP=on"),
    "metal": (("Metal", "MTL"), "GGML_METAL=on"),
    "xpu": (("SYCL", "Vulkan"), "GGML_SYCL=on"),
    "vulkan": (("Vulkan",), "GGML_VULKAN=on"),
}


def build_command(definition: str) -> str:
    """The command that builds llama.cpp's Python binding with a definition such as ``GGML_CUDA=on``."""
    return f'CMAKE_ARGS="-D{definition}" {REBUILD_LLAMA_CPP}'


def has_llama_cpp() -> bool:
    """Whether llama.cpp's Python binding is installed, without importing it."""
    return importlib.util.find_spec("llama_cpp") is not None


def survey(devices: Sequence[Device]) -> tuple[tuple[EngineReport, ...], tuple[ProbeOutcome, ...]]:
    """Installed engines, and one outcome on llama.cpp: what it lists, or why it cannot be asked.

    A GPU that the build cannot use makes the outcome failed, with the command that mends it.
    """
    others = tuple(
        EngineReport(engine_id=engine_id, version=version)
        for engine_id, name in _DISTRIBUTIONS.items()
        if (version := _version(name)) is not None
    )
    if not has_llama_cpp():
        waived = _outcome(ProbeStatus.WAIVED, "llama-cpp-python is not installed", INSTALL_LLAMA_CPP)
        return others, (waived,)
    try:
        report = parse_listing(_read_listing())
    except ToolError as error:
        reason, fix = explain_failure(one_line(error))
        return others, (_outcome(ProbeStatus.FAILED, reason, fix),)
    except ProbeError as error:
        return others, (_outcome(ProbeStatus.FAILED, one_line(error), error.fix),)
    return (report, *others), (judge(report, devices),)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read_listing() -> str:
    script = Path(__file__).with_name("_ggml_devices.py")
    # -P: the script's folder must not shadow the standard library's modules (it has a types.py)
    return run_tool([sys.executable, "-P", str(script)], limit_s=_LISTING_LIMIT_S)


def parse_listing(text: str) -> EngineReport:
    """Read the child process's JSON.

    Raises:
        ProbeError: if it is not that.
    """
    try:
        document = json.loads(text)
        devices = tuple(_device(row) for row in document["devices"][:_MAX_DEVICES])
        features = parse_features(str(document["features"]))
        version = one_line(str(document["version"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ProbeError("llama.cpp's device list cannot be read", INSTALL_LLAMA_CPP) from None
    return EngineReport(
        engine_id="llama.cpp",
        version=version,
        backends=tuple(dict.fromkeys(device.backend for device in devices)),
        devices=devices,
        features=features,
    )


def _device(row: Mapping[str, Any]) -> EngineDevice:
    total, free = row["memory_total_bytes"], row["memory_free_bytes"]
    return EngineDevice(
        name=one_line(str(row["name"])),
        description=one_line(str(row["description"])),
        backend=one_line(str(row["backend"])),
        kind=one_line(str(row["kind"])),
        memory_total_bytes=int(total) or None,
        memory_free_bytes=int(free) or None,
    )


def parse_features(text: str) -> tuple[str, ...]:
    """What is on in llama.cpp's system line: ``CPU : AVX2 = 1 | AVX512 = 1 | LLAMAFILE = 1 |``."""
    return tuple(dict.fromkeys(re.findall(r"([A-Z][A-Z0-9_]+) = 1\b", text)))


def explain_failure(message: str) -> tuple[str, str]:
    """Why the listing process failed, in the user's terms, and what mends it.

    A negative exit code is the signal that killed it (4: illegal instruction, 11: bad access).
    """
    if "code -4" in message or "3221225501" in message:
        return "llama.cpp was built for another processor (illegal instruction)", REBUILD_LLAMA_CPP
    if "code -" in message:
        return f"llama.cpp crashes while it lists devices ({message})", REBUILD_LLAMA_CPP
    return f"llama.cpp cannot list its devices: {message}", REBUILD_LLAMA_CPP


def judge(report: EngineReport, devices: Sequence[Device]) -> ProbeOutcome:
    """Compare what the engine can use with what the machine has: the check that matters."""
    gpus = [device for device in devices if device.kind in _BACKENDS]
    used = [device for device in gpus if _usable(report, device)]
    unused = [device for device in gpus if device not in used and not _dispensable(device, has_better=bool(used))]
    if not unused:
        names = ", ".join(f"{device.name} ({device.description})" for device in report.devices)
        return _outcome(ProbeStatus.OK, f"llama.cpp {report.version} can use {names}")
    device = unused[0]
    backends, definition = _BACKENDS[device.kind]
    return _outcome(
        ProbeStatus.FAILED,
        f"you have {device.name}, but the installed llama.cpp {report.version} was built without {backends[0]}",
        build_command(definition),
    )


def _dispensable(device: Device, *, has_better: bool) -> bool:
    """Integrated graphics beside a GPU that works, or of a kind no faster than the processor."""
    return device.unified and (has_better or device.kind == "xpu")


def _usable(report: EngineReport, device: Device) -> bool:
    backends, _ = _BACKENDS[device.kind]
    return any(listed.backend in backends and listed.kind in ("gpu", "igpu") for listed in report.devices)


def _outcome(status: ProbeStatus, reason: str, fix: str | None = None) -> ProbeOutcome:
    return ProbeOutcome(probe_id=PROBE_ID, device_id="cpu", status=status, reason=reason, fix=fix)
