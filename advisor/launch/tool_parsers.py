"""The parser with which vLLM reads a model's tool calls.

Names of vLLM's own registry (``vllm/tool_parsers/__init__.py``, read in November 2026) for the architectures whose
models all call tools in one way, by vLLM's list of tool calling models and by the recipes of the models' makers.
Architectures that carry several ways (Llama's, DeepSeek V2's, the sparse Qwen 3 with its coders) are left out: a wrong
parser loses every call.
"""

from collections.abc import Mapping

_PARSERS: Mapping[str, str] = {
    "apertus": "apertus",
    "deepseek32": "deepseek_v32",
    "deepseek4": "deepseek_v4",
    "gemma4": "gemma4",
    "glm-dsa": "glm47",
    "glm4moe": "glm45",
    "glm5-next": "glm47",
    "gpt-oss": "openai",
    "granitehybrid": "granite4",
    "hunyuan-moe": "hunyuan_a13b",
    "hy_v3": "hy_v3",
    "kimi-k3": "kimi_k3",
    "laguna": "poolside_v1",
    "lfm2": "lfm2",
    "lfm2moe": "lfm2",
    "mimo2": "mimo",
    "minimax-m2": "minimax_m2",
    "minimax-m3": "minimax_m3",
    "mistral3": "mistral",
    "qwen2": "hermes",
    "qwen3": "hermes",
    "qwen35": "qwen3_coder",
    "qwen35moe": "qwen3_coder",
    "qwen3vl": "hermes",
    "qwen3vlmoe": "hermes",
    "seed_oss": "seed_oss",
    "step35": "step3p5",
}


def tool_parser(architecture: str | None) -> str | None:
    """What vLLM calls the parser of an architecture's tool calls; None where that is not known for all its models."""
    return _PARSERS.get(architecture or "")
