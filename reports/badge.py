"""A comparison as a badge: one small SVG without scripts, fonts or links."""

from xml.etree import ElementTree as ET

from advisor.types import Regression, Verdict
from reports import findings

_LABEL = "model speed"
_GOOD, _BAD, _UNKNOWN = "#1a7f37", "#cf222e", "#6e7781"
_CHAR_DIM = 6.6  # average width of a character in 11 px sans-serif
_PADDING_DIM = 12
_NAMESPACE = "http://www.w3.org/2000/svg"
_STYLE = {
    "fill": "#ffffff",
    "font-family": "Verdana, DejaVu Sans, sans-serif",
    "font-size": "11",
    "text-anchor": "middle",
}


def _message(regression: Regression) -> tuple[str, str]:
    failing = len(findings.failing(regression))
    compared = sum(finding.verdict is not Verdict.NOT_COMPARABLE for finding in regression.findings)
    if regression.regressed:
        return f"{failing} worse", _BAD
    if compared == 0:
        return "not comparable", _UNKNOWN
    better = sum(finding.verdict is Verdict.FASTER for finding in regression.findings)
    return (f"{better} better" if better else "no regression"), _GOOD


def _width(text: str) -> int:
    return round(len(text) * _CHAR_DIM) + _PADDING_DIM


def render(regression: Regression) -> bytes:
    """The badge as SVG."""
    message, colour = _message(regression)
    left, right = _width(_LABEL), _width(message)
    title = f"{_LABEL}: {message}"
    size = {"width": str(left + right), "height": "20"}
    svg = ET.Element("svg", {"xmlns": _NAMESPACE, "role": "img", "aria-label": title, **size})
    ET.SubElement(svg, "title").text = title
    ET.SubElement(svg, "rect", {**size, "rx": "3", "fill": "#24292f"})
    ET.SubElement(svg, "rect", {"x": str(left), "width": str(right), "height": "20", "rx": "3", "fill": colour})
    ET.SubElement(svg, "rect", {"x": str(left), "width": "4", "height": "20", "fill": colour})
    for text, centre in ((_LABEL, left / 2), (message, left + right / 2)):
        word = ET.SubElement(svg, "text", {**_STYLE, "x": str(centre), "y": "14"})
        word.text = text
    document: bytes = ET.tostring(svg, encoding="utf-8")
    return document + b"\n"
