"""What the memory of a machine that is not here leaves to models."""

from dataclasses import replace

import pytest
from report_examples import profile

from advisor.candidates import candidates
from advisor.machines import from_hardware, from_profile
from advisor.predict import predict
from advisor.recommendation.shortage import together_bytes
from advisor.types import EstimateWarning, Workload
from catalog.units import GIB
from catalog.weights import weigh
from probes.types import Device


@pytest.mark.parametrize(
    ("hardware", "device_id", "available_gib"),
    [
        ("dgx spark", "cuda:0", 112.0),  # 115.8 GiB were seen free on one, 102 GiB on another
        ("ryzen ai max+ 395", "rocm:0", 112.0),  # Windows gives 111.9 GiB
        ("ryzen ai max+ 395+64GiB", "rocm:0", 56.0),
        ("jetson orin nano super", "cuda:0", 4.0),
        ("m4 max 64GiB", "metal:0", 51.84),  # the system's own limit
        ("rtx 4090", "cuda:0", 23.52),  # 23.0 to 23.9 GiB were seen free, of which an engine's context is to be paid
        ("rx 7900 xtx", "rocm:0", 23.52),  # 22.4 to 23.2 GiB
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


def radeon(memory_gib: int, pool: str) -> Device:
    properties = {"memory_pool": pool}
    return Device(
        device_id="rocm:0", kind="rocm", vendor="AMD", unified=True, name="AMD Radeon 8060S", properties=properties,
        memory_total_bytes=memory_gib * GIB, memory_free_bytes=memory_gib * GIB,
    )  # fmt: skip


def strix_halo(catalog, memory_gib: int, pool: str, left_gib: int):
    """A scanned Ryzen AI Max+ whose graphics may have so much, with so much memory left to the system."""
    shown = profile()
    host = replace(shown.host, memory_total_bytes=left_gib * GIB, memory_available_bytes=(left_gib - 1) * GIB)
    return from_profile(replace(shown, host=host, devices=(radeon(memory_gib, pool),)), None, catalog)


def made_on(machine, catalog, model_id: str, quant_id: str):
    model = catalog.model(model_id)
    return predict(model, [weigh(model, quant_id)], machine, Workload())


def test_memory_set_aside_for_graphics_is_not_the_systems_too(catalog):
    """70 GiB in a slice of 96 fit although 31 GiB are left to the system, and a mapped half is part of the whole."""
    aside = strix_halo(catalog, 96, "vram", 31)
    made = made_on(aside, catalog, "zai-org/GLM-4.5-Air", "Q4_K_M")
    assert made.memory.fits
    assert set(made.deployment.layers_by_device) == {"rocm:0"}
    assert aside.shared_device_ids == frozenset()
    mapped = strix_halo(catalog, 62, "gtt", 125)
    assert mapped.shared_device_ids == {"rocm:0"}
    assert "rocm:0" not in made_on(mapped, catalog, "zai-org/GLM-4.5-Air", "Q4_K_M").deployment.layers_by_device


def test_prompts_are_not_lent_to_graphics_in_the_computers_own_memory_however_it_is_divided(catalog):
    made = made_on(strix_halo(catalog, 16, "vram", 110), catalog, "openai/gpt-oss-120b", "MXFP4_MOE")
    assert made.deployment.experts_on_cpu_layers_count
    assert max(term.bytes for term in made.terms if term.name == "prefill.link") < GIB
    assert not any("no op offload" in row.setting for row in made.settings)


@pytest.mark.parametrize(
    ("hardware", "quant_id", "warned"),
    [
        ("ryzen ai max+ 395", "Q5_K_M", True),
        ("ryzen ai max+ 395", "IQ2_M", False),  # in half of the memory
        ("dgx spark", "Q5_K_M", False),
        ("m4 max 128GiB", "Q5_K_M", False),
    ],
)
def test_needing_more_than_linux_gives_graphics_unasked_is_said(catalog, hardware, quant_id, warned):
    made = made_on(from_hardware(catalog.hardware(hardware), catalog), catalog, "zai-org/GLM-4.5-Air", quant_id)
    assert made.memory.fits
    assert (EstimateWarning.MEMORY_LIMIT_TO_RAISE in made.warnings) is warned


def test_memory_in_common_is_counted_once_where_nothing_fits(catalog):
    machine = strix_halo(catalog, 62, "gtt", 125)
    assert together_bytes(machine.available_bytes(), machine) == machine.available_bytes()["cpu"]
    aside = strix_halo(catalog, 96, "vram", 31)
    assert together_bytes(aside.available_bytes(), aside) == sum(aside.available_bytes().values())


def test_a_processor_that_is_named_stands_beside_the_cards(catalog):
    usual = from_hardware(catalog.hardware("rtx 4090+768GiB"), catalog)
    named = from_hardware(catalog.hardware("rtx 4090+epyc 9654+768GiB"), catalog)
    alone = from_hardware(catalog.hardware("epyc 9654+768GiB"), catalog)
    assert named.devices[0] == usual.devices[0]
    assert named.devices[1] == alone.devices[0]
    assert named.name == "NVIDIA GeForce RTX 4090 + AMD EPYC 9654 (DDR5-4800 12ch) + 768 GiB"


def test_cards_that_are_left_out_leave_the_computer_around_them(catalog):
    (cpu,) = from_hardware(catalog.hardware("rtx 4090+64GiB"), catalog, backend="cpu").devices
    assert cpu == from_hardware(catalog.hardware("rtx 4090+64GiB"), catalog).devices[1]


def test_experts_stream_from_the_channels_of_the_named_processor(catalog):
    """What a server with one card is bought for: experts in its many channels, the rest on the card."""
    model = catalog.model("zai-org/GLM-5.3-Flash")
    artifact = weigh(model, "Q4_K_M")
    work = Workload(prompt_tokens=1024, output_tokens=512, context_tokens=8192)

    def fastest(text: str) -> float:
        machine = from_hardware(catalog.hardware(text), catalog)
        return max(made.decode_tokens_per_s.mid for made in candidates(model, artifact, machine, work))

    desktop, server = fastest("rtx 4090+256GiB"), fastest("rtx 4090+epyc 9654+256GiB")
    assert server > 2.0 * desktop
    assert server >= fastest("epyc 9654+256GiB")
