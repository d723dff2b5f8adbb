"""What can run on this machine, what cannot, why, and the command that mends it. Nothing is measured."""

import importlib.metadata
import platform
import re
import shutil
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from probes import engine
from probes.base import one_line
from probes.errors import ProbeError
from probes.machine import Machine
from probes.plan import Task, tasks_for
from probes.products import has_torch
from probes.tools import run_tool
from probes.types import Check, Device, Diagnosis, EngineReport, Host, Level, ProbeOutcome, ProbeStatus

_IMPORT_LIMIT_S = 60.0
#: modules that two distributions provide, the newer one first
_RIVALS = {
    "pynvml": ("nvidia-ml-py", "pynvml"),
    "torch": ("torch",),
    "llama_cpp": ("llama-cpp-python",),
    "numpy": ("numpy",),
}
_GIB = 1024**3
_PAGE_BYTES = 4096
#: Memory left to the system beside a GPU that may have the rest, and how much more than now is worth a setting.
_SYSTEM_NEEDS_BYTES = 8 * _GIB
_NOTABLE_FACTOR = 1.1
_PROGRAMS = (
    ("llama-server", ["llama-server", "--version"], "llama.cpp's own server"),
    ("ollama", ["ollama", "--version"], "Ollama"),
    ("vllm", ["vllm", "--version"], "vLLM"),
)


def examine(
    machine: Machine, *, created_at: str, tool_version: str, on_step: Callable[[str], None] = lambda _: None
) -> Diagnosis:
    """Look at the computer, its devices, its engines and the Python packages around them.

    Args:
        machine: what was detected.
        created_at: the time to write into the document.
        tool_version: the version to write into the document.
        on_step: told what is looked at next; some steps take seconds.
    """
    on_step("engines")
    engines, outcomes = engine.survey(machine.devices)
    on_step("probes")
    checks = [*outcome_checks((*machine.outcomes, *outcomes)), *waiver_checks(list(tasks_for(machine.devices)))]
    on_step("programs")
    checks += program_checks()
    on_step("Python packages")
    checks += [*python_checks(), *rival_checks(importlib.metadata.packages_distributions())]
    checks += import_checks(with_llama_cpp=any(report.engine_id == "llama.cpp" for report in engines))
    checks += host_checks(machine.host, engines)
    checks += memory_checks(machine.devices, machine.host)
    return Diagnosis(
        created_at=created_at,
        tool_version=tool_version,
        host=machine.host,
        devices=machine.devices,
        engines=engines,
        checks=tuple(checks),
    )


def outcome_checks(outcomes: Sequence[ProbeOutcome]) -> Iterator[Check]:
    """The listings of devices and engines as checks."""
    for outcome in outcomes:
        level = Level.OK if outcome.status == ProbeStatus.OK else Level.PROBLEM
        if outcome.status == ProbeStatus.WAIVED:
            level = Level.MENDABLE if outcome.fix else Level.ABSENT
        yield Check(
            subject=outcome.probe_id,
            level=level,
            says=outcome.reason or "can be used",
            fix=outcome.fix,
            probe_id=outcome.probe_id,
            device_id=outcome.device_id,
        )


def waiver_checks(tasks: Sequence[Task]) -> Iterator[Check]:
    """Every probe there is for this machine's devices: whether it can run, and why not."""
    for task in tasks:
        subject = task.label
        facts = {"probe_id": task.probe.probe_id, "device_id": task.device.device_id}
        try:
            waiver = task.probe.waiver(task.device)
        except Exception as error:  # noqa: BLE001 - a vendor's library may raise anything
            yield Check(subject=subject, level=Level.PROBLEM, says=one_line(error), **facts)
            continue
        if waiver is None:
            yield Check(subject=subject, level=Level.OK, says=f"can run on {task.device.device_id}", **facts)
        else:
            level = Level.MENDABLE if waiver.fix else Level.ABSENT
            yield Check(subject=subject, level=level, says=waiver.reason, fix=waiver.fix, **facts)


def program_checks() -> Iterator[Check]:
    """Engines installed as programs, and the compiler that builds llama.cpp."""
    for name, argv, what in _PROGRAMS:
        if shutil.which(name) is None:
            yield Check(subject=name, level=Level.ABSENT, says=f"{what} is not installed")
            continue
        try:
            yield Check(subject=name, level=Level.OK, says=_version_line(run_tool(argv, limit_s=_IMPORT_LIMIT_S)))
        except ProbeError as error:
            yield Check(subject=name, level=Level.PROBLEM, says=one_line(error))
    compiler = next((name for name in ("c++", "g++", "clang++", "cl") if shutil.which(name)), None)
    if compiler:
        yield Check(subject="compiler", level=Level.OK, says=f"{compiler} can build llama.cpp")
    else:
        fix = {"Darwin": "xcode-select --install", "Windows": "winget install Microsoft.VisualStudio.2022.BuildTools"}
        says = "no C++ compiler: llama.cpp can only be installed where a built wheel fits"
        install = fix.get(platform.system(), "sudo apt install build-essential")
        yield Check(subject="compiler", level=Level.MENDABLE, says=says, fix=install)


def _version_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if re.search(r"\d+\.\d+|\d{4}", line)]
    return one_line(lines[-1]) if lines else "installed"


def python_checks() -> Iterator[Check]:
    """The interpreter: 32-bit or emulated ones measure the wrong thing."""
    bits = struct.calcsize("P") * 8
    says = f"{platform.python_version()} for {platform.machine()}, {bits}-bit"
    if bits < 64:
        yield Check(subject="Python", level=Level.PROBLEM, says=f"{says}: models need a 64-bit Python")
    else:
        yield Check(subject="Python", level=Level.OK, says=says)


def rival_checks(providers: Mapping[str, Sequence[str]]) -> Iterator[Check]:
    """Modules that several installed distributions provide, so that chance decides which is imported."""
    for module, preferred in _RIVALS.items():
        names = sorted({name.lower().replace("_", "-") for name in providers.get(module, ())})
        if len(names) < 2:
            continue
        keep = next((name for name in preferred if name in names), names[0])
        others = [name for name in names if name != keep]
        yield Check(
            subject=module,
            level=Level.PROBLEM,
            says=f"the module {module} comes from {' and '.join(names)}: which one is imported is chance",
            fix=f"pip uninstall -y {' '.join(others)} && pip install --force-reinstall --no-deps {keep}",
        )


def import_checks(*, with_llama_cpp: bool) -> Iterator[Check]:
    """Import PyTorch in a process of its own, alone and with llama.cpp where that can be loaded by itself."""
    if not has_torch():
        says = "not installed: matmul is measured in fp32 only, and GPUs not at all"
        yield Check(subject="PyTorch", level=Level.MENDABLE, says=says, fix="pip install 'model-fit-advisor[torch]'")
        return
    code = (
        "import torch;v=torch.version;print(torch.__version__, v.cuda or v.hip or getattr(v,'xpu',None) or 'CPU only')"
    )
    try:
        yield Check(subject="PyTorch", level=Level.OK, says=one_line(_python(code).strip()))
    except ProbeError as error:
        fix = "pip install --force-reinstall 'model-fit-advisor[torch]'"
        yield Check(subject="PyTorch", level=Level.PROBLEM, says=one_line(error), fix=fix)
        return
    if with_llama_cpp:
        yield _together()


def _together() -> Check:
    subject = "PyTorch with llama.cpp"
    try:
        _python("import torch, llama_cpp")
    except ProbeError as error:
        says = f"they cannot be loaded into one process ({one_line(error)}): two OpenMP runtimes, as a rule"
        return Check(subject=subject, level=Level.PROBLEM, says=says, fix=engine.build_command("GGML_OPENMP=off"))
    return Check(subject=subject, level=Level.OK, says="load into one process")


def _python(code: str) -> str:
    return run_tool([sys.executable, "-c", code], limit_s=_IMPORT_LIMIT_S)


#: instruction set of the host -> what llama.cpp calls it
_COMPILED = {
    "AVX2": "AVX2", "AVX-512F": "AVX512", "AVX-512VNNI": "AVX512_VNNI", "AVX-512BF16": "AVX512_BF16",
    "AMX-INT8": "AMX_INT8", "NEON": "NEON", "DOTPROD": "DOTPROD", "I8MM": "MATMUL_INT8", "SVE": "SVE",
}  # fmt: skip


def host_checks(host: Host, engines: Sequence[EngineReport]) -> Iterator[Check]:
    """What keeps this computer from its best: power settings, limits, an engine built for less than it has."""
    if host.on_battery:
        yield Check(subject="power", level=Level.PROBLEM, says="runs on battery: figures will be low", fix="plug it in")
    if host.governor in ("powersave", "conservative") and host.turbo_enabled is None:
        fix = "sudo cpupower frequency-set -g performance"
        yield Check(subject="governor", level=Level.MENDABLE, says=f"{host.governor}: slow to clock up", fix=fix)
    if host.turbo_enabled is False:
        yield Check(subject="turbo", level=Level.MENDABLE, says="off", fix=_turbo_fix(host))
    if host.cpu_quota_cores_frac is not None:
        says = f"this container may use {host.cpu_quota_cores_frac:g} of {host.threads_count} hardware threads"
        yield Check(subject="CPU quota", level=Level.MENDABLE, says=says, fix="docker update --cpus N CONTAINER")
    if (host.platform_note or "").startswith("this Python runs under Rosetta"):
        yield Check(subject="Rosetta", level=Level.PROBLEM, says=host.platform_note or "", fix="arch -arm64 python3")
    for report in engines:
        missing = missing_features(report, host)
        if missing:
            says = f"built without {', '.join(missing)}, which this processor has: slower than it could be"
            yield Check(
                subject=report.engine_id, level=Level.MENDABLE, says=says, fix=engine.build_command("GGML_NATIVE=on")
            )


def memory_checks(devices: Sequence[Device], host: Host) -> Iterator[Check]:
    """GPUs in the computer's own memory that the system lets have less of it than models could."""
    total_bytes = host.memory_total_bytes or 0
    could_bytes = total_bytes - max(_SYSTEM_NEEDS_BYTES, total_bytes // 8)
    for device in devices:
        may_bytes = device.memory_total_bytes or 0
        command = _limit_command(device, could_bytes)
        if command is None or may_bytes * _NOTABLE_FACTOR > could_bytes:
            continue
        says = f"{device.name} may take {may_bytes / _GIB:.0f} of {total_bytes / _GIB:.0f} GiB: the system's own limit"
        yield Check(subject="GPU memory", level=Level.MENDABLE, says=says, fix=command, device_id=device.device_id)


def _limit_command(device: Device, size_bytes: int) -> str | None:
    """What lets a GPU have so much of the computer's memory; None if its limit is no setting, or was set by hand.

    AMD's ``amd-ttm --set`` writes the same file (superm1/amd-debug-tools, docs/amd-ttm.md).
    """
    if device.kind == "rocm" and device.properties.get("memory_pool") == "gtt":
        pages = f"options ttm pages_limit={size_bytes // _GIB * (_GIB // _PAGE_BYTES)}"
        return f"echo '{pages}' | sudo tee /etc/modprobe.d/ttm.conf  # then reboot"
    if device.kind == "metal" and device.unified and "wired_limit" not in device.properties:
        return f"sudo sysctl iogpu.wired_limit_mb={size_bytes // _GIB * 1024}  # until the next restart"
    return None


def _turbo_fix(host: Host) -> str:
    if "Intel" in (host.cpu_vendor or ""):
        return "echo 0 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
    return "echo 1 | sudo tee /sys/devices/system/cpu/cpufreq/boost"


def missing_features(report: EngineReport, host: Host) -> tuple[str, ...]:
    """Instruction sets of the host that llama.cpp was not compiled for."""
    if report.engine_id != "llama.cpp" or not report.features:
        return ()
    return tuple(
        name
        for name, compiled in _COMPILED.items()
        if name in host.instruction_sets and compiled not in report.features
    )
