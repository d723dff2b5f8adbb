"""Documents to one page: what comes first, which sections follow, and what is missing.

Everything here is wording and order; numbers come from the documents as they are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from advisor.types import (
    Accuracy,
    Calibration,
    Estimate,
    Fleet,
    HistoryDocument,
    MachineComparison,
    Plan,
    Recommendation,
    Regression,
    Run,
    SelfTest,
    StackPlan,
    Validation,
)
from probes.types import Diagnosis, HardwareProfile
from reports import charts, wording
from reports.blocks import Block, Bullets, Charts, Facts, Fold, Headline, Page, Section
from reports.charts.machines import recommendation_names
from reports.sections import accuracy as accuracy_view
from reports.sections import answers as answers_view
from reports.sections import compare, records
from reports.sections import doctor as doctor_view
from reports.sections import estimate as estimate_view
from reports.sections import fleet as fleet_view
from reports.sections import profile as profile_view
from reports.sections import purchase as purchase_view
from reports.sections import recommendation as recommendation_view
from reports.sections import regression as regression_view
from reports.sections import validation as validation_view
from reports.text import plain

D = TypeVar("D")
Numbered = Sequence[tuple[int, D]]


def build_page(documents: Sequence[object]) -> Page:
    """The page that shows these documents, whatever their kinds and however little they hold."""
    groups = (
        _picks(documents),
        _each(documents, StackPlan, answers_view.stack_section),
        compare_group(documents),
        _with_charts(
            (
                *(
                    part
                    for index, plan in _numbered(documents, Plan)
                    for part in purchase_view.plan_sections(plan, index)
                ),
                *_each(documents, MachineComparison, purchase_view.comparison_section),
            ),
            charts.of_purchases(documents),
        ),
        _with_charts(_each(documents, Estimate, estimate_view.section), charts.of_estimates(documents)),
        _with_charts(_each(documents, Validation, validation_view.section), charts.of_validations(documents)),
        _with_charts(_each(documents, HardwareProfile, profile_view.section), charts.of_profiles(documents)),
        _each(documents, Diagnosis, doctor_view.section),
        _with_charts(_each(documents, Fleet, fleet_view.section), charts.of_fleets(documents)),
        _with_charts(_each(documents, Regression, regression_view.section), charts.of_regressions(documents)),
        _each(documents, SelfTest, regression_view.selftest_section),
        _with_charts(_each(documents, Accuracy, accuracy_view.section), charts.of_accuracies(documents)),
        _with_charts(_each(documents, HistoryDocument, records.history_section), charts.of_histories(documents)),
        _each(documents, Run, records.run_section),
        _each(documents, Calibration, records.calibration_section),
        _rejections(documents),
        (_reading_guide(documents),),
    )
    return Page(
        headline=_headline(documents),
        sections=tuple(section for group in groups for section in group),
        footer=tuple(_origin(document) for document in documents),
    )


def _numbered(documents: Sequence[object], kind: type[D]) -> Numbered[D]:
    return [(index, document) for index, document in enumerate(documents) if isinstance(document, kind)]


def _each(documents: Sequence[object], kind: type[D], make: Callable[[D, int], Section]) -> tuple[Section, ...]:
    return tuple(make(document, index) for index, document in _numbered(documents, kind))


def _with_charts(sections: tuple[Section, ...], drawn: Charts) -> tuple[Section, ...]:
    """Sections of one kind with their charts at the end of the last."""
    if not sections or not drawn.charts:
        return sections
    last = sections[-1]
    return (*sections[:-1], replace(last, blocks=(*last.blocks, drawn)))


# Recommendations ------------------------------------------------------------------------------


def _suffixes(found: Numbered[Recommendation]) -> list[str]:
    """What tells the tables of several recommendations apart: the machine, and the date where that is the same."""
    names = recommendation_names([document for _, document in found])
    return ["" if len(found) == 1 else f" on {name}" for name in names]


def _picks(documents: Sequence[object]) -> tuple[Section, ...]:
    found = _numbered(documents, Recommendation)
    sections = []
    for (index, document), suffix in zip(found, _suffixes(found), strict=True):
        section = recommendation_view.picks_section(document, index, suffix)
        if document.ranked:
            first = document.ranked[0].estimate
            folded = Fold("How the first pick's figures add up", estimate_view.working(first))
            section = replace(section, blocks=(*section.blocks, *answers_view.concurrency(first), folded))
        sections.append(section)
        why = answers_view.why_section(document, index, suffix)
        if why is not None:
            sections.append(why)
    drawn = charts.of_recommendations(documents)
    if drawn.charts:
        sections.append(Section(section_id="pictures", title="The picks in pictures", nav="Charts", blocks=(drawn,)))
    return tuple(sections)


def _rejections(documents: Sequence[object]) -> tuple[Section, ...]:
    found = _numbered(documents, Recommendation)
    made = (
        recommendation_view.rejected_section(document, index, suffix)
        for (index, document), suffix in zip(found, _suffixes(found), strict=True)
    )
    return tuple(section for section in made if section is not None)


def compare_group(documents: Sequence[object]) -> tuple[Section, ...]:
    """Comparisons of documents of one kind, with the charts of machines side by side."""
    return _with_charts(compare.sections(documents), charts.of_machines(documents))


# Headline -------------------------------------------------------------------------------------


def _headline(documents: Sequence[object]) -> Headline:
    validations = tuple(document for document in documents if isinstance(document, Validation))
    for document in documents:
        if isinstance(document, Recommendation):
            return recommendation_view.headline(document, validations)
        if isinstance(document, StackPlan):
            return answers_view.stack_headline(document)
    makers: tuple[tuple[type, Callable[[Any], Headline]], ...] = (
        (Estimate, estimate_view.headline),
        (Plan, purchase_view.plan_headline),
        (MachineComparison, purchase_view.comparison_headline),
        (Regression, regression_view.headline),
        (Validation, validation_view.headline),
        (Accuracy, accuracy_view.headline),
        (HardwareProfile, profile_view.headline),
        (Diagnosis, doctor_view.headline),
        (Fleet, fleet_view.headline),
    )
    for kind, make in makers:
        found = next((document for document in documents if isinstance(document, kind)), None)
        if found is not None:
            return make(found)
    kinds = " and ".join(dict.fromkeys(plain(getattr(document, "kind", "document")) for document in documents))
    return Headline(kicker="Model-fit advisor", title=f"Report of {kinds}" if kinds else "Empty report", lead="")


# How to read it -------------------------------------------------------------------------------


def _reading_guide(documents: Sequence[object]) -> Section:
    blocks: list[Block] = [
        Bullets(
            (
                "A range such as 8.7 (8.2–9.2) holds 80 % of outcomes; the figure before it is the middle.",
                "Memory is in GiB (1024³ bytes), bandwidth in GB/s (1000³ bytes per second).",
                "Speed is tokens per second for one user; first token is the time to read the whole prompt.",
            )
        ),
        Facts(tuple((wording.basis(basis), meaning) for basis, meaning in wording.BASIS_MEANINGS.items())),
    ]
    missing = tuple(_missing(documents))
    if missing:
        blocks.append(Fold(f"Not in this report ({len(missing)})", (Bullets(missing),), open=True))
    found = _numbered(documents, Recommendation)
    blocks.extend(
        Fold(f"Where the figures come from{suffix}", (recommendation_view.provenance(document),))
        for (_, document), suffix in zip(found, _suffixes(found), strict=True)
    )
    return Section(section_id="reading", title="How to read this", nav="How to read", blocks=tuple(blocks))


def _missing(documents: Sequence[object]) -> Iterable[str]:
    held = {type(document) for document in documents}
    if not documents:
        yield "Any document: the report was made from none."
    if Recommendation in held and Validation not in held:
        yield "A measurement of the picks: advisor validate --from recommendation.json --top 1 -o validation.json."
    if Recommendation in held and HardwareProfile not in held:
        yield "The machine's own measurements, so there is no roofline: advisor scan -o profile.json."
    for document in documents:
        if isinstance(document, Recommendation) and document.ranked:
            without = sum(not choice.estimate.whatif for choice in document.ranked)
            if without:
                yield f"Figures for other workloads on {without} of {len(document.ranked)} picks."
            if any(not choice.estimate.terms for choice in document.ranked):
                yield "The working of some picks: the document holds no terms for them."


def _origin(document: object) -> str:
    made = plain(getattr(document, "created_at", "") or "undated")
    version = plain(getattr(document, "tool_version", ""))
    kind = plain(getattr(document, "kind", "document"))
    return f"{kind}, {made}" + (f", advisor {version}" if version else "")
