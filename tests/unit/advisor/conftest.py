"""Machines with known rates, so that predictions can be checked by hand; a file for weights that nobody reads."""

from pathlib import Path

import pytest

from advisor.machine import Machine, MachineDevice
from advisor.types import Basis, Rates
from catalog.load import Catalog, load_catalog
from catalog.units import GIB


def make_rates(device_id: str = "cpu", *, bandwidth: float = 50e9, flop_per_s: float = 500e9) -> Rates:
    return Rates(
        device_id=device_id,
        backend=device_id.partition(":")[0],
        basis=Basis.CALIBRATED,
        decode_s_per_byte={"*": 1.25 / bandwidth, "Q4_K": 1.1 / bandwidth, "Q6_K": 1.2 / bandwidth},
        prefill_s_per_flop={"*": 1.0 / flop_per_s},
        kv_s_per_byte=2.0 / bandwidth,
        attention_s_per_flop=4.0 / flop_per_s,
        decode_s_per_operation=4e-6,
        decode_sigma=0.05,
        prefill_sigma=0.08,
        threads_count=4 if device_id == "cpu" else None,
        memory_bytes_per_s=bandwidth,
        flop_per_s=2 * flop_per_s,
        source="a test",
    )


def make_machine(memory_gib: float = 24, *, gpu_gib: float | None = None) -> Machine:
    devices = []
    if gpu_gib is not None:
        devices.append(
            MachineDevice(
                device_id="cuda:0",
                backend="cuda",
                name="a GPU",
                memory_available_bytes=int(gpu_gib * GIB),
                rates=make_rates("cuda:0", bandwidth=900e9, flop_per_s=60e12),
                vendor="NVIDIA",
            )
        )
    devices.append(
        MachineDevice(
            device_id="cpu",
            backend="cpu",
            name="a CPU",
            memory_available_bytes=int(memory_gib * GIB),
            rates=make_rates(),
        )
    )
    return Machine(name="test machine", profile_id="test", devices=tuple(devices), disk_bytes_per_s=1e9)


@pytest.fixture
def local_file(tmp_path: Path) -> str:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    return str(path)


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="session")
def machine() -> Machine:
    return make_machine()


@pytest.fixture(scope="session")
def gpu_machine() -> Machine:
    return make_machine(64, gpu_gib=24)
