"""Find the number of threads at which a loaded model is fastest: all cores are not always best."""

from collections.abc import Sequence

from advisor.engines.base import Session, Window
from advisor.types import ThreadsSpeed
from advisor.validation.figures import best_s_per_token
from probes.base import Clock

_ROUNDS = 2
DECODE_TOKENS = 16
_ENOUGH_COUNT = 2


def threads_to_try(default: int, usable_cores: int, usable_threads: int) -> tuple[int, ...]:
    """The default, one, and fractions of what there is: hyper-threads and half of the cores are the usual surprises."""
    steps = {1, usable_cores // 4, usable_cores // 2, usable_cores, usable_threads, default}
    return tuple(sorted(count for count in steps if 1 <= count <= max(usable_threads, default)))


def round_s(counts: Sequence[int], default: int, default_s: float) -> float:
    """Seconds of one round if fewer threads than the default are slower in proportion, and more no faster."""
    return sum(default_s * max(1.0, default / count) for count in counts)


def sweep_threads(
    session: Session, counts: Sequence[int], *, default: int, chunk_tokens: int, budget_s: float, clock: Clock
) -> tuple[ThreadsSpeed, ...]:
    """Time a chunk of a prompt and some tokens with each number of threads, in turns; the best of each counts.

    The session is left with its default number. Empty if there is nothing to choose from, or if the budget
    does not suffice for one round.
    """
    if len(counts) < _ENOUGH_COUNT:
        return ()
    started_s = clock.now()
    prefills: dict[int, list[Window]] = {}
    decodes: dict[int, list[Window]] = {}
    try:
        for round_index in range(_ROUNDS):
            round_started_s = clock.now()
            for count in counts:
                session.set_threads(count)
                prefills.setdefault(count, []).append(session.prefill(chunk_tokens))
                if session.loaded.decodes:
                    decodes.setdefault(count, []).append(session.decode(DECODE_TOKENS))
                if round_index == 0 and clock.now() - started_s > budget_s:
                    return ()
            now_s = clock.now()
            another_s = now_s - round_started_s
            if now_s - started_s + another_s > budget_s:
                break
    finally:
        session.set_threads(default)
    return tuple(
        ThreadsSpeed(
            threads_count=count,
            prefill_tokens_per_s=1.0 / best_s_per_token(prefills[count]),
            decode_tokens_per_s=1.0 / best_s_per_token(decodes[count]) if count in decodes else None,
        )
        for count in counts
    )
