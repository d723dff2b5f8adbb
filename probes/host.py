"""The computer as a whole: one reading per operating system, joined into a `Host`."""

import math
import os
import platform
from pathlib import Path

from probes import apple, cgroup, linux, windows
from probes.counters import usable_cores
from probes.types import Host


def usable_threads(cores_count: int, quota_cores_frac: float | None) -> int:
    """Threads worth starting: the cores we may run on, within the CPU quota."""
    return max(1, min(cores_count, math.ceil(quota_cores_frac))) if quota_cores_frac else max(1, cores_count)


def read_linux_host(root: Path = Path("/")) -> Host:
    """The host of a Linux file tree; tests give recorded ones."""
    info = linux.parse_cpuinfo(linux.read_text(root / "proc/cpuinfo") or "")
    topology = linux.read_topology(root)
    limits = cgroup.read_limits(root)
    total_bytes, available_bytes = linux.parse_meminfo(linux.read_text(root / "proc/meminfo") or "")
    known = [size for size in (available_bytes, limits.memory_available_bytes) if size is not None]
    power = linux.read_power(root)
    modules = linux.read_memory_modules(root)
    return Host(
        os="Linux",
        os_version=linux.read_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        machine=platform.machine(),
        cpu_vendor=info.vendor,
        cpu_name=info.name,
        sockets_count=topology.sockets_count or info.sockets_count,
        cores_count=topology.cores_count or info.cores_count or info.threads_count,
        threads_count=topology.threads_count or info.threads_count,
        usable_threads_count=usable_threads(len(usable_cores()), limits.quota_cores_frac),
        performance_cores_count=topology.performance_cores_count,
        efficiency_cores_count=topology.efficiency_cores_count,
        numa_nodes_count=topology.numa_nodes_count,
        instruction_sets=info.instruction_sets,
        l1d_bytes=topology.l1d_bytes,
        l2_bytes=topology.l2_bytes,
        l3_bytes=topology.l3_bytes,
        memory_channels_count=modules.channels_count,
        memory_transfers_per_s=modules.transfers_per_s,
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


def macos_host(processor: apple.Processor) -> Host:
    """A Mac's host; what changes from minute to minute comes from psutil."""
    import psutil

    battery = psutil.sensors_battery()
    return Host(
        os="macOS",
        os_version=platform.mac_ver()[0] or None,
        machine=platform.machine(),
        cpu_vendor="Apple" if (processor.name or "").startswith("Apple") else None,
        cpu_name=processor.name,
        sockets_count=1,
        cores_count=processor.cores_count,
        threads_count=processor.threads_count,
        usable_threads_count=processor.threads_count,
        performance_cores_count=processor.performance_cores_count,
        efficiency_cores_count=processor.efficiency_cores_count,
        instruction_sets=processor.instruction_sets,
        l1d_bytes=processor.l1d_bytes,
        l2_bytes=processor.l2_bytes,
        l3_bytes=processor.l3_bytes,
        memory_total_bytes=processor.memory_bytes,
        memory_available_bytes=psutil.virtual_memory().available,
        on_battery=None if battery is None else not battery.power_plugged,
        platform_note="this Python runs under Rosetta; install an arm64 Python" if processor.translated else None,
    )


def windows_host(inventory: windows.Inventory) -> Host:
    """A Windows computer's host."""
    return Host(
        os="Windows",
        os_version=inventory.os_version,
        machine=platform.machine(),
        cpu_vendor=inventory.cpu_vendor,
        cpu_name=inventory.cpu_name,
        sockets_count=inventory.sockets_count,
        cores_count=inventory.cores_count,
        threads_count=inventory.threads_count,
        usable_threads_count=usable_threads(len(usable_cores()), None),
        l2_bytes=inventory.l2_bytes,
        l3_bytes=inventory.l3_bytes,
        memory_channels_count=inventory.memory_channels_count,
        memory_transfers_per_s=inventory.memory_transfers_per_s,
        memory_total_bytes=inventory.memory_total_bytes,
        memory_available_bytes=inventory.memory_available_bytes,
        on_battery=inventory.on_battery,
        virtualization=inventory.virtualization,
    )


def portable_host() -> Host:
    """What Python and psutil know on any system, for the ones above that fail and for all others."""
    import psutil

    memory = psutil.virtual_memory()
    return Host(
        os="macOS" if platform.system() == "Darwin" else platform.system(),
        os_version=platform.release(),
        machine=platform.machine(),
        cpu_name=platform.processor() or None,
        cores_count=psutil.cpu_count(logical=False),
        threads_count=os.cpu_count(),
        usable_threads_count=usable_threads(len(usable_cores()), None),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
    )
