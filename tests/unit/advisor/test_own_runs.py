"""Runs measured for this project: a table that the data-sheet fit reads beside the published ones."""

import csv
import importlib.util
import sys
from pathlib import Path

import pytest

from advisor.datasheets.published import parse_row, price_row
from catalog.load import load_catalog

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = "hardware,backend,model_id,quant,test,tokens_per_s,low,high,n,file_size_gib,n_ubatch,date,source"


@pytest.fixture(scope="module")
def fit_datasheet():
    spec = importlib.util.spec_from_file_location("fit_datasheet", ROOT / "benchmarks" / "fit_datasheet.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_datasheet"] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fit_datasheet"]


def test_every_run_of_ours_can_be_priced_and_tells_where_it_is_from(fit_datasheet):
    with fit_datasheet.OWN_RUNS.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        assert ",".join(table.fieldnames) == COLUMNS
        rows = list(table)
    catalog = load_catalog()
    for fields in rows:
        price_row(parse_row(fields), catalog)
        assert fields["source"]
        assert fields["date"]


def test_the_fit_takes_our_runs(fit_datasheet, tmp_path):
    table = tmp_path / "runs.csv"
    run = "NVIDIA H100 PCIe,CUDA,meta-llama/Llama-2-7b-hf,Q4_0,pp512,9000,8900,9100,3,3.56,512,2026-11,our own"
    table.write_text(f"{COLUMNS}\n{run}\n", encoding="utf-8")
    (sample,) = fit_datasheet.samples_of(fit_datasheet.own_rows(table), load_catalog())
    assert sample.chip == "NVIDIA H100 PCIe"
    assert sample.priced.row.ubatch_tokens == 512
    assert 0.0 < sample.error_log < 0.01
