"""What each task asks of a model: its usual prompt, answer and context, and which speeds are worth having.

The figures are working assumptions, stated here once and overridden by ``--prompt --output --context
--concurrency``. Reading speed is about 5-7 tokens per second; an agent waits for whole answers.
"""

import math
from dataclasses import dataclass

from advisor.errors import BadRequestError
from advisor.types import Task, Workload

MAX_TOKENS = 16 * 1024 * 1024
MAX_CONCURRENCY = 4096
_CONTEXT_STEP_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProfile:
    """A task's default workload and the speeds that matter for it.

    Below ``usable_tokens_per_s`` (or far above ``patience_s`` to the first token of a turn) a model is
    ranked behind all that are faster; above ``ample_tokens_per_s`` more speed earns almost nothing.
    ``cached_prompt_frac`` is the part of a prompt that an engine's prompt cache usually still holds
    from the turn before. ``context_tokens`` is what the engine is loaded with, with room for the turns to come.
    A model below ``least_quality`` gets the task wrong too often to be offered while anything better fits.
    """

    prompt_tokens: int
    output_tokens: int
    usable_tokens_per_s: float
    ample_tokens_per_s: float
    prompt_wait_s: float
    patience_s: float
    context_tokens: int
    cached_prompt_frac: float = 0.0
    least_quality: float = 25.0
    needs: frozenset[str] = frozenset()


TASKS: dict[Task, TaskProfile] = {
    Task.CODING: TaskProfile(
        prompt_tokens=16384,
        output_tokens=2048,
        usable_tokens_per_s=6.0,
        ample_tokens_per_s=40.0,
        prompt_wait_s=3.0,
        patience_s=60.0,
        context_tokens=32768,
        cached_prompt_frac=0.9,
    ),
    Task.AGENTIC: TaskProfile(
        prompt_tokens=16384,
        output_tokens=1024,
        usable_tokens_per_s=8.0,
        ample_tokens_per_s=50.0,
        prompt_wait_s=3.0,
        patience_s=60.0,
        context_tokens=32768,
        cached_prompt_frac=0.9,
        needs=frozenset({"tool_use"}),
    ),
    Task.CHAT: TaskProfile(
        prompt_tokens=1024,
        output_tokens=512,
        usable_tokens_per_s=5.0,
        ample_tokens_per_s=20.0,
        prompt_wait_s=1.5,
        patience_s=15.0,
        context_tokens=8192,
        cached_prompt_frac=0.5,
    ),
    Task.REASONING: TaskProfile(
        prompt_tokens=1024,
        output_tokens=6144,
        usable_tokens_per_s=8.0,
        ample_tokens_per_s=60.0,
        prompt_wait_s=3.0,
        patience_s=30.0,
        context_tokens=16384,
    ),
    Task.RAG: TaskProfile(
        prompt_tokens=8192,
        output_tokens=256,
        usable_tokens_per_s=5.0,
        ample_tokens_per_s=20.0,
        prompt_wait_s=3.0,
        patience_s=60.0,
        context_tokens=16384,
    ),
    Task.EMBEDDING: TaskProfile(
        prompt_tokens=512,
        output_tokens=1,
        usable_tokens_per_s=0.0,
        ample_tokens_per_s=math.inf,
        prompt_wait_s=0.05,
        patience_s=5.0,
        context_tokens=2048,
        least_quality=0.0,
        needs=frozenset({"embedding"}),
    ),
    Task.VISION: TaskProfile(
        prompt_tokens=1536,
        output_tokens=256,
        usable_tokens_per_s=5.0,
        ample_tokens_per_s=20.0,
        prompt_wait_s=2.0,
        patience_s=30.0,
        context_tokens=8192,
        least_quality=20.0,
        needs=frozenset({"vision"}),
    ),
    Task.MULTILINGUAL: TaskProfile(
        prompt_tokens=1024,
        output_tokens=512,
        usable_tokens_per_s=5.0,
        ample_tokens_per_s=20.0,
        prompt_wait_s=1.5,
        patience_s=15.0,
        context_tokens=8192,
        cached_prompt_frac=0.5,
    ),
    Task.GENERAL: TaskProfile(
        prompt_tokens=1024,
        output_tokens=512,
        usable_tokens_per_s=5.0,
        ample_tokens_per_s=25.0,
        prompt_wait_s=1.5,
        patience_s=20.0,
        context_tokens=8192,
        cached_prompt_frac=0.5,
    ),
}


def parse_task(text: str) -> Task:
    """A task by name.

    Raises:
        BadRequestError: naming the nearest tasks.
    """
    try:
        return Task(text.strip().lower())
    except ValueError:
        import difflib

        nearest = difflib.get_close_matches(text.lower(), list(Task), n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"choose one of {', '.join(Task)}"
        raise BadRequestError(f"unknown task {text[:40]!r}; {hint}") from None


def make_workload(
    task: Task,
    *,
    prompt_tokens: int | None = None,
    output_tokens: int | None = None,
    context_tokens: int | None = None,
    concurrency_count: int | None = None,
    shared_prefix_tokens: int | None = None,
) -> Workload:
    """The task's workload with the user's own figures put in.

    The context defaults to the task's, or to what a longer prompt and answer need, in whole KiB of tokens. The prompt
    defaults to the task's, or to a prefix that all users share and half of the task's beside it.

    Raises:
        BadRequestError: for absurd figures, or a context that does not hold the workload.
    """
    profile = TASKS[task]
    shared = shared_prefix_tokens or 0
    usual = max(profile.prompt_tokens, shared + profile.prompt_tokens // 2)
    prompt = usual if prompt_tokens is None else prompt_tokens
    output = profile.output_tokens if output_tokens is None else output_tokens
    if context_tokens is not None:
        prompt, output = _shrunk_to_context(prompt, output, context_tokens, prompt_tokens, output_tokens)
    needed = prompt + output
    context = context_tokens or max(
        profile.context_tokens, math.ceil(needed / _CONTEXT_STEP_TOKENS) * _CONTEXT_STEP_TOKENS
    )
    concurrency = 1 if concurrency_count is None else concurrency_count
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise BadRequestError(f"--concurrency {concurrency} is out of range; use 1 to {MAX_CONCURRENCY}")
    for name, value in (("--prompt", prompt), ("--output", output), ("--context", context)):
        if not 1 <= value <= MAX_TOKENS:
            raise BadRequestError(f"{name} {value} is out of range; use 1 to {MAX_TOKENS} tokens")
    if needed > context:
        raise BadRequestError(
            f"--context {context} cannot hold --prompt {prompt} plus --output {output}; use at least {needed}"
        )
    if not 0 <= shared <= prompt:
        raise BadRequestError(
            f"--shared-prefix {shared} is not part of --prompt {prompt}; give 0 to {prompt}, or a longer --prompt"
        )
    return Workload(
        task=task,
        prompt_tokens=prompt,
        output_tokens=output,
        context_tokens=context,
        concurrency_count=concurrency,
        shared_prefix_tokens=shared,
    )


def _shrunk_to_context(
    prompt: int, output: int, context: int, asked_prompt: int | None, asked_output: int | None
) -> tuple[int, int]:
    """A task's default prompt and answer give way to a smaller context that the user asked for."""
    if asked_output is None:
        output = max(1, min(output, context // 4))
    if asked_prompt is None:
        prompt = max(1, min(prompt, context - output))
    return prompt, output
