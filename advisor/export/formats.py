"""Which stored formats an engine loads, and what else of a model it could load instead."""

from collections.abc import Mapping

from advisor.errors import BadRequestError
from advisor.export.pick import Pick
from advisor.launch import format_kind
from catalog.obtain import NATIVE_GGUF_QUANT_ID, NATIVE_QUANT_ID, is_native
from catalog.types import ModelSpec

LM_STUDIO = "lm-studio"
_UNPACKED = "safetensors"
#: Engine -> kinds of weights it loads, the best first, with the quantisation to ask for.
_LOADS: Mapping[str, Mapping[str, str]] = {
    "llama.cpp": {"gguf": "Q4_K_M"},
    "ollama": {"gguf": "Q4_K_M"},
    LM_STUDIO: {"gguf": "Q4_K_M", "mlx": "MLX-4bit"},
    "vllm": {
        "awq": "AWQ-4bit",
        "fp8": "FP8",
        "gptq": "GPTQ-4bit",
        "nvfp4": "NVFP4",
        "int8": "INT8",
        "bnb": "BNB-nf4",
        _UNPACKED: "BF16-safetensors",
    },
    "mlx": {"mlx": "MLX-4bit"},
    "tensorrt-llm": {"fp8": "FP8", "nvfp4": "NVFP4", _UNPACKED: "BF16-safetensors"},
}
#: The same for models that were trained in a format of their own.
_NATIVE: Mapping[str, str] = {"gguf": NATIVE_GGUF_QUANT_ID, _UNPACKED: NATIVE_QUANT_ID}
_RUNS_ON = {"gguf": "llama-server", "mlx": "mlx"}


def require_loadable(pick: Pick, engine_id: str, target_id: str) -> None:
    """Check that a target's engine can load a pick's weights.

    Raises:
        BadRequestError: naming what it can load of the same model, or where these weights can go.
    """
    kind = format_kind(pick.deployment.quant_id, pick.deployment.file_format)
    if kind in _LOADS[engine_id]:
        return
    shown = "GGUF" if kind == "gguf" else pick.deployment.quant_id
    raise BadRequestError(f"{target_id} cannot load {shown} weights; {_alternative(pick, engine_id, kind)}")


def _alternative(pick: Pick, engine_id: str, kind: str) -> str:
    name, repos = pick.model.model_id, pick.model.repos
    for other, quant_id in _loads(pick.model, engine_id).items():
        if repos.get(other):
            return f"export {name}:{quant_id} instead ({repos[other][0]})"
        if other == _UNPACKED and pick.model.citation is not None:
            return f"export the original weights instead: {name}:{quant_id}"
    return f"no other format of it is known; these weights run with --for {_RUNS_ON.get(kind, 'vllm')}"


def _loads(model: ModelSpec, engine_id: str) -> Mapping[str, str]:
    loads = _LOADS[engine_id]
    native = {kind: quant_id for kind, quant_id in _NATIVE.items() if kind in loads} if is_native(model) else {}
    return native or loads
