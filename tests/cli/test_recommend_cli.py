"""``advisor recommend`` and ``estimate``: what may be asked beside a ranking, and what is refused."""

import csv
import io
import json

import pytest

from advisor.cli.main import main

HARDWARE = ("--hardware", "rtx 4090")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(args))
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return call


def test_why_is_a_key_of_the_document(run):
    code, out, err = run("recommend", *HARDWARE, "--task", "chat", "--why", "llama-3.3-70b-instruct", "--json")
    why = json.loads(out)["why"]
    assert (code, err) == (0, "")
    assert why["model_id"] == "meta-llama/Llama-3.3-70B-Instruct"
    assert why["lost_on"]
    assert why["changes"]


def test_why_is_worded_for_people(run):
    code, out, _ = run("recommend", *HARDWARE, "--task", "chat", "--why", "qwen3.6-27b", "--top", "2")
    assert code == 0
    assert "Why not Qwen3.6-27B" in out
    assert "run Qwen/Qwen3.8-27B" in out


def test_why_answers_even_where_nothing_passes(run):
    limits = ("--min-tps", "100000")
    code, out, err = run("recommend", *HARDWARE, *limits, "--why", "qwen3-8b", "--json")
    document = json.loads(out)
    assert (code, document["ranked"]) == (3, [])
    assert "below --min-tps" in document["why"]["verdict"]
    assert err.count("\n") == 1
    assert "relax one limit: --min-tps" in err


def test_a_no_is_a_document_with_what_was_refused(run, tmp_path):
    saved = tmp_path / "refused.json"
    code, out, err = run("recommend", *HARDWARE, "--min-tps", "100000", "--json", "-o", str(saved))
    document = json.loads(out)
    assert (code, document["kind"], document["ranked"]) == (3, "recommendation", [])
    assert any("below --min-tps" in each["reason"] for each in document["rejected"])
    assert json.loads(saved.read_text()) == document
    assert "relax one limit: --min-tps" in err


def test_csv_has_a_line_per_pick(run):
    code, out, _ = run("recommend", *HARDWARE, "--top", "3", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, len(rows)) == (0, 3)
    assert [row["rank"] for row in rows] == ["1", "2", "3"]


def test_extremes_stand_in_the_table_and_the_document(run):
    asked = ("recommend", *HARDWARE, "--task", "chat", "--min-tps", "15", "--max-users", "--max-context", "--top", "2")
    _, shown, _ = run(*asked)
    assert {"Longest", "Users"} <= set(shown.split())
    _, out, _ = run(*asked, "--json")
    for choice in json.loads(out)["ranked"]:
        assert {each["quantity"] for each in choice["estimate"]["extremes"]} == {"context_tokens", "concurrency_count"}


def test_estimate_says_how_far_a_model_stretches_per_cache_type(run):
    code, out, _ = run("estimate", "qwen3.8-27b", *HARDWARE, "--max-context", "--json")
    extremes = json.loads(out)["extremes"]
    assert code == 0
    assert [each["kv_quant_id"] for each in extremes] == ["f16", "q8_0"]
    assert extremes[1]["value"] > extremes[0]["value"] > 0


def test_estimate_beyond_a_limit_exits_with_3_and_one_line(run):
    code, out, err = run("estimate", "qwen3.8-27b:Q8_0", *HARDWARE, "--min-tps", "500", "--json")
    assert code == 3
    assert json.loads(out)["model_id"] == "Qwen/Qwen3.8-27B"
    assert "below --min-tps 500" in err


def test_several_tasks_make_a_stack(run):
    code, out, err = run("recommend", *HARDWARE, "--task", "chat,embedding", "--json")
    document = json.loads(out)
    assert (code, err, document["kind"]) == (0, "", "stack")
    assert {job for member in document["members"] for job in member["jobs"]} == {"chat", "embedding"}


def test_a_stack_reads_well_without_colour(run):
    _, out, _ = run("recommend", *HARDWARE, "--task", "chat,embedding")
    assert "\x1b" not in out
    assert "Together on cuda:0" in out


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--json", "--csv"), 2, "choose one"),
        (("--task", "chat,embed"), 2, "did you mean embedding"),
        (("--task", "chat,embedding", "--why", "qwen3-8b"), 2, "--why asks about one task"),
        (("--task", "chat,embedding", "--engine", "vllm"), 2, "leave out --engine"),
        (("--why", "no-such-model-at-all"), 2, "not in the catalog"),
        (("--why", "file.gguf"), 2, "name a model of the catalog"),
        (("--min-quality", "120"), 2, "out of range"),
        (("--min-tps", "-4"), 2, "out of range"),
        (("--min-quality", "99"), 3, "relax one limit: --min-quality"),
        (("--license", "no-such-licence"), 3, "accept another --license"),
        (("--max-memory", "10MiB"), 3, "--max-memory"),
        (("--task", "chat", "--max-ttft", "0.000001"), 3, "--max-ttft"),
    ],
)
def test_bad_questions_have_one_clear_line(run, args, code, says):
    found, _, err = run("recommend", *HARDWARE, *args)
    assert found == code
    assert says in err
    assert err.count("\n") == 1
