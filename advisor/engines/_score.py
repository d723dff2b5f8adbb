"""How well a model foretells a text. Runs in the worker process only.

As llama.cpp's ``perplexity`` tool does it: windows of 512 tokens that each begin with the model's own beginning
token, and of each the second half is scored, so that every scored token has some context before it.
"""

import ctypes
import hashlib
import time
from collections.abc import Sequence
from typing import Any

from advisor.engines._native import NativeModel
from advisor.engines._text import detokenize, tokenize
from advisor.engines.base import EngineError, ModelRefusedError

WINDOW_TOKENS = 512
_LOGITS_TOKENS = 32  # logits of so many tokens are held at once: a vocabulary is large


def score(model: NativeModel, text: str, budget_s: float) -> dict[str, Any]:
    """Log losses of the second half of each window, until the text or the time is used up."""
    model.require_decoder()
    size = min(WINDOW_TOKENS, int(model.lib.llama_n_ctx_seq(model.context)))
    tokens = tokenize(model, text, special=False)
    if len(tokens) < size:
        raise ModelRefusedError(f"the text has {len(tokens)} tokens and {size} are needed; give a longer --text")
    started, losses, scored = time.perf_counter(), [], []
    for count, start in enumerate(range(0, len(tokens) - size + 1, size), start=1):
        window = [tokens[0], *tokens[start + 1 : start + size]]
        losses += _window_losses(model, window)
        scored += window[size // 2 :]
        if (time.perf_counter() - started) * (count + 1) / count > budget_s:  # another would end too late
            break
    return {
        "losses": losses,
        "text_id": hashlib.sha256(repr(tokens).encode()).hexdigest()[:16],
        "bytes_count": len(detokenize(model, scored).encode()),
    }


def _window_losses(model: NativeModel, window: Sequence[int]) -> list[float]:
    first = len(window) // 2
    model.depths.clear()
    for batch in model.batches(window[: first - 1]):
        model.step(batch)
    losses: list[float] = []
    for start in range(first - 1, len(window) - 1, _LOGITS_TOKENS):
        given = window[start : min(start + _LOGITS_TOKENS, len(window) - 1)]
        losses += _step_losses(model, given, start, window[start + 1 : start + 1 + len(given)])
    model.depths.lose_track()
    return losses


def _step_losses(model: NativeModel, given: Sequence[int], position: int, following: Sequence[int]) -> list[float]:
    """Work through tokens with the logits of each, and read off the log loss of the token that follows it."""
    import numpy as np

    lib = model.lib
    batch = lib.llama_batch_init(len(given), 0, 1)
    try:
        batch.n_tokens = len(given)
        for index, token in enumerate(given):
            batch.token[index], batch.pos[index] = token, position + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = 1
        model.run(batch)
        losses = []
        for index, token in enumerate(following):
            pointer = lib.llama_get_logits_ith(model.context, index)
            logits = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (model.vocab_count,))
            peak = float(logits.max())
            losses.append(peak + float(np.log(np.exp(logits.astype(np.float64) - peak).sum())) - float(logits[token]))
    finally:
        lib.llama_batch_free(batch)
    if not np.isfinite(losses).all():
        raise EngineError("the model computed values that are not numbers")
    return losses
