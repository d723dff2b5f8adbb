"""Disk reads that are cold and leave nothing behind; energy counters that wrap, lock or are missing."""

import os
from pathlib import Path

import pytest
from probe_fakes import fake_bench, real_bench
from probe_recordings import write_file

from probes import disk, energy
from probes.base import run_probe
from probes.disk import DISK, DiskReadProbe, memory_filesystem
from probes.energy import CpuEnergyProbe, FileMeter, GpuEnergyProbe, amd_meters, metered, rapl_meters
from probes.errors import ProbeError
from probes.types import Device, ProbeStatus

CPU = Device(device_id="cpu", kind="cpu", properties={"last_level_cache_bytes": str(1 << 20)})

MOUNTS = """proc /proc proc rw 0 0
/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/nvme0n1 /tmp/models ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "in_memory"),
    [
        ("/home/me/.cache", False),
        ("/tmp", True),
        ("/tmp/x", True),
        ("/tmp/models/y", False),
        ("/tmpx", False),
        ("/", False),
    ],
)
def test_a_folder_in_memory_is_told_from_one_on_a_disk(folder: str, in_memory: bool) -> None:
    assert memory_filesystem(Path(folder), MOUNTS) is in_memory


def test_no_list_of_mounts_means_a_disk() -> None:
    assert memory_filesystem(Path("/x"), "") is False
    assert memory_filesystem(Path("/x"), "short\n\n") is False


@pytest.fixture
def on_a_disk(monkeypatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(disk, "memory_filesystem", lambda folder, mounts: False)
    return tmp_path


def test_a_cold_read_is_measured_and_leaves_nothing_behind(on_a_disk: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "_FILE_BYTES", 32 << 20)
    with real_bench(budget_s=0.5) as bench:
        outcome = run_probe(DiskReadProbe(folder=on_a_disk), DISK, bench)
    assert outcome.status == ProbeStatus.OK, outcome.reason
    assert outcome.device_id == "disk"
    assert outcome.measurement is not None
    assert outcome.measurement.work_bytes == 32 << 20
    assert list(on_a_disk.iterdir()) == []


def test_a_disk_that_cannot_be_written_is_one_outcome(on_a_disk: Path) -> None:
    with real_bench() as bench:
        outcome = run_probe(DiskReadProbe(folder=on_a_disk / "missing"), DISK, bench)
    assert outcome.status == ProbeStatus.FAILED
    assert "No such file" in (outcome.reason or "")


def test_a_file_cut_short_is_noticed(on_a_disk: Path) -> None:
    path = on_a_disk / "file"
    path.write_bytes(os.urandom(8192))
    with pytest.raises(ProbeError, match="check the disk"):
        disk._read_cold(path, 9000)


def test_an_interrupted_probe_removes_its_file(on_a_disk: Path, monkeypatch) -> None:
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(disk, "_FILE_BYTES", 32 << 20)
    monkeypatch.setattr(disk, "_read_cold", interrupted)
    with real_bench(budget_s=0.2) as bench, pytest.raises(KeyboardInterrupt):
        run_probe(DiskReadProbe(folder=on_a_disk), DISK, bench)
    assert list(on_a_disk.iterdir()) == []


def test_a_folder_in_memory_is_waived_with_what_to_set(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(disk, "memory_filesystem", lambda folder, mounts: True)
    waiver = DiskReadProbe(folder=tmp_path).waiver(DISK)
    assert waiver is not None
    assert "HF_HOME" in (waiver.fix or "")


def test_a_full_disk_is_waived(monkeypatch, on_a_disk: Path) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage(100, 99, 1))
    waiver = DiskReadProbe(folder=on_a_disk).waiver(DISK)
    assert waiver is not None
    assert "free" in waiver.reason


def test_models_live_where_hf_home_says(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert disk.models_folder() == tmp_path


# Energy ---------------------------------------------------------------------------------------


def _rapl(root: Path, zone: str, name: str, energy_uj: str) -> Path:
    folder = f"sys/class/powercap/{zone}"
    write_file(root, f"{folder}/name", name + "\n")
    write_file(root, f"{folder}/energy_uj", energy_uj + "\n")
    write_file(root, f"{folder}/max_energy_range_uj", "262143328850\n")
    return root / folder / "energy_uj"


def test_packages_are_metered_once_and_their_parts_and_the_platform_not(tmp_path: Path) -> None:
    _rapl(tmp_path, "intel-rapl:0", "package-0", "1000000")
    _rapl(tmp_path, "intel-rapl:1", "package-1", "2000000")
    _rapl(tmp_path, "intel-rapl:0:0", "core", "500000")
    _rapl(tmp_path, "intel-rapl:2", "psys", "9000000")
    meters, locked = rapl_meters(tmp_path)
    assert [meter.read_j() for meter in meters] == [1.0, 2.0]
    assert not locked


def test_joules_are_added_up_per_device_and_a_wrapped_counter_is_unwound(tmp_path: Path) -> None:
    first = _rapl(tmp_path, "intel-rapl:0", "package-0", "262143000000")
    second = _rapl(tmp_path, "intel-rapl:1", "package-1", "5000000")
    meters, _ = rapl_meters(tmp_path)
    with metered(meters) as window:
        first.write_text("671150\n")  # past the end of its range
        second.write_text("7000000\n")
    assert window.joules == {"cpu": pytest.approx(1.0 + 2.0)}


def test_a_counter_that_vanishes_is_an_error_with_its_path(tmp_path: Path) -> None:
    meter = FileMeter(device_id="cpu", path=tmp_path / "energy_uj")
    with pytest.raises(ProbeError, match="can no longer be read"):
        meter.read_j()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_locked_counter_is_waived_with_the_command(tmp_path: Path) -> None:
    _rapl(tmp_path, "intel-rapl:0", "package-0", "1").chmod(0)
    waiver = CpuEnergyProbe(root=tmp_path).waiver(CPU)
    assert waiver is not None
    assert "chmod" in (waiver.fix or "")


def test_a_locked_counter_is_told_from_a_missing_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(energy, "rapl_meters", lambda root: ((), True))
    waiver = CpuEnergyProbe(root=tmp_path).waiver(CPU)
    assert waiver is not None
    assert "root only" in waiver.reason
    monkeypatch.setattr(energy, "rapl_meters", lambda root: ((), False))
    waiver = CpuEnergyProbe(root=tmp_path).waiver(CPU)
    assert waiver is not None
    assert waiver.fix is None


def test_a_mac_says_which_command_shows_its_power(monkeypatch) -> None:
    monkeypatch.setattr(energy.platform, "system", lambda: "Darwin")
    waiver = CpuEnergyProbe().waiver(CPU)
    assert waiver is not None
    assert "powermetrics" in (waiver.fix or "")


class TickingMeter:
    """A counter that grows by ten watts of fake time."""

    device_id = "cpu"
    range_j = None

    def __init__(self, clock, watts: float) -> None:
        self._clock, self._watts = clock, watts

    def read_j(self) -> float:
        return self._clock.now() * self._watts


def test_power_is_energy_over_time(monkeypatch) -> None:
    with fake_bench(budget_s=1.0) as bench:
        monkeypatch.setattr(energy, "rapl_meters", lambda root: ((TickingMeter(bench.clock, 10.0),), False))
        monkeypatch.setattr(bench.team, "run", lambda *_: bench.clock.sleep(0.02))
        monkeypatch.setattr(energy, "prepare", lambda *_: [])
        outcome = run_probe(CpuEnergyProbe(), CPU, bench)
    assert outcome.status == ProbeStatus.OK, outcome.reason
    assert outcome.measurement is not None
    assert outcome.measurement.value == pytest.approx(10.0, rel=0.01)
    assert outcome.measurement.unit == "w"
    assert outcome.measurement.details["idle_w"] == (pytest.approx(10.0, rel=0.01),)


def test_an_amd_gpus_counter_is_found_by_its_bus_address(tmp_path: Path) -> None:
    for name, text in {"vendor": "0x1002", "device": "0x744c", "class": "0x030000"}.items():
        write_file(tmp_path, f"sys/bus/pci/devices/0000:03:00.0/{name}", text)
    write_file(tmp_path, "sys/bus/pci/devices/0000:03:00.0/hwmon/hwmon2/energy1_input", "7000000\n")
    gpu = Device(device_id="rocm:0", kind="rocm", properties={"pci_address": "0000:03:00.0"})
    (meter,) = amd_meters([gpu, CPU], tmp_path)
    assert (meter.device_id, meter.read_j()) == ("rocm:0", 7.0)


def test_a_gpu_without_a_counter_is_waived() -> None:
    waiver = GpuEnergyProbe().waiver(Device(device_id="rocm:0", kind="rocm"))
    assert waiver is not None
    assert "no energy counter" in waiver.reason
