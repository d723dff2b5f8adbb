"""What embeds is shown by the documents it reads, in every form alike."""

import io
from dataclasses import replace

import pytest
import report_examples as examples
from rich.console import Console

from advisor.types import Interval, Task
from reports import console, html, markdown, pace, view


@pytest.fixture(scope="module")
def embedders():
    base = examples.recommendation()

    def reading(choice):
        made = choice.estimate
        asked = replace(made.workload, task=Task.EMBEDDING, prompt_tokens=512, output_tokens=1)
        each_s = Interval(low=0.04, mid=0.05, high=0.08)
        return replace(choice, estimate=replace(made, workload=asked, first_token_s=each_s))

    ranked = tuple(map(reading, base.ranked))
    return replace(base, task=Task.EMBEDDING, workload=ranked[0].estimate.workload, ranked=ranked)


def test_a_speed_is_documents_where_nothing_is_generated(embedders):
    made = embedders.ranked[0].estimate
    assert pace.speed(made) == Interval(low=12.5, mid=20.0, high=25.0)
    written = examples.recommendation().ranked[0].estimate
    assert pace.speed(written) == written.decode_tokens_per_s


def test_no_form_speaks_of_generated_tokens(embedders):
    page = html.render([embedders]).decode()
    written = markdown.render([embedders]).decode()
    for text in (page, written):
        assert "about 20 documents per second, of 512 tokens each" in " ".join(text.split())
        assert "Speed, docs/s" in text
        assert "Speed, tok/s" not in text
    assert '"reads_only":true' in page
    assert all("conversation" not in chart.title for chart in view.build_page([embedders]).charts())


def test_the_console_counts_documents(embedders):
    buffer = io.StringIO()
    console.print_recommendation(embedders, Console(file=buffer, width=100, markup=False, highlight=False, emoji=False))
    printed = buffer.getvalue()
    assert "docs/s" in printed
    assert "20.0 (12.5–25.0)" in printed
