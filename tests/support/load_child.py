"""Load a GGUF in llama.cpp and run eight tokens through it; run as a child process, which may crash.

Arguments: GGUF files. One line of JSON for each: the file, and what went wrong (null: nothing).
"""

import json
import sys

import llama_cpp

TOKENS_COUNT = 8
ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR


def problem_of(path: str) -> str | None:
    """What keeps llama.cpp from loading and running the file, or None."""
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
    if not model:
        return "not loaded: " + "".join(errors)[-500:]
    context_params = llama_cpp.llama_context_default_params()
    context_params.n_ctx = context_params.n_batch = context_params.n_ubatch = 64
    context_params.n_threads = context_params.n_threads_batch = 1
    context_params.embeddings = llama_cpp.llama_model_has_encoder(model)
    context = llama_cpp.llama_init_from_model(model, context_params)
    if not context:
        return "no context: " + "".join(errors)[-500:]
    tokens = (llama_cpp.llama_token * TOKENS_COUNT)(*range(1, TOKENS_COUNT + 1))
    code = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, TOKENS_COUNT))
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return f"not run: {code}" if code else None


errors: list[str] = []


@llama_cpp.llama_log_callback
def keep(level: int, message: bytes, _data: object) -> None:
    if level == ERROR_LEVEL:
        errors.append(message.decode("utf-8", "replace"))


if __name__ == "__main__":
    llama_cpp.llama_log_set(keep, None)
    llama_cpp.llama_backend_init()
    for path in sys.argv[1:]:
        errors.clear()
        print(json.dumps([path, problem_of(path)]), flush=True)
