"""llama.cpp's ``llama-server``: option names of its ``common/arg.cpp`` (build b11434, October 2026)."""

from collections.abc import Mapping

from advisor.launch.types import Launch, Order
from catalog.obtain import file_label
from catalog.sampling import Sampling

ENGINE_ID = "llama.cpp"
PORT = 8080
#: Backends whose devices are numbered cards, among which one is chosen.
_CARDS = frozenset({"cuda", "rocm", "vulkan", "sycl"})
_SAMPLING_FLAGS: Mapping[str, str] = {
    "temperature": "--temp",
    "top_p": "--top-p",
    "top_k": "--top-k",
    "min_p": "--min-p",
    "presence_penalty": "--presence-penalty",
    "repeat_penalty": "--repeat-penalty",
}


def launch(order: Order) -> Launch:
    """The server with every load-time setting of the plan."""
    notes = []
    if not order.deployment.mmap:
        notes.append("builds before mid-2026 call --load-mode none --no-mmap")
    return Launch(
        engine_id=ENGINE_ID,
        argv=("llama-server", *load_args(order), *_serve_args(order)),
        base_url=order.base_url,
        served_name=order.served_name,
        notes=tuple(notes),
    )


def load_args(order: Order) -> tuple[str, ...]:
    """Arguments that load the model: weights, context, placement, cache, threads, batches, sampling."""
    deployment, workload = order.deployment, order.workload
    key_id, _, value_id = deployment.kv_quant_id.partition("/")
    args = [
        *_source_args(order),
        *("-c", str(workload.context_tokens * workload.concurrency_count)),
        *("-np", str(workload.concurrency_count)),
        *_placement_args(order),
        *("-fa", "on" if deployment.flash_attention else "off"),
        *(() if deployment.kv_quant_id == "f16" else ("-ctk", key_id, "-ctv", value_id or key_id)),
        *_batch_args(order),
    ]
    if deployment.threads_count is not None:
        args += ["-t", str(deployment.threads_count), "-tb", str(deployment.threads_count)]
    if not deployment.mmap:
        args += ["--load-mode", "none"]
    if not deployment.op_offload:
        args.append("--no-op-offload")
    return (*args, *_job_args(order), *sampling_args(order.sampling))


def _source_args(order: Order) -> tuple[str, ...]:
    if order.path is not None:
        return "-m", order.path
    if order.repo is not None:
        return "-hf", f"{order.repo}:{file_label(order.repo, order.deployment.quant_id)}"
    return "-m", f"{order.served_name}.gguf"


def _placement_args(order: Order) -> list[str]:
    """Whole layers on cards; a card that is not used must be named away, or it gets its share."""
    deployment, cards = order.deployment, order.accelerators
    args = ["-ngl", str(deployment.gpu_layers_count)]
    if deployment.experts_on_cpu_layers_count:
        args += ["--n-cpu-moe", str(deployment.experts_on_cpu_layers_count)]
    if len(cards) > 1:
        *first, last = cards.values()  # the output layer counts as one more on the last
        args += ["-sm", deployment.split_mode, "-ts", ",".join(map(str, (*first, last + 1)))]
    elif cards and deployment.backend in _CARDS:
        args += ["-sm", "none", "-mg", next(iter(cards)).rpartition(":")[2]]
    return args


def _batch_args(order: Order) -> tuple[str, ...]:
    """Batch sizes; a model without causal attention takes a text in one micro-batch or not at all."""
    batch, ubatch = order.deployment.batch_tokens, order.deployment.ubatch_tokens
    if order.is_embedding or order.is_reranker:
        ubatch = max(ubatch, order.workload.context_tokens)
        batch = max(batch, ubatch)
    return "-b", str(batch), "-ub", str(ubatch)


def _job_args(order: Order) -> tuple[str, ...]:
    if order.is_reranker:
        return ("--reranking",)
    return ("--embeddings",) if order.is_embedding else ("--jinja",)


def sampling_args(sampling: Sampling | None) -> tuple[str, ...]:
    """Sampling defaults as options, those that are known."""
    if sampling is None:
        return ()
    return tuple(word for name, value in sampling.known().items() for word in (_SAMPLING_FLAGS[name], f"{value:g}"))


def _serve_args(order: Order) -> tuple[str, ...]:
    return "--alias", order.served_name, "--host", order.host, "--port", str(order.port)
