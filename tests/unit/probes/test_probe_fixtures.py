"""Every recording the parsers are tested on says where it comes from and what of it was filled in by hand."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "fixtures" / "probes"
ROW = re.compile(
    r"^\| `(?P<file>[^`]+)` \| (?P<machine>[^|]+) \| (?P<recording>[^|]+) \| (?P<source>.+) \|$", re.MULTILINE
)


def _rows() -> dict[str, re.Match[str]]:
    return {row["file"]: row for row in ROW.finditer((FOLDER / "SOURCES.md").read_text(encoding="utf-8"))}


def test_every_recording_has_a_source_and_every_source_a_recording() -> None:
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert files - {"SOURCES.md"} == _rows().keys()


def test_each_says_whether_it_is_whole() -> None:
    for row in _rows().values():
        assert row["recording"] in ("own", "as published") or row["recording"].startswith("filled in: "), row["file"]


def test_at_least_twenty_five_are_of_real_machines_with_nothing_filled_in() -> None:
    assert sum(not row["recording"].startswith("filled in") for row in _rows().values()) >= 25
