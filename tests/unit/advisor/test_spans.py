import pytest

from advisor.recommendation.spans import span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.42, "0.42 s"), (12.34, "12.3 s"), (119.0, "119 s"), (1610.0, "26.8 min"), (36000.0, "10 h")],
)
def test_a_duration_is_said_as_the_tables_show_it(seconds, text):
    assert span(seconds) == text


def test_a_very_short_duration_is_said_in_milliseconds():
    assert span(0.0042) == "4.2 ms"
