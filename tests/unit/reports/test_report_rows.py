import csv
import io
from dataclasses import replace

import pytest
import report_examples as examples

from reports import rows
from reports.errors import ReportRequestError


def read(documents):
    return list(csv.DictReader(io.StringIO(rows.render(documents).decode())))


def test_a_recommendation_gives_one_unrounded_row_per_pick():
    found = read((examples.recommendation(),))
    first = examples.recommendation().ranked[0]
    assert len(found) == 12
    assert float(found[0]["decode_mid_tokens_per_s"]) == first.estimate.decode_tokens_per_s.mid
    assert int(found[0]["memory_bytes"]) == first.estimate.memory.total_bytes
    assert found[0]["fits"] == "True"


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (examples.validation, 6),
        (examples.accuracy, 120),
        (examples.profile, 8),
        (examples.regression, 5),
        (examples.history, 35),
        (lambda: examples.recommendation().ranked[0].estimate, 1),
    ],
)
def test_every_kind_has_its_rows(make, count):
    assert len(read((make(),))) == count


@pytest.mark.parametrize(
    ("make", "emptied"),
    [
        (examples.recommendation, {"ranked": ()}),
        (examples.regression, {"findings": ()}),
        (examples.history, {"trends": ()}),
    ],
)
def test_a_document_without_rows_still_names_its_columns(make, emptied):
    document = make()
    (first, *_) = rows.render([document]).decode().splitlines()
    assert rows.render([replace(document, **emptied)]).decode() == f"{first}\n"


def test_several_documents_are_numbered():
    found = read((examples.profile(), examples.gpu_profile()))
    assert {row["document"] for row in found} == {"1", "2"}


def test_mixed_kinds_are_refused_with_advice():
    with pytest.raises(ReportRequestError, match="recommendation and profile; render each kind by itself"):
        rows.render((examples.recommendation(), examples.profile()))


def test_a_kind_without_rows_is_refused_with_advice():
    with pytest.raises(ReportRequestError, match=r"calibration document has no rows for CSV; use \.html or \.md"):
        rows.render((examples.calibration(),))


def test_names_cannot_become_formulas_or_lines():
    found = read((examples.hostile_recommendation(),))
    assert len(found) == len(examples.HOSTILE_NAMES)
    assert all(not row["model_id"].startswith(("=", "+", "-", "@")) for row in found)
    assert found[6]["model_id"].startswith("'=cmd")


def test_no_document_gives_an_empty_table():
    assert rows.render(()).decode().strip() == ""
