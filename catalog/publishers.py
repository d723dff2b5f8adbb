"""Mixes of uploaders that change llama.cpp's own: which tensors they store better or worse, as rules.

Only Unsloth's dynamic ("UD") mixes need this; others change the output matrix and the embedding at most
(`catalog.recipes`). Unsloth publishes no rules. These were read off tensor types in published headers and
engine logs, each line with where it was seen, so that they hold for a kind of model rather than for a file:

* sparse models since 2026: routed experts at the level's own types, one layer lifted, all else in Q8_0;
* hybrids with dense feed-forward layers since 2026: llama.cpp's mix with the token mixers lifted;
* everything before: chosen layer by layer from calibration, of which only the average can be given.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from catalog.mixes import Lift


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Types of the tensors whose names match a pattern; the first lift that applies to a layer decides."""

    pattern: re.Pattern[str]
    lifts: tuple[Lift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherMix:
    """An uploader's mix: llama.cpp's for ``file_type``, with some tensors overridden (the first match decides)."""

    file_type: str
    overrides: tuple[Override, ...]

    def override_of(self, name: str) -> Override | None:
        """The override for a tensor, or None where llama.cpp's own rule stands."""
        return next((override for override in self.overrides if override.pattern.search(name)), None)


def _one_layer(index: int, count: int) -> bool:
    """The one layer that is lifted; which it is differs by model and does not change the sum."""
    return index == count // 2


def _first_thirteenth(index: int, count: int) -> bool:
    return index < count // 13


def _first_eighth(index: int, count: int) -> bool:
    return index < count // 8


def _first_quarter(index: int, count: int) -> bool:
    return index < count // 4


def _first_sixth(index: int, count: int) -> bool:
    return index < count // 6


def _more_bits(index: int, count: int) -> bool:
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def _override(pattern: str, *lifts: Lift | str) -> Override:
    typed = tuple(Lift(lift) if isinstance(lift, str) else lift for lift in lifts)
    return Override(pattern=re.compile(pattern), lifts=typed)


_GATE_UP = r"ffn_(?:gate|up|gate_up)_exps\."
_DOWN = r"ffn_down_exps\."
_STATE_GATES = r"ssm_(?:alpha|beta)\."
_ANY = r"\.weight$"
_MIXER = r"(?:^|\.)(?:attn|ssm)_"
_EDGES = r"^(?:token_embd|output)\."


def _sparse(
    gate_up: str,
    down: str,
    *,
    rest: str = "Q8_0",
    edges: tuple[str, str] | None = None,
    lifted: tuple[str, str] = ("", ""),
) -> PublisherMix:
    """Routed experts in two types, everything else in one; ``edges``: embedding and output, ``lifted``: one layer."""
    gate_lifts = (Lift(lifted[0], where=_one_layer), gate_up) if lifted[0] else (gate_up,)
    down_lifts = (Lift(lifted[1], where=_one_layer), down) if lifted[1] else (down,)
    embedding, output = edges or (rest, rest)
    overrides = (
        _override(_GATE_UP, *gate_lifts),
        _override(_DOWN, *down_lifts),
        _override(_STATE_GATES, "F32"),
        _override(r"^(?:per_layer_)?token_embd\.", embedding),
        _override(r"^output\.", output),
        _override(_ANY, rest),
    )
    return PublisherMix(file_type="Q8_0", overrides=overrides)


_LOW_EDGES = ("Q4_K", "Q6_K")
_2_BIT = (
    # Qwen3.6-35B-A3B-UD-IQ2_M: types per tensor as listed from its header
    _override(_GATE_UP, "IQ2_XXS"),
    _override(_DOWN, Lift("IQ4_XS", where=_first_thirteenth), "IQ3_XXS"),
    _override(_STATE_GATES, "F32"),
    _override(r"ssm_out\.|ffn_down_shexp\.", "Q6_K"),
    _override(r"^output\.", "Q4_K"),
    _override(_ANY, "Q5_K"),
)

_SPARSE: Mapping[str, PublisherMix] = {
    "IQ2_XXS": _sparse("IQ2_XXS", "IQ3_XXS"),  # DeepSeek-V4-Flash 84.616 GiB
    "IQ2_M": PublisherMix(file_type="IQ2_M", overrides=_2_BIT),
    "Q2_K_XL": _sparse("IQ2_XS", "IQ3_S", edges=_LOW_EDGES),  # Qwen3.5-35B-A3B, of that file type, 12.22 GiB
    "IQ3_XXS": _sparse("IQ2_XXS", "IQ4_XS", edges=_LOW_EDGES),  # DeepSeek-V4-Flash 97.046 GiB
    "IQ3_S": _sparse("IQ2_S", "IQ3_S", rest="Q6_K"),  # MiniMax-M2.7: 62 + 124 expert tensors, 250 in Q6_K
    "Q3_K_S": _sparse("IQ3_XXS", "IQ3_S"),  # Qwen3.5-35B-A3B: listed from its header
    "Q3_K_M": _sparse("Q3_K", "IQ4_XS", edges=_LOW_EDGES),  # between its neighbours; not seen
    "Q3_K_XL": _sparse("Q3_K", "IQ4_XS"),  # between its neighbours; not seen
    "IQ4_XS": _sparse("IQ4_XS", "IQ4_XS"),  # not seen
    "Q4_K_S": _sparse("Q4_K", "Q4_K", edges=_LOW_EDGES),  # not seen
    "Q4_K_M": _sparse("Q4_K", "Q5_K", edges=_LOW_EDGES),  # Qwen3.6-35B-A3B experts; Qwen3.5-35B-A3B 20.27 GiB
    "Q4_K_XL": _sparse("Q4_K", "Q5_K", lifted=("Q5_K", "Q6_K")),  # Qwen3.5-35B-A3B, GLM-5.3: types counted
    "Q5_K_S": _sparse("Q5_K", "Q5_K"),  # not seen
    "Q5_K_M": _sparse("Q5_K", "Q6_K"),  # as UD-Q5_K_XL without the lifted layer
    "Q5_K_XL": _sparse("Q5_K", "Q6_K", lifted=("Q6_K", "Q8_0")),  # GLM-5.2: types counted; Qwen3.5-122B-A10B 85.6 GiB
    "Q6_K": _sparse("Q6_K", "Q6_K"),  # not seen
    "Q6_K_XL": _sparse("Q6_K", "Q8_0"),  # one level above UD-Q5_K_XL; not seen
    "Q8_K_XL": PublisherMix(  # Qwen3.6-35B-A3B 36.404 GiB
        file_type="Q8_0",
        overrides=(
            _override(_STATE_GATES, "F32"),
            _override(rf"_exps\.|{_EDGES}", "Q8_0"),
            _override(_ANY, "BF16"),
        ),
    ),
}

_HYBRID_LIFTS = (_override(_STATE_GATES, "F32"), _override(r"nextn\.eh_proj\.", "Q8_0"))
_HYBRID: Mapping[str, PublisherMix] = {
    # Qwen3.6-27B-Q4_K_M: 294 Q4_K, 67 Q6_K, 48 Q5_K (ssm_out), state gates in F32
    "Q3_K_S": PublisherMix(file_type="Q3_K_S", overrides=(*_HYBRID_LIFTS, _override(r"ssm_out\.", "Q5_K"))),
    "Q3_K_M": PublisherMix(file_type="Q3_K_M", overrides=(*_HYBRID_LIFTS, _override(r"ssm_out\.", "Q5_K"))),
    "Q4_K_S": PublisherMix(file_type="Q4_K_S", overrides=(*_HYBRID_LIFTS, _override(r"ssm_out\.", "Q5_K"))),
    "Q4_K_M": PublisherMix(file_type="Q4_K_M", overrides=(*_HYBRID_LIFTS, _override(r"ssm_out\.", "Q5_K"))),
    "Q5_K_S": PublisherMix(file_type="Q5_K_S", overrides=(*_HYBRID_LIFTS, _override(r"ssm_out\.", "Q6_K"))),
    "Q5_K_M": PublisherMix(file_type="Q5_K_M", overrides=(*_HYBRID_LIFTS, _override(r"ssm_out\.", "Q6_K"))),
    "Q6_K": PublisherMix(file_type="Q6_K", overrides=(*_HYBRID_LIFTS, _override(r"ssm_out\.", "Q8_0"))),
    # Qwen3.5-4B-UD-Q4_K_XL: listed from its header, of which the feed-forward layers are the average
    "Q4_K_XL": PublisherMix(
        file_type="Q4_K_M",
        overrides=(
            *_HYBRID_LIFTS,
            _override(r"ssm_out\.", "Q8_0"),
            _override(r"attn_(?:qkv|gate)\.", "Q5_K"),
            _override(r"attn_v\.", "Q6_K"),
        ),
    ),
    "Q5_K_XL": PublisherMix(
        file_type="Q5_K_M",
        overrides=(*_HYBRID_LIFTS, _override(r"ssm_out\.", "Q8_0"), _override(r"attn_(?:qkv|gate|v)\.", "Q6_K")),
    ),
    "Q6_K_XL": PublisherMix(
        file_type="Q6_K",
        overrides=(*_HYBRID_LIFTS, _override(rf"{_MIXER}|{_EDGES}", "Q8_0")),
    ),
    "Q8_K_XL": PublisherMix(  # Qwen3.6-27B 33.309 GiB
        file_type="Q8_0", overrides=(*_HYBRID_LIFTS, _override(_MIXER, "BF16"))
    ),
}

_EARLY_SPARSE: Mapping[str, PublisherMix] = {
    "Q3_K_XL": PublisherMix(file_type="Q3_K_S", overrides=(_override(_MIXER, "Q6_K"),)),
    "Q4_K_XL": PublisherMix(file_type="Q4_K_S", overrides=(_override(_MIXER, "Q5_K"),)),
    "Q5_K_XL": PublisherMix(file_type="Q5_K_M", overrides=(_override(_MIXER, "Q6_K"),)),
    "Q6_K_XL": PublisherMix(
        file_type="Q6_K",
        overrides=(
            _override(_DOWN, Lift("Q8_0", where=_more_bits), "Q6_K"),
            _override(rf"{_MIXER}|_shexp|{_EDGES}", "Q8_0"),
        ),
    ),
    "Q8_K_XL": PublisherMix(
        file_type="Q8_0",
        overrides=(
            _override(_DOWN, Lift("BF16", where=_first_sixth), "Q8_0"),
            _override(r"_exps\.", "Q8_0"),
            _override(_ANY, "BF16"),
        ),
    ),
}

_EARLY_DENSE: Mapping[str, PublisherMix] = {
    "Q4_K_XL": PublisherMix(
        file_type="Q4_K_M", overrides=(_override(r"ffn_up\.", Lift("Q5_K", where=_first_quarter), "Q4_K"),)
    ),
    "Q5_K_XL": PublisherMix(
        file_type="Q5_K_M", overrides=(_override(r"ffn_up\.", Lift("Q6_K", where=_first_quarter), "Q5_K"),)
    ),
    "Q8_K_XL": PublisherMix(
        file_type="Q8_0",
        overrides=(
            _override(_EDGES, "BF16"),
            _override(r"ffn_(?:up|gate|down)\.", Lift("BF16", where=_first_eighth), "Q8_0"),
        ),
    ),
}

#: Sparse architectures whose dynamic mixes date from 2025, layer by layer.
_EARLY = frozenset(
    {
        *("llama", "llama4", "qwen2moe", "qwen3moe", "qwen3vlmoe", "qwen3next", "gpt-oss", "olmoe", "phimoe", "jamba"),
        *("dots1", "hunyuan-moe", "ernie4_5-moe", "granitemoe", "deepseek", "deepseek2"),
        *("bailingmoe", "bailingmoe2"),
    }
)
_HYBRIDS = frozenset({"qwen35"})


#: Every level for which a rule is known on some kind of model.
DYNAMIC_LEVELS = tuple(sorted(_SPARSE.keys() | _HYBRID.keys() | _EARLY_SPARSE.keys() | _EARLY_DENSE.keys()))


@lru_cache(maxsize=512)
def dynamic_mix(level: str, architecture: str, expert_count: int) -> PublisherMix | None:
    """Unsloth's mix of a level ("Q4_K_XL" of "UD-Q4_K_XL") for an architecture; None where no rule is known."""
    if expert_count > 1:
        table = _EARLY_SPARSE if architecture in _EARLY else _SPARSE
    else:
        table = _HYBRID if architecture in _HYBRIDS else _EARLY_DENSE
    return table.get(level)
