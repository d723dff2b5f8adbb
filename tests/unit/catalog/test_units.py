"""Sizes, token counts and durations as people write them; what cannot be meant is refused with the way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.units import UnitError, parse_bytes, parse_duration, parse_tokens


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (parse_bytes, "24GiB", 24 * 1024**3),
        (parse_bytes, "24 gb", 24 * 10**9),
        (parse_bytes, "1.5GiB", 1_610_612_736),
        (parse_tokens, "4096", 4096),
        (parse_tokens, "32k", 32_768),
        (parse_tokens, "0.5k", 512),
        (parse_duration, "90", 90.0),
        (parse_duration, "1.5m", 90.0),
    ],
)
def test_usual_spellings(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "advice"),
    [
        (parse_tokens, "0", "write 4096 or 32k, or leave it out"),
        (parse_tokens, "0k", "write 4096 or 32k, or leave it out"),
        (parse_tokens, "1.5", "at least 1; write"),
        (parse_bytes, "0GiB", "write 24GiB or 24GB, or leave it out"),
        (parse_bytes, "0", "no byte unit; write 24GiB"),
        (parse_bytes, "24G", "no byte unit; write 24GiB"),
        (parse_duration, "0", "write 90s or 2m, or leave it out"),
        (parse_duration, "0.0h", "write 90s or 2m, or leave it out"),
        (parse_duration, "2 weeks", "write 90s, 2m or 1h"),
    ],
)
def test_nothing_is_no_limit_and_the_line_says_what_to_write(read, text, advice):
    with pytest.raises(UnitError) as caught:
        read(text)
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.sampled_from([parse_bytes, parse_tokens, parse_duration]), st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_short_line(read, text):
    said = ""
    try:
        assert read(text) > 0
    except UnitError as error:
        said = str(error)
    assert len(said) < 500  # characters may be escaped
