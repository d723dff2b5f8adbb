"""How large an engine's compute buffers are, by running the model's graph through its allocator.

llama.cpp reserves them once, for the largest micro-batch (``llama_context::sched_reserve``), so they can
be computed ahead of time. With one device it is the whole graph; with several, each has its own part.
"""

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from advisor.arena import NOTHING, Arena, Block
from advisor.graph_programs import (
    FULL_MASK,
    OUTPUT_IDS,
    SLIDING_MASK,
    Program,
    final_program,
    layer_program,
)
from advisor.graph_sizes import Batch, sizes_of
from advisor.kv_cache import CacheSetup, Reach, cells_count
from catalog.architectures.blocks import find_architecture
from catalog.architectures.ffn import shared_expert_width
from catalog.architectures.layout import Architecture, Layer, Site
from catalog.types import Ffn, Geometry, Mixer

_ELEMENT_BYTES = 4
_MASKED = frozenset({Mixer.FULL, Mixer.SLIDING, Mixer.MLA, Mixer.ATTENTION_MAMBA2})
_INDEX_ELEMENTS = 5  # positions and cache indices, which lie before a mask and are freed by then


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
    tokens = setup.ubatch_tokens
    batch = Batch(
        tokens_count=tokens,
        sequences_count=setup.sequences_count,
        full_cells_count=cells_count(geometry, Reach.FULL, setup),
        sliding_cells_count=cells_count(geometry, Reach.SLIDING, setup),
    )
    return _Run(geometry, find_architecture(architecture), batch, setup).peak(part) * tokens * _ELEMENT_BYTES


class _Run:
    """One micro-batch's graph, from its inputs to the logits. Sizes are in elements per token."""

    def __init__(self, geometry: Geometry, arch: Architecture, batch: Batch, setup: CacheSetup) -> None:
        self._geometry = geometry
        self._arch = arch
        self._batch = batch
        self._flash = setup.flash_attention
        self._rotated = setup.quantised
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
        return self._arena.peak

    def _take_inputs(self, *, given: bool) -> None:
        take, blocks = self._arena.take, self._blocks
        if given:
            take(self._geometry.hidden_dim)  # embeddings handed over instead of tokens: never freed
        per_element = 2 if self._flash else 1  # fused attention reads a mask in half precision
        blocks[FULL_MASK] = take(_INDEX_ELEMENTS + self._batch.full_cells_count // per_element)
        if Mixer.SLIDING.value in self._geometry.mixers:
            blocks[SLIDING_MASK] = take(_INDEX_ELEMENTS + self._batch.sliding_cells_count // per_element)
        blocks[OUTPUT_IDS] = take(1)
        blocks["h"] = take(self._geometry.hidden_dim)

    def _run_layers(self, *, ends: bool) -> Mapping[str, int]:
        sites = _telling_sites(self._arch, self._geometry)
        last_masked = {_is_sliding(site): index for index, site in enumerate(sites) if _is_masked(site)}
        sizes: Mapping[str, int] = {}
        for index, site in enumerate(sites):
            program = layer_program(
                self._arch.name,
                site.layer.mixer,
                site.layer.ffn,
                last=ends and index == len(sites) - 1,
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
