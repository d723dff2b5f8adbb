"""A hostile model name stays one inert string in every target's syntax, read back by that syntax's parser."""

import json
import sys
import unicodedata

import pytest
import yaml
from export_examples import awq_pick, gguf_pick, mlx_pick, model
from export_parsers import (
    compose_config,
    continue_config,
    modelfile,
    n8n_value,
    opencode_config,
    program_constants,
    shell_argv,
    swap_config,
    systemd_argv,
    variables,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor.errors import AdvisorError
from advisor.export.pick import DEFAULT_PORT, Endpoint, Stack, pick_of
from advisor.export.targets import TARGETS, export, find_target
from advisor.export.text import inert

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="scripts are for a POSIX shell")

FRAGMENTS = (
    "'", '"', '"""', "`id`", "$(touch pwned)", "${HOME}", "${PORT}", "${env.HOME}", "$$", "$HOME", "%h", "%%", "%n",
    "{{ 7*7 }}", "={{ $env }}", "={{ '}}' }}", "{env:HOME}", "{file:/etc/passwd}", "${{ secrets.X }}",
    "${{ inputs.Y }}", "#", " # ", ": ", "- ", "&a", "*a", "!!python/object",
    "|", ">", "[", "]", "{", "}", "?", "@", ";", "&&", "\\",
    "\\n", "--host", "-", "~", "null", "yes", "0x1f", "=", "os.environ/HOME", "<script>",
    "é", "日本", "../..", " ", "  ", "x",
)  # fmt: skip
UNSEEN = ("\n", "\r\n", "\t", "\x00", "\x1b[31m", "\x1b]0;title\x07", "\u2028", "\u202e", "\u200b", "\ue000", "\x85")
printable = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=6).map("".join)
anything = st.lists(st.sampled_from(FRAGMENTS + UNSEEN), min_size=1, max_size=6).map("".join)
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
ENDPOINT = Endpoint()


def exported(target_id, pick):
    return export(find_target(target_id), Stack(picks=(pick,)), ENDPOINT).files


def argv_of(pick, engine_id=None):
    return list(pick.launch(port=DEFAULT_PORT, engine_id=engine_id).argv)


def path_of(name):
    return f"/models/{name.replace('/', '_')}.gguf"


@relaxed
@given(name=printable)
def test_a_path_reaches_the_engine_as_it_is(tmp_path, name):
    pick = gguf_pick(model(display_name=name), local_path=path_of(name))
    expected = argv_of(pick)
    assert pick.local_path in expected
    assert shell_argv(exported("llama-server", pick)[0].text, tmp_path) == expected
    assert systemd_argv(exported("systemd", pick)[0].text) == ["/usr/bin/env", *expected]
    swapped = swap_config(exported("llama-swap", pick)[0].text, port=DEFAULT_PORT)["models"][pick.name]
    assert swapped["argv"] == expected
    assert swapped["name"] == pick.label
    assert modelfile(exported("ollama", pick)[0].text)["FROM"] == [pick.local_path]


@relaxed
@given(name=printable)
def test_a_path_reaches_a_container_as_it_is(name):
    pick = gguf_pick(model(display_name=name), local_path=path_of(name))
    service = compose_config(exported("docker-compose", pick)[0].text)["services"][pick.name]
    (mount,) = service["volumes"]
    assert mount["source"] == pick.local_path
    assert mount["target"] == pick.local_path.replace("/models/", "/models/", 1)
    assert service["command"][service["command"].index("-m") + 1] == mount["target"]


@relaxed
@given(name=printable)
def test_a_folder_reaches_the_other_engines_as_it_is(tmp_path, name):
    for target_id, make in (("vllm", awq_pick), ("mlx", mlx_pick)):
        pick = make(model(display_name=name), local_path=path_of(name))
        assert shell_argv(exported(target_id, pick)[0].text, tmp_path) == argv_of(pick, target_id)
    fp8 = awq_pick(model(display_name=name), local_path=path_of(name), quant_id="FP8")
    script, options = exported("tensorrt-llm", fp8)
    assert shell_argv(script.text, tmp_path) == argv_of(fp8, "tensorrt-llm")
    assert isinstance(yaml.safe_load(options.text), dict)


@relaxed
@given(name=anything)
def test_a_label_is_one_line_of_text_in_every_client(tmp_path, name):
    pick = gguf_pick(model(display_name=name))
    assert pick.label == inert(pick.label)
    preset = json.loads(exported("lm-studio", pick)[0].text)
    assert preset["name"] == pick.label
    (provider,) = opencode_config(exported("opencode", pick)[0].text)["provider"].values()
    assert provider["models"][pick.name]["name"] == pick.label
    (continued,) = continue_config(exported("continue", pick)[0].text)["models"]
    assert (continued["name"], continued["model"], continued["apiKey"]) == (pick.label, pick.name, "the-key")
    workflow = json.loads(exported("n8n", pick)[0].text)
    note = next(node for node in workflow["nodes"] if node["name"] == "Note")
    assert pick.label in n8n_value(note["parameters"]["content"])
    assert program_constants(exported("langgraph", pick)[0].text)["model"] == pick.name
    (proxied,) = yaml.safe_load(exported("litellm", pick)[0].text)["model_list"]
    assert proxied["litellm_params"]["model"] == f"openai/{pick.name}"
    assert variables(exported("open-webui", pick)[0].text, tmp_path)["DEFAULT_MODELS"] == pick.name


@relaxed
@given(name=printable)
def test_a_path_that_is_a_models_only_name_is_inert_in_clients_too(tmp_path, name):
    pick = mlx_pick(local_path=path_of(name))  # mlx_lm.server knows a model by its path alone
    (node,) = [node for node in json.loads(exported("n8n", pick)[0].text)["nodes"] if node["name"] == "Local model"]
    assert n8n_value(node["parameters"]["model"]) == pick.local_path
    assert program_constants(exported("langgraph", pick)[0].text)["model"] == pick.local_path
    (proxied,) = yaml.safe_load(exported("litellm", pick)[0].text)["model_list"]
    assert proxied["litellm_params"]["model"] == f"openai/{pick.local_path}"
    assert variables(exported("open-webui", pick)[0].text, tmp_path)["DEFAULT_MODELS"] == pick.local_path
    config = opencode_config(exported("opencode", pick)[0].text)
    assert config["model"] == f"local/{pick.local_path}"
    assert list(config["provider"]["local"]["models"]) == [pick.local_path]


@relaxed
@given(model_id=anything, name=anything)
def test_no_file_holds_a_hidden_character_or_a_comment_that_goes_on(model_id, name):
    spec = model(f"acme/{model_id}", display_name=name)
    for target in TARGETS:
        make = {"vllm": awq_pick, "mlx": mlx_pick}.get(target.target_id, gguf_pick)
        pick = awq_pick(spec, quant_id="FP8") if target.target_id == "tensorrt-llm" else make(spec)
        for file in exported(target.target_id, pick):
            hidden = {char for char in file.text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Co")}
            assert hidden <= {"\n"}, (target.target_id, hidden)
            assert file.name == file.name.strip("./")
            assert "/" not in file.name


@given(hidden=st.sampled_from(("\n", "\r", "\x00", "\x1b[31m", "\u2028", "\u202e")))
def test_a_path_with_hidden_characters_is_refused_everywhere(hidden):
    pick = gguf_pick(local_path=f"/models/a{hidden}b.gguf")
    for target_id in ("llama-server", "llama-swap", "ollama", "docker-compose", "systemd"):
        with pytest.raises(AdvisorError, match="control characters") as caught:
            exported(target_id, pick)
        assert "\n" not in str(caught.value)


@given(repo=st.sampled_from(("--upload-pack=x/y", "a/b c", "a/b;id", "../b", "a/$(id)", "a", "a/b/c", "-o/b")))
def test_a_repository_that_is_none_is_refused(repo):
    spec = model()
    pick = pick_of(spec, gguf_pick(spec).estimate, repo=repo)
    with pytest.raises(AdvisorError, match="repository"):
        exported("llama-server", pick)
