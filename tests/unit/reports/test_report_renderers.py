import os
import stat
import sys

import pytest
import report_examples as examples

import reports
from reports import ReportError, renderers


@pytest.mark.parametrize("ending", ["html", "md", "csv", "png"])
def test_every_format_is_written_by_its_ending(tmp_path, ending):
    path = reports.render((examples.profile(),), tmp_path / f"out.{ending}")
    assert path.stat().st_size > 200
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_format_may_be_named(tmp_path):
    reports.render((examples.profile(),), tmp_path / "report.txt", "md")
    assert (tmp_path / "report.txt").read_text().startswith("# ")


def test_directories_are_made(tmp_path):
    reports.render((examples.profile(),), tmp_path / "advisor-out" / "report.md")
    assert (tmp_path / "advisor-out" / "report.md").exists()


@pytest.mark.parametrize("name", ["report", "report.pdf", "report.xls"])
def test_an_unknown_ending_names_the_known_ones(tmp_path, name):
    with pytest.raises(ReportError, match=r"\.html, \.png, \.md, \.csv"):
        reports.render((examples.profile(),), tmp_path / name)


def test_an_unwritable_place_is_known_before_rendering(tmp_path, monkeypatch):
    monkeypatch.setitem(renderers.RENDERERS, "md", lambda *_: pytest.fail("rendered before the place was checked"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        reports.render((examples.profile(),), tmp_path / "file" / "report.md")
    (tmp_path / "taken.md").mkdir()
    with pytest.raises(ReportError, match="cannot be written"):
        reports.render((examples.profile(),), tmp_path / "taken.md")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_file_is_not_replaced(tmp_path):
    target = tmp_path / "report.md"
    target.write_text("keep")
    target.chmod(0o400)
    with pytest.raises(ReportError, match="Permission denied"):
        reports.render((examples.profile(),), target)
    assert target.read_text() == "keep"


def test_a_failed_rendering_leaves_the_old_report_and_nothing_else(tmp_path):
    target = tmp_path / "report.csv"
    target.write_text("old")
    with pytest.raises(ReportError):
        reports.render((examples.profile(), examples.accuracy()), target)
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_all_places_are_reserved_or_none(tmp_path):
    with pytest.raises(ReportError):
        renderers.reserve_all([tmp_path / "a.html", tmp_path / "b.xls"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits are POSIX")
def test_a_report_has_the_permissions_of_any_new_file(tmp_path):
    path = reports.render((examples.profile(),), tmp_path / "report.md")
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_stdout_is_a_place(capsysbinary):
    reports.render((examples.profile(),), "-")
    assert capsysbinary.readouterr().out.startswith(b"# ")


def test_importing_reports_loads_nothing_heavy():
    import subprocess

    heavy = ("matplotlib", "jinja2", "rich", "pydantic", "numpy")
    code = f"import sys, reports; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
