"""Physics of data-sheet predictions: under every roof, better chips never slower, depth never free."""

from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from advisor import roofline
from advisor.datasheets.datasheet import TODAY, rates_for_chip
from advisor.datasheets.factors import Setting
from advisor.work import decode_work, prefill_work
from catalog.load import load_catalog
from catalog.weights import weigh

MODELS = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen/Qwen3-30B-A3B",
    "google/gemma-3-4b-it",
    "openai/gpt-oss-20b",
    "zai-org/GLM-4.7-Flash",
)
CHIPS = (
    ("NVIDIA GeForce RTX 4090", "cuda"),
    ("NVIDIA GeForce RTX 4090", "vulkan"),
    ("NVIDIA Tesla P100 PCIe 16GB", "cuda"),
    ("NVIDIA H100 SXM", "cuda"),
    ("AMD Radeon RX 7900 XTX", "rocm"),
    ("AMD Radeon RX 580", "vulkan"),
    ("Apple M3 Max (40-core GPU)", "metal"),
    ("Intel Arc A770", "sycl"),
    ("AMD EPYC 9654 (DDR5-4800 12ch)", "cpu"),
)
models, chips = st.sampled_from(MODELS), st.sampled_from(CHIPS)
quants = st.sampled_from(("Q4_0", "Q4_K_M", "Q8_0", "F16"))
settings_ = st.builds(Setting, built=st.one_of(st.none(), st.floats(2023.5, 2027.0)), flash_attention=st.booleans())


@cache
def catalog():
    return load_catalog()


@cache
def weights(model_id, quant_id):
    return weigh(catalog().model(model_id), quant_id)


def decode_s(model_id, quant_id, chip, backend, *, depth=0.0, setting=TODAY, users=1):
    work = decode_work(
        weights(model_id, quant_id), catalog().model(model_id).geometry, depth_tokens=depth, batch_count=users
    )
    return roofline.total_s(roofline.price_decode(work, rates_for_chip(chip, backend, setting=setting))), work


def prefill_s(model_id, quant_id, chip, backend, *, tokens=512, depth=0.0, setting=TODAY):
    work = prefill_work(
        weights(model_id, quant_id), catalog().model(model_id).geometry, prompt_tokens=tokens, depth_tokens=depth
    )
    return roofline.total_s(roofline.price_prefill(work, rates_for_chip(chip, backend, setting=setting))), work


@given(models, quants, chips, settings_, st.floats(0, 100_000))
@settings(max_examples=60, deadline=None)
def test_no_estimate_passes_its_roof(model_id, quant_id, chip, setting, depth):
    spec, backend = catalog().chip(chip[0]), chip[1]
    time_s, work = decode_s(model_id, quant_id, spec, backend, depth=depth, setting=setting)
    assert time_s >= (work.weight_bytes + work.kv_bytes) / spec.memory_bytes_per_s * (1 - 1e-9)
    time_s, work = prefill_s(model_id, quant_id, spec, backend, depth=depth, setting=setting)
    peak = max(rate or 0.0 for rate in (spec.int8_op_per_s, spec.fp16_flop_per_s, 8.0 * (spec.fp32_flop_per_s or 0.0)))
    assert time_s >= work.weight_flop / peak * 0.99
    assert time_s >= work.weight_bytes / spec.memory_bytes_per_s * 0.99


@given(models, quants, chips, settings_, st.floats(1.0, 8.0))
@settings(max_examples=60, deadline=None)
def test_more_bandwidth_is_never_slower(model_id, quant_id, chip, setting, factor):
    spec, backend = catalog().chip(chip[0]), chip[1]
    faster = replace(spec, memory_bytes_per_s=spec.memory_bytes_per_s * factor)
    for time in (decode_s, prefill_s):
        assert time(model_id, quant_id, faster, backend, setting=setting)[0] <= time(
            model_id, quant_id, spec, backend, setting=setting
        )[0] * (1 + 1e-9)


@given(models, quants, chips, settings_, st.floats(1.0, 8.0))
@settings(max_examples=60, deadline=None)
def test_more_arithmetic_is_never_slower(model_id, quant_id, chip, setting, factor):
    spec, backend = catalog().chip(chip[0]), chip[1]
    rates = {
        name: getattr(spec, name) and getattr(spec, name) * factor
        for name in ("fp32_flop_per_s", "fp16_flop_per_s", "int8_op_per_s")
    }
    for time in (decode_s, prefill_s):
        assert time(model_id, quant_id, replace(spec, **rates), backend, setting=setting)[0] <= time(
            model_id, quant_id, spec, backend, setting=setting
        )[0] * (1 + 1e-9)


@given(models, quants, chips, settings_, st.floats(0, 50_000), st.floats(1, 50_000))
@settings(max_examples=60, deadline=None)
def test_depth_is_never_free(model_id, quant_id, chip, setting, depth, further):
    spec, backend = catalog().chip(chip[0]), chip[1]
    for time in (decode_s, prefill_s):
        near = time(model_id, quant_id, spec, backend, depth=depth, setting=setting)[0]
        assert time(model_id, quant_id, spec, backend, depth=depth + further, setting=setting)[0] >= near * (1 - 1e-9)


@given(models, chips, settings_)
@settings(max_examples=40, deadline=None)
def test_twice_the_bits_decode_slower(model_id, chip, setting):
    spec, backend = catalog().chip(chip[0]), chip[1]
    assert (
        decode_s(model_id, "Q4_0", spec, backend, setting=setting)[0]
        < decode_s(model_id, "Q8_0", spec, backend, setting=setting)[0]
    )


@given(models, quants, chips, st.integers(1, 64))
@settings(max_examples=40, deadline=None)
def test_a_further_user_never_speeds_up_a_step(model_id, quant_id, chip, users):
    spec, backend = catalog().chip(chip[0]), chip[1]
    fewer = decode_s(model_id, quant_id, spec, backend, users=users)[0]
    assert decode_s(model_id, quant_id, spec, backend, users=users + 1)[0] >= fewer * (1 - 1e-9)
