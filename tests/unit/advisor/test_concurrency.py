"""Several users at once: their speeds, the sessions that fit, and one answer wherever it is asked."""

from dataclasses import replace

import pytest

from advisor import codec
from advisor.concurrency import with_concurrency
from advisor.errors import BadRequestError
from advisor.estimate import estimate
from advisor.machines import from_hardware
from advisor.memory.kv_cache import cache_setup, kv_bytes_by_layer
from advisor.memory.plan import plan_memory
from advisor.predict import predict
from advisor.recommendation.inverse import Subject, most_users
from advisor.types import Deployment, Limits, Task, Workload
from advisor.weight_work import experts_touched_frac
from advisor.workloads import make_workload
from catalog.load import load_catalog
from catalog.weights import weigh

GIB = 1024**3


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def shared(catalog, name="qwen3-8b", quant_id="Q4_K_M", hardware="rtx 4090", **load):
    """A machine, and an estimate with several users on it."""
    model, machine = catalog.model(name), from_hardware(catalog.hardware(hardware), catalog)
    artifact = weigh(model, quant_id)
    made = predict(model, [artifact], machine, make_workload(Task.GENERAL, **load))
    return with_concurrency(made, model, artifact, machine)


def rooms(made):
    return {room.layout: room for room in made.concurrency.rooms}


def cache_bytes(model, tokens, users, **layout):
    setup = cache_setup(tokens, "f16", sequences_count=users, **layout)
    return sum(kv_bytes_by_layer(model.geometry, model.architecture, setup))


def test_one_user_without_a_prefix_is_not_asked_about(catalog):
    assert shared(catalog).concurrency is None
    assert shared(catalog, concurrency_count=2).concurrency is not None
    assert shared(catalog, shared_prefix_tokens=512).concurrency is not None


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-30B-A3B"])
@pytest.mark.parametrize("hardware", ["dgx spark", "Apple M2 Ultra (76-core GPU) 192GiB"])
def test_more_users_are_each_slower_and_together_faster(catalog, name, hardware):
    made = shared(catalog, name, "Q8_0", hardware, concurrency_count=32, context_tokens=2048)
    speeds = made.concurrency.speeds
    each = [speed.decode_tokens_per_s.mid for speed in speeds]
    assert each == sorted(each, reverse=True)
    assert speeds[-1].total_tokens_per_s > 3 * speeds[0].total_tokens_per_s


def test_every_number_of_users_is_answered_as_an_estimate_is(catalog):
    """The rows are estimates: what is asked for says the same as its row, and one user as no option does."""
    made = shared(catalog, concurrency_count=8)
    by_count = {speed.users_count: speed for speed in made.concurrency.speeds}
    assert by_count[8].decode_tokens_per_s == made.decode_tokens_per_s
    model, machine = catalog.model("qwen3-8b"), from_hardware(catalog.hardware("rtx 4090"), catalog)
    alone = predict(model, [weigh(model, "Q4_K_M")], machine, make_workload(Task.GENERAL))
    assert by_count[1].decode_tokens_per_s == alone.decode_tokens_per_s
    assert by_count[1].first_token_s == alone.first_token_s


def test_published_batches_are_met(catalog):
    """Measured: GB10, Qwen2.5-Coder-7B Q8_0, 512 tokens deep (llama.cpp 7941)."""
    measured = {1: 29.10, 2: 54.00, 4: 104.17, 8: 194.15, 16: 331.90, 32: 589.21}
    load = {"prompt_tokens": 512, "output_tokens": 32, "concurrency_count": 32}
    made = shared(catalog, "Qwen/Qwen2.5-Coder-7B-Instruct", "Q8_0", "dgx spark", **load)
    totals = {speed.users_count: speed.total_tokens_per_s for speed in made.concurrency.speeds}
    for users, tokens_per_s in measured.items():
        assert totals[users] == pytest.approx(tokens_per_s, rel=0.3)


def test_experts_fill_up_with_users(catalog):
    geometry = catalog.model("Qwen/Qwen3-30B-A3B").geometry
    shares = [experts_touched_frac(geometry, users) for users in (1, 2, 8, 64, 4096)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(8 / 128)
    assert shares[-1] == pytest.approx(1.0, abs=1e-6)


def test_caches_that_are_not_reserved_hold_more_sessions_and_a_shared_prefix_more_still(catalog):
    found = rooms(shared(catalog, concurrency_count=4, shared_prefix_tokens=512, context_tokens=8192))
    slots, unified, paged, once = (found[name] for name in ("slots", "unified", "paged", "paged_shared"))
    assert slots.sessions_count < min(unified.sessions_count, paged.sessions_count)
    assert paged.sessions_count < once.sessions_count
    assert once.session_bytes + once.shared_bytes == paged.session_bytes
    assert slots.session_bytes == 8192 / 1536 * paged.session_bytes


def test_a_count_of_sessions_is_what_still_fits(catalog):
    made = shared(catalog, concurrency_count=2)
    model, machine = catalog.model("qwen3-8b"), from_hardware(catalog.hardware("rtx 4090"), catalog)
    count = rooms(made)["slots"].sessions_count
    fits = [
        plan_memory(
            model,
            weigh(model, "Q4_K_M"),
            made.deployment,
            replace(made.workload, concurrency_count=users),
            machine.available_bytes(),
        ).fits
        for users in (count, count + 1)
    ]
    assert fits == [True, False]


def test_the_most_users_are_the_sessions_that_fit_where_memory_limits_them(catalog):
    made = shared(catalog, concurrency_count=2)
    model, machine = catalog.model("qwen3-8b"), from_hardware(catalog.hardware("rtx 4090"), catalog)
    slow = Limits(min_tokens_per_s=0.1)
    subject = Subject(
        model=model, artifact=weigh(model, "Q4_K_M"), machine=machine, workload=made.workload, limits=slow
    )
    found = most_users(subject)
    assert found.limited_by == "memory"
    assert found.value == rooms(made)["slots"].sessions_count
    row = estimate(
        model, subject.artifact, machine, replace(made.workload, concurrency_count=found.value), made.deployment
    )
    assert found.decode_tokens_per_s == row.decode_tokens_per_s


def test_less_memory_holds_fewer_sessions(catalog):
    model, machine = catalog.model("qwen3-8b"), from_hardware(catalog.hardware("rtx 4090"), catalog)
    artifact = weigh(model, "Q4_K_M")
    made = predict(model, [artifact], machine, make_workload(Task.GENERAL, concurrency_count=2))
    counts = [
        with_concurrency(made, model, artifact, machine, {"cuda:0": size * GIB, "cpu": 16 * GIB})
        .concurrency.rooms[0]
        .sessions_count
        for size in (4, 8, 12, 24)
    ]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] > counts[1]


def test_layers_on_the_cpu_leave_no_room_in_pages_and_say_why(catalog):
    found = rooms(shared(catalog, "qwen3-32b", hardware="rtx 3060", concurrency_count=2, context_tokens=2048))
    assert found["paged"].sessions_count == 0
    assert "accelerators" in found["paged"].reason
    assert found["slots"].sessions_count > 0


def test_a_mac_has_growing_caches_and_no_pages(catalog):
    model = catalog.model("qwen3-8b")
    machine = from_hardware(catalog.hardware("m4 max 64GiB"), catalog)
    artifact = weigh(model, "Q4_K_M")
    made = predict(
        model, [artifact], replace(machine, engine_id="mlx"), make_workload(Task.GENERAL, concurrency_count=2)
    )
    found = rooms(with_concurrency(made, model, artifact, machine))
    assert "metal" in found["paged"].reason
    assert found["growing"].sessions_count > found["slots"].sessions_count > 0


def test_the_last_of_many_waits_for_all_prompts_and_less_for_a_shared_start(catalog):
    made = shared(catalog, concurrency_count=4, shared_prefix_tokens=512)
    for speed in made.concurrency.speeds:
        assert speed.last_first_token_s == pytest.approx(speed.users_count * speed.first_token_s.mid)
        if speed.users_count > 1:
            assert speed.first_token_s.mid < speed.last_first_token_shared_s < speed.last_first_token_s
    assert shared(catalog, concurrency_count=4).concurrency.speeds[0].last_first_token_shared_s is None


def test_the_document_holds_it(catalog):
    made = shared(catalog, concurrency_count=4, shared_prefix_tokens=512)
    assert codec.loads(codec.dump(made)) == made


@pytest.mark.parametrize(
    "name", ["qwen3-8b", "google/gemma-3-12b-it", "openai/gpt-oss-20b", "Qwen/Qwen3-Next-80B-A3B-Instruct"]
)
def test_a_prefix_is_kept_once_whatever_the_layers(catalog, name):
    model = catalog.model(name)

    def cache(users, prefix=0):
        return cache_bytes(model, 4096, users, engine_id="vllm", shared_prefix_tokens=prefix)

    apart, together = cache(8), cache(8, 2048)
    assert cache(1) <= together < apart
    assert cache(8, 2047) == cache(8, 2032)  # whole blocks only
    assert cache(8, 4096) == cache(8, 4080)  # the last token is always computed


def test_llama_cpp_keeps_a_prefix_for_every_slot(catalog):
    model = catalog.model("qwen3-8b")
    whole = Deployment(model_id=model.model_id, quant_id="Q4_K_M", layers_by_device={"cpu": 36})
    plans = [
        plan_memory(
            model,
            weigh(model, "Q4_K_M"),
            whole,
            Workload(context_tokens=4096, concurrency_count=4, shared_prefix_tokens=prefix),
            {"cpu": 64 * GIB},
        )
        for prefix in (0, 1024)
    ]
    assert plans[0] == plans[1]


def test_a_unified_cache_takes_what_one_long_sequence_takes(catalog):
    """llama.cpp: one pool of cells; a sliding window for each user and one micro-batch (llama-kv-cache-iswa.cpp)."""
    full, sliding = catalog.model("qwen3-8b"), catalog.model("google/gemma-3-12b-it")

    def cache(model, tokens, users, unified):
        return cache_bytes(model, tokens, users, unified=unified)

    assert cache(full, 1024, 8, True) == cache(full, 8192, 1, False)
    assert cache(full, 1100, 8, True) < cache(full, 1100, 8, False)  # padded once, not for every slot
    assert cache(sliding, 8192, 8, True) < cache(sliding, 8192, 8, False)  # one micro-batch for all


def test_a_prompt_grows_to_hold_its_prefix_unless_it_is_given():
    assert make_workload(Task.GENERAL, shared_prefix_tokens=512).prompt_tokens == 1024
    assert make_workload(Task.GENERAL, shared_prefix_tokens=2048).prompt_tokens == 2048 + 512
    assert make_workload(Task.GENERAL, shared_prefix_tokens=16384).context_tokens >= 16384 + 512 + 512
    assert make_workload(Task.GENERAL, prompt_tokens=4096, shared_prefix_tokens=2048).prompt_tokens == 4096


@pytest.mark.parametrize("prefix", [-1, 1025])
def test_a_prefix_that_is_no_part_of_the_prompt_is_refused(prefix):
    with pytest.raises(BadRequestError, match="--shared-prefix"):
        make_workload(Task.GENERAL, prompt_tokens=1024, shared_prefix_tokens=prefix)
