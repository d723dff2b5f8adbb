"""Engines for a pick, in words: which suits, and why the others do not."""

from collections.abc import Iterator, Mapping

from advisor.types import Choice, EngineOption
from reports.text import plain

_NAMES: Mapping[str, str] = {"vllm": "vLLM", "mlx": "MLX", "tensorrt-llm": "TensorRT-LLM", "ollama": "Ollama"}


def lines(choice: Choice) -> Iterator[str]:
    """One line per engine that suits, best first; then the others in one line each."""
    for option in choice.engines:
        yield f"{'✓' if option.suits else '✗'} {name(option)}: {plain(option.reason)}"


def name(option: EngineOption) -> str:
    """An engine with the weights it would load where they are not the pick's own."""
    return _NAMES.get(option.engine_id, plain(option.engine_id))
