"""Targets that start one engine: a shell script that becomes its server, and the files the server reads."""

import shlex
from collections.abc import Callable

from advisor.export.pick import SERVER_KEY, Endpoint, Stack
from advisor.export.target import Exported, File, heading
from advisor.export.text import comment, shell_text
from advisor.launch import default_port

_SERVER_KEYS = {"llama.cpp": SERVER_KEY, "vllm": "VLLM_API_KEY"}


def script(engine_id: str) -> Callable[[Stack, Endpoint, tuple[str, ...]], Exported]:
    """A writer of the shell script that starts an engine."""

    def write(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
        pick = stack.first
        launch = pick.launch(port=endpoint.port, engine_id=engine_id)
        address = f"OpenAI-compatible endpoint: {endpoint.base_url} (this machine only), model {launch.served_name}"
        head = comment(heading(stack), address, *caveats, *launch.notes)
        variables = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in launch.environment.items())
        text = f"#!/bin/sh\n{head}{variables}exec {shell_text(launch.argv)}\n"
        more = tuple(File(name=file.name, text=comment(heading(stack)) + file.text) for file in launch.files)
        notes = (*caveats, *launch.notes, *key_notes(engine_id))
        return Exported(files=(File(name=f"{pick.name}.sh", text=text), *more), notes=notes)

    return write


def key_notes(engine_id: str) -> tuple[str, ...]:
    """How a server asks for a key, for engines that can."""
    variable = _SERVER_KEYS.get(engine_id)
    if variable is None:
        return ()
    return (f"to ask for a key, set {variable} in the server's environment; none is written to a file",)


def ollama(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """A Modelfile, and in comments the environment of the server for what a Modelfile cannot say."""
    del endpoint  # it serves on a port of its own, where its other models are
    pick = stack.first
    launch = pick.launch(port=default_port("ollama"), engine_id="ollama")
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in launch.environment.items())
    server = f"the server's settings: {variables} ollama serve"
    head = comment(heading(stack), server, *caveats, *launch.notes)
    create = f"ollama create {pick.name} -f FILE"
    text = head + launch.files[0].text
    return Exported(files=(File(name="Modelfile", text=text),), notes=(*caveats, server, *launch.notes, create))
