"""Every weight tensor of a model's GGUF, by llama.cpp's names and shapes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from catalog.architectures.blocks import Layout, lay_out
from catalog.architectures.caches import with_cache_sizes
from catalog.architectures.keys import hyper_parameters
from catalog.architectures.layout import MetadataValue
from catalog.errors import CatalogError
from catalog.types import Geometry, Mixer, ModelSpec, TensorSpec

_DEFAULT_CONTEXT_TOKENS = 4096
_STORED_AT_LEAST_FRAC = 0.9  # of a prediction block's weights: less, and the block is not there
_MATRIX_SLACK_FRAC = 0.05
_COMPUTED = "rope_f"  # rotary tables, which converters compute: not weights
_UNPREFIXED = "xielu."  # Apertus' activation has keys of its own name


class LayoutKey(NamedTuple):
    """What decides a model's tensors: the arguments of `lay_out`."""

    architecture: str | None
    geometry: Geometry
    context_tokens: int
    nextn_matrices_count: int | None = None


def layout_key(model: ModelSpec) -> LayoutKey:
    """The model's key into everything that is computed once per shape.

    Raises:
        CatalogError: if the model's geometry is unknown.
    """
    if model.geometry is None:
        reason = model.geometry_note or "its configuration was not published in a form that was read"
        raise CatalogError(f"{model.model_id}: no tensor list, because {reason}; add its config.json")
    key = LayoutKey(gguf_architecture(model), model.geometry, context_tokens(model))
    if not model.geometry.mtp_layers_count or model.extra_params_count is None:
        return key
    stored = model.params_total_count + model.extra_params_count
    return _with_stored_predictions(key, stored, model.extra_params_kind == "mtp")


@lru_cache(maxsize=512)
def _with_stored_predictions(key: LayoutKey, stored_count: int, only_predictions: bool) -> LayoutKey:
    """The key with those prediction blocks that the model's stored weights leave room for."""
    geometry, layout = key.geometry, lay_out(*key[:3], 0)
    room = stored_count - _params_count(layout, nextn=False)
    count = _params_count(layout, nextn=True)
    if room < count * _STORED_AT_LEAST_FRAC:
        return key._replace(geometry=replace(geometry, mtp_layers_count=0))
    if not count or not only_predictions:
        return key
    matrix = geometry.hidden_dim * geometry.vocab_count * geometry.mtp_layers_count
    matrices = int((room - count) / matrix + _MATRIX_SLACK_FRAC)
    return key._replace(nextn_matrices_count=max(0, min(2, matrices)))


def _params_count(layout: Layout, *, nextn: bool) -> int:
    """Weights of the prediction blocks, or of all that is not one."""
    total = 0 if nextn else sum(_size(t.shape) for t in layout.top if not t.name.startswith(_COMPUTED))
    for block in layout.blocks:
        if block.layer.nextn is nextn:
            total += len(block.indices) * sum(_size(t.shape) for t in block.tensors)
    return total


def layout_of(model: ModelSpec) -> Layout:
    """The model's tensors grouped by layer kind.

    Raises:
        CatalogError: if the model's geometry is unknown.
    """
    return lay_out(*layout_key(model))


def context_tokens(model: ModelSpec) -> int:
    """Longest context the model states; it sizes learned position tables."""
    return model.max_context_tokens or _DEFAULT_CONTEXT_TOKENS


def list_tensors(model: ModelSpec) -> tuple[TensorSpec, ...]:
    """Every tensor of the model's GGUF, top-level ones first, then layer by layer.

    Raises:
        CatalogError: if the model's geometry is unknown.
    """
    layout = layout_of(model)
    tensors = [TensorSpec(name=t.name, shape=t.shape, role=t.role) for t in layout.top]
    by_layer = {index: block.tensors for block in layout.blocks for index in block.indices}
    for index in sorted(by_layer):
        tensors += [
            TensorSpec(name=f"blk.{index}.{t.name}", shape=t.shape, role=t.role, layer=index) for t in by_layer[index]
        ]
    return tuple(tensors)


def gguf_architecture(model: ModelSpec) -> str | None:
    """The name under which llama.cpp loads the model; it has two for some families."""
    geometry, name = model.geometry, model.architecture
    if geometry is None or name is None:
        return name
    if name == "nemotron_h" and geometry.expert_count:
        return "nemotron_h_moe"
    if name == "granitehybrid" and not geometry.ssm_head_count:
        return "granite"
    if name == "mistral3" and Mixer.MLA in geometry.mixers:
        return "deepseek2"
    return name


def gguf_metadata(model: ModelSpec) -> Mapping[str, MetadataValue]:
    """Architecture keys of the model's GGUF, enough for llama.cpp to load `list_tensors`.

    The tokenizer is left out: write ``tokenizer.ggml.model = "no_vocab"`` beside these. Integers are
    uint32, floats float32; a tuple is an array with one value per layer.

    Raises:
        CatalogError: if the model's geometry or architecture is unknown.
    """
    layout = layout_of(model)
    name = gguf_architecture(model)
    if name is None:
        raise CatalogError(f"{model.model_id}: llama.cpp has no architecture for it, so no GGUF can be described")
    keys = hyper_parameters(layout)
    stated = {key if key.startswith(_UNPREFIXED) else f"{name}.{key}": value for key, value in keys.items()}
    return {"general.architecture": name, "general.name": model.display_name, **stated}


def params_count(model: ModelSpec) -> int:
    """Weights of the language model, multi-token-prediction blocks left out.

    Raises:
        CatalogError: if the model's geometry is unknown.
    """
    return _params_count(layout_of(model), nextn=False)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for count in shape:
        size *= count
    return size


def truncate(model: ModelSpec, layers: Sequence[int]) -> ModelSpec:
    """The model cut down to some of its layers, in the given order; prediction blocks are dropped.

    For llama.cpp to run the result, keep at least one layer of each mixer, as it allocates a cache for
    each; keep the layers' order, and Llama 4's in whole periods: a file states how many layers come
    before those with experts, or at which interval they come.

    Raises:
        CatalogError: if the geometry is unknown or a layer index is out of range.
    """
    geometry = model.geometry
    if geometry is None:
        raise CatalogError(f"{model.model_id}: cannot be truncated, its geometry is unknown")
    if not layers or not all(0 <= index < geometry.layers_count for index in layers):
        raise CatalogError(f"{model.model_id}: layers {list(layers)} are not all within 0..{geometry.layers_count - 1}")
    return replace(model, geometry=_truncated(geometry, layers))


def _truncated(geometry: Geometry, layers: Sequence[int]) -> Geometry:
    first_shared = geometry.layers_count - geometry.kv_shared_layers_count
    kept = replace(
        geometry,
        mixers="".join(geometry.mixers[i] for i in layers),
        ffns="".join(geometry.ffns[i] for i in layers),
        ffn_dims=tuple(geometry.ffn_dims[i] for i in layers) if geometry.ffn_dims else (),
        compress_ratios=tuple(geometry.compress_ratios[i] for i in layers) if geometry.compress_ratios else (),
        kv_shared_layers_count=sum(i >= first_shared for i in layers),
        mtp_layers_count=0,
    )
    return with_cache_sizes(kept)
