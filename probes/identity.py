"""What identifies a machine: a hash that stays the same over its scans and changes with its hardware."""

import hashlib
import json
from collections.abc import Sequence

from probes.types import Device, Host

_MEMORY_GRAIN_BYTES = 1 << 29  # kernels and firmware keep a varying few hundred MiB for themselves


def profile_id(host: Host, devices: Sequence[Device]) -> str:
    """Twelve hexadecimal digits over processor, cores, memory to half a GiB, and accelerators."""
    facts = {
        "machine": host.machine,
        "cpu": host.cpu_name,
        "cores": host.cores_count,
        "threads": host.threads_count,
        "memory": _rounded(host.memory_total_bytes),
        "devices": sorted(
            (device.kind, device.name, _rounded(device.memory_total_bytes)) for device in _accelerators(devices)
        ),
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _accelerators(devices: Sequence[Device]) -> list[Device]:
    return [device for device in devices if device.kind != "cpu"]


def _rounded(size_bytes: int | None) -> int:
    return round((size_bytes or 0) / _MEMORY_GRAIN_BYTES)
