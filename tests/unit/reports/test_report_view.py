from dataclasses import replace

import pytest
import report_examples as examples

from advisor.types import Interval
from reports.blocks import Bullets, Charts, Facts, Fold, Grid, MemoryBar, Notice, Picks, Stats, Tone
from reports.charts.svg import inline_svg
from reports.html import PICK_FIELDS
from reports.sections.recommendation import memory_bar, pick_headers, pick_row
from reports.view import build_page


def blocks(page, kind):
    def walk(found):
        for block in found:
            if isinstance(block, kind):
                yield block
            if isinstance(block, Fold):
                yield from walk(block.blocks)

    return [block for section in page.sections for block in walk(section.blocks)]


def words(page) -> str:
    def texts(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple | list):
            for inner in value:
                yield from texts(inner)
        elif hasattr(value, "__dataclass_fields__"):
            for name in value.__dataclass_fields__:
                yield from texts(getattr(value, name))

    return "\n".join(texts(page))


def test_the_headline_names_the_first_pick_and_its_figures():
    page = build_page((examples.recommendation(),))
    first = examples.recommendation().ranked[0]
    assert page.headline.title == f"{first.display_name} {first.estimate.quant_id}"
    stats = next(block for block in page.headline.blocks if isinstance(block, Stats))
    assert [stat.label for stat in stats.items] == ["Speed", "First token", "Quality", "Memory"]


def test_the_headline_is_proven_by_a_validation_of_the_same_pick():
    page = build_page((examples.recommendation(), examples.validation()))
    notice = next(block for block in page.headline.blocks if isinstance(block, Notice))
    assert notice.tone == Tone.GOOD
    assert "measured 11.4 tok/s" in notice.text


def test_a_proof_whose_prompt_is_far_off_is_a_caution_that_says_so():
    validation = examples.validation()
    record = validation.records[0]
    off = replace(record, error_frac={**record.error_frac, "prefill_tokens_per_s": 0.447})
    page = build_page((examples.recommendation(), replace(validation, records=(off,))))
    notice = next(block for block in page.headline.blocks if isinstance(block, Notice))
    assert notice.tone == Tone.CAUTION
    assert "prompts: off by +44.7 %" in notice.text


def test_a_polluted_proof_is_a_caution():
    validation = examples.validation()
    polluted = replace(validation, records=(replace(validation.records[0], polluted=True),))
    page = build_page((examples.recommendation(), polluted))
    assert next(block for block in page.headline.blocks if isinstance(block, Notice)).tone == Tone.CAUTION


@pytest.mark.parametrize(
    ("make", "title"),
    [
        (examples.profile, "AMD EPYC 9B45"),
        (examples.validation, "of 20 predictions held"),
        (examples.regression, "1 metric got worse"),
        (examples.accuracy, "Half of the predictions are within 5.0 %"),
        (examples.history, "Report of history"),
        (examples.calibration, "Report of calibration"),
        (lambda: examples.recommendation().ranked[0].estimate, "Qwen/Qwen3.6-30B-A3B-Instruct Q4_K_M"),
    ],
)
def test_every_kind_of_document_makes_a_page_of_its_own(make, title):
    page = build_page((make(),))
    assert title in page.headline.title
    assert page.sections


def test_section_ids_are_unique():
    documents = examples.everything() + examples.everything()
    ids = [section.section_id for section in build_page(documents).sections]
    assert len(ids) == len(set(ids))


def test_chart_ids_are_unique():
    documents = (*examples.everything(), examples.gpu_profile(), examples.recommendation(examples.GPU, "RTX 4090"))
    ids = [chart.chart_id for chart in build_page(documents).charts()]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 15


def test_every_chart_has_words_and_data():
    documents = (*examples.everything(), examples.gpu_profile(), examples.recommendation(examples.GPU, "RTX 4090"))
    for chart in build_page(documents).charts():
        assert chart.title
        assert len(chart.description) > 20
        assert chart.table.rows
        assert all(len(row) == len(chart.table.headers) for row in chart.table.rows)


def test_tables_are_rectangular():
    for grid in blocks(build_page((*examples.everything(), examples.gpu_profile())), Grid):
        assert all(len(row) == len(grid.headers) for row in grid.rows), grid.caption
        assert all(index < len(grid.headers) for index in grid.numeric)


def test_the_ranked_table_has_a_field_for_each_header():
    assert len(pick_headers("coding")) == len(PICK_FIELDS) == len(pick_row(examples.recommendation().ranked[0]))


def test_two_recommendations_are_compared():
    page = build_page((examples.recommendation(), examples.recommendation(examples.GPU, "RTX 4090")))
    assert "compare-picks" in [section.section_id for section in page.sections]
    assert len(blocks(page, Picks)) == 2


def test_before_and_after_of_one_machine_shows_the_change():
    before = examples.profile()
    slower = tuple(
        replace(o, measurement=o.measurement and replace(o.measurement, value=o.measurement.value * 0.9))
        for o in before.outcomes
    )
    page = build_page((before, replace(before, outcomes=slower, created_at="2026-11-23T16:00:00Z")))
    grid = next(grid for grid in blocks(page, Grid) if grid.caption == "Measurements of each machine")
    assert grid.headers[-1] == "Change"
    assert {row[-1] for row in grid.rows} == {"−10.0 %"}
    assert "2026-11-23" in grid.headers[2]


def test_what_is_missing_is_said():
    text = words(build_page((examples.recommendation(),)))
    assert "advisor validate --from recommendation.json" in text
    assert "advisor scan -o profile.json" in text
    bare = examples.recommendation()
    stripped = replace(
        bare, ranked=tuple(replace(c, estimate=replace(c.estimate, terms=(), whatif={})) for c in bare.ranked)
    )
    text = words(build_page((stripped,)))
    assert "Figures for other workloads on 12 of 12 picks" in text
    assert "holds no terms" in text


@pytest.mark.parametrize(
    "document",
    [
        replace(examples.recommendation(), ranked=(), rejected=()),
        replace(examples.profile(), outcomes=(), devices=(), links=()),
        replace(examples.validation(), records=()),
        replace(examples.accuracy(), rows=(), summary=(), skipped=(), notes=()),
        replace(examples.regression(), findings=()),
        replace(examples.history(), entries=(), trends=()),
        replace(examples.calibration(), rates=()),
    ],
    ids=lambda document: document.kind,
)
def test_an_empty_document_still_makes_a_page(document):
    page = build_page((document,))
    assert page.headline.title
    assert page.sections


def test_no_document_at_all_makes_a_page_that_says_so():
    assert "Any document" in words(build_page(()))


def test_a_memory_bar_spans_what_is_needed_or_free_whichever_is_larger():
    device = examples.recommendation().ranked[0].estimate.memory.devices[0]
    bar = memory_bar(device)
    assert sum(part.frac for part in bar.parts) == pytest.approx(device.total_bytes / device.available_bytes)
    assert bar.tone == Tone.GOOD
    tight = memory_bar(replace(device, available_bytes=device.total_bytes // 2))
    assert sum(part.frac for part in tight.parts) == pytest.approx(1.0)
    assert tight.limit_frac == pytest.approx(0.5, rel=1e-6)
    assert tight.tone == Tone.BAD
    assert memory_bar(replace(device, available_bytes=None)).limit_frac is None


def test_rejections_beyond_the_first_are_folded_not_dropped():
    base = examples.recommendation()
    many = tuple(replace(base.rejected[0], model_id=f"model-{i}") for i in range(300))
    page = build_page((replace(base, rejected=many),))
    assert "model-299" in words(page)


def test_pages_hold_charts_facts_memory_and_lists():
    page = build_page(examples.everything())
    for kind in (Charts, Facts, Bullets, Notice, Picks):
        assert blocks(page, kind), kind
    assert any(isinstance(block, MemoryBar) for block in page.headline.blocks)


@pytest.mark.parametrize("odd", [0.0, -1.0, float("inf"), float("nan"), 1e-300, 1e300])
def test_odd_numbers_do_not_stop_a_page_or_its_charts(odd):
    base = examples.recommendation()
    span = Interval(low=odd, mid=odd, high=odd)
    estimate = replace(base.ranked[0].estimate, decode_tokens_per_s=span, first_token_s=span, prefill_tokens_per_s=span)
    terms = tuple(replace(term, time_s=odd, bytes=odd, flop=odd) for term in estimate.terms)
    quality = replace(base.ranked[0].quality, low=odd, mid=odd, high=odd)
    first = replace(base.ranked[0], estimate=replace(estimate, terms=terms), quality=quality, score=odd)
    page = build_page((replace(base, ranked=(first, *base.ranked[1:])), examples.profile()))
    for chart in page.charts():
        assert inline_svg(chart).startswith("<svg")
