"""Rates from data sheets: traits, gaps, nearness, and one formula for fitting and predicting."""

import csv
import gzip
import math
from dataclasses import replace
from pathlib import Path

import pytest

from advisor import roofline
from advisor.attention import AttentionKernel
from advisor.datasheets.coefficients import LEVELS, Coefficients, from_document, load_coefficients, to_document
from advisor.datasheets.datasheet import rates_for_chip
from advisor.datasheets.design import monomials_of
from advisor.datasheets.factors import Factor, Setting, decode_factors, flop_per_byte, prefill_factors
from advisor.datasheets.published import parse_row, price_row
from advisor.datasheets.traits import traits_of
from advisor.types import Basis
from advisor.work import decode_work
from catalog.ggml_types import TYPES
from catalog.load import load_catalog
from catalog.types import ChipSpec
from catalog.weights import weigh

SOURCE = Path(__file__).resolve().parents[3] / "catalog" / "sources" / "published" / "llama_bench.csv.gz"
NOTHING_FITTED = Coefficients(
    effects={},
    sigmas={phase: {level: {"*": 0.3} for level in LEVELS} for phase in ("decode", "prefill")},
    seen=frozenset(),
)


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture(scope="module")
def published():
    with gzip.open(SOURCE, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def chip(**fields):
    given = {"chip_id": "X", "vendor": "NVIDIA", "kind": "gpu", "memory_bytes_per_s": 1e12, "fp32_flop_per_s": 40e12}
    return ChipSpec(**given | fields)


def test_vector_rate_counts_integer_lanes():
    assert traits_of(chip(architecture="Ampere"), "cuda").vector_flop_per_s == 20e12
    assert traits_of(chip(architecture="Turing"), "cuda").vector_flop_per_s == 40e12
    assert traits_of(chip(architecture="RDNA 3.0", vendor="AMD"), "rocm").vector_flop_per_s == 20e12
    assert traits_of(chip(architecture="RDNA 3.5", vendor="AMD", kind="apu"), "rocm").vector_flop_per_s == 40e12


def test_data_centre_chips_are_a_generation_of_their_own(catalog):
    assert traits_of(catalog.chip("NVIDIA A100 SXM 80GB"), "cuda").generation == "Ampere DC"
    assert traits_of(catalog.chip("NVIDIA RTX A6000"), "cuda").generation == "Ampere"
    assert traits_of(catalog.chip("NVIDIA GB10 (DGX Spark)"), "cuda").generation == "Blackwell"


def test_power_decides_the_clock_only_where_it_is_short(catalog):
    assert traits_of(catalog.chip("NVIDIA Tesla T4"), "cuda").power_log < -0.5
    assert abs(traits_of(catalog.chip("NVIDIA GeForce RTX 3090 Ti"), "cuda").power_log) < 0.15
    assert traits_of(catalog.chip("NVIDIA H100 SXM"), "cuda").power_log == 0.0


def test_power_is_told_against_cards_of_the_generation(catalog):
    for name in ("AMD Radeon RX 6800 XT", "AMD Radeon RX 7900 XT", "AMD Radeon RX 9070"):
        assert abs(traits_of(catalog.chip(name), "rocm").power_log) < 0.15, name
    assert traits_of(catalog.chip("AMD Radeon 8060S (Ryzen AI Max+ 395)"), "vulkan").power_log < -0.3


def test_dual_issue_is_counted_once():
    for generation in ("RDNA 3.0", "RDNA 4.0"):
        assert traits_of(chip(architecture=generation, vendor="AMD"), "rocm").vector_flop_per_s == 20e12


@pytest.mark.parametrize(
    ("generation", "fp16", "backend", "share"),
    [
        ("Pascal", None, "cuda", 0.25),
        ("Maxwell", None, "cuda", 0.25),
        ("Pascal", None, "vulkan", 0.5),
        ("Turing", None, "cuda", 0.25),
        ("Turing", 80e12, "cuda", 1.0),
        ("Volta", 80e12, "cuda", 1.0),
    ],
)
def test_without_tensor_cores_products_are_packed(generation, fp16, backend, share):
    traits = traits_of(chip(architecture=generation, fp16_flop_per_s=fp16), backend)
    assert traits.matrix_flop_per_s == share * traits.vector_flop_per_s


@pytest.mark.parametrize(("backend", "rate"), [("vulkan", 80e12), ("rocm", 40e12)])
def test_before_kernels_were_made_for_a_generation_its_matrix_units_stand_idle(backend, rate):
    """Vulkan's shaders then multiply packed FP16, as on chips without such units."""
    traits = traits_of(chip(architecture="RDNA 3.5", vendor="AMD", kind="apu", fp16_flop_per_s=160e12), backend)
    early, later = (
        prefill_factors(traits, Setting(built=built)).weight_flop["Q4_0"].base for built in (2025.6, 2025.8)
    )
    assert early / later == pytest.approx(160e12 / rate)


def test_matrix_units_in_every_core_of_an_m5(catalog):
    m5, m4 = (catalog.chip(name) for name in ("Apple M5 Pro (20-core GPU)", "Apple M4 Pro (20-core GPU)"))
    assert traits_of(m5, "metal").matrix_flop_per_s == 4.0 * traits_of(m5, "metal").vector_flop_per_s
    assert traits_of(m4, "metal").matrix_flop_per_s == traits_of(m4, "metal").vector_flop_per_s


def test_vulkan_multiplies_bf16_as_fp32_where_the_driver_has_no_such_matrices():
    def bf16_per_q8(generation, backend):
        traits = traits_of(chip(architecture=generation, vendor="AMD", fp16_flop_per_s=160e12), backend)
        flop = prefill_factors(traits).weight_flop
        return flop["BF16"].base / flop["Q8_0"].base

    assert bf16_per_q8("RDNA 3.0", "vulkan") == pytest.approx(8.0)
    assert bf16_per_q8("RDNA 4.0", "vulkan") == bf16_per_q8("RDNA 3.0", "rocm") == 1.0


def test_arm_cores_with_matrix_products_are_a_generation_of_their_own(catalog):
    named = {
        name: traits_of(catalog.chip(name), "cpu").generation
        for name in ("Raspberry Pi 5", "CIX CP8180 / P1 (LPDDR5-5500 128-bit)", "AMD EPYC 9654 (DDR5-4800 12ch)")
    }
    assert list(named.values()) == ["Arm", "Arm i8mm", "x86"]


def test_inline_ecc_is_on_professional_cards_with_gddr(catalog):
    flagged = {
        name: traits_of(catalog.chip(name), "cuda").inline_ecc
        for name in ("NVIDIA RTX A6000", "NVIDIA GeForce RTX 4090", "NVIDIA A100 SXM 80GB", "NVIDIA Tesla P40")
    }
    assert flagged == {
        "NVIDIA RTX A6000": True,
        "NVIDIA GeForce RTX 4090": False,
        "NVIDIA A100 SXM 80GB": False,
        "NVIDIA Tesla P40": True,
    }


def test_vulkan_is_a_stack_per_vendor():
    assert traits_of(chip(vendor="AMD"), "vulkan").stack == "vulkan-amd"
    assert traits_of(chip(), "cuda").stack == "cuda"


def test_missing_rate_is_imputed_and_said():
    rates = rates_for_chip(chip(fp32_flop_per_s=None, fp16_flop_per_s=None), "cuda")
    assert "fp32_flop_per_s imputed" in rates.source
    assert rates.flop_per_s is None
    full = rates_for_chip(chip(), "cuda")
    assert rates.decode_sigma > full.decode_sigma


def test_missing_bandwidth_makes_an_assumption():
    rates = rates_for_chip(chip(memory_bytes_per_s=None), "cuda")
    assert rates.basis is Basis.ASSUMED
    assert rates.decode_sigma > rates_for_chip(chip(), "cuda").decode_sigma
    assert "bandwidth assumed" in rates.source


def test_device_id_and_threads_are_passed_on():
    rates = rates_for_chip(chip(kind="cpu", vendor="AMD"), "cpu", threads_count=8)
    assert (rates.device_id, rates.threads_count, rates.basis) == ("cpu", 8, Basis.DATASHEET)
    assert rates_for_chip(chip(), "cuda", device_id="cuda:3").device_id == "cuda:3"


def test_graphs_are_replayed_for_one_user_only(catalog):
    model = catalog.model("google/gemma-3-4b-it")

    def overhead_s(chip_id, users):
        rates = rates_for_chip(catalog.chip(chip_id), "cuda")
        work = decode_work(weigh(model, "Q4_0"), model.geometry, depth_tokens=0.0, batch_count=users)
        return sum(term.time_s for term in roofline.price_decode(work, rates) if term.name == "decode.overhead")

    assert overhead_s("NVIDIA GeForce RTX 4090", 2) > overhead_s("NVIDIA GeForce RTX 4090", 1) + 1e-3
    assert overhead_s("NVIDIA Tesla P40", 2) == overhead_s("NVIDIA Tesla P40", 1)


def test_unseen_effects_are_nothing():
    factor = Factor(2.0, (("a", 1.0), ("b", -2.0)))
    assert factor.value({}) == 2.0
    assert factor.value({"a": 0.5}) == pytest.approx(2.0 * math.exp(0.5))
    assert factor.times(("c", 1.0), base=3.0).value({"c": math.log(2.0)}) == pytest.approx(12.0)


def test_without_fitted_effects_the_bases_stand():
    rates = rates_for_chip(chip(architecture="Ampere"), "cuda", coefficients=NOTHING_FITTED)
    byte = 1.0 / (0.9 * 1e12) + flop_per_byte(TYPES["Q8_0"]) / 20e12
    assert rates.decode_s_per_byte["Q8_0"] == pytest.approx(byte)


def test_nearness_widens_intervals(catalog):
    known = load_coefficients()
    near = traits_of(catalog.chip("NVIDIA GeForce RTX 4080"), "cuda")
    sibling = traits_of(catalog.chip("NVIDIA GeForce RTX 4090"), "cuda")
    stranger = traits_of(chip(architecture="Maxwell 2.0"), "cuda")
    nobody = replace(near, stack="opencl")
    assert [known.level(one) for one in (near, sibling, stranger, nobody)] == list(LEVELS)
    for phase in ("decode", "prefill"):
        assert known.sigma(phase, stranger) >= known.sigma(phase, sibling) * 0.9
        assert known.sigma(phase, nobody) > known.sigma(phase, stranger)


def test_coefficients_round_trip():
    known = load_coefficients()
    assert from_document(to_document(known)) == known


def test_old_builds_are_slower_and_new_generations_have_no_old_builds(catalog):
    ada = traits_of(catalog.chip("NVIDIA GeForce RTX 4080"), "cuda")
    effects = load_coefficients().effects
    old, new = Setting(built=2024.0), Setting(built=2026.0)
    assert decode_factors(ada, old).operation.value(effects) > decode_factors(ada, new).operation.value(effects)
    m5 = traits_of(catalog.chip("Apple M5 Pro (20-core GPU)"), "metal")
    assert decode_factors(m5, Setting(built=2025.9)) == decode_factors(m5, Setting(built=2023.9))


def test_attention_is_flop_with_flash_attention_and_traffic_without(catalog):
    traits = traits_of(catalog.chip("NVIDIA GeForce RTX 4080"), "cuda")
    flash, plain = prefill_factors(traits, Setting()), prefill_factors(traits, Setting(flash_attention=False))
    assert flash.attention_flop.base > 0.0
    assert flash.score.base == 0.0
    assert plain.attention_flop.base == 0.0
    assert plain.score.base > 0.0


def test_decoding_by_a_score_matrix_costs_per_score_whatever_the_bandwidth(catalog):
    """An A100 and an RTX A6000 have like lanes; the former has 2.7 times the bandwidth."""
    plain = Setting(flash_attention=False)
    wide, narrow = (
        decode_factors(traits_of(catalog.chip(name), "cuda"), plain)
        for name in ("NVIDIA A100 SXM 80GB", "NVIDIA RTX A6000")
    )
    assert wide.attention_flop.base == pytest.approx(narrow.attention_flop.base, rel=0.05)
    assert wide.kv_byte.base < 0.5 * narrow.kv_byte.base


def test_a_processor_decodes_no_slower_without_flash_attention(catalog):
    rates = [
        rates_for_chip(
            catalog.chip("Intel Core Ultra 7 258V (LPDDR5X-8533)"), "cpu", setting=Setting(flash_attention=flash)
        )
        for flash in (True, False)
    ]
    assert rates[1].decode_attention_s_per_flop < rates[0].decode_attention_s_per_flop


@pytest.mark.parametrize(("kv_quant_id", "bytes_per_element"), [("q8_0", 1.0625), ("q4_0", 0.5625), ("q5_1", 0.75)])
def test_quantised_caches_are_slower_on_a_processor_and_quicker_on_a_card(catalog, kv_quant_id, bytes_per_element):
    model = catalog.model("meta-llama/Llama-3.1-8B-Instruct")
    artifact = weigh(model, "Q4_K_M")

    def deep_s(rates, kernel, kv_bytes):
        work = decode_work(
            artifact, model.geometry, depth_tokens=16384, kv_bytes_per_element=kv_bytes, attention_kernel=kernel
        )
        return next(term.time_s for term in roofline.price_decode(work, rates) if term.name == "decode.kv")

    for name, backend, slower in (
        ("Intel Core Ultra 7 258V (LPDDR5X-8533)", "cpu", True),
        ("NVIDIA GeForce RTX 4090", "cuda", False),
    ):
        rates = rates_for_chip(catalog.chip(name), backend)
        quantised = deep_s(rates, AttentionKernel(kv_quant_id=kv_quant_id), bytes_per_element)
        assert (quantised > deep_s(rates, AttentionKernel(), 2.0)) == slower


def test_of_a_card_with_two_devices_one_works_at_a_time(catalog):
    """An MI250 is two of an MI210's dies; layers are shared out between them."""
    both, single = (traits_of(catalog.chip(f"AMD Instinct {name}"), "rocm") for name in ("MI250", "MI210"))
    assert both.memory_bytes_per_s == pytest.approx(single.memory_bytes_per_s, rel=0.01)
    assert both.vector_flop_per_s == pytest.approx(single.vector_flop_per_s, rel=0.01)


def test_unpacking_goes_by_power_within_a_generation(catalog):
    card = catalog.chip("NVIDIA GeForce RTX 4090")
    halved = replace(card, power_w=card.power_w / 2.0)
    full, slow = (decode_factors(traits_of(chip, "cuda")).weight_flop["Q4_K"].base for chip in (card, halved))
    assert slow == pytest.approx(2.0 * full)


def test_prompts_of_recent_builds_are_counted_as_today(catalog):
    """All tokens of a gpt-oss prompt pass the last feed-forward in today's builds; older rows are counted without."""
    fields = {
        "hardware": "NVIDIA GeForce RTX 4090",
        "backend": "CUDA",
        "model_id": "openai/gpt-oss-20b",
        "quant": "MXFP4",
        "test": "pp512",
        "tokens_per_s": "9000",
    }
    old, new, undated = (
        price_row(parse_row({**fields, "date": date}), catalog).work.weight_flop for date in ("2025-09", "2026-10", "")
    )
    assert old < new == undated


def test_fit_and_prediction_share_one_formula(catalog, published):
    """The sum that is fitted equals what the roofline prices, floors aside, on every published row."""
    effects = load_coefficients().effects
    for fields in published[::7]:
        priced = price_row(parse_row(fields), catalog)
        traits = traits_of(priced.chip, priced.row.backend)
        rates = replace(
            rates_for_chip(priced.chip, priced.row.backend, setting=priced.row.setting),
            memory_bytes_per_s=None,
            flop_per_s=None,
        )
        if priced.row.phase == "decode":
            told = roofline.total_s(roofline.price_decode(priced.work, rates))
        else:
            terms = roofline.price_prefill(priced.work, rates)
            told = roofline.total_s(
                tuple(term for term in terms if ".output" not in term.name and term.name != "prefill.state")
            )
        fitted = sum(
            term.value * math.exp(sum(effects.get(name, 0.0) * weight for name, weight in term.exponents))
            for term in monomials_of(priced, traits)
        )
        assert told == pytest.approx(fitted, rel=1e-9), fields


def test_every_storage_type_has_a_rate(catalog):
    rates = rates_for_chip(catalog.chip("NVIDIA GeForce RTX 4090"), "cuda")
    assert set(TYPES) <= set(rates.decode_s_per_byte)
    assert all(math.isfinite(value) and value > 0.0 for value in rates.decode_s_per_byte.values())
    assert all(math.isfinite(value) and value > 0.0 for value in rates.prefill_s_per_flop.values())


def test_every_chip_has_rates_on_its_backends(catalog):
    backends = {
        "NVIDIA": ("cuda", "vulkan"),
        "AMD": ("rocm", "vulkan"),
        "Apple": ("metal",),
        "Intel": ("sycl", "vulkan"),
    }
    for spec in catalog.chips.values():
        for backend in ("cpu",) if spec.kind == "cpu" else backends.get(spec.vendor, ("vulkan",)):
            rates = rates_for_chip(spec, backend)
            assert 0.0 < rates.decode_s_per_byte["Q4_K"] < 1e-8, (spec.chip_id, backend)
            assert 0.03 < rates.decode_sigma < 2.0
