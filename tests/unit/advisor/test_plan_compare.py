"""Plans, upgrades and comparisons: every class answered, prices with a source, costs that add up."""

from dataclasses import replace

import pytest

from advisor import codec
from advisor.errors import BadRequestError, NothingFitsError
from advisor.machines import from_hardware
from advisor.purchase import costs as costing
from advisor.purchase.compare import Candidate, compare_for_model, compare_for_task
from advisor.purchase.costs import Costs
from advisor.purchase.machine_classes import ALWAYS_SHOWN, class_of
from advisor.purchase.plan import Question, best_setting, plan
from advisor.purchase.upgrades import Base, top_pick, upgrades
from advisor.types import Estimate, Limits, MachineClass, Task
from advisor.workloads import make_workload
from catalog.chips import HardwareSpec
from catalog.load import Catalog, load_catalog
from catalog.prices import OfferKind, offer_for
from catalog.units import GIB

CATALOG = load_catalog()
STAMP = {"created_at": "2026-11-22T00:00:00Z", "tool_version": "0"}
CHAT = make_workload(Task.CHAT)
#: A few chips of every class: a whole plan takes seconds.
CHIP_IDS = (
    "NVIDIA GeForce RTX 3060",
    "NVIDIA GeForce RTX 3090",
    "NVIDIA GeForce RTX 5090",
    "NVIDIA GB10 (DGX Spark)",
    "Apple M4 Max (32-core GPU)",
    "Apple M2 (8-core GPU)",
    "NVIDIA H100 SXM",
    "NVIDIA RTX 6000 Ada",
    "AMD EPYC 9654 (DDR5-4800 12ch)",
    "DDR5-5600 dual channel desktop",  # around every card
)
SMALL = replace(CATALOG, chips={chip_id: CATALOG.chips[chip_id] for chip_id in CHIP_IDS})


def machine(text, catalog: Catalog = CATALOG):
    return from_hardware(catalog.hardware(text), catalog)


def question(model="qwen3-8b", **limits):
    return Question(model=CATALOG.model(model), workload=CHAT, limits=Limits(**limits))


@pytest.fixture(scope="module")
def made():
    return plan(SMALL, question(min_tokens_per_s=8.0), costs=Costs(), **STAMP)


def test_every_class_is_answered(made):
    classes = {row.machine_class for row in made.rows} | {miss.machine_class for miss in made.class_misses}
    assert set(ALWAYS_SHOWN) <= classes


def test_rows_hold_the_limit_and_come_by_price_then_rent_then_unpriced(made):
    assert all(row.estimate.decode_tokens_per_s.mid >= 8.0 for row in made.rows)
    kinds = [0 if row.price_usd else 1 if row.price.rent_usd_per_hour else 2 for row in made.rows]
    assert kinds == sorted(kinds)
    bought = [row.price_usd for row in made.rows if row.price_usd]
    assert bought == sorted(bought)


def test_every_price_has_a_source_and_a_date(made):
    for row in made.rows:
        if row.price_usd is not None or row.price.rent_usd_per_hour is not None:
            assert row.price.source
            assert "20" in row.price.basis


def test_a_card_needs_a_computer_and_a_rented_chip_does_not(made):
    card = next(row for row in made.rows if row.chip_id == "NVIDIA GeForce RTX 3090")
    assert card.price_usd == card.price.chips_usd + Costs().pc_usd
    rented = next(row for row in made.rows if row.machine_class is MachineClass.DATACENTER)
    assert rented.price_usd is None
    hours = 1e6 / rented.estimate.decode_tokens_per_s.mid / 3600
    assert rented.usd_per_million_tokens == pytest.approx(hours * rented.price.rent_usd_per_hour)


def test_the_cost_of_a_million_tokens_adds_up(made):
    row = next(row for row in made.rows if row.chip_id == "NVIDIA GeForce RTX 3090")
    hours = 1e6 / row.estimate.decode_tokens_per_s.mid / 3600
    electricity = hours * (350.0 + 60.0) / 1000 * 0.30
    assert row.electricity_usd_per_million_tokens == pytest.approx(electricity)
    write_off = hours * row.price_usd / (4.0 * 8766.0 * 0.10)
    assert row.usd_per_million_tokens == pytest.approx(electricity + write_off)


def test_dearer_electricity_and_less_use_cost_more_per_token():
    chip = CATALOG.chip("rtx 3090")
    estimate = best_setting(CATALOG, question(), machine("rtx 3090"))
    price = costing.price_of(HardwareSpec(chip=chip), Costs())

    def cost(**changes):
        return costing.usd_per_million(price, 400.0, estimate, Costs(**changes))

    assert cost(electricity_usd_per_kwh=0.6) > cost(electricity_usd_per_kwh=0.1)
    assert cost(busy_frac=0.05) > cost(busy_frac=0.5)
    with pytest.raises(BadRequestError, match="--electricity"):
        costing.check_costs(Costs(electricity_usd_per_kwh=-1.0))


def test_a_mac_studio_draws_what_its_maker_says():
    assert costing.computer_power_w(HardwareSpec(chip=CATALOG.chips["Apple M3 Ultra (80-core GPU)"])) == 270.0


def test_more_chips_are_tried_only_where_one_is_not_enough(made):
    assert not any(row.chips_count > 1 for row in made.rows)
    large = plan(SMALL, question("llama-3.3-70b-instruct", min_tokens_per_s=12.0), costs=Costs(), **STAMP)
    assert any(row.chips_count == 2 and "3090" in row.hardware for row in large.rows)


def test_a_class_that_has_none_names_its_nearest_miss():
    made = plan(SMALL, question(min_tokens_per_s=150.0), costs=Costs(), **STAMP)
    missed = {miss.machine_class: miss for miss in made.class_misses}
    assert MachineClass.UNIFIED in missed
    assert "below --min-tps 150" in missed[MachineClass.UNIFIED].reason
    assert missed[MachineClass.UNIFIED].fix.startswith("--min-tps")


def test_nothing_that_passes_names_the_nearest_miss_and_what_to_relax():
    with pytest.raises(NothingFitsError, match=r"nearest: .* below --min-tps 100000; try --min-tps \d+") as caught:
        plan(SMALL, question(min_tokens_per_s=1e5), costs=Costs(), **STAMP)
    assert caught.value.document.rows == ()
    assert all("below --min-tps" in each.reason for each in caught.value.document.rejected)
    with pytest.raises(NothingFitsError, match="licence") as caught:
        plan(SMALL, question(licenses=("mit",)), costs=Costs(), **STAMP)
    assert "licence" in caught.value.document.rejected[0].reason


def test_two_bit_weights_are_no_reason_to_buy():
    found = best_setting(CATALOG, question("qwen3-32b"), machine("Apple M2 (8-core GPU) 8GiB"))
    assert not isinstance(found, Estimate)


def test_servers_and_boards_are_in_their_classes():
    expected = {
        "NVIDIA RTX PRO 6000 Blackwell Server": MachineClass.DATACENTER,
        "AMD Instinct MI300A": MachineClass.DATACENTER,
        "Intel Data Center GPU Max 1550": MachineClass.DATACENTER,
        "NVIDIA GB10 (DGX Spark)": MachineClass.UNIFIED,
        "AMD Radeon 8060S (Ryzen AI Max+ 395)": MachineClass.UNIFIED,
        "NVIDIA RTX 6000 Ada": MachineClass.WORKSTATION,
        "NVIDIA GeForce RTX 5090": MachineClass.GAMING,
    }
    assert {name: class_of(CATALOG.chips[name]) for name in expected} == expected


def test_the_newest_price_of_the_right_size_is_taken():
    small = offer_for("AMD Radeon 8060S (Ryzen AI Max+ 395)", OfferKind.COMPUTER, 64 * GIB)
    large = offer_for("AMD Radeon 8060S (Ryzen AI Max+ 395)", OfferKind.COMPUTER, 128 * GIB)
    assert small.usd < large.usd
    assert offer_for("AMD Radeon 8060S (Ryzen AI Max+ 395)", OfferKind.COMPUTER, 96 * GIB) is None
    assert (
        offer_for("NVIDIA GeForce RTX 3090", OfferKind.CARD).usd
        > offer_for("NVIDIA GeForce RTX 3090", OfferKind.RENT).usd
    )


def _upgrades(hardware, asked):
    base = Base(machine=machine(hardware), spec=CATALOG.hardware(hardware))
    before = best_setting(CATALOG, asked, base.machine)
    now = before if isinstance(before, Estimate) else None
    return now, {upgrade.name: upgrade for upgrade in upgrades(CATALOG, asked, base, now)}


def test_a_second_card_runs_what_one_could_not():
    asked = question("llama-3.3-70b-instruct", min_tokens_per_s=8.0)
    now, found = _upgrades("rtx 3090+32GiB", asked)
    assert now is None
    second = found["second RTX 3090"]
    assert second.estimate is not None
    assert second.speedup_frac is None
    assert second.cost_usd == offer_for("NVIDIA GeForce RTX 3090", OfferKind.CARD).usd
    assert any(name.endswith("GiB VRAM: RTX 5090 instead") for name in found)


def test_one_more_memory_channel_speeds_up_a_cpu_by_its_share():
    now, found = _upgrades("Intel Core i7-12700+64GiB", question("qwen3-8b"))
    channel = found["+1 memory channel"]
    assert 0.2 < channel.speedup_frac <= 0.5
    assert "2 to 3 channels" in channel.assumption
    assert found["+64 GiB RAM"].speedup_frac == pytest.approx(0.0, abs=0.01)
    assert found["an RTX 3090"].speedup_frac > 3.0
    assert now is not None


def test_an_upgrade_says_which_better_model_it_allows():
    asked = question("qwen3-8b")
    before = top_pick(CATALOG, asked, machine("Intel Core i7-12700+32GiB"))
    _, found = _upgrades("Intel Core i7-12700+32GiB", asked)
    assert found["an RTX 3090"].top.quality.mid > before.quality.mid


def test_a_mac_is_upgraded_by_buying_a_larger_one():
    _, found = _upgrades("m4 max 64GiB", question("qwen3-8b"))
    assert list(found) == ["128 GiB instead of 64"]
    assert "soldered" in found["128 GiB instead of 64"].assumption


def test_machines_are_compared_for_a_model_with_their_costs():
    machines = [
        Candidate(machine=machine(text), spec=CATALOG.hardware(text))
        for text in ("rtx 5090", "Apple M4 Max (32-core GPU) 36GiB")
    ]
    own = Candidate(machine=machine("Intel Core i7-12700+32GiB"))
    made = compare_for_model(CATALOG, question(), [own, *machines], costs=Costs(), **STAMP)
    here, card, mac = made.machines
    assert here.price_usd is None
    assert card.price_usd > 0
    assert card.usd_per_million_tokens > card.electricity_usd_per_million_tokens
    assert mac.computer_power_w == 145.0
    assert codec.loads(codec.dump(made), kind="machine_comparison") == made


def test_machines_are_compared_for_a_task_and_a_waiver_is_shown():
    machines = [
        Candidate(machine=machine("rtx 4090"), spec=CATALOG.hardware("rtx 4090")),
        Candidate(machine=machine("rtx 4090"), spec=CATALOG.hardware("rtx 4090"), waiver="MLX cannot run there"),
    ]
    made = compare_for_task(CATALOG, machines, CHAT, limits=Limits(), costs=Costs(), **STAMP)
    first, second = made.machines
    assert first.picks[0].rank == 1
    assert second.reason == "MLX cannot run there"


def test_a_plan_for_an_engine_tries_the_machines_it_runs_on():
    asked = replace(question(), engine_id="mlx")
    made = plan(SMALL, asked, costs=Costs(), **STAMP)
    assert {row.machine_class for row in made.rows} == {MachineClass.APPLE}
    assert all(row.estimate.quant_id.startswith("MLX") for row in made.rows)


def test_the_price_around_a_named_processor_is_not_guessed():
    spec = CATALOG.hardware("rtx 4090+epyc 9654+768GiB")
    assert costing.price_of(spec, Costs()).total_usd is None
    assert costing.computer_power_w(spec) is None  # the catalog does not know what it draws
    rated = replace(spec, host=replace(spec.host, power_w=360.0))
    assert costing.computer_power_w(rated) == costing.computer_power_w(CATALOG.hardware("rtx 4090")) + 360.0


def test_an_assumed_processor_gets_no_further_memory_channel():
    text = "rtx 3060+32GiB"
    base = Base(machine=machine(text, SMALL), spec=CATALOG.hardware(text))
    names = {each.name for each in upgrades(SMALL, question(), base, None)}
    assert "+1 memory channel" not in names
    assert "second RTX 3060" in names
