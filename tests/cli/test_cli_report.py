import json

import pytest
import report_examples as examples
from click.testing import CliRunner
from command_line import answer

from advisor import codec
from advisor.cli import main as cli


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codec.save(examples.recommendation(), "recommendation.json")
    codec.save(examples.profile(), "profile.json")
    return tmp_path


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    return answer(capsys, "report", *arguments)


def test_several_outputs_of_several_documents(here, capsys):
    outputs = ("-o", "a.html", "-o", "b.md", "-o", "out/c.png")
    code, out, err = run(capsys, "recommendation.json", "profile.json", *outputs)
    assert (code, out) == (0, "")
    assert [(here / name).exists() for name in ("a.html", "b.md", "out/c.png")] == [True] * 3
    assert err.splitlines() == ["wrote a.html", "wrote b.md", "wrote out/c.png"]


def test_without_an_output_markdown_goes_to_stdout(here):
    done = CliRunner().invoke(cli.advisor, ["report", "profile.json"])
    assert done.exit_code == 0
    assert done.stdout.startswith("# AMD EPYC 9B45")


def test_stdin_is_a_document(here):
    text = (here / "recommendation.json").read_text()
    done = CliRunner().invoke(cli.advisor, ["report", "-", "-o", "-"], input=text)
    assert done.exit_code == 0
    assert "Qwen3.6 30B A3B Instruct" in done.stdout


def test_stdin_twice_is_a_usage_error(here, capsys):
    code, _, err = run(capsys, "-", "-")
    assert code == 2
    assert "stdin" in err


def test_no_document_is_a_usage_error(here, capsys):
    assert run(capsys)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("missing.json", "-o", "x.html"), 1, ("missing.json", "cannot be read")),
        (("recommendation.json", "-o", "x.xls"), 2, ("x.xls", ".html, .png, .md, .csv")),
        (("recommendation.json", "-o", "profile.json/x.html"), 1, ("profile.json/x.html", "cannot be written")),
        (("recommendation.json", "profile.json", "-o", "x.csv"), 2, ("recommendation and profile",)),
        (("profile.json", "-o", "x.png", "--chart", "pie"), 2, ("pie", "roofline-1")),
    ],
)
def test_bad_requests_leave_one_line_and_nothing_behind(here, capsys, arguments, code, words):
    before = sorted(entry.name for entry in here.iterdir())
    got, out, err = run(capsys, *arguments)
    assert got == code
    assert out == ""
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err
    assert sorted(entry.name for entry in here.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 99}, ("profile.json", "schema_version is 99", "upgrade")),
        ({"schema_version": None}, ("profile.json", "schema_version is missing")),
        ({"kind": "pamphlet"}, ("profile.json", "field kind", "pamphlet")),
        ({"devices": "many"}, ("profile.json", "field devices")),
    ],
)
def test_a_document_of_another_schema_is_named_with_its_field(here, capsys, change, words):
    document = json.loads((here / "profile.json").read_text()) | change
    (here / "profile.json").write_text(json.dumps(document))
    code, _, err = run(capsys, "profile.json", "-o", "x.html")
    assert code == 1
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err
    assert not (here / "x.html").exists()


def test_a_truncated_document_is_one_line(here, capsys):
    text = (here / "profile.json").read_text()
    (here / "profile.json").write_text(text[: len(text) // 2])
    code, _, err = run(capsys, "profile.json", "-o", "x.html")
    assert code == 1
    assert "profile.json: not valid JSON" in err
    assert len(err.splitlines()) == 1


def test_one_dark_chart(here, capsys):
    assert run(capsys, "profile.json", "-o", "roof.png", "--chart", "roofline", "--dark")[0] == 0
    assert (here / "roof.png").read_bytes().startswith(b"\x89PNG")
