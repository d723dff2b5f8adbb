"""The fitted effects and spreads that come with the package, and where they were fitted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from advisor.datasheets.traits import ChipTraits

_FILE = "datasheet.json"
#: How near the published runs come to a chip, nearest first.
LEVELS = ("chip", "generation", "stack", "unknown")
ANY_STACK = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Effects by name; per phase, level and stack the log standard deviation of what they miss.

    ``seen`` holds "stack/generation/chip" of every chip that was fitted on.
    """

    effects: Mapping[str, float]
    sigmas: Mapping[str, Mapping[str, Mapping[str, float]]]
    seen: frozenset[str]
    runs_count: int = 0

    def level(self, traits: ChipTraits) -> str:
        """How near the runs that were fitted on come to this chip."""
        generation = f"{traits.stack}/{traits.generation}/"
        if generation + traits.chip_id in self.seen:
            return "chip"
        if any(key.startswith(generation) for key in self.seen):
            return "generation"
        return "stack" if any(key.startswith(f"{traits.stack}/") for key in self.seen) else "unknown"

    def sigma(self, phase: str, traits: ChipTraits) -> float:
        """Log standard deviation of a phase's time around the prediction."""
        by_stack = self.sigmas[phase][self.level(traits)]
        return by_stack.get(traits.stack, by_stack[ANY_STACK])


def to_document(coefficients: Coefficients) -> dict[str, Any]:
    """Coefficients as JSON data."""
    return {
        "schema_version": 1,
        "runs_count": coefficients.runs_count,
        "sigmas": coefficients.sigmas,
        "effects": coefficients.effects,
        "seen": sorted(coefficients.seen),
    }


def from_document(document: Mapping[str, Any]) -> Coefficients:
    """The inverse of `to_document`."""
    return Coefficients(
        effects=document["effects"],
        sigmas=document["sigmas"],
        seen=frozenset(document["seen"]),
        runs_count=document["runs_count"],
    )


@lru_cache(maxsize=1)
def load_coefficients() -> Coefficients:
    """The packaged coefficients."""
    text = resources.files("advisor").joinpath("data", _FILE).read_text(encoding="utf-8")
    return from_document(json.loads(text))
