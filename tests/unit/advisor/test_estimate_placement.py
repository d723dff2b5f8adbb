"""What an estimate makes of a placement: shares of devices, links between them, and the cliff past the memory."""

from dataclasses import replace

import pytest

from advisor.candidates import candidates
from advisor.errors import BadRequestError
from advisor.estimate import estimate
from advisor.machine import Machine
from advisor.machines import from_hardware
from advisor.shares import split
from advisor.types import ALL_LAYERS_COUNT, Basis, Deployment, EstimateWarning, Workload
from catalog.weights import weigh

WORKLOAD = Workload(prompt_tokens=1024, output_tokens=128, context_tokens=4096)
DENSE = "Qwen/Qwen3-8B"
MOE = "Qwen/Qwen3-30B-A3B-Instruct-2507"
MIXTURE = "Qwen/Qwen3-30B-A3B-Instruct-2507"
LEADING_DENSE = "deepseek-ai/DeepSeek-V2-Lite-Chat"  # its first of 27 layers has no experts


def deployed(catalog, model_id, layers, **changes):
    model = catalog.model(model_id)
    return model, Deployment(
        model_id=model_id, quant_id="Q4_K_M", layers_by_device=layers, **{"backend": "cuda", **changes}
    )


def made_on(machine, catalog, model_id, layers, workload=WORKLOAD, **changes):
    model, deployment = deployed(catalog, model_id, layers, **changes)
    return estimate(model, weigh(model, "Q4_K_M"), machine, workload, deployment)


def terms(made, name):
    return [term for term in made.terms if term.name.endswith(name)]


def test_the_output_layer_counts_as_one_layer_on_the_accelerator():
    def told(layers):
        return Deployment(model_id="m", quant_id="q", layers_by_device=layers).gpu_layers_count

    assert told({"cpu": 12, "cuda:0": 20}) == 21
    assert told({"cpu": 2, "cuda:0": 20, "cuda:1": 10}) == 31
    assert told({"cuda:0": 32}) == ALL_LAYERS_COUNT
    assert told({"cpu": 32}) == told({}) == 0


def test_whole_layers_are_shared_out_and_the_output_goes_last(catalog):
    shares = dict(split(*deployed(catalog, DENSE, {"cuda:0": 24, "cpu": 12})))
    assert shares["cpu"].layers_frac == pytest.approx(1 / 3)
    assert (shares["cpu"].output, shares["cuda:0"].output) == (False, True)
    assert sum(share.layers_frac for share in shares.values()) == pytest.approx(1)


def test_experts_are_counted_from_the_first_layer_dense_ones_included(catalog):
    whole = {"cuda:0": 27}
    for moved_count, experts_count in ((1, 0), (2, 1), (10, 9), (27, 26), (99, 26)):
        shares = dict(split(*deployed(catalog, LEADING_DENSE, whole, experts_on_cpu_layers_count=moved_count)))
        on_cpu = shares["cpu"].experts_frac if "cpu" in shares else 0.0
        assert on_cpu == pytest.approx(experts_count / 26)
        assert sum(share.experts_frac for share in shares.values()) == pytest.approx(1)


def test_experts_of_layers_on_the_cpu_are_not_moved_twice(catalog):
    layers = {"cpu": 12, "cuda:0": 36}
    shares = dict(split(*deployed(catalog, MIXTURE, layers, experts_on_cpu_layers_count=12)))
    assert shares["cpu"].experts_frac == pytest.approx(12 / 48)
    more = dict(split(*deployed(catalog, MIXTURE, layers, experts_on_cpu_layers_count=24)))
    assert (more["cpu"].experts_frac, more["cpu"].layers_frac) == (pytest.approx(0.5), pytest.approx(0.25))


def test_without_a_placement_everything_is_on_the_first_device(catalog, gpu_machine):
    made = made_on(gpu_machine, catalog, DENSE, {})
    assert {term.device_id for term in made.terms} == {"cuda:0"}
    assert made.memory.devices[0].device_id == "cuda:0"


def test_a_device_the_machine_lacks_is_one_line(catalog, machine):
    with pytest.raises(BadRequestError, match="has no device 'cuda:0'; it has cpu"):
        made_on(machine, catalog, DENSE, {"cuda:0": 36})


def two_gpus(machine):
    gpu, cpu = machine.devices
    second = replace(gpu, device_id="cuda:1", rates=replace(gpu.rates, device_id="cuda:1"))
    return replace(machine, devices=(gpu, second, cpu))


def test_layers_on_two_gpus_take_turns_and_pay_for_launches(catalog, gpu_machine):
    machine = two_gpus(gpu_machine)
    one = made_on(machine, catalog, DENSE, {"cuda:0": 36})
    two = made_on(machine, catalog, DENSE, {"cuda:0": 18, "cuda:1": 18}, split_mode="layer")
    assert two.decode_tokens_per_s.mid < one.decode_tokens_per_s.mid
    (link,) = terms(two, "decode.link")
    assert link.basis is Basis.ASSUMED
    vllm = made_on(machine, catalog, DENSE, {"cuda:0": 18, "cuda:1": 18}, split_mode="layer", engine_id="vllm")
    assert terms(vllm, "decode.link")[0].time_s < link.time_s / 10  # its graphs are replayed


def test_tensor_parallelism_halves_the_bytes_but_not_the_launches_and_pays_the_link(catalog, gpu_machine):
    machine = two_gpus(gpu_machine)
    halves = {"cuda:0": 18, "cuda:1": 18}
    rows = made_on(machine, catalog, DENSE, halves, split_mode="row", engine_id="vllm")
    one = made_on(machine, catalog, DENSE, {"cuda:0": 36}, engine_id="vllm")
    for name in ("decode.feed_forward_weights.Q4_K", "prefill.feed_forward_weights.Q4_K"):
        (slice_of_it,), (whole,) = terms(rows, name), terms(one, name)  # both wait for the slower, which is listed
        assert slice_of_it.bytes == pytest.approx(whole.bytes / 2)
    assert terms(rows, "decode.overhead")[0].time_s == pytest.approx(terms(one, "decode.overhead")[0].time_s)
    slow = replace(machine, link_bytes_per_s={"cuda:0": 1e9})
    slower = made_on(slow, catalog, DENSE, halves, split_mode="row", engine_id="vllm")
    assert slower.prefill_tokens_per_s.mid < 0.8 * rows.prefill_tokens_per_s.mid
    assert slower.decode_tokens_per_s.mid < rows.decode_tokens_per_s.mid


def test_overfilling_an_accelerator_is_a_cliff(catalog, gpu_machine):
    gpu, cpu = gpu_machine.devices
    fitting = made_on(gpu_machine, catalog, DENSE, {"cuda:0": 36})
    assert not terms(fitting, ".spill")
    needed = fitting.memory.devices[0].total_bytes
    tight = replace(gpu_machine, devices=(replace(gpu, memory_available_bytes=needed - 10**9), cpu))
    made = made_on(tight, catalog, DENSE, {"cuda:0": 36})
    assert EstimateWarning.OVERFULL in made.warnings
    assert made.decode_tokens_per_s.mid < 0.4 * fitting.decode_tokens_per_s.mid
    assert made.decode_tokens_per_s.high / made.decode_tokens_per_s.low > 3
    assert [term.bytes for term in terms(made, "decode.spill")] == [10**9]


def test_what_does_not_fit_in_ram_is_read_from_the_disk(catalog, machine):
    (cpu,) = machine.devices
    small = replace(machine, devices=(replace(cpu, memory_available_bytes=3 * 10**9),), disk_bytes_per_s=1e9)
    made = made_on(small, catalog, DENSE, {"cpu": 36}, backend="cpu")
    assert made.decode_tokens_per_s.mid < 0.5


def with_card(gpu_machine, backend, **changes):
    """The machine with a card of another backend."""
    gpu, cpu = gpu_machine.devices
    card = replace(gpu, backend=backend, device_id=f"{backend}:0", rates=replace(gpu.rates, device_id=f"{backend}:0"))
    return replace(gpu_machine, devices=(replace(card, **changes), cpu))


@pytest.mark.parametrize("backend", ["cuda", "rocm", "vulkan", "sycl"])
def test_prompts_stream_weights_on_the_cpu_to_a_card(backend, catalog, gpu_machine):
    card = with_card(gpu_machine, backend)
    alone = replace(gpu_machine, devices=gpu_machine.devices[1:])
    streamed = made_on(card, catalog, DENSE, {"cpu": 36}, backend=backend)
    assert terms(streamed, "prefill.link")
    assert streamed.prefill_tokens_per_s.mid > 2 * made_on(alone, catalog, DENSE, {"cpu": 36}).prefill_tokens_per_s.mid


def test_prompts_do_not_stream_if_told_not_to_or_to_chips_in_the_same_memory(catalog, gpu_machine):
    told = made_on(gpu_machine, catalog, DENSE, {"cpu": 36}, op_offload=False)
    shared = made_on(with_card(gpu_machine, "vulkan", unified=True), catalog, DENSE, {"cpu": 36}, backend="vulkan")
    assert not terms(told, "prefill.link")
    assert not terms(shared, "prefill.link")


def test_amd_cards_copy_slowly_out_of_a_mapped_file_alone(catalog, gpu_machine):
    def copy_s(backend, mmap):
        made = made_on(with_card(gpu_machine, backend), catalog, DENSE, {"cpu": 36}, backend=backend, mmap=mmap)
        return sum(term.time_s for term in terms(made, "prefill.link"))

    assert copy_s("rocm", mmap=True) > 2 * copy_s("cuda", mmap=True)
    assert copy_s("rocm", mmap=False) == pytest.approx(copy_s("cuda", mmap=False))


def test_experts_on_the_cpu_stream_like_whole_layers(catalog, gpu_machine):
    """The same bytes over the same link, so keeping the rest on the card never reads prompts slower."""
    layers = catalog.model(MOE).geometry.layers_count
    on_cpu = made_on(gpu_machine, catalog, MOE, {"cpu": layers})
    moved = made_on(gpu_machine, catalog, MOE, {"cuda:0": layers}, experts_on_cpu_layers_count=layers)
    link, own_link = (max(terms(made, "prefill.link"), key=lambda term: term.bytes) for made in (on_cpu, moved))
    assert 0.8 * link.bytes < own_link.bytes < link.bytes
    assert moved.prefill_tokens_per_s.mid > on_cpu.prefill_tokens_per_s.mid


def test_page_locked_weights_are_copied_faster_and_short_prompts_not_at_all(catalog, gpu_machine):
    mapped, locked = (made_on(gpu_machine, catalog, DENSE, {"cpu": 36}, mmap=mmap) for mmap in (True, False))
    assert locked.prefill_tokens_per_s.mid > mapped.prefill_tokens_per_s.mid
    few = replace(WORKLOAD, prompt_tokens=31)
    assert not terms(made_on(gpu_machine, catalog, DENSE, {"cpu": 36}, workload=few), "prefill.link")


def test_an_accelerator_in_the_computers_own_memory_leaves_room_for_the_rest(catalog, gpu_machine):
    """An integrated GPU that reports 24 GiB of a 24 GiB computer's memory cannot have it twice."""
    gpu, cpu = gpu_machine.devices
    model = catalog.model("Qwen/Qwen3-14B")
    artifact = weigh(model, "Q8_0")
    ram = replace(cpu, memory_available_bytes=12 * 1024**3)
    separate = Machine(name="card", profile_id="x", devices=(gpu, ram))
    integrated = replace(separate, devices=(replace(gpu, unified=True), ram))
    assert "cuda:0" in candidates(model, artifact, separate, WORKLOAD)[0].deployment.layers_by_device
    assert candidates(model, artifact, integrated, WORKLOAD) == []


@pytest.mark.parametrize(("hardware", "share"), [("Apple M4 (10-core GPU) 16GiB", 0.74), ("m4 max 64GiB", 0.81)])
def test_a_mac_offers_what_macos_lets_the_gpu_wire_down(catalog, hardware, share):
    machine = from_hardware(catalog.hardware(hardware), catalog)
    size = catalog.hardware(hardware).chip.memory_bytes
    assert machine.devices[0].memory_available_bytes == pytest.approx(size * share)


def test_the_processors_rearranged_copy_follows_its_instruction_sets(catalog, machine):
    model = catalog.model(DENSE)
    artifact = weigh(model, "Q8_0")
    deployment = Deployment(model_id=DENSE, quant_id="Q8_0", layers_by_device={"cpu": 36})
    intel = estimate(model, artifact, machine, WORKLOAD, deployment).memory
    arm = estimate(model, artifact, replace(machine, repacked_types=frozenset({"Q8_0"})), WORKLOAD, deployment).memory
    assert arm.total_bytes > 1.8 * intel.total_bytes
    assert from_hardware(catalog.hardware("raspberry pi 5 16GiB"), catalog).repacked_types >= {"Q8_0", "Q6_K"}
