"""``advisor doctor``: reasons with commands, and an exit code that says whether all is well."""

import json

import pytest
from command_line import advisor

from advisor import codec
from probes import doctor
from probes.types import Check, Device, Diagnosis, EngineReport, Host, Level


def diagnosis(*checks: Check) -> Diagnosis:
    return Diagnosis(
        created_at="2026-01-01T00:00:00Z",
        tool_version="1",
        host=Host(os="Linux", cpu_name="EPYC", cores_count=2),
        devices=(Device(device_id="cpu", kind="cpu"),),
        engines=(EngineReport(engine_id="llama.cpp", version="0.3.36"),),
        checks=checks,
    )


WORKS = Check(subject="cpu.matmul fp32", level=Level.OK, says="can run on cpu")
ABSENT = Check(subject="gpu.devices", level=Level.ABSENT, says="no GPU in this machine")
MENDABLE = Check(subject="PyTorch", level=Level.MENDABLE, says="not installed", fix="pip install 'x[torch]'")
PROBLEM = Check(
    subject="engine.devices",
    level=Level.PROBLEM,
    says="you have RTX, llama.cpp was built without CUDA",
    fix="CMAKE_ARGS=…",
)


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch):
    def returns(found: Diagnosis) -> None:
        def examine(machine, *, created_at, tool_version, on_step):
            on_step("engines")
            return found

        monkeypatch.setattr(doctor, "examine", examine)

    return returns


def test_all_well_is_0_and_nothing_is_said_to_be_broken(visit, capsys) -> None:
    visit(diagnosis(WORKS, ABSENT))
    assert advisor("doctor") == 0
    printed = capsys.readouterr().out
    assert "cpu.matmul fp32: can run on cpu" in printed
    assert "Not in this machine" in printed
    assert "Does not work" not in printed


def test_a_problem_is_3_and_comes_first_with_its_command(visit, capsys) -> None:
    visit(diagnosis(WORKS, MENDABLE, PROBLEM))
    assert advisor("doctor") == 3
    printed = capsys.readouterr().out
    assert printed.index("Does not work") < printed.index("Would work after a command") < printed.index("Works")
    assert "CMAKE_ARGS=…" in printed
    assert "pip install 'x[torch]'" in printed
    assert "\x1b" not in printed


def test_a_command_is_printed_once_for_all_it_mends(visit, capsys) -> None:
    visit(diagnosis(MENDABLE, Check(subject="GPU", level=Level.MENDABLE, says="needs PyTorch", fix=MENDABLE.fix)))
    assert advisor("doctor") == 0
    assert capsys.readouterr().out.count("pip install 'x[torch]'") == 1


def test_json_is_one_document(visit, capsys) -> None:
    visit(diagnosis(WORKS, PROBLEM))
    assert advisor("doctor", "--json") == 3
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["kind"] == "doctor"
    assert document["schema_version"] == 1
    assert [check["level"] for check in document["checks"]] == ["ok", "problem"]
    assert printed.err == ""


def test_a_saved_visit_can_be_reported(visit, capsys, tmp_path) -> None:
    visit(diagnosis(WORKS, ABSENT, PROBLEM, Check(subject="<blink>", level=Level.PROBLEM, says="\x1b[31m", fix="a|b")))
    saved, page, text = tmp_path / "doctor.json", tmp_path / "doctor.html", tmp_path / "doctor.md"
    assert advisor("doctor", "-o", str(saved)) == 3
    assert codec.load(saved).checks[0] == WORKS
    assert advisor("report", str(saved), "-o", str(page), "-o", str(text)) == 0
    assert "2 problems" in text.read_text()
    assert text.read_text().index("built without CUDA") < text.read_text().index("can run on cpu")
    assert "CMAKE_ARGS=…" in page.read_text()
    assert "<blink>" not in page.read_text()
    assert "\x1b" not in page.read_text() + text.read_text()


def test_a_damaged_visit_is_one_line(capsys, tmp_path) -> None:
    saved = tmp_path / "doctor.json"
    saved.write_text('{"kind": "doctor", "schema_version": 1, "checks": 3}')
    assert advisor("report", str(saved), "-o", str(tmp_path / "x.html")) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_long_command_is_never_wrapped(visit, capsys) -> None:
    command = "pip install " + "very-long-name " * 20
    visit(diagnosis(Check(subject="x", level=Level.MENDABLE, says="y", fix=command.strip())))
    assert advisor("doctor") == 0
    assert command.strip() in capsys.readouterr().out


def test_a_real_visit_ends_well_or_with_3(capsys) -> None:
    assert advisor("doctor", "--json") in (0, 3)
    document = json.loads(capsys.readouterr().out)
    subjects = {check["probe_id"] for check in document["checks"]}
    assert {"cpu.read_bandwidth", "cpu.matmul", "disk.read", "energy.cpu", "engine.devices"} <= subjects
    assert all(check["says"] for check in document["checks"])
    assert all(check["fix"] for check in document["checks"] if check["level"] == "mendable")
