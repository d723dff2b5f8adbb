"""Batches and sessions."""

import pytest

from advisor.concurrency import batch_speeds, session_room
from advisor.datasheets.datasheet import rates_for_chip
from advisor.errors import BadRequestError
from advisor.memory.kv_cache import kv_cache_bytes
from advisor.work import experts_touched_frac
from catalog.load import load_catalog
from catalog.weights import weigh


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def speeds(catalog, model_id, chip, backend, users=(1, 2, 4, 8, 16, 32)):
    model = catalog.model(model_id)
    rates = rates_for_chip(catalog.chip(chip), backend)
    return batch_speeds(weigh(model, "Q8_0"), model.geometry, rates, users, depth_tokens=512)


@pytest.mark.parametrize("model_id", ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-30B-A3B"])
@pytest.mark.parametrize(
    ("chip", "backend"), [("NVIDIA GB10 (DGX Spark)", "cuda"), ("Apple M2 Ultra (76-core GPU)", "metal")]
)
def test_more_users_are_each_slower_and_together_faster(catalog, model_id, chip, backend):
    made = speeds(catalog, model_id, chip, backend)
    each = [speed.tokens_per_s for speed in made]
    assert each == sorted(each, reverse=True)
    assert made[-1].total_tokens_per_s > 3 * made[0].total_tokens_per_s
    assert made[1].token_s == pytest.approx(1.0 / made[1].tokens_per_s)


def test_published_batches_are_met(catalog):
    """Measured: GB10, Qwen2.5-Coder-7B Q8_0, 512 tokens deep (llama.cpp 7941)."""
    measured = {1: 29.10, 2: 54.00, 4: 104.17, 8: 194.15, 16: 331.90, 32: 589.21}
    made = speeds(catalog, "Qwen/Qwen2.5-Coder-7B-Instruct", "NVIDIA GB10 (DGX Spark)", "cuda", tuple(measured))
    for speed in made:
        assert speed.total_tokens_per_s == pytest.approx(measured[speed.users_count], rel=0.3)


def test_experts_fill_up_with_users(catalog):
    geometry = catalog.model("Qwen/Qwen3-30B-A3B").geometry
    shares = [experts_touched_frac(geometry, users) for users in (1, 2, 8, 64, 4096)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(8 / 128)
    assert shares[-1] == pytest.approx(1.0, abs=1e-6)


def test_sessions_of_reserved_and_paged_caches(catalog):
    model = catalog.model("Qwen/Qwen3-8B")
    whole = kv_cache_bytes(model.geometry, model.architecture, context_tokens=8192)
    room = {"context_tokens": 8192, "used_tokens": 2048}
    reserved = session_room(model.geometry, model.architecture, 10 * whole, **room)
    paged = session_room(model.geometry, model.architecture, 10 * whole, engine_id="vllm", **room)
    assert (reserved.sessions_count, reserved.session_bytes) == (10, whole)
    assert paged.sessions_count == 40
    shared = session_room(
        model.geometry, model.architecture, 10 * whole, engine_id="vllm", shared_prefix_tokens=1024, **room
    )
    assert shared.sessions_count > 70
    assert shared.shared_bytes + shared.sessions_count * shared.session_bytes <= 10 * whole


def test_no_room_is_no_session(catalog):
    model = catalog.model("Qwen/Qwen3-8B")
    assert session_room(model.geometry, model.architecture, 1000, context_tokens=8192).sessions_count == 0


@pytest.mark.parametrize(("used", "shared"), [(9000, 0), (0, 0), (100, 200), (100, -1)])
def test_contradictory_sessions_are_refused(catalog, used, shared):
    model = catalog.model("Qwen/Qwen3-8B")
    with pytest.raises(BadRequestError, match="shared"):
        session_room(
            model.geometry,
            model.architecture,
            1 << 30,
            context_tokens=8192,
            used_tokens=used,
            shared_prefix_tokens=shared,
        )
