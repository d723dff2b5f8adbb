"""How large an engine's compute buffers are, by running the model's graph through its allocator.

llama.cpp reserves them once, for the largest micro-batch (``llama_context::sched_reserve``), so they can
be computed ahead of time. With one device it is the whole graph; with several, each has its own part.
"""

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from advisor.memory.arena import NOTHING, Arena, Block
from advisor.memory.graph_programs import (
    FULL_INDICES,
    FULL_MASK,
    OUTPUT_IDS,
    SLIDING_INDICES,
    SLIDING_MASK,
    SPARSE_LATENT,
    Program,
    final_program,
    initial_program,
    layer_program,
)
from advisor.memory.graph_sizes import Batch, sizes_of
from advisor.memory.kv_cache import CacheSetup, cells_count
from advisor.memory.layer_caches import Reach
from catalog.architectures.blocks import find_architecture
from catalog.architectures.ffn import shared_expert_width
from catalog.architectures.layout import Architecture, Layer, Site
from catalog.architectures.recurrent import conv_kernel
from catalog.types import Ffn, Geometry, Mixer

_ELEMENT_BYTES = 4
_HALF = 2  # half-precision elements in the space of one
_MASKED = frozenset({Mixer.FULL, Mixer.SLIDING, Mixer.MLA, Mixer.COMPRESSED, Mixer.ATTENTION_MAMBA2})
_INDEX_ELEMENTS = 5
_ROTATED_HEAD_DIM = 64  # quantised keys and values are rotated where heads are multiples of this
_ELEMENTS_PER_INDEX = 2  # an index is an 8-byte integer


class Part(Enum):
    """Which part of the graph a device runs."""

    WHOLE = "embedding, layers and output"
    HEAD = "embedding and layers"
    MIDDLE = "layers"
    TAIL = "layers and output"
    INPUT = "embedding only"


@lru_cache(maxsize=8192)
def compute_bytes(geometry: Geometry, architecture: str | None, setup: CacheSetup, part: Part = Part.WHOLE) -> int:
    """Bytes of the compute buffer of a device that runs one part of a model's graph."""
    arch = find_architecture(architecture)
    tokens = setup.ubatch_tokens
    batch = Batch(
        tokens_count=tokens,
        sequences_count=setup.sequences_count,
        # encoders keep no cache: a token sees the others of its micro-batch
        full_cells_count=tokens if arch.encoder else cells_count(geometry, Reach.FULL, setup),
        sliding_cells_count=tokens if arch.encoder else cells_count(geometry, Reach.SLIDING, setup),
    )
    return _Run(geometry, arch, batch, setup).peak(part) * tokens * _ELEMENT_BYTES


class _Run:
    """One micro-batch's graph, from its inputs to the logits. Sizes are in elements per token."""

    def __init__(self, geometry: Geometry, arch: Architecture, batch: Batch, setup: CacheSetup) -> None:
        self._geometry = geometry
        self._arch = arch
        self._batch = batch
        self._flash = setup.flash_attention
        self._rotated = setup.quantised and geometry.head_dim % _ROTATED_HEAD_DIM == 0
        self._shared = bool(shared_expert_width(geometry))
        self._arena = Arena()
        self._blocks: dict[str, Block] = {}

    def peak(self, part: Part) -> int:
        """The highest address in use."""
        self._take_inputs(given=part in (Part.WHOLE, Part.HEAD, Part.INPUT))
        if part is not Part.INPUT:
            sizes = self._run_layers(ends=part in (Part.WHOLE, Part.TAIL))
            if part in (Part.WHOLE, Part.TAIL):
                self._execute(final_program(self._arch), sizes)
                return max(self._arena.peak, self._split_peak(sizes))
        return self._arena.peak

    def _split_peak(self, sizes: Mapping[str, int]) -> int:
        """Where the logits end if an empty tensor keeps the gaps before them apart.

        Short convolutions have a second state, of no elements. When the first one is just as large as the
        token ids and takes their place, the empty one divides the space that the mask leaves, so that the
        logits come after the mask, or after the last layer's feed-forward.
        """
        state = (conv_kernel(self._geometry) - 1) * sizes["d"] * self._batch.sequences_count
        if Mixer.SHORT_CONV.value not in self._geometry.mixers or state != self._batch.tokens_count:
            return 0
        mask = self._index_elements() + self._batch.full_cells_count // _HALF + 1
        hidden = sizes["d"]
        behind_layer = 2 * hidden + min(mask, 2 * hidden + _INDEX_ELEMENTS) + 3 * sizes["ffn"]
        return max(hidden + mask, behind_layer) + sizes["vocab"]

    def _take_inputs(self, *, given: bool) -> None:
        take, blocks, batch, geometry = self._arena.take, self._blocks, self._batch, self._geometry
        if given:
            take(geometry.hidden_dim)  # embeddings handed over instead of tokens: never freed
        if Mixer.LIGHTNING.value in geometry.mixers:
            take(geometry.head_count * batch.tokens_count)  # decay between any two tokens: never freed
        if self._arch.name in SPARSE_LATENT:
            selected = min(geometry.index_topk_count or 0, batch.full_cells_count)
            take(geometry.layers_count * selected + batch.full_cells_count // _HALF)  # never freed
        per_element = _HALF if self._flash else 1  # fused attention reads a mask in half precision
        blocks[FULL_INDICES] = take(self._index_elements())
        blocks[FULL_MASK] = take(batch.full_cells_count // per_element)
        if Mixer.SLIDING.value in geometry.mixers:
            blocks[SLIDING_INDICES] = take(self._index_elements())
            blocks[SLIDING_MASK] = take(batch.sliding_cells_count // per_element)
        blocks[OUTPUT_IDS] = take(1)
        blocks["h"] = take(geometry.hidden_dim)

    def _index_elements(self) -> int:
        """Positions and cache indices, which lie before a mask and are freed by then."""
        if self._flash:
            return _INDEX_ELEMENTS
        geometry = self._geometry  # values are stored transposed: one index per element
        heads = max(geometry.kv_head_count, geometry.swa_kv_head_count or 0)
        return _INDEX_ELEMENTS + _ELEMENTS_PER_INDEX * heads * (geometry.v_head_dim or geometry.head_dim)

    def _run_layers(self, *, ends: bool) -> Mapping[str, int]:
        sites = _telling_sites(self._arch, self._geometry)
        looks_up = bool(self._geometry.ple_dim)
        sizes = sizes_of(sites[0], self._batch)
        self._execute(initial_program(self._arch.name, looks_up=looks_up), sizes)
        last_masked = {_is_sliding(site): index for index, site in enumerate(sites) if _is_masked(site)}
        for index, site in enumerate(sites):
            follows = sites[index + 1] if index + 1 < len(sites) else None
            program = layer_program(
                self._arch.name,
                site.layer.mixer,
                site.layer.ffn,
                first=looks_up and index == 0,
                last=ends and index == len(sites) - 1,
                before_conv=follows is not None and follows.layer.mixer is Mixer.SHORT_CONV,
                unmask=last_masked.get(_is_sliding(site)) == index,
                flash=self._flash,
                rotated=self._rotated,
                shared=self._shared,
            )
            sizes = sizes_of(site, self._batch)
            self._execute(program, sizes)
        return sizes

    def _execute(self, program: Program, sizes: Mapping[str, int]) -> None:
        take, give, blocks = self._arena.take, self._arena.give, self._blocks
        for name, operator, argument in program:
            if operator == "+":
                blocks[name] = take(sizes[argument])
            elif operator == "-":
                give(blocks.pop(name, NOTHING))
            elif operator == ">":
                made = take(sizes[argument])
                give(blocks[name])
                blocks[name] = made
            else:
                blocks[name] = blocks.pop(argument)


def _telling_sites(arch: Architecture, geometry: Geometry) -> list[Site]:
    """The layers that can set the peak: the first of each kind and neighbourhood, and the last two."""
    count = geometry.layers_count
    widths = geometry.ffn_dims or (geometry.ffn_dim or 0,) * count
    kinds = list(zip(geometry.mixers, geometry.ffns, widths, strict=True))
    seen = set()
    sites = []
    for index, kind in enumerate(kinds):
        pair = (kinds[index - 1] if index else None, kind)
        if pair in seen and index < count - 2:
            continue
        seen.add(pair)
        layer = Layer(mixer=Mixer(kind[0]), ffn=Ffn(kind[1]), ffn_dim=kind[2])
        sites.append(Site(arch=arch, geometry=geometry, context_tokens=0, layer=layer))
    return sites


def _is_sliding(site: Site) -> bool:
    return site.layer.mixer is Mixer.SLIDING


def _is_masked(site: Site) -> bool:
    return site.layer.mixer in _MASKED
