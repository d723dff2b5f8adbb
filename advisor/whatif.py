"""The same deployment under other workloads: a small table that answers as `advisor.estimate` would.

A report has no catalog and no machine, only the document. `tabulate` therefore asks the estimator
about a few workloads and keeps what is needed to answer about the others:

* memory on each device at a ladder of contexts, for each number of users of a ladder;
* prompt time at a ladder of prompt lengths;
* seconds per decoded token for each number of users, as a sum over `depth_shares`: a fixed part,
  and parts that grow with the cached tokens which full and sliding-window layers read.

On the ladders, and for decoding at every depth, the answers are the estimator's own to `_DIGITS`
digits, which a property test holds it to. With tensor parallelism (a maximum of sums) decoding is
exact only at the depths asked about.
"""

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.attention import NEAR_TOKENS, busiest_depth_tokens
from advisor.estimate import estimate
from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.types import Estimate, MemoryPlan, Workload
from catalog.types import ArtifactSpec, ModelSpec

CONTEXT_LADDER_TOKENS = (2048, 4096, 8192, 16384, 32768, 65536, 131072)
PROMPT_LADDER_TOKENS = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
USERS_LADDER_COUNT = (1, 2, 4, 8)
SHARES_COUNT = 6
_DIGITS = 7
_FARTHEST_DEPTH_TOKENS = 65536
_BLOCK_TOKENS = 256  # the step in which `busiest_depth_tokens` grows
_NEGLIGIBLE = 1e-9

Evaluate = Callable[[Workload], Estimate]
Table = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a table says about one workload: the middles of the estimate's intervals."""

    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    first_token_s: float


def with_whatif(made: Estimate, model: ModelSpec, artifact: ArtifactSpec, machine: Machine) -> Estimate:
    """An estimate with its table of other workloads; its speeds are those of a machine where everything fits."""
    roomy = machine.with_room()
    geometry = model.geometry
    threads_count = machine.device(CPU_DEVICE_ID).rates.threads_count if _uses_cpu(made) else None
    table = tabulate(
        lambda workload: estimate(model, artifact, roomy, workload, made.deployment),
        made.workload,
        window_tokens=geometry.sliding_window_tokens if geometry else None,
        threads_count=threads_count,
        max_context_tokens=model.max_context_tokens,
    )
    return replace(made, whatif=table)


def _uses_cpu(made: Estimate) -> bool:
    return any(term.device_id == CPU_DEVICE_ID for term in made.terms)


def ladder(steps: Sequence[int], own: int, limit: int | None) -> tuple[int, ...]:
    """The steps with the workload's own value among them, none beyond the limit."""
    return tuple(sorted(step for step in {*steps, own} if limit is None or step <= limit))


def depth_tokens(workload: Workload) -> float:
    """The cache depth at which decoding is priced: half-way through the answer."""
    return workload.prompt_tokens + workload.output_tokens / 2.0


def depth_shares(depth: float, window_tokens: float, threads_count: int | None) -> tuple[float, ...]:
    """What the time of a decoded token is linear in: 1, and the tokens read by each kind of layer.

    Bytes grow with the tokens themselves, arithmetic with the tokens on a CPU's busiest thread; the last share are
    tokens far back, whose price differs.
    """
    reach = min(depth, window_tokens)
    busiest, busiest_reach = (busiest_depth_tokens(tokens, threads_count) for tokens in (depth, reach))
    return 1.0, depth, busiest, reach, busiest_reach, max(0.0, depth - NEAR_TOKENS)


def tabulate(
    evaluate: Evaluate,
    workload: Workload,
    *,
    window_tokens: int | None = None,
    threads_count: int | None = None,
    max_context_tokens: int | None = None,
) -> dict[str, tuple[float, ...]]:
    """Ask the estimator about a ladder of workloads for one deployment.

    Args:
        evaluate: the estimator, closed over model, machine and deployment.
        workload: the workload of the document; its own values are put on the ladders.
        window_tokens: the reach of the model's sliding-window layers, if it has any.
        threads_count: threads of the CPU, if any layer is on it.
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
        "threads_count": (float(threads_count or 0),),
        "near_tokens": (float(NEAR_TOKENS),),
    }
    asked = [evaluate(replace(workload, prompt_tokens=prompt)) for prompt in prompts]
    table["prefill_s"] = tuple(_rounded(made.first_token_s.mid) for made in asked)
    depths = _depths(window_tokens, max_context_tokens)
    for count in users:
        # one question answers two: memory at a context, and decode at a depth; an empty answer is
        # priced at the end of its prompt
        made = [
            evaluate(
                replace(
                    workload,
                    context_tokens=context or contexts[-1],
                    prompt_tokens=depth or depths[-1],
                    output_tokens=0,
                    concurrency_count=count,
                )
            )
            for context, depth in itertools.zip_longest(contexts, depths)
        ]
        table |= _memory_columns(made[: len(contexts)], count)
        table[f"decode_s.{count}"] = _decode_shares(made[: len(depths)], depths, table)
    return table


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _memory_columns(made: Sequence[Estimate], users_count: int) -> dict[str, tuple[float, ...]]:
    rows = [{device.device_id: device.total_bytes for device in each.memory.devices} for each in made]
    device_ids = sorted({device_id for row in rows for device_id in row})
    return {f"memory_bytes.{users_count}.{name}": tuple(float(row.get(name, 0)) for row in rows) for name in device_ids}


def _depths(window_tokens: int | None, max_context_tokens: int | None) -> tuple[int, ...]:
    """Depths that tell the parts apart: two in one block, others in other blocks, on both sides of the window."""
    far = min(_FARTHEST_DEPTH_TOKENS, max_context_tokens or _FARTHEST_DEPTH_TOKENS) - _BLOCK_TOKENS
    window = window_tokens or 0
    near = _BLOCK_TOKENS + 1
    wanted = {near, near + _BLOCK_TOKENS // 2, far // 2, far, far + _BLOCK_TOKENS // 2}
    if far > NEAR_TOKENS:
        wanted |= {NEAR_TOKENS // 2, NEAR_TOKENS}
    if 1 < window < far:
        wanted |= {window // 3, window // 2, window // 2 + 1, window, window + 1}
    return tuple(sorted(depth for depth in wanted if depth >= 1))


def _decode_shares(made: Sequence[Estimate], depths: Sequence[int], table: Table) -> tuple[float, ...]:
    """Seconds per unit of each of `depth_shares`, from estimates at as many depths as it takes."""
    rows = [
        (*depth_shares(depth, table["window_tokens"][0], _threads(table)), 1.0 / each.decode_tokens_per_s.mid)
        for depth, each in zip(depths, made, strict=True)
    ]
    return tuple(map(_rounded, _solved(rows)))


def _threads(table: Table) -> int | None:
    return int(table["threads_count"][0]) or None


def _solved(rows: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Coefficients of a consistent linear system by Gauss-Jordan elimination; what repeats another part gets 0."""
    scales = [max(abs(row[column]) for row in rows) or 1.0 for column in range(SHARES_COUNT)]
    work = [[value / scale for value, scale in zip(row, scales, strict=False)] + [row[-1]] for row in rows]
    pivots: list[int] = []
    for column in range(SHARES_COUNT):
        start = len(pivots)
        if start == len(work):
            break
        best = max(range(start, len(work)), key=lambda index: abs(work[index][column]))
        if abs(work[best][column]) < _NEGLIGIBLE:
            continue
        work[start], work[best] = work[best], work[start]
        pivot = work[start][column]
        work[start] = [value / pivot for value in work[start]]
        for index, row in enumerate(work):
            if index != start and row[column]:
                factor = row[column]
                work[index] = [value - factor * own for value, own in zip(row, work[start], strict=True)]
        pivots.append(column)
    found = dict.fromkeys(range(SHARES_COUNT), 0.0)
    found |= {column: work[row][-1] / scales[column] for row, column in enumerate(pivots)}
    return tuple(found.values())


def decode_s(table: Table, depth: float, users_count: int = 1) -> float | None:
    """Seconds per decoded token at a cache depth, or None if that many users were not asked about."""
    coefficients = table.get(f"decode_s.{users_count}")
    if coefficients is None:
        return None
    shares = depth_shares(depth, table["window_tokens"][0], _threads(table))
    return sum(coefficient * share for coefficient, share in zip(coefficients, shares, strict=True))


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
    """Bytes on a device at a context and a number of users of the ladders, or None for others."""
    column = table.get(f"memory_bytes.{users_count}.{device_id}")
    if column is None or context_tokens not in table["context_tokens"]:
        return None
    return column[table["context_tokens"].index(context_tokens)]


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
