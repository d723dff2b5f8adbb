"""Files that are none: a named pipe, a folder or a device is one clear line, never a wait."""

import os
import threading
from pathlib import Path

import pytest
from command_line import answer

from catalog.files import open_file

READERS = (
    ("report", "{}", "-o", "out.md"),
    ("recommend", "--profile", "{}"),
    ("regress", "{}", "{}"),
    ("history", "--import", "{}"),
    ("history", "--add", "{}"),
    ("accuracy", "--published", "{}"),
    ("accuracy", "--local", "--shapes", "{}"),
    ("bench", "--suite", "{}", "-o", "run.json"),
    ("validate", "--from", "{}", "--top", "1"),
    ("export", "{}", "--for", "ollama"),
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str]:
        code, _, error = answer(capsys, *args)
        return code, error

    return call


def test_no_name_is_no_file(run):
    for words in (("recommend", "--profile", ""), ("report", "", "-o", "x.md"), ("accuracy", "--published", "")):
        assert run(*words) == (1, "advisor: : cannot be read (no file is named); give a file, or - for stdin\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("words", READERS, ids=lambda words: " ".join(words[:2]))
def test_a_named_pipe_is_not_waited_for(run, tmp_path, words):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    assert run(*(word.format(pipe) for word in words)) == (
        1,
        f"advisor: {pipe}: cannot be read (a named pipe, not a file); give a file, or - for stdin\n",
    )


@pytest.mark.parametrize("words", READERS, ids=lambda words: " ".join(words[:2]))
def test_a_folder_is_no_document(run, tmp_path, words):
    folder = tmp_path / "folder.json"
    folder.mkdir()
    code, err = run(*(word.format(folder) for word in words))
    assert (code, err.count("\n")) == (1, 1)
    assert "a folder, not a file" in err


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_device_is_not_read_forever(run):
    code, err = run("report", "/dev/zero", "-o", "out.md")
    assert (code, err.count("\n")) == (1, 1)
    assert "a device, not a file" in err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("command", ["estimate", "validate"])
def test_a_pipe_is_no_model_file(run, tmp_path, command):
    os.mkfifo(tmp_path / "pipe.gguf")
    code, err = run(command, "pipe.gguf")
    assert (code, err) == (1, "advisor: pipe.gguf: file: a named pipe, not a file; check the path\n")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no descriptors by name here")
def test_a_pipe_that_the_shell_opened_is_read():
    read_end, write_end = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(write_end, b"text"), os.close(write_end)))
    writer.start()
    try:
        with open_file(f"/dev/fd/{read_end}") as file:
            assert file.read() == b"text"
    finally:
        writer.join()
        os.close(read_end)
