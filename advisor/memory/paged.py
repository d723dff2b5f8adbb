"""vLLM's pages: how many bytes of its pool one sequence takes, layer by layer.

Its rules (0.32, ``v1/kv_cache_interface.py``, ``v1/core/kv_cache_utils.py``, ``platforms/interface.py``):

* A block holds 16 tokens (128 on a CPU) of one layer; a sequence takes whole blocks.
* A sliding-window layer keeps its window less one, the tokens of every batch in flight, and one block more, for a
  window need not begin where a block does. Batches in flight: two, scheduled one ahead; one on a CPU.
* Attention layers beside recurrent ones get blocks of so many tokens that a page holds a state, and each state is
  padded to such a page.
* Layers of different kinds form groups of equally many layers, which draw on one pool: the last group of a kind is
  filled up with layers that are not there. A group has as many layers as the rarest kind, or as the commonest where
  that is not half as many again.

* A recurrent layer keeps two pages: its state, and that at the last whole block, for the prefix cache
  (``mamba_cache_mode`` "align").

Recurrent states are counted in F32, convolution histories in 16 bits, as it keeps those of Qwen's gated delta nets;
where it keeps both in 16 bits they take less. What 0.32 logs on a CPU for three shapes is met to the block
(``tests/unit/advisor/test_memory_paged.py``).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from advisor.memory.layer_caches import Cache, LayerCaches, Reach

BLOCK_TOKENS = 16
CPU_BLOCK_TOKENS = 128
_BATCHES_IN_FLIGHT = 2
_STATE_BYTES, _HISTORY_BYTES = 4, 2
_STATES_COUNT = 2
#: Kinds of layers that share a pool; others have pools or layouts of their own.
_POOLED = (Reach.FULL, Reach.SLIDING, Reach.STATE)
#: Kinds whose numbers of layers differ by less than this factor are filled up to the larger.
_ALIKE_FACTOR = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """What sizes one sequence's share of the pool; ``batch_tokens`` is ``--max-num-batched-tokens``."""

    context_tokens: int
    batch_tokens: int
    window_tokens: int | None
    on_cpu: bool = False

    @property
    def block_tokens(self) -> int:
        """Tokens of a block before it is enlarged for recurrent layers."""
        return CPU_BLOCK_TOKENS if self.on_cpu else BLOCK_TOKENS

    def held_tokens(self, reach: Reach) -> int:
        """Tokens of which an attention layer keeps keys and values."""
        if reach is not Reach.SLIDING or self.window_tokens is None:
            return self.context_tokens
        in_flight = self.batch_tokens * (1 if self.on_cpu else _BATCHES_IN_FLIGHT)
        return min(self.context_tokens, self.window_tokens - 1 + in_flight)


@dataclass(frozen=True, slots=True)
class _Pool:
    """What all layers of a model have in common in the pool."""

    block_tokens: int
    state_page_bytes: int
    filling: Mapping[Reach, float]  # layers that a kind takes room for, for each that is there


def bytes_by_layer(layers: LayerCaches, row_bytes: Callable[[Cache], int], paging: Paging) -> tuple[int, ...]:
    """Bytes of the pool that one sequence takes in each layer.

    Args:
        layers: what the layers cache.
        row_bytes: bytes of one cell of an attention cache.
        paging: the sequence and the engine's settings.
    """
    pool = _pool(layers, row_bytes, paging)
    sizes = [sum(_cache_bytes(cache, row_bytes, paging, pool) for cache in caches) for caches in layers.kinds]
    return tuple([sizes[kind] for kind in layers.kind_by_layer])


def _pool(layers: LayerCaches, row_bytes: Callable[[Cache], int], paging: Paging) -> _Pool:
    caches = [cache for kind in layers.kind_by_layer for cache in layers.kinds[kind] if cache.reach in _POOLED]
    rows = {row_bytes(cache) for cache in caches if cache.reach is not Reach.STATE}
    state_bytes = max((_state_bytes(cache) for cache in caches if cache.reach is Reach.STATE), default=0)
    if len(rows) != 1 or 0 in rows:  # rows of several widths are pooled in ways of their own
        return _Pool(paging.block_tokens, state_bytes, {})
    (row,) = rows
    block_tokens = paging.block_tokens * max(1, math.ceil(state_bytes / (paging.block_tokens * row)))
    counts = Counter(cache.reach for cache in caches)
    return _Pool(block_tokens, block_tokens * row if state_bytes else 0, _filling(counts))


def _filling(counts: Mapping[Reach, int]) -> dict[Reach, float]:
    fewest, most = min(counts.values()), max(counts.values())
    group_count = most if most < _ALIKE_FACTOR * fewest else fewest
    return {reach: math.ceil(count / group_count) * group_count / count for reach, count in counts.items()}


def _cache_bytes(cache: Cache, row_bytes: Callable[[Cache], int], paging: Paging, pool: _Pool) -> int:
    if paging.context_tokens == 0:
        return 0
    filling = pool.filling.get(cache.reach, 1.0)
    if cache.reach is Reach.STATE:
        return math.ceil(filling * _STATES_COUNT * (pool.state_page_bytes or _state_bytes(cache)))
    blocks_count = math.ceil(_cells_count(cache.reach, paging) / pool.block_tokens)
    if cache.reach is Reach.SLIDING:
        blocks_count += 1
    return math.ceil(filling * blocks_count * pool.block_tokens * row_bytes(cache))


def _cells_count(reach: Reach, paging: Paging) -> int:
    """Cells of an attention cache: one per token it keeps, or one per so many."""
    if reach is Reach.COMPRESSED_4:
        return math.ceil(paging.context_tokens / 4)
    if reach is Reach.COMPRESSED_128:
        return math.ceil(paging.context_tokens / 128)
    return paging.held_tokens(reach)


def _state_bytes(cache: Cache) -> int:
    return _STATE_BYTES * cache.key_dim + _HISTORY_BYTES * cache.value_dim
