"""What reports say, word for word. Rewrite with ``ADVISOR_WRITE_GOLDEN=1 pytest tests/golden`` and read the change."""

import io
import os
import re
from pathlib import Path

import pytest
import report_examples as examples
from rich.console import Console

from reports import console, html, markdown

_GOLDEN = Path(__file__).parent / "reports"


def _printed(show) -> str:
    buffer = io.StringIO()
    show(Console(file=buffer, width=80, markup=False, highlight=False, emoji=False))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _words_of_page() -> str:
    """The page without what changes with a library's version: drawings, style, script and data."""
    text = html.render((examples.recommendation(), examples.validation())).decode()
    for element in ("svg", "style", "script"):
        text = re.sub(rf"<{element}\b.*?</{element}>", f"<{element}/>", text, flags=re.DOTALL)
    return re.sub(r"sha256-[\w+/=]+", "sha256-…", text)


_MADE = {
    "recommendation.txt": lambda: _printed(lambda c: console.print_recommendation(examples.recommendation(), c)),
    "estimate.txt": lambda: _printed(
        lambda c: console.print_estimate(examples.recommendation().ranked[0].estimate, True, c)
    ),
    "validation.txt": lambda: _printed(lambda c: console.print_validation(examples.validation(), c)),
    "profile.txt": lambda: _printed(lambda c: console.print_profile(examples.profile(), c)),
    "accuracy.txt": lambda: _printed(lambda c: console.print_accuracy(examples.accuracy(), c)),
    "everything.md": lambda: markdown.render(examples.everything()).decode(),
    "page.html": _words_of_page,
}


@pytest.mark.parametrize("name", _MADE)
def test_reports_say_what_they_said(name):
    path = _GOLDEN / name
    made = _MADE[name]()
    if os.environ.get("ADVISOR_WRITE_GOLDEN"):
        path.write_text(made, encoding="utf-8")
    assert made == path.read_text(encoding="utf-8")
