"""From raw windows to the figures of a whole workload.

A prompt that was run in part is extended by the attention its later parts add, decoding at a depth by
the cache it reads there, and a model of which only stand-ins were run by its layers' own times.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.engines.base import Window
from advisor.measure import Runs
from advisor.truncate import StandIns
from advisor.types import Workload
from advisor.work import kv_read_bytes, prefill_work
from catalog.types import ArtifactSpec, Geometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Seconds per token at one mean depth."""

    depth_tokens: float
    s_per_token: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was timed, one number each: every chunk of the prompt, and decoding at two depths."""

    chunk_s: tuple[float, ...]
    chunk_tokens: int
    reach_tokens: int
    shallow: Decoding | None = None
    deep: Decoding | None = None


def trusted(windows: Sequence[Window]) -> tuple[Window, ...]:
    """The windows nobody disturbed; all of them if there is none."""
    return tuple(window for window in windows if not window.polluted) or tuple(windows)


def median_s_per_token(windows: Sequence[Window]) -> float:
    """The middle window's seconds per token, among those nobody disturbed."""
    return statistics.median(window.total_s / window.tokens_count for window in trusted(windows))


def best_s_per_token(windows: Sequence[Window]) -> float:
    """The fastest window's seconds per token: the machine at its least disturbed."""
    return min(window.total_s / window.tokens_count for window in trusted(windows))


def figures(runs: Runs, chunk_tokens: int) -> Figures:
    """The figures of one timed model."""
    return Figures(
        chunk_s=_chunk_times(runs.prefill, _chunks(runs.reach_tokens, chunk_tokens)),
        chunk_tokens=chunk_tokens,
        reach_tokens=runs.reach_tokens,
        shallow=_decoding(runs.shallow),
        deep=_decoding(runs.deep),
    )


def combine(stand_ins: StandIns, parts: Sequence[Figures]) -> Figures:
    """The figures of the whole model from those of its stand-ins."""
    first = parts[0]
    return Figures(
        chunk_s=tuple(stand_ins.total(times) for times in zip(*(part.chunk_s for part in parts), strict=True)),
        chunk_tokens=first.chunk_tokens,
        reach_tokens=first.reach_tokens,
        shallow=_combine_decoding(stand_ins, [part.shallow for part in parts]),
        deep=_combine_decoding(stand_ins, [part.deep for part in parts]),
    )


def _combine_decoding(stand_ins: StandIns, parts: Sequence[Decoding | None]) -> Decoding | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Decoding(
        depth_tokens=statistics.fmean(part.depth_tokens for part in known),
        s_per_token=stand_ins.total([part.s_per_token for part in known]),
    )


def _decoding(windows: Sequence[Window]) -> Decoding | None:
    if not windows:
        return None
    depth = statistics.fmean(window.depth_tokens + window.tokens_count / 2.0 for window in windows)
    return Decoding(depth_tokens=depth, s_per_token=median_s_per_token(windows))


def _chunks(tokens: int, chunk_tokens: int) -> list[tuple[int, int]]:
    return [(start, min(chunk_tokens, tokens - start)) for start in range(0, tokens, chunk_tokens)]


def _chunk_times(windows: Sequence[Window], chunks: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Median seconds of each chunk; a window timed in other batches is shared out evenly."""
    kept = trusted(windows)
    if all(len(window.elapsed_s) == len(chunks) for window in kept):
        return tuple(statistics.median(window.elapsed_s[index] for window in kept) for index in range(len(chunks)))
    per_token = median_s_per_token(kept)
    return tuple(per_token * size for _, size in chunks)


def prompt_s(timed: Figures, workload: Workload, artifact: ArtifactSpec, geometry: Geometry | None) -> float:
    """Seconds for the workload's whole prompt."""
    chunks = _chunks(workload.prompt_tokens, timed.chunk_tokens)
    ran = len(timed.chunk_s)
    if ran >= len(chunks):
        return sum(timed.chunk_s)
    work = [
        prefill_work(artifact, geometry, prompt_tokens=size, depth_tokens=start).attention_flop
        for start, size in chunks
    ]
    flat_s, slope = _line(work[:ran], timed.chunk_s)
    rest_s = sum(
        flat_s * size / timed.chunk_tokens + slope * flop
        for (_, size), flop in zip(chunks[ran:], work[ran:], strict=True)
    )
    return sum(timed.chunk_s) + rest_s


def _line(work: Sequence[float], times_s: Sequence[float]) -> tuple[float, float]:
    """Least squares ``time = flat + slope·work``; a slope below zero is noise and becomes zero."""
    if len(set(work)) > 1:
        slope, flat_s = statistics.linear_regression(work, times_s)
        if slope > 0 and flat_s > 0:
            return flat_s, slope
    return statistics.fmean(times_s), 0.0


def decode_s(timed: Figures, workload: Workload, geometry: Geometry | None) -> float | None:
    """Seconds per decoded token halfway through the answer; None for a model that does not decode."""
    if timed.shallow is None or timed.deep is None:
        return None
    near = _cache_read(geometry, timed.shallow.depth_tokens)
    far = _cache_read(geometry, timed.deep.depth_tokens)
    wanted = _cache_read(geometry, workload.prompt_tokens + workload.output_tokens / 2.0)
    if far <= near:
        return timed.deep.s_per_token
    slope = max(0.0, (timed.deep.s_per_token - timed.shallow.s_per_token) / (far - near))
    return timed.deep.s_per_token + slope * (wanted - far)


def _cache_read(geometry: Geometry | None, depth_tokens: float) -> float:
    return depth_tokens if geometry is None else kv_read_bytes(geometry, depth_tokens, 2.0)
