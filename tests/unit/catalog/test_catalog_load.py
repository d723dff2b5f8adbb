"""The packaged catalog: names to things, scores, overlays, and what damage does."""

import json
import subprocess
import sys

import pytest

from catalog.errors import CatalogError, UnknownNameError
from catalog.load import TASKS, load_catalog
from catalog.overlay import MODELS_FILE, overlay_dir, read_overlay, write_overlay
from catalog.records import model_from_record, record_from_model


@pytest.fixture
def catalog(tmp_path):
    return load_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "model_id"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("qwen3-8b", "Qwen/Qwen3-8B"),
        ("QWEN3 8B", "Qwen/Qwen3-8B"),
        ("gpt-oss-20b", "openai/gpt-oss-20b"),
        ("bartowski/Qwen2.5-7B-Instruct-GGUF", "Qwen/Qwen2.5-7B-Instruct"),
        ("Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("NousResearch/Meta-Llama-3.1-8B-Instruct", "NousResearch/Meta-Llama-3.1-8B-Instruct"),
        ("gemma-2-2b-it", "google/gemma-2-2b-it"),
    ],
)
def test_a_model_is_found_by_any_exact_name(catalog, text, model_id):
    assert catalog.model(text).model_id == model_id


@pytest.mark.parametrize("text", ["qwen3", "8b", "llama", "Qwen3-8", "", "/", "x" * 10_000, "qwen3-8b-nonsense"])
def test_a_part_of_a_name_is_no_name(catalog, text):
    with pytest.raises(UnknownNameError) as caught:
        catalog.model(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_typo_is_answered_with_the_nearest_names(catalog):
    with pytest.raises(UnknownNameError) as caught:
        catalog.model("qwn3-8b")
    assert caught.value.nearest[0] == "Qwen/Qwen3-8B"
    assert "Qwen/Qwen3-8B" in str(caught.value)


def test_quantisations_are_found_in_any_case_and_alone(catalog):
    assert catalog.quant("q4_k_m").quant_id == "Q4_K_M"
    assert catalog.quant("mlx-4bit").file_format == "mlx"
    with pytest.raises(UnknownNameError, match="Q4_K_M"):
        catalog.quant("q4_k_n")


def test_every_record_decodes_and_survives_the_way_back(catalog):
    for model in catalog.models.values():
        record = json.loads(json.dumps(record_from_model(model)))
        assert model_from_record(record) == model
    assert all(chip.citation for chip in catalog.chips.values())
    assert all(quant.bits_per_weight > 0 for quant in catalog.quants.values())


def test_copies_point_at_originals_that_exist(catalog):
    copies = [model for model in catalog.models.values() if model.duplicate_of]
    assert len(copies) > 30
    for model in copies:
        original = catalog.models[model.duplicate_of]
        assert original.duplicate_of is None
        assert model.tasks == frozenset()
        assert not model.official


def test_a_score_exists_exactly_for_the_tasks_a_model_serves(catalog):
    for model in catalog.models.values():
        for task in TASKS:
            score = catalog.quality(model.model_id, task)
            if task in model.tasks:
                assert 0 < score.low <= score.mid <= score.high < 100
                assert score.evidence
            else:
                assert score.high == 0


def test_loading_imports_no_heavy_package():
    script = (
        "import sys; from catalog.load import load_catalog; c = load_catalog(); c.model('qwen3-8b');"
        "c.quality('Qwen/Qwen3-8B', 'chat');"
        "print([m for m in ('numpy', 'pandas', 'pydantic', 'torch', 'rich', 'huggingface_hub') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"


def test_an_overlay_model_joins_takes_precedence_and_is_scored(catalog, tmp_path):
    base = catalog.model("qwen3-8b")
    mine = record_from_model(base) | {"model_id": "me/Mine-8B", "display_name": "Mine-8B"}
    write_overlay(tmp_path / "o", [mine, record_from_model(base) | {"license_id": "changed"}])
    merged = load_catalog(tmp_path / "o")
    assert merged.model("mine-8b").model_id == "me/Mine-8B"
    assert merged.model("qwen3-8b").license_id == "changed"
    assert merged.overlay_ids == {"me/Mine-8B", "Qwen/Qwen3-8B"}
    score = merged.quality("me/Mine-8B", "chat")
    known = merged.quality("Qwen/Qwen3-8B", "chat")
    assert score.imputed
    assert score.low < known.low
    assert merged.quality("me/Mine-8B", "embedding").high == 0


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"no_id": 1}', "\x00\x01", '{"model_id": 1}\n{'])
def test_a_damaged_overlay_is_one_line_that_names_the_file(tmp_path, text):
    (tmp_path / MODELS_FILE).write_text(text)
    with pytest.raises(CatalogError) as caught:
        load_catalog(tmp_path)
    assert MODELS_FILE in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_of_the_wrong_shape_is_named_when_it_is_looked_at(tmp_path):
    (tmp_path / MODELS_FILE).write_text('{"model_id": "me/Odd", "unheard_of": 1}\n')
    catalog = load_catalog(tmp_path)
    with pytest.raises(CatalogError, match="me/Odd"):
        _ = catalog.models["me/Odd"]


def test_an_overlay_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, catalog):
    record = record_from_model(catalog.model("qwen3-8b"))
    write_overlay(tmp_path, [record])
    before = (tmp_path / MODELS_FILE).read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", _refuse)
    with pytest.raises(CatalogError, match="cannot be written"):
        write_overlay(tmp_path, [record | {"license_id": "x"}])
    assert (tmp_path / MODELS_FILE).read_bytes() == before


def _refuse(self, target):
    raise PermissionError(13, "denied")


def test_the_overlay_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    assert overlay_dir() == tmp_path / "catalog"
    monkeypatch.delenv("ADVISOR_HOME")
    assert "model-fit-advisor" in str(overlay_dir())
    assert read_overlay(tmp_path / "none") == {}


@pytest.mark.parametrize(("look_up", "said"), [("model", "advisor catalog list"), ("chip", "e.g. rtx 4090")])
def test_a_name_like_no_other_says_where_to_look(catalog, look_up, said):
    with pytest.raises(UnknownNameError, match=said):
        getattr(catalog, look_up)("💥")
