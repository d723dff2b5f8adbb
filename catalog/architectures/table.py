"""The architectures, each by how it departs from the Llama block.

Names, shapes and order of the parts follow ``src/models/*.cpp`` of llama.cpp as vendored in
llama-cpp-python 0.3.36; which parts a file carries follows its ``conversion`` scripts.
"""

from dataclasses import replace

from catalog.architectures import attention, extras, recurrent
from catalog.architectures.layout import Architecture
from catalog.types import Ffn, Mixer

_FOUR_NORMS = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
_POST_NORMS = ("post_attention_norm", "post_ffw_norm")
_SCORE_BIAS = "exp_probs_b.bias"

_LLAMA = Architecture(name="llama", experts_use_ffn_length=True)
_QWEN3 = Architecture(name="qwen3", qk_norm="head")
_QWEN3MOE = replace(_QWEN3, name="qwen3moe")
_GEMMA3 = Architecture(name="gemma3", sliding_every=6, norms=_FOUR_NORMS, qk_norm="head")
_COHERE = Architecture(name="cohere2", sliding_every=4, norms=("attn_norm",), output="tied")
_LATENT_MOE = Architecture(name="deepseek2", score_bias=_SCORE_BIAS, mixers={Mixer.MLA: attention.latent})
_SPARSE_MOE = replace(_LATENT_MOE, mixers={Mixer.MLA: attention.latent_indexed}, nextn=True)
_LAYER_NORM = Architecture(name="gptneox", norm_bias=True, attention_bias=True, ffn="plain", ffn_bias=True)
_LFM2 = Architecture(
    name="lfm2",
    output_norm="token_embd_norm",
    qk_norm="head",
    mixers={Mixer.SHORT_CONV: recurrent.short_convolution},
)
_DELTA_NET = Architecture(
    name="qwen35",
    norms=("attn_norm", "post_attention_norm"),
    qk_norm="head",
    gated_query=True,
    shared_gate=True,
    nextn=True,
    rope_frac=0.25,
    mixers={Mixer.GATED_DELTA: recurrent.gated_delta},
)
_HYBRID_MAMBA = Architecture(
    name="nemotron_h",
    norms=("attn_norm",),
    ffn="plain",
    expert_ffn="plain",
    shared_ffn="plain",
    score_bias=_SCORE_BIAS,
    nextn=True,
    nextn_norms=("attn_norm", "post_attention_norm"),
    mixers={Mixer.MAMBA2: recurrent.mamba2},
    layer_extras=extras.nemotron_latent,
)
_BERT = Architecture(
    name="bert",
    norms=("attn_output_norm", "layer_output_norm"),
    norm_bias=True,
    output_norm=None,
    attention_bias=True,
    ffn="plain",
    ffn_bias=True,
    output="tied",
    encoder=True,
    top_extras=extras.bert_top,
)

_DENSE = (
    _LLAMA,
    replace(_LLAMA, name="llama-embed", encoder=True),
    replace(_LLAMA, name="mistral3"),
    replace(_LLAMA, name="granite"),
    replace(_LLAMA, name="minicpm"),
    replace(_LLAMA, name="deci"),
    replace(_LLAMA, name="nanbeige"),
    Architecture(name="qwen2"),
    Architecture(name="qwen2vl"),
    Architecture(name="baichuan"),
    Architecture(name="exaone"),
    Architecture(name="internlm2"),
    Architecture(name="smollm3"),
    Architecture(name="ernie4_5"),
    Architecture(name="xverse"),
    Architecture(name="orion", norm_bias=True),
    Architecture(name="llada"),
    Architecture(name="dream"),
    Architecture(name="pangu-embedded", attention_bias=True),
    Architecture(name="maincoder", qk_norm="head"),
    Architecture(name="seed_oss", norms=("attn_norm", "post_attention_norm")),
    Architecture(name="qwen", fused_qkv=True),
    _QWEN3,
    replace(_QWEN3, name="qwen3vl"),
    replace(_QWEN3, name="hunyuan-dense"),
    replace(_QWEN3, name="apertus", ffn="plain"),
    Architecture(name="arcee", ffn="plain"),
    Architecture(name="olmo", norms=(), output_norm=None),
    Architecture(name="olmo2", sliding_every=4, norms=_POST_NORMS, qk_norm="full", output="own"),
    Architecture(name="exaone4", sliding_every=4, norms=_POST_NORMS, qk_norm="head"),
    Architecture(name="glm4", norms=_FOUR_NORMS, ffn="joined", rope_frac=0.5),
    Architecture(name="chatglm", fused_qkv=True, ffn="joined", rope_frac=0.5),
    Architecture(name="phi3", fused_qkv=True, ffn="joined"),
    Architecture(name="gemma", output="tied"),
    Architecture(name="gemma2", sliding_every=2, norms=_FOUR_NORMS, output="tied"),
    _GEMMA3,
    replace(_GEMMA3, name="gemma-embedding", sliding_every=6, output="tied", encoder=True),
    replace(
        _GEMMA3,
        name="gemma3n",
        sliding_every=5,
        output="tied",
        layer_extras=extras.gemma3n,
        top_extras=extras.gemma3n_top,
    ),
    replace(
        _GEMMA3,
        name="gemma4",
        output="tied",
        expert_ffn="joined",
        layer_extras=extras.gemma4,
        top_extras=extras.gemma4_top,
    ),
    Architecture(name="muse-glimmer", sliding_every=4, norms=_FOUR_NORMS, qk_norm="head", attention_gate="element"),
    _COHERE,
    replace(_COHERE, name="command-r", sliding_every=0, qk_norm="heads", qk_norm_from_layers=64),
    Architecture(name="stablelm", norm_bias=True, qk_norm="heads", rope_frac=0.25),
    replace(_LAYER_NORM, fused_qkv=True, rope_frac=0.25, output="own"),
    replace(_LAYER_NORM, name="starcoder", fused_qkv=True, top_extras=extras.position_embedding),
    replace(_LAYER_NORM, name="starcoder2"),
    replace(_LAYER_NORM, name="phi2", norms=("attn_norm",), output_bias=True, rope_frac=0.4),
    replace(_LAYER_NORM, name="nemotron", attention_bias=False, ffn_bias=False, rope_frac=0.5),
    Architecture(name="falcon", norms=("attn_norm",), norm_bias=True, fused_qkv=True, ffn="plain"),
    Architecture(name="bitnet", output="tied", layer_extras=extras.sub_norms),
    Architecture(name="minicpm3", mixers={Mixer.MLA: attention.latent_joined}),
)

_EXPERTS = (
    replace(_LLAMA, name="granitemoe"),
    Architecture(name="granite_swa", sinks=True, expert_ffn="joined", shared_ffn="joined", experts_use_ffn_length=True),
    Architecture(name="phimoe", norm_bias=True, attention_bias=True, output_bias=True, experts_use_ffn_length=True),
    Architecture(name="olmoe", qk_norm="full", experts_use_ffn_length=True),
    Architecture(name="qwen2moe", shared_gate=True),
    _QWEN3MOE,
    replace(_QWEN3MOE, name="qwen3vlmoe"),
    replace(_QWEN3MOE, name="mellum", sliding_every=4),
    replace(_QWEN3MOE, name="llada-moe"),
    replace(_QWEN3MOE, name="hunyuan-moe", experts_use_ffn_length=True),
    replace(_QWEN3MOE, name="dots1", score_bias=_SCORE_BIAS),
    replace(_QWEN3MOE, name="exaone-moe", sliding_every=4, score_bias=_SCORE_BIAS, nextn=True, nextn_ffn=Ffn.DENSE),
    replace(_QWEN3MOE, name="hy_v3", score_bias="exp_probs_b", nextn=True),
    replace(
        _QWEN3MOE,
        name="bailingmoe2",
        fused_qkv=True,
        score_bias=_SCORE_BIAS,
        nextn=True,
        nextn_output_norm="layer_output_norm",
    ),
    replace(_QWEN3MOE, name="minimax-m3", score_bias=_SCORE_BIAS, layer_extras=extras.block_indexer),
    replace(
        _QWEN3MOE,
        name="minimax-m2",
        qk_norm="full",
        score_bias=_SCORE_BIAS,
        experts_use_ffn_length=True,
        rope_frac=0.5,
    ),
    replace(_QWEN3MOE, name="laguna", sliding_every=-4, score_bias=_SCORE_BIAS, attention_gate="head"),
    replace(
        _QWEN3MOE,
        name="step35",
        score_bias=_SCORE_BIAS,
        attention_gate="head",
        nextn=True,
        nextn_ffn=Ffn.DENSE,
        nextn_slides=True,
    ),
    Architecture(
        name="afmoe",
        sliding_every=4,
        norms=_FOUR_NORMS,
        qk_norm="head",
        score_bias=_SCORE_BIAS,
        attention_gate="element",
    ),
    Architecture(
        name="glm4moe",
        norms=("attn_norm", "post_attention_norm"),
        qk_norm="geometry",
        score_bias=_SCORE_BIAS,
        nextn=True,
        rope_frac=0.5,
    ),
    Architecture(
        name="gpt-oss",
        sliding_every=2,
        norms=("attn_norm", "post_attention_norm"),
        attention_bias=True,
        sinks=True,
        expert_bias=True,
    ),
    Architecture(name="llama4", sliding_every=4),
    Architecture(name="ernie4_5-moe", score_bias=_SCORE_BIAS),
    replace(_COHERE, name="cohere2moe", sliding_every=-4),
    Architecture(
        name="mimo2",
        score_bias=_SCORE_BIAS,
        nextn=True,
        nextn_ffn=Ffn.DENSE,
        nextn_slides=True,
        nextn_output_norm="layer_output_norm",
        rope_frac=0.334,
    ),
    Architecture(name="deepseek"),
    Architecture(name="bailingmoe"),
)

_LATENT = (
    _LATENT_MOE,
    replace(_LATENT_MOE, name="mistral4", score_bias=None),
    replace(_SPARSE_MOE, name="deepseek32"),
    replace(_SPARSE_MOE, name="glm-dsa"),
    Architecture(
        name="deepseek4",
        score_bias=_SCORE_BIAS,
        mixers={Mixer.COMPRESSED: attention.compressed},
        layer_extras=extras.deepseek4,
        top_extras=extras.deepseek4_top,
    ),
)

_HYBRID = (
    _DELTA_NET,
    replace(_DELTA_NET, name="qwen35moe"),
    replace(_DELTA_NET, name="qwen3next", mixers={Mixer.GATED_DELTA: recurrent.gated_delta_joined}),
    _LFM2,
    replace(_LFM2, name="lfm2moe", score_bias=_SCORE_BIAS),
    _HYBRID_MAMBA,
    replace(_HYBRID_MAMBA, name="nemotron_h_moe"),
    Architecture(
        name="falcon-h1",
        bare_norms=frozenset({"ffn_norm"}),
        mixers={Mixer.ATTENTION_MAMBA2: recurrent.attention_beside_mamba2},
    ),
    Architecture(name="granitehybrid", experts_use_ffn_length=True, mixers={Mixer.MAMBA2: recurrent.mamba2}),
    Architecture(name="jamba", experts_use_ffn_length=True, mixers={Mixer.MAMBA1: recurrent.mamba1_normed}),
    Architecture(name="mamba", norms=("attn_norm",), mixers={Mixer.MAMBA1: recurrent.mamba1}),
    Architecture(name="mamba2", norms=("attn_norm",), mixers={Mixer.MAMBA2: recurrent.mamba2}),
    replace(
        _LATENT_MOE,
        name="kimi-linear",
        mixers={Mixer.MLA: attention.latent, Mixer.KDA: recurrent.kimi_delta},
    ),
    replace(
        _LATENT_MOE,
        name="kimi-k3",
        attention_gate="element",
        mixers={Mixer.MLA: attention.latent, Mixer.KDA: recurrent.kimi_delta_full_gate},
        layer_extras=extras.residual_scores,
        top_extras=extras.residual_scores_top,
    ),
    replace(
        _LATENT_MOE,
        name="bailingmoe3",
        attention_gate="head",
        nextn=True,
        nextn_output_norm="layer_output_norm",
        mixers={Mixer.MLA: attention.latent, Mixer.KDA: recurrent.kimi_delta_full_rank},
    ),
    replace(
        _SPARSE_MOE,
        name="glm5-next",
        mixers={Mixer.MLA: attention.latent_pooled, Mixer.KDA: recurrent.kimi_delta_flat},
        layer_extras=extras.glm5_next,
    ),
    Architecture(
        name="minimax-01",
        experts_use_ffn_length=True,
        rope_frac=0.5,
        mixers={Mixer.LIGHTNING: recurrent.lightning},
    ),
)

_ENCODERS = (
    _BERT,
    replace(
        _BERT,
        name="nomic-bert",
        fused_qkv=True,
        attention_bias=False,
        ffn="gated",
        ffn_bias=False,
        top_extras=extras.token_types_top,
    ),
    Architecture(
        name="modern-bert",
        sliding_every=-3,
        fused_qkv=True,
        ffn="joined",
        output="tied",
        encoder=True,
        top_extras=extras.embedding_norm,
    ),
    Architecture(name="eurobert", output="tied", encoder=True),
)

ARCHITECTURES = {arch.name: arch for arch in (*_DENSE, *_EXPERTS, *_LATENT, *_HYBRID, *_ENCODERS)}

# What is weighed where the architecture has no name of its own: the commonest names around the same
# matrices. Sizes hold; a file with these names is not promised to load.
GENERIC = Architecture(
    name="generic",
    qk_norm="geometry",
    mixers={
        Mixer.MLA: attention.latent,
        Mixer.GATED_DELTA: recurrent.gated_delta,
        Mixer.KDA: recurrent.kimi_delta,
        Mixer.MAMBA2: recurrent.mamba2,
        Mixer.MAMBA1: recurrent.mamba1,
        Mixer.SHORT_CONV: recurrent.short_convolution,
        Mixer.LIGHTNING: recurrent.lightning,
        Mixer.ATTENTION_MAMBA2: recurrent.attention_beside_mamba2,
        Mixer.COMPRESSED: attention.compressed,
    },
)
