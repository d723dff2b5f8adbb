"""From raw records to packaged ones: kinds, copies, derivations, shapes, names."""

import pytest

from catalog.facts.chip_names import bare_name, chip_aliases
from catalog.facts.geometry import geometry_fields, geometry_note, mend_geometry
from catalog.facts.kinds import SPECIAL_KINDS, detect_capabilities, tasks_for, thinks, tidy
from catalog.facts.lineage import (
    find_duplicates,
    find_parent,
    find_released,
    is_conversion,
    name_key,
    precision_base_key,
)
from catalog.facts.model_names import display_names, name_tiers
from catalog.load import TASKS, load_catalog

CATALOG = load_catalog()


def _raw(hf_id, **fields):
    flags = {"instruct": True, "base": False} | fields.pop("flags", {})
    return {"hf_id": hf_id, "capabilities": flags, "modalities": ["text"], "org": hf_id.split("/")[0]} | fields


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x/Qwen3-Reranker-4B", "reranker"),
        ("x/mxbai-rerank-base-v2", "reranker"),
        ("x/Llama-Guard-4-12B", "guard"),
        ("x/shieldgemma-2b", "guard"),
        ("x/gpt-oss-safeguard-20b", "guard"),
        ("x/Skywork-Reward-V2", "reward"),
        ("x/HarmBench-Llama-2-13b-cls", "classifier"),
        ("x/olmOCR-7B", "ocr"),
        ("x/MinerU2.5-1.2B", "ocr"),
        ("x/translategemma-4b-it", "translation"),
        ("x/LLaDA2.0-mini", "diffusion"),
        ("x/Qwen2.5-7B-Base", "base"),
        ("x/bge-m3", "embedding"),
        ("x/GTE-ModernColBERT-v1", "late_interaction"),
        ("x/Qwen3-TTS-1.7B", "speech"),
    ],
)
def test_a_name_tells_a_models_kind_and_keeps_it_from_open_tasks(name, kind):
    held = detect_capabilities(_raw(name))
    assert kind in held
    assert not tasks_for(held) - {"embedding"}


@pytest.mark.parametrize("name", ["x/WizardLM-13B", "x/baseball-7b-chat", "x/Reflection-70B", "x/Tencent-7B-Instruct"])
def test_a_kind_must_be_a_word_of_the_name(name):
    assert not detect_capabilities(_raw(name)) & SPECIAL_KINDS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen3-8b", True),
        ("qwen3.6-27b", True),
        ("qwen3-30b-a3b-thinking-2507", True),
        ("qwen3-30b-a3b-instruct-2507", False),
        ("qwen3-coder-next", False),
        ("gpt-oss-20b", True),
        ("gemma-4-e4b-it", True),
        ("translategemma-4b-it", False),
        ("llama-3.1-8b-instruct", False),
        ("phi-4-mini-reasoning", True),
    ],
)
def test_thinking(name, expected):
    assert thinks(name) is expected


def test_contradictions_are_tidied():
    assert tidy({"embedding", "base", "instruct"}) == {"embedding"}
    assert tidy({"base", "instruct", "tool_use", "coding"}) == {"base", "coding"}
    assert tidy({"math", "instruct"}) == {"math", "instruct", "specialist"}
    assert tasks_for({"math", "instruct", "specialist"}) == {"reasoning"}
    assert tasks_for({"instruct", "vision", "tool_use"}) >= {"vision", "agentic", "chat"}


@pytest.mark.parametrize("task", TASKS)
def test_no_special_kind_is_in_a_task_list_of_another(task):
    for model in CATALOG.models.values():
        if task in model.tasks:
            special = SPECIAL_KINDS & model.capabilities
            allowed = {"embedding"} if task == "embedding" else {"specialist"}
            assert special <= allowed, model.model_id
            assert ("vision" in model.capabilities) or task != "vision"


@pytest.mark.parametrize(
    "model_id",
    [
        "meta-llama/Llama-2-7b-hf",
        "mistralai/Mistral-7B-v0.1",
        "google/gemma-2-9b",
        "google/shieldgemma-9b",
        "BAAI/bge-m3",
        "mixedbread-ai/mxbai-rerank-large-v2",
        "NousResearch/Meta-Llama-3.1-8B-Instruct",
        "Qwen/Qwen-AgentWorld-35B-A3B",
        "opendatalab/MinerU2.5-2509-1.2B",
        "inclusionAI/LLaDA2.0-mini",
        "allenai/Olmo-3-1025-7B",
    ],
)
def test_known_misfits_are_in_no_open_list(model_id):
    assert not CATALOG.models[model_id].tasks - {"embedding"}


def test_names_of_copies_and_precision_variants_share_a_key():
    assert name_key("NousResearch/Meta-Llama-3-8B-Instruct-hf") == name_key("x/Llama-3-8B-Instruct")
    assert precision_base_key("Qwen/Qwen3.5-35B-A3B-FP8") == name_key("Qwen/Qwen3.5-35B-A3B")
    assert precision_base_key("n/Model-8B-W4A16-AutoRound") == name_key("n/Model-8B")
    assert is_conversion("Qwen/Qwen3-8B-AWQ")
    assert not is_conversion("Qwen/Qwen3-8B")
    assert not is_conversion("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")


def test_the_original_is_never_a_mirrors_copy():
    mirrored = {"hf_id": "NousResearch/Llama-9-8B", "org": "NousResearch", "official": True, "params_total": 8e9}
    records = [
        mirrored | {"hf_downloads": 9},
        mirrored | {"hf_id": "meta-llama/Llama-9-8B", "org": "meta-llama", "params_total": 8.1e9},
        mirrored | {"hf_id": "other/Llama-9-8B", "org": "other", "params_total": 70e9},
    ]
    assert find_duplicates(records, {}) == {"NousResearch/Llama-9-8B": "meta-llama/Llama-9-8B"}


def test_a_variant_that_only_stores_the_weights_otherwise_is_a_copy():
    def raw(hf_id):
        return {"hf_id": hf_id, "org": hf_id.partition("/")[0], "official": True, "params_total": 4e9}

    named = ("o/Embedding-4B", "o/Embedding-4B-INT8", "b/ERNIE-5-4B-PT", "b/ERNIE-5-4B-Paddle", "g/gemma-4b-pt")
    found = find_duplicates([raw(name) for name in named], {})
    assert found == {"o/Embedding-4B-INT8": "o/Embedding-4B", "b/ERNIE-5-4B-Paddle": "b/ERNIE-5-4B-PT"}


def test_a_storage_format_is_no_part_of_a_name():
    def named(model_id, **fields):
        return {"model_id": model_id, "display_name": model_id.partition("/")[2]} | fields

    records = [
        named("n/Nemotron-30B-BF16"),
        named("m/Llama-7b-chat-hf"),
        named("b/ERNIE-5-PT"),
        named("g/gemma-4b-pt"),  # pretrained
        named("x/Chat-hf"),
        named("x/Chat"),
        named("p/M2-bf16", duplicate_of="m/M2"),
    ]
    changed = {"n/Nemotron-30B-BF16": "Nemotron-30B", "m/Llama-7b-chat-hf": "Llama-7b-chat", "b/ERNIE-5-PT": "ERNIE-5"}
    found = display_names(records)
    assert {model_id: found.get(model_id) for model_id in changed} == changed
    assert found["g/gemma-4b-pt"] == "gemma-4b-pt"
    assert not found.keys() & {"x/Chat-hf", "x/Chat", "p/M2-bf16"}


def test_no_two_models_of_the_catalog_look_alike_and_none_names_its_format():
    originals = [model for model in CATALOG.models.values() if model.duplicate_of is None]
    names = [model.display_name.casefold() for model in originals]
    assert len(names) == len(set(names))
    stated = [name for name in names if name.endswith(("-bf16", "-fp16", "-fp8", "-hf"))]
    assert all(name.rpartition("-")[0] in names for name in stated)
    assert CATALOG.model("NVIDIA-Nemotron-3.5-Lightning-30B-A3B-BF16").display_name.endswith("-30B-A3B")


@pytest.mark.parametrize(
    ("trial", "release"),
    [
        ("DeepSeek-V4-Flash-Vision-Exp", "deepseek-ai/DeepSeek-V4-Flash-0731"),
        ("QwQ-32B-Preview", "Qwen/QwQ-32B"),
        ("LFM2-2.6B-Exp", "LiquidAI/LFM2-2.6B"),
        ("Trinity-Nano-Preview", None),  # nothing else of its size
        ("Kimi-Dev-72B", None),  # for developers, and released
    ],
)
def test_a_trial_knows_the_release_beside_it(trial, release):
    model = CATALOG.model(trial)
    assert model.released_as == release
    assert model.released_tasks <= model.tasks
    assert bool(model.released_tasks) == (release is not None)


def test_a_release_is_of_the_same_maker_architecture_and_size():
    trial = {
        "model_id": "o/New-8B-Exp",
        "org": "o",
        "architecture": "new",
        "official": True,
        "params_total_count": 8_000,
        "tasks": ["chat"],
    }
    release = trial | {"model_id": "o/New-8B"}
    assert find_released(trial, [trial, release]) == release
    assert find_released(release, [trial, release]) is None
    for change in ({"org": "p"}, {"architecture": "old"}, {"params_total_count": 11_000}, {"official": False}):
        assert find_released(trial, [release | change]) is None
    assert find_released(trial | {"architecture": None}, [release | {"architecture": None}]) is None


def test_a_parent_is_named_by_the_card_or_held_whole_in_the_name():
    originals = [
        {"hf_id": "Qwen/Qwen3.8-27B", "params_total": 27e9},
        {"hf_id": "Qwen/Qwen3-8B", "params_total": 8e9},
        {"hf_id": "Qwen/Qwen3-8", "params_total": 8e9},
    ]
    tuned = {"hf_id": "h/Huihui-Qwen3.8-27B-abliterated", "official": False, "params_total": 27e9}
    assert find_parent(tuned, originals) == "Qwen/Qwen3.8-27B"
    assert find_parent(tuned | {"params_total": 9e9}, originals) is None
    assert find_parent({"hf_id": "h/Qwen3-8B-x", "official": False, "params_total": 8e9}, originals) == "Qwen/Qwen3-8B"
    named = {"hf_id": "a/New", "official": True, "params_total": 1, "base_model": ["Qwen/Qwen3-8B"]}
    assert find_parent(named, originals) == "Qwen/Qwen3-8B"


_SHAPE = {
    "hf_id": "a/b",
    "geometry_complete": True,
    "geometry_status": "exact",
    "n_layers": 4,
    "hidden_size": 8,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 4,
    "intermediate_size": 16,
    "vocab_size": 32,
    "tie_embeddings": False,
    "layer_mix": {"attn": 4},
    "ffn_mix": {"dense": 4},
    "kv_elems_per_token_full": 32.0,
    "kv_elems_per_token_swa": 0,
    "recurrent_state_elems": 0,
    "gguf_arch": "llama",
    "params_total": 1000,
}


def test_a_single_kind_of_layer_is_spelled_out_and_a_mix_needs_its_order():
    fields = geometry_fields(_SHAPE)
    assert (fields["mixers"], fields["ffns"], fields["ffn_dim"]) == ("AAAA", "dddd", 16)
    mixed = _SHAPE | {"layer_mix": {"attn": 1, "swa": 3}}
    with pytest.raises(ValueError, match="layer_pattern"):
        geometry_fields(mixed)
    assert geometry_fields(mixed | {"layer_pattern": "SSSA"})["mixers"] == "SSSA"
    with pytest.raises(ValueError, match="3 letters for 4 layers"):
        geometry_fields(mixed | {"layer_pattern": "SSA"})


def test_layers_of_different_width_keep_every_width():
    fields = geometry_fields(_SHAPE | {"intermediate_size": [16, 16, 8, 8]})
    assert (fields["ffn_dims"], fields["ffn_dim"]) == ([16, 16, 8, 8], 16)


def test_a_shape_that_lost_its_experts_is_replaced_by_a_twins_or_dropped():
    whole = _SHAPE | {"hf_id": "a/whole", "params_total": 5000, "params_stored": 5000}
    lost = _SHAPE | {"hf_id": "a/lost", "params_stored": 5000, "hidden_size": 4}
    orphan = _SHAPE | {"hf_id": "a/orphan", "params_stored": 7000}
    mended = {record["hf_id"]: record for record in mend_geometry([whole, lost, orphan])}
    assert mended["a/lost"]["hidden_size"] == 8
    assert mended["a/lost"]["params_total"] == 5000
    assert not mended["a/orphan"]["geometry_complete"]
    assert "experts" in geometry_note(mended["a/orphan"])
    assert geometry_fields(mended["a/orphan"]) is None


def test_every_model_without_a_shape_says_why():
    for model in CATALOG.models.values():
        assert model.geometry is not None or model.geometry_note


def test_alias_words_fall_away_one_by_one():
    aliases = chip_aliases("NVIDIA GeForce RTX 5070 Laptop")
    assert {"RTX 5070 Laptop", "GeForce RTX 5070 Laptop GPU", "5070 Mobile"} <= aliases
    assert "5070" not in aliases
    assert chip_aliases("NVIDIA RTX A1000") == {"RTX A1000", "A1000"}
    assert {"M4 Max", "m4 max 40".title(), "Apple M4 Max 40-core GPU"} <= chip_aliases("Apple M4 Max (40-core GPU)")
    assert bare_name("NVIDIA Tesla M40 24GB") == "NVIDIA Tesla M40"
    assert bare_name("Apple M4 Max (40-core GPU)") == "Apple M4 Max"


def test_a_name_shared_by_originals_goes_to_the_official_one_or_stays_ambiguous():
    one = {"model_id": "a/Same", "display_name": "Same", "official": True}
    two = {"model_id": "b/Same", "display_name": "Same"}
    copy = {"model_id": "c/Copy", "display_name": "Copy", "duplicate_of": "a/Same"}
    assert name_tiers([one, two, copy])[1] == {"same": [0], "copy": [0]}
    assert name_tiers([one | {"official": False}, two])[1]["same"] == [0, 1]


def test_a_record_of_some_fields_gets_the_rest_of_its_shape_only_where_its_count_proves_it():
    qwen3 = {
        "hf_id": "lab/embedder",
        "org": "lab",
        "gguf_arch": "qwen3",
        "params_stored": 596_049_920,
        "params_total": 600_000_000,
        "geometry_complete": False,
        "geometry_status": "fields_only",
        "n_layers": 28,
        "hidden_size": 1024,
        "n_heads": 16,
        "n_kv_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "intermediate_size": 3072,
        "context_length": 40960,
    }
    [plain] = mend_geometry([qwen3])
    assert plain["geometry_complete"]
    assert (plain["params_total"], plain["tie_embeddings"], plain["geometry_status"]) == (596_049_920, True, "exact")
    for change in ({"params_stored": 596_049_921}, {"n_layers": None}, {"n_experts": 8}, {"gguf_arch": "falcon"}):
        [record] = mend_geometry([{**qwen3, **change}])
        assert not record["geometry_complete"], change

    donor = {**plain, "hf_id": "lab/whole", "ffn_mix": {"dense": 28}}
    fields = {key: qwen3[key] for key in ("org", "gguf_arch", "params_stored", "params_total", "n_layers")}
    partial = {"hf_id": "lab/partial", "geometry_complete": False, "geometry_status": "none", **fields}
    _, adopted = mend_geometry([donor, partial])
    assert adopted["geometry_status"] == "identical parameter count to lab/whole"
    assert (adopted["params_total"], adopted["hidden_size"]) == (596_049_920, 1024)
    _, stranger = mend_geometry([donor, {**partial, "n_layers": 29}])
    assert not stranger["geometry_complete"]


def test_a_bert_may_store_a_pooling_layer_beyond_its_shape():
    bert = {
        "hf_id": "lab/bge",
        "org": "lab",
        "gguf_arch": "bert",
        "params_stored": 335_142_400,
        "params_total": 335_000_000,
        "geometry_complete": False,
        "geometry_status": "fields_only",
        "n_layers": 24,
        "hidden_size": 1024,
        "n_heads": 16,
        "n_kv_heads": 16,
        "head_dim": 64,
        "vocab_size": 30522,
        "intermediate_size": 4096,
        "context_length": 512,
    }
    [record] = mend_geometry([bert])
    assert record["geometry_complete"]
    assert "0.34% of its stored count" in geometry_note(record)
