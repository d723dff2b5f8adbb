"""The CI recipes run: the script's exit codes and files, the suites and thresholds it names, the workflow's syntax."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from advisor.regression.run_environment import parse_microcode
from advisor.regression.suite import parse_suite
from advisor.regression.thresholds import parse_gate

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="a bash script")

_STUB = """#!/usr/bin/env bash
# stands in for the advisor: writes the file after -o, and exits as CODE says when it compares
command=$1
[[ $command == regress && $CODE == 2 ]] && exit 2
while [[ $# -gt 0 ]]; do [[ $1 == -o ]] && echo '{}' > "$2"; [[ $1 == --markdown ]] && echo hi > "$2"; shift; done
[[ $command == regress ]] && exit "${CODE:-0}"
exit 0
"""


def _run(folder: Path, code: int, *command: str) -> subprocess.CompletedProcess[str]:
    command = command or ("ci/regress.sh", "suite.toml", "baseline/run.json", "out", "thresholds.toml")
    stub = folder / "advisor-stub"
    stub.write_text(_STUB)
    stub.chmod(0o755)
    return subprocess.run(
        [str(ROOT / command[0]), *command[1:]],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "ADVISOR": str(stub), "CODE": str(code)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@posix
def test_the_first_run_becomes_the_baseline_and_later_ones_are_held_against_it(tmp_path: Path) -> None:
    first = _run(tmp_path, code=3)
    assert first.returncode == 0
    assert "no baseline yet" in first.stderr
    assert (tmp_path / "baseline/run.json").exists()
    assert not (tmp_path / "out/regression.json").exists()
    for code in (0, 3, 1):
        assert _run(tmp_path, code).returncode == code
    assert (tmp_path / "out/regression.json").exists()
    assert (tmp_path / "out/report.html").exists()


@posix
@pytest.mark.parametrize(
    ("code", "passes"),
    [(0, True), (3, True), (1, False), (2, False)],
    ids=["no change", "a regression is noise here", "failed", "nothing was written"],
)
def test_the_smoke_run_forgives_noise_and_nothing_else(tmp_path: Path, code: int, passes: bool) -> None:
    found = _run(tmp_path, code, "ci/smoke.sh", "out")
    assert (found.returncode == 0) is passes, found.stderr
    assert ("this machine's noise" in found.stderr) is (code == 3)
    again = _run(tmp_path, code, "ci/smoke.sh", "out")  # what an earlier run left does not count
    assert again.stderr == found.stderr


@pytest.mark.parametrize("name", ["suite.toml", "smoke.toml"])
def test_the_suites_can_be_read(name: str) -> None:
    assert parse_suite(tomllib.loads((ROOT / "ci" / name).read_text(encoding="utf-8"))).cases


def test_the_thresholds_can_be_read() -> None:
    gate = parse_gate(tomllib.loads((ROOT / "ci/thresholds.toml").read_text(encoding="utf-8")))
    assert gate.threshold("machine", "read_bytes_per_s").change_frac == 0.30
    assert gate.threshold("tiny", "decode_prediction_error").limit_frac == 0.50


def _actionlint(*files: str) -> subprocess.CompletedProcess[str]:
    """Run it from the folder of this Python, which need not be on the path, or from the path."""
    beside = Path(sys.executable).with_name("actionlint")
    program = str(beside) if beside.exists() else shutil.which("actionlint")
    if program is None:
        pytest.skip("actionlint is not installed")
    return subprocess.run([program, *files], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_workflows_pass_actionlint() -> None:
    workflows = sorted(str(path) for path in (ROOT / ".github/workflows").glob("*.yml"))
    assert workflows
    found = _actionlint(*workflows)
    assert found.returncode == 0, found.stdout


def test_actionlint_would_find_a_mistake(tmp_path: Path) -> None:
    text = (ROOT / ".github/workflows/regress.yml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("runs-on: [self-hosted, reference]", "runs-on: [self-hosted, nowhere]"))
    assert _actionlint(str(wrong)).returncode == 1


def test_the_microcode_is_read_from_recorded_text() -> None:
    assert parse_microcode("processor\t: 0\nmicrocode\t: 0xb404035\nflags : fpu\n") == "0xb404035"
    assert parse_microcode("processor : 0\n") is None
