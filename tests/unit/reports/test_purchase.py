"""Plans and comparisons in every format: every class, prices with their kind, names from files made inert."""

import io
from dataclasses import replace

import pytest
from report_examples import MODELS, WORKLOAD
from report_examples import make_estimate as example_estimate
from rich.console import Console

from advisor.types import (
    ClassMiss,
    ComparisonColumn,
    Limits,
    MachineClass,
    MachineComparison,
    Plan,
    PlanRow,
    PriceTag,
    Quality,
    TopPick,
    Upgrade,
    Workload,
)
from reports import purchase, rows
from reports.renderers import rendered
from reports.shopping import print_machine_comparison, print_plan

HOSTILE = "x\x1b[2J<script>alert(1)</script>|$(rm)"
QUALITY = Quality(low=60.0, mid=65.0, high=70.0, imputed=False)
COSTS = {"electricity_usd_per_kwh": 0.3, "busy_frac": 0.1, "pc_usd": 900.0, "write_off_years": 4.0}


def make_estimate():
    return example_estimate(MODELS[0], "Q4_K_M", WORKLOAD)


def row(name, kind, *, speed_factor=1.0, price=None, rent=None, basis="new, 2026-05"):
    made = make_estimate()
    made = replace(made, decode_tokens_per_s=made.decode_tokens_per_s.scaled(speed_factor))
    known = price is not None or rent is not None
    tag = PriceTag(total_usd=price, rent_usd_per_hour=rent, basis=basis, source="a shop") if known else PriceTag()
    return PlanRow(
        hardware=name,
        chip_id=name,
        machine_class=kind,
        chips_count=1,
        memory_bytes=24 * 2**30,
        estimate=made,
        price_usd=price,
        price=tag,
        computer_power_w=400.0,
        usd_per_million_tokens=1.5 if known else None,
    )


def example():
    top = TopPick(model_id="org/Good-8B", quant_id="Q8_0", quality=QUALITY, decode_tokens_per_s=40.0)
    better = replace(top, model_id="org/Better-70B", quality=replace(QUALITY, mid=80.0))
    return Plan(
        model_id="org/Model-8B",
        workload=Workload(),
        limits=Limits(min_tokens_per_s=8.0),
        rows=(
            row("NVIDIA GeForce RTX 3060 + 64 GiB", MachineClass.GAMING, price=1200.0, basis="used, 2026-05"),
            row("NVIDIA GeForce RTX 5060 + 64 GiB", MachineClass.GAMING, price=1300.0, speed_factor=1.05),
            row("NVIDIA GeForce RTX 3090 + 64 GiB", MachineClass.GAMING, price=2030.0, speed_factor=2.0),
            row("NVIDIA GeForce RTX 3080 + 64 GiB", MachineClass.GAMING, price=2100.0, speed_factor=1.9),
            row("Apple M4 Max", MachineClass.APPLE, price=2499.0, basis="at launch, 2025"),
            row("NVIDIA H100 SXM + 64 GiB", MachineClass.DATACENTER, rent=2.99, basis="rent, 2026-05"),
            row(HOSTILE, MachineClass.WORKSTATION),
        ),
        rejected=(),
        class_misses=(ClassMiss(machine_class=MachineClass.UNIFIED, hardware="DGX", reason="Q8_0 decodes 5 tok/s"),),
        here=make_estimate(),
        base="NVIDIA GeForce RTX 3060",
        base_top=top,
        upgrades=(
            Upgrade(name="second RTX 3060", hardware="two", estimate=make_estimate(), speedup_frac=0.5, top=better),
            Upgrade(name="+32 GiB RAM", hardware="more", estimate=make_estimate(), speedup_frac=0.0, top=top),
        ),
        assumptions=COSTS,
        created_at="2026-11-22T00:00:00Z",
        tool_version="0",
        catalog_version="1",
    )


def printed(show, document, width=80):
    console = Console(width=width, file=io.StringIO(), highlight=False)
    show(document, console)
    return console.file.getvalue()


def test_a_plan_reads_at_eighty_columns_with_every_class():
    text = printed(print_plan, example())
    assert max(map(len, text.splitlines())) <= 80
    for title in ("Gaming GPUs", "Apple silicon", "Data-centre GPUs", "Unified-memory"):
        assert title in text
    assert "none; nearest: DGX" in text
    assert "$2.99/h" in text
    assert "$2,499*" in text
    assert "Better-70B" in text
    assert "No gain: +32 GiB RAM." in text
    assert "\x1b[2J" not in text


def test_the_table_shows_the_cheapest_and_what_is_clearly_faster():
    shown = purchase.worth_showing(example(), MachineClass.GAMING, 5)
    assert [row.price_usd for row in shown] == [1200.0, 2030.0]


@pytest.mark.parametrize("file_format", ["html", "md", "csv", "png"])
def test_a_plan_is_rendered_in_every_format(file_format):
    data = rendered([example()], file_format)
    assert data
    if file_format != "png":
        text = data.decode()
        assert "RTX 3090" in text
        if file_format == "html":
            assert "<script>alert" not in text
        assert "\x1b" not in text


def test_a_plan_page_has_a_section_per_class_and_its_sources():
    text = rendered([example()], "md").decode()
    for heading in (
        "## Gaming GPUs in a PC",
        "## Apple silicon",
        "## Your machine: RTX 3060",
        "## What the prices are",
    ):
        assert heading in text
    assert "used, 2026-05, a shop" in text


def test_csv_of_a_plan_is_unrounded_in_base_units():
    header, first, *_ = rows.render([example()]).decode().splitlines()
    columns = header.split(",")
    assert {"price_usd", "rent_usd_per_hour", "price_source", "decode_mid_tokens_per_s"} <= set(columns)
    assert "1200.0" in first


@pytest.mark.parametrize("file_format", ["html", "md", "csv", "png"])
def test_a_comparison_is_rendered_in_every_format(file_format):
    made = MachineComparison(
        machines=(
            ComparisonColumn(hardware="here: CPU", estimate=make_estimate()),
            ComparisonColumn(
                hardware="NVIDIA GeForce RTX 5090",
                estimate=make_estimate(),
                price_usd=4400.0,
                price=PriceTag(total_usd=4400.0, basis="new, 2026-02", source="a shop"),
                computer_power_w=635.0,
            ),
            ComparisonColumn(hardware=HOSTILE, reason="MLX cannot run there"),
        ),
        workload=Workload(),
        model_id="org/Model-8B",
        assumptions=COSTS,
        created_at="2026-11-22T00:00:00Z",
        tool_version="0",
    )
    assert rendered([made], file_format)
    text = printed(print_machine_comparison, made)
    assert "$4,400 (new, 2026-02)" in text
    assert "MLX cannot run there" in text
    assert max(map(len, text.splitlines())) <= 80
