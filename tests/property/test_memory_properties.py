"""What must hold for any memory plan."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor.memory.kv_cache import kv_cache_bytes
from advisor.memory.plan import plan_memory
from advisor.placement import place
from advisor.types import Deployment, Workload
from catalog.load import load_catalog
from catalog.types import Role
from catalog.weights import weigh

GIB = 1024**3
MODELS = {model_id: model for model_id, model in load_catalog().models.items() if model.geometry is not None}
BY_BITS = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16")
PROFILE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

models = st.sampled_from(sorted(MODELS)).map(MODELS.get)
contexts = st.integers(1, 262144)
deployments = st.builds(
    Deployment,
    model_id=st.just("any"),
    quant_id=st.just("any"),
    kv_quant_id=st.sampled_from(["f16", "q8_0", "q4_0"]),
    ubatch_tokens=st.sampled_from([32, 128, 512, 2048]),
    flash_attention=st.booleans(),
    mmap=st.booleans(),
)
machines = st.sampled_from(
    [("cpu",), ("cuda:0", "cpu"), ("cuda:0", "cuda:1", "cpu"), ("metal:0", "cpu"), ("vulkan:0", "cuda:0", "cpu")]
)


def planned(model, quant_id, deployment, context_tokens=4096, users=1, devices=None):
    workload = Workload(context_tokens=context_tokens, concurrency_count=users)
    return plan_memory(model, weigh(model, quant_id), deployment, workload, devices or {"cpu": None})


@PROFILE
@given(models, deployments, contexts, st.sampled_from(BY_BITS), st.integers(1, 8))
def test_a_plan_is_the_sum_of_its_parts(model, deployment, context_tokens, quant_id, users):
    plan = planned(model, quant_id, deployment, context_tokens, users)
    assert plan.total_bytes == sum(row.total_bytes for row in plan.devices)
    for row in plan.devices:
        parts = (row.weights_bytes, row.kv_bytes, row.compute_bytes, row.overhead_bytes)
        assert row.total_bytes == sum(parts)
        assert min(parts) >= 0
        assert row.mapped_bytes + row.repack_bytes <= row.weights_bytes or not deployment.mmap


@PROFILE
@given(models, deployments, st.sampled_from(BY_BITS))
def test_memory_is_never_less_than_the_weights(model, deployment, quant_id):
    loaded = sum(group.weight_bytes for group in weigh(model, quant_id).groups if group.role is not Role.TOWER)
    assert planned(model, quant_id, deployment).total_bytes > loaded


@PROFILE
@given(models, contexts, contexts, st.sampled_from(["f16", "q8_0", "q4_0"]), st.booleans())
def test_more_context_never_needs_a_smaller_cache(model, one, other, kv_quant_id, flash):
    less, more = (
        kv_cache_bytes(
            model.geometry,
            model.architecture,
            context_tokens=tokens,
            kv_quant_id=kv_quant_id,
            flash_attention=flash,
        )
        for tokens in sorted((one, other))
    )
    assert less <= more


@PROFILE
@given(models, deployments, contexts, contexts)
def test_more_context_never_needs_less_memory(model, deployment, one, other):
    """But for gaps between tensors of the compute buffer, which can close as an engine's masks grow."""
    less, more = (planned(model, "Q4_K_M", deployment, tokens).total_bytes for tokens in sorted((one, other)))
    assert less <= more * 1.02


@PROFILE
@given(models, deployments, st.integers(1, 7), st.integers(1, 7))
def test_more_users_never_need_a_smaller_cache(model, deployment, one, other):
    few, many = (planned(model, "Q4_K_M", deployment, users=users).devices[0] for users in sorted((one, other)))
    assert few.kv_bytes <= many.kv_bytes
    assert few.weights_bytes == many.weights_bytes


@PROFILE
@given(models, deployments)
def test_more_bits_never_take_fewer_bytes(model, deployment):
    sizes = [planned(model, quant_id, deployment).devices[0] for quant_id in BY_BITS]
    plain = [row.weights_bytes - (row.repack_bytes if deployment.mmap else 0) for row in sizes]
    assert plain == sorted(plain)


@PROFILE
@given(models, deployments, st.floats(0.1, 200), st.floats(0.1, 200))
def test_fitting_is_monotone_in_what_is_available(model, deployment, one, other):
    less, more = (
        planned(model, "Q4_K_M", deployment, devices={"cpu": round(size * GIB)}).fits for size in sorted((one, other))
    )
    assert more or not less


@PROFILE
@given(models, deployments, machines, st.lists(st.floats(0.5, 120), min_size=3, max_size=3), st.integers(1, 65536))
def test_no_placement_is_over_full(model, deployment, machine, sizes, context_tokens):
    devices = {device: round(size * GIB) for device, size in zip(machine, sizes, strict=False)}
    workload = Workload(context_tokens=context_tokens)
    for found, plan in place(model, weigh(model, "Q4_K_M"), workload, devices, base=deployment):
        assert plan.fits
        assert sum(found.layers_by_device.values()) == model.geometry.layers_count
        assert set(found.layers_by_device) <= set(devices)
        for row in plan.devices:
            assert row.total_bytes <= devices[row.device_id]


@PROFILE
@given(models, machines, st.lists(st.floats(0.5, 60), min_size=3, max_size=3), st.floats(1.0, 4.0))
def test_more_memory_never_takes_the_last_placement_away(model, machine, sizes, factor):
    base = Deployment(model_id="any", quant_id="Q4_K_M")
    found = []
    for scale in (1.0, factor):
        devices = {device: round(size * scale * GIB) for device, size in zip(machine, sizes, strict=False)}
        found.append(place(model, weigh(model, "Q4_K_M"), Workload(), devices, base=base))
    assert found[1] or not found[0]
