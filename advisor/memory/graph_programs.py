"""The large tensors of a model's graph, as short programs: what is placed, and when it is freed.

Each part of a layer lists its tensors in the order in which llama.cpp computes and frees them
(``src/llama-graph.cpp``, ``src/models/*.cpp``)::

    x+s   place tensor x, of size s            -x    free x: its last reader has run
    x>s   compute x anew, of size s, from x    x=y   what was y is x from here on

Results that ggml computes in the place of their input need no step, and tensors of a few elements per
token are left out. Sizes are named in ``advisor.memory.graph_sizes``. Every part enters with the residual stream
in ``h`` and leaves its result in ``r``.
"""

from functools import cache

from catalog.architectures.blocks import find_architecture
from catalog.architectures.layout import Architecture
from catalog.types import Ffn, Mixer

Step = tuple[str, str, str]  # tensor, operator, size or other tensor
Program = tuple[Step, ...]

# How models differ in the order of small things: which summand takes the residual sum, when the rows that
# make outputs are picked, whether attention and feed-forward run side by side.
_SUM_IN_RESIDUAL = frozenset({"phi3", "lfm2", "lfm2moe", "jamba"})
_ATTENTION_SUM_IN_RESIDUAL = frozenset({"lfm2", "lfm2moe", "jamba"})
_LATE_ROWS = frozenset(
    {"falcon-h1", "qwen35", "qwen35moe", "qwen3next", "gemma4", "step35", "hy_v3", "nemotron_h", "nemotron_h_moe"}
    | {"cohere2moe", "bailingmoe3", "gpt-oss"}
)
_PROJECTED_LATE = frozenset({"command-r", "cohere2", "cohere2moe", "gptneox"})
_PARALLEL = _PROJECTED_LATE | {"phi2", "falcon"}
_FRESH_FINAL_NORM = frozenset({"command-r", "cohere2", "olmo"})
SPARSE_LATENT = frozenset({"deepseek32", "glm-dsa"})  # an indexer selects what latent attention reads
_WITHOUT_ROTATION = frozenset({"muse-glimmer"})

# Attention: norm n, query q, key k and value v up to their storing, mix m, output gate.
_PROJECT = {
    "plain": "q+q q>q {q} v+v {v} k+k -n k>k {k}",
    "held": "q+q q>q {q} v+v {v} k+k k>k {k}",
    "unrotated": "q+q {q} v+v {v} k+k {k}",
    "fused": "f+qkv -n q+q k+k",
    "fused, rotated": "f+qkv -n q+q q>q v+v v>v k+k -f k>k",
    "gated": "f+qg q+q {q} v+v {v} k+k -n k>k {k}",
}
_ROTATE = {"q": "q>q", "k": "k>k", "v": "v>v"}  # a quantised cache holds rotated keys and values
_KEEP = dict.fromkeys(_ROTATE, "")
_STORE = "-k -v"
FULL_MASK, FULL_INDICES = "full_mask", "full_indices"
SLIDING_MASK, SLIDING_INDICES = "sliding_mask", "sliding_indices"
OUTPUT_IDS, LOOKED_UP = "output_ids", "looked_up"
_FUSED_SOFTMAX = "m+mix -q {unmask}"
_SCORE_MATRIX = "s+scores -q {unmask} m+mix -s m>mix"
_GATE = {None: "", "element": "g+mix -n -m m=g", "head": "-n m>mix", "gated": "g+q -f -m m=g"}
_LATENT = (
    "n+d low+q_low q+q -low a+absorbed p+q_rope -q q+latent_q -a -p c+latent -n z+rank p+rope -c k+latent -z -p -k"
)
_LATENT_SCORES = "w+cached_values s+scores -q {unmask} m+mix -w -s"
_LATENT_OUT = "m>value m>value r+d -m"

_ATTENTION = frozenset({Mixer.FULL, Mixer.SLIDING, Mixer.MLA, Mixer.COMPRESSED, Mixer.ATTENTION_MAMBA2})

# Token mixers with a recurrent state s.
_MIXERS = {
    Mixer.GATED_DELTA: (
        "n+d x+conv y+history -x s+state x+conv -y u+key w+key g+delta -u -w -x -s "
        "o+value -g z+value -n z>value -z r+d -o"
    ),
    Mixer.SHORT_CONV: "n+d x+3d -n b+d c+history -state -b y+d -c -x {ahead} r+d -y",
    Mixer.MAMBA2: (
        "n+d x+in -n c+history y+conv -c t+heads g+scan -t z+inner -x u+inner -y -g w+inner -z -u w>inner r+d -w"
    ),
    Mixer.MAMBA1: (
        "n+d x+in -n c+history y+inner -c b+step e+rank t+inner -e -b g+scan -t z+inner -x -g w+inner -z -y r+d -w"
    ),
    Mixer.KDA: (
        "n+d a+key x+history -a a+key y+history -a a+key z+history -a s+state "
        "q+key -x q>key q>key k+key -y k>key k>key v+key -z v>key "
        "l+low g+key -l g>key o+delta -q -k -v -g -s o>key o>key l+low -n t+key -l t>key -t o>key r+d -o"
    ),
    Mixer.LIGHTNING: (
        "x+qkv a+value b+value -a v+value s+scores c+scores -c a+value -s -a t+state u+value -x w+value -u "
        "c+state -w -v -c -t g+value -b b+value n+value -b -n r+d -g"
    ),
}
_REPEATED_KEYS = "u+key u>value w+key w>value"  # where value heads outnumber key heads, before they are mixed
_MAMBA2_BESIDE = "n+d x+in -n c+history y+conv -c g+scan r+d -m z+inner -x u+inner -y -g w+inner -z -u b+d -w -b"

# Feed-forward: norm n, gate and up, activation y.
_FFN = {
    "gated": "g+{f} u+{f} {n} y+{f} -g -u r+{d} -y",
    "joined": "u+{f}2 {n} y+{f} -u r+{d} -y",
    "plain": "y+{f} {n} r+{d} -y",
}
_ROUTE = "l+experts i+experts -l"
_ROUTE_BIASED = "l+experts b+experts i+experts -b -l"

# Gemma's embeddings per layer: looked up for all layers first, prepared in the first layer, which needs the
# scaled embedding (e) for it, and freed in the last.
_LOOK_UP = f"x+all_ple {LOOKED_UP}+all_ple -x"
_PREPARE = f"x+all_ple -e x>all_ple -{LOOKED_UP} {LOOKED_UP}=x {LOOKED_UP}>all_ple"

# Gemma 3n carries four residual streams (h) and predicts and corrects them around each layer.
_STREAMS_START = f"e=h {_LOOK_UP} x+3d t+3d -x u+d -u x+3d -t h+4d -x y+4d"
_STREAMS_IN = "x+4d -y p+4d -x -h n+d"
_STREAMS_OUT = (
    "e2+d -n -e2 n+d g+ffn u+ffn -n {sparse} -u f+d -g -r i+d c+4d -i -f -p t+d s+ple -t {looked_up} "
    "t+d -s u+3d -t h+4d -c -u y+4d"
)
_SPARSE = "w+ffn -w"  # the first layers keep only the largest activations


@cache
def parse(text: str) -> Program:
    """The steps of a program's text."""
    return tuple(_step(word) for word in text.split())


def _step(word: str) -> Step:
    if word[0] == "-":
        return word[1:], "-", ""
    for operator in "+>=":
        name, found, argument = word.partition(operator)
        if found:
            return name, operator, argument
    raise ValueError(f"{word!r} is no step of a graph program")


@cache
def layer_program(
    architecture: str,
    mixer: Mixer,
    ffn: Ffn,
    *,
    first: bool,
    last: bool,
    unmask: bool,
    before_conv: bool = False,
    flash: bool,
    rotated: bool,
    shared: bool,
) -> Program:
    """One layer, from its residual stream to the next one's.

    Args:
        architecture: llama.cpp's name.
        mixer: how the layer mixes tokens.
        ffn: its feed-forward kind.
        first: it is the first one of a model with embeddings per layer.
        last: it is the last one, after which only output rows go on.
        unmask: it is the last one to read its attention mask.
        before_conv: the next layer is a short convolution, whose state is fetched before this one projects.
        flash: attention is fused.
        rotated: the cache is quantised, so keys and values are rotated.
        shared: its experts have a shared one beside them.
    """
    arch = find_architecture(architecture)
    attending = _attending(arch, mixer, ffn, unmask=unmask, flash=flash, rotated=rotated)
    feeding = _feeding(arch, ffn, shared=shared)
    if arch.name in _PARALLEL:
        return parse(_parallel(arch, attending, feeding, last=last))
    if arch.name == "gemma3n":
        out = _STREAMS_OUT.format(sparse=_SPARSE if first else "", looked_up=_looked_up(first=first, last=last))
        return parse(f"{_STREAMS_IN} {attending.removeprefix('n+d ')} r+d -m {out}")
    if arch.name == "gemma4":
        residual = "e=h h=r" if first else "-h h=r"
        looked_up = _looked_up(first=first, last=last)
        return parse(f"{attending} r+d -m {residual} {feeding} -h h=r p+ple {looked_up} t+d -p -t")
    ahead = "state+state" if before_conv else ""
    mixing = _mixing(arch, mixer, attending, last=last, ahead=ahead)
    if arch.name == "falcon-h1":
        feeding = (f"h>d -{OUTPUT_IDS} " if last else "") + feeding
    if mixing:
        mixing += " -r" if arch.name in _ATTENTION_SUM_IN_RESIDUAL else " -h h=r"
    if feeding:
        feeding += " -r" if arch.name in _SUM_IN_RESIDUAL else " -h h=r"
    return parse(f"{mixing} {feeding}")


def _mixing(arch: Architecture, mixer: Mixer, attending: str, *, last: bool, ahead: str) -> str:
    rows = _rows("r") if last and arch.name not in _LATE_ROWS else ""
    if mixer is Mixer.NONE:
        return ""
    if mixer is Mixer.MLA:
        return f"{attending} {_LATENT_OUT} {rows}"
    if mixer is Mixer.ATTENTION_MAMBA2:
        return f"{attending} {_MAMBA2_BESIDE} {rows}"
    if attending:
        return f"{attending} {ahead} r+d -m {rows}"
    program = _MIXERS[mixer]
    if arch.name == "qwen3next":
        program = program.replace("u+key w+key", _REPEATED_KEYS)
    if mixer is Mixer.SHORT_CONV:
        program = program.format(ahead=ahead)
    if rows and mixer is Mixer.SHORT_CONV:  # the residual's rows are picked while it convolves
        return program.replace("y+d -c", "h>d y+d -c") + f" r>d -{OUTPUT_IDS}"
    return f"{program} {rows}"


def _looked_up(*, first: bool, last: bool) -> str:
    if first:
        return _PREPARE
    return f"-{LOOKED_UP}" if last else ""


def _parallel(arch: Architecture, attending: str, feeding: str, *, last: bool) -> str:
    """Attention and feed-forward side by side, on one norm or on two."""
    rows = last and arch.name not in _LATE_ROWS
    own_norm = arch.name == "gptneox"
    if arch.name not in _PROJECTED_LATE:
        picked = "a>d n>d" if rows else ""
        return f"{attending} a+d -m {picked} {feeding} -r " + (f"h>d -{OUTPUT_IDS} " if rows else "") + "-h h=a"
    before = ("h>d n+d" if own_norm else "n>d") if rows else ("n+d" if own_norm else "")
    after = "h>d" if rows and not own_norm else ""
    projected = f"a+d -m a>d -{OUTPUT_IDS}" if rows else "a+d -m"
    return f"{attending} {before} {feeding} {after} -h {projected} -a h=r"


def initial_program(architecture: str, *, looks_up: bool) -> Program:
    """From the embedding to the first layer; ``looks_up``: the model has embeddings per layer."""
    if architecture == "gemma3n":
        return parse(_STREAMS_START)
    return parse(_LOOK_UP) if looks_up else ()


def final_program(arch: Architecture) -> Program:
    """From the last hidden state to the logits."""
    if arch.encoder:
        return parse("n+d")
    if arch.name == "gemma3n":
        return parse(f"x+3d t+d -t z+3d -x n+d -h -z n>d -{OUTPUT_IDS} logits+vocab")
    if arch.name == "cohere2moe":
        return parse(f"n+d -h h=n n+d -{OUTPUT_IDS} logits+vocab")
    if arch.name == "falcon-h1":
        return parse("logits+vocab")
    if arch.name in _LATE_ROWS:
        return parse(f"n+d -{OUTPUT_IDS} logits+vocab")
    if arch.norm_bias or arch.name in _FRESH_FINAL_NORM:
        return parse("n+d -h logits+vocab")
    return parse("logits+vocab")


def _rows(name: str) -> str:
    """Pick the output rows of a part's result and of the residual."""
    return f"{name}>d h>d -{OUTPUT_IDS}"


def _attending(arch: Architecture, mixer: Mixer, ffn: Ffn, *, unmask: bool, flash: bool, rotated: bool) -> str:
    """Attention up to its mix of values; nothing for other mixers."""
    if mixer not in _ATTENTION:
        return ""
    softmax = _FUSED_SOFTMAX if flash else _LATENT_SCORES if mixer is Mixer.MLA else _SCORE_MATRIX
    mask, indices = (SLIDING_MASK, SLIDING_INDICES) if mixer is Mixer.SLIDING else (FULL_MASK, FULL_INDICES)
    softmax = softmax.format(unmask=f"-{mask}" if unmask else "")
    stored = f" -{indices}" if unmask else ""
    if mixer is Mixer.MLA:
        if arch.name in SPARSE_LATENT:
            softmax = f"i+cells -i i+mask {softmax} -i"
        return f"{_LATENT}{stored} {softmax}"
    if arch.name == "minimax-m3" and ffn is Ffn.MOE:
        softmax = f"i+mask a+key_cells b+key_cells -a {softmax} -b -i"
    norm = "n+d" if _is_pre_normed(arch) else ""
    projection, gate = _projection(arch, rotated=rotated)
    project = _PROJECT[projection].format_map(_ROTATE if rotated else _KEEP)
    store = (f"{_STORE} -f" if projection == "fused" else _STORE) + stored
    mixed = "m>mix" if rotated else ""
    return f"{norm} {project} {store} {softmax} {mixed} {_GATE[gate]}".strip()


def _is_pre_normed(arch: Architecture) -> bool:
    return not arch.norms or arch.norms[0] == "attn_norm"


def _projection(arch: Architecture, *, rotated: bool) -> tuple[str, str | None]:
    if arch.gated_query:
        return "gated", "gated"
    if arch.fused_qkv:
        return ("fused, rotated" if rotated else "fused"), None
    if arch.attention_gate:
        return "held", arch.attention_gate
    if arch.name in _PARALLEL and arch.name != "gptneox":
        return "held", None
    return ("unrotated" if arch.name in _WITHOUT_ROTATION else "plain"), None


def _feeding(arch: Architecture, ffn: Ffn, *, shared: bool) -> str:
    if ffn is Ffn.NONE:
        return ""
    norm = "n+d " if _is_pre_normed(arch) and arch.name not in _PARALLEL else ""
    if ffn is Ffn.DENSE:
        return norm + _FFN[arch.ffn].format(f="ffn", d="d", n="-n")
    experts = _experts(arch, shared=shared)
    if ffn is Ffn.MOE:
        return norm + experts
    dense = _FFN[arch.ffn].format(f="ffn", d="d", n="-n")
    return f"{norm}{dense} first=r n+d {experts} -r r=first"


def _experts(arch: Architecture, *, shared: bool) -> str:
    route = _ROUTE_BIASED if arch.score_bias else _ROUTE
    routed = _FFN[arch.expert_ffn].format(f="routed", d="used_d", n="" if shared else "-n")
    if arch.name == "llama4":
        routed = "x+used_d " + _FFN[arch.expert_ffn].format(f="routed", d="used_d", n="-x")
    text = f"{route} {routed} -i o+d -r r=o"
    if not shared:
        return text if arch.name != "llama4" else f"{text} -n"
    beside = _FFN[arch.shared_ffn].format(f="shared", d="d", n="" if arch.shared_gate else "-n")
    return f"{text} first=r {beside}{' -n' if arch.shared_gate else ''} -r r=first"
