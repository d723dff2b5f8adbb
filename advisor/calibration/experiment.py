"""An experiment of a calibration: a small weightless twin, what to time on it, and the work that is.

The twins of a processor are in ``advisor.calibration.processor_experiments``, those of an accelerator in
``advisor.calibration.accelerator_experiments``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from advisor.attention import USUAL_ATTENTION, AttentionKernel
from advisor.engines.base import Phase
from advisor.work import Work, decode_work, prefill_work
from catalog.ggml_types import tensor_bytes
from catalog.tensors import list_tensors
from catalog.types import ArtifactSpec, FileFormat, Geometry, ModelSpec, Role, TensorSpec, WeightGroup

#: Weight types in the order they are worth measuring: what published files mostly hold comes first.
TYPES = (
    "Q4_K",
    "Q6_K",
    "Q8_0",
    "Q5_K",
    "MXFP4",
    "Q4_0",
    "Q3_K",
    "IQ4_XS",
    "F16",
    "Q5_0",
    "Q4_1",
    "IQ4_NL",
    "IQ3_S",
    "IQ3_XXS",
    "Q2_K",
)
#: The type of the twins that measure everything but a type's own rates.
REFERENCE_TYPE = "Q4_K"
#: Types that mixtures of experts are mostly published in; experts are multiplied by kernels of their own.
EXPERT_TYPES = TYPES[:5]
#: How the names of the twins begin that show what attention costs.
ATTENTION = "attention-"
#: Of every twin that is not about either.
VOCAB_COUNT = 2048
HEAD_DIM = 128


class Heads(NamedTuple):
    """Query heads of a layer, heads with a cache, and the length of each."""

    heads_count: int
    kv_heads_count: int
    head_dim: int

    def __str__(self) -> str:
        """As the names of twins have it."""
        return "-".join(map(str, self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One thing to time on a twin."""

    phase: Phase
    tokens_count: int
    depth_tokens: int = 0
    most_count: int | None = None  # repeats that are enough; None: as many as are wanted of any


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A twin and what to time on it."""

    experiment_id: str
    model: ModelSpec
    tensor_types: tuple[str, ...]  # parallel to list_tensors(model)
    timings: tuple[Timing, ...]
    attention_kernel: AttentionKernel = USUAL_ATTENTION

    @property
    def context_tokens(self) -> int:
        """Context that holds every timing, a power of two as contexts usually are.

        Caches that lie a power of two apart compete for the same lines: with 32,768 tokens of context, 17,403 cached
        ones cost a third more to decode behind than with 17,600.
        """
        needed = max(timing.depth_tokens + timing.tokens_count for timing in self.timings) + 64
        return 1 << (needed - 1).bit_length()

    @property
    def weights_bytes(self) -> int:
        """Bytes of the twin's weights."""
        pairs = zip(list_tensors(self.model), self.tensor_types, strict=True)
        return sum(tensor_bytes(name, tensor.shape) for tensor, name in pairs)


def uniform_types(tensors: Iterable[TensorSpec], weight_type: str) -> tuple[str, ...]:
    """Every matrix in one type; norms, biases and routers in F32."""
    return tuple("F32" if len(tensor.shape) == 1 or tensor.role == Role.NORM else weight_type for tensor in tensors)


def artifact_of(model: ModelSpec, tensors: Sequence[TensorSpec], types: Sequence[str]) -> ArtifactSpec:
    """Weights by role and type for an explicit assignment of types."""
    geometry = model.geometry
    experts_frac = geometry.expert_used_count / geometry.expert_count if geometry and geometry.expert_count else 1.0
    sums: dict[tuple[Role, str], tuple[int, int]] = {}
    for tensor, name in zip(tensors, types, strict=True):
        params, size = sums.get((tensor.role, name), (0, 0))
        sums[tensor.role, name] = (params + tensor.params_count, size + tensor_bytes(name, tensor.shape))
    groups = tuple(
        WeightGroup(
            role=role,
            tensor_type=name,
            params_count=params,
            weight_bytes=size,
            used_frac=experts_frac if role == Role.EXPERT else 1.0,
        )
        for (role, name), (params, size) in sums.items()
    )
    return ArtifactSpec(
        model_id=model.model_id,
        quant_id="mixed" if len(set(types)) > 2 else types[0],
        file_format=FileFormat.GGUF,
        file_bytes=sum(group.weight_bytes for group in groups),
        groups=groups,
    )


def _twin_model(name: str, architecture: str, geometry: Geometry) -> ModelSpec:
    return ModelSpec(
        model_id=f"twin/{name}",
        display_name=name,
        org="twin",
        official=True,
        architecture=architecture,
        params_total_count=0,
        geometry=geometry,
        max_context_tokens=32768,
    )


def dense_geometry(
    layers: int, hidden: int, ffn: int, heads: int, kv_heads: int, *, head_dim: int = HEAD_DIM
) -> Geometry:
    """A plain transformer as Llama's."""
    return Geometry(
        mixers="A" * layers,
        ffns="d" * layers,
        hidden_dim=hidden,
        vocab_count=VOCAB_COUNT,
        tied_embeddings=False,
        head_count=heads,
        kv_head_count=kv_heads,
        head_dim=head_dim,
        ffn_dim=ffn,
        kv_full_elements_count=layers * 2 * kv_heads * head_dim,
    )


def mixture_geometry(
    layers: int, hidden: int, expert_ffn: int, experts: int, used: int, *, heads: int = 16, kv_heads: int = 4
) -> Geometry:
    """Routed experts in every layer, as in Qwen 3."""
    return replace(
        dense_geometry(layers, hidden, 0, heads, kv_heads),
        ffns="e" * layers,
        ffn_dim=None,
        qk_norm="head",
        expert_count=experts,
        expert_used_count=used,
        expert_ffn_dim=expert_ffn,
    )


def recurrent_geometry(layers: int, hidden: int, ffn: int, heads: int) -> Geometry:
    """Three gated-delta layers to one of attention, as in Qwen 3.5."""
    attention_layers = layers // 4
    state_elements = heads * 128 * 128 + 3 * 3 * heads * 128
    return replace(
        dense_geometry(layers, hidden, ffn, 16, 4),
        mixers="GGGA" * attention_layers,
        qk_norm="head",
        attention_output_gate=True,
        linear_key_head_count=heads,
        linear_value_head_count=heads,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        conv_kernel_count=4,
        kv_full_elements_count=attention_layers * 2 * 4 * 128,
        recurrent_state_elements_count=3 * attention_layers * state_elements,
    )


def twin_experiment(
    name: str,
    geometry: Geometry,
    weight_type: str,
    *timings: Timing,
    architecture: str = "llama",
) -> Experiment:
    """A twin in one weight type."""
    model = _twin_model(name, architecture, geometry)
    types = uniform_types(list_tensors(model), weight_type)
    return Experiment(
        experiment_id=f"{name}.{weight_type}",
        model=model,
        tensor_types=types,
        timings=timings,
    )


def work_of(
    experiment: Experiment, timing: Timing, *, threads_count: int | None = None, ubatch_tokens: int = 512
) -> Work:
    """The work of one timing: a token half-way through a decode window, or the whole prompt."""
    model = experiment.model
    artifact = artifact_of(model, list_tensors(model), experiment.tensor_types)
    if timing.phase == "decode":
        depth = timing.depth_tokens + timing.tokens_count / 2.0
        return decode_work(
            artifact,
            model.geometry,
            depth_tokens=depth,
            threads_count=threads_count,
            attention_kernel=experiment.attention_kernel,
        )
    return prefill_work(
        artifact,
        model.geometry,
        prompt_tokens=timing.tokens_count,
        depth_tokens=timing.depth_tokens,
        ubatch_tokens=ubatch_tokens,
        attention_kernel=experiment.attention_kernel,
        architecture=model.architecture,
    )
