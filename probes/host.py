"""The computer as a whole: one reading per operating system, joined into a `Host`."""

import math
import os
import platform
from pathlib import Path

from probes import cgroup, linux
from probes.counters import usable_cores
from probes.types import Host


def read_host() -> Host:
    """Everything known of this computer without measuring; never raises, unknown stays None."""
    if platform.system() == "Linux":
        return read_linux_host(Path("/"))
    return _portable_host()


def usable_threads(quota_cores_frac: float | None) -> int:
    """Threads worth starting: the cores we may run on, within the CPU quota."""
    cores = len(usable_cores())
    return max(1, min(cores, math.ceil(quota_cores_frac))) if quota_cores_frac else cores


def read_linux_host(root: Path) -> Host:
    """The host of a Linux file tree; tests give recorded ones."""
    info = linux.parse_cpuinfo(linux.read_text(root / "proc/cpuinfo") or "")
    topology = linux.read_topology(root)
    limits = cgroup.read_limits(root)
    total_bytes, available_bytes = linux.parse_meminfo(linux.read_text(root / "proc/meminfo") or "")
    known = [size for size in (available_bytes, limits.memory_available_bytes) if size is not None]
    power = linux.read_power(root)
    return Host(
        os="Linux",
        os_version=platform.release(),
        machine=platform.machine(),
        cpu_vendor=info.vendor,
        cpu_name=info.name,
        sockets_count=topology.sockets_count or info.sockets_count,
        cores_count=topology.cores_count or info.cores_count or info.threads_count,
        threads_count=topology.threads_count or info.threads_count,
        usable_threads_count=usable_threads(limits.quota_cores_frac),
        performance_cores_count=topology.performance_cores_count,
        efficiency_cores_count=topology.efficiency_cores_count,
        numa_nodes_count=topology.numa_nodes_count,
        instruction_sets=info.instruction_sets,
        l1d_bytes=topology.l1d_bytes,
        l2_bytes=topology.l2_bytes,
        l3_bytes=topology.l3_bytes,
        memory_total_bytes=total_bytes,
        memory_available_bytes=min(known, default=None),
        memory_limit_bytes=limits.memory_limit_bytes,
        cpu_quota_cores_frac=limits.quota_cores_frac,
        governor=power.governor,
        turbo_enabled=power.turbo_enabled,
        on_battery=power.on_battery,
        virtualization=linux.read_virtualization(root, hypervisor=info.hypervisor),
        platform_note=linux.read_platform_note(root),
    )


def _portable_host() -> Host:
    import psutil

    memory = psutil.virtual_memory()
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return Host(
        os="macOS" if platform.system() == "Darwin" else platform.system(),
        os_version=platform.release(),
        machine=platform.machine(),
        cpu_name=platform.processor() or None,
        cores_count=psutil.cpu_count(logical=False),
        threads_count=os.cpu_count(),
        usable_threads_count=usable_threads(None),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        on_battery=None if battery is None else not battery.power_plugged,
    )
