"""A comparison as workflow commands, which GitHub Actions shows as annotations on a run.

Format: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from collections.abc import Iterator

from advisor.types import Finding, Regression, Verdict
from reports import findings
from reports.text import plain

#: GitHub shows ten annotations of each level per step.
_MAX_PER_LEVEL_COUNT = 10


def _data(text: str) -> str:
    return plain(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _level(finding: Finding, failing: tuple[Finding, ...]) -> str | None:
    if finding in failing:
        return "error"
    if finding.verdict in (Verdict.NOISIER, Verdict.NOT_COMPARABLE):
        return "warning"
    return "notice" if finding.verdict is Verdict.FASTER else None


def _lines(regression: Regression) -> Iterator[str]:
    failing = findings.failing(regression)
    shown: dict[str, int] = {}
    for finding in regression.findings:
        level = _level(finding, failing)
        if level is None:
            continue
        shown[level] = shown.get(level, 0) + 1
        if shown[level] <= _MAX_PER_LEVEL_COUNT:
            yield f"::{level} title={_property(findings.name(finding))}::{_data(findings.sentence(finding))}"
    outcome = "error" if regression.regressed else "notice"
    yield f"::{outcome} title=advisor regress::{_data(findings.headline(regression))}"


def render(regression: Regression) -> str:
    """One line per finding worth telling, and one for the outcome."""
    return "\n".join(_lines(regression)) + "\n"
