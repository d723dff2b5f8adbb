"""What quantisation costs: the formula's constants repeat the fits on the sources."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.facts.quants import measured_divergences
from catalog.facts.sources import read_table
from catalog.load import load_catalog
from catalog.quantloss import SIZE_EXPONENT, divergence_of_bits, loss_frac, robust_params_count

CATALOG = load_catalog()
MEASURED = measured_divergences(read_table("quants"))
CALIBRATED = {name: value for name, value in MEASURED.items() if not name.startswith(("F16", "Q8", "NVFP4"))}
ROUNDED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1")


def test_divergence_falls_with_bits_as_the_published_types_do():
    points = [
        (CATALOG.quants[name].bits_per_weight, math.log(value))
        for name, value in CALIBRATED.items()
        if name in CATALOG.quants and name not in ROUNDED
    ]
    slope, intercept = np.polyfit(*zip(*points, strict=True), 1)
    assert slope == pytest.approx(-1.33, abs=0.03)
    assert intercept == pytest.approx(2.92, abs=0.1)
    above = [math.log(MEASURED[name] / divergence_of_bits(CATALOG.quants[name].bits_per_weight)) for name in ROUNDED]
    assert np.mean(above) == pytest.approx(0.92, abs=0.1)


def test_the_size_exponent_is_that_of_the_same_types_on_two_sizes():
    values = {}
    for row in read_table("quants"):
        if row["metric"] == "kl_divergence_mean" and row["kind"] == "gguf_ftype":
            values.setdefault((row["name"], row["model"]), float(row["value"]))
    small, large = "meta-llama/Meta-Llama-3-8B", "Huihui-Qwen3.8-27B-abliterated (Qwen3.8-27B)"
    ratios = [
        math.log(values[name, small] / values[name, large]) / math.log(27 / 8)
        for name, model in values
        if model == small and (name, large) in values
    ]
    assert np.median(ratios) == pytest.approx(SIZE_EXPONENT, abs=0.15)


def test_a_mixture_loses_like_a_model_between_its_total_and_its_active_size():
    seen = {}
    for row in read_table("quants"):
        if row["metric"] == "kl_divergence_mean" and row["name"].startswith("NVFP4"):
            seen[row["model"]] = float(row["value"])
    ratio = seen["Qwen/Qwen3.6-35B-A3B"] / seen["Qwen/Qwen3.6-27B"]
    mixture, dense = (robust_params_count(CATALOG.model(name)) for name in ("qwen3.6-35b-a3b", "qwen3.6-27b"))
    assert (dense / mixture) ** SIZE_EXPONENT == pytest.approx(ratio, rel=0.1)
    total = CATALOG.model("qwen3.6-35b-a3b").params_total_count
    assert (dense / total) ** SIZE_EXPONENT < 0.7 * ratio


def test_zero_shot_accuracy_lost_follows_the_formula():
    lost = {}
    for row in read_table("quants"):
        if row["metric"] == "zero_shot_avg_4task" and row["kind"] == "gguf_ftype":
            lost[row["name"]] = float(row["value"])
    full, chance = lost["F32"], 0.42
    for name in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q6_K"):
        seen = (full - lost[name]) / (full - chance)
        assert loss_frac(MEASURED[name], 8e9, "general") == pytest.approx(seen, abs=0.025)


@pytest.mark.parametrize(
    ("quant", "params", "task", "low", "high"),
    [
        ("Q8_0", 8e9, "chat", 0, 0.001),
        ("Q6_K", 8e9, "coding", 0, 0.005),
        ("Q4_K_M", 8e9, "chat", 0.004, 0.012),
        ("Q4_K_M", 7e10, "coding", 0.001, 0.008),
        ("IQ3_XXS", 8e9, "chat", 0.03, 0.08),
        ("Q2_K", 8e9, "coding", 0.1, 0.25),
        ("IQ1_S", 8e9, "chat", 0.35, 0.7),
        ("BF16", 5e8, "coding", 0, 0),
        ("AWQ-4bit", 8e9, "chat", 0.008, 0.02),
        ("FP8", 8e9, "chat", 0, 0.002),
    ],
)
def test_losses_are_of_the_known_size(quant, params, task, low, high):
    assert low <= CATALOG.quant_loss_frac(quant, int(params), task) <= high


@given(
    st.sampled_from(["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XXS", "IQ1_S"]),
    st.integers(10**6, 10**12),
    st.sampled_from(["chat", "coding", "embedding"]),
)
def test_larger_models_lose_less_and_coding_loses_most(quant, params, task):
    loss = CATALOG.quant_loss_frac(quant, params, task)
    assert 0 <= loss <= 1  # a tiny model at one bit rounds to all of it
    assert CATALOG.quant_loss_frac(quant, params * 2, task) <= loss
    assert CATALOG.quant_loss_frac(quant, params, "coding") >= loss


@pytest.mark.parametrize(
    "names",
    [
        ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"],
        ["IQ4_XS", "IQ3_M", "IQ3_XXS", "IQ2_M", "IQ2_XXS", "IQ1_S"],
        ["MLX-8bit", "MLX-6bit", "MLX-4bit", "MLX-2bit"],
    ],
)
def test_fewer_bits_of_a_family_never_lose_less(names):
    losses = [CATALOG.quant_loss_frac(name, 8_000_000_000, "chat") for name in names]
    assert losses == sorted(losses)


def test_experts_lose_nothing_in_the_format_they_were_trained_in():
    native, converted = CATALOG.model("gpt-oss-20b"), CATALOG.model("qwen3-30b-a3b")
    assert CATALOG.weight_loss_frac("MXFP4", native, "coding") == 0
    assert CATALOG.weight_loss_frac("MXFP4_MOE", native, "coding") == CATALOG.weight_loss_frac("Q8_0", native, "coding")
    assert CATALOG.weight_loss_frac("MXFP4_MOE", converted, "coding") > 0.003


def test_the_kv_cache_costs_gemma_4_more_and_others_almost_nothing_at_8_bits():
    qwen, gemma = CATALOG.model("qwen3-8b"), CATALOG.model("gemma-4-26B-A4B-it")
    assert CATALOG.kv_quant_loss_frac("f16", qwen) == 0
    assert CATALOG.kv_quant_loss_frac("q8_0", qwen) < 0.002
    assert CATALOG.kv_quant_loss_frac("q8_0", gemma) > 10 * CATALOG.kv_quant_loss_frac("q8_0", qwen)
    for model in (qwen, gemma):
        losses = [CATALOG.kv_quant_loss_frac(name, model) for name in ("f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")]
        assert losses == sorted(losses)
