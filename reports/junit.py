"""A comparison as JUnit XML, which every continuous-integration system shows as tests."""

import re
from xml.etree import ElementTree as ET

from advisor.types import Finding, Regression, Verdict
from reports import findings
from reports.text import plain

#: Characters that XML 1.0 cannot hold, even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(value: object) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", plain(value))


def _test_case(suite: ET.Element, finding: Finding, failing: bool) -> None:
    case = ET.SubElement(suite, "testcase", classname=_text(finding.subject), name=_text(finding.metric), time="0")
    line = _text(findings.sentence(finding))
    if failing:
        failure = ET.SubElement(case, "failure", type=finding.verdict.value, message=line)
        failure.text = line
    elif finding.verdict is Verdict.NOT_COMPARABLE:
        ET.SubElement(case, "skipped", message=line)
    else:
        ET.SubElement(case, "system-out").text = line


def render(regression: Regression) -> bytes:
    """One test per finding: failed where it fails the gate, skipped where nothing can be compared."""
    failing = findings.failing(regression)
    skipped = [f for f in regression.findings if f.verdict is Verdict.NOT_COMPARABLE and f not in failing]
    suite = ET.Element(
        "testsuite",
        name=_text(f"advisor regress: {regression.current.suite_name}"),
        tests=str(len(regression.findings)),
        failures=str(len(failing)),
        errors="0",
        skipped=str(len(skipped)),
        timestamp=_text(regression.created_at.removesuffix("Z")),
        time="0",
    )
    properties = ET.SubElement(suite, "properties")
    for change in regression.environment_changes:
        words = f"{change.baseline or 'unknown'} -> {change.current or 'unknown'}"
        ET.SubElement(properties, "property", name=_text(f"changed: {change.name}"), value=_text(words))
    for finding in regression.findings:
        _test_case(suite, finding, finding in failing)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"
