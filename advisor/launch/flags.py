"""Options of a launch against those an engine's own ``--help`` lists."""

import re

from advisor.launch.types import Launch

#: An option at a place where help texts name one: after a space, comma, bracket, bar or quote.
_OPTION = re.compile(r"(?:(?<=[\s,\[|(`'/])|^)(--?[A-Za-z][\w-]*)", re.MULTILINE)
_NUMBER = re.compile(r"-\d")


def flags_in(help_text: str) -> frozenset[str]:
    """Every option that a help text names."""
    return frozenset(_OPTION.findall(help_text))


def flags_of(launch: Launch) -> tuple[str, ...]:
    """The options of a launch, in order."""
    words = launch.argv[3:] if launch.argv[1:2] == ("-m",) else launch.argv[1:]
    return tuple(word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word) and not _NUMBER.match(word))


def unknown_flags(launch: Launch, help_text: str) -> tuple[str, ...]:
    """Options of a launch that the help text does not name: what that build would refuse."""
    known = flags_in(help_text)
    return tuple(flag for flag in flags_of(launch) if flag not in known)
