"""The command group: help, typos, errors in one line, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from advisor.cli import _streams
from advisor.cli import main as cli
from advisor.errors import AdvisorError, BadRequestError, NothingFitsError
from reports import format as fmt
from reports import phrases, shopping, terminal, users, wording
from reports.console_runs import sparkline

_REPORTS = Path(terminal.__file__).parent
CONSOLE_MODULES = [
    *_REPORTS.glob("console*.py"),
    *(Path(module.__file__ or "") for module in (fmt, phrases, shopping, terminal, users, wording)),
    *Path(cli.__file__).parent.glob("*.py"),
]


def run(*args, **env):
    return subprocess.run(
        [sys.executable, "-m", "advisor", *args],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=120,
        check=False,
    )


def test_every_command_of_the_table_exists_and_explains_itself():
    runner = CliRunner()
    for name in cli.COMMANDS:
        result = runner.invoke(cli.advisor, [name, "--help"])
        assert result.exit_code == 0, (name, result.output, result.exception)
        assert "Usage" in result.output
        assert "\\b" not in result.output, f"{name}: click's mark for verbatim lines is shown to the reader"


@pytest.mark.parametrize("words", [(), ("catalog",), ("fleet",)])
def test_a_group_alone_shows_its_help_line_by_line(words):
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "\nCommands:\n" in done.stderr


def test_a_locale_of_few_characters_ends_no_command(tmp_path):
    few = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"}
    done = run("estimate", "qwen3-8b", "--hardware", "rtx 4090", ADVISOR_HOME=str(tmp_path), **few)
    assert done.returncode == 0, done.stderr
    assert "tok/s" in done.stdout
    assert done.stdout.isascii()


def test_help_lists_the_commands():
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("recomend",), "did you mean recommend"),
        (("estimate", "qwen3-8c"), "nearest"),
        (("estimate", "qwen3-8b:Q4_K_Z"), "nearest"),
        (("estimate", "qwen3-8b", "--task", "codin"), "did you mean coding"),
        (("estimate", "qwen3-8b", "--hardware", "rtx 5091"), "chip"),
        (("estimate", "qwen3-8b", "--context", "24G"), "write 4096 or 32k"),
        (("recommend", "--max-memory", "24G"), "GiB"),
        (("recommend", "--prompt", "8k", "--context", "4k"), "--context 4096 cannot hold"),
        (("recommend", "--concurrency", "0"), "--concurrency 0"),
        (("estimate", "qwen3-8b", "--engine", "llamacpp"), "unknown engine"),
        (("estimate", "qwen3-8b", "--hardware", "rtx 4090", "--backend", "opengl"), "unknown backend"),
        (("estimate", "qwen3-8b", "--hardware", "rtx 4090", "--backend", "metal"), "use cuda or vulkan or cpu"),
        (("estimate", "qwen3-8b", "--hardware", "rtx 4090*0"), "a count must be between"),
        (("estimate", "qwen3-8b", "--hardware", "rtx 4090+64G"), "no byte unit"),
        (("estimate", "qwen3-8b", "--hardware", "rtx 4090 48GiB"), "it is sold as"),
        (("estimate", "qwen3-8b", "--hardware", ""), "chip ''"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(tmp_path, args, said):
    done = run(*args, ADVISOR_HOME=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("estimate", "missing.gguf"), "missing.gguf"),
        (("estimate", "qwen3-8b", "--profile", "missing.json"), "missing.json"),
    ],
)
def test_a_missing_file_is_one_line_and_exit_1(tmp_path, args, said):
    done = run(*args, ADVISOR_HOME=str(tmp_path))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr


def test_a_damaged_profile_names_file_and_field(tmp_path):
    (tmp_path / "profile.json").write_text('{"kind": "profile", "schema_version": 1, "profile_id": 3}')
    done = run("estimate", "qwen3-8b", "--no-calibrate", ADVISOR_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "profile.json" in done.stderr
    assert "profile_id" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code"), [(AdvisorError("a"), 1), (BadRequestError("b"), 2), (NothingFitsError("c"), 3)]
)
def test_errors_have_the_contracts_exit_codes(monkeypatch, capsys, error, code):
    def fail(**_kwargs):
        raise error

    monkeypatch.setattr(cli.advisor, "main", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == code
    assert capsys.readouterr().err == f"advisor: {error}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_full_disk_is_one_line(tmp_path, form):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "advisor", "estimate", "qwen3-8b", "--hardware", "rtx 4090", *form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ADVISOR_HOME": str(tmp_path)},
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "No space left on device" in done.stderr


def test_ctrl_c_says_that_nothing_was_half_written(monkeypatch, capsys):
    def interrupt(**_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.advisor, "main", interrupt)
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 130
    assert "nothing half-written" in capsys.readouterr().err


def test_all_that_is_drawn_has_a_plain_character():
    """What console texts are made of, the history's trends among it; a model's name keeps its own ``?``."""
    written = {char for path in CONSOLE_MODULES for char in path.read_text("utf-8") if not char.isascii()}
    _streams.prepare()
    drawn = sparkline(range(8)).encode("ascii", "advisor.plainly").decode()
    assert {char for char in written if "?" in char.encode("ascii", "advisor.plainly").decode()} == set()
    assert len(set(drawn)) == 8


def test_a_locale_of_few_characters_gets_plain_ones():
    result = run("plan", "qwen3-8b", "--hardware", "rtx 4090", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert "1k - answer 512 - context" in result.stdout
    assert "?" not in result.stdout


# Streams --------------------------------------------------------------------------------------


def unread(*args, **kwargs):
    """A command whose output nobody reads; the pipe is gone before it starts."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, "-m", "advisor", *args],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
            **kwargs,
        )
    finally:
        os.close(writer)


WHERE = ("--hardware", "rtx 4090")


@pytest.mark.skipif(os.name != "posix", reason="pipes end otherwise there")
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("--help",), 0),
        (("scan", "--help"), 0),
        (("catalog", "list"), 0),
        (("estimate", "qwen3-8b", *WHERE), 0),
        (("estimate", "qwen3-8b", *WHERE, "--json"), 0),
        (("recommend", *WHERE, "--csv"), 0),
        (("recommend", *WHERE, "--json", "--min-tps", "100000"), 3),
        (("estimate", "qwen3-8b", *WHERE, "--min-tps", "100000"), 3),
    ],
)
def test_output_that_nobody_reads_is_no_failure_and_no_verdict_is_lost(args, code):
    done = unread(*args)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("advisor:")]) == (1 if code else 0)


@pytest.mark.skipif(os.name != "posix", reason="descriptors are closed by a shell here")
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_command_started_without_streams_does_its_work(tmp_path, closed):
    saved = tmp_path / "estimate.json"
    line = f'exec "$0" -m advisor estimate qwen3-8b --hardware "rtx 4090" -o "$1" {closed}'
    done = subprocess.run(["sh", "-c", line, sys.executable, str(saved)], timeout=120, check=False)
    assert done.returncode == 0
    assert json.loads(saved.read_text("utf-8"))["kind"] == "estimate"


@pytest.mark.skipif(os.name != "posix", reason="descriptors are closed by a shell here")
def test_no_stdin_to_read_a_document_from_is_one_line():
    line = 'exec "$0" -m advisor report - -o - <&-'
    done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("advisor: stdin: not valid JSON")


def test_a_connection_that_breaks_is_not_taken_for_a_reader_who_left():
    with pytest.raises(OSError, match="a connection was closed"), _streams.told_apart_from_failures():
        raise BrokenPipeError(32, "Broken pipe")
