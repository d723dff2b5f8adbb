"""vLLM's ``vllm serve``: option names of its ``engine/arg_utils.py`` and ``entrypoints`` (0.33, November 2026)."""

import json
import math
from collections.abc import Iterator, Mapping

from advisor.launch.sources import PLAIN, format_kind
from advisor.launch.tool_parsers import tool_parser
from advisor.launch.types import Launch, Order
from advisor.types import Task
from catalog.units import GIB

ENGINE_ID = "vllm"
PORT = 8000
#: Share of a device's memory it may take: what the memory plan counts on (see ``advisor.memory.plan``).
MEMORY_FRAC = 0.9
#: What its cache types are called: it has 16-bit and 8-bit floats.
_CACHE_TYPES: Mapping[str, str] = {
    "f16": "auto",
    "bf16": "auto",
    "auto": "auto",
    "fp8": "fp8",
    "fp8_e4m3": "fp8_e4m3",
    "fp8_e5m2": "fp8_e5m2",
    "q8_0": "fp8",
}
#: How it packs plain weights itself while loading, by the quantisation that was planned.
_ONLINE: Mapping[str, str] = {"fp8": "fp8", "int8": "int8_per_channel_weight_only"}
_SAMPLING_KEYS: Mapping[str, str] = {"repeat_penalty": "repetition_penalty"}


def launch(order: Order) -> Launch:
    """The server with the settings it takes; the rest is said."""
    return Launch(
        engine_id=ENGINE_ID,
        argv=("vllm", "serve", *_args(order)),
        environment=_environment(order),
        base_url=order.base_url,
        served_name=order.served_name,
        not_taken=tuple(_not_taken(order)),
        notes=tuple(_notes(order)),
    )


def _args(order: Order) -> tuple[str, ...]:
    deployment, workload = order.deployment, order.workload
    args = [
        order.path or order.repo or order.model.model_id,
        *("--max-model-len", str(workload.context_tokens)),
        *("--max-num-seqs", str(workload.concurrency_count)),
        *_batch_args(order),
        *_parallel_args(order),
    ]
    if deployment.backend != "cpu":
        args += ["--gpu-memory-utilization", f"{MEMORY_FRAC:g}"]
    cache_type = _CACHE_TYPES.get(deployment.kv_quant_id)
    if cache_type not in (None, "auto"):
        args += ["--kv-cache-dtype", str(cache_type)]
    online = _packed_while_loading(order)
    if online is not None:
        args += ["--quantization", online]
    if order.is_embedding or order.is_reranker:
        args += ["--runner", "pooling"]
    return (*args, *_tool_args(order), *_sampling_args(order), *_serve_args(order))


def _tool_args(order: Order) -> tuple[str, ...]:
    """Without these it refuses the requests of agents, which let the model choose its tools."""
    parser = tool_parser(order.model.architecture) if _calls_tools(order) else None
    return ("--enable-auto-tool-choice", "--tool-call-parser", parser) if parser else ()


def _calls_tools(order: Order) -> bool:
    return order.workload.task in (Task.AGENTIC, Task.CODING) and "tool_use" in order.model.capabilities


def _batch_args(order: Order) -> tuple[str, ...]:
    """The batch that the memory plan counts on; large devices would get a larger one. Pooling takes whole texts."""
    if order.is_embedding or order.is_reranker:
        return ()
    batch_tokens = max(order.deployment.batch_tokens, order.workload.concurrency_count)
    return "--max-num-batched-tokens", str(batch_tokens)


def _parallel_args(order: Order) -> tuple[str, ...]:
    """Rows of every matrix side by side, or layers one after another."""
    count = len(order.accelerators)
    if count < 2:
        return ()
    option = "--tensor-parallel-size" if order.deployment.split_mode == "row" else "--pipeline-parallel-size"
    return option, str(count)


def _packed_while_loading(order: Order) -> str | None:
    """What to pack plain weights into, where nobody publishes them packed."""
    kind = format_kind(order.deployment.quant_id, order.deployment.file_format)
    is_plain = order.path is None and order.repo in (None, order.model.model_id)
    return _ONLINE.get(kind) if is_plain and kind != PLAIN else None


def _sampling_args(order: Order) -> tuple[str, ...]:
    if order.sampling is None:
        return ()
    values = {_SAMPLING_KEYS.get(name, name): value for name, value in order.sampling.known().items()}
    return "--override-generation-config", json.dumps(values)


def _serve_args(order: Order) -> tuple[str, ...]:
    return "--served-model-name", order.served_name, "--host", order.host, "--port", str(order.port)


def _environment(order: Order) -> dict[str, str]:
    cards = [device.rpartition(":")[2] for device in order.accelerators if device.startswith("cuda:")]
    if cards and cards != [str(index) for index in range(len(cards))]:
        return {"CUDA_VISIBLE_DEVICES": ",".join(cards)}
    if order.deployment.backend == "cpu" and order.memory is not None:
        kv_bytes = sum(device.kv_bytes for device in order.memory.devices)
        return {"VLLM_CPU_KVCACHE_SPACE": str(max(1, math.ceil(kv_bytes / GIB)))}
    return {}


def _not_taken(order: Order) -> Iterator[str]:
    deployment = order.deployment
    if deployment.kv_quant_id not in _CACHE_TYPES:
        yield f"KV cache {deployment.kv_quant_id}: it has 16-bit and fp8 caches"
    if deployment.experts_on_cpu_layers_count:
        yield f"experts of {deployment.experts_on_cpu_layers_count} layers on the CPU"
    if order.accelerators and deployment.layers_by_device.get("cpu"):
        yield f"{deployment.layers_by_device['cpu']} layers on the CPU"


def _notes(order: Order) -> Iterator[str]:
    if order.deployment.kv_quant_id == "q8_0":
        yield "its 8-bit cache is fp8, not q8_0"
    if _calls_tools(order) and tool_parser(order.model.architecture) is None:
        yield "tool calls need --enable-auto-tool-choice --tool-call-parser NAME; the model's card names its parser"
    if order.accelerators:
        yield f"it takes {MEMORY_FRAC:.0%} of the device whatever the model needs: the rest becomes KV cache"
