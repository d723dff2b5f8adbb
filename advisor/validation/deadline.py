"""The moment by which a validation is to be done, for all that share its time."""

from dataclasses import dataclass
from typing import Self

from probes.base import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment on a clock."""

    clock: Clock
    at_s: float

    @classmethod
    def after(cls, budget_s: float, clock: Clock) -> Self:
        """So many seconds from now."""
        return cls(clock=clock, at_s=clock.now() + budget_s)

    @property
    def left_s(self) -> float:
        """Seconds until then; 0 once it has passed."""
        return max(0.0, self.at_s - self.clock.now())
