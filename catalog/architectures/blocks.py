"""A model's tensors by layer kind: what is listed, weighed and written all comes from here."""

from dataclasses import dataclass, replace
from functools import lru_cache

from catalog.architectures.attention import grouped_query
from catalog.architectures.extras import HASHED_LAYERS_COUNT
from catalog.architectures.ffn import feed_forward
from catalog.architectures.layout import Architecture, Builder, Layer, Site, Tensor, matrix, vector
from catalog.architectures.rotary import rotary_tables
from catalog.architectures.table import ARCHITECTURES, GENERIC
from catalog.types import Ffn, Geometry, Mixer, Role

# GLM-5.2 and later, told by their million-token context, share one indexer among four layers.
_SHARED_INDEXER_CONTEXT_TOKENS = 1 << 20
Key = tuple[str, str, int, int, bool, bool, bool]  # what tells layers apart
_ATTENTION = frozenset({Mixer.FULL, Mixer.SLIDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """All layers of one kind: their indices, and the tensors that each of them has."""

    layer: Layer
    indices: tuple[int, ...]
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A model's tensors: those outside the layers, and one block per layer kind."""

    architecture: Architecture
    site: Site
    top: tuple[Tensor, ...]
    blocks: tuple[Block, ...]


def find_architecture(name: str | None) -> Architecture:
    """The architecture of llama.cpp's name; the generic one where the name is unknown."""
    return ARCHITECTURES.get(name or "", GENERIC)


def slides_every(every: int, count: int) -> list[bool]:
    """Which of ``count`` layers slide (see ``Architecture.sliding_every``)."""
    if every < 0:
        return [index % -every != 0 for index in range(count)]
    return [every > 0 and index % every < every - 1 for index in range(count)]


@lru_cache(maxsize=4096)
def lay_out(
    architecture: str | None, geometry: Geometry, context_tokens: int, nextn_matrices_count: int | None = None
) -> Layout:
    """The tensors of a geometry under an architecture's names.

    ``nextn_matrices_count`` says how many matrices of the vocabulary's size each prediction block has of its
    own: 0, 1 (output) or 2 (embedding too); None: what is usual for the architecture.
    """
    arch = find_architecture(architecture)
    if nextn_matrices_count is not None:
        arch = replace(arch, nextn_matrices_count=nextn_matrices_count)
    site = Site(arch=arch, geometry=geometry, context_tokens=context_tokens)
    blocks = [
        Block(layer=layer, indices=tuple(indices), tensors=tuple(_layer_tensors(replace(site, layer=layer))))
        for layer, indices in _layer_kinds(arch, geometry, context_tokens).items()
    ]
    return Layout(architecture=arch, site=site, top=tuple(_top_tensors(site)), blocks=tuple(blocks))


def _layer_kinds(arch: Architecture, geometry: Geometry, context_tokens: int) -> dict[Layer, list[int]]:
    by_key: dict[Key, list[int]] = {}
    for index, key in enumerate(_layer_keys(arch, geometry, context_tokens)):
        by_key.setdefault(key, []).append(index)
    kinds = {_layer_of(key): indices for key, indices in by_key.items()}
    if arch.nextn and geometry.mtp_layers_count:
        first = geometry.layers_count
        kinds[_nextn_layer(arch, geometry)] = list(range(first, first + geometry.mtp_layers_count))
    return kinds


def _layer_keys(arch: Architecture, geometry: Geometry, context_tokens: int) -> list[Key]:
    """One hashable key per layer; equal keys mean equal tensors."""
    count = geometry.layers_count
    widths = geometry.ffn_dims or (geometry.ffn_dim or 0,) * count
    ratios = geometry.compress_ratios or (0,) * count
    hashed = HASHED_LAYERS_COUNT if arch.name == "deepseek4" else 0
    first_differs = arch.name == "modern-bert"
    shares = arch.name == "glm-dsa"
    return [
        (
            mixer,
            ffn,
            widths[i],
            ratios[i],
            i < hashed,
            first_differs and i == 0,
            not shares or owns_indexer(context_tokens, i),
        )
        for i, (mixer, ffn) in enumerate(zip(geometry.mixers, geometry.ffns, strict=True))
    ]


def _layer_of(key: Key) -> Layer:
    mixer, ffn, width, ratio, hashed, first, indexed = key
    return Layer(
        mixer=Mixer(mixer),
        ffn=Ffn(ffn),
        ffn_dim=width,
        compress_ratio=ratio,
        hashed_router=hashed,
        first=first,
        indexed=indexed,
    )


def owns_indexer(context_tokens: int, index: int) -> bool:
    """Whether a layer of GLM-5 has a sparse-attention indexer of its own."""
    return context_tokens < _SHARED_INDEXER_CONTEXT_TOKENS or index < 2 or index % 4 == 2


def _nextn_layer(arch: Architecture, geometry: Geometry) -> Layer:
    """A prediction block: like the last attention layer, with the architecture's feed-forward."""
    attends = [mixer for mixer in geometry.mixers if mixer in "ASLV"]
    sliding = Mixer.SLIDING if arch.nextn_slides else Mixer(attends[-1] if attends else "A")
    ffn = arch.nextn_ffn or (Ffn.MOE if geometry.expert_count else Ffn.DENSE)
    return Layer(mixer=sliding, ffn=ffn, ffn_dim=geometry.ffn_dim or 0, nextn=True)


def _layer_tensors(site: Site) -> list[Tensor]:
    tensors = _norms(site)
    if site.layer.mixer is not Mixer.NONE:
        tensors += _mixer(site)(site)
    tensors += feed_forward(site)
    if site.arch.layer_extras is not None:
        tensors += site.arch.layer_extras(site)
    if site.layer.nextn:
        tensors += _nextn_tensors(site)
        tensors = [tensor._replace(role=Role.TOWER) for tensor in tensors]
    return tensors


def _norms(site: Site) -> list[Tensor]:
    arch, layer, hidden = site.arch, site.layer, site.geometry.hidden_dim
    names = arch.nextn_norms if layer.nextn and arch.nextn_norms else arch.norms
    absent = set()
    if layer.first or (layer.mixer is Mixer.NONE and len(names) > 1):
        absent.add("attn_norm")
    if layer.ffn is Ffn.NONE:
        absent.add("ffn_norm")
    names = tuple(name for name in names if name not in absent)
    tensors = [vector(name, hidden, "" if name in arch.bare_norms else ".weight") for name in names]
    if arch.norm_bias:
        tensors += [vector(name, hidden, ".bias") for name in names]
    return tensors


def _mixer(site: Site) -> Builder:
    mixer = site.layer.mixer
    if mixer in site.arch.mixers:
        return site.arch.mixers[mixer]
    if mixer in _ATTENTION:
        return grouped_query
    return GENERIC.mixers[mixer]


def _nextn_tensors(site: Site) -> list[Tensor]:
    hidden, vocab = site.geometry.hidden_dim, site.geometry.vocab_count
    tensors = [
        matrix("nextn.eh_proj", 2 * hidden, hidden, Role.TOWER),
        vector("nextn.enorm", hidden),
        vector("nextn.hnorm", hidden),
        vector(site.arch.nextn_output_norm, hidden),
    ]
    matrices = ("nextn.shared_head_head", "nextn.embed_tokens")[: site.arch.nextn_matrices_count]
    return tensors + [matrix(name, hidden, vocab, Role.TOWER) for name in matrices]


def _top_tensors(site: Site) -> list[Tensor]:
    arch, geometry = site.arch, site.geometry
    hidden, vocab = geometry.hidden_dim, geometry.vocab_count
    separate = arch.output == "own" or (arch.output == "geometry" and not geometry.tied_embeddings)
    # A tied embedding is read whole as the output matrix, so it counts as that.
    looked_up = separate or arch.encoder
    tensors = [matrix("token_embd", hidden, vocab, Role.EMBEDDING if looked_up else Role.OUTPUT)]
    if arch.output_norm is not None:
        tensors.append(vector(arch.output_norm, hidden))
        if arch.norm_bias:
            tensors.append(vector(arch.output_norm, hidden, ".bias"))
    if separate and not arch.encoder:
        tensors.append(matrix("output", hidden, vocab, Role.OUTPUT))
    if arch.output_bias:
        tensors.append(vector("output", vocab, ".bias"))
    tensors += rotary_tables(site)
    return tensors + (arch.top_extras(site) if arch.top_extras is not None else [])
