"""How large a change of each metric counts as a regression: defaults, and a team's own TOML file. Pure."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from advisor.errors import BadRequestError
from advisor.types import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What one metric tolerates.

    ``change_frac`` is the smallest worsening that fails. ``between_frac`` is the standard deviation of
    the logarithm of a run's typical value between like runs, assumed until the history knows better;
    ``between_all_cores_frac`` is the same where a case keeps every core busy, so that anything else
    that wants one delays all its threads.
    ``limit_frac`` bounds a prediction's error whatever it was before (prediction metrics only).
    """

    change_frac: float
    between_frac: float
    between_all_cores_frac: float | None = None
    limit_frac: float | None = None

    def assumed_frac(self, *, all_cores: bool) -> float:
        """The spread between like runs to assume for a case."""
        alone = self.between_all_cores_frac
        return alone if all_cores and alone is not None else self.between_frac


#: By metric pattern, first match wins. Between-run figures: a shared two-core server measured over an hour
#: (benchmarks/regress_real.py: one thread 0.020-0.024, two threads 0.042-0.048).
DEFAULT_THRESHOLDS: tuple[tuple[str, Threshold], ...] = (
    ("*prediction_error", Threshold(change_frac=0.10, between_frac=0.022, between_all_cores_frac=0.045)),
    ("peak_memory_bytes", Threshold(change_frac=0.03, between_frac=0.005)),
    ("load_s", Threshold(change_frac=0.30, between_frac=0.10)),
    ("first_token_s", Threshold(change_frac=0.08, between_frac=0.022, between_all_cores_frac=0.045)),
    ("*", Threshold(change_frac=0.05, between_frac=0.022, between_all_cores_frac=0.045)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Thresholds for the subjects and metrics that match; fields left out keep their value."""

    subject: str
    metric: str
    fields: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Everything that decides whether a comparison passes."""

    overrides: tuple[Override, ...] = ()
    false_discovery_frac: float = 0.05
    min_rounds_count: int = 5
    fail_on: frozenset[Verdict] = frozenset({Verdict.SLOWER})

    def threshold(self, subject: str, metric: str) -> Threshold:
        """The threshold of one metric of one subject; later overrides win."""
        found = next(t for pattern, t in DEFAULT_THRESHOLDS if fnmatch.fnmatchcase(metric, pattern))
        for rule in self.overrides:
            if fnmatch.fnmatchcase(subject, rule.subject) and fnmatch.fnmatchcase(metric, rule.metric):
                found = replace(found, **rule.fields)
        return found


_THRESHOLD_KEYS = {
    "threshold": ("change_frac",),
    "between_runs": ("between_frac", "between_all_cores_frac"),
    "limit": ("limit_frac",),
}
_FAILING = (Verdict.SLOWER, Verdict.NOISIER, Verdict.NOT_COMPARABLE)


def _fraction(value: Any, where: str, lowest: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= 10:
        raise BadRequestError(f"{where}: {str(value)[:40]!r} is not a fraction; write 0.05 for 5 %")
    return float(value)


def _no_other_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise BadRequestError(f"{where}: unknown key {str(key)[:40]!r}; known are {', '.join(known)}")


def _override(table: Any, where: str, *, metric: str | None = None) -> Override:
    if not isinstance(table, Mapping):
        raise BadRequestError(f"{where}: expected a table with {', '.join(_THRESHOLD_KEYS)}")
    names = () if metric is not None else ("subject", "metric")
    _no_other_keys(table, (*names, *_THRESHOLD_KEYS), where)
    values = {key: _fraction(table[key], f"{where}.{key}") for key in _THRESHOLD_KEYS if key in table}
    fields = {field: value for key, value in values.items() for field in _THRESHOLD_KEYS[key]}
    return Override(
        subject=str(table.get("subject", "*")), metric=metric or str(table.get("metric", "*")), fields=fields
    )


def _fail_on(names: Any, where: str) -> frozenset[Verdict]:
    allowed = {str(verdict): verdict for verdict in _FAILING}
    if not isinstance(names, list) or not all(name in allowed for name in names):
        raise BadRequestError(f"{where}: fail_on must be a list of {', '.join(allowed)}")
    return frozenset(allowed[name] for name in names)


def parse_gate(table: Mapping[str, Any], where: str = "thresholds") -> Gate:
    """A gate from a parsed TOML file.

    Top-level keys: ``false_discovery``, ``min_rounds``, ``fail_on``; ``[metric.NAME]`` tables and
    ``[[override]]`` entries with ``subject`` and ``metric`` patterns hold ``threshold``,
    ``between_runs`` and ``limit`` as fractions.

    Raises:
        BadRequestError: naming the key that is wrong.
    """
    _no_other_keys(table, ("false_discovery", "min_rounds", "fail_on", "metric", "override"), where)
    metrics, overrides = table.get("metric", {}), table.get("override", [])
    if not isinstance(metrics, Mapping) or not isinstance(overrides, list):
        raise BadRequestError(f"{where}: write [metric.NAME] tables and [[override]] entries")
    rules = [_override(value, f"{where}: metric.{name}", metric=name) for name, value in metrics.items()]
    rules += [_override(value, f"{where}: override {i + 1}") for i, value in enumerate(overrides)]
    minimum = table.get("min_rounds", 5)
    if isinstance(minimum, bool) or not isinstance(minimum, int) or not 4 <= minimum <= 1000:
        raise BadRequestError(f"{where}: min_rounds must be a whole number from 4 to 1000")
    return Gate(
        overrides=tuple(rules),
        false_discovery_frac=_fraction(table.get("false_discovery", 0.05), f"{where}: false_discovery", 1e-6),
        min_rounds_count=minimum,
        fail_on=_fail_on(table.get("fail_on", [str(Verdict.SLOWER)]), where),
    )
