"""What every renderer of reports must do, whatever it writes."""

import re

import pytest
import report_examples as examples

from reports import RENDERERS
from reports.renderers import rendered

_ALONE = (
    examples.recommendation(),
    examples.recommendation().ranked[0].estimate,
    examples.profile(),
    examples.validation(),
    examples.accuracy(),
    examples.regression(),
    examples.history(),
)


@pytest.mark.parametrize("file_format", RENDERERS)
@pytest.mark.parametrize("document", _ALONE, ids=lambda document: document.kind)
def test_renders_any_document_the_same_way_every_time(file_format, document):
    first = rendered((document,), file_format)
    assert len(first) > 100
    assert rendered((document,), file_format) == first


@pytest.mark.parametrize("file_format", RENDERERS)
def test_renders_hostile_names_as_text(file_format):
    data = rendered((examples.hostile_recommendation(),), file_format)
    if file_format != "png":
        text = data.decode()
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert file_format == "csv" or not re.search(r"(?<!\\)<img", text)


@pytest.mark.parametrize("file_format", [name for name in RENDERERS if name != "csv"])
def test_renders_all_kinds_together(file_format):
    assert len(rendered(examples.everything(), file_format)) > 5000
