"""Which engine suits: by chip, operating system, format and number of users; the others with their reason."""

from dataclasses import replace

import pytest

from advisor.engines import requirements
from advisor.engines.choice import engine_options
from advisor.errors import BadRequestError, NothingFitsError
from advisor.machines import from_hardware
from advisor.predict import predict
from advisor.recommendation.recommend import recommend
from advisor.recommendation.request import Request
from advisor.types import Task
from advisor.workloads import make_workload
from catalog.load import load_catalog
from catalog.weights import weigh

CATALOG = load_catalog()


def machine(text):
    return from_hardware(CATALOG.hardware(text), CATALOG)


def options(model_name, quant_id, hardware, users=1, **platform_changes):
    model, here = CATALOG.model(model_name), machine(hardware)
    platform = replace(requirements.platform_of(here, CATALOG), **platform_changes)
    made = predict(model, [weigh(model, quant_id)], here, make_workload(Task.CHAT, concurrency_count=users))
    return {option.engine_id: option for option in engine_options(model, made, platform)}


def test_one_user_on_a_gaming_card_runs_llama_cpp():
    found = options("qwen3-8b", "Q4_K_M", "rtx 4090")
    assert next(iter(found)) == "llama.cpp"
    assert found["vllm"].suits
    assert "one user" in found["vllm"].reason
    assert not found["mlx"].suits


def test_many_users_on_a_card_run_vllm_with_eight_bit_floats():
    found = options("qwen3-8b", "Q4_K_M", "rtx 4090", users=16)
    assert next(iter(found)) == "vllm"
    assert (found["vllm"].quant_id, found["vllm"].repo) == ("FP8", "Qwen/Qwen3-8B-FP8")
    assert "16 users" in found["vllm"].reason


def test_an_ampere_card_is_not_offered_eight_bit_floats():
    found = options("qwen3-8b", "Q4_K_M", "rtx 3090", users=4)
    assert found["vllm"].quant_id != "FP8"


def test_apple_silicon_runs_mlx_where_it_is_published():
    found = options("qwen3.6-35b-a3b", "Q4_K_M", "m4 max 64GiB")
    assert next(iter(found)) == "mlx"
    assert found["mlx"].quant_id.startswith("MLX-")
    assert not found["vllm"].suits
    assert not found["tensorrt-llm"].suits


def test_what_spills_to_the_cpu_is_left_to_llama_cpp():
    found = options("gpt-oss-120b", "MXFP4_MOE", "rtx 3090+96GiB")
    assert [engine_id for engine_id, option in found.items() if option.suits] == ["llama.cpp"]
    assert "CPU" in found["vllm"].reason
    assert "experts" in found["ollama"].reason


@pytest.mark.parametrize(
    ("hardware", "engine_id", "words"),
    [
        ("gtx 1080 ti", "vllm", "7.5"),
        ("rtx 2080 ti", "tensorrt-llm", "8.0"),
        ("epyc 9654+384GiB", "vllm", "CPU"),
        ("epyc 9654+384GiB", "mlx", "Apple"),
        ("rx 7900 xtx", "tensorrt-llm", "NVIDIA"),
        ("radeon rx 6800 xt", "vllm", "RDNA"),
    ],
)
def test_an_engine_that_cannot_run_says_why(hardware, engine_id, words):
    reason = requirements.waiver(engine_id, requirements.platform_of(machine(hardware), CATALOG))
    assert reason is not None
    assert words in reason


def test_on_windows_the_linux_engines_are_sent_to_wsl():
    found = options("qwen3-8b", "Q4_K_M", "rtx 4090", users=16, os="Windows")
    assert "WSL" in found["vllm"].reason
    assert next(iter(found)) == "llama.cpp"


def test_a_machine_refuses_an_engine_with_what_it_could_run():
    here = machine("rtx 4090")
    platform = requirements.platform_of(here, CATALOG)
    with pytest.raises(BadRequestError, match="use --engine llama"):
        requirements.with_engine(here, "mlx", platform)
    with pytest.raises(BadRequestError, match="unknown engine"):
        requirements.check_engine("llamacpp")


def test_speeds_of_an_engine_that_was_not_learnt_from_are_less_sure():
    here = machine("rtx 4090")
    other = requirements.with_engine(here, "vllm", requirements.platform_of(here, CATALOG))
    assert other.devices[0].rates.decode_sigma > here.devices[0].rates.decode_sigma
    assert "llama.cpp" in other.devices[0].rates.source
    same = requirements.with_engine(here, "ollama", requirements.platform_of(here, CATALOG))
    assert same.devices == here.devices


def test_weights_that_an_engine_does_not_load_are_refused_with_those_it_does():
    model = CATALOG.model("qwen3-8b")
    with pytest.raises(BadRequestError, match="FP8"):
        requirements.check_loadable(model, "Q4_K_M", "gguf", "vllm")
    with pytest.raises(BadRequestError, match="Q4_K_M"):
        requirements.check_loadable(model, "AWQ-4bit", "safetensors", "llama.cpp")
    requirements.check_loadable(model, "AWQ-4bit", "safetensors", "vllm")


def test_a_model_trained_in_a_format_is_run_in_it_by_every_engine():
    """A GGUF of gpt-oss has the same experts as the published safetensors, and smaller matrices beside them."""
    oss = CATALOG.model("gpt-oss-20b")
    gguf, safetensors = weigh(oss, "MXFP4_MOE"), weigh(oss, "MXFP4")
    assert gguf.file_bytes == pytest.approx(12.1e9, rel=0.005)
    assert gguf.file_bytes < safetensors.file_bytes
    for engine_id, artifact in (("llama.cpp", gguf), ("ollama", gguf), ("vllm", safetensors)):
        assert requirements.loadable_quant_ids(oss, engine_id) == (artifact.quant_id,)
        assert requirements.named_quant_id(oss, "MXFP4", engine_id) == artifact.quant_id
        requirements.check_loadable(oss, artifact.quant_id, artifact.file_format, engine_id)
    assert requirements.loadable_quant_ids(oss, "tensorrt-llm") == ("MXFP4",)
    assert requirements.named_quant_id(oss, "MXFP4", None) == "MXFP4_MOE"
    with pytest.raises(BadRequestError, match=r"llama\.cpp does not load"):
        requirements.check_loadable(oss, "MXFP4", safetensors.file_format, "llama.cpp")
    with pytest.raises(BadRequestError, match="it loads MXFP4 of it"):
        requirements.check_loadable(oss, "MXFP4_MOE", gguf.file_format, "vllm")


def test_a_format_is_only_taken_for_its_gguf_where_one_is_meant():
    other = CATALOG.model("qwen3-30b-a3b")
    assert requirements.named_quant_id(other, "MXFP4", None) == "MXFP4"
    assert requirements.named_quant_id(other, "MXFP4", "llama.cpp") == "MXFP4_MOE"
    assert requirements.named_quant_id(other, "FP8", "llama.cpp") == "FP8"


def test_many_users_get_the_published_weights_of_a_pick_that_is_a_gguf():
    found = options("gpt-oss-20b", "MXFP4_MOE", "rtx 4090", users=16)
    assert (found["vllm"].quant_id, found["vllm"].repo) == ("MXFP4", "openai/gpt-oss-20b")
    assert (found["llama.cpp"].quant_id, found["llama.cpp"].repo) == ("MXFP4_MOE", "ggml-org/gpt-oss-20b-GGUF")


def test_named_weights_choose_their_engine():
    assert requirements.usual_engine("Q4_K_M", "gguf") == "llama.cpp"
    assert requirements.usual_engine("AWQ-4bit", "safetensors") == "vllm"
    assert requirements.usual_engine("MLX-4bit", "mlx") == "mlx"


@pytest.mark.parametrize(
    ("hardware", "engine_id", "program", "kinds"),
    [
        ("rtx 4090", "vllm", "vllm serve", ("AWQ", "FP8", "GPTQ", "INT8", "NVFP4", "BF16", "MXFP4")),
        ("m4 max 64GiB", "mlx", "mlx_lm.server", ("MLX",)),
        ("h100 sxm", "tensorrt-llm", "trtllm-serve", ("FP8", "BF16", "MXFP4")),
        ("rtx 4090", "ollama", "ollama create", ("Q", "IQ", "MXFP4", "F16")),
    ],
)
def test_a_recommendation_for_an_engine_ranks_what_it_loads_with_its_command(hardware, engine_id, program, kinds):
    here = machine(hardware)
    here = requirements.with_engine(here, engine_id, requirements.platform_of(here, CATALOG))
    request = Request(workload=make_workload(Task.CHAT), top_count=3)
    made = recommend(CATALOG, here, request, created_at="", tool_version="")
    for choice in made.ranked:
        assert choice.estimate.engine_id == engine_id
        assert choice.estimate.quant_id.startswith(kinds)
        assert choice.estimate.deployment.experts_on_cpu_layers_count == 0
        assert program in choice.command
        assert {option.engine_id for option in choice.engines} == set(requirements.ENGINE_IDS)


@pytest.mark.parametrize("hardware", ["rtx 3090*2", "rtx 3090*4", "h100 sxm*8"])
def test_cards_that_can_work_at_once_do_so_even_for_one_user(hardware):
    """llama.cpp's take turns; the predicted speeds say the same."""
    found = options("qwen3-32b", "Q4_K_M", hardware)
    assert next(iter(found)) == "vllm"
    assert "at once" in found["vllm"].reason
    assert "take turns" in found["llama.cpp"].reason


def test_three_cards_or_amds_run_llama_cpp():
    for hardware in ("rtx 3090*3", "7900 xtx*2"):
        assert next(iter(options("qwen3-32b", "Q4_K_M", hardware))) == "llama.cpp"


@pytest.mark.parametrize(
    ("task", "engine_id", "words"),
    [
        (Task.VISION, "mlx", "reads no images"),
        (Task.EMBEDDING, "mlx", "words only"),
        (Task.EMBEDDING, "tensorrt-llm", "words only"),
    ],
)
def test_an_engine_whose_server_cannot_do_the_task_is_not_planned_with(task, engine_id, words):
    assert words in requirements.task_waiver(engine_id, task)
    here = machine("m4 max 64GiB" if engine_id == "mlx" else "h100 sxm")
    here = requirements.with_engine(here, engine_id, requirements.platform_of(here, CATALOG))
    with pytest.raises(NothingFitsError, match=f"for {task}; .*{words}.*--engine llama.cpp"):
        recommend(CATALOG, here, Request(workload=make_workload(task)), created_at="", tool_version="")


def test_other_engines_see_and_embed():
    for engine_id in ("llama.cpp", "vllm", "ollama"):
        assert requirements.task_waiver(engine_id, Task.VISION) is None
        assert requirements.task_waiver(engine_id, Task.EMBEDDING) is None
