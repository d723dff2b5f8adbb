"""Which inference engine suits a pick: every engine judged by machine, published formats and number of users.

What runs here and loads some published weights of the model comes first, best suited first; then the others
with the reason why not.
"""

from collections.abc import Sequence

from advisor.engines.requirements import (
    ENGINE_IDS,
    GGUF_ENGINES,
    LLAMA_CPP,
    MLX,
    OLLAMA,
    PLAIN_QUANT_ID,
    TENSORRT_LLM,
    VLLM,
    Platform,
    loadable_quant_ids,
    task_waiver,
    waiver,
)
from advisor.launch.sources import published_repo
from advisor.types import EngineOption, Estimate, EstimateWarning
from catalog.types import ModelSpec
from catalog.units import GIB
from catalog.weights import weigh

#: From so many users on, batches in a paged cache are worth more than a finer choice of quantisation.
_MANY_USERS_COUNT = 4
#: Numbers of cards among which a model's heads divide, so that all work on every layer at once.
_DIVIDING_COUNTS = (2, 4, 8)
#: What vLLM and its like leave of a device for weights and cache, beside what each device keeps for graphs.
_USABLE_FRAC = 0.9
_GRAPH_BYTES = 1.5 * GIB
#: Plain 16-bit weights are chosen where they take no more than this share: the rest is cache.
_PLAIN_FRAC = 0.5
#: From this compute capability on, 8-bit floats are multiplied as they are.
_NATIVE_FP8_CAPABILITY = 8.9


def engine_options(model: ModelSpec, made: Estimate, platform: Platform) -> tuple[EngineOption, ...]:
    """Every engine for one pick, best suited first, those that cannot run it last with the reason."""
    judged = [_judge(engine_id, model, made, platform) for engine_id in ENGINE_IDS]
    return tuple(option for _, option in sorted(judged, key=lambda pair: -pair[0]))


def _judge(engine_id: str, model: ModelSpec, made: Estimate, platform: Platform) -> tuple[float, EngineOption]:
    reason = (
        waiver(engine_id, platform) or task_waiver(engine_id, made.workload.task) or _refusal(engine_id, model, made)
    )
    quant_ids: Sequence[str] = ()
    if reason is None:
        quant_ids = loadable_quant_ids(model, engine_id, platform)
        if not quant_ids:
            reason = "nobody publishes weights of this model that it loads here"
    if reason is not None:
        return -1.0, EngineOption(engine_id=engine_id, suits=False, reason=reason)
    quant_id = _chosen_quant_id(engine_id, quant_ids, model, made, platform)
    if quant_id is None:
        smallest = weigh(model, quant_ids[-1])
        gib = smallest.file_bytes / GIB
        reason = (
            f"its smallest weights here, {_shown(smallest.quant_id)} of {gib:.3g} GiB, leave too little for a cache"
        )
        return -1.0, EngineOption(engine_id=engine_id, suits=False, reason=reason)
    points, why = _suitability(engine_id, quant_id, made, platform)
    repo = published_repo(model, quant_id, "gguf" if engine_id in GGUF_ENGINES else weigh(model, quant_id).file_format)
    return points, EngineOption(engine_id=engine_id, suits=True, reason=why, quant_id=quant_id, repo=repo)


def _refusal(engine_id: str, model: ModelSpec, made: Estimate) -> str | None:
    """What about the model or its plan an engine cannot do."""
    if engine_id in (MLX, TENSORRT_LLM) and model.capabilities & {"embedding", "reranker"}:
        return "its server answers in words only"
    if engine_id == OLLAMA and "reranker" in model.capabilities:
        return "it has no reranking"
    if engine_id not in GGUF_ENGINES and EstimateWarning.SPILLS_TO_CPU in made.warnings:
        return "part of the model stays on the CPU, which it does not do at a usable speed"
    if engine_id == OLLAMA and made.deployment.experts_on_cpu_layers_count:
        return "it cannot keep only the experts on the CPU; whole layers there are slower"
    return None


def _chosen_quant_id(
    engine_id: str, quant_ids: Sequence[str], model: ModelSpec, made: Estimate, platform: Platform
) -> str | None:
    """The pick's own quantisation where the engine loads it, else the finest that leaves room for a cache."""
    if engine_id in GGUF_ENGINES:
        return made.quant_id if made.quant_id in quant_ids or made.deployment.file_format == "gguf" else quant_ids[0]
    if made.quant_id in quant_ids:
        return made.quant_id
    load = made.workload
    used_frac = min(1.0, (load.prompt_tokens + load.output_tokens) / load.context_tokens)  # caches are paged
    cache_bytes = used_frac * sum(device.kv_bytes for device in made.memory.devices)
    room_bytes = _USABLE_FRAC * platform.room_bytes - _GRAPH_BYTES * platform.chips_count - cache_bytes
    fitting = [quant_id for quant_id in quant_ids if weigh(model, quant_id).file_bytes <= room_bytes]
    native = platform.backend == "rocm" or (platform.capability or 0.0) >= _NATIVE_FP8_CAPABILITY
    if native and "FP8" in fitting:
        return "FP8"
    plain = [quant_id for quant_id in fitting if quant_id == PLAIN_QUANT_ID]
    if plain and weigh(model, PLAIN_QUANT_ID).file_bytes > _PLAIN_FRAC * room_bytes and len(fitting) > 1:
        fitting.remove(PLAIN_QUANT_ID)
    return next(iter(fitting), None)


def _suitability(engine_id: str, quant_id: str, made: Estimate, platform: Platform) -> tuple[float, str]:
    """Points and the reason in words: for one user the finest weights, for many the best batching."""
    users = made.workload.concurrency_count
    many = users >= _MANY_USERS_COUNT
    at_once = platform.backend == "cuda" and platform.chips_count in _DIVIDING_COUNTS
    if engine_id == LLAMA_CPP:
        return 4.0 if many else 5.0, _llama_reason(made, platform, users, many=many, at_once=at_once)
    if engine_id == OLLAMA:
        return (
            3.0,
            "llama.cpp inside, easiest to install; takes fewer settings (no split by rows, no experts on the CPU)",
        )
    if engine_id == MLX:
        why = f"batches {users} users" if many else "usually the fastest for one user"
        return 6.0, f"made for Apple silicon, {_shown(quant_id)} is published; {why}"
    if engine_id == VLLM:
        if many:
            return 6.0, f"{users} users share a paged cache and one batch; loads {_shown(quant_id)}"
        if at_once:
            cards = platform.chips_count
            return (
                5.5,
                f"all {cards} cards work on every layer at once, even for {_users(users)}; loads {_shown(quant_id)}",
            )
        return (
            2.0,
            f"loads {_shown(quant_id)}; batching earns nothing for {_users(users)}, and it takes 90 % of the memory",
        )
    data_centre = platform.capability in (9.0, 10.0)
    if many:
        points = 5.5 if data_centre else 3.5
        return (
            points,
            f"fastest kernels for {_shown(quant_id)} on NVIDIA, hardest to install: for serving {users} users all day",
        )
    return 1.0, f"loads {_shown(quant_id)}; made for serving many, hard to install for {_users(users)}"


def _llama_reason(made: Estimate, platform: Platform, users: int, *, many: bool, at_once: bool) -> str:
    if EstimateWarning.SPILLS_TO_CPU in made.warnings:
        return "splits the model between the accelerator and the CPU"
    if platform.backend == "cpu":
        return "the fastest on CPUs, with the widest choice of quantisations"
    if many:
        return f"runs {users} slots side by side; every slot keeps its whole context"
    if at_once:
        return "the widest choice of quantisations; its cards mostly take turns, layer by layer"
    return f"the widest choice of quantisations, and as fast as any for {_users(users)}"


def _shown(quant_id: str) -> str:
    return "16-bit weights" if quant_id == PLAIN_QUANT_ID else quant_id


def _users(users: int) -> str:
    return "one user" if users == 1 else f"{users} users"
