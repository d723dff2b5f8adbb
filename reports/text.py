"""Text that comes from files, made inert before it is shown anywhere.

Model names, file paths and error messages come from documents that anyone may have written.
`plain` removes what could steer a terminal or reorder the characters around it; each renderer
then escapes what is left for its own syntax.
"""

import re
import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_SPACES = re.compile(r"\s+")
_SHOWN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
#: joiners that several scripts and emoji need; they neither reorder nor hide anything
_HARMLESS_FORMATS = frozenset("\u200c\u200d\ufeff\u00ad")


def _inert(char: str) -> str:
    if unicodedata.category(char) not in _SHOWN_CATEGORIES:
        return char
    return "" if char in _HARMLESS_FORMATS else _REPLACEMENT


def plain(text: object, limit: int | None = None) -> str:
    """One line of text without control, bidirectional-override or unassigned characters.

    Each such character becomes U+FFFD, so that its presence shows. With a ``limit`` the middle of
    a longer text is cut, because names differ at both ends.
    """
    line = _SPACES.sub(" ", str(text)).strip()
    if not line.isascii() or not line.isprintable():
        line = "".join(_inert(char) for char in line)
    return line if limit is None else shortened(line, limit)


def shortened(text: str, limit: int) -> str:
    """Text of at most ``limit`` characters, cut in the middle."""
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    tail = limit - 1 - head
    return f"{text[:head].rstrip()}…{text[len(text) - tail :].lstrip()}"


def plain_block(text: object) -> str:
    """Several lines of text (a model's answer, a shell command), each made inert; line ends stay."""
    return "\n".join(plain(line) for line in str(text).splitlines())
