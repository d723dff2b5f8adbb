"""Values into each target's syntax, always by a serialiser; names from files made harmless first.

A name may come from a file that somebody else wrote. `inert` makes one line of plain text of it (paths with
control characters are refused by ``advisor.launch``). What is left may hold quotes, ``$(...)`` or ``{{...}}``,
which the serialisers here turn into one string of their syntax.
"""

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

_MAX_LABEL_CHARS = 120
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_SYSTEMD_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
_SHIELD = "\ue000"  # stands for a character until it is written as an escape; `inert` lets none through
_OPTION = re.compile(r"--?[A-Za-z]")


def inert(text: str, *, max_chars: int = _MAX_LABEL_CHARS) -> str:
    """One line of visible text: no terminal sequences, no control, format or line-breaking characters."""
    plain = _ANSI.sub("", text)
    visible = "".join(" " if char.isspace() else char for char in plain if char.isspace() or _is_visible(char))
    return " ".join(visible.split())[:max_chars].strip() or "unnamed"


def _is_visible(char: str) -> bool:
    return unicodedata.category(char) not in _HIDDEN_CATEGORIES


def json_text(value: object, *, escaping: str = "") -> str:
    """JSON, with some characters inside strings written as escapes (for programs that search the raw text)."""
    text = json.dumps(_shielded(value, escaping), indent=2, ensure_ascii=False)
    return text.replace(_SHIELD, f"\\u{ord(escaping):04x}" if escaping else _SHIELD) + "\n"


class Raw(str):
    """A string of our own making, whose special characters are meant."""

    __slots__ = ()


class _Quoted(str):
    """A string that YAML writes between double quotes."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Lists are indented under their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's
        return super().increase_indent(flow, False)


_Dumper.add_representer(
    _Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)


def yaml_text(value: object, *, escaping: str = "") -> str:
    """YAML, with some character inside strings written as an escape, as in `json_text`."""
    text = yaml.dump(
        _shielded(value, escaping), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6, indent=2
    )
    return str(text).replace(_SHIELD, f"\\x{ord(escaping):02x}" if escaping else _SHIELD)


def _shielded(value: Any, char: str) -> Any:
    """The value with a character of its strings replaced by a stand-in."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, str):
        return _Quoted(value.replace(char, _SHIELD)) if char and char in value else value
    if isinstance(value, Mapping):
        return {_shielded(key, char): _shielded(item, char) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_shielded(item, char) for item in value]
    return value


def shell_text(argv: Sequence[str]) -> str:
    """A POSIX shell command, one option and its value on a line."""
    return " \\\n  ".join(shlex.join(group) for group in _by_option(argv))


def _by_option(argv: Sequence[str]) -> Iterable[list[str]]:
    group: list[str] = []
    for word in argv:
        if _OPTION.match(word) and group:
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def systemd_text(argv: Sequence[str]) -> str:
    """A command line of a unit file: quoted, with specifiers and variables written literally (systemd.service(5))."""
    return " ".join(_systemd_word(word) for word in argv)


def _systemd_word(word: str) -> str:
    literal = word.replace("%", "%%").replace("$", "$$")
    if _SYSTEMD_PLAIN.fullmatch(literal):
        return literal
    escaped = literal.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def comment(*lines: str, breaking: str = "") -> str:
    """Comment lines for syntaxes that know ``#``; ``breaking`` is parted where a program looks for it there too."""
    text = "".join(f"# {inert(line, max_chars=400)}\n" for line in lines)
    return text.replace(breaking, " ".join(breaking)) if breaking else text
