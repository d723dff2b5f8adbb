"""Every architecture of the catalog: the installed llama.cpp lays out a twin of its smallest model."""

import pytest

from advisor.engines.base import LoadOptions
from advisor.engines.llamacpp import open_worker
from advisor.twins.twin import write_twin
from catalog.load import load_catalog
from catalog.tensors import gguf_architecture

pytestmark = pytest.mark.engine

# Models that llama.cpp itself cannot hold: their published shapes depart from what its loader insists on.
BEYOND_THE_ENGINE = {
    "swiss-ai/Apertus-v1.1-0.5B",  # shares input and output embedding, which the apertus loader does not allow
    "microsoft/Phi-tiny-MoE-instruct",  # heads narrower than the hidden state, which phimoe takes to be equal
}


def smallest_by_architecture():
    found = {}
    for model in load_catalog().models.values():
        if model.geometry is None or model.architecture is None or model.model_id in BEYOND_THE_ENGINE:
            continue
        name = gguf_architecture(model)
        if name not in found or model.params_total_count < found[name].params_total_count:
            found[name] = model
    return found


@pytest.mark.parametrize("name", sorted(smallest_by_architecture()))
def test_the_engine_accepts_every_tensor_and_key(name, tmp_path):
    path = tmp_path / "hollow.gguf"
    write_twin(smallest_by_architecture()[name], "Q4_K_M", path, hollow=True)
    with open_worker() as worker, worker.open(str(path), LoadOptions(context_tokens=512, dry_run=True)) as session:
        assert session.loaded.layers_count > 0
