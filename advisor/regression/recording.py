"""A suite run while it is being made: visits in a journal, put together into one document. Pure.

A visit is one case's turn in one round: the model loaded afresh and timed a few windows long. The
journal's first line is the header; every further line is a visit.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from advisor.errors import AdvisorError
from advisor.regression.suite import Suite, SuiteCase
from advisor.types import (
    Deployment,
    Estimate,
    MetricSeries,
    Run,
    RunCase,
    RunEnvironment,
    ValidationStatus,
)

MACHINE = "machine"
#: Wall and monotonic clock may drift apart this much between two visits before it counts as a jump.
_CLOCK_JUMP_S = 5.0


class ResumeError(AdvisorError):
    """A journal belongs to another recording; the message says what to do with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of one metric, and whether the machine was disturbed meanwhile."""

    metric: str
    value: float
    polluted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One case's turn in one round, with the two clocks at its end."""

    subject: str
    round_number: int
    samples: tuple[Sample, ...]
    wall_s: float
    monotonic_s: float
    sitting: str = ""  # which process took it
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What is known of a case before it is timed."""

    subject: str
    weights: str | None = None
    weights_id: str | None = None
    deployment: Deployment | None = None
    estimate: Estimate | None = None
    failure: str | None = None


def visit_to_entry(visit: Visit) -> dict[str, Any]:
    """A visit as a journal line."""
    return {
        "visit": visit.subject,
        "round": visit.round_number,
        "samples": [[s.metric, s.value, s.polluted] for s in visit.samples],
        "wall_s": visit.wall_s,
        "monotonic_s": visit.monotonic_s,
        "sitting": visit.sitting,
        "failure": visit.failure,
    }


def entry_to_visit(entry: Mapping[str, Any]) -> Visit | None:
    """A visit from a journal line, or None if the line is something else."""
    try:
        samples = [Sample(metric=str(m), value=float(v), polluted=bool(p)) for m, v, p in entry["samples"]]
        return Visit(
            subject=str(entry["visit"]),
            round_number=int(entry["round"]),
            samples=tuple(samples),
            wall_s=float(entry["wall_s"]),
            monotonic_s=float(entry["monotonic_s"]),
            sitting=str(entry["sitting"]),
            failure=None if entry.get("failure") is None else str(entry["failure"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def require_same(header: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Check that a journal may be continued.

    Raises:
        ResumeError: if it is of another suite, machine or software.
    """
    for key, words in (("suite_id", "another suite"), ("environment", "another machine, kernel, driver or engine")):
        if header.get(key) != wanted[key]:
            raise ResumeError(
                f"{where}: holds an unfinished run of {words}; finish it there, or discard it with --restart"
            )


def clock_jump_s(visits: Sequence[Visit]) -> float | None:
    """The largest disagreement of the clocks between two visits of one sitting, or None if they agreed throughout."""
    largest = 0.0
    for before, after in itertools.pairwise(visits):
        if before.sitting != after.sitting:
            continue
        jump = (after.wall_s - before.wall_s) - (after.monotonic_s - before.monotonic_s)
        largest = max(largest, jump, key=abs)
    return largest if abs(largest) > _CLOCK_JUMP_S else None


def gave_up(visits: Iterable[Visit], subject: str) -> bool:
    """Whether a case failed twice in a row: it will again, so its further turns are saved."""
    failures = [visit.failure is not None for visit in visits if visit.subject == subject]
    return len(failures) >= 2 and all(failures[-2:])


def _series(visits: Sequence[Visit]) -> tuple[MetricSeries, ...]:
    collected: dict[str, list[tuple[float, int, bool]]] = {}
    for visit in visits:
        for sample in visit.samples:
            collected.setdefault(sample.metric, []).append((sample.value, visit.round_number, sample.polluted))
    return tuple(
        MetricSeries(
            metric=metric,
            values=tuple(value for value, _, _ in rows),
            rounds=tuple(number for _, number, _ in rows),
            polluted=tuple(flag for _, _, flag in rows) if any(flag for _, _, flag in rows) else (),
        )
        for metric, rows in collected.items()
    )


def _run_case(facts: CaseFacts, case: SuiteCase | None, visits: Sequence[Visit]) -> RunCase:
    mine = [visit for visit in visits if visit.subject == facts.subject]
    failures = [visit.failure for visit in mine if visit.failure is not None]
    reason = facts.failure or (failures[-1] if failures else None)
    timed = any(visit.samples for visit in mine) and len(failures) <= len(mine) / 2
    return RunCase(
        subject=facts.subject,
        status=ValidationStatus.OK if timed else ValidationStatus.FAILED,
        series=_series(mine),
        deployment=facts.deployment,
        workload=case.workload if case else None,
        weights=facts.weights,
        weights_id=facts.weights_id,
        estimate=facts.estimate,
        reason=reason or (None if timed else "never had its turn"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Everything about a run but its visits."""

    suite: Suite
    environment: RunEnvironment
    facts: tuple[CaseFacts, ...]
    created_at: str
    tool_version: str
    resumed_count: int = 0
    notes: tuple[str, ...] = ()

    def document(self, visits: Sequence[Visit], finished_at: str | None) -> Run:
        """The run as far as it got."""
        whole = self.whole_rounds_count(visits)
        cases = {case.subject: case for case in self.suite.cases}
        return Run(
            suite_name=self.suite.name,
            suite_id=self.suite.suite_id,
            environment=self.environment,
            cases=tuple(_run_case(facts, cases.get(facts.subject), visits) for facts in self.facts),
            created_at=self.created_at,
            tool_version=self.tool_version,
            rounds_count=whole,
            complete=whole >= self.suite.rounds_count,
            finished_at=finished_at,
            resumed_count=self.resumed_count,
            clock_jump_s=clock_jump_s(visits),
            profile_id=self.environment.machine_id,
            hardware=self.environment.hardware,
            notes=self.notes,
        )

    def whole_rounds_count(self, visits: Sequence[Visit]) -> int:
        """Rounds in which every case had its turn, or was given up."""
        return next(
            (number for number in range(self.suite.rounds_count) if self.missing(visits, number)),
            self.suite.rounds_count,
        )

    def missing(self, visits: Sequence[Visit], round_number: int) -> tuple[str, ...]:
        """Cases that still need their turn in a round; the first case moves on by one every round."""
        done = {visit.subject for visit in visits if visit.round_number == round_number}
        able = [f.subject for f in self.facts if f.failure is None and not gave_up(visits, f.subject)]
        start = round_number % len(able) if able else 0
        return tuple(subject for subject in (*able[start:], *able[:start]) if subject not in done)

    def resumed(self, times_count: int) -> "Recording":
        """The same recording, continued."""
        return replace(self, resumed_count=times_count)
