"""What the documents name is there: files, links, programs, commands and their options."""

import re
import shlex
from pathlib import Path

import click
import pytest

from advisor.cli.main import COMMANDS
from advisor.cli.main import advisor as program

ROOT = Path(__file__).parents[2]
DOCUMENTED = ("advisor", "benchmarks", "catalog", "probes", "reports")
FOLDERS = (
    *DOCUMENTED,
    "ci",
    "tools",
    ".github",
    "tests/support",
    "tests/unit",
    "tests/contract",
    "tests/cli",
    "tests/property",
)
DOCS = sorted([*ROOT.glob("*.md"), *(path for name in DOCUMENTED for path in (ROOT / name).rglob("*.md"))])
FILES = {path.relative_to(ROOT).as_posix() for name in FOLDERS for path in (ROOT / name).rglob("*.*")}
NAMES = {name.rpartition("/")[2] for name in FILES} | {path.name for path in ROOT.glob("*")}
IDS = [path.relative_to(ROOT).as_posix() for path in DOCS]


def prose(path):
    """The text without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path):
    titles = re.findall(r"^#+\s+(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCS, ids=IDS)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCS, ids=IDS)
def test_files_that_are_named_exist(path):
    for name in re.findall(r"`([\w./-]+\.(?:py|csv|js|toml|sh|yml|xz|gz))`", prose(path)):
        assert Path(name).name in NAMES, name
        assert "/" not in name or any(file.endswith(name) for file in FILES), name


@pytest.mark.parametrize("path", DOCS, ids=IDS)
def test_folders_that_are_named_exist(path):
    for name in re.findall(r"`([\w./-]*\w)/`", prose(path)):
        assert (ROOT / name).is_dir() or any(f"/{name}/" in f"/{file}" for file in FILES), name


@pytest.mark.parametrize("path", DOCS, ids=IDS)
def test_programs_that_are_named_exist(path):
    text = path.read_text(encoding="utf-8")
    for script in re.findall(r"python (benchmarks/\w+\.py|tools/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    for module in re.findall(r"python -m ((?:advisor|catalog|probes|reports)[\w.]*)", text):
        stem = ROOT / module.replace(".", "/")
        assert stem.with_suffix(".py").is_file() or (stem / "__main__.py").is_file(), module
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^\$ |`)make ([\w-]+)", text, re.MULTILINE)) <= targets


def commands(path):
    """Every ``advisor ...`` of a document, in words."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    shown = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    shown += re.findall(r"`(advisor [^`\n]*)`", text)
    for line in shown:
        for part in re.split(r"&&|[|](?= )|>", line):
            if part.strip().startswith("advisor "):
                yield shlex.split(part.replace("…", " ").replace("...", " "), comments=True)[1:]


def options_of(command):
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("path", DOCS, ids=IDS)
def test_commands_and_their_options_exist(path):
    for words in commands(path):
        given = [word.partition("=")[0] for word in words if word.startswith("--")]
        if not words or words[0].startswith("-"):
            assert set(given) <= options_of(program) | {"--version"}, words
            continue
        for name in words[0].split("|"):
            assert name in COMMANDS, words
            command = program.get_command(click.Context(program), name)
            known = options_of(command)
            if isinstance(command, click.Group):
                for inner in words[1].split("|") if len(words) > 1 and not words[1].startswith("-") else []:
                    assert inner in command.commands, words
                    known |= options_of(command.commands[inner])
            for option in given:
                assert set(option.split("|")) <= known or set(option.split("/")) <= known, (words, option)
