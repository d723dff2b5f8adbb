"""``advisor regress``: exit codes, outputs that other programs read, and one clear line for bad input."""

import dataclasses
import json
import math
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import report_examples
from command_line import advisor

from advisor import codec, history
from advisor.types import (
    EngineBuild,
    MetricSeries,
    Run,
    RunCase,
    RunEnvironment,
    ValidationStatus,
)

ENVIRONMENT = RunEnvironment(
    machine_id="m", hardware="box", os="linux", kernel="6.1", engine=EngineBuild(id="llama.cpp", version="b1")
)


def make_run(seed: int, speed: float = 100.0, subject: str = "tiny", day: int = 1, **fields: object) -> Run:
    source = random.Random(seed)
    values = tuple(speed * math.exp(source.gauss(0, 0.01)) for _ in range(10))
    series = MetricSeries(metric="decode_tokens_per_s", values=values, rounds=tuple(range(10)))
    known = {"environment": ENVIRONMENT, "suite_id": "s1", **fields}
    return Run(
        suite_name="smoke",
        cases=(RunCase(subject=subject, status=ValidationStatus.OK, series=(series,)),),
        created_at=f"2026-01-{day:02d}T00:00:00Z",
        tool_version="0",
        rounds_count=10,
        **known,  # type: ignore[arg-type]
    )


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def save(name: str, run: Run) -> str:
    codec.save(run, name)
    return name


def test_equal_runs_pass_and_a_slower_one_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    base = save("base.json", make_run(1))
    assert advisor("regress", base, save("same.json", make_run(2))) == 0
    assert "no regression in smoke" in capsys.readouterr().out
    assert advisor("regress", base, save("slow.json", make_run(3, speed=85.0))) == 3
    assert "worse" in capsys.readouterr().out


def test_json_is_one_document_with_the_contracts_keys(capsys: pytest.CaptureFixture[str]) -> None:
    base, slow = save("base.json", make_run(1)), save("slow.json", make_run(3, speed=85.0))
    assert advisor("regress", base, slow, "--json", "--annotations") == 3
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["kind"] == "regression"
    (finding,) = document["findings"]
    keys = {"metric", "subject", "baseline", "current", "change_frac", "interval_frac", "significant", "verdict"}
    assert keys <= finding.keys()
    assert finding["interval_frac"]["low"] < finding["change_frac"] < finding["interval_frac"]["high"]
    assert "::error title=tiny" in printed.err


def test_every_output_is_written_and_inert_to_hostile_names(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "<script>alert(1)</script> | **x** @team \x1b[31m ::error::boo %0A"
    base = save("base.json", make_run(1, subject=hostile))
    slow = save("slow.json", make_run(3, speed=85.0, subject=hostile))
    outputs = ("--junit", "o/j.xml", "--markdown", "o/c.md", "--badge", "o/b.svg", "-o", "o/r.json")
    assert advisor("regress", base, slow, *outputs, "--annotations") == 3
    printed = capsys.readouterr().out
    assert "\x1b[31m" not in printed
    (suite,) = ET.parse("o/j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", "1", "0")
    assert suite.find("testcase/failure") is not None
    comment = Path("o/c.md").read_text(encoding="utf-8")
    assert "<script>" not in comment
    assert "@team" not in comment
    assert comment.startswith("### ❌")
    badge = ET.parse("o/b.svg").getroot()
    assert badge.findtext("{http://www.w3.org/2000/svg}title") == "model speed: 1 worse"
    assert codec.load("o/r.json", kind="regression").regressed
    annotations = [line for line in printed.splitlines() if line.startswith("::")]
    assert len(annotations) == 2
    assert "::error::boo" not in annotations[0].split("::", 2)[1]


def test_a_broken_case_is_a_junit_failure() -> None:
    base = save("base.json", make_run(1))
    broken = RunCase(subject="tiny", status=ValidationStatus.FAILED, reason="out of memory")
    new = save("new.json", dataclasses.replace(make_run(2), cases=(broken,)))
    assert advisor("regress", base, new, "--junit", "j.xml") == 3
    failure = ET.parse("j.xml").getroot().find("testsuite/testcase/failure")
    assert failure is not None
    assert "out of memory" in (failure.text or "")


def _damage(name: str, change: dict[str, object]) -> str:
    mapping = codec.to_mapping(make_run(1))
    mapping.update(change)
    Path(name).write_text(json.dumps(mapping), encoding="utf-8")
    return name


def test_bad_input_is_one_line_that_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    base = save("base.json", make_run(1))
    whole = Path(base).read_text(encoding="utf-8")
    Path("cut.json").write_text(whole[: len(whole) // 2], encoding="utf-8")
    Path("empty.json").write_text("", encoding="utf-8")
    odd_case = codec.to_mapping(make_run(1))["cases"]
    odd_case[0]["series"][0]["rounds"] = [1]
    other_machine = dataclasses.replace(ENVIRONMENT, machine_id="x", hardware="laptop")
    other_engine = dataclasses.replace(ENVIRONMENT, engine=EngineBuild(id="vllm"))
    cases = [
        (("none.json", base), 1, "record one with: advisor bench"),
        ((base, "cut.json"), 1, "may be truncated"),
        ((base, "empty.json"), 1, "may be truncated"),
        ((base, _damage("newer.json", {"schema_version": 99})), 1, "upgrade"),
        ((base, _damage("odd.json", {"cases": odd_case})), 2, "differ in length"),
        ((base, _damage("kind.json", {"kind": "weather"})), 1, "field kind"),
        ((base, save("machine.json", make_run(2, environment=other_machine))), 1, "box against laptop"),
        ((base, save("suite.json", make_run(2, suite_id="s2"))), 1, "--allow suite"),
        ((base, save("engine.json", make_run(2, environment=other_engine))), 1, "--allow engine"),
        ((base, save("other.json", make_run(2, subject="other"))), 1, "nothing could be compared"),
        ((base,), 2, "give two documents"),
        (("last", base), 1, "no earlier run of suite"),
        (("history:abc", base), 1, "no document"),
        ((base, base, "--thresholds", "none.toml"), 1, "cannot be read"),
        ((base, base, "--thresholds", base), 2, "unknown key"),
        ((base, base, "--allow", "weather"), 2, "weather"),
        ((base, base, "--junit", "base.json/j.xml"), 1, "cannot be written"),
    ]
    for args, code, words in cases:
        assert advisor("regress", *args) == code, args
        error = capsys.readouterr().err.strip()
        assert words in error, (args, error)
        assert "Traceback" not in error


def test_unlike_runs_are_compared_when_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    base, other = save("base.json", make_run(1)), save("suite.json", make_run(2, suite_id="s2"))
    assert advisor("regress", base, other, "--allow", "suite") == 0
    assert "compared although the suite differs" in capsys.readouterr().out


def test_the_last_like_run_of_the_history_is_a_baseline() -> None:
    with history.open_history() as past:
        past.record(make_run(1, day=1))
        past.record(make_run(2, day=2, suite_id="s2"))
    assert advisor("regress", "last", save("slow.json", make_run(3, speed=80.0, day=5))) == 3


def test_thresholds_of_the_team_decide() -> None:
    base, slow = save("base.json", make_run(1)), save("slow.json", make_run(3, speed=85.0))
    Path("lax.toml").write_text("[metric.decode_tokens_per_s]\nthreshold = 0.5\n", encoding="utf-8")
    assert advisor("regress", base, slow, "--thresholds", "lax.toml") == 0


def test_a_machine_is_tested_against_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert advisor("regress", "--aa") == 1
    assert "no run yet" in capsys.readouterr().err
    with history.open_history() as past:
        for day in range(1, 5):
            past.record(make_run(day, day=day))
    assert advisor("regress", "--aa", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["comparisons_count"], document["false_alarms_count"]) == ("selftest", 10, 0)
    assert advisor("regress", "--aa", save("one.json", make_run(1))) == 0
    assert "caught 90" in capsys.readouterr().out


def test_a_single_value_cannot_be_compared_and_the_output_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    one = report_examples.validation()
    codec.save(one, "one.json")
    codec.save(dataclasses.replace(one, created_at="2026-12-01T00:00:00Z"), "two.json")
    assert advisor("regress", "one.json", "two.json") == 1  # nothing could be compared, and that is no pass
    captured = capsys.readouterr()
    said = " ".join(captured.out.split())
    assert "the baseline has 1 round, 5 are needed: record more with advisor bench --suite FILE --rounds 10" in said
    assert said.count("5 are needed") == sum(record.status is ValidationStatus.OK for record in one.records)
    assert "nothing could be compared" in captured.err
