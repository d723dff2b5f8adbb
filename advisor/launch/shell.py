"""A launch as text for a shell: every value quoted by the shell's own rules, last of all steps."""

import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum

from advisor.launch.types import ConfigFile, Launch


class Shell(StrEnum):
    """Whose quoting rules a command line follows."""

    POSIX = "posix"
    POWERSHELL = "powershell"


def shell_lines(launch: Launch, shell: Shell = Shell.POSIX) -> tuple[str, ...]:
    """One line per step: write the files, start the server, then what is run once it listens."""
    render = _posix if shell is Shell.POSIX else _powershell
    write = _posix_file if shell is Shell.POSIX else _powershell_file
    files = tuple(write(file) for file in launch.files)
    server = render(launch.argv, launch.environment)
    address = {name: value for name, value in launch.environment.items() if name.endswith("_HOST")}
    return (*files, server, *(render(argv, address) for argv in launch.after))


def shell_text(launch: Launch, shell: Shell = Shell.POSIX) -> str:
    """All steps, a line each."""
    return "\n".join(shell_lines(launch, shell))


def _posix(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    return f"{variables} {shlex.join(argv)}".lstrip()


def _posix_file(file: ConfigFile) -> str:
    return f"printf '%s\\n' {shlex.join(file.text.splitlines())} > {shlex.quote(file.name)}"


def _powershell(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    variables = "".join(f"$env:{name} = {_powershell_word(value)}; " for name, value in environment.items())
    return f"{variables}& {' '.join(_powershell_word(word) for word in argv)}"


def _powershell_file(file: ConfigFile) -> str:
    lines = ", ".join(_powershell_word(line) for line in file.text.splitlines())
    return f"Set-Content -LiteralPath {_powershell_word(file.name)} -Value {lines}"


def _powershell_word(text: str) -> str:
    """A literal string: nothing is expanded between single quotes, typographic ones included."""
    doubled = "".join(char * 2 if char in "'\u2018\u2019\u201a\u201b" else char for char in text)
    return f"'{doubled}'"
