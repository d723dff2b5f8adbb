"""Intel GPUs, from the kernel's ``xe`` and ``i915`` drivers."""

from pathlib import Path

from probes import linux, pci
from probes.types import Device

XPU_FIX = "install Intel's compute runtime: https://dgpu-docs.intel.com/driver/client/overview.html"
_INTEGRATED_SLOT = "0000:00:02.0"  # Intel's integrated graphics always sit here


def read_devices(root: Path = Path("/")) -> tuple[Device, ...]:
    """GPUs with a driver, by bus address. Integrated ones share main memory."""
    cards = [card for card in pci.read_devices(root) if card.vendor_id == pci.INTEL and card.is_gpu and card.driver]
    if not cards:
        return ()
    names = pci.listed_names()
    return tuple(_device(index, card, names.get(card.address)) for index, card in enumerate(cards))


def _device(index: int, card: pci.PciDevice, name: str | None) -> Device:
    folder = card.folder or Path()
    unified = card.address == _INTEGRATED_SLOT
    return Device(
        device_id=f"xpu:{index}",
        kind="xpu",
        vendor="Intel",
        name=name or f"Intel GPU {card.vendor_id:04x}:{card.device_id:04x}",
        memory_total_bytes=None if unified else _local_memory_bytes(folder),
        unified=unified,
        driver=card.driver,
        properties={"pci_address": card.address, **({} if unified else pci.link_properties(folder))},
    )


def _local_memory_bytes(folder: Path) -> int | None:
    """What the drivers publish: ``xe`` per tile, Intel's own build of ``i915`` per card; the kernel's nothing."""
    sizes = [
        _number(linux.read_text(path) or "")
        for pattern in ("tile*/physical_vram_size_bytes", "drm/card*/lmem_total_bytes")
        for path in linux.glob(folder, pattern)
    ]
    return sum(sizes) or None


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0
