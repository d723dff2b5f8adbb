"""Read exported files back as the programs do that they are for.

JSON, YAML, Python and the shell have their own parsers here. What a program does to the text before or after
(macros, variables, specifiers) follows its documentation: systemd.syntax(7) and systemd.service(5), Compose's
interpolation, llama-swap's macros, Ollama's Modelfile, opencode's and Continue's variables, n8n's expressions.
"""

import ast
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

_ENVIRONMENT = {"LLAMA_API_KEY": "the-key", "LOCAL_MODEL_KEY": "the-key"}
_C_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "s": " "}


def shell_argv(text: str, folder: Path) -> list[str]:
    """The arguments that a script's last command is run with, by the system's own shell."""
    program = next(line.split()[1] for line in text.splitlines() if line.startswith("exec "))
    stub = folder / program
    stub.write_text('#!/bin/sh\nprintf \'%s\\0\' "$0" "$@"\n')
    stub.chmod(0o755)
    script = folder / "exported.sh"
    script.write_text(text)
    path = {"PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", str(script)], capture_output=True, env=path, timeout=20, check=True)
    words = done.stdout.decode().split("\0")[:-1]
    return [Path(words[0]).name, *words[1:]]


def swap_config(text: str, port: int = 5800) -> dict[str, Any]:
    """llama-swap's configuration with every command split into arguments."""
    assert "${env." not in text, "variables of the environment are looked for in the raw text"
    config = yaml.safe_load(text)
    for model in config["models"].values():
        command = model["cmd"].replace("${PORT}", str(port))
        assert not re.search(r"\$\{[A-Za-z0-9_-]+\}", command), "an unknown macro is an error"
        model["argv"] = shlex.split(command)
    return config


def compose_config(text: str) -> dict[str, Any]:
    """A compose file with its variables filled in: ``$$`` is a dollar sign."""
    return _interpolated(yaml.safe_load(text))


def _interpolated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item) for item in value]
    return re.sub(r"\$(?:(\$)|\{(\w+):-([^}]*)\}|.?)", _variable, value) if isinstance(value, str) else value


def _variable(match: re.Match[str]) -> str:
    assert match[1] or match[2], f"a lone dollar sign is an error: {match[0]!r}"
    return "$" if match[1] else _ENVIRONMENT.get(match[2], match[3])


def systemd_argv(text: str) -> list[str]:
    """The arguments of a unit's ExecStart= line, unquoted, its specifiers and variables resolved."""
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert not line.endswith("\\"), "the next line would join it"
    return [_systemd_literal(word) for word in _systemd_words(line.removeprefix("ExecStart="))]


def _systemd_words(line: str) -> list[str]:
    words: list[str] = []
    quote, word, started = "", "", False
    chars = iter(line)
    for char in chars:
        if char == "\\":
            word, started = word + _C_ESCAPES[next(chars)], True
        elif quote:
            quote, word = ("", word) if char == quote else (quote, word + char)
        elif char in "\"'" and not word:
            quote, started = char, True
        elif char.isspace():
            words, word, started = ([*words, word] if started else words), "", False
        else:
            word, started = word + char, True
    assert not quote, "an open quote"
    return [*words, word] if started else words


def _systemd_literal(word: str) -> str:
    assert not re.search(r"%(?!%)", word.replace("%%", "")), "a specifier"
    assert "$" not in word.replace("$$", ""), "a variable"
    return word.replace("%%", "%").replace("$$", "$")


def modelfile(text: str) -> dict[str, list[str]]:
    """A Modelfile's instructions: comments left out, quotes taken off."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        instruction, _, value = line.partition(" ")
        assert instruction in ("FROM", "PARAMETER"), line
        found.setdefault(instruction, []).append(_modelfile_value(value.strip()))
    return found


def _modelfile_value(value: str) -> str:
    for quotes in ('"""', '"'):
        if value.startswith(quotes):
            assert len(value) >= 2 * len(quotes)
            assert value.endswith(quotes)
            return value[len(quotes) : -len(quotes)]
    return value


def opencode_config(text: str) -> dict[str, Any]:
    """opencode puts variables and files into the raw text before it reads the JSON."""
    assert "{file:" not in text
    filled = re.sub(r"\{env:([^}]+)\}", lambda match: _ENVIRONMENT[match[1]], text)
    return json.loads(filled)


def continue_config(text: str) -> dict[str, Any]:
    """Continue fills ``${{ secrets.X }}`` in the raw text before it reads the YAML."""
    filled = re.sub(
        r"\$\{\{[\s]*([^}\s]+)[\s]*\}\}", lambda match: _ENVIRONMENT[match[1].removeprefix("secrets.")], text
    )
    return yaml.safe_load(filled)


def n8n_value(value: str) -> str:
    """A node's value: an expression if it begins with ``=``; only string literals are evaluated here."""
    if not value.startswith("="):
        return value
    inside = re.fullmatch(r"=\{\{ (.*) \}\}", value, re.DOTALL)
    assert inside is not None
    assert "}}" not in inside[1]
    return json.loads(inside[1])


def program_constants(text: str) -> dict[str, object]:
    """The constant arguments of the model's constructor in an exported program."""
    tree = ast.parse(text)
    call = next(
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ChatOpenAI"
    )
    return {item.arg: item.value.value for item in call.keywords if item.arg and isinstance(item.value, ast.Constant)}


def variables(text: str, folder: Path) -> dict[str, str]:
    """What a shell makes of a file of variables."""
    file = folder / "exported.env"
    file.write_text(text)
    script = f"set -a; . {shlex.quote(str(file))}; set +a; env -0"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, env={"PATH": "/usr/bin:/bin"}, check=True)
    return dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if "=" in line)
