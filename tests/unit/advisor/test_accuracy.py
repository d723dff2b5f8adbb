"""Published rows: reading, pricing, scoring, and everything that is wrong with strangers' tables."""

import csv
import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from advisor.cli.accuracy import command
from advisor.datasheets.accuracy import Scorer, score_published, summarise_errors
from advisor.datasheets.published import RowError, artifact_of, parse_row, parse_year, price_row
from advisor.machine import Machine, MachineDevice
from advisor.types import Deployment, Interval, Workload
from catalog.load import load_catalog
from catalog.units import GIB
from catalog.weights import weigh

SOURCE = Path(__file__).resolve().parents[3] / "catalog" / "sources" / "published" / "llama_bench.csv.gz"
ROW = {
    "hardware": "NVIDIA GeForce RTX 4090",
    "backend": "CUDA",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "quant": "Q4_K_M",
    "test": "tg128",
    "tokens_per_s": "130",
    "date": "2026-01",
}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.mark.parametrize(
    ("text", "phase", "tokens", "depth"),
    [
        ("pp512", "prefill", 512, 0),
        ("tg128", "decode", 128, 0),
        ("tg32 @ d4096", "decode", 32, 4096),
        ("pp2048@d16384", "prefill", 2048, 16384),
    ],
)
def test_tests_are_read(text, phase, tokens, depth):
    row = parse_row(ROW | {"test": text})
    assert (row.phase, row.tokens, row.depth_tokens) == (phase, tokens, depth)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"test": "pp0"}, "test"),
        ({"test": "pp512+tg128"}, "test"),
        ({"test": "pp" + "9" * 40}, "test"),
        ({"tokens_per_s": "fast"}, "tokens_per_s"),
        ({"tokens_per_s": "nan"}, "tokens_per_s"),
        ({"tokens_per_s": "inf"}, "tokens_per_s"),
        ({"tokens_per_s": "-3"}, "tokens_per_s"),
        ({"tokens_per_s": "0"}, "tokens_per_s"),
        ({"file_size_gib": "big"}, "file_size_gib"),
        ({"backend": "abacus"}, "backend"),
        ({"hardware": " "}, "hardware is empty"),
        ({"quant": None}, "quant is empty"),
    ],
)
def test_a_row_that_makes_no_sense_says_why(change, reason):
    with pytest.raises(RowError, match=reason):
        parse_row(ROW | change)


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("2026-04-05", 2026 + (3 + 4.5 / 31) / 12),
        ("2024-05", 2024 + 4.5 / 12),
        ("2025-2026", 2026.0),
        ("2025-08/09", 2025 + 7.5 / 12),
        ("2023-11 onward", 2023 + 10.5 / 12),
        ("scraped 2026-04-05", 2025.5 + (3 + 4.5 / 31) / 12),
        ("2026", 2026.5),
        ("", None),
        ("yesterday", None),
    ],
)
def test_dates_as_printed(text, year):
    assert parse_year(text) == (None if year is None else pytest.approx(year))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hardware": "Voodoo 3"}, "Voodoo 3"),
        ({"model_id": "nobody/nothing-1b"}, "nobody/nothing-1b"),
        ({"quant": "Q9_9"}, "Q9_9"),
        ({"file_size_gib": "400"}, "times what"),
    ],
)
def test_a_row_the_catalog_cannot_price_says_why(catalog, change, reason):
    with pytest.raises(RowError, match=reason):
        price_row(parse_row(ROW | change), catalog)


def test_file_size_stretches_the_recipe(catalog):
    model = catalog.model("meta-llama/Llama-3.1-8B-Instruct")
    usual = artifact_of(model, "Q4_K_M", None)
    larger = artifact_of(model, "Q4_K_M", round(1.1 * usual.file_bytes))
    assert sum(group.weight_bytes for group in larger.groups) == pytest.approx(
        1.1 * sum(group.weight_bytes for group in usual.groups), rel=1e-3
    )
    custom = artifact_of(model, "Q4_K_M_L", round(1.05 * usual.file_bytes))
    assert custom.file_bytes == round(1.05 * usual.file_bytes)
    with pytest.raises(RowError, match="Q4_K_M_L"):
        artifact_of(model, "Q4_K_M_L", None)


def test_published_mxfp4_is_the_gguf_of_it(catalog):
    model = catalog.model("openai/gpt-oss-20b")
    assert artifact_of(model, "MXFP4", None).file_bytes / GIB == pytest.approx(11.27, abs=0.01)
    assert artifact_of(model, "BF16+MXFP4", None).file_bytes / GIB == pytest.approx(12.83, abs=0.03)


def test_long_prompts_of_new_builds_ran_in_long_micro_batches():
    assert parse_row(ROW | {"test": "pp4096"}).ubatch_tokens == 2048
    assert parse_row(ROW | {"test": "pp4096", "date": "2024-05"}).ubatch_tokens == 512
    assert parse_row(ROW | {"test": "pp512"}).ubatch_tokens == 512


def test_a_row_gets_the_estimators_answer(catalog):
    """The same question through ``estimate`` has the same answer."""
    from advisor.datasheets.datasheet import rates_for_chip
    from advisor.estimate import estimate

    chip = catalog.chip(ROW["hardware"])
    device = MachineDevice(
        device_id="cuda:0",
        backend="cuda",
        name="x",
        memory_available_bytes=24 * GIB,
        rates=rates_for_chip(chip, "cuda"),
    )
    model = catalog.model(ROW["model_id"])
    deployment = Deployment(model_id=model.model_id, quant_id="Q4_K_M", layers_by_device={"cuda:0": 32}, backend="cuda")
    workload = Workload(prompt_tokens=512, output_tokens=128, context_tokens=1024)
    made = estimate(
        model, weigh(model, "Q4_K_M"), Machine(name="x", profile_id="x", devices=(device,)), workload, deployment
    )
    scorer = Scorer(catalog)
    decode = scorer.score(ROW | {"test": "tg128@d512", "date": ""}).predicted
    prefill = scorer.score(ROW | {"test": "pp512", "date": ""}).predicted
    assert decode.mid == pytest.approx(made.decode_tokens_per_s.mid)
    assert prefill.mid == pytest.approx(made.prefill_tokens_per_s.mid)


def test_speed_falls_with_depth_and_rises_with_newer_builds(catalog):
    scorer = Scorer(catalog)
    speeds = [scorer.score(ROW | {"test": f"tg128@d{depth}"}).predicted.mid for depth in (0, 4096, 32768)]
    assert speeds == sorted(speeds, reverse=True)
    assert scorer.score(ROW | {"date": "2024-01"}).predicted.mid < scorer.score(ROW).predicted.mid


def test_summary_lines():
    pairs = [
        (Interval(low=0.9, mid=1.0, high=1.1), 1.0),
        (Interval(low=1.0, mid=1.2, high=1.3), 1.0),
        (Interval(low=1.1, mid=1.5, high=2.0), 1.0),
    ]
    line = summarise_errors("g", "decode", pairs)
    assert (line.n, line.median_ape, line.p90_ape, line.bias) == (
        3,
        pytest.approx(0.2),
        pytest.approx(0.5),
        pytest.approx(0.2),
    )
    assert line.coverage == pytest.approx(2 / 3)


def test_packaged_rows_stay_predicted_and_beat_simple_formulas(catalog):
    """Guards the packaged coefficients: in-sample figures, far from the leave-one-out ones in the docs."""
    with gzip.open(SOURCE, "rt", encoding="utf-8", newline="") as file:
        accuracy = score_published(csv.DictReader(file), catalog)
    assert not accuracy.skipped
    lines = {(line.group, line.phase): line for line in accuracy.summary}
    assert lines["all", "decode"].median_ape < 0.03
    assert lines["all", "decode"].p90_ape < 0.10
    assert lines["all", "prefill"].median_ape < 0.06
    assert lines["all", "prefill"].p90_ape < 0.35
    assert lines["rival: bandwidth/size x 0.55", "decode"].median_ape > 5 * lines["all", "decode"].median_ape
    assert (
        sum(lines[group, "decode"].n for group, phase in lines if group.startswith("backend") and phase == "decode")
        == 283
    )


def run(arguments, data=None):
    return CliRunner().invoke(command, arguments, input=data)


def table(rows):
    header = list(ROW)
    return (
        "\n".join([",".join(header), *(",".join(str(row.get(name) or "") for name in header) for row in rows)]) + "\n"
    )


def test_command_prints_one_document():
    result = run(["--published", "-", "--json"], table([ROW, ROW | {"hardware": "Voodoo 3"}]))
    document = json.loads(result.stdout)
    assert (document["kind"], document["schema_version"]) == ("accuracy", 1)
    assert set(document["rows"][0]) >= {
        "hardware",
        "backend",
        "model_id",
        "quant",
        "test",
        "measured",
        "predicted",
        "error_frac",
    }
    assert set(document["rows"][0]["predicted"]) == {"low", "mid", "high"}
    assert document["skipped"][0]["row"]["hardware"] == "Voodoo 3"
    assert {"group", "phase", "n", "median_ape", "p90_ape", "coverage", "bias"} <= set(document["summary"][0])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path, encoding):
    file = tmp_path / "rows.csv"
    file.write_bytes(table([ROW, ROW | {"hardware": "Grafikkärtchen"}]).encode(encoding))
    document = json.loads(run(["--published", str(file), "--json"]).stdout)
    assert (len(document["rows"]), len(document["skipped"])) == (1, 1)


def test_gzip_is_read(tmp_path):
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress(table([ROW]).encode()))
    assert len(json.loads(run(["--published", str(file), "--json"]).stdout)["rows"]) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column hardware"),
        (b"hardware,test\nx,y\n", "no column backend, model_id, quant, tokens_per_s"),
        (b"\x7fELF\0\0\0\0", "binary data"),
        (b"\x1f\x8b" + b"\0" * 40, "cannot be unpacked"),
        (b'hardware,backend,model_id,quant,test,tokens_per_s\n"' + b"x" * 200_000, "not CSV"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, content, words):
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    error = run(["--published", str(file)]).exception
    assert words in str(error)
    assert "\n" not in str(error)


def test_a_missing_file_is_one_line(tmp_path):
    assert "cannot be read" in str(run(["--published", str(tmp_path / "none.csv")]).exception)


def test_rows_of_odd_width_are_kept_or_set_aside(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(table([ROW]) + "only,two\n" + ",".join([*ROW.values(), "more", "more"]) + "\n", encoding="utf-8")
    document = json.loads(run(["--published", str(file), "--json"]).stdout)
    assert (len(document["rows"]), len(document["skipped"])) == (2, 1)


@pytest.mark.parametrize("arguments", [[], ["--published", "x", "--local"], ["--published", "x", "--shapes", "y"]])
def test_contradictory_options_are_usage_errors(arguments):
    assert run(arguments).exit_code == 2
