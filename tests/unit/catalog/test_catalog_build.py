"""The build repeats itself, and its sources are complete."""

import gzip
import json
import lzma
import re
from pathlib import Path

import numpy as np
import pytest

from catalog import build as building
from catalog.build import DATA_DIR, build
from catalog.facts.packing import pack_sources
from catalog.facts.sources import SOURCES_DIR, read_models, read_plain_table, read_table

PUBLISHED = ("llama_bench", "gguf_sizes", "memory_buffers", "offload", "batched_bench", "measured_matmul_tflops")
SCORE_TOLERANCE = 0.3  # points; the last digit depends on the machine's linear algebra


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    version = build(data_dir=directory)
    return directory, version


def test_the_same_sources_give_the_same_bytes(rebuilt):
    directory, _ = rebuilt
    packaged = {path.name for path in DATA_DIR.iterdir() if path.suffix in {".json", ".jsonl"}}
    assert packaged == {path.name for path in directory.iterdir()}
    for name in packaged - {"scores.json", "accuracy.json", "index.json"}:
        assert (directory / name).read_bytes() == (DATA_DIR / name).read_bytes(), name


def test_the_same_sources_give_the_same_scores(rebuilt):
    directory, _ = rebuilt
    ours = json.loads((directory / "scores.json").read_bytes())
    packaged = json.loads((DATA_DIR / "scores.json").read_bytes())
    assert ours["evidence"] == packaged["evidence"]
    assert ours["models"].keys() == packaged["models"].keys()
    for model_id, tasks in packaged["models"].items():
        for task, (*bounds, imputed, evidence) in tasks.items():
            *our_bounds, our_imputed, our_evidence = ours["models"][model_id][task]
            assert np.allclose(bounds, our_bounds, atol=SCORE_TOLERANCE), (model_id, task)
            assert (imputed, evidence) == (our_imputed, our_evidence)


def test_the_version_is_the_date_and_a_hash_of_the_content(rebuilt):
    directory, version = rebuilt
    assert version.startswith(building.FACTS_DATE + "+")
    assert json.loads((directory / "index.json").read_bytes())["version"] == version


def test_packaged_data_are_small_and_plain_json():
    sizes = [path.stat().st_size for path in DATA_DIR.iterdir()]
    assert sum(sizes) < 3_000_000
    for path in DATA_DIR.glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            json.loads(line)


def test_packing_is_repeatable_and_keeps_the_facts(tmp_path):
    raw = tmp_path / "raw"
    (raw / "published").mkdir(parents=True)
    (raw / "a.csv").write_text("x,y\n1,2\n")
    (raw / "published" / "b.csv").write_text("z\n3\n")
    (raw / "m.jsonl").write_text('{"k": 1}\n')
    (raw / "rules.json").write_text("{}")
    (raw / "README.md").write_text("not a fact")
    for target in ("one", "two"):
        written = pack_sources(raw, tmp_path / target)
        assert {path.relative_to(tmp_path / target).as_posix() for path in written} == {
            "a.csv.gz", "published/b.csv.gz", "m.jsonl.xz", "rules.json"
        }  # fmt: skip
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    assert gzip.decompress((tmp_path / "one" / "a.csv.gz").read_bytes()) == b"x,y\n1,2\n"
    assert lzma.decompress((tmp_path / "one" / "m.jsonl.xz").read_bytes()) == b'{"k": 1}\n'


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_measurements_lie_beside_the_facts(name):
    rows = list(read_table(f"published/{name}"))
    assert len(rows) > 10


def test_every_raw_record_names_its_source():
    assert all(record["source"] for record in read_models())
    assert all(row["source_ref"] for row in read_table("benchmarks"))
    assert all(row["source"] for row in read_table("chips"))
    assert all(row["source"] and row["date"] for row in read_table("quants"))
    assert all(row["reason"] for row in read_plain_table("corrections"))
    assert all(row["source"] for row in read_plain_table("chips_more"))


def test_corrections_are_of_models_that_exist_and_change_something():
    known = {record["hf_id"] for record in read_models()}
    for row in read_plain_table("corrections"):
        assert row["hf_id"] in known
        assert row["add"] or row["remove"] or row["tasks"] or row["duplicate_of"]
        assert not row["duplicate_of"] or row["duplicate_of"] in known


def test_the_builds_command_line_writes_where_it_is_told(tmp_path, monkeypatch, capsys):
    written = []
    monkeypatch.setattr(building, "build", lambda data_dir: written.append(data_dir) or "2026-10+test")
    assert building.main(["--data-dir", str(tmp_path)]) == 0
    assert written == [tmp_path]
    assert "2026-10+test" in capsys.readouterr().out


def test_the_sources_hold_no_path_of_a_machine():
    machine_path = re.compile(r"(?:^|[\s,\"'=])(?:/(?:home|root|Users|tmp|mnt|work)/|[A-Z]:\\)", re.MULTILINE)
    assert machine_path.search('a,"/home/somebody/model.gguf"')
    for path in Path(SOURCES_DIR).rglob("*.csv"):
        assert not machine_path.search(path.read_text(encoding="utf-8")), path.name


def test_the_readme_prints_the_builds_own_accuracy():
    readme = (DATA_DIR.parent / "README.md").read_text(encoding="utf-8")
    rows = json.loads((DATA_DIR / "accuracy.json").read_bytes())
    for known, unknown in zip(rows[::2], rows[1::2], strict=True):
        line = (
            f"| {known['task']} | {known['models_count']} | {known['spread']:.2f} | {known['error']:.2f} "
            f"| {known['coverage']:.0%} | {unknown['error']:.2f} | {unknown['coverage']:.0%} |"
        )
        assert line in readme
