"""Bring a context to a depth without paying for the whole prompt. Runs in the worker process only.

What a model costs at a depth does not depend on what the context says. So a short piece of it is
computed, and then doubled until it is deep enough: the piece is loaded beside itself as a second
sequence, moved behind the first, and joined to it. The result is kept and put back before each window.
"""

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.engines._native import NativeModel

_MAX_STATE_BYTES = 8 * 1024**3
_COPIES_HELD = 4  # of a deep state at once: the two contexts', the buffer's, the one being written
_DOUBLING_BATCH_TOKENS = 32
_UNKNOWN = -1

State = Any  # a ctypes byte array


class DepthKeeper:
    """Knows how deep a model's context is and can bring it elsewhere."""

    def __init__(self, model: "NativeModel", context_params: Any) -> None:
        self._model = model
        self._params = context_params
        self._saved: tuple[int, State] | None = None
        self.depth_tokens = 0

    @property
    def jumps(self) -> bool:
        """Whether any depth can be had for the price of a short one."""
        memory = self._model.memory
        return bool(memory) and bool(self._model.lib.llama_memory_can_shift(memory))

    def clear(self) -> None:
        """Empty the context."""
        self.depth_tokens = 0
        if self._model.memory:
            self._model.lib.llama_memory_clear(self._model.memory, False)

    def grow(self, tokens_count: int) -> None:
        """Note that the context has become longer."""
        if self.depth_tokens != _UNKNOWN:
            self.depth_tokens += tokens_count

    def lose_track(self) -> None:
        """Note that the context holds something else."""
        self.depth_tokens = _UNKNOWN

    def seek(self, depth_tokens: int, streams_count: int) -> None:
        """Leave ``depth_tokens`` in each stream (up to one in 256 fewer, where they were doubled)."""
        if depth_tokens == 0:
            self.clear()
            return
        if self._saved is None or self._saved[0] != depth_tokens:
            state = self._take(depth_tokens)
            if state is None:  # too large to keep: it stands in the context, once
                return
            self._saved = (depth_tokens, state)
        self.clear()
        for stream in range(streams_count):
            self._load(self._model.context, self._saved[1], stream)
        self.depth_tokens = depth_tokens

    def _take(self, depth_tokens: int) -> State | None:
        """A state of that depth; None if it cannot be kept, and then the context itself is that deep."""
        self._saved = None
        if self.depth_tokens != depth_tokens:
            state = self._doubled(depth_tokens)
            if state is not None:
                return state
            self._compute(depth_tokens)
        return self._state(self._model.context)

    def _compute(self, depth_tokens: int) -> None:
        self.clear()
        for batch in self._model.batches(self._model.random_tokens(depth_tokens)):
            self._model.step(batch)
        self.depth_tokens = depth_tokens

    def _doubled(self, depth_tokens: int) -> State | None:
        """A state of that depth from a computed piece; None if the model or the memory does not allow it."""
        piece = min(self._params.n_ubatch, depth_tokens)
        times = 0
        while (depth_tokens >> times) > piece:
            times += 1
        if times == 0 or not self.jumps:
            return None
        self._compute(depth_tokens >> times)
        state = self._state(self._model.context)
        if state is None or not _affordable(len(state) << times):
            return None
        context = self._second_context(depth_tokens)
        if not context:
            return None
        try:
            return self._double(context, state, depth_tokens >> times, times)
        finally:
            self._model.lib.llama_free(context)

    def _second_context(self, depth_tokens: int) -> Any:
        """A context with room for two sequences in one cache and for next to no computation."""
        params = type(self._params).from_buffer_copy(self._params)
        params.n_ctx = depth_tokens + 256
        params.n_batch = params.n_ubatch = _DOUBLING_BATCH_TOKENS
        params.n_seq_max = 2
        params.kv_unified = True
        return self._model.lib.llama_init_from_model(self._model.handle, params)

    def _double(self, context: Any, state: State, tokens: int, times: int) -> State | None:
        lib = self._model.lib
        memory = lib.llama_get_memory(context)
        if not self._load(context, state, 0):
            return None
        for _ in range(times):
            if not self._load(context, state, 1):
                return None
            lib.llama_memory_seq_add(memory, 1, -1, -1, tokens)
            lib.llama_memory_seq_cp(memory, 1, 0, -1, -1)
            lib.llama_memory_seq_rm(memory, 1, -1, -1)
            tokens *= 2
            longer = self._state(context)
            if longer is None or lib.llama_memory_seq_pos_max(memory, 0) != tokens - 1:
                return None
            state = longer
        return state

    def _state(self, context: Any) -> State | None:
        lib = self._model.lib
        size = int(lib.llama_state_seq_get_size(context, 0))
        if not 0 < size <= _MAX_STATE_BYTES or not _affordable(size):
            return None
        try:
            state = (ctypes.c_uint8 * size)()
        except MemoryError:  # the worker is kept below a limit
            return None
        written = int(lib.llama_state_seq_get_data(context, state, size, 0))
        return state if 0 < written <= size else None

    def _load(self, context: Any, state: State, stream: int) -> bool:
        return bool(self._model.lib.llama_state_seq_set_data(context, state, len(state), stream))


def _affordable(state_bytes: int) -> bool:
    import psutil

    return bool(state_bytes * _COPIES_HELD < psutil.virtual_memory().available)
