"""A what-if table answers as the estimator does: the promise that the HTML report makes."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor import whatif
from advisor.estimate import estimate
from advisor.machine import Machine, MachineDevice
from advisor.types import AttentionRates, Basis, Deployment, Rates, Workload
from catalog.load import load_catalog
from catalog.units import GIB
from catalog.weights import weigh

_MODELS = (
    "Qwen/Qwen2.5-Coder-7B-Instruct",  # full attention
    "google/gemma-3-12b-it",  # sliding windows of 1024 tokens
    "openai/gpt-oss-20b",  # windows of 128 tokens, mixture of experts
    "Qwen/Qwen3-30B-A3B",  # mixture of experts
)
_PLACES = ("cpu", "gpu", "both")


def _rates(device_id: str, backend: str, speed: float, threads_count: int | None) -> Rates:
    return Rates(
        device_id=device_id,
        backend=backend,
        basis=Basis.CALIBRATED,
        decode_s_per_byte={"*": 1 / (27e9 * speed), "Q6_K": 1 / (29e9 * speed)},
        prefill_s_per_flop={"*": 1 / (300e9 * speed)},
        kv_s_per_byte=1 / (24e9 * speed),
        attention_s_per_flop=1 / (100e9 * speed),
        decode_attention_s_per_flop=1 / (50e9 * speed),
        attention=tuple(_attention(head_dim, speed) for head_dim in (64, 128, 256)) if backend == "cpu" else (),
        decode_s_per_layer=2e-5,
        decode_s_per_moe_layer=4e-5,
        ubatch_half_tokens=20.0,
        threads_count=threads_count,
        memory_bytes_per_s=40e9 * speed,
        flop_per_s=700e9 * speed,
    )


def _attention(head_dim: int, speed: float) -> AttentionRates:
    return AttentionRates(
        head_dim=head_dim,
        kv_heads_count=8,
        queries_per_kv_head=4.0,
        prefill_s_per_flop=1 / (100e9 * speed),
        deep_prefill_s_per_flop=1 / (60e9 * speed),
        decode_s_per_flop=1 / (50e9 * speed),
        deep_decode_s_per_flop=1 / (head_dim * 2e8 * speed),
    )


def _machine() -> Machine:
    cpu = MachineDevice(
        device_id="cpu",
        backend="cpu",
        name="cpu",
        memory_available_bytes=64 * GIB,
        rates=_rates("cpu", "cpu", 1.0, 8),
    )
    gpu = MachineDevice(
        device_id="cuda:0",
        backend="cuda",
        name="gpu",
        memory_available_bytes=24 * GIB,
        rates=_rates("cuda:0", "cuda", 20.0, None),
    )
    return Machine(name="test", profile_id="test", devices=(gpu, cpu))


@cache
def _case(model_id: str, place: str):
    model = load_catalog().model(model_id)
    artifact = weigh(model, "Q4_K_M")
    layers = model.geometry.layers_count
    split = {
        "cpu": {"cpu": layers},
        "gpu": {"cuda:0": layers},
        "both": {"cpu": layers // 2, "cuda:0": layers - layers // 2},
    }
    deployment = Deployment(model_id=model.model_id, quant_id="Q4_K_M", layers_by_device=split[place])
    asked = Workload(prompt_tokens=3000, output_tokens=700, context_tokens=5000)
    made = estimate(model, artifact, _machine(), asked, deployment)
    table = whatif.with_whatif(made, model, artifact, _machine()).whatif
    return model, artifact, deployment, table


@settings(max_examples=150, deadline=None)
@given(
    model_id=st.sampled_from(_MODELS),
    place=st.sampled_from(_PLACES),
    prompt=st.integers(min_value=0, max_value=9),
    output=st.integers(min_value=1, max_value=32768),
    context=st.integers(min_value=0, max_value=7),
    users=st.integers(min_value=0, max_value=3),
)
def test_the_table_equals_the_estimator(model_id, place, prompt, output, context, users):
    model, artifact, deployment, table = _case(model_id, place)

    def rung(name: str, index: int) -> int:
        return int(table[name][min(index, len(table[name]) - 1)])

    workload = Workload(
        prompt_tokens=rung("prompt_tokens", prompt),
        output_tokens=output,
        context_tokens=rung("context_tokens", context),
        concurrency_count=rung("users_count", users),
    )
    plan = estimate(model, artifact, _machine(), workload, deployment).memory
    real = estimate(model, artifact, _machine().with_room(), workload, deployment)  # the speed as if it did fit
    told = whatif.answer(table, workload)
    assert told is not None
    assert told.decode_tokens_per_s == pytest.approx(real.decode_tokens_per_s.mid, rel=1e-5)
    assert told.prefill_tokens_per_s == pytest.approx(real.prefill_tokens_per_s.mid, rel=1e-5)
    assert told.first_token_s == pytest.approx(real.first_token_s.mid, rel=1e-5)
    for device in real.memory.devices:
        held = whatif.memory_bytes(table, device.device_id, workload.context_tokens, workload.concurrency_count)
        assert held == device.total_bytes
    assert whatif.fits(table, plan, workload.context_tokens, workload.concurrency_count) == plan.fits


def test_what_was_not_asked_about_is_unknown():
    table = _case(_MODELS[0], "cpu")[-1]
    assert whatif.decode_s(table, 1000.0, users_count=3) is None
    assert whatif.memory_bytes(table, "cpu", 12345) is None
    assert whatif.prefill_s(table, 1) is None
    assert whatif.prefill_s({}, 512) is None
    assert whatif.answer({}, Workload()) is None


def test_a_short_context_limits_the_ladders():
    model, artifact, deployment, _ = _case(_MODELS[0], "cpu")
    table = whatif.tabulate(
        lambda workload: estimate(model, artifact, _machine(), workload, deployment),
        Workload(prompt_tokens=300, output_tokens=100, context_tokens=512),
        threads_count=8,
        max_context_tokens=1024,
    )
    assert max(table["context_tokens"]) <= 1024
    assert max(table["prompt_tokens"]) <= 1024
    assert table["context_tokens"] == (512,)
