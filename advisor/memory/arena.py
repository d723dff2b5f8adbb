"""The address space of a compute buffer, filled and freed as ggml's graph allocator does it.

A tensor takes the smallest free gap that holds it, or else grows the end; a freed one merges with its
neighbours (``ggml_dyn_tallocr`` in ``ggml/src/ggml-alloc.c``). What a graph needs is therefore more than its
largest set of live tensors: gaps too small for the next tensor count as well.
"""

Block = tuple[int, int]  # offset and size
NOTHING: Block = (0, 0)
_ENDLESS = 1 << 62


class Arena:
    """Free gaps in order of address; the last one is endless. Sizes are in any one unit."""

    __slots__ = ("_gaps", "peak")

    def __init__(self) -> None:
        self._gaps = [(0, _ENDLESS)]
        self.peak = 0

    def take(self, size: int) -> Block:
        """Place a tensor."""
        if size <= 0:
            return NOTHING
        gaps = self._gaps
        best = len(gaps) - 1
        best_size = _ENDLESS
        for index in range(best):
            gap_size = gaps[index][1]
            if size <= gap_size <= best_size:
                best, best_size = index, gap_size
        offset, gap_size = gaps[best]
        if gap_size == size:
            del gaps[best]
        else:
            gaps[best] = (offset + size, gap_size - size)
        self.peak = max(self.peak, offset + size)
        return offset, size

    def give(self, *blocks: Block) -> None:
        """Free tensors, in this order."""
        for offset, size in blocks:
            if size:
                self._free(offset, size)

    def _free(self, offset: int, size: int) -> None:
        gaps = self._gaps
        index = 0
        while gaps[index][0] < offset:
            index += 1
        end = offset + size
        if gaps[index][0] == end:
            size += gaps.pop(index)[1]
        if index and sum(gaps[index - 1]) == offset:
            index -= 1
            offset, before = gaps.pop(index)
            size += before
        gaps.insert(index, (offset, size))

    def replace(self, block: Block, size: int) -> Block:
        """Place a result of ``size``, then free the tensor it was computed from."""
        made = self.take(size)
        self.give(block)
        return made
