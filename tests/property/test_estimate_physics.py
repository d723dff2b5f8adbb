"""What must hold for any estimate, whatever the model, quantisation, machine and workload."""

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor.candidates import base_deployment
from advisor.estimate import estimate
from advisor.types import Task, Workload
from catalog.load import load_catalog
from catalog.weights import weigh

_spec = importlib.util.spec_from_file_location(
    "machines_for_tests", Path(__file__).parents[1] / "unit" / "advisor" / "conftest.py"
)
_machines = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_machines)

MODELS = (
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "google/gemma-3-12b-it",
    "meta-llama/Llama-3.2-1B-Instruct",
    "Qwen/Qwen3.5-4B",
    "deepseek-ai/DeepSeek-V2-Lite-Chat",
    "openai/gpt-oss-20b",
    "LiquidAI/LFM2-1.2B",
)
QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
PROFILE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

models = st.sampled_from([name for name in MODELS if name in load_catalog().models])
workloads = st.builds(
    lambda prompt, output, users: Workload(
        task=Task.GENERAL,
        prompt_tokens=prompt,
        output_tokens=output,
        context_tokens=prompt + output,
        concurrency_count=users,
    ),
    st.integers(1, 8000),
    st.integers(1, 4000),
    st.sampled_from([1, 1, 2, 8]),
)


@cache
def machine(bandwidth: float = 50e9, flop_per_s: float = 500e9):
    base = _machines.make_machine(64)
    rates = _machines.make_rates(bandwidth=bandwidth, flop_per_s=flop_per_s)
    return replace(base, devices=(replace(base.devices[0], rates=rates),))


def predict(model_id, quant_id, workload, on=None):
    model = load_catalog().models[model_id]
    artifact = weigh(model, quant_id)
    on = on or machine()
    deployment = replace(
        base_deployment(model, artifact, on, "f16"), layers_by_device={"cpu": model.geometry.layers_count}
    )
    return estimate(model, artifact, on, workload, deployment)


@PROFILE
@given(models, st.sampled_from(QUANTS), workloads)
def test_no_term_beats_its_roof(model_id, quant_id, workload):
    rates = machine().devices[0].rates
    made = predict(model_id, quant_id, workload)
    for term in made.terms:
        if term.name.startswith("decode"):
            assert term.time_s >= 0.5 * term.bytes / rates.memory_bytes_per_s
        else:
            assert term.time_s >= 0.999 * term.flop / rates.flop_per_s or term.name.startswith("prefill.output")
        assert term.time_s >= 0


@PROFILE
@given(models, st.sampled_from(QUANTS), workloads, st.floats(1.1, 8))
def test_a_faster_machine_is_never_slower(model_id, quant_id, workload, factor):
    slow = predict(model_id, quant_id, workload)
    wide = predict(model_id, quant_id, workload, machine(bandwidth=50e9 * factor))
    strong = predict(model_id, quant_id, workload, machine(flop_per_s=500e9 * factor))
    assert wide.decode_tokens_per_s.mid >= slow.decode_tokens_per_s.mid
    assert strong.prefill_tokens_per_s.mid >= slow.prefill_tokens_per_s.mid


@PROFILE
@given(models, st.sampled_from(QUANTS), workloads, st.integers(1, 8000))
def test_a_longer_prompt_waits_longer_decodes_slower_and_takes_no_less_cache(model_id, quant_id, workload, more):
    """The compute buffer is left out: a longer context may give the engine's best-fit arena a luckier layout."""
    longer = replace(
        workload, prompt_tokens=workload.prompt_tokens + more, context_tokens=workload.context_tokens + more
    )
    short, long = predict(model_id, quant_id, workload), predict(model_id, quant_id, longer)
    assert long.first_token_s.mid >= short.first_token_s.mid
    assert long.decode_tokens_per_s.mid <= short.decode_tokens_per_s.mid * 1.0001
    assert sum(d.kv_bytes for d in long.memory.devices) >= sum(d.kv_bytes for d in short.memory.devices)


@PROFILE
@given(models, workloads)
def test_totals_are_the_sum_of_their_terms_and_intervals_are_ordered(model_id, workload):
    made = predict(model_id, "Q4_K_M", workload)
    decode_s = sum(term.time_s for term in made.terms if term.name.startswith("decode."))
    prefill_s = sum(term.time_s for term in made.terms if term.name.startswith("prefill."))
    assert abs(decode_s * made.decode_tokens_per_s.mid - 1) < 1e-9
    assert abs(prefill_s - made.first_token_s.mid) < 1e-9 * prefill_s
    for interval in (made.decode_tokens_per_s, made.prefill_tokens_per_s, made.first_token_s, made.load_s):
        assert 0 < interval.low <= interval.mid <= interval.high
    assert made.memory.total_bytes == sum(device.total_bytes for device in made.memory.devices)
