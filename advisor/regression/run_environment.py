"""Read what a run is taken on and with: kernel, microcode, governor, drivers, engine build."""

import platform
import re
from pathlib import Path

from advisor.types import EngineBuild, RunEnvironment
from catalog.units import GIB
from probes.types import HardwareProfile

_MICROCODE = re.compile(r"^microcode\s*:\s*(\S+)\s*$", re.MULTILINE)
_READ_BYTES = 65536


def parse_microcode(cpuinfo: str) -> str | None:
    """The processor's microcode revision from the text of /proc/cpuinfo."""
    found = _MICROCODE.search(cpuinfo)
    return found.group(1) if found else None


def _read_microcode() -> str | None:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            return parse_microcode(file.read(_READ_BYTES))
    except OSError:
        return None


def describe_hardware(profile: HardwareProfile) -> str:
    """A machine on one line: its accelerators, or else its processor, and its memory."""
    host = profile.host
    names = [device.name for device in profile.devices if device.kind != "cpu" and device.name]
    memory = f"{host.memory_total_bytes / GIB:.0f} GiB" if host.memory_total_bytes else None
    parts = [*names, host.cpu_name or host.machine, memory]
    return ", ".join(part for part in parts if part) or "unknown"


def read_environment(profile: HardwareProfile, engine: EngineBuild | None) -> RunEnvironment:
    """The environment of a run that starts now on this machine."""
    host = profile.host
    return RunEnvironment(
        machine_id=profile.profile_id,
        hardware=describe_hardware(profile),
        os=host.os,
        kernel=host.os_version,
        cpu_name=host.cpu_name,
        microcode=_read_microcode(),
        governor=host.governor,
        turbo_enabled=host.turbo_enabled,
        cpu_quota_cores_frac=host.cpu_quota_cores_frac,
        usable_threads_count=host.usable_threads_count,
        memory_total_bytes=host.memory_total_bytes,
        memory_limit_bytes=host.memory_limit_bytes,
        memory_transfers_per_s=host.memory_transfers_per_s,
        virtualization=host.virtualization,
        drivers={device.device_id: device.driver for device in profile.devices if device.driver},
        engine=engine,
        python_version=platform.python_version(),
    )
