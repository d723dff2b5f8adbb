"""``advisor catalog``: every command, its exit codes, its JSON, and one line on stderr when it fails."""

import json
import os

import pytest
from click.testing import CliRunner
from command_line import answer
from hub_server import FakeHub, serve

from catalog.checks import Agreement
from catalog.load import load_catalog
from catalog.overlay import MODELS_FILE

CONFIG = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "intermediate_size": 1024,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    load_catalog.cache_clear()
    yield tmp_path / "home"
    load_catalog.cache_clear()


@pytest.fixture
def run(capsys):
    def call(*arguments: str) -> tuple[int, str, str]:
        return answer(capsys, "catalog", *arguments)

    return call


def document(run, *arguments):
    code, out, err = run(*arguments, "--json")
    assert err == ""
    found = json.loads(out)
    assert found["schema_version"] == 1
    return code, found


def test_help_lists_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in ("list", "show", "add", "check", "update", "local"))


def test_list_ranks_a_task_and_keeps_its_filters(run):
    code, found = document(run, "list", "--task", "coding", "--max-params", "9.9B", "--context", "32k", "--limit", "5")
    assert code == 0
    assert found["kind"] == "catalog_list"
    assert len(found["models"]) == 5
    assert found["total_count"] > 100
    lows = [row["quality"]["low"] for row in found["models"]]
    assert lows == sorted(lows, reverse=True)
    assert all(row["params_total_count"] <= 9.9e9 for row in found["models"])
    assert all("coding" in row["tasks"] for row in found["models"])


def test_list_prints_a_table(run):
    code, out, err = run("list", "qwen3", "8b", "--limit", "12")
    assert (code, err) == (0, "")
    assert "Qwen/Qwen3-8B" in out
    assert out.splitlines()[0].split()[:3] == ["model", "params", "active"]


def test_list_of_nothing_exits_3_with_advice(run):
    code, out, err = run("list", "no-such-model-anywhere")
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1
    code, found = document(run, "list", "no-such-model-anywhere")
    assert (code, found["models"]) == (3, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--task", "juggling"),
        ("list", "--max-params", "8"),
        ("list", "--context", "long"),
        ("list", "--sort", "taste"),
        ("list", "--limit", "0"),
        ("list", "--no-such-option"),
        ("show",),
        ("frobnicate",),
    ],
)
def test_usage_errors_are_one_line_and_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["no-such-thing", "qwn3-8b", "RTX", "m4 max", "A100"])
def test_unknown_and_ambiguous_names_are_one_line_and_2(run, name):
    code, out, err = run("show", name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_show_a_model(run):
    code, found = document(run, "show", "qwen3-8b")
    assert code == 0
    assert found["model"]["model_id"] == "Qwen/Qwen3-8B"
    assert found["model"]["geometry"]["mixers"] == "A" * 36
    assert found["quality"]["coding"]["low"] > 0
    sizes = {file["quant_id"]: file["file_bytes"] for file in found["files"]}
    assert sizes["Q4_K_M"] < sizes["Q8_0"] < sizes["BF16"]
    assert found["model"]["citation"]["source"]
    code, out, _ = run("show", "qwen3-8b")
    assert code == 0
    assert "Qwen/Qwen3-8B-GGUF" in out
    assert "Q4_K_M" in out


def test_show_a_model_without_exact_shape(run):
    inexact = next(model for model in load_catalog().models.values() if model.geometry is None and model.tasks)
    code, out, _ = run("show", inexact.model_id)
    assert code == 0
    assert "about" in out


def test_show_a_chip_and_a_quantisation(run):
    code, found = document(run, "show", "rtx5090")
    assert (code, found["kind"]) == (0, "catalog_chip")
    assert found["chip"]["memory_bytes"] == 32 * 2**30
    code, found = document(run, "show", "q4_k_m")
    assert (code, found["kind"]) == (0, "catalog_quant")
    code, out, _ = run("show", "rtx 5090")
    assert code == 0
    assert "1,790 GB/s" in out
    assert run("show", "Q8_0")[0] == 0


def test_add_a_config_and_find_it(run, tmp_path, home):
    folder = tmp_path / "Tiny-Instruct"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    code, out, err = run("add", str(folder / "config.json"))
    assert (code, out) == (0, "")
    assert "local/Tiny-Instruct" in err
    load_catalog.cache_clear()
    code, found = document(run, "show", "tiny-instruct")
    assert code == 0
    assert found["model"]["params_total_count"] == pytest.approx(40_000_000, rel=0.2)
    assert found["quality"]["chat"]["imputed"]
    assert (home / "catalog" / MODELS_FILE).exists()
    code, added = document(run, "add", str(folder))
    assert (code, added["kind"]) == (0, "catalog_added")


@pytest.mark.parametrize(
    ("name", "content"), [("bad.json", "{"), ("bad.gguf", "no"), ("none.json", None), ("x.txt", "")]
)
def test_add_of_no_model_is_one_line_and_leaves_no_overlay(run, tmp_path, home, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    code, out, err = run("add", str(tmp_path / name))
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert not (home / "catalog").exists()


def test_check_prints_every_promised_number(run):
    code, found = document(run, "check")
    assert code in (0, 3)
    assert found["ok"] is (code == 0)
    assert found["models"]["count"] >= 1724
    assert found["parameters"]["within_frac"] > 0.99
    assert found["sizes"]["compared_count"] > 50
    assert found["chips"]["count"] > 300
    assert found["chips"]["wrong"] == []
    tested = {(row["task"], row["kept"]) for row in found["quality"]}
    assert {task for task, _ in tested} == {
        "agentic", "chat", "coding", "embedding", "general", "multilingual", "rag", "reasoning", "vision"
    }  # fmt: skip
    for row in found["quality"]:
        assert row["error"] < row["spread"]
        assert 0.74 <= row["coverage"] <= 0.86
    assert found["load_s"] > 0


def test_check_prints_a_table_and_names_what_is_missed(run, monkeypatch):
    monkeypatch.setattr("catalog.audit.LOAD_S_MAX", 0.0)
    monkeypatch.setattr("catalog.audit.parameter_agreement", lambda catalog: Agreement(comparisons=()))
    monkeypatch.setattr("catalog.audit.size_agreement", lambda catalog: Agreement(comparisons=()))
    code, out, _ = run("check")
    assert code == 3
    assert "MISS loading takes" in out
    assert "GGUF sizes" in out


def test_update_fetches_into_the_overlay(run, monkeypatch, home):
    pytest.importorskip("huggingface_hub")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serve(FakeHub()) as hub:
        hub.add("lab/New-1B-Instruct", files={"config.json": json.dumps(CONFIG).encode()}, tags=["conversational"])
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        code, out, err = run("update", "--owner", "lab")
    assert (code, out.strip()) == (0, "lab/New-1B-Instruct")
    assert "1 new models" in err
    load_catalog.cache_clear()
    assert document(run, "show", "New-1B-Instruct")[1]["model"]["model_id"] == "lab/New-1B-Instruct"
    assert sorted(os.listdir(home / "catalog")) == [MODELS_FILE]


def test_update_without_a_server_or_offline_is_one_line_and_1(run, monkeypatch, home):
    pytest.importorskip("huggingface_hub")
    with serve(FakeHub()) as stopped:
        url = stopped.url
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    code, out, err = run("update", "--json")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = run("update")
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "HF_HUB_OFFLINE" in err
    assert not (home / "catalog").exists()


def test_update_without_the_client_says_what_to_install(run, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    code, _, err = run("update")
    assert code == 1
    assert "pip install" in err


def test_local_looks_where_it_is_told(run, tmp_path):
    code, found = document(run, "local", str(tmp_path))
    assert (code, found["models"]) == (3, [])
    code, out, err = run("local", str(tmp_path))
    assert (code, out) == (3, "")
    assert "no model files" in err


def test_local_shows_what_a_header_says(run, tmp_path):
    folder = tmp_path / "store" / "Tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    code, found = document(run, "local", str(tmp_path / "store"))
    assert code == 0
    assert found["models"][0]["file_format"] == "safetensors"
    assert run("local", str(tmp_path / "store"))[0] == 0
    code, listed = document(run, "list", "--local")
    assert code in (0, 3)
    assert all(row["model_id"] for row in listed["models"])


def test_a_damaged_overlay_is_one_line_and_1(run, home):
    (home / "catalog").mkdir(parents=True)
    (home / "catalog" / MODELS_FILE).write_text("{")
    code, out, err = run("list")
    assert (code, out) == (1, "")
    assert MODELS_FILE in err
    assert len(err.splitlines()) == 1


def test_the_group_is_usable_without_the_top_command():
    from advisor.cli.catalog import command

    assert CliRunner().invoke(command, ["show", "q4_k_m", "--json"]).exit_code == 0
