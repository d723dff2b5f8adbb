"""TensorRT-LLM's ``trtllm-serve``: options of its ``commands/serve.py``, the rest in a YAML file (1.2, 2026)."""

from collections.abc import Iterator, Mapping

from advisor.launch.types import ConfigFile, Launch, Order

ENGINE_ID = "tensorrt-llm"
PORT = 8000
_MEMORY_FRAC = 0.9
_CONFIG_NAME = "trtllm.yaml"
#: Tokens of one step, prompts included: enough for a prompt piece beside every decoding user.
_STEP_TOKENS = 8192
_CACHE_TYPES: Mapping[str, str] = {"fp8": "fp8", "fp8_e4m3": "fp8", "q8_0": "fp8", "f16": "auto", "bf16": "auto"}


def launch(order: Order) -> Launch:
    """The server with the settings it takes; the rest is said."""
    return Launch(
        engine_id=ENGINE_ID,
        argv=("trtllm-serve", *_args(order)),
        environment=_environment(order),
        files=(ConfigFile(name=_CONFIG_NAME, text=_config(order)),),
        base_url=order.base_url,
        served_name=order.path or order.repo or order.model.model_id,
        not_taken=tuple(_not_taken(order)),
        notes=tuple(_notes(order)),
    )


def _args(order: Order) -> tuple[str, ...]:
    workload = order.workload
    return (
        order.path or order.repo or order.model.model_id,
        *("--max_batch_size", str(workload.concurrency_count)),
        *("--max_seq_len", str(workload.context_tokens)),
        *("--max_num_tokens", str(_STEP_TOKENS)),
        *_parallel_args(order),
        *("--kv_cache_free_gpu_memory_fraction", f"{_MEMORY_FRAC:g}"),
        *("--extra_llm_api_options", _CONFIG_NAME),
        *("--host", order.host, "--port", str(order.port)),
    )


def _parallel_args(order: Order) -> tuple[str, ...]:
    count = len(order.accelerators)
    if count < 2:
        return ()
    return "--tp_size" if order.deployment.split_mode == "row" else "--pp_size", str(count)


def _config(order: Order) -> str:
    """What has no option of its own. Every value is a word or a number of ours, so YAML needs no quotes."""
    cache_type = _CACHE_TYPES.get(order.deployment.kv_quant_id, "auto")
    return (
        f"enable_chunked_prefill: true\nkv_cache_config: {{dtype: {cache_type}, enable_block_reuse: true}}\n"
        f"cuda_graph_config: {{enable_padding: true, max_batch_size: {order.workload.concurrency_count}}}\n"
    )


def _environment(order: Order) -> dict[str, str]:
    cards = [device.rpartition(":")[2] for device in order.accelerators]
    if cards and cards != [str(index) for index in range(len(cards))]:
        return {"CUDA_VISIBLE_DEVICES": ",".join(cards)}
    return {}


def _not_taken(order: Order) -> Iterator[str]:
    deployment = order.deployment
    if deployment.kv_quant_id not in _CACHE_TYPES:
        yield f"KV cache {deployment.kv_quant_id}: it has 16-bit and fp8 caches"
    if deployment.layers_by_device.get("cpu") or deployment.experts_on_cpu_layers_count:
        yield "layers or experts on the CPU"
    if order.sampling is not None:
        yield "sampling defaults: send them with each request"


def _notes(order: Order) -> Iterator[str]:
    if order.deployment.kv_quant_id == "q8_0":
        yield "its 8-bit cache is fp8, not q8_0"
