"""The fit: posynomials recovered from noisy data, shrinkage, outliers, and honest leave-one-out."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.datasheets.datasheet_fit import (
    PhaseFit,
    Sample,
    error_of_median,
    held_share,
    spread_of,
    spread_of_residuals,
    weighted_quantile,
)
from advisor.datasheets.posynomial import Design, Monomial, fit
from advisor.datasheets.published import parse_row, price_row
from advisor.datasheets.traits import traits_of
from catalog.load import load_catalog


def two_term_rows(count, *, slope, overhead, seed=3):
    generator = np.random.default_rng(seed)
    sizes = generator.uniform(1.0, 30.0, count)
    rows = [[Monomial(size, (("slope", 1.0),)), Monomial(2.0, (("overhead", 1.0),))] for size in sizes]
    times = sizes * np.exp(slope) + 2.0 * np.exp(overhead)
    return Design.of(rows), np.log(times * np.exp(generator.normal(0.0, 0.02, count)))


def test_recovers_what_times_are_a_sum_of():
    design, log_times = two_term_rows(200, slope=0.3, overhead=-0.4)
    effects = dict(
        zip(
            design.names,
            fit(design, log_times, np.full(2, 1.0), weights=np.ones(200), scales=np.full(200, 0.05)),
            strict=True,
        )
    )
    assert effects["slope"] == pytest.approx(0.3, abs=0.01)
    assert effects["overhead"] == pytest.approx(-0.4, abs=0.1)


def test_jacobian_is_the_derivative():
    design, _ = two_term_rows(20, slope=0.0, overhead=0.0)
    at = np.array([0.2, -0.3])
    step = 1e-6
    numeric = np.stack(
        [(design.log_times(at + step * unit) - design.log_times(at - step * unit)) / (2 * step) for unit in np.eye(2)],
        axis=1,
    )
    assert np.allclose(design.jacobian(at), numeric, atol=1e-8)


def test_tight_spreads_keep_an_effect_at_nothing():
    design, log_times = two_term_rows(5, slope=1.0, overhead=0.0)
    free = fit(design, log_times, np.array([1.0, 1.0]), weights=np.ones(5), scales=np.full(5, 0.05))
    shrunk = fit(design, log_times, np.array([1.0, 1e-4]), weights=np.ones(5), scales=np.full(5, 0.05))
    slope = design.names.index("slope")
    assert abs(shrunk[slope]) < 1e-2
    assert free[slope] > 0.8


def test_a_misprint_pulls_little():
    design, log_times = two_term_rows(60, slope=0.3, overhead=0.0)
    spoilt = log_times.copy()
    spoilt[:4] -= np.log(20.0)
    clean = fit(design, log_times, np.full(2, 1.0), weights=np.ones(60), scales=np.full(60, 0.05))
    robust = fit(design, spoilt, np.full(2, 1.0), weights=np.ones(60), scales=np.full(60, 0.05))
    assert np.allclose(clean, robust, atol=0.05)


def test_rows_of_weight_zero_do_not_count():
    design, log_times = two_term_rows(60, slope=0.3, overhead=0.0)
    weights = np.ones(60)
    weights[:30] = 0.0
    spoilt = log_times.copy()
    spoilt[:30] += 1.0
    kept = fit(design, log_times, np.full(2, 1.0), weights=weights, scales=np.full(60, 0.05))
    assert np.allclose(fit(design, spoilt, np.full(2, 1.0), weights=weights, scales=np.full(60, 0.05)), kept)


def test_an_uncertain_row_pulls_less():
    design, log_times = two_term_rows(60, slope=0.3, overhead=0.0)
    spoilt, scales = log_times.copy(), np.full(60, 0.05)
    spoilt[:20] += 0.1
    told = scales.copy()
    told[:20] = 1.0
    slope = design.names.index("slope")
    trusted, doubted = (
        fit(design, spoilt, np.full(2, 1.0), weights=np.ones(60), scales=s)[slope] for s in (scales, told)
    )
    assert abs(doubted - 0.3) < 0.5 * abs(trusted - 0.3)


def test_the_middle_of_many_runs_is_known_better():
    assert error_of_median(50.0, 50.0, 1) == 0.0
    assert error_of_median(40.0, 60.0, 2) == pytest.approx(np.log(1.5) / 1.13 / 2**0.5)
    assert error_of_median(40.0, 60.0, 16) < 0.2 * error_of_median(40.0, 60.0, 2)
    assert error_of_median(40.0, 60.0, 40) < error_of_median(40.0, 60.0, 16)


@pytest.mark.parametrize(
    ("name", "spread"),
    [
        ("decode.byte/cuda", 0.1),
        ("decode.byte/cuda/Ada", 0.1),
        ("decode.byte/cpu", 0.12),
        ("decode.byte:Q8_0", 0.1),
        ("decode.byte:Q4_0", 1e-3),
        ("decode.byte:Q4_0/metal", 0.1),
        ("prefill.flop/metal/M5", 0.3),
        ("prefill.flop/metal/M4", 0.12),
        ("prefill.flop:F16/cuda", 0.12),
        ("decode.chip/cuda/NVIDIA GeForce RTX 4080", 0.04),
        ("decode.kv/metal", 0.3),
        ("decode.plain", 1.2),
        ("decode.plain/metal", 1.0),
        ("decode.operation_age", 0.4),
    ],
)
def test_spreads_by_longest_name(name, spread):
    assert spread_of(name) == spread


def test_weighted_quantile():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 8.0, 1.0])
    assert weighted_quantile(values, weights, 0.8) == 1.0
    assert weighted_quantile(values, weights, 0.9) == 2.0
    assert weighted_quantile(values, weights, 1.0) == 3.0


@pytest.fixture(scope="module")
def samples():
    catalog = load_catalog()
    made = []
    for hardware, speed in (
        ("NVIDIA GeForce RTX 4080", 100.0),
        ("NVIDIA GeForce RTX 4090", 130.0),
        ("NVIDIA L40S", 105.0),
    ):
        for quant, factor in (("Q4_0", 1.0), ("Q8_0", 0.6)):
            fields = {
                "hardware": hardware,
                "backend": "CUDA",
                "model_id": "meta-llama/Llama-2-7b-hf",
                "quant": quant,
                "test": "tg128",
                "tokens_per_s": str(speed * factor),
                "date": "2026-01",
            }
            priced = price_row(parse_row(fields), catalog)
            made.append(Sample(priced=priced, traits=traits_of(priced.chip, "cuda")))
    return made


def test_a_chip_left_out_is_not_fitted_on(samples):
    fit_once = PhaseFit.of("decode", samples)
    residuals = fit_once.leave_out(lambda sample: sample.chip)
    others = np.array([sample.chip != "NVIDIA L40S" for sample in samples], dtype=float)
    fitted = fit_once.fit(used=others)
    expected = (fit_once.design.log_times(fitted) - fit_once.log_times)[4:]
    assert np.allclose(residuals[4:], expected, atol=2e-3)
    assert abs(residuals[4]) > abs((fit_once.design.log_times(fit_once.fit()) - fit_once.log_times)[4])


def test_what_runs_of_a_cell_differ_by_is_noise_of_decoding_alone(samples):
    doubted = [replace(sample, error_log=0.12) for sample in samples]
    assert PhaseFit.of("decode", samples).scales == pytest.approx(0.05)
    assert PhaseFit.of("decode", doubted).scales == pytest.approx(0.13)
    prompts = [
        replace(one, priced=replace(one.priced, row=replace(one.priced.row, phase="prefill"))) for one in doubted
    ]
    assert PhaseFit.of("prefill", prompts).scales == pytest.approx(0.08)


def test_rows_of_a_sweep_share_their_weight(samples):
    doubled = PhaseFit.of("decode", [*samples, samples[0]])
    assert doubled.weights[0] == pytest.approx(2**-0.5)
    assert doubled.weights[1] == 1.0


def test_few_chips_must_be_held_more_often():
    assert held_share(["a", "b", "c"]) == 1.0
    assert held_share([str(number) for number in range(16)]) == pytest.approx(0.85)


def test_spread_of_residuals_on_three_chips_holds_them_all(samples):
    generator = np.random.default_rng(1)
    many = [samples[index % len(samples)] for index in range(900)]
    residuals = generator.normal(0.0, 0.1, 900)
    sigmas = spread_of_residuals(many, residuals, np.ones(900))
    assert 1.2816 * sigmas["*"] == pytest.approx(np.abs(residuals).max())
    assert sigmas["cuda"] == pytest.approx(sigmas["*"])
