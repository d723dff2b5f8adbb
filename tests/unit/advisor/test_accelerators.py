"""Calibrating accelerators: which the engine can use, and how twins are held and timed there."""

from dataclasses import replace

import pytest
import report_examples
from timed_twins import FakeWorker, listed, rehearsing

from advisor.calibration import calibrate as calibrate_module
from advisor.calibration import rehearse as rehearse_module
from advisor.calibration.accelerator_experiments import accelerator_experiments
from advisor.calibration.accelerators import usable_accelerators
from advisor.calibration.experiment import Timing
from advisor.calibration.rehearse import rehearse
from advisor.engines.base import options_for
from advisor.machines import from_profile
from advisor.types import Basis, Deployment, Rates
from catalog.load import load_catalog
from probes.types import Device, HardwareProfile

EXPERIMENTS = accelerator_experiments()
RATES = Rates(
    device_id="cuda:0",
    backend="cuda",
    basis=Basis.CALIBRATED,
    decode_s_per_byte={"*": 5e-13},
    prefill_s_per_flop={"*": 6e-15},
    kv_s_per_byte=1e-12,
    attention_s_per_flop=5e-15,
    decode_s_per_operation=1.5e-6,
    host_s_per_launch=1.2e-5,
)


def card(number: int, name: str = "NVIDIA H100 80GB HBM3", kind: str = "cuda") -> Device:
    return Device(
        device_id=f"{kind}:{number}", kind=kind, name=name, memory_total_bytes=80 << 30, memory_free_bytes=79 << 30
    )


def with_cards(*cards: Device) -> HardwareProfile:
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


@pytest.fixture
def _no_writing(monkeypatch):
    monkeypatch.setattr(rehearse_module, "write_experiment", lambda experiment, path: path.write_bytes(b""))
    monkeypatch.setattr(rehearse_module, "prefer", lambda pid: None)


@pytest.mark.usefixtures("_no_writing")
def test_twins_are_held_whole_by_the_accelerator_named_and_warmed_up_first(tmp_path):
    worker = FakeWorker()
    (item,) = rehearse(
        worker, EXPERIMENTS[:1], tmp_path, threads_count=4, memory_bytes=1 << 40, device="CUDA1", rounds_count=1
    )
    (options,) = worker.options
    assert options.devices == ("CUDA1",)
    assert options.gpu_layers_count > 100
    timings = EXPERIMENTS[0].timings
    (session,) = worker.sessions
    warm_up = [Timing(phase="decode", tokens_count=2), *(replace(timing, most_count=None) for timing in timings)]
    assert session.timed[: len(warm_up)] == warm_up
    assert set(item.windows) == set(timings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_no_writing")
def test_the_processor_s_twins_are_kept_off_accelerators(tmp_path):
    worker = FakeWorker()
    rehearse(worker, EXPERIMENTS[:1], tmp_path, threads_count=4, memory_bytes=1 << 40, rounds_count=1)
    assert [(one.devices, one.gpu_layers_count) for one in worker.options] == [((), 0)]


@pytest.mark.usefixtures("_no_writing")
def test_one_calibration_holds_every_card_and_the_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    monkeypatch.setattr(calibrate_module, "engine_key", lambda: "llama.cpp-test")
    worker = FakeWorker(("CUDA0", card(0).name), ("CUDA1", card(1).name))
    monkeypatch.setattr("advisor.engines.llamacpp.open_worker", lambda: worker)
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(rehearse_module, "rehearse", rehearsing(RATES, asked))
    profile = with_cards(card(0), card(1))
    shares: list[float] = []
    made = calibrate_module.calibrate(profile, on_progress=lambda done, note: shares.append(done))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))
    assert [one.device_id for one in made.rates] == ["cuda:0", "cuda:1", "cpu"]
    assert [options.get("device") for options in asked].count("CUDA0") == 1
    assert any(name.startswith("cuda:0 wide.Q4_K") for name in made.samples)
    assert any(name.startswith("wide.Q4_K") for name in made.samples)
    machine = from_profile(profile, made, load_catalog())
    assert [device.rates.basis for device in machine.devices] == [Basis.CALIBRATED] * 3
    several = from_profile(profile, None, load_catalog()).devices[0].rates
    assert machine.devices[0].rates.batch_half_tokens == several.batch_half_tokens is not None
    other = from_profile(profile, made, load_catalog(), backend="vulkan")
    assert other.devices[0].rates.basis != Basis.CALIBRATED  # timed through another backend


@pytest.mark.parametrize(("backend", "devices"), [("cpu", ()), ("cuda", None)])
def test_a_run_on_the_processor_is_not_lent_an_accelerator(backend, devices):
    deployment = Deployment(model_id="m", quant_id="q", backend=backend, layers_by_device={"cpu": 4})
    assert options_for(deployment, 4096).devices == devices
    for lent in (True, False):
        assert options_for(replace(deployment, op_offload=lent), 4096).op_offload is lent
