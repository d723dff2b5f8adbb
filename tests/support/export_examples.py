"""Picks to export: a model of the catalog, or a made-up one, with settings that every target has to face."""

from dataclasses import replace

from advisor.export.pick import Job, Pick, Stack, pick_of
from advisor.types import (
    Basis,
    Choice,
    Deployment,
    DeviceMemory,
    Estimate,
    Interval,
    Limits,
    MemoryPlan,
    Quality,
    Recommendation,
    StackMember,
    StackMode,
    StackPlan,
    Task,
    Workload,
)
from catalog.types import Citation, ModelSpec

GIB = 1024**3


def model(
    model_id: str = "acme/Tiny-Chat-1B",
    *,
    display_name: str = "Tiny Chat 1B",
    capabilities: tuple[str, ...] = ("instruct",),
) -> ModelSpec:
    name = model_id.rpartition("/")[2]
    return ModelSpec(
        model_id=model_id,
        display_name=display_name,
        org="acme",
        official=True,
        architecture="llama",
        params_total_count=1_000_000_000,
        capabilities=frozenset(capabilities),
        repos={
            "gguf": (f"acme/{name}-GGUF",)
            if name.isascii() and name[:1].isalnum() and name.replace("-", "").isalnum()
            else (),
            "awq": ("acme/Tiny-Chat-1B-AWQ",),
            "fp8": ("acme/Tiny-Chat-1B-FP8",),
            "mlx": ("acme/Tiny-Chat-1B-MLX-4bit",),
        },
        citation=Citation(source="made up"),
    )


def estimate(spec: ModelSpec, *, workload: Workload | None = None, **deployment: object) -> Estimate:
    settings: dict[str, object] = {
        "quant_id": "Q4_K_M",
        "layers_by_device": {"cpu": 16},
        "threads_count": 2,
    }
    made = Deployment(model_id=spec.model_id, **(settings | deployment))  # type: ignore[arg-type]
    one = Interval(low=9.0, mid=10.0, high=11.0)
    device = DeviceMemory(
        device_id="cpu",
        weights_bytes=GIB,
        kv_bytes=GIB // 8,
        compute_bytes=GIB // 16,
        overhead_bytes=0,
        total_bytes=GIB + GIB // 8 + GIB // 16,
        available_bytes=8 * GIB,
    )
    return Estimate(
        model_id=spec.model_id,
        quant_id=made.quant_id,
        engine_id=made.engine_id,
        deployment=made,
        workload=workload or Workload(task=Task.CHAT, prompt_tokens=1024, output_tokens=512, context_tokens=4096),
        prefill_tokens_per_s=one,
        decode_tokens_per_s=one,
        first_token_s=one,
        load_s=one,
        memory=MemoryPlan(total_bytes=device.total_bytes, fits=True, devices=(device,)),
        basis=Basis.ASSUMED,
    )


def gguf_pick(spec: ModelSpec | None = None, *, local_path: str | None = None, **settings: object) -> Pick:
    spec = spec or model()
    return pick_of(spec, estimate(spec, **settings), local_path=local_path)


def awq_pick(spec: ModelSpec | None = None, **settings: object) -> Pick:
    gpu = {"quant_id": "AWQ-4bit", "file_format": "safetensors", "backend": "cuda", "layers_by_device": {"cuda:0": 16}}
    return gguf_pick(spec, **(gpu | settings))


def mlx_pick(spec: ModelSpec | None = None, **settings: object) -> Pick:
    gpu = {"quant_id": "MLX-4bit", "file_format": "mlx", "backend": "metal", "layers_by_device": {"metal:0": 16}}
    return gguf_pick(spec, **(gpu | settings))


def tuned_pick() -> Pick:
    """Every setting away from its default: a card and a part on the CPU, a small cache, several users."""
    workload = Workload(
        task=Task.CODING, prompt_tokens=1024, output_tokens=256, context_tokens=4096, concurrency_count=3
    )
    return gguf_pick(
        workload=workload,
        backend="cuda",
        layers_by_device={"cuda:0": 10, "cpu": 6},
        experts_on_cpu_layers_count=2,
        kv_quant_id="q8_0",
        threads_count=6,
        ubatch_tokens=256,
        mmap=False,
    )


def stack(mode: StackMode = StackMode.CO_RESIDENT) -> Stack:
    chat = replace(gguf_pick(), jobs=(Job.CHAT, Job.COMPLETION))
    swapped = mode is StackMode.SWAPPED
    other = gguf_pick(model("acme/Coder-7B", display_name="Coder 7B"))
    embedding = gguf_pick(model("acme/Embed-1B", display_name="Embed 1B", capabilities=("embedding",)))
    reranker = gguf_pick(model("acme/Rerank-1B", display_name="Rerank 1B", capabilities=("reranker",)))
    large = tuple(replace(pick, resident=not swapped) for pick in (chat, other))
    return Stack(picks=(*large, embedding, reranker), mode=mode)


def choice(pick: Pick, rank: int = 1) -> Choice:
    return Choice(
        rank=rank,
        score=50.0,
        quality=Quality(low=40.0, mid=50.0, high=60.0, imputed=False),
        estimate=pick.estimate,
        reasons=("it fits",),
        command="",
        display_name=pick.model.display_name,
        local_path=pick.local_path,
        repo=pick.repo,
    )


def recommendation(*picks: Pick) -> Recommendation:
    return Recommendation(
        task=Task.CHAT,
        workload=picks[0].workload,
        limits=Limits(),
        ranked=tuple(choice(pick, rank) for rank, pick in enumerate(picks, start=1)),
        rejected=(),
        profile_id="made-up",
        catalog_version="0",
        created_at="2026-11-22T00:00:00Z",
        tool_version="0",
        hardware="a made-up machine",
    )


def stack_plan(made: Stack) -> StackPlan:
    members = tuple(
        StackMember(jobs=tuple(job.value for job in pick.jobs), choice=choice(pick), resident=pick.resident)
        for pick in made.picks
    )
    return StackPlan(
        jobs=("chat", "embedding"),
        mode=made.mode,
        members=members,
        devices=(),
        score=50.0,
        reasons=(),
        limits=Limits(),
        hardware="a made-up machine",
        profile_id="made-up",
        catalog_version="0",
        created_at="2026-11-22T00:00:00Z",
        tool_version="0",
    )
