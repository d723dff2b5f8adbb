"""The twins that show a processor's rates: small ones that between them show every rate.

One per weight type at a common shape, a narrow one for the overhead of many small operations, some
that are mostly attention, mixtures of experts and one recurrent. ``advisor.calibration.rehearse`` times them,
``advisor.calibration.processor_fit`` recovers the rates.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from advisor.attention import NEAR_TOKENS, AttentionKernel
from advisor.calibration.experiment import (
    ATTENTION,
    EXPERT_TYPES,
    HEAD_DIM,
    REFERENCE_TYPE,
    TYPES,
    VOCAB_COUNT,
    Experiment,
    Heads,
    Timing,
    dense_geometry,
    mixture_geometry,
    recurrent_geometry,
    twin_experiment,
    uniform_types,
)
from catalog.ggml_types import tensor_bytes
from catalog.tensors import list_tensors

#: Types whose prompt kernels are so slow that short prompts take as long as others' long ones.
_SLOW_PROMPT_TYPES = ("Q4_1", "Q5_0", "Q2_K")
#: Types that output layers are mostly stored in: many short rows, slower per byte than the layers' matrices.
_OUTPUT_TYPES = ("Q6_K", "Q8_0")
#: Those that show how much slower experts are to decode than other weights of their type.
_DECODED_EXPERT_TYPES = ("Q4_K", "Q6_K", "MXFP4")
#: Small experts and short rows show what each row costs, by a kernel that takes several at once and by one that does
#: not; a second of those that unpack a type makes the figure steadier.
_BOTH_KERNELS_TYPES = ("Q4_K", "Q6_K")
_UNPACKED_TYPES = ("Q6_K", "Q5_K")
_PROMPT_TOKENS = 128
_MIDDLE_PROMPT_TOKENS = 192
_SHORT_PROMPT_TOKENS = 64
_LONG_PROMPT_TOKENS = 320
#: The first tokens after another model had the caches are slow, and must stay few among the others.
_DECODE_TOKENS = 12
_DEEP_TOKENS = 4 * NEAR_TOKENS  # in a context twice as long, as people have them: in one just as long they cost less
_DEEP_PROMPT_TOKENS = 128  # 64 at once pay a tenth to a fifth more for their attention than 512 do
#: Behind so many, many layers show what attention costs each.
_LAYERED_DEPTH_TOKENS = 1024 - 128
_SLOW_PROMPT_TOKENS = 32
#: A feed-forward large enough to sweep the caches between two tokens, as the layers of a real model do; a prompt has
#: only its last token pass it, for no layer follows.
_SWEEPING_FFN_DIM = 32768
#: How much larger than the last-level cache a twin must be for its weights to come from memory, and the most times a
#: twin is enlarged. Each token reads all of a twin that is decoded: of mixtures that left most experts asleep, what one
#: token read was there for the next, and they decoded a sixth to a quarter faster per layer than deep ones.
_CACHES_COUNT = 1.6
_MOST_TIMES = 16
_READ_BYTES = 96e6  # by a token of a type's twin: three times the usual last-level cache
_FEW_HEADS = 4
_LEAST_LAYERS_COUNT = 2  # a last layer works on the last token alone
#: Heads, heads with caches and their length: of Llama and Qwen 3, of Qwen 3.5 and later, of Qwen 3's mixtures, of
#: small Qwen, of Llama 1B and gpt-oss, of Gemma. And heads with a cache each, whose rows no other head finds fetched:
#: of OLMoE and Llama 2, and of Phi 3, not whole steps of vector kernels long.
_HEADS = (
    Heads(32, 8, 128),
    Heads(16, 2, 256),
    Heads(32, 4, 128),
    Heads(16, 2, 128),
    Heads(32, 8, 64),
    Heads(8, 4, 256),
)
_LONE_HEADS = (Heads(16, 16, 128), Heads(16, 16, 96))
_PLAIN_HEADS = (Heads(32, 8, 64), Heads(16, 2, 256), Heads(32, 8, 128))
_QUANTISED_CACHE_HEADS = Heads(32, 8, 64)
_CACHE_TYPES = ("q8_0", "q4_0")

_DECODE = Timing(phase="decode", tokens_count=_DECODE_TOKENS)
_PREFILL = Timing(phase="prefill", tokens_count=_PROMPT_TOKENS)
_LONG_PREFILL = Timing(phase="prefill", tokens_count=_LONG_PROMPT_TOKENS)
_MIDDLE_PREFILL = Timing(phase="prefill", tokens_count=_MIDDLE_PROMPT_TOKENS)
_SHORT_PREFILL = Timing(phase="prefill", tokens_count=_SHORT_PROMPT_TOKENS)
_TWO_PROMPTS = (_LONG_PREFILL, _PREFILL)
_USUAL = (_DECODE, *_TWO_PROMPTS)

#: Long windows average over disturbances by themselves. Of prompts the longest comes first: what is left of touching
#: new buffers is a small part of it.
_NEAR = (
    _DECODE,
    replace(_DECODE, depth_tokens=NEAR_TOKENS, most_count=3),
    replace(_PREFILL, depth_tokens=NEAR_TOKENS, most_count=3),
    _PREFILL,
)
_DEEP_DECODE = Timing(phase="decode", tokens_count=8, depth_tokens=_DEEP_TOKENS, most_count=2)
_NEAR_AND_DEEP = (
    _DEEP_DECODE,
    Timing(phase="prefill", tokens_count=_DEEP_PROMPT_TOKENS, depth_tokens=_DEEP_TOKENS, most_count=2),
    *_NEAR,
)
_LAYERED_DECODE = replace(_DECODE, depth_tokens=_LAYERED_DEPTH_TOKENS)
#: Prompts from quantised caches take ten times as long, so fewer tokens do.
_NEAR_SLOWLY = (
    _DEEP_DECODE,
    *(replace(timing, tokens_count=_SLOW_PROMPT_TOKENS) if timing.phase == "prefill" else timing for timing in _NEAR),
)


def processor_experiments(types: Sequence[str] = TYPES, *, cache_bytes: int = 0) -> tuple[Experiment, ...]:
    """Everything a calibration times on a processor, most informative first.

    Args:
        types: the weight types, of `TYPES`.
        cache_bytes: the last-level cache; one that would hold a good part of a twin has it decoded with more layers.
    """
    return tuple(sized for experiment in _usual(types) for sized in _beyond_cache(experiment, cache_bytes))


def _beyond_cache(experiment: Experiment, cache_bytes: int) -> Iterator[Experiment]:
    """A twin that is decoded from memory: itself, or its prompts alone and a larger one to decode.

    From a cache of 300 MiB twins of 100 MB decoded a quarter faster than models that no cache holds.
    """
    times = math.ceil(_CACHES_COUNT * cache_bytes / experiment.weights_bytes)
    if times <= 1 or experiment.experiment_id.startswith(ATTENTION):  # these have a feed-forward that sweeps caches
        yield experiment
        return
    decode = tuple(timing for timing in experiment.timings if timing.phase == "decode")
    prompts = tuple(timing for timing in experiment.timings if timing.phase != "decode")
    if prompts:
        yield replace(experiment, timings=prompts)
    if decode:
        yield replace(_larger(experiment, min(times, _MOST_TIMES)), timings=decode)


def _larger(experiment: Experiment, times: int) -> Experiment:
    """A twin with that many times the layers; one that is mostly vocabulary, with that many times the words."""
    geometry = experiment.model.geometry
    if geometry is None:
        return experiment
    weight_type = next(kind for kind in experiment.tensor_types if kind != "F32")
    if geometry.vocab_count > VOCAB_COUNT:
        larger = replace(geometry, vocab_count=geometry.vocab_count * times)
    else:
        larger = replace(
            geometry,
            mixers=geometry.mixers * times,
            ffns=geometry.ffns * times,
            kv_full_elements_count=geometry.kv_full_elements_count * times,
            recurrent_state_elements_count=geometry.recurrent_state_elements_count * times,
        )
    model = replace(experiment.model, geometry=larger)
    return replace(
        experiment,
        experiment_id=f"{experiment.experiment_id}.larger",
        model=model,
        tensor_types=uniform_types(list_tensors(model), weight_type),
    )


def _usual(types: Sequence[str]) -> tuple[Experiment, ...]:
    one = REFERENCE_TYPE
    layered = (_DECODE, _LAYERED_DECODE)
    shapes = [
        twin_experiment("narrow", dense_geometry(14, 1024, 3072, 32, 8, head_dim=64), one, *layered, *_TWO_PROMPTS),
        twin_experiment("narrow", dense_geometry(6, 1024, 3072, 16, 16), "Q8_0", *layered, *_TWO_PROMPTS),
        *(
            twin_experiment(
                "narrow", dense_geometry(10, 1024, 3072, 16, 4, head_dim=64), name, _DECODE, _MIDDLE_PREFILL
            )
            for name in _UNPACKED_TYPES
        ),
        twin_experiment("slim", dense_geometry(40, 512, 1536, 8, 2, head_dim=64), "Q8_0", *_USUAL),
        twin_experiment("long", dense_geometry(7, 2048, 6144, 32, 8), one, *layered, _PREFILL),
        twin_experiment("broad", dense_geometry(1, 4096, 14336, 32, 8), one, _DECODE),
        *(_attention_experiment(heads) for heads in _HEADS),
        *(replace(_attention_experiment(heads), timings=_NEAR) for heads in _LONE_HEADS),
        *(_experts("small-experts", 6, 1024, 512, 24, 4, name, *_TWO_PROMPTS) for name in _BOTH_KERNELS_TYPES),
        *(_awake("small-experts-awake", 1024, 512, 8, name) for name in _BOTH_KERNELS_TYPES),
        twin_experiment(
            "recurrent", recurrent_geometry(8, 1024, 3072, 16), one, _DECODE, _PREFILL, architecture="qwen35"
        ),
    ]
    by_type = [
        twin_experiment(
            "wide",
            dense_geometry(_wide_layers(weight_type), 2048, 6144, 16, 4),
            weight_type,
            _DECODE,
            *_prompts(weight_type),
        )
        for weight_type in types
    ]
    shapes += [
        twin_experiment(
            "vocabulary",
            replace(dense_geometry(1, 2048, 1024, 8, 2), vocab_count=65536, tied_embeddings=True),
            weight_type,
            _DECODE,
        )
        for weight_type in _OUTPUT_TYPES
    ]
    mixtures = [
        _awake("experts-awake", 2048, 1024, 4, weight_type)
        for weight_type in types
        if weight_type in _DECODED_EXPERT_TYPES
    ]
    mixtures += [
        _experts("experts", 3, 2048, 1024, 8, 2, weight_type, *_prompts(weight_type))
        for weight_type in types
        if weight_type in EXPERT_TYPES
    ]
    first = len(EXPERT_TYPES)  # a mixture's other weights are of its type, and must have been timed
    return (*by_type[:first], *shapes, *mixtures, *_other_kernels(), *by_type[first:])


def _experts(
    name: str, layers: int, hidden: int, expert_ffn: int, experts: int, used: int, weight_type: str, *timings: Timing
) -> Experiment:
    """Experts and few heads, so that the experts' cost stands out of the rest."""
    geometry = mixture_geometry(layers, hidden, expert_ffn, experts, used, heads=_FEW_HEADS, kv_heads=1)
    return twin_experiment(name, geometry, weight_type, *timings, architecture="qwen3moe")


def _awake(name: str, hidden: int, expert_ffn: int, experts: int, weight_type: str) -> Experiment:
    """Experts that every token wakes all of, so that it reads the whole twin."""
    layer_params = experts * 3 * hidden * expert_ffn + hidden * HEAD_DIM * (2 * _FEW_HEADS + 2)
    layers = _layers(weight_type, layer_params)
    return _experts(name, layers, hidden, expert_ffn, experts, experts, weight_type, _DECODE)


def _attention_experiment(heads: Heads) -> Experiment:
    geometry = dense_geometry(
        1, 1024, _SWEEPING_FFN_DIM, heads.heads_count, heads.kv_heads_count, head_dim=heads.head_dim
    )
    return twin_experiment(f"{ATTENTION}{heads}", geometry, REFERENCE_TYPE, *_NEAR_AND_DEEP)


def _other_kernels() -> Iterator[Experiment]:
    """Attention by kernels other than the usual: without the flash one, and from quantised caches."""
    plain = AttentionKernel(flash=False)
    for heads in _PLAIN_HEADS:
        usual = _attention_experiment(heads)
        yield replace(usual, experiment_id=f"{usual.experiment_id}.plain", attention_kernel=plain)
    usual = _attention_experiment(_QUANTISED_CACHE_HEADS)
    for name in _CACHE_TYPES:
        yield replace(
            usual,
            experiment_id=f"{usual.experiment_id}.{name}",
            timings=_NEAR_SLOWLY,
            attention_kernel=AttentionKernel(kv_quant_id=name),
        )


def _wide_layers(weight_type: str) -> int:
    return _layers(weight_type, 2048 * (3 * 6144 + 2 * 16 * HEAD_DIM + 2 * 4 * HEAD_DIM))


def _layers(weight_type: str, layer_params_count: int) -> int:
    """Enough of them not to stay in a processor's cache, nor a good part of them."""
    layer_bytes = tensor_bytes(weight_type, (HEAD_DIM * 2, layer_params_count // (HEAD_DIM * 2)))
    return max(_LEAST_LAYERS_COUNT, math.ceil(_READ_BYTES / layer_bytes))


def _prompts(weight_type: str) -> tuple[Timing, ...]:
    """A prompt at two lengths tells the arithmetic from fetching the weights, which a few types show for all."""
    if weight_type in EXPERT_TYPES:
        return _TWO_PROMPTS
    return (_SHORT_PREFILL if weight_type in _SLOW_PROMPT_TYPES else _MIDDLE_PREFILL,)
