"""Hard limits: what a setting misses, by how much, and which one limit to relax when nothing passes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from advisor.errors import BadRequestError
from advisor.recommendation.score import ScoredEstimate
from advisor.recommendation.spans import span
from advisor.types import Estimate, Limits
from catalog.units import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One limit that a setting misses."""

    field: str  # of `Limits`
    flag: str
    have: float
    want: float
    text: str

    @property
    def distance(self) -> float:
        """How far off, in nats: limits of different units compare."""
        return abs(math.log(max(self.have, 1e-9) / max(self.want, 1e-9)))

    @property
    def fix(self) -> str:
        """The limit that this setting would just pass, as on the command line."""
        return f"{self.flag} {relaxed(self.have, down=self.flag.startswith('--min'))}"


def check_limits(limits: Limits) -> None:
    """Refuse limits that no machine could be meant by.

    Raises:
        BadRequestError: naming the option and the range it accepts.
    """
    for flag, value in (
        ("--min-tps", limits.min_tokens_per_s),
        ("--max-ttft", limits.max_first_token_s),
        ("--max-memory", limits.max_memory_bytes),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise BadRequestError(f"{flag} {value:g} is out of range; use a number above 0")
    quality = limits.min_quality
    if quality is not None and not 0 <= quality <= 100:
        raise BadRequestError(f"--min-quality {quality:g} is out of range; quality runs from 0 to 100")


def relaxed(value: float, *, down: bool) -> str:
    """A value in two significant digits on the side that lets it pass."""
    if value <= 0.0:
        return "0"
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    steps = math.floor(value / step + 1e-9) if down else math.ceil(value / step - 1e-9)
    return f"{steps * step:.10g}"


def misses(option: ScoredEstimate, limits: Limits) -> tuple[Miss, ...]:
    """Every limit that a setting misses; memory and licence are dealt with before there is a setting."""
    quality = option.quality.mid
    found = _missed_by(option.estimate, limits)
    if limits.min_quality is not None and quality < limits.min_quality:
        text = f"quality {quality:.0f}, below --min-quality {limits.min_quality:g}"
        found.append(Miss(field="min_quality", flag="--min-quality", have=quality, want=limits.min_quality, text=text))
    return tuple(found)


def broken_by(made: Estimate, limits: Limits) -> str | None:
    """The limits of speed and memory that a prediction misses, in words."""
    texts = [miss.text for miss in _missed_by(made, limits)]
    total = made.memory.total_bytes
    if limits.max_memory_bytes is not None and total > limits.max_memory_bytes:
        texts.append(f"takes {total / GIB:.1f} GiB, above --max-memory {limits.max_memory_bytes / GIB:.1f} GiB")
    return " and ".join(texts) or None


def _missed_by(made: Estimate, limits: Limits) -> list[Miss]:
    found = []
    decode, first = made.decode_tokens_per_s.mid, made.first_token_s.mid
    slowest, longest = limits.min_tokens_per_s, limits.max_first_token_s
    if slowest is not None and decode < slowest:
        text = f"decodes {decode:.3g} tok/s, below --min-tps {slowest:g}"
        found.append(Miss(field="min_tokens_per_s", flag="--min-tps", have=decode, want=slowest, text=text))
    if longest is not None and first > longest:
        text = f"first token after {span(first)}, above --max-ttft {longest:g}"
        found.append(Miss(field="max_first_token_s", flag="--max-ttft", have=first, want=longest, text=text))
    return found


def passes(option: ScoredEstimate, limits: Limits) -> bool:
    """Whether a setting misses no limit."""
    return not misses(option, limits)


def relaxations(settings: Iterable[tuple[str, ScoredEstimate]], limits: Limits) -> tuple[str, ...]:
    """For each limit, what it would have to be for something to pass; empty if no single limit is enough."""
    pool = list(settings)
    found = []
    for without in _each_left_out(limits):
        missing = [(miss, name) for name, option in pool if passes(option, without) for miss in misses(option, limits)]
        if missing:
            miss, name = min(missing, key=lambda pair: pair[0].distance)
            found.append(f"{miss.fix} ({name})")
    return tuple(found)


def _each_left_out(limits: Limits) -> list[Limits]:
    """The limits with one of them left out, for each that is set."""
    found = []
    if limits.min_tokens_per_s is not None:
        found.append(replace(limits, min_tokens_per_s=None))
    if limits.max_first_token_s is not None:
        found.append(replace(limits, max_first_token_s=None))
    if limits.min_quality is not None:
        found.append(replace(limits, min_quality=None))
    return found


def nearest(settings: Sequence[tuple[str, ScoredEstimate]], limits: Limits) -> tuple[str, tuple[Miss, ...]]:
    """The setting that misses its limits by the least, all taken together."""
    name, option = min(settings, key=lambda pair: sum(miss.distance for miss in misses(pair[1], limits)))
    return name, misses(option, limits)


def memory_needed(total_bytes: float) -> str:
    """A size for ``--max-memory`` that holds this much."""
    return f"--max-memory {math.ceil(10 * total_bytes / GIB) / 10:g}GiB"
