"""Chip names: exact aliases, PCI ids, variants by memory; never a substring."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.audit import NAMED_CHIPS, resolved
from catalog.chips import ChipIndex
from catalog.errors import CatalogError, UnknownNameError
from catalog.load import load_catalog
from catalog.types import ChipSpec
from catalog.units import GIB

CATALOG = load_catalog()


@pytest.mark.parametrize(("text", "chip_ids"), NAMED_CHIPS.items())
def test_the_names_that_substrings_get_wrong(text, chip_ids):
    if len(chip_ids) == 1:
        assert CATALOG.chip(text).chip_id == chip_ids[0]
        return
    with pytest.raises(UnknownNameError) as caught:
        CATALOG.chip(text)
    assert caught.value.candidates == chip_ids
    assert all(chip_id in str(caught.value) for chip_id in chip_ids)


@pytest.mark.parametrize(
    ("text", "chip_id"),
    [
        ("rtx 5090", "NVIDIA GeForce RTX 5090"),
        ("RTX5090", "NVIDIA GeForce RTX 5090"),
        ("nvidia geforce rtx 5090", "NVIDIA GeForce RTX 5090"),
        ("5090", "NVIDIA GeForce RTX 5090"),
        ("4070 ti super", "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM"),
        ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM 80GB"),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100 PCIe 80GB"),
        ("Tesla V100-SXM2-16GB", "NVIDIA Tesla V100 SXM2 16GB"),
        ("NVIDIA GeForce RTX 5070 Laptop GPU", "NVIDIA GeForce RTX 5070 Laptop"),
        ("rtx 3080 mobile", "NVIDIA GeForce RTX 3080 Laptop"),
        ("NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "NVIDIA RTX PRO 6000 Blackwell"),
        ("NVIDIA GB10", "NVIDIA GB10 (DGX Spark)"),
        ("AMD Radeon RX 7900 XTX", "AMD Radeon RX 7900 XTX"),
        ("7900 xt", "AMD Radeon RX 7900 XT"),
        ("AMD Radeon(TM) 8060S Graphics", "AMD Radeon 8060S (Ryzen AI Max+ 395)"),
        ("AMD Ryzen AI Max+ 395 w/ Radeon 8060S", "AMD Radeon 8060S (Ryzen AI Max+ 395)"),
        ("Intel(R) Arc(TM) A770 Graphics", "Intel Arc A770"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "AMD Ryzen 9 7950X (DDR5-5600 2ch)"),
        ("m4 max 40-core", "Apple M4 Max (40-core GPU)"),
        ("10de:2684", "NVIDIA GeForce RTX 4090"),
        ("pci:10DE:2B85", "NVIDIA GeForce RTX 5090"),
        ("rtx 4060 ti 8GB", "NVIDIA GeForce RTX 4060 Ti 8GB"),
        ("rtx 4060 ti 16 GB", "NVIDIA GeForce RTX 4060 Ti"),
        ("rtx 3060", "NVIDIA GeForce RTX 3060"),
        ("rtx4090", "NVIDIA GeForce RTX 4090"),
        ("1080ti", "NVIDIA GeForce GTX 1080 Ti"),
        ("3090 ti", "NVIDIA GeForce RTX 3090 Ti"),
        ("rtx 6000 ada", "NVIDIA RTX 6000 Ada"),
        ("rtx pro 6000", "NVIDIA RTX PRO 6000 Blackwell"),
        ("rtx pro 6000 max-q", "NVIDIA RTX PRO 6000 Blackwell Max-Q"),
        ("l40s", "NVIDIA L40S"),
        ("p40", "NVIDIA Tesla P40"),
        ("t4", "NVIDIA Tesla T4"),
        ("a10", "NVIDIA A10"),
        ("a1000", "NVIDIA RTX A1000"),
        ("h200", "NVIDIA H200 SXM"),
        ("hgx h100", "NVIDIA H100 SXM"),
        ("b200", "NVIDIA B200"),
        ("dgx spark", "NVIDIA GB10 (DGX Spark)"),
        ("jetson orin nano super", "NVIDIA Jetson Orin Nano Super"),
        ("NVIDIA Corporation AD102 [GeForce RTX 4090]", "NVIDIA GeForce RTX 4090"),
        ("mi300x", "AMD Instinct MI300X"),
        ("rx6700xt", "AMD Radeon RX 6700 XT"),
        ("9070 xt", "AMD Radeon RX 9070 XT"),
        ("r9700", "AMD Radeon AI PRO R9700"),
        ("vega 64", "AMD Radeon RX Vega 64"),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", "AMD Radeon RX 7900 XTX"),
        ("strix halo", "AMD Radeon 8060S (Ryzen AI Max+ 395)"),
        ("ryzen ai max 395", "AMD Radeon 8060S (Ryzen AI Max+ 395)"),
        ("b580", "Intel Arc B580"),
        ("arc pro b60", "Intel Arc Pro B60"),
        ("i9-14900k", "Intel Core i9-14900K (DDR5-5600 2ch)"),
        ("13th Gen Intel(R) Core(TM) i7-13700K", "Intel Core i7-13700K (DDR5-5600 2ch)"),
        ("AMD EPYC 9654 96-Core Processor", "AMD EPYC 9654 (DDR5-4800 12ch)"),
        ("xeon 8480", "Intel Xeon 8480+ (DDR5-4800 8ch)"),
        ("raspberry pi 5", "Raspberry Pi 5"),
        ("macbook air m5", "Apple M5 (10-core GPU)"),
        ("10de:24c7", "NVIDIA GeForce RTX 3060 8GB"),
        ("1002:7449", "AMD Radeon PRO W7800 48GB"),
    ],
)
def test_spellings(text, chip_id):
    assert CATALOG.chip(text).chip_id == chip_id


@pytest.mark.parametrize(
    "text",
    [
        "A1",
        "RTX",
        "rtx 40",
        "nvidia",
        "10de:1fb0",
        "rtx 3070 max-q",
        "GeForce",
        "100",
        "M4 M",
        "Radeon",
        "AMD Radeon Graphics",
        "rtx 509",
        "",
        "ff:ff",
        "\x00",
    ],
)
def test_no_substring_and_no_generic_name_is_a_chip(text):
    with pytest.raises(UnknownNameError) as caught:
        CATALOG.chip(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "A100",
            "a100 40gb",
            "h100",
            "h800",
            "m4",
            "m1 8gb",
            "m2 ultra 192gb",
            "m3 pro",
            "RTX 6000",
            "V100",
            "v100 32gb",
        ),
        *("jetson orin nano", "gfx1151", "macbook pro m4 max", "1002:744c", "1002:740c"),
    ],
)
def test_an_ambiguous_name_lists_its_candidates(text):
    with pytest.raises(UnknownNameError) as caught:
        CATALOG.chip(text)
    assert len(caught.value.candidates) > 1


@pytest.mark.parametrize("text", ["AMD EPYC", "a chip nobody makes", "a chip nobody makes 24GB", "V100", ""])
def test_a_name_that_fits_no_chip_or_several_is_not_known(text):
    assert CATALOG.known_chip(text) is None


@pytest.mark.parametrize("text", ["rtx 3090", "rtx 4060 ti 16GB", "10de:2684"])
def test_a_known_chip_is_the_one_found(text):
    assert CATALOG.known_chip(text) == CATALOG.chip(text)


def test_every_chip_resolves_to_itself_and_no_alias_to_a_stranger():
    for chip in CATALOG.chips.values():
        assert CATALOG.chip(chip.chip_id) is chip
        for alias in (*chip.aliases, *chip.pci_ids):
            assert chip.chip_id in resolved(CATALOG, alias)


def test_measured_memory_picks_the_variant_and_never_fails_a_plain_name():
    assert CATALOG.chip("NVIDIA GeForce RTX 4060 Ti", 8188 * 2**20).chip_id == "NVIDIA GeForce RTX 4060 Ti 8GB"
    assert CATALOG.chip("Tesla M40", 24 * GIB).chip_id == "NVIDIA Tesla M40 24GB"
    assert CATALOG.chip("NVIDIA GeForce RTX 4090", 48 * GIB).chip_id == "NVIDIA GeForce RTX 4090"
    assert CATALOG.chip("apple m4 max", 128 * GIB).chip_id == "Apple M4 Max (40-core GPU)"
    assert CATALOG.chip("apple m4 max", 128 * GIB).memory_bytes == 128 * GIB


@pytest.mark.parametrize(
    ("text", "chip_id", "count", "chip_gib", "extra_gib"),
    [
        ("rtx 3090*2+64GiB", "NVIDIA GeForce RTX 3090", 2, 24, 64),
        ("rtx 3090 * 4", "NVIDIA GeForce RTX 3090", 4, 24, None),
        ("rtx 5090", "NVIDIA GeForce RTX 5090", 1, 32, None),
        ("m4 max 64GiB", "Apple M4 Max (40-core GPU)", 1, 64, None),
        ("m4 max 36GB", "Apple M4 Max (32-core GPU)", 1, 36, None),  # sold as 36 GB, which are GiB
        ("m3 max 128gb", "Apple M3 Max (40-core GPU)", 1, 128, None),
        ("macbook pro m5 max 128GB", "Apple M5 Max (40-core GPU)", 1, 128, None),
        ("mac studio m3 ultra 512GB", "Apple M3 Ultra (80-core GPU)", 1, 512, None),
        ("orin nx 16gb", "NVIDIA Jetson Orin NX 16GB", 1, 16, None),
        ("jetson agx orin 64GB", "NVIDIA Jetson AGX Orin 64GB", 1, 64, None),
        ("m4 max+64GiB", "Apple M4 Max (40-core GPU)", 1, 64, None),
        ("epyc 9654+384GiB", "AMD EPYC 9654 (DDR5-4800 12ch)", 1, 384, None),
        ("Ryzen AI Max+ 395", "AMD Radeon 8060S (Ryzen AI Max+ 395)", 1, 128, None),
        ("Ryzen AI Max+ 395+96GiB", "AMD Radeon 8060S (Ryzen AI Max+ 395)", 1, 96, None),
        ("tesla m40 24GiB", "NVIDIA Tesla M40 24GB", 1, 24, None),
        ("m4 max+63GiB", "Apple M4 Max (40-core GPU)", 1, 63, None),  # nobody sells it, but + takes any size
        ("Apple M4 Max (40-core GPU)+100GiB", "Apple M4 Max (40-core GPU)", 1, 100, None),
        ("dgx spark 128GB", "NVIDIA GB10 (DGX Spark)", 1, 128, None),
        ("rtx 4090 24GB", "NVIDIA GeForce RTX 4090", 1, 24, None),
    ],
)
def test_hardware_texts(text, chip_id, count, chip_gib, extra_gib):
    spec = CATALOG.hardware(text)
    assert (spec.chip.chip_id, spec.count) == (chip_id, count)
    assert spec.chip.memory_bytes == pytest.approx(chip_gib * GIB)
    assert spec.extra_memory_bytes == (None if extra_gib is None else extra_gib * GIB)


@pytest.mark.parametrize(
    ("text", "chip_id", "count", "extra_gib"),
    [
        ("rtx 4090+epyc 9654+768GiB", "NVIDIA GeForce RTX 4090", 1, 768),
        ("rtx 3090*4 + EPYC 9654", "NVIDIA GeForce RTX 3090", 4, None),
        ("epyc 9654+rtx 3090*2+384GiB", "NVIDIA GeForce RTX 3090", 2, 384),
        ("rtx 4090 24GB+epyc 9654", "NVIDIA GeForce RTX 4090", 1, None),
    ],
)
def test_a_processor_beside_cards_is_the_host(text, chip_id, count, extra_gib):
    spec = CATALOG.hardware(text)
    assert (spec.chip.chip_id, spec.count) == (chip_id, count)
    assert spec.host is not None
    assert spec.host.chip_id == "AMD EPYC 9654 (DDR5-4800 12ch)"
    assert spec.extra_memory_bytes == (None if extra_gib is None else extra_gib * GIB)


def test_without_a_processor_named_there_is_no_host():
    for text in (
        "rtx 4090+64GiB",
        "epyc 9654+384GiB",
        "Ryzen AI Max+ 395+96GiB",
        "m4 max 64GiB",
    ):
        assert CATALOG.hardware(text).host is None


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("rtx 4090+rtx 3090+64GiB", "one kind of card and one processor"),
        ("epyc 9654+epyc 9654", "one kind of card and one processor"),
        ("rtx 4090+epyc 9654*2", "one kind of card and one processor"),
        ("m4 max 64GiB+epyc 9654", "has a processor"),
        ("rtx 4090+epyc 9999", "'epyc 9999' is not in the catalog"),
        ("rtx 9999+epyc 9654", "'rtx 9999' is not in the catalog"),
        ("rtx 3090+64", "24GiB"),
        ("rtx 4090 48GiB", "sold as"),
        ("m4 max 63GiB", r"48 GiB, 64 GiB, 128 GiB; for another size all the same: Apple M4 Max \(40-core GPU\)\+SIZE"),
        ("m4 max 65GiB", "sold as"),
        ("dgx spark 64GiB", "128 GiB"),
        ("rtx 3060 11GiB", "12 GiB"),
        ("rtx 4090*0", "count"),
        ("rtx 4090*99999", "count"),
        ("m1 max 64GiB", "name one of"),
        ("nothing*2+8GiB", "not in the catalog"),
        ("rtx 3090+64 parsecs", "unit"),
    ],
)
def test_hardware_that_cannot_be_read_says_what_to_write(text, advice):
    with pytest.raises(CatalogError, match=advice) as caught:
        CATALOG.hardware(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_no_text_does_more_than_fail(text):
    for read in (CATALOG.chip, CATALOG.hardware):
        with contextlib.suppress(CatalogError):
            read(text)


@given(st.sampled_from(sorted(CATALOG.chips)), st.integers(1, 40))
def test_cutting_a_name_short_never_finds_another_generation(chip_id, cut):
    """A prefix may be a chip of its own, but only one that is listed under exactly that prefix."""
    prefix = chip_id[:-cut]
    try:
        found = CATALOG.chip(prefix)
    except CatalogError:
        return
    spelled = {name.casefold().replace(" ", "").replace("-", "") for name in (found.chip_id, *found.aliases)}
    assert prefix.casefold().replace(" ", "").replace("-", "").replace("_", "") in spelled or "(" in prefix


def test_an_index_of_two_equal_names_is_ambiguous():
    chips = {
        name: ChipSpec(chip_id=name, vendor="x", kind="gpu", aliases=("same",), bare_name=name) for name in ("a1", "b1")
    }
    with pytest.raises(UnknownNameError) as caught:
        ChipIndex(chips).find("SAME")
    assert caught.value.candidates == ("a1", "b1")
