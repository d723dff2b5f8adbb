"""Documents to render in tests: plausible, deterministic, made from the dataclasses alone."""

from example_machines import calibration, gpu_profile, profile
from example_measurements import accuracy, history, regression, validation
from example_rankings import (
    GPU,
    HOSTILE_NAMES,
    MODELS,
    WORKLOAD,
    hostile_recommendation,
    large_recommendation,
    make_estimate,
    recommendation,
)

__all__ = [
    "GPU",
    "HOSTILE_NAMES",
    "MODELS",
    "WORKLOAD",
    "accuracy",
    "calibration",
    "everything",
    "gpu_profile",
    "history",
    "hostile_recommendation",
    "large_recommendation",
    "make_estimate",
    "profile",
    "recommendation",
    "regression",
    "validation",
]


def everything() -> tuple[object, ...]:
    """One document of every kind that a page can hold at once."""
    return (recommendation(), profile(), validation(), accuracy(), calibration(), regression(), history())
