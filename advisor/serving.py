"""Serve a pick with llama.cpp's own OpenAI-compatible server, in this process and on this machine only.

There is no child process, so nothing is left behind however this one ends. Web pages are kept out: the
server's allowance for scripts of any origin is taken away, and other host names than this machine's are
refused.
"""

import argparse
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from advisor.errors import AdvisorError, BadRequestError
from advisor.export.formats import require_loadable
from advisor.export.pick import SERVER_KEY, Job, Pick
from advisor.launch import LOOPBACK, Launch, published_repo
from catalog.obtain import file_label

_PORTS_TO_TRY = 64
_STOP_S = 3
_HOSTS = (LOOPBACK, "localhost")
_COMMAND_WORDS = 3  # python -m llama_cpp.server
_ENGINE_ID = "llama-cpp-python"


def launch_of(pick: Pick, port: int) -> Launch:
    """How this server is started with a pick.

    Raises:
        BadRequestError: for a pick whose file is not here, or that this server cannot serve.
    """
    if Job.RERANKER in pick.jobs:
        raise BadRequestError("llama_cpp.server cannot rerank; use llama-server: advisor export ... --for llama-server")
    require_loadable(pick, "llama.cpp", "llama_cpp.server")
    if pick.local_path is None:
        raise BadRequestError(f"no file of {pick.label} is on this machine; {how_to_get(pick)}")
    return pick.launch(port=port, engine_id=_ENGINE_ID)


def how_to_get(pick: Pick) -> str:
    """What to do to have a pick's file here."""
    repo = pick.repo or published_repo(pick.model, pick.deployment.quant_id, pick.deployment.file_format)
    if repo is None:
        return "download its GGUF into a folder and name the folder in ADVISOR_MODELS_PATH"
    pattern = f"*{file_label(repo, pick.deployment.quant_id)}*.gguf"
    return (
        f"get it with: hf download {repo} --include '{pattern}' --local-dir models, then set ADVISOR_MODELS_PATH=models"
    )


def reserve_port(port: int) -> socket.socket:
    """A socket bound to a port of this machine before anything is loaded; 0 takes any free one.

    Raises:
        AdvisorError: if the port is taken, naming a free one.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere the option would let two servers share a port
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
    except OSError as error:
        bound.close()
        reason = error.strerror or type(error).__name__
        raise AdvisorError(f"port {port} cannot be used ({reason.lower()}); {_free_port_hint(port)}") from None
    return bound


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def _free_port_hint(port: int) -> str:
    candidates = range(max(1024, port + 1), min(65536, max(1024, port + 1) + _PORTS_TO_TRY))
    free = next((candidate for candidate in candidates if is_free(candidate)), None)
    return f"--port {free} is free" if free else "choose another with --port"


def serve(launch: Launch, bound: socket.socket, *, on_ready: Callable[[], None], log_level: str = "warning") -> None:
    """Load a model and answer requests until interrupted or terminated.

    Raises:
        AdvisorError: if the server is not installed, or the model cannot be loaded.
    """
    app = _app(launch)
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level=log_level, timeout_graceful_shutdown=_STOP_S))
    listen = server.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await listen(sockets=sockets)
        if server.started:
            on_ready()

    server.startup = startup
    with quiet_termination():
        try:
            server.run(sockets=[bound])
        finally:
            bound.close()


@contextmanager
def quiet_termination() -> Iterator[None]:
    """Let the server finish on a signal; it raises the signal again afterwards, which then does nothing."""

    def ignore(_number: int, _frame: FrameType | None) -> None:
        return

    before = {number: signal.signal(number, ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _app(launch: Launch) -> Any:
    try:
        from llama_cpp.server.app import create_app
        from llama_cpp.server.cli import add_args_from_model, parse_model_from_args
        from llama_cpp.server.settings import ModelSettings, ServerSettings
    except ImportError as error:
        missing = error.name or "llama_cpp"
        raise AdvisorError(
            f"{missing} is not installed; install the server with: pip install 'model-fit-advisor[serve]'"
        ) from None
    key = os.environ.get(SERVER_KEY)
    _forget_variables({*ModelSettings.model_fields, *ServerSettings.model_fields, "config_file"})
    parser = argparse.ArgumentParser()
    add_args_from_model(parser, ModelSettings)
    add_args_from_model(parser, ServerSettings)
    given = parser.parse_args([*launch.argv[_COMMAND_WORDS:], "--verbose", "false"])
    try:
        # one request waits for the other: by default a second one would cut the first one's answer short
        app = create_app(
            server_settings=ServerSettings(host=LOOPBACK, api_key=key or None, interrupt_requests=False),
            model_settings=[parse_model_from_args(ModelSettings, given)],
        )
    except (ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise AdvisorError(f"{given.model} cannot be loaded ({reason}); check it with advisor catalog check") from None
    return _guarded(app)


def _forget_variables(names: set[str]) -> None:
    """Unset environment variables that the server would take for its own settings, such as SEED or HOST."""
    for variable in [variable for variable in os.environ if variable.lower() in names]:
        del os.environ[variable]


def _guarded(app: Any) -> Any:
    from starlette.middleware.cors import CORSMiddleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app.user_middleware = [entry for entry in app.user_middleware if entry.cls is not CORSMiddleware]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(_HOSTS))
    return app
