"""``advisor export`` and ``advisor serve``: picks by rank, document and name; bad input in one line."""

import os
import socket
import sys

import pytest
from command_line import advisor
from export_examples import gguf_pick, recommendation, stack, stack_plan

from advisor import codec
from advisor.export.targets import TARGET_IDS
from catalog.load import load_catalog

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's data folder with a last recommendation of three picks."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ADVISOR_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    spec = load_catalog().model(MODEL_ID)
    picks = [gguf_pick(spec, quant_id=quant_id) for quant_id in ("Q8_0", "Q6_K", "Q4_K_M")]
    codec.save(recommendation(*picks), folder / "recommendation.json")
    return folder


def failed(capsys, *args):
    """The exit code and the one line of an error."""
    code = advisor(*args)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, lines
    return code, lines[0]


def test_a_rank_of_the_last_recommendation(home, capsys):
    assert advisor("export", "2", "--for", "llama-server") == 0
    captured = capsys.readouterr()
    assert ":Q6_K" in captured.out
    assert "LLAMA_API_KEY" in captured.err


def test_a_document_and_a_rank_in_it(home, capsys):
    document = str(home / "recommendation.json")
    assert advisor("export", document, "--rank", "3", "--for", "llama-server") == 0
    assert ":Q4_K_M" in capsys.readouterr().out
    assert advisor("export", document, "--for", "llama-server") == 0
    assert ":Q8_0" in capsys.readouterr().out


def test_a_model_by_name_with_its_workload(home, capsys):
    args = ("export", f"{MODEL_ID}:Q8_0", "--hardware", "rtx 4090", "--context", "4k", "--concurrency", "2")
    assert advisor(*args, "--for", "llama-server", "--port", "9000") == 0
    out = capsys.readouterr().out
    assert "-c 8192" in out
    assert "--port 9000" in out


def test_a_stack_document_becomes_one_stack(home, tmp_path, capsys):
    spec = load_catalog().model(MODEL_ID)
    made = stack()
    plan = stack_plan(type(made)(picks=(gguf_pick(spec), gguf_pick(spec, quant_id="Q8_0"))))
    codec.save(plan, tmp_path / "stack.json")
    assert advisor("export", "stack.json", "--for", "llama-swap") == 0
    assert "persistent: true" in capsys.readouterr().out
    code, line = failed(capsys, "export", "stack.json", "--for", "n8n")
    assert code == 2
    assert "llama-swap" in line


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("export", "1", "--for", "nosuch"), 2, ", ".join(TARGET_IDS)),
        (("export", "9", "--for", "ollama"), 2, f"2 {MODEL_ID}:Q6_K"),
        (("export", "0", "--for", "ollama"), 2, "no pick 0"),
        (("export", "²", "--for", "ollama"), 2, "model"),
        (("export", "qwen3-8c", "--for", "ollama"), 2, "nearest"),
        (("export", "missing.json", "--for", "ollama"), 1, "missing.json"),
        (("export", "missing.gguf", "--for", "ollama"), 1, "missing.gguf"),
        (("export", "1", "--for", "ollama", "--context", "8k"), 2, "MODEL:QUANT"),
        (("export", "1", "--for", "ollama", "--rank", "2"), 2, "--rank"),
        (("export", "qwen3-8b", "--rank", "2", "--for", "ollama"), 2, "--rank"),
        (("export", "1", "--for", "tensorrt-llm"), 2, "cannot load GGUF"),
        (("export", "1"), 2, "--for"),
        (("export", "1", "--for", "systemd", "--port", "0"), 2, "--port"),
        (("export", "1", "--for", "systemd", "-o", "home/recommendation.json"), 1, "--force"),
        (("serve", "1"), 2, "hf download"),
        (("serve", "9"), 2, "no pick 9"),
        (("serve", "missing.gguf"), 1, "missing.gguf"),
        (("serve", "1", "--port", "70000"), 2, "--port"),
    ],
)
def test_bad_input_is_one_line(home, monkeypatch, capsys, args, code, said):
    monkeypatch.setattr("catalog.local.find_local_models", lambda *_, **__: ())
    found, line = failed(capsys, *args)
    assert found == code
    assert said in line


def test_nothing_recommended_yet(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    code, line = failed(capsys, "export", "1", "--for", "ollama")
    assert code == 2
    assert "advisor recommend" in line


def test_another_kind_of_document_is_named(home, tmp_path, capsys):
    codec.save(gguf_pick(load_catalog().model(MODEL_ID)).estimate, tmp_path / "estimate.json")
    assert advisor("export", "estimate.json", "--for", "ollama") == 0
    capsys.readouterr()
    (tmp_path / "other.json").write_text(
        '{"kind": "validation", "schema_version": 1, "records": [], "created_at": "x", "tool_version": "0"}'
    )
    code, line = failed(capsys, "export", "other.json", "--for", "ollama")
    assert code == 2
    assert "validation document" in line


def test_files_are_written_once_and_replaced_when_forced(home, tmp_path, capsys):
    assert advisor("export", "1", "--for", "llama-server", "-o", "run.sh") == 0
    assert "wrote run.sh" in capsys.readouterr().err
    before = (tmp_path / "run.sh").read_text()
    assert os.name != "posix" or os.access(tmp_path / "run.sh", os.X_OK)
    code, line = failed(capsys, "export", "2", "--for", "llama-server", "-o", "run.sh")
    assert code == 1
    assert "run.sh exists" in line
    assert (tmp_path / "run.sh").read_text() == before
    assert advisor("export", "2", "--for", "llama-server", "-o", "run.sh", "--force") == 0
    assert (tmp_path / "run.sh").read_text() != before


def test_a_folder_takes_the_usual_names_and_all_or_nothing_is_written(home, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    args = ("export", "qwen3-8b:FP8", "--hardware", "rtx 4090", "--for", "tensorrt-llm", "-o", str(folder))
    assert advisor(*args) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["qwen3-8b-fp8.sh", "trtllm.yaml"]
    (folder / "qwen3-8b-fp8.sh").unlink()
    capsys.readouterr()
    code, line = failed(capsys, *args)
    assert code == 1
    assert "trtllm.yaml" in line
    assert not (folder / "qwen3-8b-fp8.sh").exists()


def test_a_port_in_use_is_said(home, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert advisor("export", "1", "--for", "llama-server", "--port", port) == 0
        assert f"port {port} is in use" in capsys.readouterr().err
        assert advisor("export", "1", "--for", "opencode", "--port", port) == 0
        assert "in use" not in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="ports are shared differently")
def test_serve_refuses_a_port_in_use_before_it_loads_anything(home, tmp_path, monkeypatch, capsys):
    weights = tmp_path / "tiny.gguf"
    weights.write_bytes(b"not read before the port is bound")
    spec = load_catalog().model(MODEL_ID)
    codec.save(recommendation(gguf_pick(spec, local_path=str(weights))), home / "recommendation.json")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, line = failed(capsys, "serve", "1", "--port", port)
    assert code == 1
    assert f"port {port} cannot be used" in line
    assert "is free" in line


def test_a_file_that_has_gone_is_fetched_from_its_repository_again(home, capsys):
    spec = load_catalog().model(MODEL_ID)
    codec.save(recommendation(gguf_pick(spec, local_path="/nowhere/tiny.gguf")), home / "recommendation.json")
    assert advisor("export", "1", "--for", "llama-server") == 0
    captured = capsys.readouterr()
    assert "/nowhere" not in captured.out
    assert "-hf " in captured.out


def test_a_hostile_document_is_refused_in_one_line(home, capsys):
    spec = load_catalog().model(MODEL_ID)
    pick = gguf_pick(spec)
    hostile = type(pick)(model=spec, estimate=pick.estimate, label="x", name="x", repo="--rpc=evil/x")
    codec.save(recommendation(hostile), home / "recommendation.json")
    code, line = failed(capsys, "export", "1", "--for", "llama-server")
    assert code == 1
    assert "repository" in line
