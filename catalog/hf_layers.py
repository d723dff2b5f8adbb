"""Which mixer and feed-forward each layer of a Hugging Face configuration has."""

from collections.abc import Callable, Mapping

from catalog.architectures.blocks import find_architecture, slides_every
from catalog.hf_config import Config
from catalog.types import Ffn, Mixer

# layer_types entries; "linear_attention" and the like depend on the architecture
_MIXER_BY_TYPE = {
    "full_attention": Mixer.FULL,
    "attention": Mixer.FULL,
    "global_attention": Mixer.FULL,
    "indexed_attention": Mixer.FULL,
    "sliding_attention": Mixer.SLIDING,
    "sliding_window": Mixer.SLIDING,
    "chunked_attention": Mixer.SLIDING,
    "local_attention": Mixer.SLIDING,
    "conv": Mixer.SHORT_CONV,
    "short_conv": Mixer.SHORT_CONV,
    "mamba": Mixer.MAMBA2,
    "mamba2": Mixer.MAMBA2,
    "hybrid": Mixer.ATTENTION_MAMBA2,
    "moe": Mixer.NONE,
    "mlp": Mixer.NONE,
}
_LINEAR = {
    "granitehybrid": Mixer.MAMBA2,
    "nemotron_h": Mixer.MAMBA2,
    "jamba": Mixer.MAMBA1,
    "kimi-linear": Mixer.KDA,
    "kimi-k3": Mixer.KDA,
    "bailingmoe3": Mixer.KDA,
    "glm5-next": Mixer.KDA,
    "minimax-01": Mixer.LIGHTNING,
    "lfm2": Mixer.SHORT_CONV,
    "lfm2moe": Mixer.SHORT_CONV,
}
_UNIFORM = {
    "mamba": Mixer.MAMBA1,
    "mamba2": Mixer.MAMBA2,
    "falcon-h1": Mixer.ATTENTION_MAMBA2,
    "deepseek4": Mixer.COMPRESSED,
}
_STATES_ITS_WINDOWS = frozenset({"gemma4", "mimo2", "step35", "granite_swa"})
_NEMOTRON_LETTERS = {"M": Mixer.MAMBA2, "*": Mixer.FULL, "-": Mixer.NONE, "E": Mixer.NONE}


def mixers_of(config: Config, architecture: str, count: int) -> list[Mixer]:
    """Each layer's mixer."""
    if architecture in _UNIFORM:
        return [_UNIFORM[architecture]] * count
    rule = _RULES.get(architecture)
    mixers = rule(config, count) if rule is not None else None
    if mixers is None:
        mixers = _stated(config, architecture, count) or _by_window(config, architecture, count)
    if config.integer("kv_lora_rank"):
        mixers = [Mixer.MLA if mixer in (Mixer.FULL, Mixer.SLIDING) else mixer for mixer in mixers]
    return mixers


def _stated(config: Config, architecture: str, count: int) -> list[Mixer] | None:
    """The mixers of a ``layer_types`` list."""
    types = config.items("layer_types", "layers_block_type")
    if len(types) < count or not all(isinstance(kind, str) for kind in types):
        return None
    linear = _LINEAR.get(architecture, Mixer.GATED_DELTA)
    special = _LINEAR.get(architecture, Mixer.MAMBA2)
    slides = architecture in _STATES_ITS_WINDOWS or find_architecture(architecture).sliding_every != 0
    mixers = []
    for kind in types[:count]:
        mixer = _MIXER_BY_TYPE.get(kind, linear)
        mixer = special if mixer is Mixer.MAMBA2 else mixer
        mixers.append(Mixer.FULL if mixer is Mixer.SLIDING and not slides else mixer)
    return mixers


def _by_window(config: Config, architecture: str, count: int) -> list[Mixer]:
    """Full attention, but for the layers that an architecture's customary pattern lets slide."""
    every = find_architecture(architecture).sliding_every
    stated = config.integer("sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers")
    if every and stated:
        every = -stated if every < 0 else stated
    window = config.integer("sliding_window", "attention_chunk_size", "local_attention")
    if not window or not config.flag("use_sliding_window", default=True):
        every = 0
    return [Mixer.SLIDING if slides else Mixer.FULL for slides in slides_every(every, count)]


def _jamba(config: Config, count: int) -> list[Mixer]:
    period, offset = config.integer("attn_layer_period") or 8, config.integer("attn_layer_offset") or 0
    return [Mixer.FULL if i % period == offset else Mixer.MAMBA1 for i in range(count)]


def _nemotron_h(config: Config, count: int) -> list[Mixer] | None:
    pattern = config.first("hybrid_override_pattern")
    if not isinstance(pattern, str) or len(pattern) < count:
        return None
    return [_NEMOTRON_LETTERS.get(letter, Mixer.NONE) for letter in pattern[:count]]


def _by_interval(config: Config, count: int) -> list[Mixer] | None:
    """Qwen3-Next and later: attention in every n-th layer."""
    if config.items("layer_types"):
        return None
    every = config.integer("full_attention_interval") or 4
    return [Mixer.FULL if (i + 1) % every == 0 else Mixer.GATED_DELTA for i in range(count)]


def _by_index(config: Config, count: int) -> list[Mixer] | None:
    """LFM2: the layers with attention are numbered."""
    numbers = set(config.integers("full_attn_idxs"))
    if config.items("layer_types") or not numbers:
        return None
    return [Mixer.FULL if i in numbers else Mixer.SHORT_CONV for i in range(count)]


def _kimi(config: Config, count: int) -> list[Mixer] | None:
    """Kimi Linear: layers with attention are numbered from 1."""
    attends = config.mapping("linear_attn_config").get("full_attn_layers")
    if not isinstance(attends, list):
        return None
    return [Mixer.FULL if i + 1 in attends else Mixer.KDA for i in range(count)]


def _ling(config: Config, count: int) -> list[Mixer] | None:
    """Ling 3: the last layer of each group attends."""
    group = config.integer("layer_group_size")
    if config.items("layer_types") or not group:
        return None
    return [Mixer.FULL if (i + 1) % group == 0 else Mixer.KDA for i in range(count)]


def _minimax(config: Config, count: int) -> list[Mixer] | None:
    kinds = config.integers("attn_type_list")
    if len(kinds) < count:
        return None
    return [Mixer.FULL if kind else Mixer.LIGHTNING for kind in kinds[:count]]


def _mimo(config: Config, count: int) -> list[Mixer] | None:
    slides = config.integers("hybrid_layer_pattern")
    if len(slides) < count:
        return None
    return [Mixer.SLIDING if slide else Mixer.FULL for slide in slides[:count]]


def _pruned(config: Config, count: int) -> list[Mixer] | None:
    """Nemotron's pruned Llamas: attention is dropped from some blocks."""
    blocks = config.items("block_configs")
    if len(blocks) < count:
        return None
    return [Mixer.NONE if _block(block, "attention").get("no_op") else Mixer.FULL for block in blocks[:count]]


def _block(block: object, part: str) -> Mapping[str, object]:
    found = block.get(part) if isinstance(block, Mapping) else None
    return found if isinstance(found, Mapping) else {}


_RULES: Mapping[str, Callable[[Config, int], list[Mixer] | None]] = {
    "jamba": _jamba,
    "nemotron_h": _nemotron_h,
    "qwen3next": _by_interval,
    "qwen35": _by_interval,
    "qwen35moe": _by_interval,
    "lfm2": _by_index,
    "lfm2moe": _by_index,
    "kimi-linear": _kimi,
    "kimi-k3": _kimi,
    "bailingmoe3": _ling,
    "minimax-01": _minimax,
    "mimo2": _mimo,
    "deci": _pruned,
}


def ffns_of(config: Config, architecture: str, count: int, expert_count: int) -> list[Ffn]:
    """Each layer's feed-forward kind."""
    if architecture in ("mamba", "mamba2"):
        return [Ffn.NONE] * count
    if architecture == "nemotron_h":
        return _nemotron_ffns(config, count)
    if not expert_count:
        return [Ffn.DENSE] * count
    if architecture == "gemma4":
        return [Ffn.DENSE_AND_MOE] * count
    return [Ffn.MOE if mixed else Ffn.DENSE for mixed in _mixed(config, count)]


def _nemotron_ffns(config: Config, count: int) -> list[Ffn]:
    pattern = config.first("hybrid_override_pattern")
    kinds: list[object] = list(pattern) if isinstance(pattern, str) else config.items("layers_block_type")
    by_kind = {"-": Ffn.DENSE, "E": Ffn.MOE, "mlp": Ffn.DENSE, "moe": Ffn.MOE}
    return [by_kind.get(str(kind), Ffn.NONE) for kind in kinds[:count]]


def _mixed(config: Config, count: int) -> list[bool]:
    """Which layers of a model with experts have them."""
    stated = config.items("mlp_layer_types")
    if len(stated) >= count:
        return [kind != "dense" for kind in stated[:count]]
    frequency = config.items("moe_layer_freq")
    if len(frequency) >= count:
        return [bool(mixed) for mixed in frequency[:count]]
    numbers = _numbers(config)
    if numbers is not None:
        return [i in numbers for i in range(count)]
    period = config.integer("expert_layer_period")
    if period:
        offset = config.integer("expert_layer_offset") or 0
        return [i % period == offset for i in range(count)]
    return _by_step(config, count)


def _numbers(config: Config) -> set[int] | None:
    """Numbers of the layers with experts, as Llama 4 and Step 3.5 list them."""
    listed = config.first("moe_layers_enum")
    if isinstance(listed, str):
        return {int(number) for number in listed.split(",") if number.strip().isdecimal()}
    numbers = config.integers("moe_layers")
    return set(numbers) if numbers else None


def _by_step(config: Config, count: int) -> list[bool]:
    """Every so many layers, after those that are dense, but not in those listed as dense."""
    first = config.integer("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index") or 0
    last = config.integer("moe_layer_end_index")
    step = config.integer("interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_interval") or 1
    dense = set(config.integers("mlp_only_layers"))
    return [i >= first and (last is None or i <= last) and i not in dense and (i + 1) % step == 0 for i in range(count)]
