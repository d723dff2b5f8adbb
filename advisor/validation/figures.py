"""From raw windows to the figures of a whole workload.

A prompt that was run in part is filled in by the attention each part adds, decoding is carried to its depth
by the cache it reads there, and a model of which only stand-ins were run by its layers' own times.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.attention import kv_read_bytes
from advisor.engines.base import Window
from advisor.twins.truncate import StandIns
from advisor.types import Workload
from advisor.validation.measure import LEAST_PIECE_TOKENS, Runs
from advisor.work import prefill_work
from catalog.types import ArtifactSpec, Geometry

_SAME_DEPTH_FRAC = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a prompt that was run: where it starts, how long it is, seconds it took."""

    start: int
    tokens_count: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Seconds per token at one mean depth."""

    depth_tokens: float
    s_per_token: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was timed, one number each: parts of the prompt, and decoding at two depths."""

    chunks: tuple[Chunk, ...]
    chunk_tokens: int
    shallow: Decoding | None = None
    deep: Decoding | None = None

    def covers(self, prompt_tokens: int) -> bool:
        """Whether the whole prompt was run."""
        return sum(chunk.tokens_count for chunk in self.chunks) >= prompt_tokens


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
        chunks=_chunks(runs.prefill, chunk_tokens) + (_chunks(runs.late, chunk_tokens) if runs.late else ()),
        chunk_tokens=chunk_tokens,
        shallow=_decoding(runs.shallow),
        deep=_decoding(runs.deep),
    )


def _chunks(windows: Sequence[Window], chunk_tokens: int) -> tuple[Chunk, ...]:
    """Median seconds of each chunk; a window timed in other batches is shared out evenly."""
    kept = trusted(windows)
    first, tokens = kept[0].depth_tokens, kept[0].tokens_count
    parts = _parts(tokens, chunk_tokens)
    if all(len(window.elapsed_s) == len(parts) for window in kept):
        times = [statistics.median(window.elapsed_s[index] for window in kept) for index in range(len(parts))]
    else:
        times = [median_s_per_token(kept) * size for _, size in parts]
    return tuple(
        Chunk(start=first + start, tokens_count=size, elapsed_s=elapsed)
        for (start, size), elapsed in zip(parts, times, strict=True)
    )


def _parts(tokens: int, chunk_tokens: int) -> list[tuple[int, int]]:
    return [(start, min(chunk_tokens, tokens - start)) for start in range(0, tokens, chunk_tokens)]


def _decoding(windows: Sequence[Window]) -> Decoding | None:
    """The middle token of all clean windows: the first after a jump in depth is often slow."""
    if not windows:
        return None
    kept = trusted(windows)
    return Decoding(
        depth_tokens=statistics.fmean(window.depth_tokens + window.tokens_count / 2.0 for window in kept),
        s_per_token=statistics.median(elapsed for window in kept for elapsed in window.elapsed_s),
    )


def combine(stand_ins: StandIns, parts: Sequence[Figures]) -> Figures:
    """The figures of the whole model from those of its stand-ins, which were all run alike."""
    chunks = [
        Chunk(
            start=same[0].start,
            tokens_count=same[0].tokens_count,
            elapsed_s=stand_ins.total([chunk.elapsed_s for chunk in same]),
        )
        for same in zip(*(part.chunks for part in parts), strict=True)
    ]
    return Figures(
        chunks=tuple(chunks),
        chunk_tokens=parts[0].chunk_tokens,
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


def prompt_s(timed: Figures, workload: Workload, artifact: ArtifactSpec, geometry: Geometry | None) -> float | None:
    """Seconds for the workload's whole prompt: what was run, and the parts in between.

    None where a single part was run, or one of too few tokens: they do not tell what the others cost.
    """
    if timed.covers(workload.prompt_tokens):
        return sum(chunk.elapsed_s for chunk in timed.chunks)
    least = min(LEAST_PIECE_TOKENS, timed.chunk_tokens)
    if len(timed.chunks) == 1 or any(chunk.tokens_count < least for chunk in timed.chunks):
        return None

    def attention(start: int, size: int) -> float:
        return prefill_work(artifact, geometry, prompt_tokens=size, depth_tokens=start).attention_flop

    flat_s, slope = _line(
        [attention(chunk.start, chunk.tokens_count) / chunk.tokens_count for chunk in timed.chunks],
        [chunk.elapsed_s / chunk.tokens_count for chunk in timed.chunks],
    )
    ran = {(chunk.start, chunk.tokens_count): chunk.elapsed_s for chunk in timed.chunks}
    return sum(
        ran.get((start, size)) or flat_s * size + slope * attention(start, size)
        for start, size in _parts(workload.prompt_tokens, timed.chunk_tokens)
    )


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
    if far <= near or abs(wanted - far) < _SAME_DEPTH_FRAC * far:
        return timed.deep.s_per_token
    slope = max(0.0, (timed.deep.s_per_token - timed.shallow.s_per_token) / (far - near))
    return timed.deep.s_per_token + slope * (wanted - far)


def _cache_read(geometry: Geometry | None, depth_tokens: float) -> float:
    return depth_tokens if geometry is None else kv_read_bytes(geometry, depth_tokens, 2.0)
