import random
from dataclasses import replace

import pytest
from timed_twins import observed

from advisor import roofline
from advisor.attention import NEAR_TOKENS, USUAL_ATTENTION, AttentionKernel, HeadShape
from advisor.calibration.experiment import Timing, uniform_types, work_of
from advisor.calibration.least_squares import Observation, observe
from advisor.calibration.processor_experiments import processor_experiments
from advisor.calibration.processor_fit import fit_processor
from advisor.timed_attention import attention_rates
from advisor.types import AttentionRates, Basis, Rates
from catalog.ggml_types import TYPES
from catalog.tensors import list_tensors

TRUE_RATES = Rates(
    device_id="cpu",
    backend="cpu",
    basis=Basis.CALIBRATED,
    decode_s_per_byte={"*": 4e-11, "Q4_K": 2.5e-11, "Q6_K": 2.8e-11, "experts:Q4_K": 3e-11},
    prefill_s_per_flop={"*": 3e-12, "Q4_K": 2.2e-12, "experts:Q4_K": 5e-12},
    kv_s_per_byte=0.0,
    attention_s_per_flop=0.0,
    attention=tuple(
        AttentionRates(
            head_dim=head_dim,
            kv_heads_count=kv_heads_count,
            queries_per_kv_head=heads_count / kv_heads_count,
            prefill_s_per_flop=8e-12,
            deep_prefill_s_per_flop=8e-12 + index * 1e-12,
            decode_s_per_flop=2e-11,
            deep_decode_s_per_flop=2e-11 + index * 1e-11,
        )
        for index, (heads_count, kv_heads_count, head_dim) in enumerate(((32, 8, 128), (32, 8, 64), (8, 4, 256)))
    ),
    decode_s_per_operation=5e-6,
    prefill_s_per_value=6e-10,
    prefill_s_per_byte=2e-11,
    state_s_per_byte=5e-11,
    state_s_per_flop=4e-11,
    cached_bytes=8.0 * 1024**2,
)


def observations(noise: float = 0.0, seed: int = 0, rates: Rates = TRUE_RATES) -> list[Observation]:
    rng = random.Random(seed)

    def repeats() -> list[float]:
        return [rng.lognormvariate(0.0, noise) for _ in range(5)]

    return observed(processor_experiments(), rates, threads_count=2, repeats=repeats)


def test_the_fit_recovers_the_rates_that_made_the_times():
    rates = fit_processor(observations(), device_id="cpu", backend="cpu", threads_count=2)
    assert rates.decode_s_per_byte["Q4_K"] == pytest.approx(2.5e-11, rel=0.02)
    assert rates.decode_s_per_byte["Q6_K"] == pytest.approx(2.8e-11, rel=0.02)
    assert rates.decode_s_per_byte["experts:Q4_K"] == pytest.approx(3e-11, rel=0.05)
    assert rates.prefill_s_per_flop["Q4_K"] == pytest.approx(2.2e-12, rel=0.02)
    assert rates.decode_s_per_operation == pytest.approx(5e-6, rel=0.1)
    assert rates.prefill_s_per_value == pytest.approx(6e-10, rel=0.05)
    assert rates.prefill_s_per_byte == pytest.approx(2e-11, rel=0.05)
    assert rates.basis == Basis.CALIBRATED


def test_fetching_weights_for_a_prompt_takes_no_longer_than_for_a_token():
    rates = fit_processor(
        observations(rates=replace(TRUE_RATES, prefill_s_per_byte=1e-10)), device_id="cpu", backend="cpu"
    )
    dense = [value for name, value in rates.decode_s_per_byte.items() if ":" not in name]
    assert rates.prefill_s_per_byte == min(dense)


def test_noise_widens_the_interval_and_moves_the_rates_little():
    quiet = fit_processor(observations(), device_id="cpu", backend="cpu")
    noisy = fit_processor(observations(noise=0.08, seed=3), device_id="cpu", backend="cpu")
    assert noisy.decode_sigma > quiet.decode_sigma
    assert noisy.decode_s_per_byte["Q4_K"] == pytest.approx(2.5e-11, rel=0.15)


def test_a_type_that_was_not_timed_is_taken_to_be_slow():
    rates = fit_processor(observations(), device_id="cpu", backend="cpu")
    dense = [value for name, value in rates.decode_s_per_byte.items() if not name.startswith("experts:")]
    assert rates.decode_s_per_byte["*"] == max(dense)


def test_a_calibration_without_mixtures_still_prices_experts():
    few = [item for item in observations() if "experts" not in item.experiment_id]
    rates = fit_processor(few, device_id="cpu", backend="cpu")
    assert rates.decode_expert_factor == 1.0
    assert rates.prefill_moe_factor == 1.0


def test_every_experiment_fits_its_context_and_quantises_matrices_only():
    for experiment in processor_experiments():
        tensors = list_tensors(experiment.model)
        for tensor, name in zip(tensors, experiment.tensor_types, strict=True):
            assert (name == "F32") == (len(tensor.shape) == 1 or tensor.role == "norm")
        assert all(t.depth_tokens + t.tokens_count <= experiment.context_tokens for t in experiment.timings)
        assert experiment.weights_bytes < 800 * 1024**2


def test_observe_takes_the_middle_and_the_spread():
    experiment = processor_experiments()[0]
    timing = Timing(phase="decode", tokens_count=8)
    seen = observe(experiment, timing, [1.0, 1.1, 1.2, 1.3, 9.0])
    assert seen.time_s == 1.2
    assert seen.spread_frac > 0


def test_uniform_types_leaves_norms_alone():
    tensors = list_tensors(processor_experiments()[0].model)
    assert set(uniform_types(tensors, "Q5_K")) == {"F32", "Q5_K"}


def test_types_that_were_not_timed_take_after_a_relative_and_say_so():
    rates = fit_processor(observations(), device_id="cpu", backend="cpu")
    assert "IQ2_XXS" in rates.related_types
    assert not roofline.knows_type(rates, "IQ2_XXS")
    assert roofline.knows_type(rates, "Q4_K")
    per_weight = {name: rates.decode_s_per_byte[name] * size for name, size in (("IQ2_XXS", 66), ("IQ3_XXS", 98))}
    assert per_weight["IQ2_XXS"] == pytest.approx(per_weight["IQ3_XXS"])
    assert rates.prefill_s_per_flop["IQ2_XXS"] == rates.prefill_s_per_flop["IQ3_XXS"]


def test_every_type_a_model_may_be_stored_in_is_timed_or_has_a_relative():
    rates = fit_processor(observations(), device_id="cpu", backend="cpu")
    stored = {name for name in TYPES if not name.startswith("I") or name.startswith("IQ")} - {"F64"}
    assert stored <= set(rates.decode_s_per_byte)


def test_rows_are_priced_apart_by_how_kernels_take_them():
    """Several at once, one that is stored as it is multiplied, or one that is unpacked first."""
    dots = {"*": 12e-9, "plain": 1e-9, "repacked": 4e-9}
    true = replace(
        TRUE_RATES,
        decode_s_per_dot=dots,
        repacked_types=("Q4_K",),
        cached_bytes=0.0,
        decode_s_per_operation=0.0,
    )
    rates = fit_processor(observations(rates=true), device_id="cpu", backend="cpu", repacked_types=("Q4_K",))
    assert rates.decode_s_per_dot == pytest.approx(dots, rel=0.2)
    assert [roofline.kernel_kind(rates, name) for name in ("Q4_K", "Q8_0", "BF16", "Q6_K")] == [
        "repacked",
        "plain",
        "plain",
        "*",
    ]


def test_attention_near_by_costs_what_it_does_in_twins_of_many_layers():
    """One layer alone makes attention dearer than it is in a model; how deep it goes is left to the one."""
    layered = ("narrow", "slim", "long", "wide", "broad")
    cheaper = replace(
        TRUE_RATES,
        attention=tuple(
            replace(timed, decode_s_per_flop=0.7 * timed.decode_s_per_flop) for timed in TRUE_RATES.attention
        ),
    )
    seen = [item for item in observations(rates=cheaper) if item.experiment_id.partition(".")[0] in layered] + [
        item for item in observations() if item.experiment_id.partition(".")[0] not in layered
    ]
    rates = fit_processor(seen, device_id="cpu", backend="cpu", threads_count=2)
    assert rates.decode_s_per_byte["Q4_K"] == pytest.approx(2.5e-11, rel=0.02)
    for true in TRUE_RATES.attention:
        found = priced(rates, true.head_dim, true.kv_heads_count, true.queries_per_kv_head)
        assert found.decode_s_per_flop == pytest.approx(0.7 * true.decode_s_per_flop, rel=0.03)
        assert found.deep_decode_s_per_flop == pytest.approx(true.deep_decode_s_per_flop, rel=0.03)


def test_a_token_reads_far_more_of_a_twin_than_usual_caches_hold():
    """What the last token left in the cache must not make the next one quick."""
    for experiment in processor_experiments():
        for timing in experiment.timings:
            if timing.phase == "decode" and not experiment.experiment_id.startswith("attention"):
                read_bytes = work_of(experiment, timing).weight_bytes
                assert read_bytes > 0.9 * experiment.weights_bytes - 50e6, experiment.experiment_id
                assert read_bytes > 75e6, experiment.experiment_id


def priced(rates, head_dim, kv_heads_count, queries_per_kv_head, kernel=USUAL_ATTENTION):
    return attention_rates(rates, HeadShape(head_dim, kv_heads_count, queries_per_kv_head), kernel)


@pytest.mark.parametrize(("head_dim", "caches_count"), [(128, 16), (128, 32), (64, 32), (80, 32)])
def test_heads_with_a_cache_each_take_after_such(head_dim, caches_count):
    rates = fit_processor(observations(), device_id="cpu", backend="cpu", threads_count=2)
    assert priced(rates, head_dim, caches_count, 1.0).queries_per_kv_head == 1.0


@pytest.mark.parametrize("true", TRUE_RATES.attention)
def test_attention_is_priced_by_the_shape_of_heads_near_and_far_back_apart(true):
    rates = fit_processor(observations(), device_id="cpu", backend="cpu", threads_count=2)
    found = priced(rates, true.head_dim, true.kv_heads_count, true.queries_per_kv_head)
    assert (found.head_dim, found.kv_heads_count) == (true.head_dim, true.kv_heads_count)
    assert found.prefill_s_per_flop == pytest.approx(true.prefill_s_per_flop, rel=0.02)
    assert found.deep_prefill_s_per_flop == pytest.approx(true.deep_prefill_s_per_flop, rel=0.02)
    assert found.decode_s_per_flop == pytest.approx(true.decode_s_per_flop, rel=0.02)
    assert found.deep_decode_s_per_flop == pytest.approx(true.deep_decode_s_per_flop, rel=0.02)


def test_attention_gets_no_cheaper_with_depth_whatever_noise_says():
    noisy = [
        replace(item, time_s=item.time_s * (2.0 if 1024 < item.depth_tokens < NEAR_TOKENS else 1.0))
        for item in observations()
    ]
    for found in fit_processor(noisy, device_id="cpu", backend="cpu").attention:
        assert 0 < found.prefill_s_per_flop <= found.deep_prefill_s_per_flop
        assert 0 < found.decode_s_per_flop <= found.deep_decode_s_per_flop


def test_kernels_are_told_apart_in_the_fit():
    slow = [
        replace(item, time_s=item.time_s + (10 * item.work.attention_flop * 8e-12))
        if ".q8_0" in item.experiment_id
        else item
        for item in observations()
    ]
    rates = fit_processor(slow, device_id="cpu", backend="cpu", threads_count=2)
    assert {(found.flash, found.kv_quant_id) for found in rates.attention} == {
        (True, "f16"),
        (False, "f16"),
        (True, "q8_0"),
        (True, "q4_0"),
    }
    usual = priced(rates, 64, 8, 4.0)
    assert (
        priced(rates, 64, 8, 4.0, AttentionKernel(kv_quant_id="q8_0")).prefill_s_per_flop > 5 * usual.prefill_s_per_flop
    )
    assert priced(rates, 64, 8, 4.0, AttentionKernel(kv_quant_id="q5_1")).prefill_s_per_flop == pytest.approx(
        usual.prefill_s_per_flop
    )


def test_fetching_an_expert_is_told_from_its_arithmetic():
    true = replace(TRUE_RATES, expert_s_per_byte={"*": 5e-11}, expert_s_per_dot={"*": 1e-9})
    rates = fit_processor(observations(rates=true), device_id="cpu", backend="cpu")
    assert rates.expert_s_per_byte == {"*": pytest.approx(5e-11, rel=0.05)}


def test_one_noisy_prompt_moves_other_shapes_of_experts_no_more_than_itself():
    """A type's arithmetic and fetching are not told apart by two prompts: noise must not blow up on a third shape."""

    def price(found):
        rates = fit_processor(found, device_id="cpu", backend="cpu")
        experiment = next(item for item in processor_experiments() if item.experiment_id == "experts.Q6_K")
        wide = replace(experiment.timings[1], tokens_count=1024)
        return roofline.total_s(roofline.price_prefill(work_of(experiment, wide), rates))

    quiet = observations()
    noisy = [
        replace(item, time_s=item.time_s * 1.1)
        if item.experiment_id == "experts.Q6_K" and item.phase == "prefill" and item.work.tokens_count == 128
        else item
        for item in quiet
    ]
    assert price(noisy) == pytest.approx(price(quiet), rel=0.1)


def test_the_roof_is_no_lower_than_what_the_engine_was_seen_to_reach():
    """A probe of a busier moment must not slow the fastest types down."""
    seen = 1.0 / min(fit_processor(observations(), device_id="cpu", backend="cpu").decode_s_per_byte.values())
    slow = fit_processor(observations(), device_id="cpu", backend="cpu", memory_bytes_per_s=seen / 2.0)
    quick = fit_processor(observations(), device_id="cpu", backend="cpu", memory_bytes_per_s=seen * 2.0)
    assert slow.memory_bytes_per_s == pytest.approx(seen)
    assert quick.memory_bytes_per_s == pytest.approx(seen * 2.0)
    for item in observations():
        if item.phase == "decode" and item.experiment_id.startswith("wide"):
            free = replace(slow, memory_bytes_per_s=None)
            assert roofline.total_s(roofline.price_decode(item.work, slow)) == pytest.approx(
                roofline.total_s(roofline.price_decode(item.work, free)), rel=1e-4
            )


def test_an_expert_is_multiplied_no_faster_than_other_weights_of_its_type():
    quick = [
        replace(item, time_s=item.time_s * 0.3) if item.experiment_id.startswith("experts.Q6_K") else item
        for item in observations()
    ]
    rates = fit_processor(quick, device_id="cpu", backend="cpu").prefill_s_per_flop
    assert rates["experts:Q6_K"] >= rates["Q6_K"]


def test_sleeping_experts_leave_no_room_in_the_cache():
    """A mixture's next token wakes other experts: what the cache keeps is a share of all that is stored."""
    experiment = next(item for item in processor_experiments() if item.experiment_id == "experts.Q4_K")
    work = work_of(experiment, Timing(phase="decode", tokens_count=8))
    woken = replace(work, weights=tuple(replace(weight, held_bytes=weight.bytes) for weight in work.weights))
    rates = replace(TRUE_RATES, cached_bytes=32.0 * 1024**2)
    assert roofline.total_s(roofline.price_decode(work, rates)) > roofline.total_s(roofline.price_decode(woken, rates))


def test_a_usual_cache_leaves_the_twins_as_they_are():
    assert processor_experiments(cache_bytes=32 << 20) == processor_experiments()


def test_a_server_s_cache_holds_no_twin_that_is_decoded():
    cache_bytes = 300 << 20
    made = processor_experiments(cache_bytes=cache_bytes)
    assert len({one.experiment_id for one in made}) == len(made)
    for one in made:
        if any(timing.phase == "decode" for timing in one.timings) and not one.experiment_id.startswith("attention"):
            assert one.weights_bytes > 1.5 * cache_bytes, one.experiment_id
    timed = {(one.experiment_id.removesuffix(".larger"), timing) for one in made for timing in one.timings}
    assert timed == {(one.experiment_id, timing) for one in processor_experiments() for timing in one.timings}


def test_larger_twins_show_the_same_rates():
    made = observed(processor_experiments(cache_bytes=300 << 20), TRUE_RATES, threads_count=2)
    rates = fit_processor(made, device_id="cpu", backend="cpu", threads_count=2)
    assert rates.decode_s_per_byte["Q4_K"] == pytest.approx(2.5e-11, rel=0.05)
    assert rates.decode_s_per_byte["experts:Q4_K"] == pytest.approx(3e-11, rel=0.05)


def test_without_the_usual_kernel_s_attention_twins_of_many_layers_say_nothing_of_others():
    seen = [
        item
        for item in observations()
        if not item.experiment_id.startswith("attention") or item.experiment_id.endswith(".plain")
    ]
    rates = fit_processor(seen, device_id="cpu", backend="cpu", threads_count=2)
    assert {found.flash for found in rates.attention} == {False}
