"""Which ggml type each tensor of a GGUF has, by the name of its quantisation."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from catalog.architectures.blocks import Layout
from catalog.errors import CatalogError
from catalog.ggml_types import FULL_PRECISION, TYPES
from catalog.mixes import (
    DEFAULT_TYPES,
    EMBEDDING_TYPES,
    FALLBACK,
    LIFTS,
    LOW_BIT,
    Category,
    Lift,
    Traits,
    output_type,
)
from catalog.publishers import Override, PublisherMix, dynamic_mix
from catalog.tensors import layout_of
from catalog.types import Geometry, Mixer, ModelSpec, TensorSpec

_LAYER = re.compile(r"blk\.(\d+)\.")
# llama-quant.cpp, tensor_allows_quantization: parts of names whose tensors are left as they are
_NEVER_QUANTISED = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid|altup|laurel|per_layer_model_proj|ssm_conv1d"
    r"|shortconv\.conv\.weight|indexer\.[kq]_proj\.weight|position_embd|token_types|attn_rel_b"
)
_NEVER_IN_GLM5_NEXT = re.compile(
    r"hc_|indexer\.attn_q_b|indexer\.attn_k|indexer\.proj|indexer_compressor_|ssm_f_[ab]\.|ssm_g_[ab]\."
    r"|ssm_beta\.|attn_kv_a_mqa|attn_k_b|attn_v_b"
)
_NOT_BELOW_Q8_IN_GLM5_NEXT = re.compile(r"attn_q_a|attn_q_b|nextn\.eh_proj")
# The converter writes these in F32 whatever the file's type; so it does everything not called .weight.
_ALWAYS_F32 = re.compile(
    r"_norm\.weight|ffn_gate_inp|position_embd|token_types|ssm_conv1d|shortconv\.conv\.|altup_correct_coef"
    r"|altup_predict_coef|indexer\.proj\.|hc_|indexer_compressor_|_compressor_ape"
)
_STORED_AS_IDS = "ffn_gate_tid2eid"
#: Architectures whose published weights are MXFP4 experts: requantising them is refused, so they stay.
NATIVE_MXFP4 = frozenset({"gpt-oss"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a quantisation's name is carried out.

    Attributes:
        file_type: llama.cpp's file type.
        edge_type: type of output matrix and embedding, where the uploader overrides the rules.
        imatrix: whether published files of this name are made with an importance matrix.
        dynamic: level of the uploader's dynamic mixes, whose types depend on the kind of model.
        exact: False where the uploader varies tensors by hand, so that sizes are approximate.
    """

    file_type: str
    edge_type: str | None = None
    imatrix: bool = True
    dynamic: str | None = None
    exact: bool = True


_ALIASES = {"MXFP4": "MXFP4_MOE", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q3_K": "Q3_K_M", "FP16": "F16", "FP32": "F32"}
# Uploaders' variations: base file type, and the type they give output matrix and embedding.
_VARIATIONS = {
    "Q2_K_L": ("Q2_K", "Q8_0"),
    "Q3_K_XL": ("Q3_K_L", "Q8_0"),
    "Q4_K_L": ("Q4_K_M", "Q8_0"),
    "Q5_K_L": ("Q5_K_M", "Q8_0"),
    "Q6_K_L": ("Q6_K", "Q8_0"),
}
# Levels of dynamic mixes where no rule is known for a kind of model (`catalog.publishers`): the nearest mix.
_DYNAMIC = {
    "Q2_K_XL": ("Q2_K", None),
    "Q3_K_XL": ("Q3_K_M", None),
    "Q4_K_XL": ("Q4_K_M", None),
    "Q5_K_XL": ("Q5_K_M", "Q8_0"),
    "Q6_K_XL": ("Q6_K", "Q8_0"),
    "Q8_K_XL": ("Q8_0", "BF16"),
}
_DYNAMIC_PREFIX = "UD-"


@lru_cache(maxsize=512)
def recipe_of(quant_id: str) -> Recipe:
    """The recipe of a quantisation's name: a file type, or an uploader's variation of one.

    Raises:
        CatalogError: if the name is no GGUF quantisation.
    """
    name = quant_id.upper()
    dynamic = name.startswith(_DYNAMIC_PREFIX) or name in _DYNAMIC.keys() - _VARIATIONS.keys()
    name = name.removeprefix(_DYNAMIC_PREFIX).removeprefix("I1-")
    name = _ALIASES.get(name, name)
    base, edge_type = (_DYNAMIC if dynamic else _VARIATIONS).get(name, (name, None))
    if base not in DEFAULT_TYPES:
        raise CatalogError(f"{quant_id!r} is no GGUF quantisation this catalog knows; try Q4_K_M, Q6_K or Q8_0")
    return Recipe(file_type=base, edge_type=edge_type, dynamic=name if dynamic else None, exact=not dynamic)


class Subject(NamedTuple):
    """A tensor as the rules see it; the layer's number in its name does not matter to them."""

    name: str
    shape: tuple[int, ...]
    category: Category
    quantised: bool


def subject_of(name: str, shape: tuple[int, ...], architecture: str | None) -> Subject:
    """The tensor with what its name decides."""
    return Subject(name, shape, category_of(name), _is_quantised(name, shape, architecture))


def category_of(name: str) -> Category:
    """A tensor's category for the mixing rules (``tensor_get_category`` of llama-quant.cpp)."""
    if name == "output.weight":
        return Category.OUTPUT
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return Category.EMBEDDING
    for part, category in _CATEGORY_BY_PART:
        if part in name:
            return category
    return Category.OTHER


_CATEGORY_BY_PART = (
    ("attn_qkv.weight", Category.ATTN_V),
    ("attn_kv_b.weight", Category.ATTN_V),
    ("attn_v.weight", Category.ATTN_V),
    ("attn_k.weight", Category.ATTN_K),
    ("attn_q.weight", Category.ATTN_Q),
    ("attn_output.weight", Category.ATTN_OUTPUT),
    ("ffn_up", Category.FFN_UP),
    ("ffn_gate", Category.FFN_GATE),
    ("ffn_down", Category.FFN_DOWN),
)
_COUNTED = frozenset({Category.ATTN_V, Category.FFN_DOWN, Category.FFN_GATE, Category.FFN_UP})


def _is_quantised(name: str, shape: Sequence[int], architecture: str | None) -> bool:
    """Whether the quantiser touches a tensor; norms, routers and other small ones are left alone."""
    if _dimensions(shape) < 2 or not name.endswith("weight") or _NEVER_QUANTISED.search(name):
        return False
    return not (architecture == "glm5-next" and _NEVER_IN_GLM5_NEXT.search(name))


def _dimensions(shape: Sequence[int]) -> int:
    """Dimensions as ggml counts them: trailing ones do not count."""
    count = len(shape)
    while count > 1 and shape[count - 1] == 1:
        count -= 1
    return count


def source_type(name: str, shape: Sequence[int], half: str = "F16") -> str:
    """Type a converter writes before any quantisation; ``half`` is its type for large tensors."""
    if _STORED_AS_IDS in name:
        return "I32"
    if _dimensions(shape) < 2 or not name.endswith(".weight") or _ALWAYS_F32.search(name):
        return "F32"
    return half


def kept_type(subject: Subject) -> str | None:
    """Type of a tensor that is the same in every file (norms and other small ones), or None."""
    kept = source_type(subject.name, subject.shape)
    return None if subject.quantised or kept == "F16" else kept


_WITHOUT_KV_HEADS = frozenset({Mixer.KDA, Mixer.MAMBA1, Mixer.MAMBA2, Mixer.SHORT_CONV, Mixer.NONE})


def _group_size(geometry: Geometry) -> int:
    """Query heads per key-value head of the first layer, as the file states them."""
    first = geometry.mixers[0]
    if first in _WITHOUT_KV_HEADS:
        return 0
    if first == Mixer.MLA:
        return geometry.head_count
    if first == Mixer.SLIDING:
        heads = geometry.swa_head_count or geometry.head_count
        return heads // max(1, geometry.swa_kv_head_count or geometry.kv_head_count)
    return geometry.head_count // max(1, geometry.global_kv_head_count or geometry.kv_head_count)


def _is_70b(architecture: str, geometry: Geometry) -> bool:
    """Whether llama.cpp's loader types the model "70B", which it tells by its 80 layers."""
    if geometry.layers_count != 80:
        return False
    grouped = geometry.head_count != geometry.kv_head_count
    return architecture in ("qwen2", "deci", "olmo") or (architecture in ("llama", "llama-embed") and grouped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A recipe applied to a model: all that decides types but the tensor itself."""

    recipe: Recipe
    traits: Traits
    architecture: str
    tied: bool
    attn_v_count: int
    publisher: PublisherMix | None = None

    def override_of(self, subject: Subject) -> Override | None:
        """What an uploader changes about a tensor, or None."""
        return self.publisher.override_of(subject.name) if self.publisher and subject.quantised else None


def mix_of(layout: Layout, recipe: Recipe, *, tied: bool, attn_v_count: int, imatrix: bool | None = None) -> Mix:
    """A recipe for a model; ``imatrix`` overrides what is usual for the recipe's files."""
    geometry, name = layout.site.geometry, layout.architecture.name
    traits = Traits(
        group_size=_group_size(geometry),
        expert_count=geometry.expert_count,
        layer_count=sum(len(block.indices) for block in layout.blocks),
        falcon=name == "falcon",
        is_70b=_is_70b(name, geometry),
        imatrix=recipe.imatrix if imatrix is None else imatrix,
    )
    publisher = dynamic_mix(recipe.dynamic, name, geometry.expert_count) if recipe.dynamic else None
    if publisher is not None:
        recipe = replace(recipe, file_type=publisher.file_type, edge_type=None)
    return Mix(
        recipe=recipe, traits=traits, architecture=name, tied=tied, attn_v_count=attn_v_count, publisher=publisher
    )


def tensor_types(
    model: ModelSpec, tensors: Sequence[TensorSpec], quant_id: str, *, imatrix: bool | None = None
) -> tuple[str, ...]:
    """The ggml type of each tensor in a file of this quantisation.

    Args:
        model: whose architecture and head counts the rules ask for.
        tensors: the file's tensors, in any order.
        quant_id: a file type such as "Q4_K_M", or an uploader's variation such as "Q4_K_L".
        imatrix: whether an importance matrix is used; None: as is usual for this quantisation.

    Raises:
        CatalogError: if the name is no GGUF quantisation or the geometry is unknown.
    """
    layout, recipe = layout_of(model), recipe_of(quant_id)
    name = layout.architecture.name
    subjects = [subject_of(tensor.name, tensor.shape, name) for tensor in tensors]
    mix = mix_of(
        layout,
        recipe,
        tied=all(subject.category is not Category.OUTPUT for subject in subjects),
        attn_v_count=sum(subject.category is Category.ATTN_V for subject in subjects),
        imatrix=imatrix,
    )
    by_number = counts_by_layer(mix)
    order = sorted(range(len(subjects)), key=lambda i: (layer_number(subjects[i].name), subjects[i].name))
    turns = dict(zip(order, turns_of([subjects[i] for i in order]), strict=True))
    return tuple(
        same_type(mix, subject)
        or types_along(mix, subject, (layer_number(subject.name) if by_number(subject) else turns[i],))[0]
        for i, subject in enumerate(subjects)
    )


def same_type(mix: Mix, subject: Subject) -> str | None:
    """The tensor's type where it is the same in every layer, else None."""
    fixed = _fixed_type(mix, subject)
    if fixed is not None:
        return fixed
    lifts = _lifts(mix, subject)
    if lifts and lifts[0].where is not None:
        return None
    chosen = lifts[0].tensor_type if lifts else DEFAULT_TYPES[mix.recipe.file_type]
    return _fitting(_of_70b(mix, subject, chosen), subject.shape)


def types_along(mix: Mix, subject: Subject, places: Sequence[int]) -> tuple[str, ...]:
    """Types of a tensor whose type varies, in several layers.

    Args:
        mix: recipe and model.
        subject: the tensor.
        places: per layer, the tensor's place in the order by which its category is lifted.
    """
    lifts = _lifts(mix, subject)
    by_turn = subject.category is Category.ATTN_V and mix.override_of(subject) is None
    count = mix.attn_v_count if by_turn else mix.traits.layer_count
    chosen = _chosen_along(lifts, DEFAULT_TYPES[mix.recipe.file_type], count)
    fitting = {name: _fitting(_of_70b(mix, subject, name), subject.shape) for name in set(chosen)}
    return tuple(fitting[chosen[place]] for place in places)


@lru_cache(maxsize=1024)
def _chosen_along(lifts: tuple[Lift, ...], default: str, count: int) -> tuple[str, ...]:
    """The type at every place; shared and routed experts may count twice as many places as layers."""
    return tuple(_lifted(lifts, place, count, default) for place in range(2 * count + 2))


def _lifted(lifts: Sequence[Lift], place: int, count: int, default: str) -> str:
    for lift in lifts:
        if lift.where is None or lift.where(place, count):
            return lift.tensor_type
    return default


@lru_cache(maxsize=4096)
def _lifts_that_apply(file_type: str, category: Category, traits: Traits) -> tuple[Lift, ...]:
    lifts = LIFTS[file_type].get(category, ())
    return tuple(lift for lift in lifts if lift.when is None or lift.when(traits))


def _lifts(mix: Mix, subject: Subject) -> tuple[Lift, ...]:
    override = mix.override_of(subject)
    if override is not None:
        return override.lifts
    return _lifts_that_apply(mix.recipe.file_type, subject.category, mix.traits)


def _fixed_type(mix: Mix, subject: Subject) -> str | None:
    """Type of a tensor that the lifts do not touch, or None."""
    file_type, name, shape = mix.recipe.file_type, subject.name, subject.shape
    if mix.architecture in NATIVE_MXFP4 and file_type != "F32" and name.endswith("_exps.weight"):
        return "MXFP4"
    if file_type in FULL_PRECISION:
        return source_type(name, shape, file_type)
    if not subject.quantised:
        return source_type(name, shape)
    if mix.override_of(subject) is not None:
        return None
    if mix.architecture == "glm5-next" and _NOT_BELOW_Q8_IN_GLM5_NEXT.search(name):
        return _fitting("Q8_0", shape)
    if subject.category in (Category.EMBEDDING, Category.OUTPUT):
        return _fitting(_edge_type(mix, subject), shape)
    if file_type == "MXFP4_MOE":
        return _fitting(_mixed_experts(mix, subject), shape)
    return None


def _edge_type(mix: Mix, subject: Subject) -> str:
    """Type of the output matrix or the embedding; a tied embedding follows the output's rules."""
    file_type = mix.recipe.file_type
    if mix.recipe.edge_type is not None:
        return mix.recipe.edge_type
    if file_type == "MXFP4_MOE":
        return "Q8_0"
    default = DEFAULT_TYPES[file_type]
    if subject.category is Category.EMBEDDING and not mix.tied:
        return EMBEDDING_TYPES.get(file_type, default)
    if mix.traits.falcon or subject.shape[0] % TYPES[default].block_weights_count:
        return "Q8_0"
    return output_type(file_type)


def _mixed_experts(mix: Mix, subject: Subject) -> str:
    """MXFP4_MOE: experts in MXFP4, the rest in Q8_0; latent projections are stacked like experts."""
    stacked = len(subject.shape) > 2 and subject.shape[2] > 1
    feed_forward = subject.category in (Category.FFN_UP, Category.FFN_GATE, Category.FFN_DOWN)
    return "MXFP4" if stacked and (mix.architecture != "bailingmoe3" or feed_forward) else "Q8_0"


def _of_70b(mix: Mix, subject: Subject, chosen: str) -> str:
    """A 70-billion-parameter model's eight heads share each attn_v, so it is worth more bits."""
    if not mix.traits.is_70b or mix.recipe.file_type in LOW_BIT or subject.category is not Category.ATTN_V:
        return chosen
    if mix.override_of(subject) is not None:
        return chosen
    return "Q5_K" if chosen in ("Q3_K", "Q4_K") else chosen


def _fitting(tensor_type: str, shape: tuple[int, ...]) -> str:
    """The type itself, or what replaces it where rows are not whole blocks."""
    if shape[0] % TYPES[tensor_type].block_weights_count == 0:
        return tensor_type
    replaced = FALLBACK.get(tensor_type, tensor_type)
    return "F16" if shape[0] % TYPES[replaced].block_weights_count else replaced


def counts_by_layer(mix: Mix) -> Callable[[Subject], bool]:
    """Whether a tensor's place is its layer's number rather than its turn.

    So it is for the feed-forward tensors of models with experts, except at the lowest bit rates, and for
    whatever an uploader changes.
    """
    by_number = mix.traits.expert_count > 1 and mix.recipe.file_type not in LOW_BIT
    return lambda subject: (
        mix.override_of(subject) is not None or (by_number and subject.category is not Category.ATTN_V)
    )


def turns_of(subjects: Iterable[Subject]) -> list[int]:
    """Each tensor's turn within its category; ``subjects`` as the quantiser takes them: by layer, then name."""
    counts = dict.fromkeys(_COUNTED, 0)
    turns = []
    for subject in subjects:
        counted = takes_turns(subject)
        turns.append(counts[subject.category] if counted else 0)
        if counted:
            counts[subject.category] += 1
    return turns


def takes_turns(subject: Subject) -> bool:
    """Whether a tensor counts in its category; all others have turn 0."""
    return subject.quantised and subject.category in _COUNTED


def layer_number(name: str) -> int:
    """The layer a tensor's name states; -1 for tensors outside the layers."""
    match = _LAYER.match(name)
    return int(match.group(1)) if match else -1
