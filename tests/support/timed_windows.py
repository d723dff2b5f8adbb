"""Windows of the stopwatch, as if they had been taken."""

from collections.abc import Sequence

from advisor.engines.base import Phase, Window
from probes.types import Conditions


def window(
    phase: Phase, elapsed_s: Sequence[float], *, depth: int = 0, polluted: bool = False, tokens: int | None = None
) -> Window:
    """A window with a value for each token, or for each piece of a prompt of ``tokens``."""
    return Window(
        phase=phase,
        tokens_count=tokens or len(elapsed_s),
        depth_tokens=depth,
        started_s=0.0,
        elapsed_s=tuple(elapsed_s),
        conditions=Conditions(polluted=polluted),
    )
