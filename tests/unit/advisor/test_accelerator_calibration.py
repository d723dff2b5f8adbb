"""Calibrating accelerators: which there are, which twins show their rates, and the rates found again."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import report_examples
from hypothesis import given
from hypothesis import strategies as st

from advisor import roofline
from advisor.attention import NEAR_TOKENS
from advisor.calibration import calibration_run
from advisor.calibration import rehearse as rehearse_module
from advisor.calibration.accelerator_experiments import accelerator_experiments
from advisor.calibration.accelerator_fit import fit_accelerator
from advisor.calibration.accelerators import usable_accelerators
from advisor.calibration.experiments import TYPES, Experiment, Timing, work_of
from advisor.calibration.least_squares import Observation, observe
from advisor.calibration.rehearse import Rehearsed, batches, rehearse
from advisor.engines.base import LoadOptions, Window, options_for
from advisor.machines import from_profile
from advisor.roofline import overlapped_s
from advisor.types import AttentionRates, Basis, Deployment, EngineBuild, Rates
from catalog.load import load_catalog
from probes.types import Device
from reports.wording import term_part

EXPERIMENTS = accelerator_experiments()
HEADS = ((32, 8, 128), (32, 4, 128), (16, 2, 128), (32, 8, 64), (8, 4, 256), (32, 32, 128), (16, 16, 96))


def attention(index: int, heads: tuple[int, int, int]) -> AttentionRates:
    count, kv_count, head_dim = heads
    prefill, decode = (4.0 + index) * 1e-15, (1.0 + index) * 1e-13
    return AttentionRates(
        head_dim=head_dim,
        kv_heads_count=kv_count,
        queries_per_kv_head=count / kv_count,
        prefill_s_per_flop=prefill,
        deep_prefill_s_per_flop=prefill,
        decode_s_per_flop=decode,
        deep_decode_s_per_flop=decode,
    )


TRUE_RATES = Rates(
    device_id="cuda:0",
    backend="cuda",
    basis=Basis.CALIBRATED,
    decode_s_per_byte={"*": 8e-13, "Q4_K": 4.5e-13, "Q8_0": 4e-13, "experts:Q4_K": 6e-13},
    prefill_s_per_flop={"*": 9e-15, "Q4_K": 5e-15, "Q8_0": 4e-15, "experts:Q4_K": 1.2e-14},
    kv_s_per_byte=0.0,
    attention_s_per_flop=0.0,
    attention=tuple(attention(index, heads) for index, heads in enumerate(HEADS)),
    fuses=True,
    decode_s_per_token=1e-4,
    decode_s_per_operation=1.5e-6,
    decode_s_per_activation=4e-9,
    decode_s_per_logit=5e-10,
    decode_s_per_cached_token=4e-9,
    state_s_per_byte=1e-12,
    state_s_per_flop=2e-13,
    prefill_s_per_operation=8e-6,
    prefill_s_per_embedded_value=1e-10,
    expert_s_per_byte={"*": 1e-12},
    host_s_per_pass=4e-4,
    host_s_per_token=3e-6,
    host_s_per_mask_cell=2e-10,
    host_s_per_launch=1.2e-5,
    host_s_per_embedded_value={"*": 1e-9, "F16": 2e-10, "IQ3_S": 6e-9},
)


def price_s(experiment: Experiment, timing: Timing, rates: Rates) -> float:
    price = roofline.price_decode if timing.phase == "decode" else roofline.price_prefill
    return roofline.total_s(price(work_of(experiment, timing), rates))


def observations(rates: Rates = TRUE_RATES) -> list[Observation]:
    return [
        observe(experiment, timing, [price_s(experiment, timing, rates)])
        for experiment in EXPERIMENTS
        for timing in experiment.timings
    ]


@pytest.fixture(scope="module")
def found() -> Rates:
    return fit_accelerator(observations(), device_id="cuda:0", backend="cuda", memory_bytes_per_s=3e12)


def test_every_twin_has_a_name_of_its_own_and_they_take_little_memory():
    assert len({experiment.experiment_id for experiment in EXPERIMENTS}) == len(EXPERIMENTS)
    assert sum(experiment.weights_bytes for experiment in EXPERIMENTS) < 20e9
    assert {f"wide.{name}" for name in TYPES} <= {experiment.experiment_id for experiment in EXPERIMENTS}


def test_embeddings_do_not_hide_what_a_type_s_weights_take():
    wide = [experiment for experiment in EXPERIMENTS if experiment.experiment_id.startswith("wide.")]
    looked_up = {work_of(one, timing).embedding_type for one in wide for timing in one.timings}
    assert looked_up == {"F16"}


@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_the_rates_that_made_the_times_are_found_again(found, phase):
    for experiment in EXPERIMENTS:
        for timing in experiment.timings:
            if timing.phase == phase:
                true_s = price_s(experiment, timing, TRUE_RATES)
                # small ones take about as long to launch as to compute: which was waited for is told less well
                within = 0.04 if experiment.experiment_id.startswith("attention") else 0.02
                assert price_s(experiment, timing, found) == pytest.approx(true_s, rel=within), experiment.experiment_id


def test_what_the_host_does_is_told_from_what_the_accelerator_does(found):
    assert found.decode_s_per_token == pytest.approx(1e-4, rel=0.05)
    assert found.decode_s_per_cached_token == pytest.approx(4e-9, rel=0.05)
    assert found.host_s_per_token == pytest.approx(3e-6, rel=0.2)
    assert found.host_s_per_launch == pytest.approx(1.2e-5, rel=0.05)
    assert found.host_s_per_embedded_value["IQ3_S"] == pytest.approx(6e-9, rel=0.1)
    assert found.prefill_s_per_flop["Q4_K"] == pytest.approx(5e-15, rel=0.1)


def test_embeddings_never_timed_are_looked_up_like_a_relative_or_like_the_slowest(found):
    by_type = found.host_s_per_embedded_value
    assert by_type["BF16"] == by_type["F16"]
    assert by_type["*"] == max(by_type.values())


def test_no_byte_is_found_faster_than_the_memory_probed():
    slow_memory = fit_accelerator(observations(), device_id="cuda:0", backend="cuda", memory_bytes_per_s=2e12)
    assert min(value for name, value in slow_memory.decode_s_per_byte.items() if name in TYPES) >= 1.0 / 2e12


def test_attention_is_found_by_shape_of_heads_at_any_depth(found):
    by_shape = {
        (one.head_dim, one.kv_heads_count, one.queries_per_kv_head): one for one in found.attention if one.flash
    }
    for true in TRUE_RATES.attention:
        own = by_shape[true.head_dim, true.kv_heads_count, true.queries_per_kv_head]
        assert own.decode_s_per_flop == pytest.approx(true.decode_s_per_flop, rel=0.02)
        assert own.deep_prefill_s_per_flop == pytest.approx(true.prefill_s_per_flop, rel=0.02)


def test_a_mixture_of_a_power_of_two_of_experts_launches_fewer_operations():
    names = {experiment.experiment_id: experiment for experiment in EXPERIMENTS}
    powers, other = (work_of(one, one.timings[0]) for one in (names["many-experts.Q4_K"], names["small-experts.Q6_K"]))
    assert powers.fusible_count > 0.0
    assert other.fusible_count == 0.0


def test_waiting_for_the_host_is_a_term_of_its_own_and_the_terms_make_up_the_prompt():
    names = {experiment.experiment_id: experiment for experiment in EXPERIMENTS}
    work = work_of(names["embedded1024.F16"], Timing(phase="prefill", tokens_count=512))
    terms = roofline.price_prefill(work, TRUE_RATES)
    (waited,) = [term for term in terms if term.name == "prefill.host"]
    assert waited.time_s > 0.5 * roofline.total_s(terms)  # a small layer is mostly waiting
    assert term_part(waited.name) == "Waiting for the processor"


seconds = st.floats(0.0, 1.0)


@given(seconds, seconds, seconds, st.integers(1, 50))
def test_an_accelerator_and_its_host_hide_each_other_s_work_but_never_their_own(prepare_s, launch_s, device_s, passes):
    total_s = overlapped_s(prepare_s, launch_s, device_s, passes)
    slack = 1e-9
    assert total_s >= passes * device_s + prepare_s - slack
    assert total_s >= passes * (prepare_s + launch_s) - slack
    assert total_s <= passes * (prepare_s + launch_s + device_s) + slack
    many = overlapped_s(*(np.array([value] * 2) for value in (prepare_s, launch_s, device_s, float(passes))))
    assert many == pytest.approx([total_s] * 2)


def card(number: int, name: str = "NVIDIA H100 80GB HBM3", kind: str = "cuda") -> Device:
    return Device(
        device_id=f"{kind}:{number}", kind=kind, name=name, memory_total_bytes=80 << 30, memory_free_bytes=79 << 30
    )


def listed(*rows: tuple[str, str]) -> list[dict[str, object]]:
    return [{"name": name, "description": text, "free_bytes": 8 << 30} for name, text in rows]


def with_cards(*cards: Device):
    return replace(report_examples.profile(), devices=(*cards, *report_examples.profile().devices))


def test_accelerators_are_matched_by_name_before_number():
    profile = with_cards(card(0, "NVIDIA RTX A2000"), card(1, "NVIDIA RTX 4090"))
    engine = listed(("CUDA0", "NVIDIA RTX 4090"), ("CUDA1", "NVIDIA RTX A2000"), ("CPU", "a processor"))
    found = usable_accelerators(profile, engine)
    assert {one.device_id: one.engine_name for one in found} == {"cuda:0": "CUDA1", "cuda:1": "CUDA0"}


def test_two_cards_of_a_name_are_two_devices():
    found = usable_accelerators(with_cards(card(0), card(1)), listed(*[(f"CUDA{n}", card(n).name) for n in range(2)]))
    assert [one.engine_name for one in found] == ["CUDA0", "CUDA1"]


@pytest.mark.parametrize(
    ("kind", "engine_name", "backend"),
    [("rocm", "ROCm0", "rocm"), ("metal", "MTL0", "metal"), ("xpu", "SYCL0", "sycl"), ("vulkan", "Vulkan0", "vulkan")],
)
def test_accelerators_that_the_engine_describes_otherwise_are_matched_by_number(kind, engine_name, backend):
    (one,) = usable_accelerators(with_cards(card(0, "GPU", kind)), listed((engine_name, "something else")))
    assert (one.engine_name, one.backend) == (engine_name, backend)


def test_a_card_that_the_engine_was_built_without_is_not_calibrated():
    assert usable_accelerators(with_cards(card(0)), listed(("CPU", "a processor"))) == ()


class Session:
    """A model that takes what rates say, in no time."""

    def __init__(self, worker: "Worker", options: LoadOptions) -> None:
        self.worker = worker
        self.options = options

    def decode(self, tokens_count: int, *, depth_tokens: int = 0) -> Window:
        return self._window("decode", tokens_count, depth_tokens)

    def prefill(self, tokens_count: int, *, depth_tokens: int = 0) -> Window:
        return self._window("prefill", tokens_count, depth_tokens)

    def _window(self, phase: str, tokens_count: int, depth_tokens: int) -> Window:
        self.worker.timed.append((phase, tokens_count, depth_tokens))
        return Window(
            phase=phase,
            tokens_count=tokens_count,
            depth_tokens=depth_tokens,
            started_s=0.0,
            elapsed_s=(0.001,) * (tokens_count if phase == "decode" else 1),
        )

    def close(self) -> None:
        pass


class Worker:
    pid = 0
    info: ClassVar = {"devices": listed(("CUDA0", card(0).name), ("CUDA1", card(1).name), ("CPU", "a processor"))}

    def __init__(self) -> None:
        self.held: list[LoadOptions] = []
        self.timed: list[tuple[str, int, int]] = []

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def build(self) -> EngineBuild:
        return EngineBuild(id="llama.cpp", version="1", build=None)

    def hold(self, path: str, options: LoadOptions) -> Session:
        assert Path(path).is_file()
        self.held.append(options)
        return Session(self, options)


@pytest.fixture
def _no_writing(monkeypatch):
    monkeypatch.setattr(rehearse_module, "write_experiment", lambda experiment, path: path.write_bytes(b""))
    monkeypatch.setattr(rehearse_module, "prefer", lambda pid: None)


@pytest.mark.usefixtures("_no_writing")
def test_twins_are_held_whole_by_the_accelerator_named_and_warmed_up_first(tmp_path):
    worker = Worker()
    (item,) = rehearse(
        worker, EXPERIMENTS[:1], tmp_path, threads_count=4, memory_bytes=1 << 40, device="CUDA1", rounds_count=1
    )
    (options,) = worker.held
    assert options.devices == ("CUDA1",)
    assert options.gpu_layers_count > 100
    timings = EXPERIMENTS[0].timings
    warm = [(timing.phase, timing.tokens_count, timing.depth_tokens) for timing in timings]
    assert worker.timed[: 1 + len(warm)] == [("decode", 2, 0), *warm]
    assert set(item.windows) == set(timings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_no_writing")
def test_the_processor_s_twins_are_kept_off_accelerators(tmp_path):
    worker = Worker()
    rehearse(worker, EXPERIMENTS[:1], tmp_path, threads_count=4, memory_bytes=1 << 40, rounds_count=1)
    assert [(one.devices, one.gpu_layers_count) for one in worker.held] == [((), 0)]


def test_caches_and_logits_count_where_they_are_taken_whole():
    few = [experiment for experiment in EXPERIMENTS if experiment.experiment_id.startswith("attention")]
    room = sum(experiment.weights_bytes for experiment in few) * 2
    assert len(batches(few, room)) == 1
    assert len(batches(few, room, on_accelerator=True)) > 1


@pytest.mark.usefixtures("_no_writing")
def test_one_calibration_holds_every_card_and_the_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    monkeypatch.setattr(calibration_run, "engine_key", lambda: "llama.cpp-test")
    monkeypatch.setattr("advisor.engines.llamacpp.open_worker", Worker)

    def exactly(worker, planned, directory, *, device=None, threads_count=None, **options):
        asked.append((device, threads_count))
        made = []
        for experiment in planned:
            windows = {}
            for timing in experiment.timings:
                count = timing.tokens_count if timing.phase == "decode" else 1
                time_s = price_s(experiment, timing, TRUE_RATES)
                windows[timing] = [
                    Window(
                        phase=timing.phase,
                        tokens_count=timing.tokens_count,
                        depth_tokens=timing.depth_tokens,
                        started_s=0.0,
                        elapsed_s=(time_s,) * count,
                    )
                ]
            made.append(Rehearsed(experiment, windows))
        return tuple(made)

    asked: list[tuple[str | None, int | None]] = []
    monkeypatch.setattr(rehearse_module, "rehearse", exactly)
    profile = with_cards(card(0), card(1))
    shares: list[float] = []
    made = calibration_run.calibrate(profile, on_progress=lambda done, note: shares.append(done))
    assert [one.device_id for one in made.rates] == ["cuda:0", "cuda:1", "cpu"]
    assert [device for device, _ in asked].count("CUDA0") == 1
    assert any(name.startswith("cuda:0 wide.Q4_K") for name in made.samples)
    assert any(name.startswith("wide.Q4_K") for name in made.samples)
    machine = from_profile(profile, made, load_catalog())
    assert [device.rates.basis for device in machine.devices] == [Basis.CALIBRATED] * 3
    several = from_profile(profile, None, load_catalog()).devices[0].rates
    assert machine.devices[0].rates.batch_half_tokens == several.batch_half_tokens is not None
    other = from_profile(profile, made, load_catalog(), backend="vulkan")
    assert other.devices[0].rates.basis != Basis.CALIBRATED  # timed through another backend


def test_deep_twins_are_deep_enough_to_show_what_depth_costs():
    deep = [timing.depth_tokens for one in EXPERIMENTS for timing in one.timings if timing.depth_tokens]
    assert min(deep) > NEAR_TOKENS


@pytest.mark.parametrize(("backend", "devices"), [("cpu", ()), ("cuda", None)])
def test_a_run_on_the_processor_is_not_lent_an_accelerator(backend, devices):
    deployment = Deployment(model_id="m", quant_id="q", backend=backend, layers_by_device={"cpu": 4})
    assert options_for(deployment, 4096).devices == devices
    assert [options_for(replace(deployment, op_offload=lent), 4096).op_offload for lent in (True, False)] == [
        True,
        False,
    ]
