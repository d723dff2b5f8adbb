"""Recorded runs of a suite, and what a comparison of two finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from advisor.types.prediction import SCHEMA_VERSION, Deployment, Estimate, FractionInterval, Workload
from advisor.types.validation import EngineBuild, ValidationStatus


class Verdict(StrEnum):
    """What a comparison of two runs says about one metric."""

    SLOWER = "slower"
    FASTER = "faster"
    NOISIER = "noisier"
    UNCHANGED = "unchanged"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One metric of one subject, before and after."""

    metric: str
    subject: str
    baseline: float | None
    current: float | None
    change_frac: float | None
    interval_frac: FractionInterval | None
    significant: bool
    verdict: Verdict
    reason: str | None = None
    p_value: float | None = None
    threshold_frac: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeries:
    """Every raw repeat of one metric of one case.

    ``values[i]`` was measured in round ``rounds[i]``; all cases of a suite take turns within a round.
    The metric's unit suffix says which way is better: ``_per_s`` up, ``_s`` and ``_bytes`` down.
    """

    metric: str  # "decode_tokens_per_s", "first_token_s", "peak_memory_bytes", "read_bytes_per_s", ...
    values: tuple[float, ...]
    rounds: tuple[int, ...]
    polluted: tuple[bool, ...] = ()  # one per value, or empty: none was


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCase:
    """One case of a suite: what was loaded and asked, and what came out.

    ``subject`` is unique within a run and equal between runs of one suite. The machine's own
    probes are the case "machine", which has no deployment.
    """

    subject: str
    status: ValidationStatus
    series: tuple[MetricSeries, ...] = ()
    deployment: Deployment | None = None
    workload: Workload | None = None
    weights: str | None = None  # "real" | "twin" | "truncated_twin"
    weights_id: str | None = None  # hash of what was loaded: file or twin recipe
    estimate: Estimate | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnvironment:
    """What a run was taken on and with. ``machine_id`` hashes what does not change with an update."""

    machine_id: str
    hardware: str
    os: str
    kernel: str | None = None
    cpu_name: str | None = None
    microcode: str | None = None
    governor: str | None = None
    turbo_enabled: bool | None = None
    cpu_quota_cores_frac: float | None = None
    usable_threads_count: int | None = None
    memory_total_bytes: int | None = None
    memory_limit_bytes: int | None = None
    memory_transfers_per_s: float | None = None
    virtualization: str | None = None
    drivers: Mapping[str, str] = field(default_factory=dict)  # device id -> driver
    engine: EngineBuild | None = None
    python_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One recording of a suite on one machine."""

    suite_name: str
    suite_id: str  # hash of everything in the suite that changes what is measured
    environment: RunEnvironment
    cases: tuple[RunCase, ...]
    created_at: str
    tool_version: str
    rounds_count: int
    complete: bool = True
    finished_at: str | None = None
    resumed_count: int = 0
    clock_jump_s: float | None = None  # wall clock against the monotonic clock, where they disagreed
    profile_id: str | None = None
    hardware: str | None = None
    notes: tuple[str, ...] = ()
    paired_id: str | None = None  # shared with the run that took its turns beside this one
    schema_version: int = SCHEMA_VERSION
    kind: str = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChange:
    """One thing that differs between the environments of two runs, in words."""

    name: str
    baseline: str | None
    current: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The smallest change of one metric that a comparison on this machine would catch.

    ``within_frac`` and ``between_frac`` are standard deviations of the logarithm: of one round
    within a run, and of a run's typical value between like runs (None: fewer than three such runs).
    """

    metric: str
    subject: str
    rounds_count: int
    within_frac: float
    between_frac: float | None
    smallest_change_frac: float
    runs_count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """A/A calibration: like runs compared with each other, so every alarm is a false one."""

    suite_name: str
    hardware: str
    resolutions: tuple[Resolution, ...]
    comparisons_count: int
    false_alarms_count: int
    created_at: str
    tool_version: str
    power_frac: float = 0.9
    runs_count: int = 1
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
    kind: str = "selftest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReference:
    """Which run a comparison speaks of."""

    suite_name: str
    suite_id: str
    machine_id: str
    hardware: str
    created_at: str
    engine: EngineBuild | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Two runs compared metric by metric. ``regressed`` is what the exit code says."""

    baseline: RunReference
    current: RunReference
    findings: tuple[Finding, ...]
    regressed: bool
    false_discovery_frac: float
    created_at: str
    tool_version: str
    environment_changes: tuple[EnvironmentChange, ...] = ()
    allowed: tuple[str, ...] = ()  # differences that would have been refused
    fail_on: tuple[Verdict, ...] = (Verdict.SLOWER,)  # verdicts that make it fail
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
    kind: str = "regression"
