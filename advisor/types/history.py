"""What was measured on a machine over time."""

from dataclasses import dataclass

from advisor.types.prediction import SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """One run's typical value of one metric."""

    created_at: str
    value: float
    engine: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """A lasting step in a trend: ``created_at`` is the first point after it."""

    created_at: str
    before: float
    after: float
    change_frac: float
    engine_before: str | None = None
    engine_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One metric of one subject on one machine over time."""

    machine_id: str
    subject: str
    metric: str
    points: tuple[TrendPoint, ...]
    change_points: tuple[ChangePoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One remembered document."""

    digest: str
    kind: str
    created_at: str
    machine_id: str | None
    summary: str
    origin: str = "here"  # "here" | "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDocument:
    """What was measured here over time."""

    entries: tuple[HistoryEntry, ...]
    trends: tuple[Trend, ...]
    created_at: str
    tool_version: str
    schema_version: int = SCHEMA_VERSION
    kind: str = "history"
