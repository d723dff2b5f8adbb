"""What the memory of a machine that is not here leaves to models."""

import pytest

from advisor.machines import from_hardware
from catalog.units import GIB


@pytest.mark.parametrize(
    ("hardware", "device_id", "available_gib"),
    [
        ("dgx spark", "cuda:0", 112.0),  # 115.8 GiB were seen free on one, 102 GiB on another
        ("ryzen ai max+ 395", "rocm:0", 112.0),  # Windows gives 111.9 GiB
        ("ryzen ai max+ 395+64GiB", "rocm:0", 56.0),
        ("jetson orin nano super", "cuda:0", 4.0),
        ("m4 max 64GiB", "metal:0", 48.0),  # the system's own limit
        ("rtx 4090", "cuda:0", 24.0),
    ],
)
def test_shared_memory_is_not_all_for_models(catalog, hardware, device_id, available_gib):
    free = from_hardware(catalog.hardware(hardware), catalog).available_bytes()
    assert free[device_id] == pytest.approx(available_gib * GIB, rel=1e-3)


def test_more_shared_memory_leaves_more_to_models(catalog):
    machines = (f"ryzen ai max+ 395+{size}GiB" for size in (16, 24, 32, 48, 64, 96, 128))
    free = [from_hardware(catalog.hardware(text), catalog).available_bytes()["rocm:0"] for text in machines]
    assert free == sorted(free)
    assert free[0] > 0
