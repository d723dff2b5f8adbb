"""One entry for every format: documents to bytes, and bytes to a file that was writable beforehand."""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.errors import ReportError, ReportRequestError
from reports.text import plain

STDOUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PngStyle:
    """What only a picture can choose: one chart of all, by the start of its name, and dark colours."""

    chart: str | None = None
    dark: bool = False


Renderer = Callable[[Sequence[object], PngStyle], bytes]


def _html(documents: Sequence[object], _style: PngStyle) -> bytes:
    from reports import html

    return html.render(documents)


def _markdown(documents: Sequence[object], _style: PngStyle) -> bytes:
    from reports import markdown

    return markdown.render(documents)


def _png(documents: Sequence[object], style: PngStyle) -> bytes:
    from reports import png

    return png.render(documents, chart=style.chart, dark=style.dark)


def _csv(documents: Sequence[object], _style: PngStyle) -> bytes:
    from reports import rows

    return rows.render(documents)


#: format -> renderer; a file's extension is its format
RENDERERS: dict[str, Renderer] = {"html": _html, "png": _png, "md": _markdown, "csv": _csv}
_ALIASES = {"htm": "html", "markdown": "md"}


def format_of(output: str | os.PathLike[str]) -> str:
    """The format that an output's extension names.

    Raises:
        ReportError: if there is none of that name.
    """
    extension = Path(output).suffix.lower().removeprefix(".")
    name = _ALIASES.get(extension, extension)
    if name not in RENDERERS:
        known = ", ".join(f".{known}" for known in RENDERERS)
        raise ReportRequestError(f"{plain(output)}: no report format for this ending; end the name in one of {known}")
    return name


@dataclass(slots=True)
class Output:
    """A place to write to, reserved before any work is done.

    ``temporary`` lies beside the target, so the finished file appears in one step; None is stdout.
    """

    path: Path
    format: str
    temporary: Path | None

    def write(self, data: bytes) -> None:
        """Put the finished report in place."""
        if self.temporary is None:
            sys.stdout.buffer.write(data)
            return
        try:
            self.temporary.write_bytes(data)
            self.temporary.replace(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def release(self) -> None:
        """Remove what was reserved, if it was not used."""
        if self.temporary is not None:
            self.temporary.unlink(missing_ok=True)


def reserve(output: str | os.PathLike[str], format: str | None = None) -> Output:  # noqa: A002 - its plain name
    """Make sure that a report can be written before it is rendered.

    Args:
        output: the file to write, or ``-`` for stdout.
        format: one of `RENDERERS`; taken from the file's ending where None.

    Raises:
        ReportError: if the format is unknown or the file cannot be written.
    """
    if format is not None and format not in RENDERERS:
        raise ReportRequestError(f"no report format {plain(format, 40)!r}; choose one of {', '.join(RENDERERS)}")
    if str(output) == STDOUT:
        return Output(Path(STDOUT), format or "md", None)
    path = Path(output)
    chosen = format or format_of(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(descriptor)
        # mkstemp's files are private; a report has the permissions of any new file
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
    except OSError as error:
        raise _unwritable(path, error) from None
    return Output(path, chosen, Path(name))


def _unwritable(path: Path, error: OSError) -> ReportError:
    reason = error.strerror or type(error).__name__
    return ReportError(f"{plain(path)}: cannot be written ({reason}); choose another place with -o")


def reserve_all(outputs: Sequence[str | os.PathLike[str]]) -> list[Output]:
    """Reserve every output, or none: what was reserved is released if a later one cannot be written.

    Raises:
        ReportError: as `reserve`.
    """
    places: list[Output] = []
    try:
        places.extend(map(reserve, outputs))
    except ReportError:
        for place in places:
            place.release()
        raise
    return places


def rendered(documents: Sequence[object], file_format: str, style: PngStyle | None = None) -> bytes:
    """Documents in one of the formats of `RENDERERS`.

    Raises:
        ReportError: one line on what cannot be rendered.
    """
    return RENDERERS[file_format](documents, style or PngStyle())


def render(
    documents: Sequence[object],
    output: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002 - its plain name
) -> Path:
    """Render documents to a file; returns its path.

    Args:
        documents: any documents of `advisor.codec`, in the order in which they matter.
        output: the file to write, or ``-`` for stdout; an existing file is replaced in one step.
        format: "html", "png", "md" or "csv"; taken from the file's ending where None.

    Raises:
        ReportError: one line on what cannot be written or rendered.
    """
    place = reserve(output, format)
    try:
        place.write(rendered(documents, place.format))
    finally:
        place.release()
    return place.path
