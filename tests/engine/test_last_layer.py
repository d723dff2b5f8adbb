"""Which prompt tokens pass the last feed-forward: the rows of operations in the graph of the installed llama.cpp."""

import ctypes
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.twins.twin import write_twin
from catalog.architectures.evaluation import works_through_last_ffn
from catalog.load import load_catalog

pytestmark = pytest.mark.engine

PROMPT_TOKENS = 8
LAYERS_COUNT = 4
MODELS = (
    "CohereLabs/North-Mini-Code-1.0",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "LiquidAI/LFM2-700M",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "Qwen/Qwen3-Coder-Next",
    "Qwen/Qwen3.5-0.8B",
    "google/gemma-3-1b-it",
    "google/gemma-3n-E2B",
    "ibm-granite/granite-3.1-1b-a400m-instruct",
    "inclusionAI/Ling-3.0-tiny",
    "openai/gpt-oss-20b",
)


@pytest.fixture(scope="module")
def engine():
    llama_cpp = pytest.importorskip("llama_cpp.llama_cpp")
    llama_cpp.llama_backend_init()
    return llama_cpp


@pytest.fixture(scope="module")
def base(engine):
    """The library that knows an operation's name and rows."""
    found = next(Path(engine.__file__).parent.joinpath("lib").glob("*ggml-base.*"))
    library = ctypes.CDLL(str(found))
    library.ggml_get_name.argtypes, library.ggml_get_name.restype = [ctypes.c_void_p], ctypes.c_char_p
    library.ggml_nrows.argtypes, library.ggml_nrows.restype = [ctypes.c_void_p], ctypes.c_int64
    return library


def small(model):
    """The model with few experts and words, which its graph does not depend on."""
    geometry = model.geometry
    experts = max(16, geometry.expert_used_count) if geometry.expert_count else 0
    return replace(model, geometry=replace(geometry, expert_count=experts, vocab_count=1024))


def rows_by_operation(engine, base, path):
    """Rows of each operation of one prompt whose last token's logits alone are wanted."""
    rows = {}
    callback_type = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)

    @callback_type
    def see(operation, ask, _):
        if ask:
            rows[base.ggml_get_name(operation).decode()] = base.ggml_nrows(operation)
        return False

    model_params = engine.llama_model_default_params()
    model_params.use_extra_bufts = False
    model = engine.llama_model_load_from_file(str(path).encode(), model_params)
    params = engine.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.n_threads = params.n_threads_batch = 1
    params.cb_eval = ctypes.cast(see, type(params.cb_eval))
    context = engine.llama_init_from_model(model, params)
    tokens = (engine.llama_token * PROMPT_TOKENS)(*range(1, PROMPT_TOKENS + 1))
    assert engine.llama_decode(context, engine.llama_batch_get_one(tokens, PROMPT_TOKENS)) == 0
    engine.llama_free(context)
    engine.llama_model_free(model)
    return rows


@pytest.mark.parametrize("model_id", MODELS)
def test_the_last_feed_forward_sees_the_tokens_that_are_counted(engine, base, tmp_path, model_id):
    model = small(load_catalog().models[model_id])
    layers = range(model.geometry.layers_count)[-LAYERS_COUNT:]
    write_twin(model, "Q8_0", tmp_path / "hollow.gguf", layers=layers, hollow=True)
    rows = rows_by_operation(engine, base, tmp_path / "hollow.gguf")
    last = [count for name, count in rows.items() if "ff" in name and name.endswith(f"-{LAYERS_COUNT - 1}")]
    assert last
    whole = all(count % PROMPT_TOKENS == 0 for count in last)
    assert whole == works_through_last_ffn(model.architecture)
