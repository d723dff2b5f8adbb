"""``advisor scan``: documents, exit codes, what is kept and what a wrong request costs."""

import json
from pathlib import Path

import pytest
from command_line import advisor

from advisor import codec, store
from advisor.cli import scan as cli
from probes.types import Conditions, Device, HardwareProfile, Host, Measurement, ProbeOutcome, ProbeStatus, ScanWarning

CPU = Device(device_id="cpu", kind="cpu", name="EPYC")
HOST = Host(os="Linux", cpu_name="EPYC", cores_count=2, memory_total_bytes=24 << 30, memory_available_bytes=20 << 30)


def outcome(probe_id: str, value: float, dtype: str | None = None, **fields: object) -> ProbeOutcome:
    measured = Measurement(
        quantity=probe_id.rpartition(".")[2],
        unit="flop_per_s" if dtype else "bytes_per_s",
        value=value,
        median_value=value * 0.9,
        dtype=dtype,
        elapsed_s=(0.01, 0.011),
        conditions=Conditions(),
        **fields,
    )
    return ProbeOutcome(
        probe_id=probe_id, device_id="cpu", status=ProbeStatus.OK, measurement=measured, dtype=dtype, elapsed_s=0.5
    )


def profile(*outcomes: ProbeOutcome, conditions: Conditions | None = None) -> HardwareProfile:
    return HardwareProfile(
        profile_id="abc",
        created_at="2026-01-01T00:00:00Z",
        tool_version="1",
        host=HOST,
        devices=(CPU,),
        outcomes=outcomes,
        conditions=conditions or Conditions(),
    )


WHOLE = profile(
    outcome("cpu.read_bandwidth", 50e9),
    outcome("cpu.matmul", 200e9, "fp32"),
    ProbeOutcome(
        probe_id="energy.cpu", device_id="cpu", status=ProbeStatus.WAIVED, reason="no counter", fix="sudo chmod"
    ),
)


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stands in for measuring: hands out a profile and records what was asked for."""
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    asked = []
    answers = [WHOLE]

    def scan(**request: object) -> HardwareProfile:
        asked.append(request)
        request["on_progress"]("cpu.read_bandwidth", 0, 2)
        if isinstance(answers[-1], BaseException):
            raise answers[-1]
        return answers[-1]

    monkeypatch.setattr("probes.scan.scan", scan)
    scan.asked, scan.answers = asked, answers
    return scan


def test_json_is_the_document_and_nothing_else(scans, capsys) -> None:
    assert advisor("scan", "--json") == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["kind"] == "profile"
    assert document["schema_version"] == 1
    assert [item["probe_id"] for item in document["outcomes"]] == ["cpu.read_bandwidth", "cpu.matmul", "energy.cpu"]
    assert document["outcomes"][2]["status"] == "waived"
    assert printed.err == ""
    assert codec.loads(printed.out, kind="profile") == WHOLE


def test_the_summary_shows_figures_and_reasons(scans, capsys) -> None:
    assert advisor("scan") == 0
    printed = capsys.readouterr()
    assert "50 GB/s" in printed.out
    assert "0.20 TFLOP/s" in printed.out
    assert "no counter" in printed.out
    assert "sudo chmod" in printed.out
    assert max(map(len, printed.out.splitlines())) <= 100
    assert "\x1b" not in printed.out + printed.err


def test_a_polluted_scan_says_so(scans, capsys) -> None:
    scans.answers.append(
        profile(
            outcome("cpu.read_bandwidth", 30e9, warnings=(ScanWarning.CONTENDED,)),
            conditions=Conditions(other_busy_cores_frac=0.9, polluted=True, causes=(ScanWarning.CONTENDED,)),
        )
    )
    assert advisor("scan") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "other programs used 0.9" in printed
    assert "lower bound" in printed


def test_the_newest_profile_is_kept_and_can_be_saved_elsewhere(scans, tmp_path: Path, capsys) -> None:
    assert advisor("scan", "-o", str(tmp_path / "mine.json")) == 0
    assert store.load_profile() == WHOLE
    assert codec.load(tmp_path / "mine.json", kind="profile") == WHOLE
    assert "wrote" in capsys.readouterr().err


@pytest.fixture
def no_home(scans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that nothing can be written to, whoever runs this."""
    taken = tmp_path / "taken"
    taken.write_text("a file")
    monkeypatch.setenv("ADVISOR_HOME", str(taken))
    return taken


def test_a_scan_that_cannot_be_kept_is_shown_all_the_same(no_home, capsys) -> None:
    assert advisor("scan", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["profile_id"] == "abc"
    (line,) = printed.err.splitlines()
    assert line.startswith(f"advisor: the profile is not kept: {no_home}")
    assert line.endswith("set ADVISOR_HOME to a folder of yours")


def test_a_machine_that_cannot_be_remembered_is_measured_once_and_answered_for(scans, no_home, capsys) -> None:
    from advisor.cli._machine import this_profile

    assert advisor("recommend", "--task", "chat", "--top", "1", "--no-calibrate", "--json") in (0, 3)
    this_profile(quiet=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["kind"] == "recommendation"
    assert len(scans.asked) == 1
    assert printed.err.count("is not kept") == 2  # the profile, the recommendation


def test_a_dash_writes_to_stdout(scans, capsys) -> None:
    assert advisor("scan", "-o", "-") == 0
    assert json.loads(capsys.readouterr().out)["profile_id"] == "abc"


def test_options_reach_the_scan(scans) -> None:
    assert (
        advisor("scan", "--quick", "--only", "cpu.matmul", "--only", "disk", "--budget", "1m", "--wait-quiet", "5") == 0
    )
    request = scans.asked[0]
    assert request["quick"] is True
    assert request["only"] == ("cpu.matmul", "disk")
    assert request["budget_s"] == 60.0
    assert request["wait_quiet_s"] == 5.0


def test_a_partial_scan_leaves_the_rest_of_the_kept_profile(scans) -> None:
    assert advisor("scan") == 0
    scans.answers.append(profile(outcome("cpu.read_bandwidth", 60e9)))
    assert advisor("scan", "--only", "cpu.read_bandwidth") == 0
    kept = store.load_profile()
    assert kept is not None
    assert kept.measured("cpu.read_bandwidth").value == 60e9
    assert kept.measured("cpu.matmul").value == 200e9


def test_a_damaged_kept_profile_does_not_stop_a_partial_scan(scans) -> None:
    store.profile_path().parent.mkdir(parents=True)
    store.profile_path().write_text("{", encoding="utf-8")
    assert advisor("scan", "--only", "cpu") == 0
    assert store.load_profile() == WHOLE


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--only", "cpu.matmull"), 2, "cpu.matmul"),
        (("--only", "\x1b[2Jx"), 2, "no probe"),
        (("--budget", "soon"), 2, "2m"),
        (("--budget", "-3"), 2, ""),
        (("--wait-quiet", "0"), 2, "above zero"),
        (("-o", "."), 1, "directory"),
        (("--nonsense",), 2, "nonsense"),
    ],
)
def test_a_wrong_request_is_one_line_before_anything_is_measured(scans, capsys, args, code: int, said: str) -> None:
    assert advisor("scan", *args) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert said in printed.err
    assert "\x1b" not in printed.err
    assert scans.asked == []


def test_ctrl_c_keeps_the_previous_profile(scans, capsys) -> None:
    assert advisor("scan") == 0
    scans.answers.append(KeyboardInterrupt())
    assert advisor("scan") == 130
    assert store.load_profile() == WHOLE


def test_a_place_that_cannot_be_written_is_one_line(scans, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert advisor("scan", "-o", str(tmp_path / "file" / "profile.json")) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_real_scan_of_one_probe(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    assert advisor("scan", "--only", "cpu.read_bandwidth", "--budget", "2s", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    (found,) = document["outcomes"]
    assert found["status"] == "ok"
    assert found["measurement"]["value"] > 0
    assert found["measurement"]["elapsed_s"]
    assert document["conditions"]
    assert store.load_profile() is not None


def test_the_command_is_what_the_table_names() -> None:
    assert cli.command.name == "scan"
