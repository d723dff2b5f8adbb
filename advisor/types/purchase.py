"""Machines to buy or rent: plans, prices, upgrades and comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from advisor.types.prediction import SCHEMA_VERSION, Estimate, Workload
from advisor.types.recommendation import Choice, Limits, Quality, Rejection


class MachineClass(StrEnum):
    """Kinds of machine people buy or rent for this."""

    GAMING = "gaming GPU in a PC"
    WORKSTATION = "workstation GPU"
    DATACENTER = "data-centre GPU"
    UNIFIED = "unified-memory computer"
    APPLE = "Apple silicon"
    CPU = "CPU only"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTag:
    """What a machine costs in US dollars, before tax; None where no price was found.

    ``total_usd`` is what one pays to own it: the chips, and an assumed computer around plug-in cards.
    ``basis`` says what kind of price it is and of when: "used, 2026-06", "at launch, 2020", "rent, 2026-03".
    """

    chips_usd: float | None = None
    total_usd: float | None = None
    rent_usd_per_hour: float | None = None
    basis: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One machine that runs the model, with its price and running cost where known.

    ``price_usd`` is what one pays to own it (``price.total_usd``); ``power_w`` is the chips', and
    ``computer_power_w`` everything's. Costs per million tokens count decoded tokens of all users.
    """

    hardware: str
    chip_id: str
    machine_class: MachineClass
    chips_count: int
    memory_bytes: int
    estimate: Estimate
    price_usd: float | None = None
    power_w: float | None = None
    launch_year: int | None = None
    usd_per_million_tokens: float | None = None
    electricity_usd_per_million_tokens: float | None = None
    price: PriceTag = PriceTag()
    computer_power_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMiss:
    """A kind of machine of which none passes, and the one that came nearest."""

    machine_class: MachineClass
    hardware: str
    reason: str
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopPick:
    """The best model for the task on a machine."""

    model_id: str
    quant_id: str
    quality: Quality
    decode_tokens_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """One thing to add to a machine: what it does to the model that was asked for, and to the best there is.

    ``speedup_frac`` is the change of the decode rate; None where the model did not run before, or does not after.
    """

    name: str
    hardware: str
    estimate: Estimate | None = None
    reason: str | None = None  # why the model still does not run
    speedup_frac: float | None = None
    top: TopPick | None = None
    cost_usd: float | None = None
    assumption: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Machines that run one model within the limits; ``here`` is the user's own, if it does.

    ``upgrades`` are for the machine named in ``base``, ``base_top`` the best model on it as it is.
    """

    model_id: str
    workload: Workload
    limits: Limits
    rows: tuple[PlanRow, ...]
    rejected: tuple[Rejection, ...]
    created_at: str
    tool_version: str
    catalog_version: str
    here: Estimate | None = None
    class_misses: tuple[ClassMiss, ...] = ()
    base: str | None = None
    base_reason: str | None = None  # why the model does not run on it
    base_top: TopPick | None = None
    upgrades: tuple[Upgrade, ...] = ()
    assumptions: Mapping[str, float] = field(default_factory=dict)  # of the costs, by name and unit
    schema_version: int = SCHEMA_VERSION
    kind: str = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonColumn:
    """One machine of a comparison: its best picks for the task, or the model that was asked about."""

    hardware: str
    picks: tuple[Choice, ...] = ()
    estimate: Estimate | None = None
    reason: str | None = None  # why there is no answer
    price_usd: float | None = None
    power_w: float | None = None
    price: PriceTag = PriceTag()
    computer_power_w: float | None = None
    usd_per_million_tokens: float | None = None  # of the model that was asked about, or the first pick
    electricity_usd_per_million_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineComparison:
    """Machines side by side for one task or one model."""

    machines: tuple[ComparisonColumn, ...]
    workload: Workload
    created_at: str
    tool_version: str
    model_id: str | None = None
    assumptions: Mapping[str, float] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    kind: str = "machine_comparison"
