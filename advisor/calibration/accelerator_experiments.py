"""The twins that show an accelerator's rates: larger than a processor's, for it is soon done with small ones.

Each type's twin has layers of the size of an 8B model's and few of them; its embeddings are F16, which take little
time to look up. A twin of one small layer shows what the host does before an accelerator can begin, others what
looking up embeddings of each type adds; deep ones of narrow layers show what launching an operation takes.
"""

from collections.abc import Iterator
from dataclasses import replace

from advisor.attention import AttentionKernel
from advisor.calibration.experiment import (
    ATTENTION,
    EXPERT_TYPES,
    REFERENCE_TYPE,
    TYPES,
    Experiment,
    Heads,
    Timing,
    dense_geometry,
    mixture_geometry,
    recurrent_geometry,
    twin_experiment,
)
from catalog.tensors import list_tensors
from catalog.types import Geometry, Role

_EMBEDDING_TYPE = "F16"
#: Heads, heads with caches and their length: of Llama and Qwen 3, of their mixtures, of small Qwen, of Llama 1B and
#: gpt-oss, of Gemma, of models without shared caches, and of Phi 3.
_HEADS = (
    Heads(32, 8, 128),
    Heads(32, 4, 128),
    Heads(16, 2, 128),
    Heads(32, 8, 64),
    Heads(8, 4, 256),
    Heads(32, 32, 128),
    Heads(16, 16, 96),
)
_OTHER_KERNELS = (
    (Heads(32, 8, 128), AttentionKernel(flash=False)),
    (Heads(32, 8, 128), AttentionKernel(kv_quant_id="q8_0")),
    (Heads(32, 8, 128), AttentionKernel(kv_quant_id="q4_0")),
)
_ATTENTION_LAYERS_COUNT = 8
_DEEP_TOKENS = 6144
_DECODE = Timing(phase="decode", tokens_count=24, most_count=2)
_SHORT = Timing(phase="prefill", tokens_count=128)
_PASS = Timing(phase="prefill", tokens_count=512)  # one micro-batch
_PASSES = Timing(phase="prefill", tokens_count=2048)  # the host's work on all but the first is hidden
_WHOLE = (_DECODE, _PASSES)
_USUAL = (_DECODE, _SHORT, _PASS, _PASSES)
_NEAR_AND_DEEP = (
    _DECODE,
    _PASS,
    replace(_DECODE, depth_tokens=_DEEP_TOKENS),
    replace(_PASS, depth_tokens=_DEEP_TOKENS),
)
#: Types of embeddings in published files, most usual first; the others are looked up about as slowly as the slowest.
_EMBEDDING_TYPES = ("Q4_K", "Q6_K", "Q8_0", "Q5_K", "Q3_K", "IQ4_XS", "Q4_0", "Q2_K", "Q5_0", "IQ3_S")


def accelerator_experiments() -> tuple[Experiment, ...]:
    """Everything a calibration times on an accelerator, most informative first."""
    first = len(EXPERT_TYPES)
    by_type = [
        _twin("wide", dense_geometry(4 if number < first else 3, 4096, 12288, 32, 8), name, *_WHOLE)
        for number, name in enumerate(TYPES)
    ]
    mixtures, attention = list(_mixtures()), list(_attention())
    return (
        *by_type[:2],
        *_shapes(),
        *attention[:4],
        *mixtures[:3],
        *by_type[2:first],
        *attention[4:],
        *_embedded(),
        *mixtures[3:],
        *by_type[first:],
        *_other_kernels(),
    )


def _twin(name: str, geometry: Geometry, weight_type: str, *timings: Timing, architecture: str = "llama") -> Experiment:
    """A twin whose embeddings are quickly looked up."""
    made = twin_experiment(name, geometry, weight_type, *timings, architecture=architecture)
    tensors = list_tensors(made.model)
    types = (
        _EMBEDDING_TYPE if tensor.role == Role.EMBEDDING else own
        for tensor, own in zip(tensors, made.tensor_types, strict=True)
    )
    return replace(made, tensor_types=tuple(types))


def _shapes() -> Iterator[Experiment]:
    one = REFERENCE_TYPE
    small = dense_geometry(1, 1024, 512, 8, 2)  # little more than what the host does before there is anything to do
    yield twin_experiment("embedded1024", small, _EMBEDDING_TYPE, _SHORT, _PASS, _PASSES)
    yield _twin("narrow", dense_geometry(16, 1024, 3072, 16, 4, head_dim=64), one, *_USUAL)
    yield _twin("slim", dense_geometry(40, 512, 1536, 8, 2, head_dim=64), "Q8_0", *_USUAL)
    yield _twin("long", dense_geometry(16, 2048, 6144, 16, 4), one, *_USUAL)
    yield _twin("many", dense_geometry(8, 4096, 12288, 32, 8), one, *_USUAL)
    yield _twin("broad", dense_geometry(2, 8192, 28672, 64, 8), one, *_WHOLE)
    yield _twin("middle", dense_geometry(6, 2560, 10240, 16, 8), one, *_USUAL)
    for hidden, vocab_count, name in ((2048, 65536, "Q6_K"), (4096, 131072, "Q6_K"), (2048, 131072, "Q8_0")):
        geometry = replace(dense_geometry(1, hidden, 1024, 8, 2), vocab_count=vocab_count, tied_embeddings=True)
        yield twin_experiment(f"vocabulary{hidden}", geometry, name, _DECODE)
    yield _twin("recurrent", recurrent_geometry(8, 2560, 9216, 32), one, *_USUAL, architecture="qwen35")


def _embedded() -> Iterator[Experiment]:
    """One small layer, whose embeddings of some type the host looks up."""
    for name in _EMBEDDING_TYPES:
        yield twin_experiment("embedded", dense_geometry(1, 4096, 512, 8, 2), name, _PASS)


def _attention() -> Iterator[Experiment]:
    yield _attention_twin(_HEADS[0], 1)  # beside the same with more layers: what the host does about cached tokens
    for heads in _HEADS:
        yield _attention_twin(heads, _ATTENTION_LAYERS_COUNT)


def _other_kernels() -> Iterator[Experiment]:
    for heads, kernel in _OTHER_KERNELS:
        usual = _attention_twin(heads, _ATTENTION_LAYERS_COUNT)
        name = f"{usual.experiment_id}.{kernel.kv_quant_id if kernel.flash else 'plain'}"
        yield replace(usual, experiment_id=name, attention_kernel=kernel)


def _attention_twin(heads: Heads, layers_count: int) -> Experiment:
    geometry = dense_geometry(
        layers_count, 1024, 1024, heads.heads_count, heads.kv_heads_count, head_dim=heads.head_dim
    )
    return _twin(f"{ATTENTION}{heads}-{layers_count}", geometry, REFERENCE_TYPE, *_NEAR_AND_DEEP)


def _mixtures() -> Iterator[Experiment]:
    """Experts as of Qwen 3 30B, of gpt-oss and of Granite, then the types they come in."""
    yield _mixture("many-experts", mixture_geometry(4, 2048, 768, 128, 8), REFERENCE_TYPE, *_USUAL)
    yield _mixture("wide-experts", mixture_geometry(2, 2880, 2880, 32, 4), "MXFP4", *_USUAL)
    yield _mixture("small-experts", mixture_geometry(8, 1536, 512, 40, 8), "Q6_K", *_USUAL)
    for name in EXPERT_TYPES:
        yield _mixture("experts", mixture_geometry(2, 2048, 768, 64, 4), name, *_WHOLE)


def _mixture(name: str, geometry: Geometry, weight_type: str, *timings: Timing) -> Experiment:
    return _twin(name, geometry, weight_type, *timings, architecture="qwen3moe")
