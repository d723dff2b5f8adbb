"""How a pick is started: each engine's command with the load-time settings that were chosen for it.

`command` makes a `Launch`, a plain value; `shell_text` writes it for a shell, which is the last step and
the only one that quotes. A setting that an engine cannot take stands in ``Launch.not_taken``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType

from advisor.errors import BadRequestError
from advisor.launch import llama_cpp_python, llama_server, mlx, ollama, trtllm, vllm
from advisor.launch.flags import flags_in, flags_of, unknown_flags
from advisor.launch.shell import Shell, shell_lines, shell_text
from advisor.launch.sources import checked_path, checked_repo, format_kind, published_repo, served_name
from advisor.launch.types import LOOPBACK, ConfigFile, Launch, Order
from advisor.types import Deployment, Estimate, Workload
from catalog.sampling import Sampling, sampling_for
from catalog.types import ModelSpec

__all__ = [
    "ENGINE_IDS",
    "GGUF_ENGINE_IDS",
    "LOOPBACK",
    "ConfigFile",
    "Launch",
    "Order",
    "Shell",
    "command",
    "default_port",
    "flags_in",
    "flags_of",
    "format_kind",
    "published_repo",
    "served_name",
    "shell_lines",
    "shell_text",
    "unknown_flags",
    "weights_repo",
]

#: Engines that load GGUF and nothing else, whatever a quantisation is stored in elsewhere.
GGUF_ENGINE_IDS = frozenset({llama_server.ENGINE_ID, ollama.ENGINE_ID, llama_cpp_python.ENGINE_ID})
_MODULES: Mapping[str, ModuleType] = {
    module.ENGINE_ID: module for module in (llama_server, vllm, mlx, trtllm, ollama, llama_cpp_python)
}
_LAUNCHERS: Mapping[str, Callable[[Order], Launch]] = {
    engine_id: module.launch for engine_id, module in _MODULES.items()
}
ENGINE_IDS = tuple(_LAUNCHERS)


def default_port(engine_id: str) -> int:
    """The port an engine listens on by its own default."""
    return int(_MODULES[engine_id].PORT)


def weights_repo(model: ModelSpec, deployment: Deployment) -> str | None:
    """The published repository that a deployment's engine loads; None where none is known."""
    file_format = "gguf" if deployment.engine_id in GGUF_ENGINE_IDS else deployment.file_format
    return published_repo(model, deployment.quant_id, file_format)


def command(
    model: ModelSpec,
    subject: Estimate | Deployment,
    workload: Workload | None = None,
    *,
    engine_id: str | None = None,
    path: str | None = None,
    repo: str | None = None,
    host: str = LOOPBACK,
    port: int | None = None,
    name: str | None = None,
    sampling: Sampling | None = None,
) -> Launch:
    """How an engine is started with a model and its load-time settings.

    Args:
        model: the model.
        subject: an estimate (its workload and memory plan are used), or a deployment.
        workload: context and users; needed beside a deployment.
        engine_id: one of `ENGINE_IDS`; by default the deployment's.
        path: the weights on this machine; by default they are fetched from ``repo``.
        repo: where they are published; by default the catalog's best repository for the format.
        host: address to listen on; the loopback address unless told otherwise.
        port: port to listen on; by default the engine's own.
        name: what requests call the model, of letters, digits, dot, dash and underscore.
        sampling: sampling defaults; by default those published for the model, if any.

    Raises:
        BadRequestError: if the engine is unknown, or a deployment comes without a workload.
        AdvisorError: if a path or repository cannot be handed to another program.
    """
    deployment = subject.deployment if isinstance(subject, Estimate) else subject
    load = subject.workload if workload is None and isinstance(subject, Estimate) else workload
    engine = engine_id or deployment.engine_id
    if engine not in _LAUNCHERS:
        raise BadRequestError(f"unknown engine {engine[:20]!r}; use one of {', '.join(ENGINE_IDS)}")
    if load is None:
        raise BadRequestError("a deployment needs a workload to be started for; give its context and users")
    found = repo or weights_repo(model, replace(deployment, engine_id=engine))
    return _LAUNCHERS[engine](
        Order(
            model=model,
            deployment=deployment,
            workload=load,
            memory=subject.memory if isinstance(subject, Estimate) else None,
            path=None if path is None else checked_path(path),
            repo=None if found is None else checked_repo(found),
            host=host,
            port=default_port(engine) if port is None else port,
            served_name=name or served_name(model, deployment.quant_id),
            sampling=sampling or sampling_for(model),
        )
    )
