"""matplotlib's SVG made fit for a page: no inline styles, theme colours as CSS variables, unique ids.

The page's content security policy allows no inline style, so ``style="…"`` becomes presentation
attributes. Text stays text, in the page's own font, so it can be selected, searched and read aloud.
"""

import re
from xml.etree import ElementTree as ET

from reports.charts.base import Chart, to_svg
from reports.charts.theme import LIGHT, roles

_SVG = "http://www.w3.org/2000/svg"
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_COLORS = {color: f"var(--chart-{role.replace('_', '-')}, {color})" for role, color in roles(LIGHT).items()}
#: what presentation attributes can say; the rest of matplotlib's styles are defaults or the page's business
_KEPT_STYLES = frozenset(
    {
        "fill",
        "fill-opacity",
        "font-size",
        "font-weight",
        "opacity",
        "stroke",
        "stroke-dasharray",
        "stroke-dashoffset",
        "stroke-linecap",
        "stroke-linejoin",
        "stroke-opacity",
        "stroke-width",
        "text-anchor",
    }
)
_FONT_SHORTHAND = re.compile(r"^(?:(?P<weight>bold|\d{3}|normal) )?(?P<size>[\d.]+)px ")


def inline_svg(chart: Chart) -> str:
    """The chart as an ``<svg>`` element for an HTML page, with its title and description."""
    # parsing our own renderer's output, not a stranger's file
    root = ET.fromstring(to_svg(chart))  # noqa: S314
    _drop(root, {"metadata", "title"})
    prefix = f"{chart.chart_id}-"
    used = _references(root)
    for element in root.iter():
        _rewrite(element, prefix, used)
    _describe(root, chart, prefix)
    ET.register_namespace("", _SVG)
    text = ET.tostring(root, encoding="unicode", short_empty_elements=True)
    return text.replace(f' xmlns="{_SVG}"', "", 1)


def _drop(root: ET.Element, names: set[str]) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag.rpartition("}")[2] in names | {"style"}:
                parent.remove(child)


def _references(root: ET.Element) -> set[str]:
    found: set[str] = set()
    for element in root.iter():
        for value in element.attrib.values():
            found.update(_REFERENCE.findall(value))
        href = element.get(_XLINK_HREF)
        if href:
            found.add(href.removeprefix("#"))
    return found


def _rewrite(element: ET.Element, prefix: str, used: set[str]) -> None:
    attributes = element.attrib
    for name, value in _styles(attributes.pop("style", "")).items():
        attributes[name] = value
    href = attributes.pop(_XLINK_HREF, None)
    if href:
        attributes["href"] = f"#{prefix}{href.removeprefix('#')}"
    identity = attributes.pop("id", None)
    if identity in used:
        attributes["id"] = f"{prefix}{identity}"
    for name, value in attributes.items():
        if "url(#" in value:
            attributes[name] = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
        elif name in ("fill", "stroke"):
            attributes[name] = _COLORS.get(value.lower(), value)
        elif name in ("d", "transform", "x", "y", "width", "height", "points", "x1", "y1", "x2", "y2"):
            attributes[name] = _shorter(value)
    if element.tag == f"{{{_SVG}}}path" and "d" in attributes:
        attributes["d"] = " ".join(attributes["d"].split())


def _shorter(text: str) -> str:
    return _NUMBER.sub(lambda match: f"{float(match.group()):.2f}".rstrip("0").rstrip("."), text)


def _styles(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for declaration in text.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            shorthand = _FONT_SHORTHAND.match(value)
            if shorthand:
                found["font-size"] = shorthand["size"]
                if shorthand["weight"]:
                    found["font-weight"] = shorthand["weight"]
        elif name in _KEPT_STYLES:
            found[name] = value.removesuffix("px") if name == "font-size" else value
    return found


def _describe(root: ET.Element, chart: Chart, prefix: str) -> None:
    root.attrib.pop("version", None)
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.set("role", "img")
    root.set("class", "chart")
    root.set("stroke-linejoin", "round")
    root.set("aria-labelledby", f"{prefix}title {prefix}desc")
    title, description = ET.Element(f"{{{_SVG}}}title"), ET.Element(f"{{{_SVG}}}desc")
    title.set("id", f"{prefix}title")
    title.text = chart.title
    description.set("id", f"{prefix}desc")
    description.text = chart.description
    root.insert(0, title)
    root.insert(1, description)
