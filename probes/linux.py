"""What Linux tells of the machine: ``/proc`` and ``/sys``, parsed by pure functions.

Every reader takes the root of the file tree, so tests give it recorded ones.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes import arm

_MAX_READ_BYTES = 1 << 22
_KIB = 1024
_SIZE = re.compile(r"^(\d+)([KMG]?)$")

#: Instruction sets that matter to inference, by the flag or feature name the kernel prints.
INSTRUCTION_SETS = {
    "sse4_2": "SSE4.2", "avx": "AVX", "f16c": "F16C", "fma": "FMA", "avx2": "AVX2", "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512F", "avx512bw": "AVX-512BW", "avx512vbmi": "AVX-512VBMI", "avx512_vnni": "AVX-512VNNI",
    "avx512_bf16": "AVX-512BF16", "avx512_fp16": "AVX-512FP16", "amx_tile": "AMX", "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16", "asimd": "NEON", "neon": "NEON", "asimdhp": "FP16", "asimddp": "DOTPROD",
    "i8mm": "I8MM", "bf16": "BF16", "sve": "SVE", "sve2": "SVE2", "sme": "SME", "rvv": "RVV", "vsx": "VSX",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuInfo:
    """What ``/proc/cpuinfo`` says."""

    vendor: str | None = None
    name: str | None = None
    instruction_sets: tuple[str, ...] = ()
    threads_count: int | None = None
    cores_count: int | None = None
    sockets_count: int | None = None
    board: str | None = None
    hypervisor: bool = False


def parse_cpuinfo(text: str) -> CpuInfo:
    """Read ``/proc/cpuinfo`` of x86, ARM, POWER, RISC-V or s390x."""
    blocks = [_fields(block) for block in re.split(r"\n\s*\n", text)]
    processors = [block for block in blocks if "processor" in block]
    merged = {key: value for block in reversed(blocks) for key, value in block.items()}
    flags = set((merged.get("flags") or merged.get("Features") or merged.get("features") or "").split())
    cores = {(block.get("physical id"), block["core id"]) for block in processors if "core id" in block}
    sockets = {block["physical id"] for block in processors if "physical id" in block}
    return CpuInfo(
        vendor=_vendor(merged),
        name=_name(merged, processors),
        instruction_sets=instruction_sets(flags | _riscv_flags(merged.get("isa", ""))),
        threads_count=len(processors) or None,
        cores_count=len(cores) or None,
        sockets_count=len(sockets) or None,
        board=merged.get("Model") or merged.get("machine"),
        hypervisor="hypervisor" in flags,
    )


def instruction_sets(flags: set[str]) -> tuple[str, ...]:
    """The flags that matter to inference, by their usual names, in a fixed order."""
    return tuple(dict.fromkeys(name for flag, name in INSTRUCTION_SETS.items() if flag in flags))


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _vendor(fields: dict[str, str]) -> str | None:
    if "CPU implementer" in fields:
        return arm.vendor(fields["CPU implementer"])
    return fields.get("vendor_id") or fields.get("mvendorid") or None


def _name(fields: dict[str, str], processors: Sequence[dict[str, str]]) -> str | None:
    parts = Counter(
        arm.core_name(block["CPU implementer"], block.get("CPU part", ""))
        for block in processors
        if "CPU implementer" in block
    )
    if parts:
        return " + ".join(f"{count}× {name}" if len(parts) > 1 else name for name, count in parts.items())
    name = fields.get("model name") or fields.get("cpu") or fields.get("uarch") or fields.get("cpu model")
    return re.sub(r"\s+", " ", name).strip() if name else None


def _riscv_flags(isa: str) -> set[str]:
    letters = re.match(r"rv\d+([a-z]+)", isa)
    return {"rvv"} if letters and "v" in letters.group(1) else set()


def parse_meminfo(text: str) -> tuple[int | None, int | None]:
    """Total and available bytes from ``/proc/meminfo``; kernels before 3.14 lack the second: it is estimated."""
    fields = {
        key: int(value.split()[0]) * _KIB
        for key, value in _fields(text).items()
        if value.split()[:1] and value.split()[0].isdecimal()
    }
    available = fields.get("MemAvailable")
    if available is None and "MemFree" in fields:
        available = fields["MemFree"] + fields.get("Cached", 0) + fields.get("Buffers", 0)
    return fields.get("MemTotal"), available


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """A kernel CPU list such as ``0-3,8``."""
    found: list[int] = []
    for part in text.strip().split(","):
        low, _, high = part.partition("-")
        if low.isdecimal() and (high.isdecimal() or not high):
            found += range(int(low), min(int(high or low), int(low) + 8192) + 1)
    return tuple(found)


def parse_size(text: str) -> int | None:
    """A sysfs cache size such as ``32768K``."""
    match = _SIZE.match(text.strip())
    if match is None:
        return None
    return int(match.group(1)) * {"": 1, "K": _KIB, "M": _KIB**2, "G": _KIB**3}[match.group(2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Cores and caches from sysfs."""

    sockets_count: int | None = None
    cores_count: int | None = None
    threads_count: int | None = None
    performance_cores_count: int | None = None
    efficiency_cores_count: int | None = None
    numa_nodes_count: int | None = None
    l1d_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None


def read_topology(root: Path = Path("/")) -> Topology:
    """Cores, sockets, NUMA nodes, fast and slow cores, and caches (all instances of a level together)."""
    system = root / "sys/devices/system"
    cpus = sorted(path for path in glob(system / "cpu", "cpu[0-9]*") if (path / "topology").exists())
    cores = {
        (read_text(cpu / "topology/physical_package_id"), read_text(cpu / "topology/core_id")): cpu
        for cpu in reversed(cpus)
    }
    sockets = {package for package, _ in cores}
    fast, slow = _fast_and_slow(system, list(cores.values()))
    caches = _caches(cpus)
    nodes = parse_cpu_list(read_text(system / "node/online") or "")
    return Topology(
        sockets_count=len(sockets) or None,
        cores_count=len(cores) or None,
        threads_count=len(cpus) or None,
        performance_cores_count=fast,
        efficiency_cores_count=slow,
        numa_nodes_count=len(nodes) or None,
        l1d_bytes=caches.get(("1", "Data")) or caches.get(("1", "Unified")),
        l2_bytes=caches.get(("2", "Unified")),
        l3_bytes=caches.get(("3", "Unified")),
    )


def _fast_and_slow(system: Path, cores: Sequence[Path]) -> tuple[int | None, int | None]:
    """Intel lists both kinds; elsewhere the scheduler's capacity tells big cores from little ones."""
    numbers = {int(path.name.removeprefix("cpu")) for path in cores}
    fast = set(parse_cpu_list(read_text(system.parent / "cpu_core/cpus") or ""))
    slow = set(parse_cpu_list(read_text(system.parent / "cpu_atom/cpus") or ""))
    if fast and slow:
        return len(fast & numbers), len(slow & numbers)
    capacities = [int(text) for path in cores if (text := read_text(path / "cpu_capacity") or "").isdecimal()]
    if len(set(capacities)) < 2:
        return None, None
    middle = (max(capacities) + min(capacities)) / 2
    return sum(value >= middle for value in capacities), sum(value < middle for value in capacities)


def _caches(cpus: Sequence[Path]) -> dict[tuple[str, str], int]:
    seen: dict[tuple[str, str, str], int] = {}
    for cpu in cpus:
        for index in glob(cpu / "cache", "index[0-9]*"):
            size = parse_size(read_text(index / "size") or "")
            level, kind = read_text(index / "level") or "", read_text(index / "type") or ""
            if size:
                seen[level, kind, read_text(index / "shared_cpu_list") or cpu.name] = size
    totals: dict[tuple[str, str], int] = {}
    for (level, kind, _), size in seen.items():
        totals[level, kind] = totals.get((level, kind), 0) + size
    return totals


def read_text(path: Path) -> str | None:
    """A small file's stripped text, or None where it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_READ_BYTES).strip().strip("\0")
    except OSError:
        return None


def glob(folder: Path, pattern: str) -> list[Path]:
    """Matching paths in order; none where the folder cannot be read."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """How the processor is allowed to clock."""

    governor: str | None = None
    turbo_enabled: bool | None = None
    on_battery: bool | None = None


def read_power(root: Path = Path("/")) -> Power:
    """Frequency governor, turbo and whether the machine runs on its battery."""
    cpu = root / "sys/devices/system/cpu"
    no_turbo = read_text(cpu / "intel_pstate/no_turbo")
    boost = read_text(cpu / "cpufreq/boost")
    turbo = no_turbo == "0" if no_turbo in ("0", "1") else boost == "1" if boost in ("0", "1") else None
    return Power(
        governor=read_text(cpu / "cpu0/cpufreq/scaling_governor"), turbo_enabled=turbo, on_battery=_on_battery(root)
    )


def _on_battery(root: Path) -> bool | None:
    supplies = glob(root / "sys/class/power_supply", "*")
    mains = [read_text(path / "online") for path in supplies if read_text(path / "type") in ("Mains", "USB")]
    if any(online == "1" for online in mains):
        return False
    states = [read_text(path / "status") for path in supplies if read_text(path / "type") == "Battery"]
    if "Discharging" in states:
        return True
    return False if mains or states else None


_HYPERVISORS = (
    ("Amazon EC2", "Amazon EC2"),
    ("Google", "Google Compute Engine"),
    ("Microsoft Corporation Virtual Machine", "Hyper-V"),
    ("VMware", "VMware"),
    ("VirtualBox", "VirtualBox"),
    ("innotek", "VirtualBox"),
    ("QEMU", "QEMU/KVM"),
    ("KVM", "KVM"),
    ("Xen", "Xen"),
    ("Parallels", "Parallels"),
)


def read_virtualization(root: Path = Path("/"), *, hypervisor: bool = False) -> str | None:
    """The hypervisor's name, ``virtual machine`` where only the CPU flag tells, or None on bare metal."""
    dmi = root / "sys/class/dmi/id"
    texts = [read_text(dmi / name) or "" for name in ("sys_vendor", "product_name")]
    described = " ".join(texts).strip()
    for word, name in _HYPERVISORS:
        # bare-metal instances carry the same vendor; only the processor's flag tells them apart
        if word in described and (hypervisor or word in ("VMware", "VirtualBox", "innotek", "QEMU", "KVM")):
            return name
    kind = read_text(root / "sys/hypervisor/type")
    if kind and kind != "none":
        return kind
    return "virtual machine" if hypervisor else None


def read_platform_note(root: Path = Path("/")) -> str | None:
    """What kind of Linux this is, where it changes what can be expected: WSL, a container, a known board."""
    notes = []
    release = (read_text(root / "proc/version") or "").lower()
    if "microsoft" in release:
        notes.append("WSL2" if "wsl2" in release else "WSL")
    board = read_text(root / "proc/device-tree/model") or read_text(root / "sys/firmware/devicetree/base/model")
    if board:
        notes.append(board)
    if (root / "etc/nv_tegra_release").exists() and "jetson" not in (board or "").lower():
        notes.append("Jetson")
    if _in_container(root):
        notes.append("container")
    return ", ".join(notes) or None


def _in_container(root: Path) -> bool:
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return True
    group = read_text(root / "proc/1/cgroup") or ""
    return any(word in group for word in ("docker", "kubepods", "containerd", "libpod", "lxc"))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModules:
    """Main memory's channels and speed, where the firmware's table may be read."""

    channels_count: int | None = None
    transfers_per_s: float | None = None


def read_memory_modules(root: Path = Path("/")) -> MemoryModules:
    """From the firmware's memory table, which the kernel shows to root only."""
    try:
        entries = sorted((root / "sys/firmware/dmi/entries").glob("17-*/raw"))
        return parse_memory_devices([path.read_bytes()[:256] for path in entries])
    except OSError:
        return MemoryModules()


def parse_memory_devices(records: Sequence[bytes]) -> MemoryModules:
    """Read SMBIOS "memory device" structures (type 17; DMTF DSP0134, section 7.18)."""
    locators, speeds = set(), []
    for record in records:
        if len(record) < _DEVICE_SPEED_END or int.from_bytes(record[0x0C:0x0E], "little") == 0:
            continue  # cut short, or an empty slot
        strings = record[record[1] :].split(b"\0")
        named = [
            strings[index - 1].decode("ascii", "replace") for index in record[0x10:0x12] if 0 < index <= len(strings)
        ]
        locators.add(_channel(" ".join(reversed(named))))
        configured = int.from_bytes(record[0x20:0x22], "little") if len(record) >= 0x22 else 0
        speeds.append(configured or int.from_bytes(record[0x15:0x17], "little"))
    known = [speed for speed in speeds if 0 < speed < 0xFFFF]
    channels = locators - {None}
    return MemoryModules(channels_count=len(channels) or None, transfers_per_s=max(known) * 1e6 if known else None)


_DEVICE_SPEED_END = 0x17


def _channel(locator: str) -> str | None:
    """The part of a slot's name that tells its channel: ``P0 CHANNEL A``, ``Controller0-ChannelB-DIMM1``."""
    match = re.search(r"^(.*?channel[ _-]?[a-z0-9])", locator, re.IGNORECASE)
    return match.group(1).lower() if match else None
