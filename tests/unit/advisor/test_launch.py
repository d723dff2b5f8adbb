"""Launches: every setting reaches its engine or is said to be left out; options are those the engines list."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_examples import CHAT, EMBEDDER, EVERY_VALUE, MODEL, deployment, every_launch

from advisor import launch
from advisor.errors import AdvisorError, BadRequestError
from advisor.launch.ollama import _quoted
from advisor.types import Task
from catalog.load import load_catalog
from catalog.sampling import sampling_for

FLAGS = Path(__file__).parents[2] / "fixtures" / "engine_flags"


def option(made: launch.Launch, name: str) -> str:
    return made.argv[made.argv.index(name) + 1]


def recorded(engine_id: str) -> frozenset[str]:
    return frozenset(json.loads((FLAGS / f"{engine_id}.json").read_text())["flags"])


@pytest.mark.parametrize(("engine_id", "made"), every_launch())
def test_every_option_is_one_that_the_engine_lists(engine_id, made):
    unknown = [flag for flag in launch.flags_of(made) if flag not in recorded(engine_id)]
    assert unknown == []


def test_an_option_that_a_build_does_not_list_is_found():
    made = launch.command(MODEL, deployment(), CHAT)
    help_text = "\n".join(sorted(recorded("llama.cpp") - {"-ub"}))
    assert launch.unknown_flags(made, help_text) == ("-ub",)


def test_every_engine_listens_on_the_loopback_address_only():
    for _, made in every_launch():
        where = made.environment.get("OLLAMA_HOST") or option(made, "--host")
        assert where.startswith("127.0.0.1")
        assert "api" not in " ".join(made.argv).replace("llm_api", "")


def test_llama_server_is_told_to_leave_the_cpus_weights_where_they_are():
    usual, told = (deployment(layers_by_device={"cpu": 6, "cuda:0": 30}, op_offload=on) for on in (True, False))
    assert "--no-op-offload" not in launch.command(MODEL, usual, CHAT).argv
    assert "--no-op-offload" in launch.command(MODEL, told, CHAT).argv
    for engine_id in ("ollama", "llama-cpp-python"):
        made = launch.command(MODEL, replace(told, engine_id=engine_id), CHAT)
        assert "prompts worked through on the CPU where it holds the weights" in made.not_taken


def test_llama_server_is_told_the_whole_plan():
    plan = deployment(
        layers_by_device={"cpu": 6, "cuda:0": 30}, kv_quant_id="q8_0/q4_0", mmap=False, experts_on_cpu_layers_count=3
    )
    made = launch.command(MODEL, plan, replace(CHAT, concurrency_count=4), sampling=EVERY_VALUE)
    assert option(made, "-hf") == "org/Model-8B-GGUF:Q4_K_M"
    assert option(made, "-c") == str(4 * 8192)
    assert option(made, "-np") == "4"
    assert option(made, "-ngl") == "31"  # the output layer counts as one more
    assert (option(made, "--n-cpu-moe"), option(made, "-ctk"), option(made, "-ctv")) == ("3", "q8_0", "q4_0")
    assert (option(made, "-t"), option(made, "-tb"), option(made, "--load-mode")) == ("8", "8", "none")
    assert (option(made, "--temp"), option(made, "--top-k"), option(made, "--min-p")) == ("0.7", "20", "0.05")
    assert made.not_taken == ()


@pytest.mark.parametrize(
    ("engine_id", "source"),
    [
        ("llama.cpp", "-hf ggml-org/gpt-oss-20b-GGUF:mxfp4 "),
        ("ollama", "FROM hf.co/ggml-org/gpt-oss-20b-GGUF:mxfp4\n"),
        ("llama-cpp-python", "--model *mxfp4.gguf "),
    ],
)
def test_a_file_is_asked_for_by_the_word_in_its_name(engine_id, source):
    """The repository's only file is gpt-oss-20b-mxfp4.gguf; llama.cpp's name of the type finds nothing there."""
    oss = load_catalog().model("gpt-oss-20b")
    made = launch.command(oss, deployment(quant_id="MXFP4_MOE"), CHAT, engine_id=engine_id)
    assert source in " ".join((*made.argv, *(file.text for file in made.files)))
    another = launch.command(oss, deployment(quant_id="MXFP4_MOE"), CHAT, repo="bartowski/openai_gpt-oss-20b-GGUF")
    assert option(another, "-hf") == "bartowski/openai_gpt-oss-20b-GGUF:MXFP4_MOE"


def test_one_card_of_several_is_named_and_several_get_their_shares():
    one = launch.command(MODEL, deployment(layers_by_device={"cuda:1": 36}), CHAT)
    assert (option(one, "-sm"), option(one, "-mg")) == ("none", "1")
    two = launch.command(MODEL, deployment(layers_by_device={"cuda:0": 20, "cuda:1": 16}, split_mode="layer"), CHAT)
    assert (option(two, "-sm"), option(two, "-ts")) == ("layer", "20,17")


def test_an_embedder_reads_a_text_in_one_micro_batch():
    made = launch.command(EMBEDDER, deployment(), CHAT)
    assert int(option(made, "-ub")) >= CHAT.context_tokens
    assert "--embeddings" in made.argv
    assert "--jinja" not in made.argv


def test_vllm_names_what_it_cannot_take():
    plan = deployment(
        quant_id="AWQ-4bit", file_format="safetensors", kv_quant_id="q4_0", layers_by_device={"cpu": 4, "cuda:0": 32}
    )
    made = launch.command(MODEL, plan, CHAT, engine_id="vllm")
    assert made.argv[:3] == ("vllm", "serve", "org/Model-8B-AWQ")
    assert any("q4_0" in text for text in made.not_taken)
    assert any("4 layers on the CPU" in text for text in made.not_taken)
    assert "--kv-cache-dtype" not in made.argv


def test_vllm_splits_rows_or_layers():
    two = {"cuda:0": 18, "cuda:1": 18}
    plan = deployment(quant_id="FP8", file_format="safetensors", layers_by_device=two)
    rows = launch.command(MODEL, replace(plan, split_mode="row"), CHAT, engine_id="vllm")
    layers = launch.command(MODEL, replace(plan, split_mode="layer"), CHAT, engine_id="vllm")
    assert option(rows, "--tensor-parallel-size") == "2"
    assert option(layers, "--pipeline-parallel-size") == "2"


def test_vllm_packs_plain_weights_itself_where_nobody_publishes_them():
    model = replace(MODEL, repos={"gguf": ("org/Model-8B-GGUF",)})
    plan = deployment(quant_id="FP8", file_format="safetensors")
    assert option(launch.command(model, plan, CHAT, engine_id="vllm", repo=model.model_id), "--quantization") == "fp8"
    assert "--quantization" not in launch.command(MODEL, plan, CHAT, engine_id="vllm").argv


def test_a_second_card_alone_is_made_the_only_visible_one():
    plan = deployment(quant_id="FP8", file_format="safetensors", layers_by_device={"cuda:1": 36})
    assert launch.command(MODEL, plan, CHAT, engine_id="vllm").environment == {"CUDA_VISIBLE_DEVICES": "1"}


def test_ollama_is_configured_by_a_modelfile_and_its_environment():
    plan = deployment(kv_quant_id="q8_0", mmap=False)
    made = launch.command(MODEL, plan, replace(CHAT, concurrency_count=2), engine_id="ollama", sampling=EVERY_VALUE)
    lines = made.files[0].text.splitlines()
    assert lines[0] == "FROM hf.co/org/Model-8B-GGUF:Q4_K_M"
    assert {"PARAMETER num_ctx 8192", "PARAMETER num_gpu 999", "PARAMETER use_mmap false"} <= set(lines)
    assert {"PARAMETER temperature 0.7", "PARAMETER min_p 0.05"} <= set(lines)
    assert made.environment["OLLAMA_KV_CACHE_TYPE"] == "q8_0"
    assert made.environment["OLLAMA_NUM_PARALLEL"] == "2"
    assert made.after[0][:2] == ("ollama", "create")


def test_tensorrt_writes_what_has_no_option_into_yaml():
    import yaml

    plan = deployment(quant_id="FP8", file_format="safetensors", kv_quant_id="fp8")
    made = launch.command(MODEL, plan, replace(CHAT, concurrency_count=8), engine_id="tensorrt-llm")
    config = yaml.safe_load(made.files[0].text)
    assert config["kv_cache_config"]["dtype"] == "fp8"
    assert config["cuda_graph_config"]["max_batch_size"] == 8
    assert option(made, "--extra_llm_api_options") == made.files[0].name


def test_mlx_says_that_it_has_no_limit_on_context():
    plan = deployment(backend="metal", quant_id="MLX-4bit", file_format="mlx", layers_by_device={"metal:0": 36})
    made = launch.command(MODEL, plan, CHAT, engine_id="mlx", sampling=EVERY_VALUE)
    assert option(made, "--model") == "mlx-community/Model-8B-4bit"
    assert any("context 8192" in text for text in made.not_taken)
    assert any("presence_penalty" in text for text in made.not_taken)


def test_an_unknown_engine_and_a_missing_workload_are_said_in_one_line():
    with pytest.raises(BadRequestError, match="unknown engine 'nope'; use one of llama"):
        launch.command(MODEL, deployment(), CHAT, engine_id="nope")
    with pytest.raises(BadRequestError, match="needs a workload"):
        launch.command(MODEL, deployment())


@pytest.mark.parametrize("repo", ["--option", "no-slash", "a/b/c", "../etc", "org/na me", "org/x;rm", ""])
def test_a_repository_that_is_none_is_refused(repo):
    if repo:
        with pytest.raises(AdvisorError, match="no repository name"):
            launch.command(MODEL, deployment(), CHAT, repo=repo)
    else:
        assert "org/Model-8B-GGUF" in launch.command(MODEL, deployment(), CHAT, repo=repo).argv[2]


@pytest.mark.parametrize("engine_id", launch.ENGINE_IDS)
@given(path=st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40))
def test_a_hostile_path_stays_one_word_of_the_shell(engine_id, path):
    made = launch.command(MODEL, deployment(), CHAT, engine_id=engine_id, path=path)
    lines = launch.shell_lines(made)
    assert any(shlex.split(line)[-len(made.argv) :] == list(made.argv) for line in lines)
    if engine_id == "ollama":
        written = shlex.split(lines[0])
        assert written[:2] == ["printf", "%s\\n"]
        assert path in written[2]
    else:
        assert sum(path in word for word in made.argv) >= 1


def test_control_characters_in_a_path_are_refused():
    for path in ("a\nb.gguf", "\x1b[2J.gguf", ""):
        with pytest.raises(AdvisorError, match="control characters"):
            launch.command(MODEL, deployment(), CHAT, path=path)


def test_a_path_that_looks_like_an_option_is_made_a_path():
    assert launch.command(MODEL, deployment(), CHAT, path="--help.gguf").argv[2] == "./--help.gguf"


def test_powershell_words_are_literal():
    made = launch.command(MODEL, deployment(), CHAT, path="it's $(x).gguf")
    assert "'it''s $(x).gguf'" in launch.shell_text(made, launch.Shell.POWERSHELL)


def test_a_modelfile_quotes_spaces_and_quotes():
    assert _quoted("/a/b.gguf") == "/a/b.gguf"
    assert _quoted("/a b/c.gguf") == '"/a b/c.gguf"'
    assert _quoted('/a"b.gguf') == '"""/a"b.gguf"""'


def test_served_names_are_safe_in_every_syntax():
    model = replace(MODEL, model_id='org/x"; $(rm -rf)\n{{y}}')
    name = launch.served_name(model, "Q4_K_M")
    assert name
    assert all(char.isalnum() or char in "._-" for char in name)


def test_published_sampling_defaults_are_found_by_model_and_by_what_it_was_tuned_from():
    catalog = load_catalog()
    oss = sampling_for(catalog.model("gpt-oss-20b"))
    assert oss is not None
    assert (oss.temperature, oss.top_p, oss.top_k) == (1.0, 1.0, None)
    assert oss.citation is not None
    tuned = replace(MODEL, derived_from="Qwen/Qwen3-8B")
    assert sampling_for(tuned).temperature == 0.6
    assert sampling_for(MODEL) is None
    assert sampling_for(catalog.model("Qwen/Qwen3-8B-Base")) is None
    assert sampling_for(replace(MODEL, model_id="qwen/qwen3-vl-8b-instruct")) is None


def test_vllm_reads_tool_calls_by_the_parser_of_the_architecture():
    caller = replace(MODEL, architecture="qwen35", capabilities=MODEL.capabilities | {"tool_use"})
    agents = replace(CHAT, task=Task.AGENTIC)
    plan = deployment(engine_id="vllm", quant_id="FP8", file_format="safetensors")
    made = launch.command(caller, plan, agents)
    assert "--enable-auto-tool-choice" in made.argv
    assert option(made, "--tool-call-parser") == "qwen3_coder"
    assert "--tool-call-parser" not in launch.command(caller, plan, CHAT).argv
    assert "--tool-call-parser" not in launch.command(MODEL, plan, agents).argv


def test_vllm_says_which_option_tool_calls_need_where_the_parser_is_not_known():
    caller = replace(MODEL, architecture="llama", capabilities=MODEL.capabilities | {"tool_use"})
    made = launch.command(
        caller,
        deployment(engine_id="vllm", quant_id="FP8", file_format="safetensors"),
        replace(CHAT, task=Task.AGENTIC),
    )
    assert "--tool-call-parser" not in made.argv
    assert any("--tool-call-parser NAME" in note for note in made.notes)
