import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.types import Interval
from catalog.units import GIB, KIB, MIB
from reports import format as fmt


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8.7, "8.7"),
        (8.04, "8.0"),
        (15.63, "15.6"),
        (24.0, "24"),
        (123.4, "123"),
        (1234.0, "1,230"),
        (12345.0, "12,300"),
        (0.4217, "0.42"),
        (0.0999, "0.100"),
        (-3.25, "−3.2"),
        (-0.04, "−0.040"),
        (0.0, "0"),
        (-0.0, "0"),
        (None, "—"),
        (math.inf, "—"),
        (math.nan, "—"),
    ],
)
def test_numbers_have_at_most_three_significant_digits(value, shown):
    assert fmt.number(value) == shown


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_a_shown_number_is_within_rounding_of_the_value(value):
    shown = float(fmt.number(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=0.0501)
    assert len(fmt.number(value).replace(",", "").replace(".", "").strip("0")) <= 3


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (Interval(low=8.2, mid=8.7, high=9.2), "8.7 (8.2–9.2)"),
        (Interval(low=8.0, mid=8.7, high=10.0), "8.7 (8.0–10.0)"),
        (Interval(low=110.2, mid=123.4, high=140.9), "123 (110–141)"),
        (Interval(low=5.0, mid=5.0, high=5.0), "5.0"),
        (None, "—"),
    ],
)
def test_intervals_share_the_decimals_of_their_middle(span, shown):
    assert fmt.interval(span) == shown


@pytest.mark.parametrize(
    ("value_s", "shown"),
    [
        (3.04e-6, "3.0 µs"),
        (0.042, "42 ms"),
        (0.0423, "42.3 ms"),
        (0.42, "0.42 s"),
        (12.34, "12.3 s"),
        (192.0, "3.2 min"),
        (9000.0, "2.5 h"),
    ],
)
def test_durations_take_the_unit_that_suits_them(value_s, shown):
    assert fmt.duration(value_s) == shown


def test_units_follow_the_display_conventions():
    assert fmt.gib(5.1 * GIB) == "5.1 GiB"
    assert fmt.bandwidth(40.2e9) == "40.2 GB/s"
    assert fmt.compute(0.27e12) == "0.27 TFLOP/s"
    assert [fmt.flop(amount) for amount in (9.41e12, 0.67e9, 31e9, 670.0)] == [
        "9.4 TFLOP",
        "670 MFLOP",
        "31 GFLOP",
        "670 FLOP",
    ]
    assert fmt.cache_size(48 * KIB) == "48 KiB"
    assert fmt.cache_size(1.5 * MIB) == "1.5 MiB"
    assert fmt.tokens(32768) == "32k"
    assert fmt.tokens(1000) == "1,000"
    assert fmt.params(7.6e9) == "7.6B"
    assert fmt.params(135e6) == "135M"


def test_percentages_keep_one_decimal_and_changes_their_sign():
    assert fmt.percent(0.0534) == "5.3 %"
    assert fmt.percent(1.25) == "125 %"
    assert fmt.change(0.111) == "+11.1 %"
    assert fmt.change(-0.0099) == "−1.0 %"
    assert fmt.change(0.0) == "0 %"
    assert fmt.change(None) == "—"


def test_unknown_is_a_dash_and_never_a_zero():
    for show in (fmt.gib, fmt.bandwidth, fmt.compute, fmt.duration, fmt.tokens, fmt.params, fmt.percent, fmt.rate):
        assert show(None) == fmt.UNKNOWN
