"""llama-cpp-python's ``llama_cpp.server``: option names of its settings (0.3.36); one request at a time."""

from collections.abc import Iterator, Mapping

from advisor.launch.types import Launch, Order
from catalog.obtain import file_label

ENGINE_ID = "llama-cpp-python"
PORT = 8000
#: ggml's numbers of the types a cache may have.
_TYPE_NUMBERS: Mapping[str, int] = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
_SPLIT_NUMBERS: Mapping[str, int] = {"none": 0, "layer": 1, "row": 2}


def launch(order: Order) -> Launch:
    """The Python server with the settings it takes."""
    return Launch(
        engine_id=ENGINE_ID,
        argv=("python", "-m", "llama_cpp.server", *load_args(order)),
        base_url=order.base_url,
        served_name=order.served_name,
        not_taken=tuple(_not_taken(order)),
    )


def load_args(order: Order) -> tuple[str, ...]:
    """Arguments after ``python -m llama_cpp.server``."""
    deployment = order.deployment
    key_id, _, value_id = deployment.kv_quant_id.partition("/")
    args = [
        *_source_args(order),
        *("--n_ctx", str(order.workload.context_tokens)),
        *("--n_gpu_layers", str(deployment.gpu_layers_count)),
        *("--flash_attn", str(deployment.flash_attention).lower()),
        *("--n_batch", str(deployment.batch_tokens), "--n_ubatch", str(deployment.ubatch_tokens)),
        *("--use_mmap", str(deployment.mmap).lower(), "--use_mlock", "false"),
    ]
    if deployment.kv_quant_id != "f16":
        types = str(_TYPE_NUMBERS[key_id]), str(_TYPE_NUMBERS[value_id or key_id])
        args += ["--type_k", types[0], "--type_v", types[1]]
    if deployment.threads_count is not None:
        threads = str(deployment.threads_count)
        args += ["--n_threads", threads, "--n_threads_batch", threads]
    if len(order.accelerators) > 1:
        shares = [str(count) for count in order.accelerators.values()]
        args += ["--split_mode", str(_SPLIT_NUMBERS[deployment.split_mode]), "--tensor_split", *shares]
    if order.is_embedding:
        args += ["--embedding", "true"]
    return (*args, "--model_alias", order.served_name, "--host", order.host, "--port", str(order.port))


def _source_args(order: Order) -> tuple[str, ...]:
    if order.path is not None:
        return "--model", order.path
    if order.repo is not None:
        return "--hf_model_repo_id", order.repo, "--model", f"*{file_label(order.repo, order.deployment.quant_id)}.gguf"
    return "--model", f"{order.served_name}.gguf"


def _not_taken(order: Order) -> Iterator[str]:
    if order.deployment.experts_on_cpu_layers_count:
        yield f"experts of {order.deployment.experts_on_cpu_layers_count} layers on the CPU"
    if not order.deployment.op_offload:
        yield "prompts worked through on the CPU where it holds the weights"
    if order.workload.concurrency_count > 1:
        yield f"{order.workload.concurrency_count} users at a time: it answers one request after another"
    if order.sampling is not None:
        yield "sampling defaults: send them with each request"
