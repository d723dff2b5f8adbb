"""A comparison as a short Markdown comment for a pull request or a job summary."""

from collections.abc import Iterator, Sequence

from advisor.types import Finding, Regression, Verdict
from reports import findings, wording
from reports import format as fmt
from reports.markdown import escaped

#: GitHub cuts comments at 65,536 characters; GitLab's limit is far higher.
_MAX_ROWS_COUNT = 200
_ORDER = (Verdict.SLOWER, Verdict.NOISIER, Verdict.FASTER, Verdict.NOT_COMPARABLE, Verdict.UNCHANGED)


def _row(finding: Finding) -> str:
    cells = (
        findings.name(finding),
        findings.values(finding),
        findings.spread(finding),
        wording.verdict(finding.verdict) + (f": {finding.reason}" if finding.reason else ""),
    )
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def _table(rows: Sequence[Finding]) -> Iterator[str]:
    yield "| Metric | Baseline to this run | Change (95 %) | Verdict |"
    yield "|---|---|---|---|"
    yield from map(_row, rows[:_MAX_ROWS_COUNT])
    if len(rows) > _MAX_ROWS_COUNT:
        yield ""
        yield f"{fmt.count(len(rows) - _MAX_ROWS_COUNT)} more are in the JSON document."


def _lines(regression: Regression) -> Iterator[str]:
    mark = "❌" if regression.regressed else "✅"
    yield f"### {mark} {escaped(findings.headline(regression))}"
    yield ""
    rate = fmt.percent(regression.false_discovery_frac)
    yield f"On {escaped(regression.current.hardware)}, false discoveries at most {rate}."
    failing = findings.failing(regression)
    if failing:
        yield ""
        yield from _table(failing)
    if regression.environment_changes:
        yield ""
        yield "Changed since the baseline:"
        yield ""
        yield from (f"- {escaped(findings.suspect(change))}" for change in regression.environment_changes)
    notes = [f"compared although the {name} differs" for name in regression.allowed] + list(regression.notes)
    if notes:
        yield ""
        yield from (f"- {escaped(note)}" for note in notes)
    rest = [f for f in regression.findings if f not in failing]
    if rest:
        yield ""
        yield f"<details><summary>{fmt.count(len(rest))} other metrics</summary>"
        yield ""
        yield from _table(sorted(rest, key=lambda finding: _ORDER.index(finding.verdict)))
        yield ""
        yield "</details>"


def render(regression: Regression) -> bytes:
    """The comment: outcome, what failed, what changed around it, everything else folded away."""
    return ("\n".join(_lines(regression)) + "\n").encode()
