"""How llama.cpp works through a prompt, where architectures differ: read from the graphs it builds (``src/models``).

As of the sources that llama-cpp-python 0.3.36 is built from; ``tests/engine`` compares with the installed engine.
"""

from catalog.architectures.blocks import find_architecture

#: Every prompt token passes the last layer's feed-forward, and only then are those left out whose logits nobody
#: wants: their hidden states may be asked for too, to predict several tokens, or the layer streams are joined last.
#: The others leave such tokens out between the last attention and feed-forward.
_WHOLE_LAST_FFN = frozenset(
    {
        "bailingmoe3",
        "cohere2moe",
        "deepseek4",
        "gemma3n",
        "gemma4",
        "glm5-next",
        "gpt-oss",
        "hy_v3",
        "kimi-k3",
        "nemotron_h",
        "nemotron_h_moe",
        "qwen35",
        "qwen35moe",
        "qwen3next",
        "step35",
    }
)
#: The feed-forward's activation is GELU, which is looked up value by value: on one CPU in 1.0 ns, SiLU in 0.23.
_GELU = frozenset(
    {
        "bert",
        "falcon",
        "gemma",
        "gemma-embedding",
        "gemma2",
        "gemma3",
        "gemma3n",
        "gemma4",
        "gptneox",
        "modern-bert",
        "phi2",
        "starcoder",
        "starcoder2",
    }
)


def works_through_last_ffn(architecture: str | None) -> bool:
    """Whether all tokens of a prompt pass the last layer's feed-forward; of an encoder all are wanted."""
    return architecture in _WHOLE_LAST_FFN or find_architecture(architecture).encoder


def uses_gelu(architecture: str | None) -> bool:
    """Whether the feed-forward's activation is GELU."""
    return architecture in _GELU
