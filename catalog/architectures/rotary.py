"""Rotary position embeddings: how much of a head is rotated, and the factors stored beside the weights.

Converters store such factors where a configuration scales positions for long contexts; where only the
geometry is known, the context length tells the models that do.
"""

from collections.abc import Callable, Mapping

from catalog.architectures.layout import Site, Tensor, vector

_LONG_AND_SHORT = ("rope_factors_long", "rope_factors_short")
_LLAMA3_VOCAB_COUNT = 128256
_PHI4_MINI_VOCAB_COUNT = 200064
_PHI4_MINI_ROPE_FRAC = 0.75


def rotary_dim(site: Site) -> int:
    """Rotated dimensions of a head in layers with full attention."""
    geometry = site.geometry
    if geometry.rope_factors_count:
        return 2 * geometry.rope_factors_count
    if geometry.qk_rope_head_dim and geometry.kv_lora_rank:
        return geometry.qk_rope_head_dim
    rotated = site.arch.rope_frac
    if site.arch.name == "phi3" and geometry.vocab_count == _PHI4_MINI_VOCAB_COUNT:
        rotated = _PHI4_MINI_ROPE_FRAC
    return int((geometry.global_head_dim or geometry.head_dim) * rotated) // 2 * 2


def _scales_llama3(site: Site) -> bool:
    return site.geometry.vocab_count == _LLAMA3_VOCAB_COUNT and site.context_tokens >= 1 << 17


def _at_least(context_tokens: int) -> Callable[[Site], bool]:
    return lambda site: site.context_tokens >= context_tokens


# By architecture: the tables its files may have, and whether a model has them where nothing says so.
_TABLES: Mapping[str, tuple[tuple[str, ...], Callable[[Site], bool]]] = {
    "llama": (("rope_freqs",), _scales_llama3),
    "deci": (("rope_freqs",), _scales_llama3),
    "exaone": (("rope_freqs",), _at_least(1 << 15)),
    "exaone4": (("rope_freqs",), _at_least(1 << 15)),
    "llama4": (("rope_freqs",), _at_least(1 << 21)),
    "phi3": (_LONG_AND_SHORT, _at_least(1 << 17)),
    "phimoe": (_LONG_AND_SHORT, _at_least(1 << 17)),
    "minicpm": (_LONG_AND_SHORT, _at_least(1 << 15)),
    "minicpm3": (_LONG_AND_SHORT, _at_least(1 << 15)),
    "gemma4": ((), lambda _: False),  # its own extras have them
}
_OTHERS = (("rope_freqs",), lambda _: False)


def rotary_tables(site: Site) -> list[Tensor]:
    """Factors by which rotary frequencies are scaled; they are the same in all layers."""
    names, customary = _TABLES.get(site.arch.name, _OTHERS)
    stated = site.geometry.rope_factors_count
    count = stated if stated is not None else rotary_dim(site) // 2 if customary(site) else 0
    return [vector(name, count) for name in names if count]
