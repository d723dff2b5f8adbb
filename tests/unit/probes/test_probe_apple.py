"""Apple's chips from recorded output of its tools."""

import json

import pytest
from probe_recordings import recorded

from probes import apple
from probes.errors import ProbeError

MIB = 1 << 20
GIB = 1 << 30


def test_an_m1_pro_by_sysctl() -> None:
    found = apple.parse_sysctl(recorded("apple/sysctl_m1_pro.txt"))
    assert found.name == "Apple M1 Pro"
    assert (found.cores_count, found.performance_cores_count, found.efficiency_cores_count) == (10, 8, 2)
    assert found.l1d_bytes == 131072  # the fast cores'
    assert found.l2_bytes == 2 * 12582912 + 4194304  # two fast clusters and a slow one


def test_a_cluster_of_three_cores_counts_its_cache_once() -> None:
    found = apple.parse_sysctl(recorded("apple/sysctl_m1_pro_6p.txt"))
    assert found.l2_bytes == 2 * 12582912
    assert found.performance_cores_count is None  # one level listed: nothing to tell apart


def test_an_intel_mac_has_no_levels() -> None:
    found = apple.parse_sysctl(recorded("apple/sysctl_core_i5_4440.txt"))
    assert found.name == "Intel(R) Core(TM) i5-4440 CPU @ 3.10GHz"
    assert found.performance_cores_count is None
    assert not found.translated


def test_features_and_rosetta() -> None:
    text = (
        "hw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_BF16: 0\nhw.optional.neon: 1\nsysctl.proc_translated: 1\n"
    )
    found = apple.parse_sysctl(text)
    assert found.instruction_sets == ("NEON", "I8MM")
    assert found.translated


@pytest.mark.parametrize(
    ("name", "chip", "cores"), [("displays_m1", "Apple M1", "7"), ("displays_m3_pro", "Apple M3 Pro", "18")]
)
def test_apple_gpus_and_what_metal_lets_them_wire(name: str, chip: str, cores: str) -> None:
    processor = apple.Processor(memory_bytes=16 * GIB)
    (device,) = apple.parse_displays(recorded(f"apple/{name}.json"), processor)
    assert device.name == chip
    assert device.vendor == "Apple"
    assert device.unified
    assert device.properties["cores"] == cores
    assert device.properties["metal"] == "spdisplays_metal3"
    assert device.memory_total_bytes == 16 * GIB * 2 // 3


def test_a_wired_limit_set_by_hand_outranks_the_default() -> None:
    processor = apple.parse_sysctl("hw.memsize: 137438953472\niogpu.wired_limit_mb: 122880\n")
    (device,) = apple.parse_displays(recorded("apple/displays_m1.json"), processor)
    assert device.memory_total_bytes == 122880 * MIB


@pytest.mark.parametrize(
    ("memory_gib", "logged_mb"),
    [(16, 12713.12), (24, 19069.67), (32, 26800.60), (36, 30150.67), (48, 40200.90), (64, 55662.79), (128, 115448.73)],
)
def test_macos_26_leaves_the_gpu_what_llama_cpp_logged(memory_gib: int, logged_mb: float) -> None:
    limit = apple.default_wired_limit_bytes(memory_gib * GIB)
    assert limit / 1e6 == pytest.approx(logged_mb, rel=2e-5)


@pytest.mark.parametrize(("memory_gib", "left_gib"), [(8, 16 / 3), (16, 32 / 3), (32, 64 / 3), (36, 27), (128, 96)])
def test_an_older_or_unknown_macos_leaves_two_thirds_or_three_quarters(memory_gib: int, left_gib: float) -> None:
    text = recorded("apple/displays_m1.json")
    for version in ("15.6", "", "beta"):
        (device,) = apple.parse_displays(text, apple.Processor(memory_bytes=memory_gib * GIB), macos_version=version)
        assert device.memory_total_bytes == pytest.approx(left_gib * GIB)


def test_a_macs_own_version_decides_its_default() -> None:
    processor = apple.Processor(memory_bytes=64 * GIB)
    (device,) = apple.parse_displays(recorded("apple/displays_m1.json"), processor, macos_version="26.1")
    assert device.memory_total_bytes == 64 * GIB * 81 // 100


def test_an_intel_macs_discrete_gpu_keeps_its_own_memory() -> None:
    row = {"sppci_model": "Radeon Pro 5500M", "spdisplays_vram": "8 GB", "spdisplays_vendor": "sppci_vendor_amd"}
    text = json.dumps({"SPDisplaysDataType": [row]})
    (device,) = apple.parse_displays(text, apple.Processor(memory_bytes=16 * GIB))
    assert (device.vendor, device.memory_total_bytes, device.unified) == ("AMD", 8 * GIB, False)


@pytest.mark.parametrize("text", ["", "{}", "[]", "garbage"])
def test_garbage_of_system_profiler_is_one_error(text: str) -> None:
    with pytest.raises(ProbeError, match="system_profiler printed"):
        apple.parse_displays(text, apple.Processor())


def test_a_profile_without_displays_lists_nothing() -> None:
    assert apple.parse_displays('{"SPDisplaysDataType": 3}', apple.Processor()) == ()
    assert apple.parse_displays('{"SPDisplaysDataType": [{}, 3]}', apple.Processor()) == ()
