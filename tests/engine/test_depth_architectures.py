"""Any depth for the price of a short one, whatever remembers: full, sliding, compressed or recurrent layers."""

import pytest

from advisor.engines.base import LoadOptions
from advisor.engines.llamacpp import open_worker
from advisor.twins.truncate import layer_kinds
from advisor.twins.twin import write_twin
from catalog.load import load_catalog

pytestmark = pytest.mark.engine
OPTIONS = LoadOptions(context_tokens=2560, batch_tokens=128, ubatch_tokens=128, threads_count=1, streams_count=2)
DEPTH_TOKENS = 2048
MODELS = {
    "full attention": "SmolLM2-135M-Instruct",
    "sliding window": "google/gemma-3-270m-it",
    "positions in three dimensions": "Qwen/Qwen2-VL-2B-Instruct",
    "hybrid with linear attention": "Qwen/Qwen3.5-0.8B",
    "hybrid with state space": "tiiuae/Falcon-H1-0.5B-Instruct",
    "short convolutions": "LiquidAI/LFM2-350M",
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def session(request, tmp_path_factory):
    catalog = load_catalog()
    if MODELS[request.param] not in catalog.models and request.param != "full attention":
        pytest.skip(f"the catalog has no {MODELS[request.param]}")
    model = catalog.model(MODELS[request.param])
    kinds = layer_kinds(model)
    layers = tuple(sorted({kind.indices[0] for kind in kinds} | {max(max(kind.indices) for kind in kinds)}))
    path = tmp_path_factory.mktemp("twin") / "twin.gguf"
    write_twin(model, "Q4_0", path, layers=layers)
    with open_worker() as worker, worker.open(str(path), OPTIONS) as opened:
        yield opened


def test_every_kind_of_memory_can_be_deepened(session):
    assert session.loaded.jumps


def test_decoding_and_prompts_go_on_behind_it(session):
    assert session.decode(4, depth_tokens=DEPTH_TOKENS).depth_tokens == DEPTH_TOKENS
    assert session.prefill(128, depth_tokens=DEPTH_TOKENS).total_s > 0
    assert session.decode(2, depth_tokens=DEPTH_TOKENS, streams_count=2).streams_count == 2
    assert session.decode(2).depth_tokens == 0
