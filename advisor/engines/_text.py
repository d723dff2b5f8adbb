"""Text in, text out: the model's own tokenizer, template and greedy answers. Runs in the worker process only."""

import ctypes
import time
from collections.abc import Sequence
from typing import Any

from advisor.engines._native import NativeModel
from advisor.engines.base import ModelRefusedError

_MAX_TEXT_BYTES = 1 << 20
_NO_VOCABULARY = 0  # LLAMA_VOCAB_TYPE_NONE: a twin's


def tokenize(model: NativeModel, text: str, *, special: bool = True) -> list[int]:
    """Token ids of a text with the model's own beginning token; ``special`` reads marks such as ``<eos>``."""
    if model.lib.llama_vocab_type(model.vocab) == _NO_VOCABULARY:
        raise ModelRefusedError("this file has no tokenizer; it can be timed but not asked")
    raw = text.encode()
    size = len(raw) + 16
    array = (ctypes.c_int32 * size)()
    count = model.lib.llama_tokenize(model.vocab, raw, len(raw), array, size, True, special)
    if count < 0:
        raise ModelRefusedError(f"the model's tokenizer makes more than {size} tokens of {len(raw)} bytes")
    return list(array[:count])


def as_chat(model: NativeModel, text: str) -> str:
    """The text as one user turn in the model's own chat template; unchanged if it has none."""
    lib = model.lib
    template = lib.llama_model_chat_template(model.handle, None)
    if not template:
        return text
    message = (lib.llama_chat_message * 1)(lib.llama_chat_message(b"user", text.encode()))
    buffer = ctypes.create_string_buffer(len(text.encode()) * 2 + 4096)
    length = lib.llama_chat_apply_template(template, message, 1, True, buffer, len(buffer))
    return buffer.raw[:length].decode("utf-8", "replace") if 0 < length <= len(buffer) else text


def detokenize(model: NativeModel, tokens: Sequence[int]) -> str:
    """Text of token ids, special tokens left out."""
    array = (ctypes.c_int32 * len(tokens))(*tokens)
    buffer = ctypes.create_string_buffer(_MAX_TEXT_BYTES)
    length = model.lib.llama_detokenize(model.vocab, array, len(tokens), buffer, len(buffer), True, False)
    return buffer.raw[: max(0, length)].decode("utf-8", "replace")


def time_text(model: NativeModel, text: str, tokens_count: int) -> dict[str, Any]:
    """Seconds to tokenise a text and to turn so many of its tokens back."""
    clock = time.perf_counter
    tokens = tokenize(model, text, special=False)
    share = min(1.0, tokens_count / len(tokens))  # tokenizers take time by the character
    asked = text[: max(1, round(len(text) * share))]
    started = clock()
    kept = tokenize(model, asked, special=False)
    tokenized = clock()
    detokenize(model, kept)
    return {"tokens_count": len(kept), "tokenize_s": tokenized - started, "detokenize_s": clock() - tokenized}


def generate(model: NativeModel, prompt: str | Sequence[int], max_tokens: int, chat: bool) -> dict[str, Any]:
    """Answer greedily, every stage timed apart."""
    model.require_decoder()
    model.depths.clear()
    clock = time.perf_counter
    started = clock()
    asked = as_chat(model, prompt) if chat and isinstance(prompt, str) else prompt
    tokens = tokenize(model, asked) if isinstance(asked, str) else list(asked)
    tokenized = clock()
    for batch in model.batches(tokens):
        model.step(batch)
    prefilled = clock()
    produced, moments, finish = _greedy(model, max_tokens, stop_at_end=isinstance(prompt, str))
    model.depths.lose_track()
    detokenize_started = clock()
    text = detokenize(model, produced) if isinstance(prompt, str) and produced else None
    return {
        "started_s": started,
        "token_s": moments,
        "prompt_tokens": len(tokens),
        "text": text,
        "tokens": produced,
        "tokenize_s": tokenized - started,
        "prefill_s": prefilled - tokenized,
        "detokenize_s": clock() - detokenize_started,
        "finish_reason": finish,
    }


def _greedy(model: NativeModel, max_tokens: int, *, stop_at_end: bool) -> tuple[list[int], list[float], str]:
    import numpy as np

    produced: list[int] = []
    moments: list[float] = []
    while len(produced) < max_tokens:
        logits = np.ctypeslib.as_array(model.lib.llama_get_logits_ith(model.context, -1), shape=(model.vocab_count,))
        token = int(logits.argmax())
        moments.append(time.perf_counter())
        if not np.isfinite(logits[token]):
            return produced, moments, "nonfinite"
        if stop_at_end and model.lib.llama_vocab_is_eog(model.vocab, token):
            return produced, moments, "stop"
        produced.append(token)
        if len(produced) < max_tokens:
            model.step([token])
    return produced, moments, "length"
