"""One prediction with its working."""

from collections.abc import Sequence

from advisor.types import Estimate, Term
from reports import format as fmt
from reports import phrases, wording
from reports.blocks import Block, Facts, Fold, Grid, Headline, Notice, Section, Stat, Stats, Tone
from reports.sections.answers import concurrency, extremes
from reports.sections.recommendation import memory_bar
from reports.text import plain

TERM_HEADERS = ("Term", "On", "Data", "Arithmetic", "Time", "Limited by", "Known by")


def headline(estimate: Estimate) -> Headline:
    """What the model would do here."""
    return Headline(
        kicker=f"Prediction for {wording.task(estimate.workload.task)}",
        title=phrases.estimate_name(estimate),
        lead=f"{phrases.deployment(estimate.deployment)}; {phrases.workload(estimate.workload)}.",
        blocks=(stats(estimate), *(memory_bar(device) for device in estimate.memory.devices), *_warnings(estimate)),
    )


def stats(estimate: Estimate) -> Stats:
    """The four figures of an estimate."""
    decode, prefill, first = estimate.decode_tokens_per_s, estimate.prefill_tokens_per_s, estimate.first_token_s
    first_value, first_unit = fmt.duration_parts(first.mid)
    fits = estimate.memory.fits
    return Stats(
        (
            Stat(label="Speed", value=fmt.number(decode.mid), unit="tok/s", note=fmt.edges(decode)),
            Stat(label="Prompt speed", value=fmt.number(prefill.mid), unit="tok/s", note=fmt.edges(prefill)),
            Stat(label="First token", value=first_value, unit=first_unit, note=fmt.duration_edges(first)),
            Stat(
                label="Memory",
                value=fmt.gib(estimate.memory.total_bytes).removesuffix(" GiB"),
                unit="GiB",
                note="fits" if fits else "does not fit",
                tone=Tone.PLAIN if fits else Tone.BAD,
            ),
        )
    )


def _warnings(estimate: Estimate) -> tuple[Notice, ...]:
    return tuple(Notice(wording.estimate_warning(warning)) for warning in estimate.warnings)


def section(estimate: Estimate, document_index: int) -> Section:
    """The working of an estimate."""
    return Section(
        section_id=f"estimate-{document_index}",
        title=f"How it adds up: {phrases.estimate_name(estimate)}",
        nav="Working",
        blocks=(*extremes(estimate), *concurrency(estimate), *working(estimate), Fold("Sources", (sources(estimate),))),
    )


def working(estimate: Estimate) -> tuple[Block, ...]:
    """A table of terms per phase, or a notice where the document holds none."""
    blocks: list[Block] = []
    for phase, title in wording.PHASES.items():
        terms = [term for term in estimate.terms if term.name.startswith(f"{phase}.")]
        if terms:
            blocks.append(_terms_grid(title, terms))
    return tuple(blocks) or (Notice("The document holds no terms, so the working cannot be shown."),)


def _terms_grid(title: str, terms: Sequence[Term]) -> Grid:
    rows = tuple(
        (
            wording.term_part(term.name),
            plain(term.device_id),
            fmt.gib(term.bytes or None),
            fmt.flop(term.flop or None),
            fmt.duration(term.time_s),
            wording.bound(term.bound),
            wording.basis(term.basis),
        )
        for term in terms
    )
    return Grid(caption=title, headers=TERM_HEADERS, rows=rows, numeric=frozenset({2, 3, 4}))


def sources(estimate: Estimate) -> Facts:
    """What the coefficients rest on."""
    rows = tuple((plain(name), plain(source)) for name, source in estimate.provenance.items())
    return Facts(rows or (("Sources", "not recorded"),))
