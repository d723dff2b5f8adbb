"""Launches of every engine for one small dense model, one mixture of experts and one embedder."""

from dataclasses import replace

from advisor import launch
from advisor.types import Deployment, Workload
from catalog.sampling import Sampling
from catalog.types import ModelSpec

EVERY_VALUE = Sampling(temperature=0.7, top_p=0.8, top_k=20, min_p=0.05, presence_penalty=1.5, repeat_penalty=1.05)
CHAT = Workload(prompt_tokens=1024, output_tokens=512, context_tokens=8192)
MODEL = ModelSpec(
    model_id="org/Model-8B",
    display_name="Model 8B",
    org="org",
    official=True,
    architecture="qwen3",
    params_total_count=8_000_000_000,
    repos={
        "gguf": ("org/Model-8B-GGUF",),
        "awq": ("org/Model-8B-AWQ",),
        "fp8": ("org/Model-8B-FP8",),
        "mlx": ("mlx-community/Model-8B-4bit",),
    },
    capabilities=frozenset({"instruct"}),
)
EMBEDDER = replace(MODEL, model_id="org/Embedder", capabilities=frozenset({"embedding"}))


def deployment(**changes: object) -> Deployment:
    """A GGUF on one CUDA card, with some things changed."""
    base = Deployment(
        model_id=MODEL.model_id,
        quant_id="Q4_K_M",
        backend="cuda",
        layers_by_device={"cuda:0": 36},
        threads_count=8,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def every_launch() -> list[tuple[str, launch.Launch]]:
    """Every engine with every setting it can be given, at least once."""
    eight = replace(CHAT, concurrency_count=8)
    two = {"cuda:0": 20, "cuda:1": 16}
    plain = {"quant_id": "FP8", "file_format": "safetensors"}
    gguf = [
        deployment(kv_quant_id="q8_0", mmap=False, layers_by_device={"cpu": 6, "cuda:0": 30}),
        deployment(kv_quant_id="q8_0/q4_0", layers_by_device=two, split_mode="row", experts_on_cpu_layers_count=4),
        deployment(backend="cpu", layers_by_device={"cpu": 36}, flash_attention=False),
    ]
    dense = [
        deployment(**plain, kv_quant_id="fp8", layers_by_device=two, split_mode="row"),
        deployment(**plain, layers_by_device=two, split_mode="layer"),
    ]
    mlx = deployment(
        backend="metal", quant_id="MLX-4bit", file_format="mlx", layers_by_device={"metal:0": 36}, kv_quant_id="q8_0"
    )
    cases: list[tuple[str, Deployment, ModelSpec]] = [
        *((engine_id, made, MODEL) for engine_id in sorted(launch.GGUF_ENGINE_IDS) for made in gguf),
        *((engine_id, made, MODEL) for engine_id in ("vllm", "tensorrt-llm") for made in dense),
        ("mlx", mlx, MODEL),
        ("llama.cpp", deployment(), EMBEDDER),
        ("llama-cpp-python", deployment(), EMBEDDER),
        ("vllm", dense[1], EMBEDDER),
    ]
    return [
        (engine_id, launch.command(model, made, eight, engine_id=engine_id, sampling=EVERY_VALUE))
        for engine_id, made, model in cases
    ]
