"""What a model's weights take at a quantisation: bytes by role and type, by layer, and on disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from catalog.architectures.blocks import Layout, lay_out
from catalog.architectures.layout import Layer
from catalog.architectures.table import GENERIC
from catalog.formats import SCHEMES, Scheme, scheme_bytes
from catalog.ggml_types import tensor_bytes
from catalog.mixes import Category
from catalog.recipes import (
    Mix,
    Subject,
    counts_by_layer,
    kept_type,
    mix_of,
    recipe_of,
    same_type,
    subject_of,
    takes_turns,
    turns_of,
    types_along,
)
from catalog.tensors import LayoutKey, layout_key
from catalog.types import (
    ArtifactSpec,
    FileFormat,
    Geometry,
    ModelSpec,
    Role,
    WeightGroup,
)

# File bytes that are not tensors, by vocabulary size; measured on published files (catalog sources,
# quants.csv, gguf_metadata_overhead). Elsewhere: bytes per token of a sentencepiece or a BPE vocabulary.
_METADATA_BYTES = {
    32000: 734_832,
    32064: 743_232,
    65536: 2_386_500,
    100352: 3_571_900,
    128256: 7_838_560,
    130560: 5_140_000,
    151936: 5_956_352,
    152064: 5_956_352,
    248320: 10_965_000,
}
_SENTENCEPIECE_VOCAB_COUNT = 40_000
_SENTENCEPIECE_TOKEN_BYTES = 23
_BPE_TOKEN_BYTES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One tensor of a layer kind, and the layers that have it; its type where no recipe changes it."""

    subject: Subject
    kept_type: str | None
    role: Role
    params_count: int
    layers: tuple[int, ...]
    turns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Everything about a model's tensors that no quantisation changes."""

    layout: Layout
    entries: tuple[_Entry, ...]
    tied: bool
    attn_v_count: int


def weigh(model: ModelSpec, quant_id: str) -> ArtifactSpec:
    """The model's weights at a quantisation, exact to the tensor where its geometry is known.

    Multi-token-prediction blocks count towards the file (role TOWER) where converters keep them; an engine
    that does not draft with them does not load them, so they are in no layer's bytes. Vision towers are
    files of their own and not counted.

    Args:
        model: the model.
        quant_id: a GGUF file type ("Q4_K_M") or another format's scheme ("AWQ-4bit", "MLX-4bit").

    Raises:
        CatalogError: if the quantisation is unknown.
    """
    if model.geometry is None:
        return _weigh_by_count(model, quant_id)
    plan = _plan(layout_key(model))
    scheme = SCHEMES.get(quant_id)
    if scheme is not None:
        return _weigh_packed(model, quant_id, plan, scheme)
    recipe = recipe_of(quant_id)
    mix = mix_of(plan.layout, recipe, tied=plan.tied, attn_v_count=plan.attn_v_count)
    return _weigh_mixed(model, quant_id, plan, mix)


@lru_cache(maxsize=2048)
def _plan(key: LayoutKey) -> _Plan:
    layout = lay_out(*key)
    name = layout.architecture.name
    subjects = {
        (block.layer, tensor.name): subject_of(tensor.name, tensor.shape, name)
        for block in layout.blocks
        for tensor in block.tensors
    }
    turns = _turns(layout, subjects)
    tops = [_entry(subject_of(tensor.name, tensor.shape, name), tensor.role, (), ()) for tensor in layout.top]
    entries = [
        _entry(
            subjects[block.layer, tensor.name],
            tensor.role,
            block.indices,
            tuple(turns.get((index, tensor.name), 0) for index in block.indices)
            if takes_turns(subjects[block.layer, tensor.name])
            else (0,) * len(block.indices),
        )
        for block in layout.blocks
        for tensor in block.tensors
    ]
    return _Plan(
        layout=layout,
        entries=(*tops, *entries),
        tied=all(entry.subject.category is not Category.OUTPUT for entry in tops),
        attn_v_count=sum(len(e.layers) for e in entries if e.subject.category is Category.ATTN_V),
    )


def _entry(subject: Subject, role: Role, layers: tuple[int, ...], turns: tuple[int, ...]) -> _Entry:
    return _Entry(
        subject=subject,
        kept_type=kept_type(subject),
        role=role,
        params_count=_product(subject.shape),
        layers=layers,
        turns=turns,
    )


def _turns(layout: Layout, subjects: dict[tuple[Layer, str], Subject]) -> dict[tuple[int, str], int]:
    """Turn of each tensor of each layer within its category (see `turns_of`)."""
    counted: dict[
        int, tuple[tuple[str, Subject], ...]
    ] = {}  # by layer number: the names that count, in order, and what they are
    for block in layout.blocks:
        found = [(tensor.name, subjects[block.layer, tensor.name]) for tensor in sorted(block.tensors)]
        counting = tuple((name, subject) for name, subject in found if takes_turns(subject))
        counted |= dict.fromkeys(block.indices, counting)
    ordered = [(index, name, subject) for index in sorted(counted) for name, subject in counted[index]]
    turns = turns_of(subject for _, _, subject in ordered)
    return {(index, name): turn for (index, name, _), turn in zip(ordered, turns, strict=True)}


@dataclass(slots=True)
class _Spread:
    """Bytes in each of some layers. The layers are held, so that their identity names them for good."""

    layers: Sequence[int]
    size: int = 0
    expert_size: int = 0


class _Tally:
    """Sums of weights by role and type, and by layer."""

    def __init__(self) -> None:
        self._spread: dict[int, _Spread] = {}
        self._sums: dict[tuple[Role, str], list[int]] = {}

    def add(self, entry: _Entry, tensor_type: str, size: int, layers: Sequence[int]) -> None:
        """Count a tensor of ``size`` bytes, once in each of the layers (or once outside them)."""
        times = len(layers) if entry.layers else 1
        total = self._sums.setdefault((entry.role, tensor_type), [0, 0])
        total[0] += entry.params_count * times
        total[1] += size * times
        if entry.role is Role.TOWER or not layers:
            return
        spread = self._spread.get(id(layers))  # most tensors of a layer kind share its tuple of layers
        if spread is None:
            spread = self._spread[id(layers)] = _Spread(layers)
        spread.size += size
        if entry.role is Role.EXPERT:
            spread.expert_size += size

    def by_layer(self, layers_count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Bytes of each layer, and of its routed experts."""
        sizes, expert_sizes = [0] * layers_count, [0] * layers_count
        for spread in self._spread.values():
            for layer in spread.layers:
                sizes[layer] += spread.size
                expert_sizes[layer] += spread.expert_size
        return tuple(sizes), tuple(expert_sizes)

    def groups(self, geometry: Geometry) -> tuple[WeightGroup, ...]:
        """The sums, each with the share of it that a token reads."""
        return tuple(
            WeightGroup(
                role=role,
                tensor_type=tensor_type,
                params_count=params,
                weight_bytes=size,
                used_frac=used_frac(role, geometry),
            )
            for (role, tensor_type), (params, size) in self._sums.items()
        )


def _weigh_mixed(model: ModelSpec, quant_id: str, plan: _Plan, mix: Mix) -> ArtifactSpec:
    """A GGUF by llama.cpp's mixing rules."""
    tally = _Tally()
    by_number = counts_by_layer(mix)
    for entry in plan.entries:
        if entry.kept_type is not None:
            tally.add(entry, entry.kept_type, tensor_bytes(entry.kept_type, entry.subject.shape), entry.layers)
            continue
        for tensor_type, layers in _types(mix, entry, by_number(entry.subject)):
            tally.add(entry, tensor_type, tensor_bytes(tensor_type, entry.subject.shape), layers)
    exact = mix.recipe.exact and plan.layout.architecture is not GENERIC
    return _artifact(model, quant_id, plan, tally, FileFormat.GGUF, _metadata_bytes(plan.layout), exact)


def _weigh_packed(model: ModelSpec, quant_id: str, plan: _Plan, scheme: Scheme) -> ArtifactSpec:
    """Another format: linear layers packed by its scheme, the rest in BF16, no prediction blocks."""
    tally = _Tally()
    for entry in plan.entries:
        if entry.role is not Role.TOWER:
            packed, size = scheme_bytes(scheme, entry.subject.shape, entry.role)
            tally.add(entry, quant_id if packed else "BF16", size, entry.layers)
    return _artifact(model, quant_id, plan, tally, scheme.file_format, 0, exact=True)


def _artifact(
    model: ModelSpec,
    quant_id: str,
    plan: _Plan,
    tally: _Tally,
    file_format: FileFormat,
    metadata_bytes: int,
    exact: bool,
) -> ArtifactSpec:
    geometry = plan.layout.site.geometry
    groups = tally.groups(geometry)
    layer_bytes, expert_bytes = tally.by_layer(geometry.layers_count)
    return ArtifactSpec(
        model_id=model.model_id,
        quant_id=quant_id,
        file_format=file_format,
        file_bytes=sum(group.weight_bytes for group in groups) + metadata_bytes,
        groups=groups,
        layer_bytes=layer_bytes,
        expert_bytes=expert_bytes,
        exact=exact,
    )


def _types(mix: Mix, entry: _Entry, by_number: bool) -> Iterable[tuple[str, Sequence[int]]]:
    """Each type that a tensor has in some layers, with those layers."""
    same = same_type(mix, entry.subject)
    if same is not None:
        return ((same, entry.layers),)
    places = entry.layers if by_number else entry.turns
    layers_by_type: dict[str, list[int]] = {}
    for tensor_type, layer in zip(types_along(mix, entry.subject, places), entry.layers, strict=True):
        layers_by_type.setdefault(tensor_type, []).append(layer)
    return layers_by_type.items()


def used_frac(role: Role, geometry: Geometry | None) -> float:
    """Share of a role's bytes that one token's forward pass reads."""
    if role in (Role.EMBEDDING, Role.TOWER):
        return 0.0
    if role is Role.EXPERT and geometry is not None and geometry.expert_count:
        return geometry.expert_used_count / geometry.expert_count
    return 1.0


def _metadata_bytes(layout: Layout) -> int:
    """Bytes of a file that are not tensors: mostly its tokenizer."""
    vocab = layout.site.geometry.vocab_count
    token = _SENTENCEPIECE_TOKEN_BYTES if vocab < _SENTENCEPIECE_VOCAB_COUNT else _BPE_TOKEN_BYTES
    return _METADATA_BYTES.get(vocab, vocab * token)


def _product(shape: Sequence[int]) -> int:
    size = 1
    for count in shape:
        size *= count
    return size


# An 8-billion-parameter Llama: what a quantisation's bits come to on a model whose shape is unknown.
_REFERENCE = Geometry(
    mixers="A" * 32,
    ffns="d" * 32,
    hidden_dim=4096,
    vocab_count=128256,
    tied_embeddings=False,
    head_count=32,
    kv_head_count=8,
    head_dim=128,
    ffn_dim=14336,
)


@lru_cache(maxsize=128)
def typical_bits(quant_id: str) -> float:
    """Bits per weight that a quantisation comes to on an ordinary 8-billion-parameter model.

    Raises:
        CatalogError: if the quantisation is unknown.
    """
    model = ModelSpec(
        model_id="reference",
        display_name="reference",
        org="reference",
        official=False,
        architecture="llama",
        params_total_count=0,
        geometry=_REFERENCE,
    )
    groups = weigh(model, quant_id).groups
    return 8 * sum(group.weight_bytes for group in groups) / sum(group.params_count for group in groups)


def _weigh_by_count(model: ModelSpec, quant_id: str) -> ArtifactSpec:
    """Parameters x typical bits, for a model whose shape is unknown."""
    total = model.params_total_count
    active = min(model.params_active_count or total, total)
    size = round(total * typical_bits(quant_id) / 8)
    group = WeightGroup(
        role=Role.FFN if active == total else Role.EXPERT,
        tensor_type=quant_id,
        params_count=total,
        weight_bytes=size,
        used_frac=active / total if total else 1.0,
    )
    scheme = SCHEMES.get(quant_id)
    return ArtifactSpec(
        model_id=model.model_id,
        quant_id=quant_id,
        file_format=FileFormat.GGUF if scheme is None else scheme.file_format,
        file_bytes=size,
        groups=(group,),
        exact=False,
    )
