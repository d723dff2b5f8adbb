"""The command that runs a pick with the load-time parameters that were chosen for it."""

import shlex

from advisor.types import Deployment, Workload
from catalog.types import ModelSpec

_ALL_LAYERS = 999


def llama_server_args(
    model: ModelSpec, deployment: Deployment, workload: Workload, *, local_path: str | None = None
) -> tuple[str, ...]:
    """Arguments of llama.cpp's ``llama-server``, one list entry per argument."""
    repos = model.repos.get("gguf", ())
    if local_path is not None:
        source = ["-m", local_path]
    elif repos:
        source = ["-hf", f"{repos[0]}:{deployment.quant_id}"]
    else:
        source = ["-m", f"{model.model_id.rpartition('/')[2]}-{deployment.quant_id}.gguf"]
    args = [*source, "-c", str(workload.context_tokens * workload.concurrency_count)]
    if workload.concurrency_count > 1:
        args += ["-np", str(workload.concurrency_count)]
    args += _placement_args(deployment)
    if deployment.kv_quant_id != "f16":
        args += ["-ctk", deployment.kv_quant_id, "-ctv", deployment.kv_quant_id]
    if deployment.threads_count is not None:
        args += ["-t", str(deployment.threads_count)]
    args += ["-b", str(deployment.batch_tokens), "-ub", str(deployment.ubatch_tokens)]
    args += ["-fa", "on" if deployment.flash_attention else "off"]
    if not deployment.mmap:
        args.append("--no-mmap")
    if "embedding" in model.capabilities:
        args.append("--embeddings")
    else:
        args.append("--jinja")
    return tuple(args)


def _placement_args(deployment: Deployment) -> list[str]:
    if deployment.backend == "cpu":
        return []
    on_devices = {device: count for device, count in deployment.layers_by_device.items() if device != "cpu"}
    everything = "cpu" not in deployment.layers_by_device
    args = ["-ngl", str(_ALL_LAYERS if everything else sum(on_devices.values()))]
    if deployment.experts_on_cpu_layers_count:
        args += ["--n-cpu-moe", str(deployment.experts_on_cpu_layers_count)]
    if len(on_devices) > 1:
        args += ["-sm", deployment.split_mode, "-ts", ",".join(str(count) for count in on_devices.values())]
    return args


def llama_server_command(
    model: ModelSpec, deployment: Deployment, workload: Workload, *, local_path: str | None = None
) -> str:
    """One line for a POSIX shell, every value quoted."""
    return shlex.join(("llama-server", *llama_server_args(model, deployment, workload, local_path=local_path)))
