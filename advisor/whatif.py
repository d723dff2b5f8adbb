"""The same deployment under other workloads: a small table that answers as `advisor.estimate` would.

A report has no catalog and no machine, only the document. `tabulate` therefore asks the estimator
about a few workloads and keeps what is needed to answer about the others:

* memory on each device at a ladder of contexts: for one user, and what each further one adds;
* prompt time at a ladder of prompt lengths;
* seconds per decoded token at a ladder of user counts, as ``fixed + full·depth + window·min(depth, window)``,
  because KV-cache traffic is linear in the tokens that a layer can see.

Values on the ladders are the estimator's own to `_DIGITS` digits, which a property test holds it to.
With tensor parallelism (a maximum of sums) decode is exact only at the depths asked about.
"""

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.types import Estimate, MemoryPlan, Workload

CONTEXT_LADDER_TOKENS = (2048, 4096, 8192, 16384, 32768, 65536, 131072)
PROMPT_LADDER_TOKENS = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
USERS_LADDER_COUNT = (1, 2, 4, 8, 16)
_DIGITS = 7
_FARTHEST_DEPTH_TOKENS = 65536

Evaluate = Callable[[Workload], Estimate]
Table = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a table says about one workload: the middles of the estimate's intervals."""

    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    first_token_s: float


def ladder(steps: Sequence[int], own: int, limit: int | None) -> tuple[int, ...]:
    """The steps with the workload's own value among them, none beyond the limit."""
    return tuple(sorted(step for step in {*steps, own} if limit is None or step <= limit))


def depth_tokens(workload: Workload) -> float:
    """The cache depth at which decoding is priced: half-way through the answer."""
    return workload.prompt_tokens + workload.output_tokens / 2.0


def tabulate(
    evaluate: Evaluate, workload: Workload, *, window_tokens: int | None = None, max_context_tokens: int | None = None
) -> dict[str, tuple[float, ...]]:
    """Ask the estimator about a ladder of workloads for one deployment.

    Args:
        evaluate: the estimator, closed over model, machine and deployment.
        workload: the workload of the document; its own values are put on the ladders.
        window_tokens: the reach of the model's sliding-window layers, if it has any.
        max_context_tokens: the longest context the estimator accepts.
    """
    contexts = ladder(CONTEXT_LADDER_TOKENS, workload.context_tokens, max_context_tokens)
    prompts = ladder(PROMPT_LADDER_TOKENS, workload.prompt_tokens, max_context_tokens)
    users = ladder(USERS_LADDER_COUNT, workload.concurrency_count, None)
    table: dict[str, tuple[float, ...]] = {
        "context_tokens": contexts,
        "prompt_tokens": prompts,
        "users_count": users,
        "window_tokens": (float(window_tokens or 0),),
    }
    table |= _memory_columns(evaluate, workload, contexts)
    longest = max(contexts)
    asked = [evaluate(replace(workload, prompt_tokens=prompt, context_tokens=longest)) for prompt in prompts]
    table["prefill_s"] = tuple(_rounded(estimate.first_token_s.mid) for estimate in asked)
    depths = _depths(window_tokens, max_context_tokens)
    lines = [_decode_line(evaluate, workload, count, depths, window_tokens) for count in users]
    names = ("decode_fixed_s", "decode_s_per_token", "decode_s_per_window_token")
    return table | dict(zip(names, zip(*lines, strict=True), strict=True))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _memory_columns(evaluate: Evaluate, workload: Workload, contexts: Sequence[int]) -> dict[str, tuple[float, ...]]:
    def totals(context_tokens: int, users_count: int) -> dict[str, int]:
        asked = replace(workload, context_tokens=context_tokens, concurrency_count=users_count)
        return {device.device_id: device.total_bytes for device in evaluate(asked).memory.devices}

    columns: dict[str, tuple[float, ...]] = {}
    one = [totals(context, 1) for context in contexts]
    two = [totals(context, 2) for context in contexts]
    for device_id in sorted(set(itertools.chain(*one, *two))):
        firsts = tuple(float(row.get(device_id, 0)) for row in one)
        columns[f"memory_bytes.{device_id}"] = firsts
        columns[f"memory_bytes_per_user.{device_id}"] = tuple(
            row.get(device_id, 0) - first for row, first in zip(two, firsts, strict=True)
        )
    return columns


def _depths(window_tokens: int | None, max_context_tokens: int | None) -> tuple[int, int, int]:
    """Three depths: near zero, at the end of the window (or nowhere special), and far."""
    far = min(_FARTHEST_DEPTH_TOKENS, (max_context_tokens or _FARTHEST_DEPTH_TOKENS) - 1)
    window = window_tokens or 0
    middle = window if 1 < window < far else (1 + far) // 2
    return 1, middle, far


def _decode_line(
    evaluate: Evaluate, workload: Workload, users_count: int, depths: tuple[int, int, int], window_tokens: int | None
) -> tuple[float, float, float]:
    """Fixed seconds per token, seconds per cached token, and those of cached tokens within the window."""
    near, middle, far = depths
    times_s = []
    for depth in depths:
        # an empty answer is priced at the end of its prompt
        asked = replace(
            workload, prompt_tokens=depth, output_tokens=0, context_tokens=depth, concurrency_count=users_count
        )
        times_s.append(1.0 / evaluate(asked).decode_tokens_per_s.mid)
    within = (times_s[1] - times_s[0]) / (middle - near)
    beyond = (times_s[2] - times_s[1]) / (far - middle) if window_tokens else within
    fixed_s = times_s[0] - within * near
    return _rounded(fixed_s), _rounded(beyond), _rounded(within - beyond)


def decode_s(table: Table, depth: float, users_count: int = 1) -> float | None:
    """Seconds per decoded token at a cache depth, or None if that many users were not asked about."""
    if users_count not in table.get("users_count", ()):
        return None
    column = table["users_count"].index(users_count)
    seen = min(depth, table["window_tokens"][0])
    return (
        table["decode_fixed_s"][column]
        + table["decode_s_per_token"][column] * depth
        + table["decode_s_per_window_token"][column] * seen
    )


def prefill_s(table: Table, prompt_tokens: int) -> float | None:
    """Seconds for a prompt; between two rungs of the ladder in proportion, beyond them None."""
    prompts = table.get("prompt_tokens", ())
    if not prompts or not prompts[0] <= prompt_tokens <= prompts[-1]:
        return None
    above = bisect.bisect_left(prompts, prompt_tokens)
    if prompts[above] == prompt_tokens:
        return table["prefill_s"][above]
    share = (prompt_tokens - prompts[above - 1]) / (prompts[above] - prompts[above - 1])
    low_s, high_s = table["prefill_s"][above - 1 : above + 1]
    return low_s + share * (high_s - low_s)


def memory_bytes(table: Table, device_id: str, context_tokens: int, users_count: int = 1) -> float | None:
    """Bytes on a device at a context of the ladder, or None for one that was not asked about."""
    column = f"memory_bytes.{device_id}"
    if column not in table or context_tokens not in table["context_tokens"]:
        return None
    index = table["context_tokens"].index(context_tokens)
    return table[column][index] + (users_count - 1) * table[f"memory_bytes_per_user.{device_id}"][index]


def fits(table: Table, plan: MemoryPlan, context_tokens: int, users_count: int = 1) -> bool | None:
    """Whether every device still holds its part, or None if the context was not asked about."""
    verdicts = []
    for device in plan.devices:
        needed = memory_bytes(table, device.device_id, context_tokens, users_count)
        if needed is None:
            return None
        verdicts.append(device.available_bytes is None or needed <= device.available_bytes)
    return all(verdicts)


def answer(table: Table, workload: Workload) -> Answer | None:
    """Speeds under another workload, or None if the table does not reach it."""
    decode = decode_s(table, depth_tokens(workload), workload.concurrency_count)
    prefill = prefill_s(table, workload.prompt_tokens)
    if decode is None or prefill is None:
        return None
    return Answer(
        decode_tokens_per_s=1.0 / decode,
        prefill_tokens_per_s=workload.prompt_tokens / prefill,
        first_token_s=prefill,
    )
