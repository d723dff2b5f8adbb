"""Tables on terminals that are too narrow for them."""

import io

import pytest
import report_examples as examples
from rich.console import Console

from reports import terminal
from reports.console import print_recommendation

ROWS = (("Qwen3.8-27B-Instruct-2512", "32.9 (29.5–36.7)", "0.40 s"), ("gpt-oss-20b", "141 (128–155)", "0.28 s"))


def printed(width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    table = terminal.table("Model", "tok/s", "1st token", right=(1, 2), folds=(0,))
    for row in ROWS:
        table.add_row(*row)
    console.print(table)
    console.print(table)  # nothing is lost for the next time
    whole = console.file.getvalue()
    half = whole[: len(whole) // 2]
    assert whole == half * 2
    return half.splitlines()


def test_a_wide_terminal_shows_everything():
    lines = printed(80)
    assert all(cell in "\n".join(lines) for row in ROWS for cell in row)
    assert "no room" not in lines[-1]


@pytest.mark.parametrize(("width", "missing"), [(45, None), (38, "1st token"), (20, "tok/s, 1st token")])
def test_names_and_figures_are_whole_and_columns_without_room_are_named(width, missing):
    lines = printed(width)
    shown = 3 - (missing or "").count(",") - (missing is not None)
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    assert ("no room for" in text) is (missing is not None)
    assert missing is None or f"no room for {missing}:" in text
    for row in ROWS:
        assert all(cell in text for cell in row[1:shown])
        assert row[0][:11] in text


@pytest.mark.parametrize("width", [30, 40, 60])
def test_every_pick_is_named_however_narrow(width):
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    recommendation = examples.recommendation()
    print_recommendation(recommendation, console)
    text = "".join(console.file.getvalue().split())
    assert all(choice.display_name[:8].replace(" ", "") in text for choice in recommendation.ranked)
