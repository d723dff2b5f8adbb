"""Commands run for the assistant: one document or one line, stopped in time."""

import os
import signal
import sys
import time

import pytest

pytest.importorskip("mcp")

import anyio

from advisor.assistant import answers, commands
from advisor.assistant.commands import arguments, run_command
from advisor.errors import AdvisorError


def run(*args, limit_s=60.0, beat=None):
    async def go():
        return await run_command(args, time_limit_s=limit_s, beat=beat)

    return anyio.run(go)


def test_a_command_answers_with_its_document(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    args = arguments("estimate", ["qwen3-8b:Q4_K_M"], {"hardware": "rtx 4090", "context": " "})
    outcome = run(*args)
    assert outcome.document["model_id"] == "Qwen/Qwen3-8B"
    assert answers.estimate(outcome.document)["fits"] is True


def test_a_commands_error_is_its_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    outcome = run(*arguments("estimate", ["no-such-model"], {"hardware": "rtx 4090"}))
    assert outcome.document is None
    assert "not in the catalog" in outcome.message
    assert "\n" not in outcome.message


def child(monkeypatch, tmp_path, code):
    """Stand in for the program that is run."""
    script = tmp_path / "child.py"
    script.write_text(code)
    real = commands.anyio.open_process

    async def open_process(_command, **options):
        return await real([sys.executable, str(script)], **options)

    monkeypatch.setattr(commands.anyio, "open_process", open_process)


WAITS = """
import os, pathlib, time
try:
    pathlib.Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path(__file__).with_suffix(".stopped").write_text("cleanly")
"""


def test_a_command_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    child(monkeypatch, tmp_path, WAITS)
    with pytest.raises(AdvisorError, match="took longer"):
        run("validate", limit_s=1.5)
    assert_gone(tmp_path)


@pytest.fixture(params=[signal.SIG_IGN, signal.default_int_handler], ids=["started to ignore", "heeding"])
def interrupts(request):
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_cancelled_call_ends_its_command(tmp_path, monkeypatch, interrupts):
    commands.heed_interrupts()
    child(monkeypatch, tmp_path, WAITS)

    async def go():
        async with anyio.create_task_group() as group:

            async def work():
                await run_command(["validate"], time_limit_s=60.0)

            group.start_soon(work)
            while not (tmp_path / "child.pid").exists():
                await anyio.sleep(0.05)
            await anyio.sleep(0.2)
            group.cancel_scope.cancel()

    anyio.run(go)
    assert_gone(tmp_path)
    assert (tmp_path / "child.stopped").read_text() == "cleanly"


def assert_gone(tmp_path):
    pid = int((tmp_path / "child.pid").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the command still runs")


@pytest.mark.parametrize(
    ("code", "said"),
    [("print('not json')", "no document"), ("import sys; print('x' * 10, file=sys.stderr); sys.exit(1)", "xxxxxxxxxx")],
)
def test_output_that_is_no_document(tmp_path, monkeypatch, code, said):
    child(monkeypatch, tmp_path, code)
    try:
        message = run("estimate").message
    except AdvisorError as error:
        message = str(error)
    assert said in message
