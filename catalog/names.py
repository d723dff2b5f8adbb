"""Names to identities: exact matches on normalised names, never substrings."""

import re
from collections.abc import Iterable, Mapping, Sequence

from catalog.errors import UnknownNameError

_SEPARATORS = re.compile(r"[\s_-]+")
_MAX_NAME_LENGTH = 200
_NEAREST_COUNT = 4


def fold(text: str) -> str:
    """A name as it is compared: case folded, separators (space, ``_``, ``-``) made one hyphen."""
    return _SEPARATORS.sub("-", text.strip()).strip("-").casefold()


def squash(text: str) -> str:
    """A folded name without any separator, so that ``RTX5090`` equals ``RTX 5090``."""
    return fold(text).replace("-", "")


def resolve(kind: str, text: str, tiers: Sequence[Mapping[str, Sequence[str]]], ids: Iterable[str]) -> str:
    """The identity a name stands for.

    Args:
        kind: what is looked for, for the message: "model", "quant" or "chip".
        text: the name as a user wrote it.
        tiers: maps from folded names to identities, strongest first; the first tier that knows the
            name decides.
        ids: every identity, for suggestions.

    Raises:
        UnknownNameError: if no tier knows the name, or the deciding tier holds several identities.
    """
    key = fold(text) if len(text) <= _MAX_NAME_LENGTH else ""
    for tier in tiers:
        found = tier.get(key, ())
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownNameError(kind, text, candidates=tuple(found))
    raise UnknownNameError(kind, text, nearest=nearest(text, ids))


def nearest(text: str, ids: Iterable[str], count: int = _NEAREST_COUNT) -> tuple[str, ...]:
    """The identities whose names look most like a text, best first."""
    from difflib import SequenceMatcher

    wanted = squash(text[:_MAX_NAME_LENGTH])
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    scored = []
    for identity in ids:
        whole = squash(identity)
        best = 0.0
        for candidate in {whole, whole.rsplit("/", 1)[-1]}:
            matcher.set_seq1(candidate)
            if matcher.real_quick_ratio() > 0.5 and matcher.quick_ratio() > 0.5:
                best = max(best, matcher.ratio())
        if best > 0.5:
            scored.append((-best, identity))
    return tuple(identity for _, identity in sorted(scored)[:count])
