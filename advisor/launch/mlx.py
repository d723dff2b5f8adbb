"""MLX's ``mlx_lm.server``: option names of its argument parser (0.32, October 2026)."""

from collections.abc import Iterator, Mapping

from advisor.launch.types import Launch, Order

ENGINE_ID = "mlx"
PORT = 8080
#: Bits per cached number, by the cache type that was planned.
_CACHE_BITS: Mapping[str, int] = {"q8_0": 8, "q4_0": 4, "q4_1": 4}
_SAMPLING_FLAGS: Mapping[str, str] = {
    "temperature": "--temp",
    "top_p": "--top-p",
    "top_k": "--top-k",
    "min_p": "--min-p",
}


def launch(order: Order) -> Launch:
    """The server with the settings it takes; the rest is said."""
    return Launch(
        engine_id=ENGINE_ID,
        argv=("mlx_lm.server", *_args(order)),
        base_url=order.base_url,
        served_name=order.path or order.repo or order.model.model_id,
        not_taken=tuple(_not_taken(order)),
        notes=tuple(_notes(order)),
    )


def _args(order: Order) -> tuple[str, ...]:
    deployment, users = order.deployment, str(order.workload.concurrency_count)
    args = [
        *("--model", order.path or order.repo or order.model.model_id),
        *("--max-tokens", str(order.workload.output_tokens)),
        *("--decode-concurrency", users, "--prompt-concurrency", users),
        *("--prefill-step-size", str(deployment.batch_tokens)),
    ]
    bits = _CACHE_BITS.get(deployment.kv_quant_id)
    if bits is not None:
        args += ["--kv-bits", str(bits)]
    for name, value in order.sampling.known().items() if order.sampling else ():
        if name in _SAMPLING_FLAGS:
            args += [_SAMPLING_FLAGS[name], f"{value:g}"]
    return (*args, "--host", order.host, "--port", str(order.port))


def _not_taken(order: Order) -> Iterator[str]:
    deployment = order.deployment
    yield f"context {order.workload.context_tokens}: its cache grows with the conversation, without a limit"
    if deployment.kv_quant_id not in {"f16", "bf16", "auto", *_CACHE_BITS}:
        yield f"KV cache {deployment.kv_quant_id}: it has 16-, 8- and 4-bit caches"
    if order.is_embedding or order.is_reranker:
        yield "embeddings and reranking: its server only answers in words"
    unknown = [name for name in (order.sampling.known() if order.sampling else ()) if name not in _SAMPLING_FLAGS]
    if unknown:
        yield f"sampling default {', '.join(unknown)}: send it with each request"


def _notes(order: Order) -> Iterator[str]:
    if order.deployment.kv_quant_id in _CACHE_BITS:
        yield "a quantised cache turns batching off: requests are answered one after another"
