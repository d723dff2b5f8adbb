"""Searching and sorting the shelf; adding single files to it."""

import json

import pytest

from catalog.errors import CatalogError
from catalog.joining import add_file, classified
from catalog.load import load_catalog
from catalog.search import SORT_KEYS, Query, search, sort_models

CATALOG = load_catalog()
CONFIG = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
}


def test_every_filter_narrows_to_what_it_says():
    cases = {
        "task": ("coding", lambda model: "coding" in model.tasks),
        "family": ("qwen3.5", lambda model: model.family == "Qwen3.5"),
        "owner": ("MISTRALAI", lambda model: model.org == "mistralai"),
        "license_id": ("apache-2.0", lambda model: model.license_id == "apache-2.0"),
        "modality": ("image", lambda model: "image" in model.modalities),
        "capability": ("reasoning", lambda model: "reasoning" in model.capabilities),
        "file_format": ("mlx", lambda model: "mlx" in model.repos),
        "params_min_count": (30e9, lambda model: model.params_total_count >= 30e9),
        "params_max_count": (1e9, lambda model: model.params_total_count <= 1e9),
        "context_min_tokens": (200_000, lambda model: model.max_context_tokens >= 200_000),
        "since": ("2026-08", lambda model: model.release_date >= "2026-08"),
        "words": (("coder", "7b"), lambda model: "coder" in model.model_id.lower() and "7b" in model.model_id.lower()),
    }
    for name, (value, holds) in cases.items():
        found = search(CATALOG, Query(**{name: value}))
        assert found, name
        assert all(holds(model) for model in found), name


def test_base_models_and_copies_are_found_only_on_request():
    usual = search(CATALOG, Query(words=("llama-3.1-8b",)))
    everything = search(CATALOG, Query(words=("llama-3.1-8b",), everything=True))
    assert all(model.tasks for model in usual)
    assert len(everything) > len(usual)


@pytest.mark.parametrize("key", SORT_KEYS)
def test_sorting(key):
    models = sort_models(CATALOG, search(CATALOG, Query(task="chat")), key, "chat")
    first, last = models[0], models[-1]
    if key == "quality":
        assert CATALOG.quality(first.model_id, "chat").low > CATALOG.quality(last.model_id, "chat").low
    if key == "date":
        assert first.release_date > "2026-08"
    if key == "size":
        assert first.params_total_count < last.params_total_count
    if key == "downloads":
        assert first.downloads_count > (last.downloads_count or 0)
    if key == "name":
        assert first.model_id.casefold() < last.model_id.casefold()


def test_a_config_is_added_under_its_folders_name(tmp_path):
    folder = tmp_path / "My-Model-4L-Instruct"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for path in (folder, folder / "config.json"):
        model = add_file(path)
        assert model.model_id == "local/My-Model-4L-Instruct"
        assert model.geometry.layers_count == 4
        assert "chat" in model.tasks


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.json", "[]"), ("config.json", "{"), ("model.gguf", "GGUF"), ("notes.txt", "x"), ("missing.json", None)],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(CatalogError) as caught:
        add_file(path)
    assert "\n" not in str(caught.value)


def test_classifying_a_model_by_name_and_knowledge():
    model = CATALOG.model("qwen3-8b")
    assert classified(model, instruct=True).tasks >= {"chat", "coding"}
    assert classified(model, instruct=False).tasks == frozenset()
    assert classified(model, instruct=True, extra={"vision"}).modalities == {"text", "image"}
    assert classified(model, instruct=None, extra={"embedding"}).tasks == {"embedding"}
