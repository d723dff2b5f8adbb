"""How far predictions were off, row by row and in sum."""

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.types.prediction import SCHEMA_VERSION, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """One prediction against one measurement."""

    hardware: str
    backend: str
    model_id: str
    quant: str
    test: str  # "pp512", "tg128", "tg128@d4096"
    measured: float
    predicted: Interval
    error_frac: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracySummary:
    """Errors of one group of rows: absolute percentage errors as fractions, interval coverage, bias."""

    group: str
    phase: str
    n: int
    median_ape: float
    p90_ape: float
    coverage: float
    bias: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRow:
    """A row that could not be predicted, and why."""

    row: Mapping[str, str]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How far predictions are off."""

    rows: tuple[AccuracyRow, ...]
    summary: tuple[AccuracySummary, ...]
    skipped: tuple[SkippedRow, ...] = ()
    notes: tuple[str, ...] = ()
    created_at: str = ""
    tool_version: str = ""
    schema_version: int = SCHEMA_VERSION
    kind: str = "accuracy"
