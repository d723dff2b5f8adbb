"""``advisor report``: render saved documents as HTML, PNG, Markdown or CSV."""

from typing import Any

import click

STDIN = "-"


def _load(sources: tuple[str, ...]) -> list[Any]:
    from advisor import codec

    if sources.count(STDIN) > 1:
        raise click.UsageError("stdin (-) can be read once; give the other documents as files")
    return [codec.load(source) for source in sources]


@click.command(name="report")
@click.argument("documents", metavar="DOC...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    help="Where to write: a name ending in .html, .png, .md or .csv (repeatable), or - for Markdown on stdout.",
)
@click.option("--chart", metavar="NAME", help="Only the chart whose name starts like this, in a .png (e.g. roofline).")
@click.option("--dark", is_flag=True, help="Dark colours in a .png; an HTML page follows the reader's system.")
def command(documents: tuple[str, ...], outputs: tuple[str, ...], chart: str | None, dark: bool) -> None:
    """Render saved documents; several of one kind are compared.

    \b
    advisor report recommendation.json profile.json -o report.html -o report.png
    advisor report before.json after.json -o comparison.md
    advisor recommend --json | advisor report - -o report.html
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    from reports import renderers

    style = renderers.PngStyle(chart=chart, dark=dark)
    places = renderers.reserve_all(outputs or (STDIN,))
    try:
        loaded = _load(documents)
        for place in places:
            place.write(renderers.rendered(loaded, place.format, style))
            if place.temporary is not None:
                click.echo(f"wrote {place.path}", err=True)
    finally:
        for place in places:
            place.release()
