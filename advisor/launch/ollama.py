"""Ollama: a Modelfile and the server's environment (names of its ``envconfig`` and ``api/types.go``, 2026)."""

from collections.abc import Iterator, Mapping

from advisor.launch.types import ConfigFile, Launch, Order
from catalog.obtain import file_label

ENGINE_ID = "ollama"
PORT = 11434
#: The cache types its server can be told.
_CACHE_TYPES = frozenset({"f16", "q8_0", "q4_0"})
_SAMPLING_KEYS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "repeat_penalty": "repeat_penalty",
}


def launch(order: Order) -> Launch:
    """The server's environment, the model's Modelfile, and the command that registers it."""
    name = f"{order.served_name}.Modelfile"
    create = ("ollama", "create", order.served_name, "-f", name)
    run = ("ollama", "run", order.served_name)
    return Launch(
        engine_id=ENGINE_ID,
        argv=("ollama", "serve"),
        environment=_environment(order),
        files=(ConfigFile(name=name, text=modelfile(order)),),
        after=(create,) if order.is_embedding else (create, run),
        base_url=order.base_url,
        served_name=order.served_name,
        not_taken=tuple(_not_taken(order)),
        notes=("cache type, flash attention and parallel requests hold for every model of the server",),
    )


def modelfile(order: Order) -> str:
    """The Modelfile: where the weights are, and every parameter it takes."""
    deployment = order.deployment
    parameters: dict[str, str] = {
        "num_ctx": str(order.workload.context_tokens),
        "num_gpu": str(deployment.gpu_layers_count),
        "num_batch": str(deployment.ubatch_tokens),
    }
    if deployment.threads_count is not None:
        parameters["num_thread"] = str(deployment.threads_count)
    if not deployment.mmap:
        parameters["use_mmap"] = "false"
    if len(order.accelerators) == 1:
        card = next(iter(order.accelerators)).rpartition(":")[2]
        parameters |= {} if card == "0" else {"main_gpu": card}
    for name, value in order.sampling.known().items() if order.sampling else ():
        parameters[_SAMPLING_KEYS[name]] = f"{value:g}"
    lines = [f"FROM {_quoted(_source(order))}", *(f"PARAMETER {key} {text}" for key, text in parameters.items())]
    return "\n".join(lines) + "\n"


def _source(order: Order) -> str:
    if order.path is not None:
        return order.path
    if order.repo is not None:
        return f"hf.co/{order.repo}:{file_label(order.repo, order.deployment.quant_id)}"
    return f"./{order.served_name}.gguf"


def _quoted(text: str) -> str:
    """A value that a Modelfile reads back as it was: bare, or between triple quotes where it has its own."""
    if '"' in text:
        return f'"""{text}"""'
    return f'"{text}"' if " " in text or "#" in text else text


def _environment(order: Order) -> dict[str, str]:
    deployment = order.deployment
    environment = {
        "OLLAMA_HOST": f"{order.host}:{order.port}",
        "OLLAMA_FLASH_ATTENTION": "1" if deployment.flash_attention else "0",
        "OLLAMA_NUM_PARALLEL": str(order.workload.concurrency_count),
    }
    if deployment.kv_quant_id in _CACHE_TYPES - {"f16"}:
        environment["OLLAMA_KV_CACHE_TYPE"] = deployment.kv_quant_id
    if len(order.accelerators) > 1:
        environment["OLLAMA_SCHED_SPREAD"] = "1"
    return environment


def _not_taken(order: Order) -> Iterator[str]:
    deployment = order.deployment
    if deployment.kv_quant_id not in _CACHE_TYPES:
        yield f"KV cache {deployment.kv_quant_id}: it takes f16, q8_0 or q4_0"
    if deployment.experts_on_cpu_layers_count:
        yield f"experts of {deployment.experts_on_cpu_layers_count} layers on the CPU: it moves whole layers instead"
    if not deployment.op_offload:
        yield "prompts worked through on the CPU where it holds the weights"
    if len(order.accelerators) > 1:
        yield "the shares of the cards: it spreads layers by the memory that is free"
        if deployment.split_mode == "row":
            yield "split by rows: it splits by layers"
    if order.is_reranker:
        yield "reranking: it has no such interface"
