"""The real llama.cpp as judge: its quantiser's types, and whether it loads what is described."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gguf_files import describe, write_sparse
from tiny_models import largest_by_architecture, tiny_models

from catalog.gguf import _FILE_TYPES as FILE_TYPES
from catalog.load import load_catalog
from catalog.recipes import tensor_types
from catalog.tensors import gguf_architecture, list_tensors, truncate

pytestmark = pytest.mark.engine

SUPPORT = Path(__file__).parents[1] / "support"
# Full precision comes from the converter, not the quantiser; it has no fallback for rows of Q1_0 and NVFP4.
NOT_ASKED = frozenset({"F32", "F16", "BF16", "Q1_0", "NVFP4"})
ASKED = {number: name for number, name in FILE_TYPES.items() if name not in NOT_ASKED}
# Rules that look at a model's size or head counts, beside one model of each architecture.
SPECIAL = (
    "mistralai/Mixtral-8x7B-Instruct-v0.1",  # eight experts
    "meta-llama/Llama-3.3-70B-Instruct",  # "70B", grouped queries
    "Qwen/Qwen2.5-72B-Instruct",  # "70B" of another architecture
    "Qwen/Qwen2.5-0.5B-Instruct",  # rows that are no whole blocks
    "google/gemma-2-2b-it",  # tied embeddings
    "meta-llama/Llama-2-7b-hf",  # a head of keys for each of queries
)
NATIVE_EXPERTS = ("gpt-oss", "_exps.weight")  # kept as trained: the quantiser would requantise them


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    pytest.importorskip("llama_cpp")
    return load_catalog(tmp_path_factory.mktemp("overlay"))


def run(script, *arguments, timeout_s=300):
    command = [sys.executable, str(SUPPORT / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def differences(model, path):
    """Tensors whose type is not the quantiser's, by file type and whether there is an importance matrix."""
    finished = run("quantizer_child.py", path, *ASKED)
    assert finished.returncode == 0, finished.stdout[-500:] + finished.stderr[-500:]
    answers, tensors = json.loads(finished.stdout), list_tensors(model)
    architecture, experts = NATIVE_EXPERTS
    kept = experts if gguf_architecture(model) == architecture else "\0"
    wrong = {}
    for number, quant_id in ASKED.items():
        for imatrix in (False, True):
            theirs = answers[f"{number}/{int(imatrix)}"]
            ours = tensor_types(model, tensors, quant_id, imatrix=imatrix)
            for tensor, name in zip(tensors, ours, strict=True):
                if not settled(name, theirs.get(tensor.name)) and not tensor.name.endswith(kept):
                    wrong[quant_id, imatrix, tensor.name] = (name, theirs.get(tensor.name))
    return wrong


def settled(ours, theirs):
    """Whether two types agree; an unquantised tensor stays as the converter made it, F16 here."""
    return ours == theirs or {ours, theirs} <= {"F32", "F16"}


@pytest.mark.parametrize("model_id", SPECIAL)
def test_types_of_special_models_are_the_quantisers(catalog, tmp_path, model_id):
    model = catalog.model(model_id)
    path = write_sparse(tmp_path / "model.gguf", *describe(model))
    assert differences(model, path) == {}


def test_types_of_every_architecture_are_the_quantisers(catalog, tmp_path):
    models = largest_by_architecture(catalog)
    assert len(models) > 80
    wrong = {}
    for name, model in models.items():
        path = write_sparse(tmp_path / "model.gguf", *describe(model))
        if found := differences(model, path):
            wrong[name] = dict(list(found.items())[:3])
    assert wrong == {}


def problems_of(paths):
    """What keeps llama.cpp from loading and running each file; all of those after a crash have one too."""
    finished = run("load_child.py", *paths)
    answers = dict(json.loads(line) for line in finished.stdout.splitlines() if line.startswith('["'))
    return {path.stem: answers.get(str(path), "it crashed") for path in paths if answers.get(str(path), "") is not None}


def test_every_architectures_description_loads_and_runs(catalog, tmp_path):
    models = tiny_models(catalog)
    assert len(models) > 100
    paths = [write_sparse(tmp_path / f"{name}.gguf", *describe(model)) for name, model in models.items()]
    assert problems_of(paths) == {}


@pytest.mark.parametrize(
    ("model_id", "layers"),
    [
        ("Qwen/Qwen3-0.6B", [0]),
        ("google/gemma-3-270m-it", [5, 0]),
        ("ibm-granite/granite-4.0-h-1b", [0, 5]),  # one layer of each kind
        ("LiquidAI/LFM2-350M", [2, 3]),
    ],
)
def test_a_truncated_model_loads_and_runs(catalog, tmp_path, model_id, layers):
    cut = truncate(catalog.model(model_id), layers)
    path = write_sparse(tmp_path / "cut.gguf", *describe(cut))
    assert problems_of([path]) == {}
