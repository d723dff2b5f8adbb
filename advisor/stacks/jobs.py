"""What the models of a stack do: every task, and the two jobs that only make sense beside another model."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from advisor.errors import BadRequestError
from advisor.types import Task, Workload
from advisor.workloads import TASKS, TaskProfile, make_workload
from catalog.load import Catalog
from catalog.types import ModelSpec, Score

COMPLETION = "completion"
RERANKER = "reranker"
#: Jobs of models that answer no questions; they are small and stay loaded.
SMALL_JOBS = frozenset({COMPLETION, RERANKER, str(Task.EMBEDDING)})
JOB_NAMES = (*map(str, Task), COMPLETION, RERANKER)
MAX_JOBS_COUNT = 6

#: Models that fill in the middle, as llama-server's own ``--fim-qwen-*`` presets choose them.
_FILL_IN_MIDDLE = (
    "Qwen/Qwen2.5-Coder-1.5B",
    "Qwen/Qwen2.5-Coder-3B",
    "Qwen/Qwen2.5-Coder-7B",
    "Qwen/Qwen2.5-Coder-14B",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct",
)
_COMPLETION_PROFILE = TaskProfile(
    prompt_tokens=2048,
    output_tokens=64,
    usable_tokens_per_s=15.0,
    ample_tokens_per_s=100.0,
    prompt_wait_s=0.3,
    patience_s=2.0,
    context_tokens=8192,
    cached_prompt_frac=0.8,
)
_RERANKER_PROFILE = TaskProfile(
    prompt_tokens=512,
    output_tokens=1,
    usable_tokens_per_s=0.0,
    ample_tokens_per_s=float("inf"),
    prompt_wait_s=0.03,
    patience_s=1.0,
    context_tokens=4096,
)
_UNKNOWN_SCORE = Score(low=30.0, mid=50.0, high=70.0, imputed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job of a stack: what it asks of a model, and which models can do it."""

    name: str
    workload: Workload
    profile: TaskProfile
    quality: Callable[[Catalog, ModelSpec], Score]
    model_ids: Callable[[Catalog], tuple[str, ...]] | None = None  # None: whatever may be ranked for the task

    @property
    def is_small(self) -> bool:
        """Whether its models are small and stay loaded."""
        return self.name in SMALL_JOBS


def parse_jobs(text: str) -> tuple[str, ...]:
    """Comma-separated jobs, each once.

    Raises:
        BadRequestError: for an unknown job, one named twice, or too many.
    """
    names = tuple(word.strip().lower() for word in text.split(","))
    for name in names:
        if name not in JOB_NAMES:
            nearest = difflib.get_close_matches(name, JOB_NAMES, n=2, cutoff=0.4)
            hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"choose from {', '.join(JOB_NAMES)}"
            raise BadRequestError(f"unknown task {name[:40]!r} in --task {text[:60]!r}; {hint}")
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise BadRequestError(f"--task {text[:60]!r} names {repeated} twice; name each task once")
    if len(names) > MAX_JOBS_COUNT:
        raise BadRequestError(f"--task names {len(names)} tasks; a stack holds at most {MAX_JOBS_COUNT}")
    return names


def make_job(
    name: str,
    *,
    prompt_tokens: int | None = None,
    output_tokens: int | None = None,
    context_tokens: int | None = None,
    concurrency_count: int | None = None,
    shared_prefix_tokens: int | None = None,
) -> Job:
    """A job with its usual workload; the user's own figures apply to the large models.

    Raises:
        BadRequestError: for absurd figures.
    """
    if name == COMPLETION:
        return Job(
            name=name,
            workload=_workload(Task.CODING, _COMPLETION_PROFILE),
            profile=_COMPLETION_PROFILE,
            quality=_completion_quality,
            model_ids=lambda catalog: tuple(each for each in _FILL_IN_MIDDLE if each in catalog.models),
        )
    if name == RERANKER:
        return Job(
            name=name,
            workload=_workload(Task.EMBEDDING, _RERANKER_PROFILE),
            profile=_RERANKER_PROFILE,
            quality=_reranker_quality,
            model_ids=_rerankers,
        )
    task = Task(name)
    if task == Task.EMBEDDING:
        return Job(name=name, workload=make_workload(task), profile=TASKS[task], quality=_task_quality(task))
    workload = make_workload(
        task,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
        concurrency_count=concurrency_count,
        shared_prefix_tokens=shared_prefix_tokens,
    )
    return Job(name=name, workload=workload, profile=TASKS[task], quality=_task_quality(task))


def _workload(task: Task, profile: TaskProfile) -> Workload:
    return Workload(
        task=task,
        prompt_tokens=profile.prompt_tokens,
        output_tokens=profile.output_tokens,
        context_tokens=profile.context_tokens,
    )


def _task_quality(task: Task) -> Callable[[Catalog, ModelSpec], Score]:
    return lambda catalog, model: catalog.quality(model.model_id, task)


def _completion_quality(catalog: Catalog, model: ModelSpec) -> Score:
    """Coding quality of the instruction-tuned sibling: nobody scores base models at it, and the order is the same."""
    sibling = catalog.models.get(f"{model.model_id}-Instruct", model)
    return catalog.quality(sibling.model_id, Task.CODING)


def _reranker_quality(catalog: Catalog, model: ModelSpec) -> Score:
    """Quality of the embedding model of the same line and size, of which it is a sibling; else unknown."""
    sibling = model.model_id.replace("Reranker", "Embedding")
    found = catalog.quality(sibling, Task.EMBEDDING) if sibling in catalog.models else None
    return found if found is not None and found.mid > 0.0 else _UNKNOWN_SCORE


def _rerankers(catalog: Catalog) -> tuple[str, ...]:
    return tuple(
        model.model_id
        for model in catalog.models.values()
        if "reranker" in model.capabilities and model.geometry is not None and model.repos.get("gguf")
    )
