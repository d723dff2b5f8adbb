"""Models on this machine: the stores of five programs on three systems, and what their headers say."""

import hashlib
import json
import os
import struct
import sys
from pathlib import Path, PurePosixPath

import pytest
from gguf_files import describe, write_sparse

from catalog.load import load_catalog
from catalog.local import find_local_models, scan_local_models
from catalog.recipes import tensor_types
from catalog.runners import runs_with
from catalog.stores import Store, default_stores, models_in
from catalog.tensors import list_tensors
from catalog.types import FileFormat


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return load_catalog(tmp_path_factory.mktemp("overlay"))


def write_model(catalog, path, model_id="Qwen/Qwen3-0.6B", quant_id="Q4_K_M", file_type=15, **keys):
    """A whole model's file, its weights a hole, as a program's store would hold it."""
    model = catalog.model(model_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    types = tensor_types(model, list_tensors(model), quant_id)
    return write_sparse(path, *describe(model, types, **{"general.file_type": file_type} | keys))


STORES = {
    "linux": {
        "ollama": ".ollama/models",
        "lm-studio": ".lmstudio/models",
        "huggingface": ".cache/huggingface/hub",
        "llama.cpp": ".cache/llama.cpp",
        "gpt4all": ".local/share/nomic.ai/GPT4All",
    },
    "darwin": {
        "ollama": ".ollama/models",
        "lm-studio": ".lmstudio/models",
        "huggingface": ".cache/huggingface/hub",
        "llama.cpp": "Library/Caches/llama.cpp",
        "gpt4all": "Library/Application Support/nomic.ai/GPT4All",
    },
    "win32": {
        "ollama": ".ollama/models",
        "lm-studio": ".lmstudio/models",
        "huggingface": ".cache/huggingface/hub",
        "llama.cpp": "AppData/Local/llama.cpp",
        "gpt4all": "AppData/Local/nomic.ai/GPT4All",
    },
}


@pytest.mark.parametrize("platform", STORES)
def test_each_programs_folder_on_each_system(platform):
    home = Path("home")
    found = {(store.kind, store.folder) for store in default_stores({}, platform, home)}
    assert {(kind, home / PurePosixPath(place)) for kind, place in STORES[platform].items()} <= found


@pytest.mark.parametrize(
    ("variable", "kind", "folder"),
    [
        ("OLLAMA_MODELS", "ollama", "elsewhere"),
        ("HF_HUB_CACHE", "huggingface", "elsewhere"),
        ("HF_HOME", "huggingface", "elsewhere/hub"),
        ("LLAMA_CACHE", "llama.cpp", "elsewhere"),
        ("XDG_CACHE_HOME", "llama.cpp", "elsewhere/llama.cpp"),
        ("XDG_DATA_HOME", "gpt4all", "elsewhere/nomic.ai/GPT4All"),
    ],
)
def test_the_programs_own_variables_move_their_folders(variable, kind, folder):
    stores = default_stores({variable: "elsewhere"}, "linux", Path("home"))
    assert Path(folder) in [store.folder for store in stores if store.kind == kind]


@pytest.mark.parametrize(("platform", "separator"), [("linux", ":"), ("darwin", ":"), ("win32", ";")])
def test_folders_may_be_named_in_the_environment(platform, separator):
    stores = default_stores({"ADVISOR_MODELS_PATH": f"one{separator}{separator}two"}, platform, Path("home"))
    assert [store.folder for store in stores if store.kind == "folder"] == [Path("one"), Path("two")]


def add_to_ollama(catalog, folder, name=("registry.ollama.ai", "library", "qwen3", "0.6b"), **options):
    blob = write_model(catalog, folder / "blobs" / "unnamed", **options)
    digest = hashlib.sha256("/".join(name).encode()).hexdigest()
    stored = blob.rename(blob.with_name(f"sha256-{digest}"))
    manifest = folder.joinpath("manifests", *name)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return stored


def test_an_ollama_model_is_found_by_its_manifest(catalog, tmp_path):
    blob = add_to_ollama(catalog, tmp_path)
    (found,) = find_local_models(catalog, [tmp_path])
    assert (found.store, found.name, found.quant_id) == ("ollama", "qwen3:0.6b", "Q4_K_M")
    assert found.path == str(blob)
    assert found.model_id == "Qwen/Qwen3-0.6B"
    assert found.artifact.file_bytes == blob.stat().st_size


def test_ollama_names_a_namespace_that_is_not_its_own(catalog, tmp_path):
    add_to_ollama(catalog, tmp_path, ("registry.ollama.ai", "acme", "tuned", "latest"))
    add_to_ollama(catalog, tmp_path, ("hf.co", "unsloth", "Qwen3-0.6B-GGUF", "Q4_K_M"))
    names = {found.name for found in find_local_models(catalog, [tmp_path])}
    assert names == {"acme/tuned:latest", "hf.co/unsloth/Qwen3-0.6B-GGUF:Q4_K_M"}


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b'{"layers": 3}',
        b'{"layers": [7, {"mediaType": "application/vnd.ollama.image.model"}]}',
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../../etc/passwd"}]}',
    ],
)
def test_a_broken_ollama_manifest_is_passed_over(catalog, tmp_path, manifest):
    add_to_ollama(catalog, tmp_path)
    (tmp_path / "manifests" / "broken").write_bytes(manifest)
    assert len(find_local_models(catalog, [tmp_path])) == 1


@pytest.mark.parametrize(
    ("kind", "place", "name"),
    [
        ("lm-studio", "lmstudio-community/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q4_K_M.gguf", None),
        ("llama.cpp", "unsloth_Qwen3-0.6B-GGUF_Qwen3-0.6B-Q4_K_M.gguf", None),
        ("gpt4all", "Qwen3-0.6B-Q4_K_M.gguf", None),
        (
            "huggingface",
            "models--unsloth--Qwen3-0.6B-GGUF/snapshots/abc123/Qwen3-0.6B-Q4_K_M.gguf",
            "unsloth/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q4_K_M.gguf",
        ),
    ],
)
def test_a_file_in_a_store_is_found_and_matched(catalog, tmp_path, kind, place, name):
    write_model(catalog, tmp_path / place, **{"general.name": "Qwen3 0.6B"})
    (listed,) = models_in(Store(kind=kind, folder=tmp_path))
    assert (listed.kind, listed.name) == (kind, name or place)
    (found,) = find_local_models(catalog, [tmp_path])
    assert (found.model_id, found.quant_id) == ("Qwen/Qwen3-0.6B", "Q4_K_M")
    assert found.model is catalog.model("Qwen/Qwen3-0.6B")


def test_the_quantisation_is_the_headers_not_the_names(catalog, tmp_path):
    write_model(catalog, tmp_path / "Qwen3-0.6B-Q4_K_M.gguf", quant_id="Q8_0", file_type=7)
    (found,) = find_local_models(catalog, [tmp_path])
    assert found.quant_id == "Q8_0"
    assert {group.tensor_type for group in found.artifact.groups} == {"Q8_0", "F32"}


def test_a_name_without_the_shape_is_no_match(catalog, tmp_path):
    write_model(catalog, tmp_path / "Qwen3-8B-Q4_K_M.gguf", **{"general.name": "Qwen3 8B"})
    (found,) = find_local_models(catalog, [tmp_path])
    assert found.model_id is None
    assert found.model.geometry.hidden_dim == 1024


def test_a_model_of_no_known_name_is_runnable_all_the_same(catalog, tmp_path):
    write_model(catalog, tmp_path / "mystery.gguf", **{"general.name": "Mystery"})
    (found,) = find_local_models(catalog, [tmp_path])
    assert (found.name, found.model_id) == ("mystery.gguf", None)
    assert found.model.architecture == "qwen3"


def test_a_file_in_two_stores_is_listed_once(catalog, tmp_path):
    path = write_model(catalog, tmp_path / "a" / "model.gguf")
    (tmp_path / "b").mkdir()
    try:
        (tmp_path / "b" / "link.gguf").symlink_to(path)
    except OSError:
        pytest.skip("this system does not let us make links")
    assert len(find_local_models(catalog, [tmp_path / "a", tmp_path / "b"])) == 1


def test_a_split_model_is_listed_once(catalog, tmp_path):
    metadata, tensors = describe(catalog.model("Qwen/Qwen3-0.6B"))
    for index, part in enumerate((tensors[:100], tensors[100:])):
        keys = metadata if index == 0 else {"split.no": 1}
        write_sparse(tmp_path / f"Qwen3-0.6B-F16-{index + 1:05d}-of-00002.gguf", keys, part)
    (found,) = find_local_models(catalog, [tmp_path])
    assert found.model_id == "Qwen/Qwen3-0.6B"


def test_a_projector_is_no_model_of_its_own(catalog, tmp_path):
    write_sparse(tmp_path / "mmproj.gguf", {"general.architecture": "clip"}, [("v.patch_embd.weight", (32, 4), "F16")])
    assert find_local_models(catalog, [tmp_path]) == ()


def test_a_damaged_file_is_a_problem_and_does_not_hide_the_rest(catalog, tmp_path):
    write_model(catalog, tmp_path / "good.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + b"\xff" * 40)
    scan = scan_local_models(catalog, [tmp_path])
    assert [found.name for found in scan.models] == ["good.gguf"]
    assert len(scan.problems) == 1
    assert scan.problems[0].startswith("bad.gguf: ")


def test_a_folder_that_is_not_there_holds_nothing(catalog, tmp_path):
    assert find_local_models(catalog, [tmp_path / "none"]) == ()


def write_checkpoint(folder, catalog, model_id="Qwen/Qwen3-0.6B", **more):
    """A hub snapshot of safetensors: one small file, and the configuration of a whole model."""
    geometry = catalog.model(model_id).geometry
    folder.mkdir(parents=True)
    config = {
        "model_type": "qwen3",
        "hidden_size": geometry.hidden_dim,
        "num_hidden_layers": geometry.layers_count,
        "num_attention_heads": geometry.head_count,
        "num_key_value_heads": geometry.kv_head_count,
        "head_dim": geometry.head_dim,
        "intermediate_size": geometry.ffn_dim,
        "vocab_size": geometry.vocab_count,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config | more))
    raw = json.dumps({"w": {"dtype": "BF16", "shape": [8], "data_offsets": [0, 16]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(16))


@pytest.mark.parametrize(
    ("more", "quant_id", "file_format"),
    [
        ({}, "BF16", FileFormat.SAFETENSORS),
        ({"quantization": {"bits": 4, "group_size": 64}}, "MLX-4bit", FileFormat.MLX),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "AWQ-4bit", FileFormat.SAFETENSORS),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "GPTQ-8bit", FileFormat.SAFETENSORS),
        ({"quantization_config": {"quant_method": "fp8"}}, "FP8", FileFormat.SAFETENSORS),
        (
            {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
            "FP8-block",
            FileFormat.SAFETENSORS,
        ),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "NVFP4", FileFormat.SAFETENSORS),
        ({"quantization_config": 7}, "BF16", FileFormat.SAFETENSORS),
    ],
)
def test_a_checkpoint_in_the_hubs_cache(catalog, tmp_path, more, quant_id, file_format):
    folder = tmp_path / "models--Qwen--Qwen3-0.6B" / "snapshots" / "abc123"
    write_checkpoint(folder, catalog, **more)
    (found,) = find_local_models(catalog, [tmp_path])
    assert (found.name, found.model_id) == ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B")
    assert (found.quant_id, found.artifact.file_format) == (quant_id, file_format)
    assert found.artifact.file_bytes == os.path.getsize(folder / "model.safetensors")


def test_a_checkpoint_of_no_language_model_is_a_problem(catalog, tmp_path):
    write_checkpoint(tmp_path / "encoder", catalog, num_hidden_layers=None)
    scan = scan_local_models(catalog, [tmp_path])
    assert scan.models == ()
    assert "num_hidden_layers is missing" in scan.problems[0]


def test_model_files_of_installed_packages_are_found(catalog, tmp_path, monkeypatch):
    write_model(catalog, tmp_path / "site" / "a_package" / "Qwen3-0.6B.gguf")
    for variable in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for variable in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE", "ADVISOR_MODELS_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.path", [str(tmp_path / "site"), str(tmp_path / "none"), ""])
    (found,) = [found for found in find_local_models(catalog) if found.store == "package"]
    assert found.model_id == "Qwen/Qwen3-0.6B"


def test_a_file_is_runnable_where_a_program_for_its_format_is():
    nothing = {"has_module": lambda _: False, "has_command": lambda _: None}
    for file_format in FileFormat:
        assert runs_with(file_format, **nothing) == ()
    assert runs_with(FileFormat.GGUF, has_module={"llama_cpp"}.__contains__, has_command={"ollama": "x"}.get) == (
        "llama-cpp-python",
        "Ollama",
    )
    assert runs_with(FileFormat.MLX, has_module={"vllm"}.__contains__, has_command=lambda _: None) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take only names that are text")
def test_a_path_that_is_no_text_is_a_problem_of_its_own(tmp_path):
    folder = os.fsencode(tmp_path) + b"/b\xe9d"
    os.mkdir(folder)
    with open(folder + b"/model.gguf", "wb"):
        pass
    found = scan_local_models(roots=[tmp_path])
    assert found.models == ()
    assert "rename it" in found.problems[0]
    assert found.problems[0].isascii()
