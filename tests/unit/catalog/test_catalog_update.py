"""``catalog update`` against a loopback server: what it fetches, what interrupts it, what it leaves intact."""

import json

import pytest
from hub_server import FakeHub, serve

from catalog.errors import CatalogError
from catalog.hub import Hub, HubError
from catalog.load import load_catalog
from catalog.overlay import MODELS_FILE
from catalog.update import JOURNAL_FILE, update

pytest.importorskip("huggingface_hub")

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
}
TEMPLATE = b"{% if tools %}tools{% endif %}<think>"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(FakeHub()) as running:
        yield running


def _with_models(hub):
    config = json.dumps(LLAMA).encode()
    hub.add(
        "newlab/Comet-1B-Instruct",
        files={"config.json": config, "chat_template.jinja": TEMPLATE},
        tags=["text-generation", "conversational"],
        cardData={"license": "apache-2.0", "base_model": "Qwen/Qwen3-0.6B", "language": ["en"]},
        safetensors={"parameters": {"BF16": 1235814400}, "total": 1235814400},
    )
    hub.add("newlab/Comet-1B", files={"config.json": config}, tags=["text-generation"])
    hub.add("someone/Comet-1B-Instruct-GGUF", tags=["gguf", "base_model:quantized:newlab/Comet-1B-Instruct"])
    hub.add("newlab/Comet-Opaque", files={}, safetensors={"parameters": {"BF16": 7}, "total": 7_000_000_000})
    return hub


def test_new_models_join_the_overlay_with_shape_tasks_and_files(hub, tmp_path):
    result = update(load_catalog(), Hub(_with_models(hub).url), tmp_path, owners=("newlab",))
    assert set(result.added) == {"newlab/Comet-1B-Instruct", "newlab/Comet-1B", "newlab/Comet-Opaque"}
    catalog = load_catalog(tmp_path)
    model = catalog.model("comet-1b-instruct")
    assert model.params_total_count == 1_235_814_400
    assert model.geometry.layers_count == 16
    assert model.capabilities >= {"instruct", "tool_use", "reasoning"}
    assert {"coding", "chat", "agentic"} <= model.tasks
    assert model.repos["gguf"] == ("someone/Comet-1B-Instruct-GGUF",)
    assert (model.license_id, model.derived_from, model.languages) == ("apache-2.0", "Qwen/Qwen3-0.6B", ("en",))
    assert catalog.models["newlab/Comet-1B"].tasks == frozenset()
    assert catalog.models["newlab/Comet-Opaque"].geometry is None
    assert not (tmp_path / JOURNAL_FILE).exists()


def test_a_new_fine_tune_inherits_its_parents_score_lower_and_wider(hub, tmp_path):
    update(load_catalog(), Hub(_with_models(hub).url), tmp_path, owners=("newlab",))
    catalog = load_catalog(tmp_path)
    own = catalog.quality("newlab/Comet-1B-Instruct", "chat")
    parent = catalog.quality("Qwen/Qwen3-0.6B", "chat")
    assert own.imputed
    assert own.low < parent.low
    assert own.mid < parent.mid
    assert catalog.quality("newlab/Comet-1B", "chat").high == 0.0


def test_limit_takes_the_newest(hub, tmp_path):
    _with_models(hub)
    hub.add("newlab/Comet-2", createdAt="2026-12-01T00:00:00.000Z", safetensors={"parameters": {}, "total": 5})
    assert update(load_catalog(), Hub(hub.url), tmp_path, owners=("newlab",), limit=1).added == ("newlab/Comet-2",)


def test_without_owners_the_catalogs_makers_and_the_trending_models_are_asked_for(hub, tmp_path):
    hub.add("Qwen/Qwen9-1B", safetensors={"parameters": {}, "total": 1_000_000_000})
    hub.add("Qwen/Qwen3-8B", safetensors={"parameters": {}, "total": 8_000_000_000})
    hub.add("Qwen/Qwen9-1B-FP8", safetensors={"parameters": {}, "total": 1_000_000_000})
    hub.add("unheard/Of-3B", safetensors={"parameters": {}, "total": 3_000_000_000})
    assert set(update(load_catalog(), Hub(hub.url), tmp_path).added) == {"Qwen/Qwen9-1B", "unheard/Of-3B"}


def test_an_interrupted_update_goes_on_where_it_stopped(hub, tmp_path):
    _with_models(hub)
    hub.answer = lambda path: (400, b"down") if "newlab/Comet-1B/" in path else None
    with pytest.raises(HubError, match="catalog is unchanged"):
        update(load_catalog(), Hub(hub.url), tmp_path, owners=("newlab",))
    assert not (tmp_path / MODELS_FILE).exists()
    fetched = (tmp_path / JOURNAL_FILE).read_text().count("\n")
    assert fetched >= 1
    with (tmp_path / JOURNAL_FILE).open("a") as journal:
        journal.write('{"model_id": "torn')
    hub.answer = lambda path: None
    result = update(load_catalog(), Hub(hub.url), tmp_path, owners=("newlab",))
    assert result.resumed_count == fetched
    assert len(result.added) == 3


@pytest.mark.parametrize(
    "body",
    [b"<html>proxy</html>", b"[{]", b'[{"no": "id"}]', b'{"error": 1}', b"[1, 2]", b'[{"id": null}]', b"\xff\xfe"],
)
def test_a_malformed_listing_is_one_line_and_changes_nothing(hub, tmp_path, body):
    (tmp_path / MODELS_FILE).write_bytes(b"")
    hub.answer = lambda path: (200, body)
    with pytest.raises(CatalogError) as caught:
        update(load_catalog(), Hub(hub.url), tmp_path, owners=("newlab",))
    assert "\n" not in str(caught.value)
    assert hub.url in str(caught.value)
    assert (tmp_path / MODELS_FILE).read_bytes() == b""


@pytest.mark.parametrize("config", [b"not json", b"[]", b"{}", b'{"hidden_size": -1}', b"[" * 100_000])
def test_a_malformed_config_costs_that_model_its_shape_only(hub, tmp_path, config):
    _with_models(hub)
    hub.add("newlab/Odd", files={"config.json": config}, safetensors={"parameters": {}, "total": 2_000_000_000})
    result = update(load_catalog(), Hub(hub.url), tmp_path, owners=("newlab",))
    assert "newlab/Comet-1B" in result.added
    odd = [reason for repo_id, reason in result.skipped if repo_id == "newlab/Odd"]
    assert odd or load_catalog(tmp_path).models["newlab/Odd"].geometry is None


def test_a_gated_or_huge_config_leaves_the_stored_count(hub, tmp_path):
    hub.add("newlab/Gated", files={"config.json": b"{}"}, safetensors={"parameters": {}, "total": 3_000_000_000})
    hub.add(
        "newlab/Huge", files={"config.json": b" " * (3 << 20)}, safetensors={"parameters": {}, "total": 4_000_000_000}
    )
    hub.answer = lambda path: (403, b"gated") if "newlab/Gated/" in path else None
    update(load_catalog(), Hub(hub.url), tmp_path, owners=("newlab",))
    catalog = load_catalog(tmp_path)
    assert catalog.models["newlab/Gated"].params_total_count == 3_000_000_000
    assert catalog.models["newlab/Huge"].params_total_count == 4_000_000_000


def test_no_server_is_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serve(FakeHub()) as stopped:
        url = stopped.url
    with pytest.raises(HubError) as caught:
        update(load_catalog(), Hub(url), tmp_path, owners=("newlab",))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_offline_mode_is_respected(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        Hub("http://127.0.0.1:9")


def test_the_endpoint_and_the_token_come_from_the_environment(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    update(load_catalog(), Hub(), tmp_path, owners=("newlab",))
    assert "Bearer hf_test" in hub.tokens
