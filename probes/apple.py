"""Macs: ``sysctl`` for the processor and memory, ``system_profiler`` for the GPU."""

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probes.base import one_line
from probes.errors import ProbeError
from probes.tools import run_tool
from probes.types import Device

_MIB = 1024**2
_GIB = 1024**3
_FEATURES = {
    "hw.optional.neon": "NEON", "hw.optional.arm.AdvSIMD": "NEON", "hw.optional.arm.FEAT_FP16": "FP16",
    "hw.optional.arm.FEAT_DotProd": "DOTPROD", "hw.optional.arm.FEAT_I8MM": "I8MM",
    "hw.optional.arm.FEAT_BF16": "BF16", "hw.optional.arm.FEAT_SME": "SME", "hw.optional.arm.FEAT_SME2": "SME2",
    "hw.optional.avx1_0": "AVX", "hw.optional.avx2_0": "AVX2", "hw.optional.fma": "FMA", "hw.optional.f16c": "F16C",
    "hw.optional.avx512f": "AVX-512F", "hw.optional.avx512vnni": "AVX-512VNNI",
}  # fmt: skip
#: From this macOS on the GPU's share of memory grows with it, in percent from so many GiB on. llama.cpp logged
#: recommendedMaxWorkingSetSize: 12713 MB of 16 GiB, 19070 of 24, 26801 of 32, 30151 of 36, 40201 of 48, 55663 of 64,
#: 115449 of 128; larger memories get no less.
_MACOS_OF_SHARES = 26
_WIRED_PERCENTS = ((128, 84), (64, 81), (32, 78), (16, 74))
_VRAM = re.compile(r"^(\d+(?:\.\d+)?) (MB|GB)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """What ``sysctl`` says of the processor and the memory."""

    name: str | None = None
    cores_count: int | None = None
    threads_count: int | None = None
    performance_cores_count: int | None = None
    efficiency_cores_count: int | None = None
    instruction_sets: tuple[str, ...] = ()
    l1d_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    memory_bytes: int | None = None
    gpu_wired_limit_bytes: int | None = None
    translated: bool = False  # an x86 Python under Rosetta measures the translator


def read_processor() -> Processor:
    """The processor.

    Raises:
        ProbeError: if ``sysctl`` cannot be run.
    """
    return parse_sysctl(run_tool(["sysctl", "hw", "machdep.cpu", "iogpu", "sysctl.proc_translated"]))


def parse_sysctl(text: str) -> Processor:
    """Read ``sysctl hw machdep.cpu iogpu``, of Apple silicon or Intel."""
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def number(key: str) -> int | None:
        word = values.get(key, "").strip()
        return int(word) if word.isdecimal() else None

    levels = number("hw.nperflevels") or (2 if "hw.perflevel1.physicalcpu" in values else 1)
    limit_mib = number("iogpu.wired_limit_mb") or number("debug.iogpu.wired_limit_mb")
    return Processor(
        name=values.get("machdep.cpu.brand_string"),
        cores_count=number("hw.physicalcpu"),
        threads_count=number("hw.logicalcpu"),
        performance_cores_count=number("hw.perflevel0.physicalcpu") if levels > 1 else None,
        efficiency_cores_count=number("hw.perflevel1.physicalcpu") if levels > 1 else None,
        instruction_sets=tuple(
            dict.fromkeys(name for key, name in _FEATURES.items() if values.get(key, "").strip() == "1")
        ),
        # the plain keys describe the slow cores of a mixed processor
        l1d_bytes=number("hw.perflevel0.l1dcachesize") or number("hw.l1dcachesize"),
        l2_bytes=_level_bytes(number, "l2cachesize") or number("hw.l2cachesize"),
        l3_bytes=number("hw.l3cachesize"),
        memory_bytes=number("hw.memsize"),
        gpu_wired_limit_bytes=limit_mib * _MIB if limit_mib else None,
        translated=number("sysctl.proc_translated") == 1,
    )


def _level_bytes(number: Any, key: str) -> int | None:
    """All instances of a cache together: each level's size times the clusters that own one."""
    total = 0
    for level in range(2):
        size = number(f"hw.perflevel{level}.{key}")
        cores, sharing = number(f"hw.perflevel{level}.physicalcpu"), number(f"hw.perflevel{level}.cpusperl2")
        if size and cores and sharing:
            total += size * max(1, cores // sharing)
    return total or None


def default_wired_limit_bytes(memory_bytes: int, *, macos_major: int = _MACOS_OF_SHARES) -> int:
    """What macOS lets the GPU wire down unless told otherwise: a share that grows with the memory.

    Before macOS 26 it was two thirds below 36 GiB (10.67 of 16 on macOS 15.6) and three quarters from there on.
    """
    if macos_major < _MACOS_OF_SHARES:
        return memory_bytes * 2 // 3 if memory_bytes < 36 * _GIB else memory_bytes * 3 // 4
    percent = next((percent for least_gib, percent in _WIRED_PERCENTS if memory_bytes >= least_gib * _GIB), None)
    return memory_bytes * percent // 100 if percent is not None else memory_bytes * 2 // 3


def read_devices(processor: Processor) -> tuple[Device, ...]:
    """The GPUs.

    Raises:
        ProbeError: if ``system_profiler`` hangs or cannot be read.
    """
    printed = run_tool(["system_profiler", "-json", "SPDisplaysDataType"])
    return parse_displays(printed, processor, macos_version=platform.mac_ver()[0])


def parse_displays(text: str, processor: Processor, *, macos_version: str = "") -> tuple[Device, ...]:
    """GPUs from ``system_profiler -json SPDisplaysDataType``.

    On Apple silicon the GPU's memory is the wired limit of main memory: what Metal lets it keep resident. Of a macOS
    that does not say its version the older, lower limit is taken.

    Raises:
        ProbeError: if it is not that document.
    """
    try:
        rows = json.loads(text)["SPDisplaysDataType"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ProbeError(
            "system_profiler printed no readable JSON", "system_profiler -json SPDisplaysDataType"
        ) from None
    cards = [row for row in rows if isinstance(row, dict) and row.get("sppci_model")] if isinstance(rows, list) else []
    major = macos_version.partition(".")[0]
    macos_major = int(major) if major.isdecimal() else 0
    return tuple(_device(index, card, processor, macos_major) for index, card in enumerate(cards))


def _device(index: int, card: Mapping[str, Any], processor: Processor, macos_major: int) -> Device:
    name = one_line(str(card["sppci_model"]))
    unified = name.startswith("Apple")
    limit = processor.gpu_wired_limit_bytes
    if unified and limit is None and processor.memory_bytes:
        limit = default_wired_limit_bytes(processor.memory_bytes, macos_major=macos_major)
    facts = {
        "cores": card.get("sppci_cores"),
        "metal": card.get("spdisplays_mtlgpufamilysupport") or card.get("spdisplays_metal"),
        "wired_limit": "set by iogpu.wired_limit_mb" if processor.gpu_wired_limit_bytes else None,
    }
    vendor = str(card.get("spdisplays_vendor", "")).removeprefix("sppci_vendor_")
    return Device(
        device_id=f"metal:{index}",
        kind="metal",
        vendor="AMD" if vendor.lower() == "amd" else vendor or None,
        name=name,
        memory_total_bytes=limit if unified else _vram_bytes(card),
        unified=unified or "spdisplays_vram_shared" in card,
        properties={key: one_line(str(value)) for key, value in facts.items() if value},
    )


def _vram_bytes(card: Mapping[str, Any]) -> int | None:
    match = _VRAM.match(str(card.get("spdisplays_vram") or card.get("spdisplays_vram_shared") or ""))
    return round(float(match.group(1)) * {"MB": _MIB, "GB": _GIB}[match.group(2)]) if match else None
