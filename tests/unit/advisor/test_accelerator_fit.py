"""Fitting an accelerator: which twins show its rates, and the rates found again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed_twins import observed, price_s

from advisor import roofline
from advisor.attention import NEAR_TOKENS
from advisor.calibration.accelerator_experiments import accelerator_experiments
from advisor.calibration.accelerator_fit import fit_accelerator
from advisor.calibration.experiment import TYPES, Timing, work_of
from advisor.calibration.rehearse import batches
from advisor.roofline import overlapped_s
from advisor.types import AttentionRates, Basis, Rates
from reports.wording import term_part

EXPERIMENTS = accelerator_experiments()
BY_NAME = {experiment.experiment_id: experiment for experiment in EXPERIMENTS}
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


@pytest.fixture(scope="module")
def found() -> Rates:
    return fitted(3e12)


def fitted(memory_bytes_per_s: float) -> Rates:
    seen = observed(EXPERIMENTS, TRUE_RATES)
    return fit_accelerator(seen, device_id="cuda:0", backend="cuda", memory_bytes_per_s=memory_bytes_per_s)


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
    slow_memory = fitted(2e12)
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
    chosen = BY_NAME["many-experts.Q4_K"], BY_NAME["small-experts.Q6_K"]
    powers, other = (work_of(one, one.timings[0]) for one in chosen)
    assert powers.fusible_count > 0.0
    assert other.fusible_count == 0.0


def test_waiting_for_the_host_is_a_term_of_its_own_and_the_terms_make_up_the_prompt():
    work = work_of(BY_NAME["embedded1024.F16"], Timing(phase="prefill", tokens_count=512))
    terms = roofline.price_prefill(work, TRUE_RATES)
    (waited,) = [term for term in terms if term.name == "prefill.host"]
    assert waited.time_s > 0.5 * roofline.total_s(terms)  # a small layer is mostly waiting
    assert term_part(waited.name) == "Waiting for the processor"


def test_deep_twins_are_deep_enough_to_show_what_depth_costs():
    deep = [timing.depth_tokens for one in EXPERIMENTS for timing in one.timings if timing.depth_tokens]
    assert min(deep) > NEAR_TOKENS


def test_caches_and_logits_count_where_they_are_taken_whole():
    few = [experiment for experiment in EXPERIMENTS if experiment.experiment_id.startswith("attention")]
    room = sum(experiment.weights_bytes for experiment in few) * 2
    assert len(batches(few, room)) == 1
    assert len(batches(few, room, on_accelerator=True)) > 1


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
