"""Real inference servers on loopback, each run by the environment that ``tools/test_engines.py`` made for it."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from advisor.engines.base import EngineError
from advisor.engines.openai_http import Endpoint, ask

NAMES = ("llama-cpp", "vllm", "mlx")
_START_S = 240.0
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def python_of(name: str) -> str | None:
    """The interpreter of a server's environment, or None if it was not installed."""
    folder = Path(os.environ.get("ADVISOR_TEST_ENGINES", ".venv-engines")) / name
    path = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return str(path) if path.exists() else None


def python_with_torch() -> str | None:
    """An interpreter that can train the small model."""
    for name in ("vllm", "mlx"):
        python = python_of(name)
        if python and subprocess.run([python, "-c", "import torch, transformers"], check=False).returncode == 0:
            return python
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(name: str, python: str, weights: Path, port: int) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if name == "llama-cpp":
        # by default its newest request interrupts the one before
        options = ["--n_ctx", "4096", "--n_threads", "1", "--interrupt_requests", "false"]
        return [python, "-m", "llama_cpp.server", "--model", str(weights), "--model_alias", "served", *options, *where]
    if name == "vllm":
        options = ["--served-model-name", "served", "--max-model-len", "2048", "--enforce-eager"]
        options += ["--enable-prompt-tokens-details", "--dtype", "bfloat16"]
        return [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights), *options, *where]
    return [python, "-m", "mlx_lm", "server", "--model", str(weights), *where]


def model_name(name: str, weights: Path) -> str:
    """What a request calls the model."""
    return str(weights.resolve()) if name == "mlx" else "served"


@contextmanager
def served(name: str, python: str, weights: Path, log: Path) -> Iterator[Endpoint]:
    """A server that answers, for as long as the context lasts."""
    port = free_port()
    endpoint = Endpoint(url=f"http://127.0.0.1:{port}/v1", model=model_name(name, weights), timeout_s=60.0)
    arguments = command(name, python, weights, port)
    cache = log.with_name("hub-cache")  # mlx_lm lists what is in it, and stumbles if there is none
    cache.mkdir(exist_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            arguments,
            stdout=output,
            stderr=output,
            env={**os.environ, **_OFFLINE, "HF_HUB_CACHE": str(cache)},
            start_new_session=True,
        )
        try:
            _wait_for(endpoint, server, log)
            yield endpoint
        finally:
            server.terminate()
            try:
                server.wait(20.0)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(endpoint: Endpoint, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            ask(endpoint, "hello", 1)
            return
        except EngineError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text(errors='replace')[-1500:]}")
