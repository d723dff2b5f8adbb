"""Tell an answer from garbage: a broken quant, file or chat template shows in what a model says."""

from collections import Counter

PROMPT = "In one short sentence: what is the capital of France, and which river flows through it?"
ANSWER_TOKENS = 32
_MIN_TEXT_LENGTH = 2
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def garbage_reason(text: str | None, finish_reason: str | None = None) -> str | None:
    """Why an answer cannot come from a working model, or None if nothing speaks against it.

    Only what no working model of any size or language does counts as garbage; a wrong answer does not.
    """
    if finish_reason == "nonfinite":
        return "the model computed values that are not numbers"
    stripped = (text or "").strip()
    if len(stripped) < _MIN_TEXT_LENGTH:
        return "the model said nothing"
    if stripped.count(_REPLACEMENT) > len(stripped) // 10:
        return "the answer is not valid text"
    if not any(character.isalnum() for character in stripped):
        return "the answer holds no words"
    unprintable = sum(not (character.isprintable() or character.isspace()) for character in stripped)
    if unprintable > len(stripped) // 10:
        return "the answer is full of control characters"
    return _repetition(stripped)


def _repetition(text: str) -> str | None:
    words = text.split()
    if len(words) >= 8 and Counter(words).most_common(1)[0][1] > 0.8 * len(words):
        return "the answer repeats one word"
    if len(words) < 3 and len(text) >= 40 and len(set(text)) <= 3:
        return "the answer repeats one character"
    return None
