"""Several users at once in every form: the same rows on a console and in a report."""

import io
from dataclasses import replace

from report_examples import recommendation
from rich.console import Console

from advisor.types import CacheLayout, Concurrency, Interval, SessionRoom, UsersSpeed
from advisor.workloads import MAX_CONCURRENCY
from reports import console, markdown, users


def speed(count, layouts, shared_s=None):
    rate = 40.0 / count
    return UsersSpeed(
        users_count=count,
        decode_tokens_per_s=Interval(low=0.9 * rate, mid=rate, high=1.1 * rate),
        total_tokens_per_s=count * rate,
        first_token_s=Interval(low=0.4, mid=0.5, high=0.6),
        last_first_token_s=0.5 * count,
        last_first_token_shared_s=shared_s,
        layouts=layouts,
    )


ROOMS = (
    SessionRoom(layout=CacheLayout.SLOTS, sessions_count=2, session_bytes=1 << 30),
    SessionRoom(layout=CacheLayout.UNIFIED, sessions_count=MAX_CONCURRENCY, session_bytes=1 << 28),
    SessionRoom(layout=CacheLayout.PAGED, sessions_count=0, session_bytes=0, reason="[red]no\x1b[31m room"),
)
SHARED = Concurrency(
    session_tokens=1536,
    shared_prefix_tokens=512,
    rooms=ROOMS,
    speeds=(speed(1, ("slots", "unified", "paged"), 0.5), speed(4, ("unified",), 1.25), speed(64, ())),
)


def example():
    made = recommendation().ranked[0].estimate
    return replace(made, concurrency=SHARED)


def shown(width):
    buffer = io.StringIO()
    console.print_estimate(
        example(), False, Console(file=buffer, width=width, markup=False, highlight=False, emoji=False)
    )
    return buffer.getvalue()


def test_the_console_says_what_fits_and_fits_80_columns():
    text = shown(80)
    assert "Users at once" in text
    assert f"{MAX_CONCURRENCY:,} or more" in text
    assert "2.0 s (1.2 s)" in text or "2 s (1.2 s)" in text
    assert "nothing" in text
    assert "\x1b[31m" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_report_has_the_same_rows():
    text = markdown.render([example()]).decode()
    for row in (*users.room_rows(SHARED, example().workload), *users.speed_rows(SHARED)):
        assert row[1] in text
    assert "Sessions that fit" in text


def test_nothing_is_said_where_nothing_was_asked():
    plain = replace(example(), concurrency=None)
    assert "Sessions that fit" not in markdown.render([plain]).decode()
