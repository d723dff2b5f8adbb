"""Every option of a launch against the ``--help`` of the engines that are installed."""

import shutil
import subprocess
import sys

import pytest
from launch_examples import every_launch
from served_engines import python_of

from advisor import launch

pytestmark = pytest.mark.engine
_TIMEOUT_S = 180


def help_command(engine_id: str) -> list[str] | None:
    """What prints an engine's options, or None where it is not installed."""
    if engine_id == "llama-cpp-python":
        return [sys.executable, "-m", "llama_cpp.server", "--help"]
    if engine_id == "vllm" and (python := python_of("vllm")):
        return [python, "-m", "vllm.entrypoints.openai.api_server", "--help=all"]
    if engine_id == "mlx" and (python := python_of("mlx")):
        return [python, "-m", "mlx_lm", "server", "--help"]
    programs = {"llama.cpp": "llama-server", "vllm": "vllm", "mlx": "mlx_lm.server", "tensorrt-llm": "trtllm-serve"}
    program = shutil.which(programs.get(engine_id, "ollama"))
    if program is None:
        return None
    return [program, *(["serve", "--help=all"] if engine_id == "vllm" else ["--help"])]


@pytest.mark.parametrize("engine_id", [engine_id for engine_id in launch.ENGINE_IDS if engine_id != "ollama"])
def test_the_installed_engine_lists_every_option(engine_id):
    command = help_command(engine_id)
    if command is None:
        pytest.skip(f"{engine_id} is not installed here")
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        pytest.skip(f"{engine_id} cannot print its help here: {done.stderr.strip()[-200:]}")
    for own_id, made in every_launch():
        if own_id == engine_id:
            assert launch.unknown_flags(made, done.stdout) == ()
