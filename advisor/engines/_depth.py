"""Bring a context to a depth without paying for the whole prompt. Runs in the worker process only.

What a model costs at a depth does not depend on what the context says. So a short piece of it is computed once, and
its saved state is lengthened (see ``_state``), which works for full and sliding attention, compressed caches and
recurrent states alike. The results are kept, as many as memory allows, and put back before each window.
"""

import ctypes
from typing import TYPE_CHECKING, Any

from advisor.engines import _state
from catalog.units import GIB

if TYPE_CHECKING:
    from advisor.engines._native import NativeModel

_MAX_STATE_BYTES = 8 * GIB
_KEPT_BYTES = 256 * 1024**2  # of states of several depths; one is kept whatever its size
_COPIES_HELD = 3  # of a deep state at once: the context's, the one kept, a layer's on its way
_TRIAL_TOKENS = 3
_PIECE_TOKENS = 64  # enough that repeated cells are not all alike, few enough for a slow model
_UNKNOWN = -1

Saved = Any  # a ctypes byte array


class DepthKeeper:
    """Knows how deep a model's context is and can bring it elsewhere."""

    def __init__(self, model: "NativeModel", context_params: Any) -> None:
        self._model = model
        self._params = context_params
        self._kept: dict[int, Saved] = {}
        self._piece: _state.State | None = None
        self._window_tokens = max(0, int(model.lib.llama_model_n_swa(model.handle)))
        self.depth_tokens = 0
        self.jumps = False

    def try_out(self) -> None:
        """See whether any depth can be had for the price of a short one, and leave the context empty."""
        if self._model.memory:
            self._compute(_TRIAL_TOKENS)
            raw = self._save()
            state = None if raw is None else _state.parse(raw, _TRIAL_TOKENS)
            self.jumps = state is not None and self._lengthen(state, 2 * _TRIAL_TOKENS) is not None
        self.clear()

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

    def reach(self, depth_tokens: int) -> int:
        """This depth, or the largest half, quarter, … of it whose state this machine's memory allows.

        Depths beyond that would have to be computed token by token.
        """
        piece = self._computed_piece() if self.jumps and depth_tokens > self._piece_tokens else None
        if piece is None:
            return depth_tokens
        while depth_tokens > self._piece_tokens and not self._may_hold(piece, depth_tokens):
            depth_tokens //= 2
        return depth_tokens

    def seek(self, depth_tokens: int, streams_count: int) -> None:
        """Leave exactly ``depth_tokens`` in each stream."""
        if depth_tokens == 0:
            self.clear()
            return
        saved = self._kept.get(depth_tokens)
        if saved is None:
            saved = self._take(depth_tokens)
            if saved is None:  # too large to keep: it stands in the context, once
                return
            self._kept[depth_tokens] = saved
        self.clear()
        for stream in range(streams_count):
            self._load(saved, stream)
        self.depth_tokens = depth_tokens

    def _take(self, depth_tokens: int) -> Saved | None:
        """A state of that depth; None if it cannot be kept, and then the context itself is that deep."""
        self._make_room(depth_tokens)
        if self.depth_tokens != depth_tokens:
            saved = self._from_a_piece(depth_tokens) if self.jumps else None
            if saved is not None:
                return saved
            self._compute(depth_tokens)
        return self._save()

    def _make_room(self, depth_tokens: int) -> None:
        """Forget states until what is left and one of this depth, by their bytes per token, may be kept together."""
        while self._kept:
            deepest = max(self._kept)
            per_token = len(self._kept[deepest]) / deepest
            if sum(map(len, self._kept.values())) + per_token * depth_tokens <= _KEPT_BYTES:
                return
            del self._kept[deepest]

    def _compute(self, depth_tokens: int) -> None:
        self.clear()
        for batch in self._model.batches(self._model.random_tokens(depth_tokens)):
            self._model.step(batch)
        self.depth_tokens = depth_tokens

    @property
    def _piece_tokens(self) -> int:
        return min(_PIECE_TOKENS, int(self._params.n_ubatch))

    def _from_a_piece(self, depth_tokens: int) -> Saved | None:
        """A state of that depth from a computed piece; None if it is short, or does not load."""
        piece = self._computed_piece() if depth_tokens > self._piece_tokens else None
        return None if piece is None else self._lengthen(piece, depth_tokens)

    def _computed_piece(self) -> _state.State | None:
        """The piece that states are lengthened from; computing it leaves it in the context."""
        if self._piece is None:
            self._compute(self._piece_tokens)
            raw = self._save()
            self._piece = None if raw is None else _state.parse(raw, self._piece_tokens)
        return self._piece

    def _may_hold(self, state: _state.State, depth_tokens: int) -> bool:
        size = _state.lengthened_bytes(state, depth_tokens, self._window_tokens)
        return size <= _MAX_STATE_BYTES and _affordable(size)

    def _lengthen(self, state: _state.State, depth_tokens: int) -> Saved | None:
        """A longer state that the context has accepted."""
        if not self._may_hold(state, depth_tokens):
            return None
        size = _state.lengthened_bytes(state, depth_tokens, self._window_tokens)
        try:
            saved = (ctypes.c_uint8 * size)()
            offset = 0
            for part in _state.lengthened(state, depth_tokens, self._window_tokens):
                ctypes.memmove(ctypes.addressof(saved) + offset, part.ctypes.data, part.nbytes)
                offset += part.nbytes
        except MemoryError:  # the worker is kept below a limit
            return None
        self.clear()
        memory = self._model.memory
        accepted = self._load(saved, 0) and self._model.lib.llama_memory_seq_pos_max(memory, 0) == depth_tokens - 1
        self.lose_track()
        return saved if accepted else None

    def _save(self) -> Saved | None:
        """The state of the first stream."""
        lib, context = self._model.lib, self._model.context
        size = int(lib.llama_state_seq_get_size(context, 0))
        if not 0 < size <= _MAX_STATE_BYTES or not _affordable(size):
            return None
        try:
            saved = (ctypes.c_uint8 * size)()
        except MemoryError:
            return None
        written = int(lib.llama_state_seq_get_data(context, saved, size, 0))
        return saved if written == size else None

    def _load(self, saved: Saved, stream: int) -> bool:
        return bool(self._model.lib.llama_state_seq_set_data(self._model.context, saved, len(saved), stream))


def _affordable(state_bytes: int) -> bool:
    import psutil

    return bool(state_bytes * _COPIES_HELD < psutil.virtual_memory().available)
