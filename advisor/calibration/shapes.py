"""Model shapes to measure predictions on: catalog models small enough for most machines, or a user's own configs.

A shape is timed on a twin of its full size; its weights are never needed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advisor.calibration.experiment import Experiment, Timing
from advisor.errors import AdvisorError, BadRequestError
from advisor.types import SkippedRow
from catalog.errors import CatalogError
from catalog.load import Catalog
from catalog.recipes import tensor_types
from catalog.tensors import list_tensors
from catalog.types import ModelSpec

#: Catalog models, small enough to hold together, of unlike shape, architecture and quantisation.
DEFAULT_SHAPES = (
    ("Qwen/Qwen2.5-0.5B-Instruct", "Q4_K_M"),
    ("Qwen/Qwen3-0.6B", "Q8_0"),
    ("meta-llama/Llama-3.2-1B-Instruct", "Q5_K_M"),
    ("google/gemma-3-1b-it", "Q4_0"),
    ("Qwen/Qwen3-1.7B", "Q4_K_M"),
    ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "IQ4_XS"),
    ("ibm-granite/granite-3.1-1b-a400m-instruct", "Q6_K"),
    ("LiquidAI/LFM2-700M", "Q4_K_M"),
    ("Qwen/Qwen3.5-0.8B", "Q6_K"),
    ("Qwen/Qwen2.5-1.5B-Instruct", "Q3_K_M"),
)
#: The same for an accelerator, which is soon done with small ones.
ACCELERATOR_SHAPES = (
    ("Qwen/Qwen2.5-0.5B-Instruct", "Q4_K_M"),
    ("Qwen/Qwen3-1.7B", "Q8_0"),
    ("meta-llama/Llama-3.2-3B-Instruct", "Q4_K_M"),
    ("google/gemma-3-4b-it", "Q4_0"),
    ("Qwen/Qwen3.5-4B", "Q4_K_M"),
    ("ibm-granite/granite-3.1-3b-a800m-instruct", "Q6_K"),
    ("Qwen/Qwen3-8B", "IQ4_XS"),
    ("meta-llama/Llama-3.1-8B-Instruct", "Q5_K_M"),
    ("Qwen/Qwen3-14B", "Q3_K_M"),
    ("openai/gpt-oss-20b", "MXFP4_MOE"),
    ("Qwen/Qwen3-30B-A3B", "Q4_K_M"),
)
#: What a shape is timed on.
PROMPT_TOKENS = 256
OUTPUT_TOKENS = 16
_MOST_SHAPES_COUNT = 64
_NAME_CHARACTERS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model shape at a quantisation; weights are never needed."""

    name: str
    model: ModelSpec
    quant_id: str


def default_shapes(catalog: Catalog, *, on_accelerator: bool = False) -> tuple[Shape, ...]:
    """The shapes of `DEFAULT_SHAPES`, or of `ACCELERATOR_SHAPES`, that the catalog has."""
    return tuple(
        Shape(name=model_id.rpartition("/")[2], model=catalog.models[model_id], quant_id=quant_id)
        for model_id, quant_id in (ACCELERATOR_SHAPES if on_accelerator else DEFAULT_SHAPES)
        if model_id in catalog.models
    )


def read_shapes(entries: object, catalog: Catalog, where: str) -> tuple[tuple[Shape, ...], tuple[SkippedRow, ...]]:
    """Shapes from the JSON list ``[{"name", "config", "quant"}, ...]``, and the entries that are none, with why.

    Raises:
        BadRequestError: if it is no such list, or holds too many entries.
    """
    if not isinstance(entries, list) or not entries:
        raise BadRequestError(f'{where}: expected a list of {{"name", "config", "quant"}} objects')
    if len(entries) > _MOST_SHAPES_COUNT:
        raise BadRequestError(f"{where}: {len(entries)} shapes; give at most {_MOST_SHAPES_COUNT}")
    shapes, skipped = [], []
    for number, entry in enumerate(entries, start=1):
        try:
            shapes.append(_read_shape(entry, catalog, f"entry {number}"))
        except (AdvisorError, CatalogError) as error:
            skipped.append(_skipped(entry, str(error)))
    return tuple(shapes), tuple(skipped)


def _skipped(entry: object, reason: str) -> SkippedRow:
    fields = entry if isinstance(entry, Mapping) else {}
    named = {key: str(fields[key])[:_NAME_CHARACTERS] for key in ("name", "quant") if key in fields}
    return SkippedRow(row=named, reason=reason)


def _read_shape(entry: object, catalog: Catalog, where: str) -> Shape:
    from catalog.hf import read_config

    if not isinstance(entry, Mapping):
        raise BadRequestError(f"{where} is not an object")
    fields: Mapping[str, Any] = entry
    for field in ("name", "config", "quant"):
        if field not in fields:
            raise BadRequestError(f"{where}: field {field} is missing")
    if not isinstance(fields["config"], Mapping):
        raise BadRequestError(f"{where}: config must be the object a config.json holds")
    name = str(fields["name"])[:_NAME_CHARACTERS]
    model = read_config(fields["config"], model_id=f"shape/{name}")
    if model.architecture is None or model.geometry is None:
        raise BadRequestError(f"{where}: {model.geometry_note or 'its layers cannot be read from its config'}")
    shape = Shape(name=name, model=model, quant_id=catalog.quant(str(fields["quant"])).quant_id)
    shape_experiment(shape)  # its tensors can be listed, and stored in this quantisation
    return shape


def shape_experiment(shape: Shape, prompt_tokens: int = PROMPT_TOKENS) -> Experiment:
    """The full twin of a shape, timed on a prompt and on decoding behind it."""
    types = tensor_types(shape.model, list_tensors(shape.model), shape.quant_id)
    return Experiment(
        experiment_id=re.sub(r"[^\w.-]", "-", f"shape.{shape.name}.{shape.quant_id}"),
        model=shape.model,
        tensor_types=types,
        timings=shape_timings(prompt_tokens),
    )


def shape_timings(prompt_tokens: int) -> tuple[Timing, Timing]:
    """A prompt, and decoding behind it."""
    return (
        Timing(phase="prefill", tokens_count=prompt_tokens),
        Timing(phase="decode", tokens_count=OUTPUT_TOKENS, depth_tokens=prompt_tokens),
    )
