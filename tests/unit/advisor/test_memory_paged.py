"""vLLM's and MLX's memory: pages against what vLLM 0.32 logs, activations, graphs, and what MLX keeps once."""

import json
from dataclasses import replace

import pytest

from advisor import launch
from advisor.machines import from_hardware
from advisor.memory.activations import activation_bytes
from advisor.memory.kv_cache import cache_setup, kv_bytes_by_layer
from advisor.memory.plan import plan_memory
from advisor.predict import predict
from advisor.settings import LoadSettings
from advisor.types import Deployment, Workload
from catalog.hf import read_config
from catalog.load import load_catalog
from catalog.weights import weigh

GIB = 1024**3
POOL_BYTES = 64 * 1024**2
_COMMON = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 512,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 6, "rms_norm_eps": 1e-5}
GEMMA = {
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "num_hidden_layers": 14,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 2 + ["sliding_attention"] * 2,
    "rms_norm_eps": 1e-6,
}
QWEN_NEXT = {
    "architectures": ["Qwen3NextForCausalLM"],
    "model_type": "qwen3_next",
    "num_hidden_layers": 8,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 128,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "rms_norm_eps": 1e-6,
    "partial_rotary_factor": 0.25,
}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def pages(model, tokens, *, users=1, batch_tokens=1024, kv_quant_id="f16", on_cpu=False, prefix=0):
    setup = cache_setup(
        tokens,
        kv_quant_id,
        ubatch_tokens=batch_tokens,
        sequences_count=users,
        engine_id="vllm",
        on_cpu=on_cpu,
        shared_prefix_tokens=prefix,
    )
    return sum(kv_bytes_by_layer(model.geometry, model.architecture, setup, model.max_context_tokens))


@pytest.mark.parametrize(
    ("config", "pool_blocks", "logged"),
    [(LLAMA, 170, 5.31), (GEMMA, 512, 4.65), (QWEN_NEXT, 170, 10.00)],
    ids=["full attention", "sliding windows, two layers short of a group", "recurrent layers"],
)
def test_a_sequence_takes_what_vllm_logs(tmp_path, config, pool_blocks, logged):
    """vLLM 0.32 on a CPU, a pool of 64 MiB, 4,096 tokens a request: "Maximum concurrency for 4,096 tokens"."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(_COMMON | config))
    sequence = pages(read_config(str(path)), 4096, on_cpu=True)
    block = POOL_BYTES // pool_blocks // 2**16 * 2**16  # of all layers of a group, whole pages of 64 KiB
    assert sequence % block == 0
    assert pool_blocks * block / sequence == pytest.approx(logged, abs=0.005)


def test_a_block_beside_recurrent_layers_holds_a_state(catalog):
    """A published log has blocks of 1,568 tokens and pages padded by 0.13 % (aivrar/vllm-windows-build issue 17).

    That is what the states of Qwen's 27B beside an fp8 cache make of blocks of 16.
    """
    model = catalog.model("Qwen/Qwen3.6-27B")
    attention_count = model.geometry.mixers.count("A")
    row = 2 * model.geometry.kv_head_count * model.geometry.head_dim
    one, more = (pages(model, tokens, kv_quant_id="fp8") for tokens in (1568, 1569))
    assert more - one == attention_count * 1568 * row
    assert pages(model, 1, kv_quant_id="fp8") == one


@pytest.mark.parametrize("name", ["qwen3-8b", "google/gemma-3-27b-it", "openai/gpt-oss-20b", "Qwen/Qwen3.6-27B"])
def test_pages_grow_with_the_context_and_with_users_and_never_in_part(catalog, name):
    model = catalog.model(name)
    sizes = [pages(model, tokens) for tokens in (1, 16, 17, 1000, 4096, 16384, 32768)]
    assert sizes == sorted(sizes)
    assert sizes[0] == sizes[1]
    assert [pages(model, 4096, users=users) for users in (2, 5)] == [2 * sizes[4], 5 * sizes[4]]


def test_a_window_keeps_the_tokens_in_flight_and_one_block_more(catalog):
    model = catalog.model("openai/gpt-oss-20b")  # as many sliding layers as full ones: no group is filled up
    geometry = model.geometry
    page = 16 * 2 * geometry.kv_head_count * geometry.head_dim * 2
    sliding_count = geometry.mixers.count("S")
    near, far = (pages(model, tokens, batch_tokens=1024) for tokens in (16384, 32768))
    assert far - near == geometry.mixers.count("A") * 1024 * page
    blocks = -(-(geometry.sliding_window_tokens - 1 + 2 * 1024) // 16) + 1
    assert near == (geometry.mixers.count("A") * 1024 + sliding_count * blocks) * page
    assert pages(model, 16384, batch_tokens=8192) > near


@pytest.mark.parametrize("batch_tokens", [2048, 8192])
def test_activations_are_one_layers_at_the_batch(catalog, batch_tokens):
    geometry = catalog.model("meta-llama/Llama-3.1-8B-Instruct").geometry
    size = activation_bytes(geometry, batch_tokens, 1)
    assert size == batch_tokens * 2 * (3 * 14336 + 2 * 4096)
    if batch_tokens == 2048:  # logged: 0.22 GiB
        assert size / GIB == pytest.approx(0.22, rel=0.15)


def test_activations_grow_with_tokens_and_at_last_with_the_sampler(catalog):
    geometry = catalog.model("Qwen/Qwen3-30B-A3B").geometry
    sizes = [activation_bytes(geometry, tokens, 1) for tokens in (1, 64, 2048, 8192)]
    assert sizes == sorted(sizes)
    assert activation_bytes(geometry, 2048, 1024) > activation_bytes(geometry, 2048, 1)


def planned(catalog, engine_id, device_id, *, users=1, available=80 * GIB, **settings):
    model = catalog.model("qwen3-8b")
    backend = device_id.partition(":")[0]
    deployment = Deployment(
        model_id=model.model_id,
        quant_id="Q8_0",
        engine_id=engine_id,
        backend=backend,
        layers_by_device={device_id: 36},
        **settings,
    )
    load = Workload(context_tokens=8192, concurrency_count=users)
    return plan_memory(model, weigh(model, "Q8_0"), deployment, load, {device_id: available, "cpu": available})


def test_cuda_graphs_are_kept_for_a_gpu_and_grow_with_the_sequences(catalog):
    one, many = (planned(catalog, "vllm", "cuda:0", users=users).devices[0] for users in (1, 256))
    host = planned(catalog, "vllm", "cpu").devices[0]
    assert one.compute_bytes - host.compute_bytes == pytest.approx(0.36 * GIB, rel=1e-6)
    assert many.compute_bytes > one.compute_bytes + 0.36 * GIB


def test_a_larger_batch_takes_more_of_a_gpu(catalog):
    sizes = [planned(catalog, "vllm", "cuda:0", batch_tokens=tokens).total_bytes for tokens in (512, 2048, 8192)]
    assert sizes == sorted(set(sizes))


def test_vllm_is_told_the_batch_that_its_memory_is_planned_for(catalog):
    model = catalog.model("qwen3-8b")
    made = predict(
        model,
        [weigh(model, "Q8_0")],
        from_hardware(catalog.hardware("rtx 4090"), catalog),
        Workload(context_tokens=4096),
        settings=LoadSettings(batch_tokens=4096),
    )
    paged = replace(made, engine_id="vllm", deployment=replace(made.deployment, engine_id="vllm"))
    argv = launch.command(model, paged).argv
    assert argv[argv.index("--max-num-batched-tokens") + 1] == "4096"


def test_vllm_fits_in_its_share_of_the_device_alone(catalog):
    needed = planned(catalog, "vllm", "cuda:0").devices[0].total_bytes
    assert planned(catalog, "vllm", "cuda:0", available=round(needed / 0.9) + 1).fits
    assert not planned(catalog, "vllm", "cuda:0", available=round(needed / 0.9) - 100).fits


def test_mlx_holds_weights_once_and_on_the_device(catalog):
    plan = planned(catalog, "mlx", "metal:0")
    (row,) = [device for device in plan.devices if device.weights_bytes]
    weights = weigh(catalog.model("qwen3-8b"), "Q8_0")
    assert row.device_id == "metal:0"
    assert row.weights_bytes == sum(group.weight_bytes for group in weights.groups)
    assert row.mapped_bytes == row.repack_bytes == 0


def test_mlx_pads_every_session_to_steps_of_256(catalog):
    model = catalog.model("qwen3-8b")

    def cache(tokens):
        setup = cache_setup(tokens, "f16", engine_id="mlx", sequences_count=3)
        return sum(kv_bytes_by_layer(model.geometry, model.architecture, setup))

    assert cache(1) == cache(256) < cache(257) == cache(512)


def test_mlx_fits_within_what_metal_wires(catalog):
    needed = planned(catalog, "mlx", "metal:0").devices[0].total_bytes
    assert not planned(catalog, "mlx", "metal:0", available=needed - 1).fits
