"""Each target's files: the settings they carry, what they say they cannot, and that they listen here only."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from export_examples import awq_pick, estimate, gguf_pick, mlx_pick, model, stack, tuned_pick
from export_parsers import compose_config, modelfile, program_constants, swap_config, systemd_argv

from advisor.errors import BadRequestError
from advisor.export.pick import CLIENT_KEY, SERVER_KEY, Endpoint, Job, Stack, pick_of, stack_of_plan
from advisor.export.targets import TARGET_IDS, TARGETS, export, find_target
from advisor.export.text import inert, json_text, yaml_text
from advisor.types import StackMode
from catalog.load import load_catalog

ISSUE_TARGETS = (
    *("llama-server", "llama-swap", "ollama", "lm-studio", "vllm", "mlx", "tensorrt-llm", "docker-compose", "systemd"),
    *("open-webui", "opencode", "continue", "langgraph", "n8n", "litellm"),
)
NATIVE = load_catalog().model("gpt-oss-20b")
PICK_MAKERS = {
    "vllm": awq_pick,
    "mlx": mlx_pick,
    "tensorrt-llm": lambda spec=None: awq_pick(spec, quant_id="FP8"),
}


def exported(target_id, pick_or_stack, port=8080):
    made = pick_or_stack if isinstance(pick_or_stack, Stack) else Stack(picks=(pick_or_stack,))
    return export(find_target(target_id), made, Endpoint(port=port))


def text_of(target_id, pick_or_stack, port=8080):
    return exported(target_id, pick_or_stack, port).files[0].text


def test_every_promised_target_is_there():
    assert set(TARGET_IDS) == set(ISSUE_TARGETS)


@pytest.mark.parametrize("target", TARGETS, ids=TARGET_IDS)
def test_a_target_listens_on_this_machine_only_and_holds_no_key(target, monkeypatch):
    for name in (SERVER_KEY, CLIENT_KEY):
        monkeypatch.setenv(name, "sk-secret-of-the-user")
    pick = PICK_MAKERS.get(target.target_id, gguf_pick)()
    made = exported(target.target_id, pick, port=9123)
    text = "".join(file.text for file in made.files)
    assert "sk-secret" not in text
    assert re.search(r"127\.0\.0\.1|@local", text)
    outside = re.findall(r"(?:--host|host|HOST)[ =:'\"\-\n]*0\.0\.0\.0", text)
    assert not outside or target.target_id == "docker-compose"
    assert target.target_id in ("ollama", "lm-studio", "llama-swap") or "9123" in text


@pytest.mark.parametrize("text", ["llama", "nosuch", "", "LLAMA-SERVE\n", "x" * 500])
def test_an_unknown_target_lists_them_in_one_line(text):
    with pytest.raises(BadRequestError) as caught:
        find_target(text)
    assert all(target_id in str(caught.value) for target_id in TARGET_IDS)
    assert len(str(caught.value)) < 400


# --- what is carried -------------------------------------------------------------------------------


def test_llama_server_gets_every_setting():
    text = text_of("llama-server", tuned_pick())
    for words in ("-c 12288", "-np 3", "-ngl", "--n-cpu-moe 2", "-ctk q8_0", "-ctv q8_0", "-t 6", "-ub 256", "--alias"):
        assert words in text
    assert text.startswith("#!/bin/sh\n")


def test_ollama_gets_context_layers_and_threads_and_its_server_the_cache_type():
    made = text_of("ollama", tuned_pick())
    parameters = modelfile(made)["PARAMETER"]
    assert {"num_ctx 4096", "num_thread 6", "num_batch 256", "use_mmap false"} <= set(parameters)
    assert "OLLAMA_KV_CACHE_TYPE=q8_0" in made
    assert "OLLAMA_NUM_PARALLEL=3" in made
    assert "cannot take: experts of 2 layers" in made


def test_a_cache_type_that_ollama_has_not_is_said():
    made = exported("ollama", gguf_pick(kv_quant_id="q5_1"))
    assert any("KV cache q5_1" in note for note in made.notes)
    assert "OLLAMA_KV_CACHE_TYPE" not in made.files[0].text


def test_lm_studio_gets_its_own_keys():
    made = exported("lm-studio", tuned_pick())
    fields = {field["key"]: field["value"] for field in json.loads(made.files[0].text)["load"]["fields"]}
    assert fields["llm.load.contextLength"] == 4096
    assert fields["llm.load.llama.acceleration.offloadRatio"] == 0.625
    assert fields["llm.load.llama.kCacheQuantizationType"] == {"checked": True, "value": "q8_0"}
    assert fields["llm.load.numCpuExpertLayersRatio"] == 0.125
    assert fields["llm.load.llama.tryMmap"] is False
    (caveat,) = [note for note in made.notes if "cannot take" in note]
    assert "3 users at a time" in caveat
    assert "micro-batch 256" in caveat


def test_lm_studio_gets_published_sampling_defaults():
    made = text_of("lm-studio", gguf_pick(model("Qwen/Qwen3-8B", display_name="Qwen3 8B")))
    fields = {field["key"]: field["value"] for field in json.loads(made)["operation"]["fields"]}
    assert fields["llm.prediction.temperature"] == 0.6
    assert fields["llm.prediction.topPSampling"] == {"checked": True, "value": 0.95}


def test_a_keys_and_values_cache_of_two_types_is_carried():
    made = text_of("lm-studio", gguf_pick(kv_quant_id="q8_0/q4_0"))
    fields = {field["key"]: field["value"] for field in json.loads(made)["load"]["fields"]}
    assert fields["llm.load.llama.vCacheQuantizationType"]["value"] == "q4_0"


@pytest.mark.parametrize("target_id", ["open-webui", "opencode", "continue", "langgraph", "n8n", "litellm"])
def test_a_client_says_which_settings_are_the_servers(target_id):
    made = exported(target_id, tuned_pick())
    said = " ".join(made.notes) + made.files[0].text
    for words in ("KV cache q8_0", "6 threads", "experts of 2 layers on the CPU", "connects to a server"):
        assert words in said


def test_systemd_runs_the_same_command_as_the_script():
    pick = tuned_pick()
    assert systemd_argv(text_of("systemd", pick))[1:] == list(pick.launch(port=8080).argv)


def test_the_engines_variables_are_carried():
    pick = awq_pick(layers_by_device={"cuda:1": 16})
    assert "export CUDA_VISIBLE_DEVICES=1" in text_of("vllm", pick)
    assert "CUDA_VISIBLE_DEVICES=1" in systemd_argv(text_of("systemd", pick))
    assert swap_config(text_of("llama-swap", pick))["models"][pick.name]["env"] == ["CUDA_VISIBLE_DEVICES=1"]
    service = compose_config(text_of("docker-compose", pick))["services"][pick.name]
    assert service["environment"]["CUDA_VISIBLE_DEVICES"] == "1"
    assert service["entrypoint"] == ["vllm"]


def test_containers_publish_on_loopback_and_reach_the_card():
    services = compose_config(text_of("docker-compose", gguf_pick(backend="cuda", layers_by_device={"cuda:0": 16})))
    for service in services["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    engine = services["services"]["tiny-chat-1b-q4_k_m"]
    assert engine["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    assert engine["image"].endswith("server-cuda")


def test_a_local_file_is_mounted_read_only():
    pick = gguf_pick(local_path="/srv/models/tiny.gguf")
    service = compose_config(text_of("docker-compose", pick))["services"][pick.name]
    assert service["volumes"] == [
        {"type": "bind", "source": "/srv/models/tiny.gguf", "target": "/models/tiny.gguf", "read_only": True}
    ]
    assert "/models/tiny.gguf" in service["command"]


def test_the_mac_gpu_is_out_of_a_containers_reach():
    made = exported("docker-compose", gguf_pick(backend="metal", layers_by_device={"metal:0": 16}))
    assert any("cannot use the GPU" in note for note in made.notes)


def test_mlx_is_called_by_its_repository():
    made = program_constants(text_of("langgraph", mlx_pick()))
    assert made["model"] == "acme/Tiny-Chat-1B-MLX-4bit"
    entry = swap_config(text_of("llama-swap", mlx_pick()))["models"]["tiny-chat-1b-mlx-4bit"]
    assert entry["useModelName"] == "acme/Tiny-Chat-1B-MLX-4bit"


def test_tensorrt_llm_brings_the_file_its_command_reads():
    script, options = exported("tensorrt-llm", awq_pick(quant_id="FP8")).files
    assert options.name in script.text
    assert "kv_cache_config" in yaml.safe_load(options.text)


def test_a_workflow_stays_the_same_for_the_same_pick():
    assert text_of("n8n", gguf_pick()) == text_of("n8n", gguf_pick())
    nodes = {node["name"]: node for node in json.loads(text_of("n8n", gguf_pick()))["nodes"]}
    assert nodes["Local model"]["parameters"]["options"]["baseURL"] == "http://127.0.0.1:8080/v1"
    assert "credentials" not in nodes["Local model"]


# --- formats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target_id", "pick", "said"),
    [
        ("tensorrt-llm", gguf_pick(), "acme/Tiny-Chat-1B:FP8"),
        ("vllm", gguf_pick(), "acme/Tiny-Chat-1B:AWQ-4bit"),
        ("mlx", gguf_pick(), "acme/Tiny-Chat-1B:MLX-4bit"),
        ("llama-server", awq_pick(), "acme/Tiny-Chat-1B:Q4_K_M"),
        ("ollama", mlx_pick(), "acme/Tiny-Chat-1B:Q4_K_M"),
        ("lm-studio", awq_pick(), "acme/Tiny-Chat-1B:Q4_K_M"),
        ("tensorrt-llm", awq_pick(), "acme/Tiny-Chat-1B:FP8"),
    ],
)
def test_a_format_that_cannot_be_loaded_names_one_that_can(target_id, pick, said):
    with pytest.raises(BadRequestError, match="cannot load") as caught:
        exported(target_id, pick)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target_id", "pick", "said"),
    [
        ("vllm", gguf_pick(NATIVE, quant_id="MXFP4_MOE"), "openai/gpt-oss-20b:MXFP4"),
        ("tensorrt-llm", gguf_pick(NATIVE, quant_id="MXFP4_MOE"), "openai/gpt-oss-20b:MXFP4"),
        ("ollama", awq_pick(NATIVE, quant_id="MXFP4"), "openai/gpt-oss-20b:MXFP4_MOE"),
        ("lm-studio", awq_pick(NATIVE, quant_id="MXFP4"), "openai/gpt-oss-20b:MXFP4_MOE"),
        ("mlx", gguf_pick(NATIVE, quant_id="MXFP4_MOE"), "openai/gpt-oss-20b:MLX-4bit"),
    ],
)
def test_weights_of_a_native_format_are_sent_to_their_other_file(target_id, pick, said):
    with pytest.raises(BadRequestError, match=f"{re.escape(said)}( |$)"):
        exported(target_id, pick)


def test_a_model_that_nobody_converted_is_sent_where_it_runs():
    spec = replace(model(), repos={}, citation=None)
    with pytest.raises(BadRequestError, match="--for llama-server"):
        exported("mlx", gguf_pick(spec))


@pytest.mark.parametrize("target_id", ["llama-swap", "docker-compose", "systemd"])
def test_weights_run_on_the_engine_that_loads_them(target_id):
    assert "vllm" in text_of(target_id, awq_pick())


def test_an_engine_that_reads_a_file_beside_it_goes_to_its_own_target():
    with pytest.raises(BadRequestError, match="--for tensorrt-llm"):
        exported("systemd", awq_pick(quant_id="FP8", engine_id="tensorrt-llm"))


# --- stacks ----------------------------------------------------------------------------------------


def test_a_swapped_stack_keeps_the_small_and_swaps_the_large():
    groups = swap_config(text_of("llama-swap", stack(StackMode.SWAPPED)))["groups"]
    assert groups["in-turn"]["swap"] is True
    assert len(groups["in-turn"]["members"]) == 2
    assert groups["resident"] == {
        "swap": False,
        "exclusive": False,
        "persistent": True,
        "members": ["embed-1b-q4_k_m", "rerank-1b-q4_k_m"],
    }


def test_a_co_resident_stack_is_one_group_and_one_container_each():
    made = stack()
    assert len(swap_config(text_of("llama-swap", made))["groups"]["resident"]["members"]) == 4
    services = compose_config(text_of("docker-compose", made))["services"]
    published = [service["ports"][0] for name, service in services.items() if name != "open-webui"]
    assert published == [f"127.0.0.1:{port}:8080" for port in (8080, 8081, 8082, 8083)]
    webui = services["open-webui"]["environment"]
    assert webui["RAG_EMBEDDING_MODEL"] == "embed-1b-q4_k_m"
    assert webui["RAG_EXTERNAL_RERANKER_URL"] == "http://rerank-1b-q4_k_m:8080/v1/rerank"
    assert webui["OPENAI_API_BASE_URLS"].count(";") == 1


def test_containers_do_not_take_turns():
    with pytest.raises(BadRequestError, match="--for llama-swap"):
        exported("docker-compose", stack(StackMode.SWAPPED))


def test_a_stack_gives_every_client_the_right_roles():
    models = yaml.safe_load(text_of("continue", stack()))["models"]
    assert [entry["roles"] for entry in models] == [
        ["chat", "edit", "apply", "autocomplete"],
        ["chat", "edit", "apply"],
        ["embed"],
        ["rerank"],
    ]
    modes = [entry["model_info"]["mode"] for entry in yaml.safe_load(text_of("litellm", stack()))["model_list"]]
    assert modes == ["chat", "chat", "embedding", "rerank"]
    provider = json.loads(text_of("opencode", stack()))["provider"]["local"]
    assert list(provider["models"]) == ["tiny-chat-1b-q4_k_m", "coder-7b-q4_k_m"]


def test_a_target_for_one_model_names_those_that_take_several():
    with pytest.raises(BadRequestError, match="llama-swap, docker-compose"):
        exported("systemd", stack())


def test_jobs_of_a_stack_document_are_kept():
    from export_examples import stack_plan

    class OneModel:
        def model(self, model_id):
            return model(model_id)

    made = stack_of_plan(OneModel(), stack_plan(stack(StackMode.SWAPPED)))
    assert made.mode is StackMode.SWAPPED
    assert [pick.jobs for pick in made.picks][2:] == [(Job.EMBEDDING,), (Job.RERANKER,)]
    assert [pick.resident for pick in made.picks] == [False, False, True, True]


# --- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("a\x1b]0;title\x07b", "ab"),
        ("one\ntwo\r\nthree", "one two three"),
        ("right\u202eleft\u200b", "rightleft"),
        ("\x00\x01", "unnamed"),
        ("日本 é", "日本 é"),
    ],
)
def test_names_become_one_visible_line(raw, shown):
    assert inert(raw) == shown


def test_escaped_characters_come_back():
    value = {"a{b": ["{env:HOME}", "plain"], "c": "$${x}"}
    assert json.loads(json_text(value, escaping="{")) == value
    assert "{env" not in json_text(value, escaping="{")
    assert yaml.safe_load(yaml_text(value, escaping="$")) == value
    assert "$" not in yaml_text(value, escaping="$")


def test_a_pick_is_named_safely():
    spec = model("acme/../../etc $(id)")
    assert re.fullmatch(r"[a-z0-9._-]+", pick_of(spec, estimate(spec)).name)
