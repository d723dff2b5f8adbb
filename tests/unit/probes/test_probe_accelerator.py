"""GPU probes on a stand-in: the code paths of a real GPU, with PyTorch computing on the CPU."""

import time
from dataclasses import replace

import pytest
from probe_fakes import real_bench
from probe_gpu import GPU, PEER, StandIn

from probes import accelerator, link, torch_device
from probes.accelerator import GpuMatmulProbe, GpuStreamProbe, absurdity_warnings, gpu_probes, physics_warnings
from probes.base import Waiver, run_probe
from probes.errors import ProbeError
from probes.link import HOST_LINK_PROBES, PeerLinkProbe, links_of, peer_probes
from probes.products import TORCH_BYTES, has_torch
from probes.types import Device, Measurement, ProbeOutcome, ProbeStatus, ScanWarning

needs_torch = pytest.mark.skipif(not has_torch(), reason="PyTorch is an extra")
STREAMS = [probe for probe in gpu_probes("cuda") if isinstance(probe, GpuStreamProbe)]


@pytest.fixture
def stand_in(monkeypatch) -> StandIn:
    torch = StandIn()
    opened = torch_device.TorchDevice(torch, torch.cuda, "cuda:0")
    monkeypatch.setattr(torch_device, "open_device", lambda device: opened)
    monkeypatch.setattr(torch_device, "waiver", lambda device: None)
    return torch


@needs_torch
@pytest.mark.parametrize("probe", STREAMS, ids=lambda probe: probe.probe_id)
def test_a_stream_waits_for_the_device_and_gives_its_memory_back(stand_in: StandIn, probe: GpuStreamProbe) -> None:
    with real_bench(budget_s=0.2) as bench:
        outcome = run_probe(probe, GPU, bench)
    assert outcome.status == ProbeStatus.OK, outcome.reason
    assert outcome.measurement is not None
    assert outcome.measurement.value > 0
    assert stand_in.waits_count >= len(outcome.measurement.elapsed_s)
    assert stand_in.released_count == 1


@needs_torch
def test_a_kernel_that_leaves_wrong_values_fails(stand_in: StandIn) -> None:
    broken = replace(STREAMS[1], kernel=replace(STREAMS[1].kernel, expected=9))
    with real_bench(budget_s=0.05) as bench:
        outcome = run_probe(broken, GPU, bench)
    assert outcome.status == ProbeStatus.FAILED
    assert "memory may be faulty" in (outcome.reason or "")


@needs_torch
def test_a_gpu_that_falls_off_the_bus_is_one_outcome_and_its_memory_is_given_back(stand_in: StandIn) -> None:
    stand_in.fails_after = 3
    with real_bench(budget_s=0.2) as bench:
        outcome = run_probe(STREAMS[0], GPU, bench)
    assert outcome.status == ProbeStatus.FAILED
    assert outcome.reason == ("RuntimeError: CUDA error: unspecified launch failure Compile with TORCH_USE_CUDA_DSA")
    assert stand_in.released_count == 1


@needs_torch
@pytest.mark.parametrize("probe", HOST_LINK_PROBES, ids=lambda probe: probe.probe_id)
def test_transfers_in_both_directions_arrive_whole(stand_in: StandIn, probe) -> None:
    with real_bench(budget_s=0.1) as bench:
        outcome = run_probe(probe, GPU, bench)
    assert outcome.status == ProbeStatus.OK, outcome.reason
    assert outcome.measurement is not None
    assert outcome.measurement.work_bytes % outcome.measurement.shape[0] == 0


@needs_torch
def test_a_peer_link_names_both_ends(stand_in: StandIn, monkeypatch) -> None:
    monkeypatch.setattr(link, "_TRANSFER_BYTES", 4 << 20)
    with real_bench(budget_s=0.1) as bench:
        outcome = run_probe(PeerLinkProbe(peer=PEER), GPU, bench)
    assert outcome.measurement is not None
    (found,) = links_of([outcome])
    assert (found.src, found.dst) == ("cuda:0", "cuda:1")
    assert found.bytes_per_s == outcome.measurement.median_value


@needs_torch
def test_products_on_a_gpu_go_through_the_same_growth(stand_in: StandIn, monkeypatch) -> None:
    monkeypatch.setattr(
        torch_device, "open_device", lambda device: torch_device.TorchDevice(stand_in, stand_in.cuda, "cpu")
    )
    with real_bench(budget_s=0.2) as bench:
        outcome = run_probe(GpuMatmulProbe(probe_id="cuda.matmul", dtype="fp32"), GPU, bench)
        sparse = run_probe(GpuMatmulProbe(probe_id="cuda.matmul", dtype="fp16_sparse"), GPU, bench)
        tf32 = run_probe(GpuMatmulProbe(probe_id="rocm.matmul", dtype="tf32"), replace(GPU, kind="rocm"), bench)
    assert outcome.status == ProbeStatus.OK, outcome.reason
    assert sparse.status == ProbeStatus.WAIVED
    assert "not supported here" in (sparse.reason or "")
    assert tf32.status == ProbeStatus.WAIVED


@needs_torch
def test_warming_up_multiplies_in_every_format_and_leaves_what_fails_to_its_probe(
    stand_in: StandIn, monkeypatch
) -> None:
    opened = torch_device.TorchDevice(stand_in, stand_in.cuda, "cpu")
    monkeypatch.setattr(torch_device, "open_device", lambda device: opened)
    made = []
    real = accelerator.TorchProduct
    monkeypatch.setattr(accelerator, "TorchProduct", lambda dtype, *rest: made.append(dtype) or real(dtype, *rest))
    accelerator.warm_up(replace(GPU, memory_free_bytes=16 << 20), ["fp32", "fp16_sparse", "int8"])
    assert made == ["fp32", "fp16_sparse", "int8"]
    assert stand_in.waits_count == 3  # the context, and the two formats that a processor has
    assert stand_in.released_count == 1


def test_a_gpu_that_cannot_be_used_is_not_warmed_up(monkeypatch) -> None:
    monkeypatch.setattr(torch_device, "waiver", lambda device: Waiver("no driver"))
    monkeypatch.setattr(torch_device, "open_device", lambda device: pytest.fail("there is nothing to open"))
    accelerator.warm_up(GPU, ["fp16"])


def test_a_figure_above_the_data_sheet_is_marked_not_believed() -> None:
    card = replace(GPU, properties={"datasheet_bytes_per_s": "936000000000"})
    assert physics_warnings(card, 1200e9) == (ScanWarning.ABOVE_PHYSICS,)
    assert physics_warnings(card, 950e9) == ()
    assert physics_warnings(GPU, 1e15) == ()
    assert physics_warnings(replace(GPU, properties={"datasheet_bytes_per_s": "many"}), 1e15) == ()


def test_a_rate_far_below_the_chips_plain_one_is_marked_not_believed() -> None:
    h100 = replace(GPU, properties={"datasheet_fp32_flop_per_s": "66908160000000"})
    assert absurdity_warnings(h100, 1.1e9) == (ScanWarning.BELOW_DATASHEET,)
    assert absurdity_warnings(h100, 13.5e12) == (ScanWarning.BELOW_DATASHEET,)
    assert absurdity_warnings(h100, 51e12) == ()
    assert absurdity_warnings(GPU, 1.0) == ()


@needs_torch
def test_a_product_far_below_the_chips_rate_carries_the_warning(stand_in: StandIn, monkeypatch) -> None:
    monkeypatch.setattr(
        torch_device, "open_device", lambda device: torch_device.TorchDevice(stand_in, stand_in.cuda, "cpu")
    )
    card = replace(GPU, memory_free_bytes=64 << 20, properties={"datasheet_fp32_flop_per_s": "1e18"})
    with real_bench(budget_s=0.2) as bench:
        outcome = run_probe(GpuMatmulProbe(probe_id="cuda.matmul", dtype="fp32"), card, bench)
    assert outcome.measurement is not None
    assert ScanWarning.BELOW_DATASHEET in outcome.measurement.warnings


def test_products_grow_from_small_to_what_fills_a_chip_or_its_memory() -> None:
    roomy = accelerator._growth(replace(GPU, memory_free_bytes=80 << 30), "bf16")
    assert (roomy.first_dim, roomy.last_dim) == (256, 8192)
    assert accelerator._growth(replace(GPU, memory_free_bytes=64 << 20), "bf16").last_dim < 2048


def test_buffers_stay_within_a_quarter_of_the_free_memory() -> None:
    assert accelerator.buffer_bytes(GPU, 2) * 2 <= GPU.memory_free_bytes // 4
    assert accelerator.buffer_bytes(replace(GPU, memory_free_bytes=1 << 40), 3) == 512 << 20
    with pytest.raises(ProbeError, match="too little free device memory"):
        accelerator.buffer_bytes(replace(GPU, memory_free_bytes=1 << 20), 1)


def test_shared_memory_has_no_link() -> None:
    probe = HOST_LINK_PROBES[0]
    for device in (Device(device_id="metal:0", kind="metal", unified=True), replace(GPU, unified=True)):
        assert "nothing is copied" in probe.waiver(device).reason


def test_every_gpu_has_a_link_to_every_other_of_its_kind() -> None:
    other = Device(device_id="rocm:0", kind="rocm")
    assert [probe.peer.device_id for probe in peer_probes(GPU, [GPU, PEER, other])] == ["cuda:1"]
    assert peer_probes(other, [GPU, other]) == ()


def test_links_come_from_what_was_measured_only() -> None:
    measured = Measurement(quantity="x", unit="bytes_per_s", value=3e10, median_value=2.5e10)
    outcomes = [
        ProbeOutcome(probe_id=probe_id, device_id=device_id, status=ProbeStatus.OK, measurement=measurement)
        for probe_id, device_id, measurement in [
            ("link.host_to_device", "cuda:0", measured),
            ("link.host_to_device_pageable", "cuda:0", measured),
            ("link.device_to_host", "cuda:0", measured),
            ("link.device_to_host", "cuda:1", None),
            ("disk.read", "disk", measured),
            ("cpu.read_bandwidth", "cpu", measured),
        ]
    ]
    found = {(item.src, item.dst): item.bytes_per_s for item in links_of(outcomes)}
    assert found == {("host", "cuda:0"): 2.5e10, ("cuda:0", "host"): 2.5e10, ("disk", "host"): 2.5e10}


@needs_torch
def test_a_transfer_that_loses_data_fails(stand_in: StandIn, monkeypatch) -> None:
    monkeypatch.setattr(link, "_PLANTED", 7)
    real_full = stand_in.full
    stand_in.full = lambda size, fill, **kwargs: real_full(size, 6, **kwargs)  # type: ignore[method-assign]
    with real_bench(budget_s=0.05, memory_bytes=TORCH_BYTES) as bench:
        outcome = run_probe(HOST_LINK_PROBES[0], GPU, bench)
    assert outcome.status == ProbeStatus.FAILED
    assert "lost data" in (outcome.reason or "")


def test_launches_are_bounded_for_a_call_that_takes_no_time() -> None:
    with real_bench() as bench:
        assert accelerator.launches_for(lambda: None, lambda: None, bench) <= 10_000
        assert accelerator.launches_for(lambda: time.sleep(0.02), lambda: None, bench) == 1
