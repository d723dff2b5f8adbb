"""Targets that run an engine for us: llama-swap, the service manager, containers."""

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from advisor.errors import BadRequestError
from advisor.export.clients import webui_retrieval
from advisor.export.launchers import key_notes
from advisor.export.pick import SERVER_KEY, Endpoint, Pick, Stack
from advisor.export.target import Exported, File, heading
from advisor.export.text import Raw, comment, systemd_text, yaml_text
from advisor.launch import LOOPBACK, Launch
from advisor.types import StackMode

_SWAP_PORT = "${PORT}"
_ANY_PORT = 65535  # written as llama-swap's placeholder
_ANY_HOST = "0.0.0.0"  # noqa: S104 - inside a container's own network; what is published is on loopback only
_CONTAINER_PORT = 8080
_MODELS_DIR = "/models"
#: Backend -> image of llama.cpp's server.
_LLAMA_IMAGES: Mapping[str, str] = {
    "cpu": "ghcr.io/ggml-org/llama.cpp:server",
    "metal": "ghcr.io/ggml-org/llama.cpp:server",
    "cuda": "ghcr.io/ggml-org/llama.cpp:server-cuda",
    "rocm": "ghcr.io/ggml-org/llama.cpp:server-rocm",
    "vulkan": "ghcr.io/ggml-org/llama.cpp:server-vulkan",
    "sycl": "ghcr.io/ggml-org/llama.cpp:server-intel",
}
_ENGINE_IMAGES: Mapping[str, str] = {
    "vllm": "vllm/vllm-openai:latest",
}
_DEVICES: Mapping[str, tuple[str, ...]] = {
    "rocm": ("/dev/kfd", "/dev/dri"),
    "vulkan": ("/dev/dri",),
    "sycl": ("/dev/dri",),
}
_WEBUI_IMAGE = "ghcr.io/open-webui/open-webui:main"
_WEBUI_PORT = 3000


# --- llama-swap ------------------------------------------------------------------------------------


def llama_swap(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """A configuration with one entry per model; groups say which of them stay loaded."""
    config: dict[str, Any] = {
        "healthCheckTimeout": 600,
        "models": {pick.name: _swap_model(pick) for pick in stack.picks},
    }
    groups = _swap_groups(stack)
    if groups:
        config["groups"] = groups
    start = f"llama-swap --config FILE --listen {LOOPBACK}:{endpoint.port}"
    text = comment(heading(stack), f"start: {start}", *caveats, breaking="${") + yaml_text(config, escaping="$")
    return Exported(files=(File(name="llama-swap.yaml", text=text),), notes=(f"start it with: {start}",))


def _swap_model(pick: Pick) -> dict[str, Any]:
    launch = require_fileless(pick.launch(port=_ANY_PORT))
    model: dict[str, Any] = {
        "name": pick.label,
        "cmd": Raw(" ".join(_swap_word(word) for word in launch.argv)),
        "proxy": Raw(f"http://{LOOPBACK}:{_SWAP_PORT}"),
    }
    if launch.environment:
        model["env"] = [f"{name}={value}" for name, value in launch.environment.items()]
    if launch.served_name != pick.name:
        model["useModelName"] = launch.served_name
    return model


def _swap_word(word: str) -> str:
    """A word of a command: quoted, and with nothing in it that reads as a macro but the port."""
    return _SWAP_PORT if word == str(_ANY_PORT) else shlex.quote(word).replace("${", "$''{")


def require_fileless(launch: Launch) -> Launch:
    """A launch that needs no file beside it.

    Raises:
        BadRequestError: for one that does; its own target writes them.
    """
    if launch.files:
        names = ", ".join(file.name for file in launch.files)
        raise BadRequestError(
            f"{launch.engine_id} reads {names}, which this target has no place for; use --for {launch.engine_id}"
        )
    return launch


def _swap_groups(stack: Stack) -> dict[str, Any]:
    """All together, or those that stay beside those that take turns."""
    if len(stack.picks) == 1:
        return {}
    staying = [pick.name for pick in stack.picks if pick.resident or stack.mode is StackMode.CO_RESIDENT]
    turning = [pick.name for pick in stack.picks if pick.name not in staying]
    groups: dict[str, Any] = {}
    if staying:
        groups["resident"] = {"swap": False, "exclusive": False, "persistent": True, "members": staying}
    if turning:
        groups["in-turn"] = {"swap": True, "exclusive": False, "members": turning}
    return groups


# --- systemd ---------------------------------------------------------------------------------------


def systemd(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """A unit for the user's own service manager, which runs it without any right to gain more."""
    pick = stack.first
    launch = require_fileless(pick.launch(port=endpoint.port))
    variables = tuple(f"{name}={value}" for name, value in launch.environment.items())
    argv = ("/usr/bin/env", *variables, *launch.argv)
    unit = f"{pick.name}.service"
    lines = [
        "[Unit]",
        f"Description=Model server {pick.name} on {endpoint.base_url}",
        "After=network.target",
        "",
        "[Service]",
        f"ExecStart={systemd_text(argv)}",
        f"EnvironmentFile=-%h/.config/model-fit-advisor/{pick.name}.env",
        "Restart=on-failure",
        "RestartSec=5",
        "NoNewPrivileges=yes",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    head = comment(heading(stack), f"save as ~/.config/systemd/user/{unit}", *caveats)
    notes = (f"systemctl --user daemon-reload && systemctl --user start {unit}", *key_notes(launch.engine_id))
    return Exported(files=(File(name=unit, text=head + "\n".join(lines) + "\n"),), notes=notes)


# --- containers ------------------------------------------------------------------------------------


def docker_compose(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """One container per model and open-webui in front of them, published on this machine only.

    Raises:
        BadRequestError: for a stack whose models take turns, which containers do not.
    """
    if stack.mode is StackMode.SWAPPED and len(stack.picks) > 1:
        raise BadRequestError(
            "docker-compose starts every model at once and these take turns in memory; use --for llama-swap"
        )
    services: dict[str, Any] = {
        pick.name: _container(pick, endpoint.port + index) for index, pick in enumerate(stack.picks)
    }
    services["open-webui"] = _webui(stack)
    config = {"services": services, "volumes": {"models": {}, "open-webui": {}}}
    notes = _container_notes(stack)
    text = comment(heading(stack), *caveats, *notes) + yaml_text(config)
    chat = f"docker compose up, then open http://{LOOPBACK}:{_WEBUI_PORT}"
    return Exported(files=(File(name="compose.yaml", text=text),), notes=(*notes, chat))


def _container_notes(stack: Stack) -> tuple[str, ...]:
    if any(pick.deployment.backend == "metal" for pick in stack.picks):
        return ("containers on macOS cannot use the GPU: the model runs on the CPU; --for llama-server is faster",)
    return ()


def _container(pick: Pick, port: int) -> dict[str, Any]:
    inside = f"{_MODELS_DIR}/{PurePath(pick.local_path).name}" if pick.local_path else None
    launch = require_fileless(pick.launch(port=_CONTAINER_PORT, host=_ANY_HOST, path=inside))
    key = {SERVER_KEY: "${" + SERVER_KEY + ":-}"} if pick.engine_id == "llama.cpp" else {}
    service: dict[str, Any] = {
        "image": _image(pick),
        "entrypoint": None if launch.argv[0] == "llama-server" else [launch.argv[0]],  # that image starts it
        "command": [_compose_text(word) for word in launch.argv[1:]],
        "ports": [f"{LOOPBACK}:{port}:{_CONTAINER_PORT}"],
        "volumes": [_mount(pick.local_path, inside) if pick.local_path and inside else "models:/root/.cache"],
        "environment": {**launch.environment, **key} or None,
        "restart": "unless-stopped",
    }
    service |= _accelerated(pick.deployment.backend)
    return {key: value for key, value in service.items() if value is not None}


def _image(pick: Pick) -> str:
    if pick.engine_id == "llama.cpp":
        return _LLAMA_IMAGES[pick.deployment.backend]
    if pick.engine_id in _ENGINE_IMAGES:
        return _ENGINE_IMAGES[pick.engine_id]
    raise BadRequestError(f"no container image of {pick.engine_id} is known; use --for {pick.engine_id}")


def _compose_text(text: str) -> str:
    """A value without variables: Compose reads ``$$`` as a dollar sign."""
    return text.replace("$", "$$")


def _mount(source: str, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": _compose_text(source), "target": _compose_text(target), "read_only": True}


def _accelerated(backend: str) -> dict[str, Any]:
    if backend == "cuda":
        device = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        return {"deploy": {"resources": {"reservations": {"devices": [device]}}}}
    devices = _DEVICES.get(backend)
    return {"devices": [f"{path}:{path}" for path in devices]} if devices else {}


def _webui(stack: Stack) -> dict[str, Any]:
    answering = stack.answering
    urls = ";".join(f"http://{pick.name}:{_CONTAINER_PORT}/v1" for pick in answering)
    environment = {
        "OPENAI_API_BASE_URLS": urls,
        "OPENAI_API_KEYS": ";".join("${" + SERVER_KEY + ":-none}" for _ in answering),
        "ENABLE_OLLAMA_API": "false",
        "DEFAULT_MODELS": stack.first.name,
    }
    environment |= webui_retrieval(stack, lambda pick: f"http://{pick.name}:{_CONTAINER_PORT}/v1")
    return {
        "image": _WEBUI_IMAGE,
        "ports": [f"{LOOPBACK}:{_WEBUI_PORT}:8080"],
        "environment": environment,
        "volumes": ["open-webui:/app/backend/data"],
        "depends_on": [pick.name for pick in stack.picks],
        "restart": "unless-stopped",
    }
