"""Machines side by side: what each would run for a task, or how each runs one model."""

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.errors import NothingFitsError
from advisor.machine import Machine
from advisor.purchase.costs import Costs, computer_power_w, electricity_usd_per_million, price_of, usd_per_million
from advisor.purchase.plan import Question, assumptions_of, best_setting
from advisor.recommendation.recommend import Request, recommend
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import Choice, ComparisonColumn, Estimate, Limits, MachineComparison, PriceTag, Workload
from catalog.chips import HardwareSpec
from catalog.load import Catalog

_PICKS_COUNT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A machine to compare.

    Attributes:
        spec: how it was named; None for the user's own, which costs nothing more.
        waiver: why the engine that was asked for cannot run there.
    """

    machine: Machine
    spec: HardwareSpec | None = None
    waiver: str | None = None


def compare_for_task(
    catalog: Catalog,
    machines: Sequence[Candidate],
    workload: Workload,
    *,
    limits: Limits,
    costs: Costs,
    created_at: str,
    tool_version: str,
    kv_quant_id: str | None = None,
    settings: LoadSettings = NOTHING_FIXED,
) -> MachineComparison:
    """The best picks of each machine for a task."""
    request = Request(
        workload=workload, limits=limits, top_count=_PICKS_COUNT, kv_quant_id=kv_quant_id, settings=settings
    )
    columns = []
    for one in machines:
        if one.waiver is not None:
            columns.append(_column(one, costs, reason=one.waiver))
            continue
        try:
            made = recommend(catalog, one.machine, request, created_at=created_at, tool_version=tool_version)
            columns.append(_column(one, costs, picks=made.ranked))
        except NothingFitsError as error:
            columns.append(_column(one, costs, reason=str(error)))
    return MachineComparison(
        machines=tuple(columns),
        workload=workload,
        assumptions=assumptions_of(costs),
        created_at=created_at,
        tool_version=tool_version,
    )


def compare_for_model(
    catalog: Catalog,
    question: Question,
    machines: Sequence[Candidate],
    *,
    costs: Costs,
    created_at: str,
    tool_version: str,
) -> MachineComparison:
    """How each machine runs one model in its best setting there."""
    columns = []
    for one in machines:
        if one.waiver is not None:
            columns.append(_column(one, costs, reason=one.waiver))
            continue
        found = best_setting(catalog, question, one.machine)
        if isinstance(found, Estimate):
            columns.append(_column(one, costs, estimate=found))
        else:
            columns.append(_column(one, costs, reason=found.reason))
    return MachineComparison(
        machines=tuple(columns),
        workload=question.workload,
        model_id=question.model.model_id,
        assumptions=assumptions_of(costs),
        created_at=created_at,
        tool_version=tool_version,
    )


def _column(
    one: Candidate,
    costs: Costs,
    *,
    picks: tuple[Choice, ...] = (),
    estimate: Estimate | None = None,
    reason: str | None = None,
) -> ComparisonColumn:
    made = estimate or (picks[0].estimate if picks else None)
    price, power_w = PriceTag(), one.machine.power_w
    if one.spec is not None:
        price = price_of(one.spec, costs)
        power_w = computer_power_w(one.spec)
    return ComparisonColumn(
        hardware=one.machine.name,
        picks=picks,
        estimate=estimate,
        reason=reason,
        price_usd=price.total_usd,
        price=price,
        power_w=one.machine.power_w,
        computer_power_w=power_w,
        usd_per_million_tokens=usd_per_million(price, power_w, made, costs) if made else None,
        electricity_usd_per_million_tokens=electricity_usd_per_million(power_w, made, costs) if made else None,
    )
