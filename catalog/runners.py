"""Which of the programs on this machine can load a model file now."""

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from catalog.types import FileFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A program that loads a file format, found as an installed module or as a command."""

    name: str
    module: str | None = None
    command: str | None = None


RUNNERS: Mapping[FileFormat, tuple[Runner, ...]] = {
    FileFormat.GGUF: (
        Runner(name="llama-cpp-python", module="llama_cpp"),
        Runner(name="llama-server", command="llama-server"),
        Runner(name="Ollama", command="ollama"),
        Runner(name="LM Studio", command="lms"),
    ),
    FileFormat.SAFETENSORS: (Runner(name="vLLM", module="vllm", command="vllm"),),
    FileFormat.MLX: (Runner(name="mlx-lm", module="mlx_lm"), Runner(name="LM Studio", command="lms")),
}


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def runs_with(
    file_format: FileFormat,
    *,
    has_module: Callable[[str], bool] = _has_module,
    has_command: Callable[[str], str | None] = shutil.which,
) -> tuple[str, ...]:
    """Names of the programs found here that load files of a format; empty if it cannot run now."""
    return tuple(
        runner.name
        for runner in RUNNERS[file_format]
        if (runner.module and has_module(runner.module)) or (runner.command and has_command(runner.command))
    )
