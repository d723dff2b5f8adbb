"""Which timed heads a model's attention is priced by."""

from dataclasses import replace

import pytest

from advisor.attention import USUAL_ATTENTION, AttentionKernel, HeadShape
from advisor.timed_attention import attention_rates
from advisor.types import AttentionRates, Basis, Rates

RATES = Rates(
    device_id="cpu",
    backend="cpu",
    basis=Basis.CALIBRATED,
    decode_s_per_byte={"*": 4e-11},
    prefill_s_per_flop={"*": 3e-12},
    kv_s_per_byte=0.0,
    attention_s_per_flop=0.0,
    attention=tuple(
        AttentionRates(
            head_dim=head_dim,
            kv_heads_count=kv_heads_count,
            queries_per_kv_head=queries_per_kv_head,
            prefill_s_per_flop=8e-12,
            deep_prefill_s_per_flop=9e-12,
            decode_s_per_flop=2e-11,
            deep_decode_s_per_flop=3e-11,
        )
        for head_dim, kv_heads_count, queries_per_kv_head in ((128, 8, 4.0), (64, 8, 4.0), (256, 4, 2.0))
    ),
)


def priced(rates, head_dim, kv_heads_count, queries_per_kv_head, kernel=USUAL_ATTENTION):
    return attention_rates(rates, HeadShape(head_dim, kv_heads_count, queries_per_kv_head), kernel)


def test_other_kernels_are_priced_in_proportion_to_the_usual_one():
    plain = AttentionKernel(flash=False)
    usual = RATES.attention[1]
    twice = replace(
        usual,
        flash=False,
        decode_s_per_flop=2 * usual.decode_s_per_flop,
        deep_decode_s_per_flop=2 * usual.deep_decode_s_per_flop,
    )
    rates = replace(RATES, attention=(*RATES.attention, twice))
    own = priced(rates, usual.head_dim, usual.kv_heads_count, usual.queries_per_kv_head, plain)
    assert own == twice
    other = priced(rates, 256, 4, 2.0, plain)
    assert other.decode_s_per_flop == pytest.approx(2 * priced(rates, 256, 4, 2.0).decode_s_per_flop)
    assert other.deep_decode_s_per_flop == pytest.approx(2 * priced(rates, 256, 4, 2.0).deep_decode_s_per_flop)
    assert other.prefill_s_per_flop == pytest.approx(priced(rates, 256, 4, 2.0).prefill_s_per_flop)
    assert priced(rates, 128, 8, 4.0, AttentionKernel(kv_quant_id="q8_0")) == priced(rates, 128, 8, 4.0)


def test_a_shape_of_heads_that_was_not_timed_takes_after_the_one_most_like_it():
    assert priced(RATES, 192, 8, 4.0).head_dim == 128
    assert priced(RATES, 576, 1, 128.0).head_dim == 256
    odd = replace(RATES, attention=(*RATES.attention, replace(RATES.attention[0], head_dim=96, kv_heads_count=32)))
    assert priced(odd, 80, 1, 8.0).head_dim == 96
    assert attention_rates(RATES, None, USUAL_ATTENTION) is None
    assert priced(replace(RATES, attention=()), 128, 8, 4.0) is None


def test_caches_of_a_type_that_is_not_timed_take_after_the_one_unpacked_most_like_them():
    slow = replace(RATES.attention[0], kv_quant_id="q4_0", decode_s_per_flop=9e-11)
    rates = replace(RATES, attention=(*RATES.attention, slow))
    found = priced(rates, 128, 8, 4.0, AttentionKernel(kv_quant_id="q5_1"))
    assert found.decode_s_per_flop == pytest.approx(9e-11)
    assert priced(rates, 128, 8, 4.0, AttentionKernel(kv_quant_id="bf16")) == RATES.attention[0]
