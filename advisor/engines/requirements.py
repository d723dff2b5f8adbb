"""What each inference engine asks of a machine, and which published weights of a model it loads.

From the engines' own documentation (vLLM 0.33, TensorRT-LLM 1.2, mlx-lm 0.32, llama.cpp b11434, Ollama),
read in November 2026.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from advisor.errors import BadRequestError
from advisor.launch.sources import PLAIN, format_kind
from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.types import Rates, Task
from catalog.load import Catalog
from catalog.obtain import NATIVE_GGUF_QUANT_ID, NATIVE_QUANT_ID, is_native
from catalog.obtain import quant_ids as gguf_quant_ids
from catalog.types import ArtifactSpec, ChipSpec, ModelSpec
from catalog.weights import weigh

ENGINE_IDS = ("llama.cpp", "vllm", "mlx", "tensorrt-llm", "ollama")
LLAMA_CPP, VLLM, MLX, TENSORRT_LLM, OLLAMA = ENGINE_IDS
NAMES: Mapping[str, str] = {
    LLAMA_CPP: "llama.cpp",
    VLLM: "vLLM",
    MLX: "MLX",
    TENSORRT_LLM: "TensorRT-LLM",
    OLLAMA: "Ollama",
}
GGUF_ENGINES = frozenset({LLAMA_CPP, OLLAMA})
_SAFETENSORS_ENGINES = frozenset({VLLM, MLX, TENSORRT_LLM})
PLAIN_QUANT_ID = "BF16-safetensors"
#: CUDA compute capability by a chip's generation as the catalog names it.
_CAPABILITIES: Mapping[str, float] = {
    "Maxwell 2.0": 5.2,
    "Pascal": 6.1,
    "Volta": 7.0,
    "Turing": 7.5,
    "Ampere": 8.6,
    "Ada Lovelace": 8.9,
    "Hopper": 9.0,
    "Blackwell": 10.0,
    "Blackwell 2.0": 12.0,
}
#: Quantisations that stand for each published format, with the capability that computes them well on CUDA.
_VLLM_FORMATS: tuple[tuple[str, float], ...] = (
    ("FP8", 8.9),
    ("NVFP4", 10.0),
    ("INT8", 7.5),
    ("AWQ-4bit", 7.5),
    ("GPTQ-4bit", 7.5),
    (PLAIN_QUANT_ID, 8.0),
)
_TENSORRT_FORMATS: tuple[tuple[str, float], ...] = (("FP8", 8.9), ("NVFP4", 10.0), (PLAIN_QUANT_ID, 8.0))
#: On ROCm: what has kernels of its own.
_ROCM_QUANT_IDS = ("FP8", "AWQ-4bit", "GPTQ-4bit", PLAIN_QUANT_ID)
_MLX_QUANT_IDS = ("MLX-8bit", "MLX-6bit", "MLX-5bit", "MLX-4bit", "MLX-3bit")
_VLLM_LEAST_CAPABILITY, _TENSORRT_LEAST_CAPABILITY = 7.5, 8.0
_VLLM_ROCM_GENERATIONS = ("CDNA 2", "CDNA 3", "CDNA 4", "RDNA 3", "RDNA 4")
#: Extra log standard deviation of speeds that were learnt on llama.cpp and are asked of another engine.
_OTHER_ENGINE_SIGMA = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What an engine asks of a machine.

    Attributes:
        os: "Linux", "macOS" or "Windows".
        backend: the first accelerator's, or "cpu".
        capability: CUDA compute capability; None elsewhere or where it is not known.
        generation: the first accelerator's architecture, e.g. "RDNA 3.5".
    """

    os: str
    backend: str
    chip: str
    capability: float | None = None
    generation: str | None = None
    room_bytes: int = 0
    chips_count: int = 0


def platform_of(machine: Machine, catalog: Catalog, *, os_name: str | None = None) -> Platform:
    """What engines can count on; a machine that is not here is taken to run Linux, a Mac macOS."""
    accelerators = [device for device in machine.devices if device.device_id != CPU_DEVICE_ID]
    first = accelerators[0] if accelerators else machine.devices[-1]
    chip = catalog.known_chip(first.name)
    default_os = "macOS" if first.backend == "metal" else "Linux"
    return Platform(
        os=os_name or default_os,
        backend=first.backend,
        chip=first.name,
        capability=_capability(chip) if first.backend == "cuda" else None,
        generation=chip.architecture if chip else None,
        room_bytes=sum(device.memory_available_bytes for device in accelerators or [first]),
        chips_count=len(accelerators),
    )


def _capability(chip: ChipSpec | None) -> float | None:
    if chip is None or chip.architecture is None:
        return None
    if chip.chip_id.startswith(("NVIDIA A100", "NVIDIA A30")):
        return 8.0
    if chip.unified:  # boards and small desktops have numbers of their own
        return {"Ampere": 8.7, "Blackwell": 12.1, "Volta": 7.2}.get(chip.architecture)
    return _CAPABILITIES.get(chip.architecture)


def waiver(engine_id: str, platform: Platform) -> str | None:
    """Why an engine cannot run on a machine; None if it can."""
    if engine_id in GGUF_ENGINES:
        return _ollama_waiver(platform) if engine_id == OLLAMA else None
    if engine_id == MLX:
        return None if platform.backend == "metal" else "it runs on Apple silicon"
    if platform.backend == "metal":
        return "it has no Metal backend of its own"
    if platform.os != "Linux":
        return "it runs on Linux (on Windows in WSL 2)"
    return _tensorrt_waiver(platform) if engine_id == TENSORRT_LLM else _vllm_waiver(platform)


def task_waiver(engine_id: str, task: Task) -> str | None:
    """Why an engine's server cannot do a task, whatever the model; None if it can."""
    if engine_id == MLX and task is Task.VISION:
        return "mlx-lm's server reads no images (mlx-vlm's does)"
    if engine_id in (MLX, TENSORRT_LLM) and task is Task.EMBEDDING:
        return "its server answers in words only"
    return None


def _ollama_waiver(platform: Platform) -> str | None:
    return "it has no SYCL backend" if platform.backend == "sycl" else None


def _tensorrt_waiver(platform: Platform) -> str | None:
    if platform.backend != "cuda":
        return "it runs on NVIDIA GPUs"
    if (platform.capability or math.inf) < _TENSORRT_LEAST_CAPABILITY:
        return f"it needs compute capability 8.0 (Ampere), {platform.chip} has {platform.capability:g}"
    return None


def _vllm_waiver(platform: Platform) -> str | None:
    if platform.backend == "cpu":
        return "on a CPU it is for servers with AVX-512 or AMX and 16-bit weights"
    if platform.backend == "cuda" and (platform.capability or math.inf) < _VLLM_LEAST_CAPABILITY:
        return f"it needs compute capability 7.5 (Turing), {platform.chip} has {platform.capability:g}"
    if platform.backend == "rocm" and not (platform.generation or "").startswith(_VLLM_ROCM_GENERATIONS):
        return f"its ROCm build covers CDNA 2 to 4 and RDNA 3 and 4, not {platform.generation or platform.chip}"
    if platform.backend == "vulkan":
        return "it has no Vulkan backend"
    return None


def loadable_quant_ids(model: ModelSpec, engine_id: str, platform: Platform | None = None) -> tuple[str, ...]:
    """Quantisations of a model that an engine loads and somebody publishes, finest first."""
    if engine_id in GGUF_ENGINES:
        return gguf_quant_ids(model) if model.repos.get("gguf") else ()
    if engine_id == MLX:
        names = [repo.lower() for repo in model.repos.get("mlx", ())]
        return tuple(
            quant_id
            for quant_id in _MLX_QUANT_IDS
            if any(name.endswith(quant_id.lower().removeprefix("mlx-")) for name in names)
        )
    if is_native(model):
        return (NATIVE_QUANT_ID,)
    found = [quant_id for quant_id in _quant_ids_with_kernels(engine_id, platform) if _is_published(model, quant_id)]
    return tuple(sorted(found, key=lambda quant_id: -_bits(quant_id)))


def _quant_ids_with_kernels(engine_id: str, platform: Platform | None) -> tuple[str, ...]:
    formats = _TENSORRT_FORMATS if engine_id == TENSORRT_LLM else _VLLM_FORMATS
    if platform is not None and platform.backend == "rocm":
        return _ROCM_QUANT_IDS
    capability = platform.capability if platform is not None and platform.capability is not None else math.inf
    return tuple(quant_id for quant_id, least in formats if capability >= least)


def _is_published(model: ModelSpec, quant_id: str) -> bool:
    kind = format_kind(quant_id, "safetensors")
    return kind == PLAIN or bool(model.repos.get(kind))


def _bits(quant_id: str) -> int:
    if quant_id.startswith("BF16"):
        return 16
    return 8 if quant_id in ("FP8", "INT8") else 4


def named_quant_id(model: ModelSpec, quant_id: str, engine_id: str | None) -> str:
    """What a user means by a quantisation: MXFP4 in a GGUF is a file type of another name.

    Without an engine, a model that was trained in MXFP4 is taken to run on llama.cpp as any other is.
    """
    if quant_id != NATIVE_QUANT_ID or engine_id in _SAFETENSORS_ENGINES:
        return quant_id
    return NATIVE_GGUF_QUANT_ID if engine_id is not None or is_native(model) else quant_id


def usual_engine(quant_id: str, file_format: str) -> str:
    """The engine that people run weights of a kind with."""
    kind = format_kind(quant_id, file_format)
    if kind == "gguf":
        return LLAMA_CPP
    return MLX if kind == "mlx" else VLLM


def check_loadable(model: ModelSpec, quant_id: str, file_format: str, engine_id: str) -> None:
    """Check that an engine loads weights of a kind.

    Raises:
        BadRequestError: naming what it loads of the same model.
    """
    kind = format_kind(quant_id, file_format)
    own = (
        {"gguf"} if engine_id in GGUF_ENGINES else {"mlx", PLAIN} if engine_id == MLX else _safetensors_kinds(engine_id)
    )
    if kind in own:
        return
    found = loadable_quant_ids(model, engine_id)
    advice = f"it loads {', '.join(found)} of it" if found else "nobody publishes weights of it that it loads"
    raise BadRequestError(f"{NAMES[engine_id]} does not load {model.model_id}:{quant_id}; {advice}")


def _safetensors_kinds(engine_id: str) -> set[str]:
    formats = _TENSORRT_FORMATS if engine_id == TENSORRT_LLM else _VLLM_FORMATS
    return {format_kind(quant_id, "safetensors") for quant_id, _ in formats} | {PLAIN}


def check_engine(engine_id: str) -> None:
    """Check an engine's name.

    Raises:
        BadRequestError: if there is no such engine.
    """
    if engine_id not in ENGINE_IDS:
        raise BadRequestError(f"unknown engine {engine_id[:20]!r}; use one of {', '.join(ENGINE_IDS)}")


def with_engine(machine: Machine, engine_id: str, platform: Platform) -> Machine:
    """The machine as another engine would use it: its memory rules, and speeds that are less sure.

    Raises:
        BadRequestError: if the engine is unknown or cannot run there.
    """
    check_engine(engine_id)
    reason = waiver(engine_id, platform)
    if reason is not None:
        able = [other for other in ENGINE_IDS if waiver(other, platform) is None]
        raise BadRequestError(
            f"{NAMES[engine_id]} cannot run on {machine.name}: {reason}; use --engine {' or '.join(able)}"
        )
    if engine_id in GGUF_ENGINES:
        return replace(machine, engine_id=engine_id)
    devices = tuple(replace(device, rates=_doubted(device.rates)) for device in machine.devices)
    return replace(machine, engine_id=engine_id, devices=devices)


def _doubted(rates: Rates) -> Rates:
    return replace(
        rates,
        decode_sigma=math.hypot(rates.decode_sigma, _OTHER_ENGINE_SIGMA),
        prefill_sigma=math.hypot(rates.prefill_sigma, _OTHER_ENGINE_SIGMA),
        source=f"{rates.source}; learnt on llama.cpp".lstrip("; "),
    )


def engine_artifacts(model: ModelSpec, machine: Machine, catalog: Catalog) -> tuple[ArtifactSpec, ...]:
    """Every published weights of a model that the machine's engine loads, finest first.

    Raises:
        BadRequestError: if there are none.
    """
    found = loadable_quant_ids(model, machine.engine_id, platform_of(machine, catalog))
    if not found:
        name = NAMES[machine.engine_id]
        raise BadRequestError(
            f"nobody publishes weights of {model.model_id} that {name} loads here; use --engine {LLAMA_CPP}"
        )
    return tuple(weigh(model, quant_id) for quant_id in found)
