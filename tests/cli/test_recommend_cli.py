"""``advisor recommend`` and ``estimate``: what may be asked beside a ranking, and what is refused."""

import csv
import io
import json

import pytest
from command_line import answer

HARDWARE = ("--hardware", "rtx 4090")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(*args: str) -> tuple[int, str, str]:
        return answer(capsys, *args)

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


@pytest.mark.parametrize("task", ["chat", "chat,coding"])
def test_csv_of_nothing_is_the_names_of_its_columns(run, task):
    asked = ("recommend", "--task", task, *HARDWARE, "--csv")
    _, some, _ = run(*asked)
    code, none, err = run(*asked, "--min-tps", "100000")
    assert (code, none) == (3, f"{some.splitlines()[0]}\n")
    (line,) = [line for line in err.splitlines() if line.startswith("advisor:")]
    assert "--min-tps" in line


def test_csv_has_a_line_per_number_of_users(run):
    _, out, _ = run("estimate", "qwen3-8b", *HARDWARE, "--users", "8", "--csv")
    _, document, _ = run("estimate", "qwen3-8b", *HARDWARE, "--users", "8", "--json")
    first, *others = csv.DictReader(io.StringIO(out))
    speeds = {each["users_count"]: each for each in json.loads(document)["concurrency"]["speeds"]}
    assert int(first["concurrency_count"]) == 8  # what was asked comes first, as without further rows
    assert float(first["memory_bytes"]) > 0
    assert {int(row["concurrency_count"]) for row in (first, *others)} == set(speeds)
    for row in (first, *others):
        speed = speeds[int(row["concurrency_count"])]
        assert float(row["decode_mid_tokens_per_s"]) == pytest.approx(speed["decode_tokens_per_s"]["mid"])
        assert float(row["total_tokens_per_s"]) == pytest.approx(speed["total_tokens_per_s"])
        assert float(row["last_first_token_s"]) == pytest.approx(speed["last_first_token_s"])
    assert "slots" in first["cache_layouts"].split()


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


USERS = ("--users", "8", "--shared-prefix", "512")


def test_users_and_their_prefix_are_keys_of_the_estimate(run):
    code, out, err = run("estimate", "qwen3-8b:Q4_K_M", *HARDWARE, *USERS, "--json")
    made = json.loads(out)
    assert (code, err) == (0, "")
    assert made["workload"]["concurrency_count"] == 8
    assert made["workload"]["shared_prefix_tokens"] == 512
    layouts = [room["layout"] for room in made["concurrency"]["rooms"]]
    assert layouts == ["slots", "unified", "paged", "paged_shared"]
    rows = {row["users_count"]: row for row in made["concurrency"]["speeds"]}
    assert rows[8]["decode_tokens_per_s"] == made["decode_tokens_per_s"]


def test_one_user_is_the_same_user_wherever_asked(run):
    """`estimate`, its row for one user, `recommend` and `--max-users` are one formula."""
    alone = json.loads(run("estimate", "qwen3-8b:Q4_K_M", *HARDWARE, "--json")[1])
    among = json.loads(run("estimate", "qwen3-8b:Q4_K_M", *HARDWARE, *USERS, "--max-users", "--json")[1])
    assert among["concurrency"]["speeds"][0]["decode_tokens_per_s"] == alone["decode_tokens_per_s"]
    for most in among["extremes"]:
        asked = ("--users", str(most["value"]), "--kv-type", most["kv_quant_id"], "--json")
        made = json.loads(run("estimate", "qwen3-8b:Q4_K_M", *HARDWARE, *asked)[1])
        assert made["decode_tokens_per_s"] == most["decode_tokens_per_s"]
    ranked = json.loads(run("recommend", *HARDWARE, "--users", "4", "--top", "2", "--json")[1])["ranked"]
    for pick in ranked:
        found = pick["estimate"]
        rows = {row["users_count"]: row for row in found["concurrency"]["speeds"]}
        assert rows[4]["decode_tokens_per_s"] == found["decode_tokens_per_s"]


def test_users_are_shown_to_people(run):
    _, shown, _ = run("estimate", "qwen3-8b:Q4_K_M", *HARDWARE, *USERS)
    assert "Users at once" in shown
    assert "first 512 shared" in shown
    assert "vLLM, pages, the prefix kept once" in shown
    _, shown, _ = run("recommend", *HARDWARE, "--users", "4", "--top", "1")
    assert "llama.cpp, a slot each (-np)" in shown


SETTINGS = ("--ubatch", "1024", "--no-mmap", "--flash-attention", "off", "--no-op-offload")


def deployments(document):
    """Every deployment in a document."""
    if isinstance(document, dict):
        if "ubatch_tokens" in document:
            yield document
        for value in document.values():
            yield from deployments(value)
    if isinstance(document, list):
        for value in document:
            yield from deployments(value)


@pytest.mark.parametrize(
    "args",
    [
        ("recommend", "--top", "1"),
        ("recommend", "--task", "chat,embedding"),
        ("recommend", "--top", "1", "--max-users"),
        ("estimate", "qwen3-8b", "--max-context"),
        ("plan", "qwen3-8b:Q4_K_M"),
        ("compare", "here", "--model", "qwen3-8b:Q4_K_M", "--no-calibrate"),
    ],
)
def test_settings_apply_wherever_a_model_is_predicted(run, tmp_path, monkeypatch, args):
    from small_machine import machine_of

    from advisor.cli import _machine

    there = () if args[0] == "compare" else HARDWARE
    if args[0] == "compare":
        monkeypatch.setattr(_machine, "resolve_machine", lambda *_, **__: machine_of())
    code, out, _ = run(*args, *there, *SETTINGS, "--json")
    found = list(deployments(json.loads(out)))
    assert code == 0
    assert found
    for deployment in found:
        assert deployment["ubatch_tokens"] == 1024
        assert deployment["flash_attention"] is False
        assert deployment["mmap"] is False
        assert deployment["op_offload"] is False


def test_settings_bound_the_answers_to_inverse_questions(run):
    def longest(*settings: str) -> int:
        document = json.loads(run("estimate", "qwen3-8b:Q8_0", *HARDWARE, "--max-context", *settings, "--json")[1])
        return next(each["value"] for each in document["extremes"] if each["kv_quant_id"] == "f16")

    assert longest("--flash-attention", "off", "--ubatch", "2048") < longest()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("estimate", "qwen3-8b", *HARDWARE, "--prompt", "1k", "--shared-prefix", "2k"), "--shared-prefix 2048"),
        (
            ("recommend", *HARDWARE, "--task", "chat,coding", "--shared-prefix", "512"),
            "--shared-prefix asks",
        ),
        (("recommend", *HARDWARE, "--users", "0"), "--concurrency 0"),
        (("plan", "qwen3-8b", "--threads", "8"), "--threads belongs to one processor"),
        (("compare", "rtx 4090", "--threads", "8"), "--threads belongs to one processor"),
        (
            ("estimate", "qwen3-8b", *HARDWARE, "--engine", "vllm", "--ubatch", "1024"),
            "--ubatch is a setting",
        ),
        (("recommend", *HARDWARE, "--engine", "vllm", "--no-mmap"), "--mmap/--no-mmap is a setting"),
        (("plan", "qwen3-8b", "--engine", "vllm", "--no-op-offload"), "--op-offload/--no-op-offload is a setting"),
        (("plan", "qwen3-8b", "--engine", "vllm", "--flash-attention", "off"), "--flash-attention is a setting"),
        (("export", "qwen3-8b", *HARDWARE, "--for", "vllm", "--threads", "4"), "--threads is a setting"),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_line(run, args, said):
    code, out, err = run(*args)
    lines = [line for line in err.splitlines() if line.startswith("advisor:")]
    assert (code, out, len(lines)) == (2, "", 1)
    assert said in lines[0]


def test_a_stack_that_cannot_be_is_a_document_with_what_was_considered(run, tmp_path):
    saved = tmp_path / "stack.json"
    asked = ("recommend", *HARDWARE, "--task", "coding,chat", "--min-tps", "100000")
    code, out, err = run(*asked, "--json", "-o", str(saved))
    document = json.loads(out)
    assert (code, document["kind"], document["members"]) == (3, "stack", [])
    assert any(each["reason"].startswith("coding: decodes") for each in document["rejected"])
    assert json.loads(saved.read_text()) == document
    assert "relax --min-tps" in err
    assert document["reasons"][0] in err
    code, _, err = run("export", str(saved), "--for", "llama-swap")
    assert (code, err.count("\n")) == (2, 1)
    assert "holds no models" in err


@pytest.mark.parametrize("name", ["page.html", "page.md", "page.csv"])
def test_a_stack_that_cannot_be_is_rendered(run, tmp_path, name):
    saved, page = tmp_path / "stack.json", tmp_path / name
    assert run("recommend", *HARDWARE, "--task", "coding,chat", "--max-memory", "1MiB", "-o", str(saved))[0] == 3
    assert run("report", str(saved), "-o", str(page))[0] == 0
    assert page.stat().st_size


def test_a_stack_says_which_limit_was_too_strict(run):
    _, _, err = run("recommend", *HARDWARE, "--task", "chat,coding", "--max-memory", "100MiB")
    assert "relax --max-memory" in err
    _, _, err = run("recommend", *HARDWARE, "--task", "chat,coding", "--license", "none-such")
    assert "relax --license" in err
