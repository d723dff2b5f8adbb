"""Parsers of untrusted text: whatever a tool prints, a value or the one error comes back."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_recordings import RECORDINGS

from probes import amd, apple, cgroup, counters, engine, linux, nvidia, pci, windows
from probes.errors import ProbeError

PARSERS: dict[str, Callable[[str], object]] = {
    "cpuinfo": linux.parse_cpuinfo,
    "meminfo": linux.parse_meminfo,
    "cpu list": linux.parse_cpu_list,
    "size": linux.parse_size,
    "memory limit": cgroup.parse_memory_limit,
    "quota": cgroup.parse_quota_v2,
    "inactive": cgroup.parse_inactive_file_bytes,
    "proc stat": lambda text: counters.parse_proc_stat(text, frozenset({0, 1})),
    "process stat": counters.parse_process_stat,
    "throttled": counters.parse_throttled_s,
    "nvidia-smi": nvidia.parse_smi_xml,
    "amd-smi": amd.parse_amd_smi,
    "rocm-smi": amd.parse_rocm_smi,
    "amdgpu.ids": amd.parse_ids,
    "kfd": amd.parse_kfd_properties,
    "lspci": pci.parse_lspci,
    "link speed": pci.parse_link_speed,
    "sysctl": apple.parse_sysctl,
    "system_profiler": lambda text: apple.parse_displays(text, apple.Processor()),
    "powershell": windows.parse_inventory,
    "ggml": engine.parse_listing,
}
TEXTS = [path.read_text(encoding="utf-8") for path in sorted(Path(RECORDINGS).rglob("*.*")) if path.suffix != ".md"]


def survives(parse: Callable[[str], object], text: str) -> None:
    """A value or the probes' own error; anything else fails the test."""
    with suppress(ProbeError):
        parse(text)


@pytest.mark.parametrize("name", PARSERS)
@given(text=st.text(max_size=400))
@settings(max_examples=30, deadline=None)
def test_any_text(name: str, text: str) -> None:
    survives(PARSERS[name], text)


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_recordings_cut_spliced_and_given_to_the_wrong_parser(name: str, data: st.DataObject) -> None:
    first, second = (data.draw(st.sampled_from(TEXTS)) for _ in range(2))
    cut = data.draw(st.integers(0, len(first)))
    resume = data.draw(st.integers(0, len(second)))
    survives(PARSERS[name], first[:cut] + second[resume:])


WORDS = """
    gpu_data asic vram size value unit card0 card1 system SPDisplaysDataType sppci_model processors video Name
    PNPDeviceID AdapterRAM adapters bytes memory battery npus version devices features name kind backend
"""
KEYS = st.sampled_from([*WORDS.split(), "VRAM Total Memory (B)"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", ["amd-smi", "rocm-smi", "system_profiler", "powershell", "ggml"])
@given(document=st.dictionaries(KEYS, JSON, max_size=5))
@settings(max_examples=60, deadline=None)
def test_json_of_any_shape(name: str, document: dict[str, object]) -> None:
    survives(PARSERS[name], json.dumps(document))
