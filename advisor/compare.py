"""Machines side by side: what each would run for a task, or how each runs one model."""

from collections.abc import Sequence

from advisor.errors import NothingFitsError
from advisor.machine import Machine
from advisor.plan import best_within
from advisor.recommend import Request, recommend
from advisor.types import Choice, ComparisonColumn, Estimate, Limits, MachineComparison, Workload
from catalog.load import Catalog
from catalog.types import ArtifactSpec, ModelSpec

_PICKS_COUNT = 3


def compare_for_task(
    catalog: Catalog,
    machines: Sequence[Machine],
    workload: Workload,
    *,
    limits: Limits,
    created_at: str,
    tool_version: str,
) -> MachineComparison:
    """The best picks of each machine for a task."""
    request = Request(workload=workload, limits=limits, top_count=_PICKS_COUNT)
    columns = []
    for machine in machines:
        try:
            made = recommend(catalog, machine, request, created_at=created_at, tool_version=tool_version)
            columns.append(_column(machine, picks=made.ranked))
        except NothingFitsError as error:
            columns.append(_column(machine, reason=str(error)))
    return MachineComparison(
        machines=tuple(columns), workload=workload, created_at=created_at, tool_version=tool_version
    )


def compare_for_model(
    model: ModelSpec,
    artifacts: Sequence[ArtifactSpec],
    machines: Sequence[Machine],
    workload: Workload,
    *,
    limits: Limits,
    created_at: str,
    tool_version: str,
) -> MachineComparison:
    """How each machine runs one model at the finest quantisation it can."""
    columns = []
    for machine in machines:
        found = best_within(model, artifacts, machine, workload, limits)
        if isinstance(found, Estimate):
            columns.append(_column(machine, estimate=found))
        else:
            columns.append(_column(machine, reason=found))
    return MachineComparison(
        machines=tuple(columns),
        workload=workload,
        model_id=model.model_id,
        created_at=created_at,
        tool_version=tool_version,
    )


def _column(
    machine: Machine, *, picks: tuple[Choice, ...] = (), estimate: Estimate | None = None, reason: str | None = None
) -> ComparisonColumn:
    return ComparisonColumn(
        hardware=machine.name,
        picks=picks,
        estimate=estimate,
        reason=reason,
        price_usd=machine.price_usd,
        power_w=machine.power_w,
    )
