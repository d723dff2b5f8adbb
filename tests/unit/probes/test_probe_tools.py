"""Vendor tools that are missing, hang, fail, flood or lie: one error with a reason each."""

import os
import sys
import time
from pathlib import Path

import pytest

from probes.errors import StuckError
from probes.tools import ToolError, ToolMissingError, run_tool, within

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in tools are shell scripts")


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a script called ``vendor-smi`` first on the path."""

    def install(body: str, mode: int = 0o755) -> None:
        script = tmp_path / "vendor-smi"
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(mode)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return install


def test_output_comes_back_as_text(tool) -> None:
    tool('printf "%s %s" "$1" "$LC_ALL"')
    assert run_tool(["vendor-smi", "héllo"]) == "héllo C"


def test_a_missing_tool_names_the_fix() -> None:
    with pytest.raises(ToolMissingError, match="no-such-tool is not installed") as caught:
        run_tool(["no-such-tool"], fix="sudo apt install it")
    assert caught.value.fix == "sudo apt install it"


def test_a_hanging_tool_is_killed_with_its_children(tool, tmp_path: Path) -> None:
    witness = tmp_path / "child"
    tool(f"(sleep 30; touch {witness}) & echo $! > {tmp_path}/pid; sleep 30")
    start_s = time.monotonic()
    with pytest.raises(ToolError, match=r"did not answer within 0\.5 s"):
        run_tool(["vendor-smi"], limit_s=0.5)
    assert time.monotonic() - start_s < 5
    child = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not _runs(child):
            return
        time.sleep(0.05)
    pytest.fail("the tool's child was left running")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def test_a_failing_tool_says_what_it_said(tool) -> None:
    tool('echo "Failed to initialize NVML: Driver/library version mismatch" >&2; exit 18')
    with pytest.raises(ToolError, match="failed with code 18: Failed to initialize NVML"):
        run_tool(["vendor-smi"])


def test_of_a_python_program_that_broke_off_the_error_is_said(tool) -> None:
    trace = (
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in <module>',
        "OSError: libcudart.so.12: not found",
    )
    tool("\n".join(f"echo '{line}' >&2" for line in trace) + "\nexit 1")
    with pytest.raises(ToolError, match=r"^vendor-smi failed with code 1: OSError: libcudart.so.12: not found$"):
        run_tool(["vendor-smi"])


def test_a_flood_of_output_is_bounded(tool) -> None:
    tool("head -c 9000000 /dev/zero")
    with pytest.raises(ToolError, match="more than 4 MiB"):
        run_tool(["vendor-smi"])


def test_garbage_bytes_become_text(tool) -> None:
    tool(r"printf '\377\376ok'")
    assert run_tool(["vendor-smi"]).endswith("ok")


def test_a_tool_without_permission_to_run_is_not_installed(tool) -> None:
    tool("echo no", mode=0o644)
    with pytest.raises(ToolError):
        run_tool(["vendor-smi"])


def test_a_tool_killed_by_a_signal_reports_it() -> None:
    with pytest.raises(ToolError, match="code -11"):
        run_tool([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"])


def test_a_driver_call_that_returns_or_raises_is_passed_on() -> None:
    assert within(5.0, lambda: 7, "it") == 7
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 / 0, "it")


def test_a_driver_call_that_never_returns_is_abandoned() -> None:
    start_s = time.monotonic()
    with pytest.raises(StuckError, match=r"the library did not answer within 0\.2 s"):
        within(0.2, lambda: time.sleep(3), "the library")
    assert time.monotonic() - start_s < 2
