"""Rows of strangers' tables: how chips, backends, file types and tests are written elsewhere."""

import pytest

from advisor.datasheets.accuracy import Scorer
from advisor.datasheets.published import RowError, parse_row, price_row
from catalog.load import load_catalog

ROW = {
    "hardware": "NVIDIA GeForce RTX 4090",
    "backend": "CUDA",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "quant": "Q4_K_M",
    "test": "tg128",
    "tokens_per_s": "150",
    "date": "2026-05",
}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.mark.parametrize(
    ("written", "backend"),
    [("CUDA,BLAS", "cuda"), ("CUDA 12", "cuda"), ("Vulkan (RADV)", "vulkan"), ("BLAS", "cpu"), ("HIP", "rocm")],
)
def test_backends_as_the_tool_prints_them(written, backend):
    assert parse_row({**ROW, "backend": written}).backend == backend


@pytest.mark.parametrize("written", ["ROCm,Vulkan", "RPC", "OpenCL", "BLAS,RPC"])
def test_backends_that_are_several_or_none(written):
    with pytest.raises(RowError, match="backend"):
        parse_row({**ROW, "backend": written})


@pytest.mark.parametrize(
    ("written", "quant"),
    [("Q4_K - Medium", "Q4_K_M"), ("IQ4_XS - 4.25 bpw", "IQ4_XS"), ("MXFP4 MoE", "MXFP4"), ("Q4_0_8_8", "Q4_0")],
)
def test_file_types_as_the_tool_prints_them(catalog, written, quant):
    printed, usual = (price_row(parse_row({**ROW, "quant": name}), catalog) for name in (written, quant))
    assert printed.artifact.groups == usual.artifact.groups


@pytest.mark.parametrize("written", ["tg 128", "TG128", "tg128 @ d 0"])
def test_tests_with_spaces_and_capitals(written):
    row = parse_row({**ROW, "test": written})
    assert (row.phase, row.tokens) == ("decode", 128)


@pytest.mark.parametrize(
    ("written", "chip_id", "count"),
    [
        ("NVIDIA RTX 4090", "NVIDIA GeForce RTX 4090", 1),
        ("2x NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090", 2),
        ("NVIDIA RTX 3090 (x4)", "NVIDIA GeForce RTX 3090", 4),
        ("RTX 3090 * 2", "NVIDIA GeForce RTX 3090", 2),
        ("rtx 3090*2", "NVIDIA GeForce RTX 3090", 2),
    ],
)
def test_cards_by_other_names_and_several_of_one(catalog, written, chip_id, count):
    priced = price_row(parse_row({**ROW, "hardware": written}), catalog)
    assert (priced.chip.chip_id, priced.cards_count) == (chip_id, count)


def test_two_sockets_of_a_processor_are_one_chip(catalog):
    priced = price_row(parse_row({**ROW, "hardware": "2x Intel Xeon E5-2697A v4", "backend": "CPU"}), catalog)
    assert priced.cards_count == 1


def test_two_cards_decode_slower_than_one_for_their_launches_and_work_through_prompts_alike(catalog):
    scorer = Scorer(catalog)
    one, two = (
        {test: scorer.score({**ROW, "hardware": name, "test": test}).predicted.mid for test in ("tg128", "pp512")}
        for name in ("RTX 4090", "2x RTX 4090")
    )
    assert 0.5 * one["tg128"] < two["tg128"] < one["tg128"]
    assert two["pp512"] == one["pp512"]


@pytest.mark.parametrize(
    ("hardware", "backend"),
    [("NVIDIA GeForce RTX 4090", "Metal"), ("AMD Radeon RX 7900 XTX", "CUDA"), ("NVIDIA GeForce RTX 4090", "CPU")],
)
def test_backends_that_do_not_run_on_a_chip(catalog, hardware, backend):
    with pytest.raises(RowError, match="does not run on"):
        price_row(parse_row({**ROW, "hardware": hardware, "backend": backend}), catalog)
