"""One self-contained HTML file: styles, scripts, charts and the documents themselves inside it.

Nothing is loaded from anywhere. The content security policy allows exactly our own style sheet and
script, by their hashes, so that no text of a document could ever run or load anything.
"""

import base64
import functools
import gzip
import hashlib
import json
import math
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from advisor import codec, workloads
from advisor.recommendation import score
from advisor.types import Recommendation
from reports import pace, wording
from reports.blocks import Block, Bullets, Command, Page, Stats, Tone
from reports.charts.memory import PART_NAMES
from reports.charts.svg import inline_svg
from reports.charts.theme import DARK, LIGHT, roles
from reports.view import build_page

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

SCRIPTS = ("format.js", "whatif.js", "details.js", "picks.js", "page.js")
PICK_FIELDS = ("rank", "name", "quant", "quality", "speed", "first", "memory", "basis", "score")
_SLIDERS = (
    ("context_tokens", "Context"),
    ("prompt_tokens", "Prompt"),
    ("output_tokens", "Answer"),
    ("concurrency_count", "Users at once"),
    ("min_speed", "At least"),
)
_TONE_WORDS = {Tone.GOOD: "Confirmed.", Tone.CAUTION: "Note.", Tone.BAD: "Problem."}
#: documents above this size are packed, so that a report of the whole shelf stays below 1.5 MB
_PACK_ABOVE_BYTES = 256 * 1024
_RANGED = re.compile(r"(.+?) (\(.+\)\*?)")


def render(documents: Sequence[object]) -> bytes:
    """Documents as one HTML page."""
    page = build_page(documents)
    style, script = _style(), _script()
    template = _environment().get_template("page.html.j2")
    text = template.render(
        page=page,
        style=_safe(style),
        script=_safe(script),
        policy=_policy(style, script),
        hero_columns=_hero_columns(page),
        documents=[_embedded(documents, index, origin) for index, origin in enumerate(page.footer)],
        words=_safe(_json(_words(documents))),
        navigation=_navigation(page),
        sliders=_SLIDERS,
        pick_fields=PICK_FIELDS,
        tone_words=_TONE_WORDS,
    )
    return text.encode()


def _safe(text: str) -> "Markup":
    """Our own text, or text made safe for its place: not to be escaped again."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - see the callers: static files, hashes, escaped JSON, our SVG


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["svg"] = lambda chart: _safe(inline_svg(chart))
    environment.filters["ranged"] = _ranged
    return environment


def _ranged(cell: str) -> "Markup | str":
    """A figure with its range set apart, as ``static/picks.js`` does."""
    from markupsafe import Markup

    parts = _RANGED.fullmatch(cell)
    if parts is None or not cell[0].isdigit():
        return cell
    return Markup('{} <span class="range">{}</span>').format(parts[1], parts[2])


# Static parts ---------------------------------------------------------------------------------


def _static(name: str) -> str:
    return files("reports").joinpath("static", name).read_text(encoding="utf-8")


@functools.cache
def _style() -> str:
    dark = roles(DARK)
    variables = "".join(
        f"--chart-{role.replace('_', '-')}:light-dark({color},{dark[role]});" for role, color in roles(LIGHT).items()
    )
    return f"{_static('page.css')}:root{{{variables}}}"


@functools.cache
def _script() -> str:
    return "\n".join(_static(name) for name in SCRIPTS)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


# Data -----------------------------------------------------------------------------------------


def _json(value: Any) -> str:
    """JSON that can stand in a script element: no character that HTML could read as markup."""
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    """A copy in which infinite and undefined numbers are unknown: JSON has no words for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _embedded(documents: Sequence[object], index: int, origin: str) -> dict[str, Any]:
    document = documents[index]
    mapping = codec.to_mapping(document)
    text = _json(mapping)
    packed = len(text) > _PACK_ABOVE_BYTES
    if packed:
        # no time stamp, so that the same document gives the same bytes
        text = _json(base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode())
    kind = str(mapping.get("kind", "document"))
    earlier_count = sum(getattr(other, "kind", None) == kind for other in documents[:index])
    number = f"-{earlier_count + 1}" if earlier_count else ""
    return {
        "json": _safe(text),
        "kind": kind,
        "packed": packed,
        "origin": origin,
        "file_name": f"{codec.slug(kind)}{number}.json",
    }


def _words(documents: Sequence[object]) -> dict[str, Any]:
    """What the page's script needs to say, and the rules by which it ranks."""
    return {
        "bases": wording.BASES,
        "bounds": wording.BOUNDS,
        "phases": wording.PHASES,
        "parts": wording.PARTS,
        "warnings": wording.ESTIMATE_WARNINGS,
        "memory": {name.removesuffix("_bytes"): words for name, words in PART_NAMES.items()},
        "rules": {
            str(index): _rules(document)
            for index, document in enumerate(documents)
            if isinstance(document, Recommendation)
        },
    }


def _rules(recommendation: Recommendation) -> dict[str, float | str | None]:
    profile = workloads.TASKS[recommendation.task]
    ample = profile.ample_tokens_per_s
    return {
        "usable_tokens_per_s": profile.usable_tokens_per_s,
        "ample_tokens_per_s": None if ample == float("inf") else ample,
        "prompt_wait_s": profile.prompt_wait_s,
        "patience_s": profile.patience_s,
        "bearable_s": score.BEARABLE_FACTOR * profile.patience_s,
        "cached_prompt_frac": profile.cached_prompt_frac,
        "slowest_usability": score.SLOWEST_USABILITY,
        "saturation": score.SATURATION,
        "worth_staying_whole_frac": score.WORTH_STAYING_WHOLE_FRAC,
        "caution": score.CAUTION,
        "reads_only": pace.reads_only(recommendation.task),
        "speed_unit": pace.unit(recommendation.task),
    }


# Headline -------------------------------------------------------------------------------------


def _navigation(page: Page) -> list[tuple[str, str]]:
    """The first section of each name."""
    first: dict[str, str] = {}
    for section in page.sections:
        if section.nav:
            first.setdefault(section.nav, section.section_id)
    return [(section_id, name) for name, section_id in first.items()]


def _hero_columns(page: Page) -> list[dict[str, Any]]:
    """Figures and command over the full width; reasons at the left, memory and proof at the right."""
    blocks = page.headline.blocks
    figures = [block for block in blocks if isinstance(block, Stats)]
    commands = [block for block in blocks if isinstance(block, Command)]
    reasons = [block for block in blocks if isinstance(block, Bullets)]
    rest: list[Block] = [block for block in blocks if not isinstance(block, Stats | Command | Bullets)]
    columns = ((True, figures), (False, reasons), (False, rest), (True, commands))
    return [{"wide": wide, "blocks": column} for wide, column in columns if column]
