"""What every engine must do alike. The real one runs with ``-m engine``."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from advisor.engines.base import EngineError, LoadOptions
from advisor.engines.fake import FakeEngine
from advisor.types import Deployment

OPTIONS = LoadOptions(context_tokens=256, batch_tokens=32, ubatch_tokens=32, threads_count=1)


@pytest.fixture(
    params=["fake", pytest.param("llama.cpp", marks=pytest.mark.engine)],
)
def engine_and_file(request, tmp_path: Path):
    if request.param == "fake":
        return FakeEngine(), "model.gguf"
    from advisor.engines.llamacpp import LlamaCppEngine
    from advisor.twins.twin import TwinTensor, write_gguf

    path = tmp_path / "tiny.gguf"
    metadata, tensors = tiny_llama()
    write_gguf(path, metadata, [TwinTensor(name=n, shape=s, type_name=t) for n, s, t in tensors])
    return LlamaCppEngine(), str(path)


def tiny_llama():
    metadata = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "no_vocab",
        "llama.vocab_size": 64,
        "llama.block_count": 1,
        "llama.context_length": 256,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 128,
        "llama.attention.head_count": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }
    block = [
        ("attn_norm", (64,)),
        ("attn_q", (64, 64)),
        ("attn_k", (64, 64)),
        ("attn_v", (64, 64)),
        ("attn_output", (64, 64)),
        ("ffn_norm", (64,)),
        ("ffn_gate", (64, 128)),
        ("ffn_up", (64, 128)),
        ("ffn_down", (128, 64)),
    ]
    tensors = [("token_embd.weight", (64, 64), "F16"), ("output_norm.weight", (64,), "F32")]
    tensors += [(f"blk.0.{name}.weight", shape, "F32" if len(shape) == 1 else "Q8_0") for name, shape in block]
    return metadata, tensors


@pytest.fixture
def session(engine_and_file):
    engine, path = engine_and_file
    with engine.open(path, OPTIONS) as opened:
        yield opened


def test_a_build_names_the_engine(engine_and_file):
    engine, _ = engine_and_file
    build = engine.build()
    assert build.id == engine.engine_id
    assert build.version


def test_an_engine_that_can_run_waives_nothing(engine_and_file):
    engine, _ = engine_and_file
    assert engine.waiver(Deployment(model_id="m", quant_id="Q4_K_M")) is None


def test_loading_says_what_was_loaded(session):
    loaded = session.loaded
    assert loaded.load_s > 0
    assert loaded.context_tokens >= OPTIONS.context_tokens
    assert loaded.vocab_count > 0
    assert loaded.decodes


def test_a_prompt_is_timed_batch_by_batch(session):
    window = session.prefill(80)
    assert (window.phase, window.tokens_count, window.depth_tokens) == ("prefill", 80, 0)
    assert len(window.elapsed_s) == 3  # 32 + 32 + 16
    assert window.total_s == pytest.approx(sum(window.elapsed_s))
    assert window.tokens_per_s == pytest.approx(80 / window.total_s)


def test_every_decoded_token_is_timed(session):
    window = session.decode(5, depth_tokens=64)
    assert (window.phase, window.tokens_count, window.depth_tokens) == ("decode", 5, 64)
    assert len(window.elapsed_s) == 5
    assert all(elapsed > 0 for elapsed in window.elapsed_s)


def test_windows_follow_one_another_on_one_clock(session):
    first, second = session.decode(2), session.decode(2)
    assert second.started_s >= first.started_s + first.total_s - 1e-9


def test_a_stream_starts_before_its_first_token(session):
    stream = session.generate([1, 2, 3], 4)
    assert stream.prompt_tokens == 3
    assert len(stream.token_s) == 4
    assert stream.first_token_s > 0
    assert list(stream.token_s) == sorted(stream.token_s)


def test_work_beyond_the_context_is_refused(session):
    with pytest.raises(EngineError, match="do not fit in the context of 256"):
        session.prefill(300)
    with pytest.raises(EngineError, match="context"):
        session.decode(8, depth_tokens=256)


def test_memory_is_reported_by_device_and_purpose(session):
    memory = session.memory_bytes()
    assert any(key.endswith(".weights") for key in memory)
    assert any(key.endswith(".kv") for key in memory)
    assert all(size >= 0 for size in memory.values())


def test_two_models_can_be_open_at_once(engine_and_file):
    engine, path = engine_and_file
    with ExitStack() as stack:
        one, two = (stack.enter_context(engine.open(path, OPTIONS)) for _ in range(2))
        for session in (one, two, one, two):
            assert session.decode(1).tokens_count == 1
