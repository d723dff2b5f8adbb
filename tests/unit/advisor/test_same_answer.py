"""One question, one answer: whoever asks the estimator hears the same; and what it says where little is known."""

from dataclasses import replace

import pytest

from advisor.candidates import candidates
from advisor.errors import BadRequestError
from advisor.estimate import estimate
from advisor.machines import from_hardware, from_profile
from advisor.predict import predict
from advisor.purchase.plan import Question, best_setting
from advisor.recommendation.recommend import Request, recommend
from advisor.types import Basis, Deployment, EstimateWarning, Limits, Task, Workload
from advisor.workloads import make_workload
from catalog.weights import weigh
from probes.types import Device, HardwareProfile, Host

GIB = 1024**3
MACHINES = ("rtx 4060 ti 16GiB", "rtx 3090*2+64GiB", "m4 max 64GiB", "Radeon 8060S 128GiB", "raspberry pi 5 16GiB")


@pytest.mark.parametrize("hardware", MACHINES)
@pytest.mark.parametrize("kept_back_bytes", [0, GIB])
def test_a_placement_is_estimated_as_if_it_were_asked_for(catalog, hardware, kept_back_bytes):
    machine = from_hardware(catalog.hardware(hardware), catalog)
    workload = make_workload(Task.GENERAL)
    model = catalog.model("qwen3-30b-a3b-instruct-2507")
    artifact = weigh(model, "IQ2_M")
    limited = {device: size - kept_back_bytes for device, size in machine.available_bytes().items()}
    for found in candidates(model, artifact, machine, workload, available_bytes=limited):
        assert found == estimate(model, artifact, machine, workload, found.deployment)


@pytest.mark.parametrize("hardware", MACHINES)
def test_recommend_estimate_and_plan_say_the_same(catalog, hardware):
    machine = from_hardware(catalog.hardware(hardware), catalog)
    workload = make_workload(Task.GENERAL)
    picks = recommend(
        catalog, machine, Request(workload=workload, top_count=3), created_at="2026-01-01T00:00:00Z", tool_version="0"
    ).ranked
    for pick in picks:
        said = pick.estimate
        model = catalog.model(said.model_id)
        artifact = weigh(model, said.quant_id)
        again = estimate(model, artifact, machine, workload, said.deployment)
        assert replace(said, whatif={}, settings=()) == again
        question = Question(model=model, workload=workload, limits=Limits(), artifact=artifact)
        planned = best_setting(catalog, question, machine)
        assert planned == estimate(model, artifact, machine, workload, planned.deployment)
        if planned.deployment.kv_quant_id == said.deployment.kv_quant_id:
            assert planned.deployment == said.deployment
        told = predict(model, [artifact], machine, workload, kv_quant_id=said.deployment.kv_quant_id)
        assert replace(told, settings=()) == estimate(model, artifact, machine, workload, told.deployment)
        assert told.deployment == said.deployment  # placed and loaded alike, however either began its search


def profile_with(*devices, features=("avx2",)):
    host = Host(
        os="Linux",
        cpu_name="some CPU",
        memory_total_bytes=64 * GIB,
        memory_available_bytes=60 * GIB,
        instruction_sets=features,
    )
    cpu = Device(device_id="cpu", kind="cpu", memory_total_bytes=64 * GIB)
    return HardwareProfile(
        profile_id="p", created_at="2026-01-01T00:00:00Z", tool_version="0", host=host, devices=(cpu, *devices)
    )


def on(machine, catalog):
    model = catalog.model("Qwen/Qwen3-8B")
    return predict(model, [weigh(model, "Q4_K_M")], machine, Workload())


def test_a_card_nobody_listed_is_used_with_assumed_rates_and_says_so(catalog):
    card = Device(
        device_id="cuda:0", kind="cuda", name="NVIDIA Mystery 9", vendor="NVIDIA", memory_total_bytes=24 * GIB
    )
    made = on(from_profile(profile_with(card), None, catalog), catalog)
    assert set(made.deployment.layers_by_device) == {"cuda:0"}
    assert made.basis is Basis.ASSUMED
    assert EstimateWarning.UNKNOWN_CHIP_RATES in made.warnings
    listed = on(from_hardware(catalog.hardware("rtx 4090"), catalog), catalog)

    def width(interval):
        return interval.high / interval.low

    assert width(made.decode_tokens_per_s) > 2 * width(listed.decode_tokens_per_s)
    assert EstimateWarning.UNKNOWN_CHIP_RATES not in listed.warnings


def test_without_an_engine_the_estimate_rests_on_data_sheets_and_says_so(catalog):
    machine = from_profile(profile_with(), None, catalog, engine_available=False)
    made = on(machine, catalog)
    assert EstimateWarning.NO_ENGINE in made.warnings
    assert made.basis in (Basis.DATASHEET, Basis.ASSUMED)
    assert EstimateWarning.NO_ENGINE not in on(from_profile(profile_with(), None, catalog), catalog).warnings


def test_the_rearranged_copy_is_that_of_the_profiles_processor(catalog):
    arm = from_profile(profile_with(features=("asimddp",)), None, catalog)
    intel = from_profile(profile_with(features=("avx2",)), None, catalog)
    unknown = from_profile(profile_with(features=()), None, catalog)
    assert "Q6_K" in arm.repacked_types
    assert intel.repacked_types < unknown.repacked_types


@pytest.mark.parametrize("backend", ["cuda", "vulkan"])
def test_a_machine_without_accelerators_runs_no_backend_of_theirs(catalog, backend):
    with pytest.raises(BadRequestError, match=f"--backend {backend}: .*; use --backend cpu"):
        from_profile(profile_with(features=("avx2",)), None, catalog, backend=backend)


@pytest.mark.parametrize("backend", ["cuda", "vulkan", "sycl", "rocm", "metal"])
def test_every_backend_has_an_answer_for_a_chip_of_no_known_generation(catalog, backend):
    known = catalog.hardware("rtx 4090").chip
    strange = replace(known, chip_id="Strange", vendor="Strange", architecture="Strange 1", fp16_flop_per_s=None)
    machine = from_hardware(replace(catalog.hardware("rtx 4090"), chip=strange), catalog, backend=backend)
    made = on(machine, catalog)
    assert made.basis is Basis.DATASHEET
    roof = known.memory_bytes_per_s / weigh(catalog.model("Qwen/Qwen3-8B"), "Q4_K_M").file_bytes
    assert 0.2 * roof < made.decode_tokens_per_s.mid < roof
    assert made.decode_tokens_per_s.high / made.decode_tokens_per_s.low > 1.3


def test_more_layers_on_the_accelerator_decode_faster(catalog):
    machine = from_hardware(catalog.hardware("rtx 4090+64GiB"), catalog)
    model = catalog.model("Qwen/Qwen3-8B")
    speeds = []
    for on_gpu in (0, 9, 18, 27, 36):
        layers = {device: count for device, count in (("cpu", 36 - on_gpu), ("cuda:0", on_gpu)) if count}
        deployment = Deployment(model_id=model.model_id, quant_id="Q4_K_M", backend="cuda", layers_by_device=layers)
        made = estimate(model, weigh(model, "Q4_K_M"), machine, Workload(), deployment)
        speeds.append(made.decode_tokens_per_s.mid)
    assert speeds == sorted(speeds)
