"""Linux: recorded ``/proc`` and ``/sys`` of real machines, of control groups, and of none."""

import struct
from pathlib import Path

import pytest
from probe_recordings import recorded, write_file, write_tree

from probes import cgroup, linux
from probes.counters import total_throttled_s
from probes.host import read_linux_host, usable_threads
from probes.machine import read_linux_machine

GIB = 1 << 30


@pytest.mark.parametrize(
    ("name", "vendor", "cpu_name", "threads_count", "sets"),
    [
        ("raspberry_pi_5", "ARM", "Cortex-A76", 4, {"NEON", "FP16", "DOTPROD"}),
        ("jetson_nano", "ARM", "Cortex-A57", 4, {"NEON"}),
        ("jetson_tx2", "ARM", "3× Cortex-A57 + 2× NVIDIA part 0x003", 5, {"NEON"}),
        ("odroid_xu3", "ARM", "4× Cortex-A7 + 4× Cortex-A15", 8, {"NEON"}),
        ("ryzen_7_2700x", "AuthenticAMD", "AMD Ryzen 7 2700X Eight-Core Processor", 1, {"AVX2", "AVX", "SSE4.2"}),
        ("core_i7_8565u", "GenuineIntel", "Intel(R) Core(TM) i7-8565U CPU @ 1.80GHz", 1, {"AVX2", "FMA", "F16C"}),
        ("xeon_8370c_vm", "GenuineIntel", "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz", 1, {"AVX-512VNNI"}),
        ("sifive_u74", None, "sifive,u74-mc", 4, set()),
        ("power7", None, "POWER7 (raw), altivec supported", 2, set()),
        ("epyc_zen5_vm", "AuthenticAMD", "AMD EPYC", 2, {"AVX-512BF16", "AVX-VNNI", "AVX-512VNNI"}),
    ],
)
def test_cpuinfo_of_real_machines(name: str, vendor: str, cpu_name: str, threads_count: int, sets: set[str]) -> None:
    info = linux.parse_cpuinfo(recorded(f"cpuinfo/{name}.txt"))
    assert info.vendor == vendor
    assert info.name == cpu_name
    assert info.threads_count == threads_count
    assert sets <= set(info.instruction_sets)
    if not sets:
        assert info.instruction_sets == ()


def test_an_older_processor_does_not_get_newer_instruction_sets() -> None:
    sets = set(linux.parse_cpuinfo(recorded("cpuinfo/ryzen_7_2700x.txt")).instruction_sets)
    assert not {name for name in sets if name.startswith(("AVX-512", "AMX"))}


def test_the_hypervisor_flag_and_the_board_are_kept() -> None:
    assert linux.parse_cpuinfo(recorded("cpuinfo/xeon_8370c_vm.txt")).hypervisor
    assert not linux.parse_cpuinfo(recorded("cpuinfo/core_i7_8565u.txt")).hypervisor
    assert linux.parse_cpuinfo(recorded("cpuinfo/raspberry_pi_5.txt")).board == "Raspberry Pi 5 Model B Rev 1.0"


def test_amx_and_sve_are_named() -> None:
    assert linux.instruction_sets({"amx_tile", "amx_int8", "sve2", "i8mm"}) == ("AMX", "AMX-INT8", "I8MM", "SVE2")


@pytest.mark.parametrize("text", ["", "garbage", ":::\n:", "processor\t:\nCPU implementer\t: what\n", "\0\0\xff"])
def test_an_unreadable_cpuinfo_is_unknown_not_an_error(text: str) -> None:
    assert linux.parse_cpuinfo(text).instruction_sets == ()


def test_meminfo_of_real_machines() -> None:
    assert linux.parse_meminfo(recorded("meminfo/ubuntu_4gib.txt")) == (3997272 * 1024, 3386876 * 1024)
    total, available = linux.parse_meminfo(recorded("meminfo/epyc_zen5_vm.txt"))
    assert total == 24684092 * 1024
    assert 0 < (available or 0) <= total


def test_an_old_kernel_without_the_available_figure_gets_an_estimate() -> None:
    text = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 20 kB\nCached: 300 kB\n"
    assert linux.parse_meminfo(text) == (1000 * 1024, 420 * 1024)
    assert linux.parse_meminfo("MemTotal: lots\n") == (None, None)


@pytest.mark.parametrize(
    ("text", "expected"), [("0-3,8", (0, 1, 2, 3, 8)), ("0", (0,)), ("", ()), ("x", ()), ("0-999999999", None)]
)
def test_cpu_lists(text: str, expected: tuple[int, ...] | None) -> None:
    found = linux.parse_cpu_list(text)
    assert len(found) < 10_000 if expected is None else found == expected


@pytest.mark.parametrize(
    ("text", "size"), [("32768K", 32 << 20), ("1M", 1 << 20), ("48", 48), ("big", None), ("", None)]
)
def test_cache_sizes(text: str, size: int | None) -> None:
    assert linux.parse_size(text) == size


def _hybrid_desktop(root: Path) -> None:
    """Two fast cores with two threads each and four slow ones, as sysfs shows an Alder Lake."""
    core_of = {0: 0, 1: 0, 2: 4, 3: 4, 4: 8, 5: 9, 6: 10, 7: 11}
    for cpu, core in core_of.items():
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        write_file(root, f"{folder}/topology/physical_package_id", "0\n")
        write_file(root, f"{folder}/topology/core_id", f"{core}\n")
        shared = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}" if cpu < 4 else "4-7"
        caches = [
            ("1", "Data", "48K", shared if cpu < 4 else str(cpu)),
            ("2", "Unified", "1280K", shared),
            ("3", "Unified", "12288K", "0-7"),
        ]
        for index, (level, kind, size, who) in enumerate(caches):
            for name, text in (("level", level), ("type", kind), ("size", size), ("shared_cpu_list", who)):
                write_file(root, f"{folder}/cache/index{index}/{name}", text + "\n")
    write_file(root, "sys/devices/cpu_core/cpus", "0-3\n")
    write_file(root, "sys/devices/cpu_atom/cpus", "4-7\n")
    write_file(root, "sys/devices/system/node/online", "0\n")


def test_a_hybrid_desktop_shows_both_kinds_of_cores_and_every_cache_once(tmp_path: Path) -> None:
    _hybrid_desktop(tmp_path)
    found = linux.read_topology(tmp_path)
    assert (found.sockets_count, found.cores_count, found.threads_count) == (1, 6, 8)
    assert (found.performance_cores_count, found.efficiency_cores_count) == (2, 4)
    assert found.numa_nodes_count == 1
    assert found.l1d_bytes == 6 * 48 << 10
    assert found.l2_bytes == 3 * 1280 << 10
    assert found.l3_bytes == 12288 << 10


def test_capacities_tell_big_from_little(tmp_path: Path) -> None:
    for cpu, capacity in enumerate((446, 446, 1024, 1024, 871)):
        write_file(tmp_path, f"sys/devices/system/cpu/cpu{cpu}/topology/core_id", f"{cpu}\n")
        write_file(tmp_path, f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity", f"{capacity}\n")
    found = linux.read_topology(tmp_path)
    assert (found.performance_cores_count, found.efficiency_cores_count) == (3, 2)


def test_two_sockets_and_their_nodes(tmp_path: Path) -> None:
    for cpu in range(4):
        write_file(tmp_path, f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id", f"{cpu // 2}\n")
        write_file(tmp_path, f"sys/devices/system/cpu/cpu{cpu}/topology/core_id", f"{cpu % 2}\n")
    write_file(tmp_path, "sys/devices/system/node/online", "0-1\n")
    found = linux.read_topology(tmp_path)
    assert (found.sockets_count, found.cores_count, found.numa_nodes_count) == (2, 4, 2)


def test_no_sys_at_all_is_all_unknown(tmp_path: Path) -> None:
    assert linux.read_topology(tmp_path) == linux.Topology()
    assert linux.read_power(tmp_path) == linux.Power()
    assert linux.read_memory_modules(tmp_path) == linux.MemoryModules()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu0/cpufreq/scaling_governor": "powersave", "intel_pstate/no_turbo": "0"}, ("powersave", True)),
        ({"cpu0/cpufreq/scaling_governor": "performance", "intel_pstate/no_turbo": "1"}, ("performance", False)),
        ({"cpufreq/boost": "1"}, (None, True)),
        ({"cpufreq/boost": "0"}, (None, False)),
    ],
)
def test_governor_and_turbo(tmp_path: Path, files: dict[str, str], expected: tuple[str | None, bool]) -> None:
    for path, text in files.items():
        write_file(tmp_path, f"sys/devices/system/cpu/{path}", text + "\n")
    found = linux.read_power(tmp_path)
    assert (found.governor, found.turbo_enabled) == expected


@pytest.mark.parametrize(
    ("supplies", "on_battery"),
    [
        ({"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": "Charging"}}, False),
        ({"AC": {"type": "Mains", "online": "0"}, "BAT0": {"type": "Battery", "status": "Discharging"}}, True),
        ({"BAT0": {"type": "Battery", "status": "Full"}}, False),
        ({}, None),
    ],
)
def test_power_source(tmp_path: Path, supplies: dict[str, dict[str, str]], on_battery: bool | None) -> None:
    for name, files in supplies.items():
        for file, text in files.items():
            write_file(tmp_path, f"sys/class/power_supply/{name}/{file}", text + "\n")
    assert linux.read_power(tmp_path).on_battery is on_battery


@pytest.mark.parametrize(
    ("vendor", "product", "hypervisor", "expected"),
    [
        ("QEMU", "Standard PC (Q35 + ICH9, 2009)", True, "QEMU/KVM"),
        ("Amazon EC2", "m7i.large", True, "Amazon EC2"),
        ("Amazon EC2", "m7i.metal-24xl", False, None),
        ("Microsoft Corporation", "Virtual Machine", True, "Hyper-V"),
        ("VMware, Inc.", "VMware7,1", True, "VMware"),
        ("Dell Inc.", "PowerEdge R750", False, None),
        ("", "", True, "virtual machine"),
    ],
)
def test_virtualisation(tmp_path: Path, vendor: str, product: str, hypervisor: bool, expected: str | None) -> None:
    write_file(tmp_path, "sys/class/dmi/id/sys_vendor", vendor)
    write_file(tmp_path, "sys/class/dmi/id/product_name", product)
    assert linux.read_virtualization(tmp_path, hypervisor=hypervisor) == expected


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"proc/version": "Linux version 5.15.167.4-microsoft-standard-WSL2 (gcc)"}, "WSL2"),
        ({"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}, "Raspberry Pi 5 Model B Rev 1.0"),
        ({"proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0"}, "NVIDIA Jetson AGX Orin Developer Kit"),
        (
            {"etc/nv_tegra_release": "# R35 (release)", "proc/device-tree/model": "Carrier board\0"},
            "Carrier board, Jetson",
        ),
        ({".dockerenv": ""}, "container"),
        ({"proc/1/cgroup": "0::/kubepods.slice/x"}, "container"),
        ({}, None),
    ],
)
def test_what_kind_of_linux_it_is(tmp_path: Path, files: dict[str, str], note: str | None) -> None:
    for path, text in files.items():
        write_file(tmp_path, path, text)
    assert linux.read_platform_note(tmp_path) == note


def test_a_container_of_version_2(tmp_path: Path) -> None:
    limits = cgroup.read_limits(write_tree(tmp_path, "cgroup/v2_docker_256m.tree"))
    assert limits.memory_limit_bytes == 268435456
    assert limits.memory_available_bytes == 268435456 - (41943040 - 20971520)
    assert limits.quota_cores_frac == 2.0


def test_a_container_of_version_1_whose_path_is_not_mounted_inside(tmp_path: Path) -> None:
    limits = cgroup.read_limits(write_tree(tmp_path, "cgroup/v1_ecs.tree"))
    assert limits.memory_limit_bytes == 1 * GIB
    assert limits.memory_available_bytes == 1 * GIB - (512 - 128 << 20)
    assert limits.quota_cores_frac == 1.5


def test_a_recorded_quota_of_half_a_core(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "cgroup/v1_quota_vm.tree")
    assert cgroup.read_limits(root).quota_cores_frac == 0.5
    stats = [
        (folder / "cpu.stat").read_text() for folder in cgroup.folders("cpu", root) if (folder / "cpu.stat").exists()
    ]
    assert 0.5 < (total_throttled_s(stats) or 0.0) < 1.5


def test_no_limit_is_none_in_both_versions(tmp_path: Path) -> None:
    assert cgroup.read_limits(write_tree(tmp_path, "cgroup/v1_no_limit_vm.tree")) == cgroup.Limits()
    assert cgroup.parse_memory_limit("max\n") is None
    assert cgroup.parse_quota_v2("max 100000\n") is None
    assert cgroup.read_limits(tmp_path / "nowhere") == cgroup.Limits()


def test_the_tightest_limit_of_the_nested_groups_counts(tmp_path: Path) -> None:
    write_file(tmp_path, "proc/self/cgroup", "0::/outer/inner\n")
    write_file(tmp_path, "sys/fs/cgroup/outer/memory.max", "1000000000\n")
    write_file(tmp_path, "sys/fs/cgroup/outer/inner/memory.max", "max\n")
    write_file(tmp_path, "sys/fs/cgroup/outer/inner/cpu.max", "50000 100000\n")
    limits = cgroup.read_limits(tmp_path)
    assert limits.memory_limit_bytes == 1_000_000_000
    assert limits.quota_cores_frac == 0.5


@pytest.mark.parametrize("text", ["", "x y", "100000 0", "-1", "1 2 3"])
def test_garbage_quotas_are_no_quota(text: str) -> None:
    assert cgroup.parse_quota_v2(text) is None


def test_threads_worth_starting() -> None:
    assert usable_threads(8, None) == 8
    assert usable_threads(8, 1.5) == 2
    assert usable_threads(8, 0.2) == 1
    assert usable_threads(2, 16.0) == 2


def _memory_device(size: int, speed: int, configured: int, locator: str, bank: str) -> bytes:
    """An SMBIOS type 17 structure, as the kernel shows it raw."""
    formatted = bytearray(0x54)
    formatted[0:2] = bytes([17, 0x54])
    struct.pack_into("<H", formatted, 0x0C, size)
    formatted[0x10:0x12] = bytes([1, 2])
    struct.pack_into("<H", formatted, 0x15, speed)
    struct.pack_into("<H", formatted, 0x20, configured)
    return bytes(formatted) + locator.encode() + b"\0" + bank.encode() + b"\0\0"


def test_memory_channels_and_speed_from_the_firmware_table() -> None:
    modules = linux.parse_memory_devices(
        [
            _memory_device(16384, 5600, 5200, "DIMM 0", "P0 CHANNEL A"),
            _memory_device(0, 0, 0, "DIMM 1", "P0 CHANNEL A"),
            _memory_device(16384, 5600, 5200, "DIMM 0", "P0 CHANNEL B"),
        ]
    )
    assert modules.channels_count == 2
    assert modules.transfers_per_s == 5.2e9


def test_a_table_without_channel_names_or_cut_short_gives_what_it_has() -> None:
    nameless = linux.parse_memory_devices([_memory_device(8192, 3200, 0, "DIMM_A1", "BANK 0")])
    assert nameless.channels_count is None
    assert nameless.transfers_per_s == 3.2e9
    assert linux.parse_memory_devices([b"\x11", b""]) == linux.MemoryModules()


def test_a_whole_container_host(tmp_path: Path) -> None:
    write_tree(tmp_path, "cgroup/v2_docker_256m.tree")
    _hybrid_desktop(tmp_path)
    write_file(tmp_path, "proc/cpuinfo", recorded("cpuinfo/xeon_8370c_vm.txt"))
    write_file(tmp_path, "proc/meminfo", recorded("meminfo/ubuntu_4gib.txt"))
    host = read_linux_host(tmp_path)
    assert host.memory_total_bytes == 3997272 * 1024
    assert host.memory_available_bytes == 268435456 - 20971520
    assert host.memory_limit_bytes == 268435456
    assert host.cpu_quota_cores_frac == 2.0
    assert host.cores_count == 6


def test_an_empty_file_tree_is_a_machine_of_unknowns(tmp_path: Path) -> None:
    machine = read_linux_machine(tmp_path)
    assert [device.device_id for device in machine.devices] == ["cpu"]
    assert machine.host.memory_total_bytes is None
    assert all(outcome.reason for outcome in machine.outcomes)


def test_a_jetson_has_a_gpu_that_shares_memory(tmp_path: Path) -> None:
    write_file(tmp_path, "proc/cpuinfo", recorded("cpuinfo/jetson_nano.txt"))
    write_file(tmp_path, "proc/meminfo", recorded("meminfo/ubuntu_4gib.txt"))
    write_file(tmp_path, "proc/device-tree/model", "NVIDIA Jetson Nano Developer Kit\0")
    gpu = next(device for device in read_linux_machine(tmp_path).devices if device.kind == "cuda")
    assert gpu.unified
    assert gpu.name == "NVIDIA Jetson Nano Developer Kit"
    assert gpu.memory_total_bytes == 3997272 * 1024
