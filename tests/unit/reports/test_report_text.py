import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_examples import HOSTILE_NAMES

from reports.text import plain, plain_block, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Qwen3 8B", "Qwen3 8B"),
        ("  two\n lines\t", "two lines"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("\u202eexe.gnp", "\ufffdexe.gnp"),
        ("\ud800lone", "\ufffdlone"),
        ("模型 نموذج", "模型 نموذج"),
        ("soft\u00adhyphen", "softhyphen"),
    ],
)
def test_plain_keeps_text_and_shows_what_it_removed(text, shown):
    assert plain(text) == shown


@given(st.text(alphabet=st.characters(), max_size=80))
def test_plain_leaves_no_character_that_steers_a_terminal_or_reorders_text(text):
    shown = plain(text)
    assert all(unicodedata.category(char) not in {"Cc", "Cs"} for char in shown)
    assert not any(
        unicodedata.bidirectional(char) in {"RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI"} for char in shown
    )
    assert "\n" not in shown
    shown.encode()


def test_plain_is_idempotent_on_hostile_names():
    for name in HOSTILE_NAMES:
        assert plain(plain(name)) == plain(name)


def test_shortened_keeps_both_ends():
    cut = shortened("Qwen2.5-Coder-32B-Instruct-Q4_K_M", 16)
    assert len(cut) <= 16
    assert cut.startswith("Qwen2.5")
    assert cut.endswith("4_K_M")


def test_shortened_leaves_short_text_alone():
    assert shortened("short", 5) == "short"


def test_a_block_keeps_its_lines():
    assert plain_block("a\x07\nb") == "a\ufffd\nb"
