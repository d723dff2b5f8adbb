"""Two runs compared, and A/A self-tests."""

from advisor.types import Finding, Regression, RunReference, SelfTest, Verdict
from reports import format as fmt
from reports import phrases, wording
from reports.blocks import Block, Bullets, Facts, Fold, Grid, Headline, Notice, Section, Tone
from reports.text import plain


def headline(regression: Regression) -> Headline:
    """Whether anything got worse."""
    worse = [f for f in regression.findings if f.significant and f.verdict == Verdict.SLOWER]
    better = [f for f in regression.findings if f.significant and f.verdict == Verdict.FASTER]
    if regression.regressed:
        title = f"{phrases.counted(len(worse), 'metric')} got worse"
    else:
        title = "No significant regression"
    return Headline(
        kicker=f"{plain(regression.current.suite_name)} on {plain(regression.current.hardware)}",
        title=title,
        lead=f"{phrases.counted(len(regression.findings), 'metric')} compared: {len(worse)} worse, "
        f"{len(better)} better, at a false discovery rate of {fmt.percent(regression.false_discovery_frac)}.",
    )


def section(regression: Regression, document_index: int) -> Section:
    """Findings, worst first, and what else differs between the runs."""
    order = {Verdict.SLOWER: 0, Verdict.NOISIER: 1, Verdict.FASTER: 2, Verdict.NOT_COMPARABLE: 3}
    findings = sorted(regression.findings, key=lambda f: (not f.significant, order.get(f.verdict, 4)))
    blocks: list[Block] = [
        Facts((("Baseline", _run(regression.baseline)), ("This run", _run(regression.current)))),
    ]
    if findings:
        numeric = frozenset({2, 3, 4})
        headers = ("Subject", "Metric", "Baseline", "This run", "Change", "Verdict")
        rows = tuple(map(_row, findings))
        blocks.append(Grid(caption="Findings", headers=headers, rows=rows, numeric=numeric))
    else:
        blocks.append(Notice("The document holds no findings."))
    if regression.environment_changes:
        changes = tuple(
            f"{plain(change.name)}: {plain(change.baseline or 'unknown')} → {plain(change.current or 'unknown')}"
            for change in regression.environment_changes
        )
        blocks.append(Fold(f"What else changed ({len(changes)})", (Bullets(changes),), open=True))
    blocks += [Notice(f"Compared although {plain(difference)}.") for difference in regression.allowed]
    if regression.notes:
        blocks.append(Bullets(tuple(map(plain, regression.notes))))
    return Section(
        section_id=f"findings-{document_index}", title="Before and after", nav="Findings", blocks=tuple(blocks)
    )


def _run(reference: RunReference) -> str:
    engine = reference.engine
    build = plain(" ".join(filter(None, (engine.id, engine.version)))) if engine else "no engine"
    state = "" if reference.complete else ", incomplete"
    return f"{fmt.clock(reference.created_at)}, {build}{state}"


def _row(finding: Finding) -> tuple[str, ...]:
    span = finding.interval_frac
    change = fmt.change(finding.change_frac)
    if span is not None:
        change = f"{change} ({fmt.change(span.low)} to {fmt.change(span.high)})"
    verdict = wording.verdict(finding.verdict)
    if finding.significant:
        verdict = f"{verdict}, significant"
    if finding.reason:
        verdict = f"{verdict}: {plain(finding.reason)}"
    return (
        plain(finding.subject),
        wording.metric(finding.metric),
        phrases.metric_value(finding.metric, finding.baseline),
        phrases.metric_value(finding.metric, finding.current),
        change,
        verdict,
    )


def selftest_section(selftest: SelfTest, document_index: int) -> Section:
    """What change this machine can resolve."""
    rows = tuple(
        (
            plain(line.subject),
            wording.metric(line.metric),
            fmt.percent(line.within_frac),
            fmt.percent(line.between_frac),
            fmt.percent(line.smallest_change_frac),
        )
        for line in selftest.resolutions
    )
    false_alarms = f"{selftest.false_alarms_count} of {fmt.count(selftest.comparisons_count)}"
    alarm_tone = Tone.GOOD if selftest.false_alarms_count == 0 else Tone.CAUTION
    headers = ("Subject", "Metric", "Noise within a run", "Noise between runs", "Smallest change it sees")
    return Section(
        section_id=f"selftest-{document_index}",
        title=f"What {plain(selftest.hardware)} can resolve",
        nav="Self-test",
        blocks=(
            Notice(f"{false_alarms} comparisons of like with like raised a false alarm.", alarm_tone),
            Grid(caption="Resolution by metric", headers=headers, rows=rows, numeric=frozenset({2, 3, 4})),
            Bullets(tuple(map(plain, selftest.notes))),
        ),
    )
