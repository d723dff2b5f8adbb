"""AMD GPUs: from the kernel's ``amdgpu`` driver, else from ``amd-smi`` or ``rocm-smi``."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes import linux, pci
from probes.base import one_line
from probes.errors import ProbeError
from probes.tools import ToolMissingError, run_tool
from probes.types import Device

_MIB = 1024**2
#: processors with graphics, whose VRAM is a slice of main memory (LLVM's AMDGPU target table)
_APU_TARGETS = frozenset({"gfx902", "gfx909", "gfx90c", "gfx1013", "gfx1033", "gfx1035", "gfx1036", "gfx1037",
                          "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153"})  # fmt: skip
_MI300A = 0x74A0
ROCM_FIX = "install ROCm: https://rocm.docs.amd.com (Ubuntu: sudo apt install rocm)"
_IDS_FILES = ("usr/share/libdrm/amdgpu.ids", "opt/amdgpu/share/libdrm/amdgpu.ids")
_UNITS = {"MB": _MIB, "MiB": _MIB, "GB": 1024 * _MIB, "GiB": 1024 * _MIB, "B": 1}  # amd-smi's MB are MiB


def read_devices(root: Path = Path("/")) -> tuple[Device, ...]:
    """The GPUs, from sysfs or, where that shows none, from AMD's tools.

    Raises:
        ProbeError: if a tool is there but cannot be read.
    """
    found = read_sysfs(root)
    if found:
        return found
    try:
        return parse_amd_smi(run_tool(["amd-smi", "static", "--json"]))
    except ToolMissingError:
        return parse_rocm_smi(
            run_tool(
                [
                    "rocm-smi",
                    "--showproductname",
                    "--showmeminfo",
                    "vram",
                    "--showdriverversion",
                    "--showbus",
                    "--json",
                ],
                fix=ROCM_FIX,
            )
        )


def read_sysfs(root: Path = Path("/")) -> tuple[Device, ...]:
    """GPUs the ``amdgpu`` driver serves, in the order of their bus addresses (as ROCm numbers them)."""
    cards = [card for card in pci.read_devices(root) if card.vendor_id == pci.AMD and card.is_gpu]
    ids = parse_ids("\n".join(linux.read_text(root / name) or "" for name in _IDS_FILES))
    nodes = read_kfd_nodes(root)
    driver = linux.read_text(root / "sys/module/amdgpu/version")
    known = all((card.device_id, _revision(card)) in ids for card in cards)
    listed = {} if known else pci.listed_names()
    served = [card for card in cards if card.folder and _memory(card.folder, "vram", "total") is not None]
    return tuple(_sysfs_device(index, card, ids, nodes, listed, driver) for index, card in enumerate(served))


def _sysfs_device(
    index: int,
    card: pci.PciDevice,
    ids: Mapping[tuple[int, int], str],
    nodes: Mapping[str, Mapping[str, int]],
    listed: Mapping[str, str],
    driver: str | None,
) -> Device:
    folder = card.folder or Path()
    node = nodes.get(card.address, {})
    gfx = _gfx(node.get("gfx_target_version", 0))
    unified = gfx in _APU_TARGETS or card.device_id == _MI300A or node.get("cpu_cores_count", 0) > 0
    shared = _memory(folder, "gtt", "total") if unified else None
    pool = _pool(folder, shared)
    total, used = _memory(folder, pool, "total"), _memory(folder, pool, "used")
    name = linux.read_text(folder / "product_name") or ids.get((card.device_id, _revision(card)))
    name = name or listed.get(card.address)
    facts = {
        "pci_address": card.address,
        "gfx": gfx,
        "compute_units": str(node["simd_count"] // max(1, node.get("simd_per_cu", 2)))
        if node.get("simd_count")
        else None,
        "core_clock_hz": str(node["max_engine_clk_fcompute"] * 1_000_000)
        if node.get("max_engine_clk_fcompute")
        else None,
        "power_limit_w": _power_limit_w(folder),
        "gtt_bytes": str(shared) if shared else None,
        "memory_pool": pool if shared else None,
        **pci.link_properties(folder),
    }
    return Device(
        device_id=f"rocm:{index}",
        kind="rocm",
        vendor="AMD",
        name=one_line(name or f"AMD GPU {card.vendor_id:04x}:{card.device_id:04x}"),
        memory_total_bytes=total,
        memory_free_bytes=max(0, total - used) if total is not None and used is not None else None,
        unified=unified,
        driver=driver,
        properties={key: value for key, value in facts.items() if value},
    )


def _pool(folder: Path, shared_bytes: int | None) -> str:
    """What ROCm allocates from: in a processor the larger of its graphics' slice and what they may map of the rest.

    Linux 6.10 and newer prefer mapped memory (``apu_prefer_gtt``); HIP then reports its size and not the slice's, 110
    GiB beside 0.5 (ROCm/rocm-systems pull request 8475). With the larger slice it takes nothing but that: 39 GiB of
    48, where Vulkan took 80 of both (ROCm/legacy-rocm-build issue 6050).
    """
    return "gtt" if (shared_bytes or 0) > (_memory(folder, "vram", "total") or 0) else "vram"


def _memory(folder: Path, pool: str, what: str) -> int | None:
    text = linux.read_text(folder / f"mem_info_{pool}_{what}") or ""
    return int(text) if text.isdecimal() else None


def _revision(card: pci.PciDevice) -> int:
    text = linux.read_text((card.folder or Path()) / "revision") or "0"
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _power_limit_w(folder: Path) -> str | None:
    for hwmon in linux.glob(folder / "hwmon", "hwmon*"):
        text = linux.read_text(hwmon / "power1_cap") or ""
        if text.isdecimal():
            return f"{int(text) / 1e6:.0f}"
    return None


def _gfx(version: int) -> str | None:
    """KFD writes 9.4.2 as 90402; the compiler calls it gfx942, with the last digit in hexadecimal."""
    if version <= 0:
        return None
    major, minor, step = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor}{step:x}"


def parse_ids(text: str) -> dict[tuple[int, int], str]:
    """Libdrm's table of product names by device and revision."""
    names = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",", 2)]
        if len(fields) == 3 and not line.startswith("#"):
            try:
                names[int(fields[0], 16), int(fields[1], 16)] = fields[2]
            except ValueError:
                continue
    return names


def parse_kfd_properties(text: str) -> dict[str, int]:
    """A node of the kernel's compute topology: one name and number a line."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def read_kfd_nodes(root: Path = Path("/")) -> dict[str, dict[str, int]]:
    """Compute nodes with shader cores, by PCI address."""
    nodes = {}
    for folder in linux.glob(root / "sys/class/kfd/kfd/topology/nodes", "*"):
        node = parse_kfd_properties(linux.read_text(folder / "properties") or "")
        if node.get("simd_count"):
            location, domain = node.get("location_id", 0), node.get("domain", 0)
            address = f"{domain:04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"
            nodes[address] = node
    return nodes


def parse_amd_smi(text: str) -> tuple[Device, ...]:
    """GPUs from ``amd-smi static --json``.

    Raises:
        ProbeError: if it is not that document.
    """
    document = _json(text, "amd-smi")
    rows = document.get("gpu_data", []) if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ProbeError("amd-smi printed an unknown document", "amd-smi static --json")
    return tuple(_amd_smi_device(index, row) for index, row in enumerate(rows))


def _amd_smi_device(index: int, row: Mapping[str, Any]) -> Device:
    asic, vram, bus, driver = (_section(row, name) for name in ("asic", "vram", "bus", "driver"))
    size = vram.get("size")
    facts = {
        "pci_address": bus.get("bdf"),
        "gfx": asic.get("target_graphics_version"),
        "compute_units": asic.get("num_compute_units"),
        "memory": vram.get("type"),
    }
    return Device(
        device_id=f"rocm:{index}",
        kind="rocm",
        vendor="AMD",
        name=_word(asic.get("market_name")) or f"AMD GPU {asic.get('device_id', '?')}",
        memory_total_bytes=_amount(size),
        driver=_word(driver.get("version") or driver.get("driver_version")),
        properties={key: word for key, value in facts.items() if (word := _word(value))},
    )


def _section(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def _amount(value: object) -> int | None:
    if isinstance(value, str):
        number, _, unit = value.partition(" ")
        value = {"value": number, "unit": unit}
    if not isinstance(value, dict):
        return None
    try:
        return round(float(value["value"]) * _UNITS[str(value["unit"])])
    except (KeyError, ValueError, TypeError):
        return None


def _word(value: object) -> str | None:
    text = one_line(str(value)) if value is not None else ""
    return None if text in ("", "N/A", "?") else text


def parse_rocm_smi(text: str) -> tuple[Device, ...]:
    """GPUs from ``rocm-smi --json``, whose keys changed their case over the years.

    Raises:
        ProbeError: if it is not that document.
    """
    document = _json(text, "rocm-smi")
    if not isinstance(document, dict):
        raise ProbeError("rocm-smi printed an unknown document", "rocm-smi --json")
    system = {str(key).lower(): value for key, value in _section(document, "system").items()}
    cards = sorted(
        (int(match.group(1)), row) for key, row in document.items() if (match := re.match(r"card(\d+)$", key))
    )
    return tuple(
        _rocm_smi_device(index, row, _word(system.get("driver version")))
        for index, row in cards
        if isinstance(row, dict)
    )


def _rocm_smi_device(index: int, row: Mapping[str, Any], driver: str | None) -> Device:
    fields = {str(key).lower(): value for key, value in row.items()}
    total, used = (_count(fields.get(f"vram total {kind}memory (b)")) for kind in ("", "used "))
    name = _word(fields.get("device name")) or _word(fields.get("card series")) or _word(fields.get("card model"))
    facts = {
        "pci_address": str(fields.get("pci bus", "")).lower(),
        "gfx": fields.get("gfx version"),
        "power_limit_w": fields.get("max graphics package power (w)"),
    }
    return Device(
        device_id=f"rocm:{index}",
        kind="rocm",
        vendor="AMD",
        name=pci.product_name(name) if name else f"AMD GPU {fields.get('device id', '?')}",
        memory_total_bytes=total,
        memory_free_bytes=total - used if total is not None and used is not None else None,
        driver=driver,
        properties={key: word for key, value in facts.items() if (word := _word(value))},
    )


def _count(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() else None


def _json(text: str, tool: str) -> Any:
    lines = text.splitlines()
    # both tools may print warnings before the document
    start = next((index for index, line in enumerate(lines) if line.lstrip()[:1] in ("{", "[")), 0)
    try:
        return json.loads("\n".join(lines[start:]))
    except (ValueError, RecursionError):
        raise ProbeError(f"{tool} printed no readable JSON", f"{tool} --json") from None
